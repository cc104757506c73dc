"""A tiny stage for the tests: six shards, each a hash chain, written one after another with a checkpoint after each.

Run as a program so that tests can kill it: `python stage.py FOLDER SEED [--force]`.
"""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path

from ropewalk.artifact import Artifact, Part, build

SHARDS = 6


def make_shards(part: Part, seed: int, *, pause_seconds: float = 0.0) -> dict[str, object]:
    state_file = part.scratch / "state"
    state = state_file.read_bytes() if state_file.exists() else b"0 " + hashlib.sha256(str(seed).encode()).digest()
    first, _, chain = state.partition(b" ")
    for number in range(int(first), SHARDS):
        time.sleep(pause_seconds)
        chain = hashlib.sha256(chain).digest()
        _replace(part.folder / f"shard-{number}.bin", chain * 500)
        _replace(state_file, str(number + 1).encode() + b" " + chain)
        with (part.logs / "log.txt").open("a") as log:
            log.write(f"shard {number}\n")
    return {"shards": SHARDS, "by_length": {16_000: SHARDS}}


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(path.name + ".new")
    draft.write_bytes(content)
    draft.replace(path)


def build_shards(out: Path, *, seed: int = 1, pause_seconds: float = 0.0, force: bool = False, **inputs: Path) -> Artifact:
    return build(
        out,
        kind="shards",
        stage_version=1,
        options={"seed": seed},
        inputs=inputs,
        libraries=("numpy",),
        make=lambda part: make_shards(part, seed, pause_seconds=pause_seconds),
        force=force,
    )


if __name__ == "__main__":
    build_shards(Path(sys.argv[1]), seed=int(sys.argv[2]), pause_seconds=0.01, force="--force" in sys.argv)
