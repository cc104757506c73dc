"""The peers' part of bench/engine.py in a process of its own: transformers, or llama.cpp through its C interface.

    python bench/engine_peer.py JOB transformers|LIBRARY FOLDER

Speaks as engine_worker.py does.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import sys
import time
from ctypes import POINTER, Structure, c_bool, c_char_p, c_float, c_int8, c_int32, c_uint32, c_void_p
from pathlib import Path
from typing import Any

from engine_worker import (
    PREFILL_TOKENS,
    PROMPT_TOKENS,
    ROLLOUT_PROMPTS,
    ROLLOUT_SAMPLES,
    ROLLOUT_TOKENS,
    Job,
    prompts,
    saved,
    serve,
)

VOCABULARY = 49_152
DEFAULT_BATCH = (2048, 512, 1)  # llama.cpp's tokens a batch, a pass of it, and sequences: they tell that a struct fits


def main() -> None:
    job, peer, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    kind, _, count = job.partition(" ")
    work = transformers_job(kind, folder, int(count or 1)) if peer == "transformers" else llama_job(
        kind, folder, int(count or 1), Path(peer)
    )  # fmt: skip
    serve(work)


def transformers_job(kind: str, folder: Path, texts: int) -> Job:
    """`generate` where it can be, its own cache step by step where only the steps are timed."""
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32).eval()
    draws = random.Random(0)

    def decode(steps: int) -> dict[str, Any]:
        said = model(torch.tensor(prompts(draws, texts, PROMPT_TOKENS)), use_cache=True, logits_to_keep=1)
        started = time.perf_counter()
        for _ in range(steps):
            ids_BT = said.logits[:, -1:].argmax(dim=-1)
            said = model(ids_BT, past_key_values=said.past_key_values, use_cache=True)
        return {"tokens": texts * steps, "seconds": time.perf_counter() - started}

    def prefill(_: int) -> dict[str, Any]:
        ids_BT = torch.tensor(prompts(draws, 1, PREFILL_TOKENS))
        started = time.perf_counter()
        model(ids_BT, use_cache=True, logits_to_keep=1)
        return {"tokens": PREFILL_TOKENS, "seconds": time.perf_counter() - started}

    def rollouts(_: int) -> dict[str, Any]:
        ids_BT = torch.tensor(prompts(draws, ROLLOUT_PROMPTS, ROLLOUT_TOKENS))
        started = time.perf_counter()
        made = model.generate(
            ids_BT,
            attention_mask=torch.ones_like(ids_BT),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            num_return_sequences=ROLLOUT_SAMPLES,
            min_new_tokens=ROLLOUT_TOKENS,
            max_new_tokens=ROLLOUT_TOKENS,
        )
        return {"tokens": made[:, ROLLOUT_TOKENS:].numel(), "seconds": time.perf_counter() - started}

    def quality(_: int) -> dict[str, Any]:
        logits_BTV = model(torch.tensor(json.loads((folder / "text.json").read_text()))).logits
        return saved(logits_BTV.log_softmax(dim=-1).flatten(0, 1).numpy(), folder / "transformers.npy")

    work = {"decode": decode, "prefill": prefill, "rollouts": rollouts, "quality": quality}[kind]

    def without_gradients(steps: int) -> dict[str, Any]:
        with torch.inference_mode():
            return work(steps)

    return without_gradients


class Batch(Structure):
    """llama.h's llama_batch."""

    _fields_ = (
        ("n_tokens", c_int32),
        ("token", POINTER(c_int32)),
        ("embd", POINTER(c_float)),
        ("pos", POINTER(c_int32)),
        ("n_seq_id", POINTER(c_int32)),
        ("seq_id", POINTER(POINTER(c_int32))),
        ("logits", POINTER(c_int8)),
    )


class ModelParameters(Structure):
    """llama.h's llama_model_params: only passed on, so that its size is all that counts, and more does no harm."""

    _fields_ = (("fields", c_int8 * 512),)


class ContextParameters(Structure):
    """The beginning of llama.h's llama_context_params."""

    _fields_ = (
        ("n_ctx", c_uint32),
        ("n_batch", c_uint32),
        ("n_ubatch", c_uint32),
        ("n_seq_max", c_uint32),
        ("fields", c_int8 * 496),
    )


