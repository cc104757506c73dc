"""What ends an answer is learned, whatever else its id is for; what a tool says is not."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from ropewalk.engine.engine import Engine, Generation
from ropewalk.engine.load import load_engine
from ropewalk.model.checkpoint import load_model
from ropewalk.model.rows import states_and_targets
from ropewalk.model.sequences import packed
from ropewalk.posttrain import GrpoOptions
from ropewalk.posttrain.grpo import Trainer
from ropewalk.posttrain.rollout import Answer, graded
from ropewalk.posttrain.sequences import answered, learn
from ropewalk.pretrain.loop import learn_rows
from ropewalk.tokenizer.chat import render, render_prompt
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.special import BOUNDARY, TURN_END

PROMPT = [{"role": "user", "content": "Pick a colour."}]


@pytest.fixture(scope="module")
def padded_with_its_end(tmp_path_factory, tuned):
    """The model's folder, which says that the end token pads, too, as SmolLM2's does."""
    folder = tmp_path_factory.mktemp("padded") / "model"
    shutil.copytree(tuned.path, folder)
    for name, key, value in (
        ("tokenizer_config.json", "pad_token", TURN_END),
        ("config.json", "pad_token_id", Tokenizer.load(tuned.path).special[TURN_END]),
    ):
        said = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(said | {key: value}))
    return folder


def test_an_end_token_that_also_pads_is_learned(padded_with_its_end):
    """Its row of the head is pulled towards where answers end, by sft and by an objective of whole answers."""
    model, tokenizer = load_model(padded_with_its_end), Tokenizer.load(padded_with_its_end)
    end = tokenizer.special[TURN_END]
    answers = [answered(tokenizer, PROMPT, [{"role": "assistant", "content": "black and blue"}])]
    assert answers[0].ids[-1] == end
    rows, _ = packed(answers)
    with torch.no_grad():
        hidden_ND, targets_N = states_and_targets(model, rows)
        before = model.logits(hidden_ND)[targets_N == end, end]
    for backward in (lambda: learn_rows(model, rows), lambda: learn(model, answers, lambda sums_S: -sums_S.sum())):
        backward()
        with torch.no_grad():
            weight = model.lm_head.weight[end] - model.lm_head.weight.grad[end]
            assert (hidden_ND[targets_N == end] @ weight > before).all()
        model.zero_grad()


def test_each_of_several_end_tokens_ends_an_answer_and_is_learned(tuned):
    loaded = load_engine(tuned.path)
    ends = [loaded.tokenizer.special[name] for name in (BOUNDARY, TURN_END)]
    engine = Engine(loaded.model, loaded.tokenizer, frozenset(ends))
    options = GrpoOptions(model=tuned.path, tasks=tuned.path, prompts=1, samples=2)
    trainer = Trainer(engine, [], options, judge=graded(-1.0), before={})
    prompt, words = render_prompt(engine.tokenizer, PROMPT), engine.tokenizer.encode("green")
    made = [Generation([*words, end], "green", [-1.0] * (len(words) + 1), "stop") for end in ends]
    trainer.take([[Answer(prompt, one, reward) for one, reward in zip(made, (1.0, -1.0), strict=True)]])
    assert trainer.figures["completions/clipped_ratio"] == 0
    trainer.update()
    (rows,) = trainer.batch
    assert sorted(rows.rows.targets_BT[rows.rows.mask_BT].tolist()) == sorted([*words * 2, *ends])
    hidden_ND, targets_N = states_and_targets(engine.model, rows.rows)
    for end, wanted in zip(ends, (1, -1), strict=True):
        (hidden_D,) = hidden_ND[targets_N == end]
        assert (-engine.model.lm_head.weight.grad[end] @ hidden_D).sign().item() == wanted


def test_nothing_of_what_a_tool_says_is_learned(tuned):
    tokenizer, model = Tokenizer.load(tuned.path), load_model(tuned.path)
    talk = [
        *PROMPT,
        {"role": "assistant", "content": "Let me see."},
        {"role": "tool", "content": "The colour of list is red."},
        {"role": "assistant", "content": "red"},
    ]
    one = answered(tokenizer, talk[:1], talk[1:])
    rows, _ = packed([one])
    _, targets_N = states_and_targets(model, rows)
    end = tokenizer.special[TURN_END]
    assert targets_N.tolist() == [*tokenizer.encode("Let me see."), end, *tokenizer.encode("red"), end]
    assert one.ids.tolist() == render(tokenizer, talk).ids[:-1]  # but it is read
