"""`ropewalk import`: a model made elsewhere, written as one of our artifacts."""

from __future__ import annotations

import math
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ropewalk.artifact import Part, is_remote, list_remote
from ropewalk.model import ImportOptions
from ropewalk.model.adapter_file import Adapter, read_adapter
from ropewalk.model.checkpoint import WEIGHTS, check_fit, stored_tensors, stream_weights, write_configs
from ropewalk.model.gguf_file import open_gguf
from ropewalk.model.hugging_face import open_folder
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.progress import progress, say
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.files import TOKENIZER_JSON
from ropewalk.tokenizer.reading import check_merges

# Of a model's folder, what is read here: no weights in other formats, which may be as large again.
WANTED = ("*.json", "*.safetensors", "*.jinja", "README.md", "*.gguf")


def fetched(address: str, folder: Path) -> Path:
    """Copy a file, or what is wanted of a folder, from an address; what an interruption left whole is kept.

    Returns the file's or the folder's path.

    Raises:
        InputError: nothing there, or it cannot be had.
    """
    files = [file for file in list_remote(address) if any(fnmatch(file.name, pattern) for pattern in WANTED)]
    if not files:
        raise InputError(f"{address} has no model in it: give a folder with config.json and safetensors, or a GGUF file")
    here = folder / "source"
    here.mkdir(parents=True, exist_ok=True)
    with progress("fetch", total=sum(file.size_bytes for file in files) / 1e6, unit="MB") as bar:
        for file in files:
            path = here / file.name
            if "/" not in file.name and not (path.is_file() and path.stat().st_size == file.size_bytes):
                draft = path.with_name(path.name + ".draft")
                with file.open() as source, draft.open("wb") as target:
                    while block := source.read(4 << 20):
                        target.write(block)
                        bar.advance(len(block) / 1e6, note=file.name)
                draft.replace(path)
    alone = [file.name for file in files if file.name.endswith(".gguf")]
    return here / alone[0] if len(files) == len(alone) == 1 else here


def make_import(part: Part, options: ImportOptions) -> dict[str, Any]:
    """Write the folder and return the facts. What an interruption left is written anew."""
    source = fetched(str(options.source), part.scratch) if is_remote(options.source) else Path(options.source)
    foreign = open_folder(source) if source.is_dir() else open_gguf(source)
    config = foreign.config
    held, shapes = stored_tensors(config)
    check_fit(shapes, foreign.shapes, where=str(source))
    change = Adapter({}, {})
    if options.adapter is not None:
        given = str(options.adapter)
        folder = fetched(given, part.scratch / "adapter") if is_remote(given) else Path(given)
        change = read_adapter(folder, config, held, shapes)
    foreign.write_tokenizer(part.folder)
    tokenizer = Tokenizer.load(part.folder)
    check_merges(part.folder / TOKENIZER_JSON)
    if tokenizer.vocabulary > config.vocabulary:
        raise InputError(
            f"{source}: its tokenizer has {tokenizer.vocabulary} tokens, its model {config.vocabulary}: "
            "they do not belong together, take them from where they were made"
        )
    write_configs(part.folder, config, foreign.ends, generation=foreign.generation)
    stream_weights(part.folder / WEIGHTS, shapes, lambda name: change.onto(name, foreign.read(name)))
    about = dict(foreign.about)
    if is_remote(options.source):
        about |= {"source": str(options.source), "name": str(options.source).rstrip("/").rpartition("/")[2]}
    say(f"{about['name']}: a third party's model, licence {about['licence']}")
    return {
        "third_party": True,
        **about,
        "parameters": sum(map(math.prod, shapes.values())),
        "steps": 0,
        "conversations": tokenizer.chat_template is not None,
        "shape": {"layers": config.layers, "width": config.width, "context_tokens": config.context_tokens},
    }
