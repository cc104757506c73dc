"""Benchmarks are read as they are published; their scores are those of the plain calculation, and survive a kill."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
from tests.engine.small import write_folder

from ropewalk.engine.load import load_engine
from ropewalk.evaluate import BenchmarkOptions, run_benchmark
from ropewalk.evaluate.benchmarks import BENCHMARKS, CORE, read_item
from ropewalk.evaluate.likelihood import likelihoods
from ropewalk.evaluate.scored import Scored, difference, read_scored
from ropewalk.model import ImportOptions, run_import
from ropewalk.model.sequences import Answered
from ropewalk.runtime.errors import InputError
from ropewalk.tokenizer.special import BOUNDARY

LABELLED = {"text": ["ice", "fire"], "label": ["A", "B"]}
PUBLISHED = {
    "arc_easy": (
        {"question": "Which is hot?", "choices": LABELLED, "answerKey": "B"},
        (["Question: Which is hot?\nAnswer: "], ["ice", "fire"], 1),
    ),
    "openbook_qa": (
        {"question_stem": "What burns is", "choices": LABELLED, "answerKey": "B"},
        (["What burns is "], ["ice", "fire"], 1),
    ),
    "commonsense_qa": (
        {"question": "Which is hot?", "choices": LABELLED, "answerKey": "B"},
        (["Question: Which is hot?\nA. ice\nB. fire\nAnswer: "], ["A", "B"], 1),
    ),
    "mmlu": (
        {"question": "1 + 1 =", "choices": ["1", "2"], "answer": 1, "subject": "sums"},
        (["1 + 1 =\nA. 1\nB. 2\nAnswer: "], ["A", "B"], 1),
    ),
    "hellaswag": (
        {
            "activity_label": "Ropes", "ctx_a": "A man [step] spins hemp.", "ctx_b": "the man", "label": "0",
            "endings": ["twists [substeps] it.", "is [title] rope."],
        },
        (["Ropes: A man spins hemp. The man "], ["twists it.", "is. rope."], 0),
    ),
    "piqa": (
        {"goal": "Tie it", "sol1": "Use rope.", "sol2": "Use tea.", "label": 0},
        (["Question: Tie it\nAnswer: "], ["Use rope.", "Use tea."], 0),
    ),
    "boolq": (
        {"passage": "Ice is cold.", "question": "is ice hot", "answer": False},
        (["Ice is cold.\nQuestion: is ice hot?\nAnswer: "], ["no", "yes"], 0),
    ),
    "copa": (
        {"premise": "It rained.", "question": "effect", "choice1": "The rope got wet.", "choice2": "I sang.", "label": 0},
        (["It rained therefore "], ["the rope got wet.", "i sang."], 0),
    ),
    "winogrande": (
        {"sentence": "The rope beat the tea as _ was strong.", "option1": "the rope", "option2": "the tea", "answer": "1"},
        (["The rope beat the tea as the rope ", "The rope beat the tea as the tea "], ["was strong."], 0),
    ),
    "winograd": (
        {
            "text": "The rope held the ship because it was strong.", "pronoun": "it", "pronoun_loc": 31,
            "options": ["The rope", "The ship"], "label": 0,
        },
        (
            ["The rope held the ship because the rope", "The rope held the ship because the ship"],
            [" was strong."],
            0,
        ),
    ),
    "lambada_openai": ({"text": "She tied it with rope"}, (["She tied it with "], ["rope"], 0)),
    "squad": (
        {"context": "Ice is cold.", "question": "What is cold?", "answers": {"text": ["Ice"], "answer_start": [0]}},
        (["Context: Ice is cold.\nQuestion: What is cold?\nAnswer: "], ["Ice"], 0),
    ),
    "agi_eval_lsat_ar": (
        {"passage": "Two ropes.", "question": "How many?", "options": ["(A)1", "(B)2"], "label": "B"},
        (["Two ropes.\nHow many?\n(A)1\n(B)2\nAnswer: "], ["A", "B"], 1),
    ),
    "bigbench_operators": ({"input": "op(1) =", "target": ["2", "two"]}, (["op(1) =\nAnswer: "], ["2"], 0)),
    "bigbench_language_identification": (
        {"input": "Seil", "target_scores": {"English": 0, "German": 1}},
        (["Seil\nAnswer: "], ["English", "German"], 1),
    ),
}  # fmt: skip
OF_CORE = {
    "choices": ({"query": "Hot is", "choices": ["ice", "fire"], "gold": 1}, ["Hot is"], ["ice", "fire"], 1),
    "schema": ({"context_options": ["Ice", "Fire"], "continuation": "is hot", "gold": 1}, ["Ice", "Fire"], ["is hot"], 1),
    "language": ({"context": "Hot is ", "continuation": "fire"}, ["Hot is"], ["fire"], 0),
}


@pytest.mark.parametrize("task", PUBLISHED)
def test_the_makers_own_fields(task):
    row, expected = PUBLISHED[task]
    item = read_item(BENCHMARKS[task], row, "here")
    assert (list(item.contexts), list(item.endings), item.gold) == expected


@pytest.mark.parametrize("task", CORE)
def test_cores_own_files(task):
    row, contexts, endings, gold = OF_CORE[CORE[task].form]
    item = read_item(CORE[task], row, "here")
    assert list(item.contexts) == [context + CORE[task].delimiter for context in contexts]
    assert (list(item.endings), item.gold) == (endings, gold)


def test_what_can_be_asked_for_is_declared():
    assert len(CORE) == 22
    assert set(get_args(get_type_hints(BenchmarkOptions)["task"])) == set(BENCHMARKS)


@pytest.mark.parametrize(
    ("task", "change", "said"),
    [
        ("arc_easy", {"answerKey": "C"}, "the right answer is 'C', which is none of A, B"),
        ("hellaswag", {"label": ""}, "the right answer is '', which is no place among 2 choices"),
        ("hellaswag", {"endings": None}, 'no list in "endings"'),
        ("winogrande", {"sentence": "No gap."}, 'a "sentence" with a gap'),
        ("winograd", {"pronoun_loc": 3}, 'does not stand at its "pronoun_loc"'),
        ("squad", {"answers": {"text": []}}, 'its "answers" hold no "text"'),
        ("boolq", {"answer": "maybe"}, "must be true or false"),
        ("bigbench_operators", {"target": 7}, 'its "target" must be a text'),
    ],
)
def test_a_row_of_another_kind_is_named(task, change, said):
    with pytest.raises(InputError, match=f"^there.*{said}"):
        read_item(BENCHMARKS[task], {**PUBLISHED[task][0], **change}, "there")


def test_what_only_core_has_is_said():
    with pytest.raises(InputError, match=r"lacks one of the fields context, continuation.*CORE's own files"):
        read_item(CORE["coqa"], {"story": "A rope.", "questions": ["What?"]}, "there")


WORDS = "rope hemp yarn tar strand walk long spun ship sail mast".split()


def write_rows(path: Path, count: int, *, choices: int = 3) -> Path:
    draws = random.Random(4)

    def said(most: int) -> str:
        return " ".join(draws.choices(WORDS, k=draws.randint(1, most)))

    rows = [
        {"query": f"{number} {said(4)}", "choices": [said(3) for _ in range(choices)], "gold": draws.randrange(choices)}
        for number in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    write_folder(folder / "elsewhere", context_tokens=256)
    return run_import(ImportOptions(source=folder / "elsewhere"), out=folder / "model").path


def options_of(model: Path, source: Path, **changes) -> BenchmarkOptions:
    return BenchmarkOptions(model=model, source=source, **{"task": "copa", **changes})


def test_scores_are_those_of_the_plain_calculation(model, tmp_path):
    source = write_rows(tmp_path / "source.jsonl", 30)
    made = run_benchmark(options_of(model, source, shots=2), out=tmp_path / "scores")
    engine = load_engine(model, slots=1)
    rows = [json.loads(line) for line in source.read_text().splitlines()]
    examples = {f"{row['query']} {row['choices'][row['gold']]}" for row in rows}
    boundary = engine.tokenizer.special[BOUNDARY]
    right = dict.fromkeys(("acc", "acc_norm", "acc_token"), 0)
    for row, scored in zip(rows, read_scored(made.path / "items.jsonl"), strict=True):
        (shown,) = _shown(engine, model, source, scored.item)
        assert len(shown) == 2 and set(shown) < examples - {f"{row['query']} {row['choices'][row['gold']]}"}
        nats = []
        for choice in row["choices"]:
            before = [boundary, *"".join(f"{one}\n\n" for one in shown).encode(), *row["query"].encode()]
            ids = np.array([*before, *f" {choice}".encode()])
            ((found,),) = likelihoods(engine.model, [[Answered(ids, np.arange(len(ids)) >= len(before))]])
            nats.append(found.nats)
        assert scored.nats == pytest.approx(nats, abs=1e-3)
        lengths = np.array([len(choice) for choice in row["choices"]])
        assert scored.text_bytes == tuple(lengths) and scored.tokens == tuple(lengths + 1)  # tokens here are bytes
        found = {"acc": nats, "acc_norm": nats / lengths, "acc_token": nats / (lengths + 1)}
        for name, values in found.items():
            assert getattr(scored, name) == (int(np.argmax(values)) == row["gold"])
            right[name] += getattr(scored, name)
    figures = json.loads((made.path / "benchmark.json").read_text())
    assert {name: figures[name]["hits"] for name in right} == right
    assert figures["centered"] == pytest.approx((right["acc_token"] / 30 - 1 / 3) / (2 / 3), abs=1e-4)
    longest = sum(int(np.argmax([len(choice) for choice in row["choices"]])) == row["gold"] for row in rows)
    assert figures["baselines"]["longest"]["hits"] == longest
    assert figures["baselines"]["chance"] == pytest.approx(1 / 3, abs=1e-4)


def _shown(engine, model, source, place):
    from ropewalk.evaluate.scored import _items, _shots

    items = _items(BENCHMARKS["copa"], source)
    drawn = _shots(place, items, 2, options_of(model, source, shots=2))
    yield ["".join(one.pairs[one.gold]) for one in drawn]


def test_a_kill_costs_a_lot_and_changes_nothing(model, tmp_path):
    source = write_rows(tmp_path / "source.jsonl", 1_200, choices=2)
    undisturbed = run_benchmark(options_of(model, source), out=tmp_path / "undisturbed")
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "ropewalk", "benchmark", "--model", model, "--task", "copa", "--source", source]
    with subprocess.Popen([*map(str, command), "--out", str(out)], stderr=subprocess.DEVNULL) as process:
        items = out.with_name("killed.part") / "items.jsonl"
        while not (items.exists() and items.stat().st_size):
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    stood = items.read_bytes()
    assert 0 < stood.count(b"\n") < 1_200
    items.write_bytes(stood + b'{"item": 99')  # as a kill in the middle of a line leaves it
    resumed = run_benchmark(options_of(model, source), out=out)
    assert resumed.digest == undisturbed.digest


def test_some_items_by_lot_and_two_models_on_the_same(model, tmp_path):
    source = write_rows(tmp_path / "source.jsonl", 40)
    first = run_benchmark(options_of(model, source, items=15), out=tmp_path / "first")
    places = [one.item for one in read_scored(first.path / "items.jsonl")]
    assert places == sorted(set(places)) and len(places) == 15 and places != list(range(15))
    options = options_of(model, source, items=15, format="chat", shots=1, other=first.path)
    second = run_benchmark(options, out=tmp_path / "second")
    figures = json.loads((second.path / "benchmark.json").read_text())
    assert [one.item for one in read_scored(second.path / "items.jsonl")] == places
    hits = [json.loads((one.path / "benchmark.json").read_text())["acc_token"]["hits"] for one in (second, first)]
    assert figures["difference"]["difference"] == pytest.approx((hits[0] - hits[1]) / 15, abs=1e-4)
    with pytest.raises(InputError, match="scored on other items"):
        run_benchmark(options_of(model, source, items=16, other=first.path), out=tmp_path / "third")
    with pytest.raises(InputError, match="only 40 items to draw 40 examples from"):
        run_benchmark(options_of(model, source, shots=40), out=tmp_path / "fourth")


def test_a_paired_difference_is_mcnemars():
    def scored(rights: str):
        for number, one in enumerate(rights):
            yield Scored(number, 0, (0.0,), (1,), (1,), (False,), False, *[one == "+"] * 3)

    found = difference(scored("++++++++-+--"), scored("-------+++--"))
    assert (found["only_this"], found["only_other"], found["items"]) == (7, 1, 12)
    assert (found["difference"], found["p_value"]) == (0.5, pytest.approx(2 * 9 / 256, abs=1e-6))
    assert found["low"] < 0.5 < found["high"]
    assert difference(scored("+-"), scored("+-"))["p_value"] == 1.0
