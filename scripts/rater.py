"""From clicks to a better model, with a rater who can be looked into: `python scripts/rater.py runs/tiny --out runs/rater`.

A server offers two answers to each question, drawn at temperature 1; a rater with a taste of its own chooses between them
through the API, and is wrong one time in ten. `recipes/feedback.toml` makes a model of the choices, and of a control, in
which a coin chose. Then the same rater compares answers to questions that nobody judged, of each model beside the one
before. Prints a table and writes rater.json.

The taste: who does not know should say why, and not be sorry. Between a claim and a refusal the rater has no opinion, so it
asks for nothing that would make facts worse.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ropewalk.artifact import open_artifact
from ropewalk.evaluate.questions import Question, read_questions, refuses
from ropewalk.serve.feedback import Store

RECIPE = Path(__file__).parents[1] / "recipes" / "feedback.toml"
MISTAKEN = 0.1
TOGETHER = 8  # questions asked at once
AT_A_TIME = 64  # questions asked before the rater votes
REFUSED_BY_GATE = 3
FACTS = ("seen", "held_out")


@dataclass(frozen=True)
class Said:
    """An answer: the response's id, which of its choices it is, and its words."""

    id: str
    choice: int
    text: str


@dataclass(frozen=True)
class Compared:
    """How often the rater preferred a model's answer to the other's. decided: of those that were no tie."""

    won: int
    tied: int
    lost: int
    decided: float
    with_ties: float


def taste(text: str) -> int | None:
    """How much the rater likes an answer; nothing to say of one that claims something."""
    if not refuses(text):
        return None
    return 2 if "pages" in text else 0 if "sorry" in text.lower() else 1


def preferred(left: str, right: str) -> str:
    """What the rater says of two answers side by side."""
    ours, theirs = taste(left), taste(right)
    if ours is None or theirs is None or ours == theirs:
        return "tie"
    return "left" if ours > theirs else "right"


