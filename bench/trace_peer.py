"""The peer of bench/trace.py, in an environment with infini-gram.

    python trace_peer.py index FOLDER       sort FOLDER/tokenized.0, and print how many seconds that took
    python trace_peer.py attribute FOLDER   answer each line of the input with the milliseconds of each query of FOLDER

infini-gram's own indexing knows three tokenizers, which have to be downloaded: here the tokens are ours, in the form that it
writes, and its Rust program sorts them by the steps and with the arguments of its indexing.py. The options of `attribute`
are those of OLMoTrace's server, but for the length of a span, which is ours.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import infini_gram
from infini_gram.engine import InfiniGramEngine

TOKEN_BYTES = 2
SEPARATOR = 65_535
OVERLAP_BYTES = 100_000
LEAST_TOKENS = 8
MOST_OCCURRENCES = 1_000_000  # ours counts all


def main() -> None:
    verb, folder = sys.argv[1], Path(sys.argv[2]).resolve()
    if verb == "index":
        print(json.dumps({"seconds": index(folder)}))
    else:
        attribute(folder)


def index(folder: Path) -> float:
    data, parts, merged = folder / "tokenized.0", folder / "parts", folder / "merged"
    table = folder / "table.0"
    table.unlink(missing_ok=True)
    for scratch in (parts, merged):
        scratch.mkdir(exist_ok=True)
    size = data.stat().st_size
    ratio = -(-(size - 1).bit_length() // 8)
    program = Path(infini_gram.__file__).parent / "rust_indexing"
    common = ["--ratio", str(ratio), "--token-width", str(TOKEN_BYTES)]
    began = time.perf_counter()
    run(program, "make-part", "--data-file", data, "--parts-dir", parts, "--start-byte", 0, "--end-byte", size, *common)
    run(program, "merge", "--data-file", data, "--parts-dir", parts, "--merged-dir", merged, "--num-threads", 1,
        "--hacksize", OVERLAP_BYTES, *common)  # fmt: skip
    run(program, "concat", "--data-file", data, "--merged-dir", merged, "--merged-file", table, "--num-threads", 1, *common)
    seconds = time.perf_counter() - began
    for scratch in (parts, merged):
        for file in scratch.iterdir():
            file.unlink()
        scratch.rmdir()
    return seconds


def run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


def attribute(folder: Path) -> None:
    queries = json.loads((folder / "queries.json").read_text())
    engine = InfiniGramEngine(str(folder), eos_token_id=0, vocab_size=SEPARATOR, precompute_unigram_logprobs=False)
    for _ in sys.stdin:
        milliseconds, spans = [], 0
        for ids in queries:
            began = time.perf_counter()
            found = engine.attribute(ids, [], LEAST_TOKENS, MOST_OCCURRENCES, False)
            milliseconds.append(1e3 * (time.perf_counter() - began))
            spans += len(found["spans"])
        print(json.dumps({"milliseconds": milliseconds, "spans": spans}), flush=True)


if __name__ == "__main__":
    main()