class Llama:
    """A model in llama.cpp, with room for so many sequences of so many tokens."""

    def __init__(self, library: Path, file: Path, *, sequences: int, tokens: int) -> None:
        self.llama = functions(ctypes.CDLL(str(library)))
        quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, c_char_p, c_void_p)(lambda *_: None)
        self.llama.llama_log_set(quiet, None)
        self.llama.llama_backend_init()
        self.kept = (
            quiet,
            self.llama.llama_model_load_from_file(str(file).encode(), self.llama.llama_model_default_params()),
        )
        asked = self.llama.llama_context_default_params()
        if (asked.n_batch, asked.n_ubatch, asked.n_seq_max) != DEFAULT_BATCH:
            sys.exit(f"{library}: llama_context_params begins otherwise in this version: mend ContextParameters")
        asked.n_ctx, asked.n_batch, asked.n_seq_max = sequences * tokens, sequences * PREFILL_TOKENS, sequences
        self.context = self.llama.llama_init_from_model(self.kept[1], asked)
        threads = os.cpu_count() or 1
        self.llama.llama_set_n_threads(self.context, threads, threads)
        self.batch = self.llama.llama_batch_init(asked.n_batch, 0, 1)

    def clear(self) -> None:
        self.llama.llama_memory_clear(self.llama.llama_get_memory(self.context), True)

    def read(self, rows: list[list[int]], start: int, *, all_logits: bool = False) -> None:
        """Read a piece of each sequence, from one position on; logits are kept behind its last token, or behind all."""
        place = 0
        for sequence, ids in enumerate(rows):
            for offset, token_id in enumerate(ids):
                self.batch.token[place], self.batch.pos[place] = token_id, start + offset
                self.batch.n_seq_id[place], self.batch.seq_id[place][0] = 1, sequence
                self.batch.logits[place] = all_logits or offset == len(ids) - 1
                place += 1
        self.batch.n_tokens = place
        if self.llama.llama_decode(self.context, self.batch):
            sys.exit("llama_decode failed")

    def logits(self, place: int):
        """The scores behind a token of the last batch, (V,)."""
        import numpy as np

        return np.ctypeslib.as_array(self.llama.llama_get_logits_ith(self.context, place), shape=(VOCABULARY,))


def functions(library: Any) -> Any:
    """Say what the functions take and give."""
    library.llama_model_default_params.restype = ModelParameters
    library.llama_context_default_params.restype = ContextParameters
    library.llama_model_load_from_file.argtypes = [c_char_p, ModelParameters]
    library.llama_init_from_model.argtypes = [c_void_p, ContextParameters]
    library.llama_set_n_threads.argtypes = [c_void_p, c_int32, c_int32]
    library.llama_get_memory.argtypes = [c_void_p]
    library.llama_memory_clear.argtypes = [c_void_p, c_bool]
    library.llama_decode.argtypes = [c_void_p, Batch]
    library.llama_get_logits_ith.argtypes = [c_void_p, c_int32]
    library.llama_get_logits_ith.restype = POINTER(c_float)
    library.llama_batch_init.restype = Batch
    for name in ("llama_model_load_from_file", "llama_init_from_model", "llama_get_memory"):
        getattr(library, name).restype = c_void_p
    return library


def llama_job(kind: str, folder: Path, texts: int, library: Path) -> Job:
    llama = Llama(library, folder / "model.gguf", sequences=texts, tokens=PREFILL_TOKENS + 64)
    draws = random.Random(0)

    def decode(steps: int) -> dict[str, Any]:
        llama.clear()
        llama.read(prompts(draws, texts, PROMPT_TOKENS), 0)
        places, seconds = [text * PROMPT_TOKENS + PROMPT_TOKENS - 1 for text in range(texts)], 0.0
        for step in range(steps):
            started = time.perf_counter()
            rows = [[int(llama.logits(place).argmax())] for place in places]
            llama.read(rows, PROMPT_TOKENS + step)
            seconds += time.perf_counter() - started
            places = list(range(texts))
        return {"tokens": texts * steps, "seconds": seconds}

    def prefill(_: int) -> dict[str, Any]:
        llama.clear()
        (prompt,) = prompts(draws, 1, PREFILL_TOKENS)
        started = time.perf_counter()
        llama.read([prompt], 0)
        llama.logits(PREFILL_TOKENS - 1)
        return {"tokens": PREFILL_TOKENS, "seconds": time.perf_counter() - started}

    def quality(_: int) -> dict[str, Any]:
        import numpy as np
        import torch

        logits = []
        for ids in json.loads((folder / "text.json").read_text()):
            llama.clear()
            llama.read([ids], 0, all_logits=True)
            logits += [llama.logits(place).copy() for place in range(len(ids))]
        return saved(torch.from_numpy(np.stack(logits)).log_softmax(dim=-1).numpy(), folder / "llama.npy")

    return {"decode": decode, "prefill": prefill, "quality": quality}[kind]


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
    main()