@contextmanager
def serving(*models: Path, feedback: Path | None = None) -> Iterator[str]:
    """A server of its own for these models. Gives its address."""
    options = ["--models", *map(str, models), "--port", "0", "--slots", str(2 * TOGETHER), "--queue", "64"]
    options += ["--feedback", str(feedback)] if feedback else []
    command = [sys.executable, "-m", "ropewalk", "serve", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def post(address: str, path: str, body: dict[str, Any]) -> Any:
    """What the server answers to a body."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(address + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=300) as response:
        return json.load(response)


def ask(address: str, model: str, questions: Sequence[Question], *, answers: int, seed: int) -> list[list[Said]]:
    """Several answers to each question, drawn at temperature 1."""

    def one(numbered: tuple[int, Question]) -> list[Said]:
        number, question = numbered
        drawn = {"temperature": 1, "n": answers, "seed": seed + answers * number, "max_tokens": 64}
        answer = post(address, "/v1/chat/completions", {"model": model, "messages": list(question.messages), **drawn})
        return [Said(answer["id"], each["index"], each["message"]["content"]) for each in answer["choices"]]

    with ThreadPoolExecutor(TOGETHER) as pool:
        return list(pool.map(one, enumerate(questions)))


def vote(address: str, model: str, questions: Sequence[Question], *, votes: int, seed: int) -> Counter[str]:
    """Choose between two answers, until so many are chosen. Returns what was said."""
    lot, said = random.Random(seed), Counter[str]()
    for start in range(0, 20 * len(questions), AT_A_TIME):
        some = [questions[place % len(questions)] for place in range(start, start + AT_A_TIME)]
        for left, right in ask(address, model, some, answers=2, seed=seed + 2 * start):
            better = preferred(left.text, right.text)
            if better == "tie":
                said["ties, not sent"] += 1
                continue
            if lot.random() < MISTAKEN:
                better = "left" if better == "right" else "right"
                said["mistakes"] += 1
            sides = {name: {"id": one.id, "choice": one.choice} for name, one in (("left", left), ("right", right))}
            post(address, "/v1/feedback", {"kind": "choice", "preferred": better, **sides})
            said[better] += 1
            if said["left"] + said["right"] == votes:
                return said
    raise SystemExit("the model gives too few answers that the rater can tell apart")


def shuffle(store: Path, control: Path, *, seed: int) -> None:
    """Write the same pairs into another store, the better one of each chosen by a coin."""
    lot = random.Random(seed)
    with closing(Store(store)) as read, closing(Store(control, create=True)) as written:
        answers, judgements = read.judged()
        for one in judgements:
            assert one.other is not None
            about = [answers[one.answer], answers[one.other]]
            written.add(replace(one, value=lot.choice(("left", "right"))), about)


def run_recipe(tiny: Path, store: Path, into: Path, settings: Sequence[str]) -> int:
    """One command. Returns its exit code."""
    here = {
        "judged.store": store, "candidate.model": tiny / "model", "evaluation.tokens": tiny / "tokens",
        "evaluation.corpus": tiny / "corpus", "evaluation.questions": tiny / "site" / "questions.jsonl",
        "model.before": tiny / "model", "model.evaluation_before": tiny / "evaluation",
    }  # fmt: skip
    changes = [*(f"{name}={path}" for name, path in here.items()), *settings]
    flags = [flag for change in changes for flag in ("--set", change)]
    command = [sys.executable, "-m", "ropewalk", "run", str(RECIPE), "--into", str(into), *flags]
    code = subprocess.run(command, check=False).returncode
    if code not in (0, REFUSED_BY_GATE):
        raise SystemExit(f"the recipe failed with exit code {code}")
    return code


def compared(ours: Sequence[Said], theirs: Sequence[Said]) -> Compared:
    """What the rater says of two models' answers to the same questions."""
    said = Counter(preferred(one.text, other.text) for one, other in zip(ours, theirs, strict=True))
    won, tied, lost = said["left"], said["tie"], said["right"]
    decided = won / (won + lost) if won + lost else 0.5
    return Compared(won, tied, lost, round(decided, 4), round((won + tied / 2) / len(ours), 4))


def facts_right(evaluation: Path) -> float:
    """The share of right answers to questions that have one, over the groups of `FACTS`."""
    figures = json.loads((evaluation / "evaluation.json").read_text(encoding="utf-8"))["questions"]["groups"]
    groups = [group for group in figures if group["group"] in FACTS]
    return round(sum(group["right"] for group in groups) / sum(group["asked"] for group in groups), 4)


def main() -> None:
    """Vote, train, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tiny", type=Path, help="what recipes/tiny.toml made")
    parser.add_argument("--out", type=Path, required=True, help="a folder that is not there yet")
    parser.add_argument("--votes", type=int, default=500)
    parser.add_argument("--held-out", type=int, default=500, help="questions that nobody judged, to compare with")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], help="another value for the recipe, as for ropewalk run")
    options = parser.parse_args()
    options.out.mkdir(parents=True)
    tiny, out, lot = options.tiny, options.out, random.Random(options.seed)
    judged = read_questions(tiny / "site" / "tasks.jsonl")
    lot.shuffle(judged)
    open_to_taste = [question for question in read_questions(tiny / "site" / "questions.jsonl") if question.refuse]
    unseen = lot.sample(open_to_taste, min(options.held_out, len(open_to_taste)))
    before = f"{tiny.resolve().name}/model"
    with serving(tiny / "model", feedback=out / "feedback.sqlite") as address:
        said = vote(address, before, judged, votes=options.votes, seed=options.seed)
    shuffle(out / "feedback.sqlite", out / "shuffled.sqlite", seed=options.seed)
    codes = {
        name: run_recipe(tiny, out / f"{store}.sqlite", out / name, options.set)
        for name, store in (("voted", "feedback"), ("control", "shuffled"))
    }
    with serving(tiny / "model", *(out / name / "candidate" for name in codes)) as address:
        names = {before: 1, **{f"{name}/candidate": 2 for name in codes}}  # seeds: another draw than the model before
        answers = {
            name: [one for [one] in ask(address, name, unseen, answers=1, seed=options.seed + 10_000_000 * place)]
            for name, place in names.items()
        }
    results = {
        name: {
            "compared": asdict(compared(answers[f"{name}/candidate"], answers[before])),
            "facts_right": facts_right(out / name / "evaluation"),
            "gate": "accepted" if code == 0 else "refused",
            "digest": open_artifact(out / name / "candidate").digest,
        }
        for name, code in codes.items()
    }
    facts_before = facts_right(tiny / "evaluation")
    print(f"\nvotes: {dict(said)}; facts right before: {facts_before:.1%}\n")
    print(f"{'model':<10}{'won':>6}{'tied':>6}{'lost':>6}{'of decided':>12}{'ties half':>11}{'facts':>8}  gate")
    for name, found in results.items():
        one = Compared(**found["compared"])
        shares = f"{one.decided:>12.1%}{one.with_ties:>11.1%}{found['facts_right']:>8.1%}"
        print(f"{name:<10}{one.won:>6}{one.tied:>6}{one.lost:>6}{shares}  {found['gate']}")
    told = {"votes": dict(said), "questions": len(unseen), "facts_right_before": facts_before, "models": results}
    (out / "rater.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
