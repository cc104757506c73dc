"""The recipe of an assistant, in a few steps on a small model, with data in the shapes in which users have it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tests.engine.small import write_folder

from ropewalk.artifact import open_artifact
from ropewalk.cli import main

RECIPE = Path(__file__).parents[2] / "recipes" / "assistant.toml"
FEW = {
    "identity.conversations": 12,
    "before.max_tokens": 4,
    "sft.steps": 2,
    "sft.warm_up_steps": 1,
    "pairs.max_tokens": 4,
    "preferred.steps": 1,
    "preferred.held_back": 2,
    "model.steps": 1,
    "model.prompts": 2,
    "model.samples": 2,
    "model.max_tokens": 4,
    "model.held_back_tasks": 2,
    "after.max_tokens": 4,
    "added.max_tokens": 4,
}


def smoltalk(number):
    messages = [{"content": f"Name a rope, {number}.", "role": "user"}, {"content": "Hawser.", "role": "assistant"}]
    return {"messages": messages, "source": "smol-magpie-ultra"}


def gsm8k(number):
    return {
        "question": f"Add {number} and 1.",
        "answer": f"It is <<{number}+1={number + 1}>>{number + 1}.\n#### {number + 1}",
    }


def ultrafeedback(number):
    """The prompt stands in both answers again."""
    asked = {"content": f"What is {number}?", "role": "user"}
    good, bad = ([asked, {"content": text, "role": "assistant"}] for text in ("A number.", "No."))
    return {"prompt": asked["content"], "prompt_id": str(number), "chosen": good, "rejected": bad, "score_chosen": 8.0}


def test_the_recipe_makes_an_assistant_of_data_as_users_have_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "small", context_tokens=400)
    pq.write_table(pa.Table.from_pylist([smoltalk(number) for number in range(20)]), tmp_path / "smoltalk.parquet")
    pq.write_table(pa.Table.from_pylist([gsm8k(number) for number in range(12)]), tmp_path / "gsm8k.parquet")
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(ultrafeedback(number)) + "\n" for number in range(8)))
    settings = {name: str(value) for name, value in FEW.items()} | {
        "smollm2.source": '"small"',
        "sums.dataset": '"gsm8k"',
        "sums.source": '"gsm8k.parquet"',
        "sums.held_out": "3",
        "lessons.also": '["sums/conversations.jsonl", "smoltalk.parquet"]',
        "lessons.weights": "[1.0, 2.0, 0.5]",
        "lessons.held_out_fraction": "0.0",
        "preferred.preferences": '"pairs.jsonl"',
    }
    flags = [flag for name, value in settings.items() for flag in ("--set", f"{name}={value}")]
    assert main(["run", str(RECIPE), "--into", "runs", *flags]) == 0
    lessons = open_artifact(tmp_path / "runs" / "lessons")
    assert set(lessons.inputs) == {"conversations", "also.1", "also.2", "tokenizer"}
    assert 12 + 2 * 9 < lessons.facts["documents"] < 12 + 2 * 9 + 20  # a half of SmolTalk, by lot
    model = open_artifact(tmp_path / "runs" / "model")
    assert (model.facts["tasks"], model.facts["tasks_held_back"]) == (7, 2)
    assert open_artifact(tmp_path / "runs" / "preferred").facts["steps"] == 1
    asked = len((tmp_path / "runs" / "identity" / "held_out.jsonl").read_text().splitlines())
    assert len((tmp_path / "runs" / "after" / "answers.jsonl").read_text().splitlines()) == asked
    assert main(["run", str(RECIPE), "--into", "runs", *flags]) == 0  # all stands
