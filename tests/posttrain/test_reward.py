"""A reward model gives the preferred answer more, is told how sure it is, and is a folder that can be read again."""

from __future__ import annotations

import json
import math

import pytest
import torch
from tests.posttrain.conftest import COLOURS
from tests.posttrain.interruptions import interrupted

from ropewalk.model.checkpoint import load_model
from ropewalk.posttrain import RewardOptions, run_reward, sequences
from ropewalk.posttrain.judged import read_pairs
from ropewalk.posttrain.prefer import Item
from ropewalk.posttrain.reward import bradley_terry, by_length, calibration_error, figures
from ropewalk.posttrain.scorer import all_scores, load_scorer, new_scorer, scores
from ropewalk.posttrain.sequences import answered
from ropewalk.pretrain import loop
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.metrics import read_metrics
from ropewalk.tokenizer.encoding import Tokenizer


def pair(number: int, chosen: str, rejected: str, **more) -> dict:
    return {"id": str(number), "prompt": "Pick a colour.", "chosen": chosen, "rejected": rejected, **more}


def green_is_preferred(count: int = 60) -> list[dict]:
    """In each pair the answer with green in it, whichever is longer."""
    others = [colour for colour in COLOURS if colour != "green"]
    said = [("green", f"{others[n % 3]} and {others[(n + 1) % 3]}") for n in range(count)]
    return [pair(n, *(words if n % 2 else (f"{words[0]} it is", others[n % 3]))) for n, words in enumerate(said)]


def test_the_loss_is_bradley_and_terrys():
    scores_S = torch.tensor([2.0, 1.0, -1.0, 0.5], dtype=torch.float64)
    plain = bradley_terry(scores_S, torch.zeros(2), centering=0.0).tolist()
    assert plain == pytest.approx([math.log(1 + math.exp(-1)), math.log(1 + math.exp(1.5))])
    more = bradley_terry(scores_S, torch.tensor([0.5, 0.0]), centering=0.1).tolist()
    assert more == pytest.approx([math.log(1 + math.exp(-0.5)) + 0.1 * 9, math.log(1 + math.exp(1.5)) + 0.1 * 0.25])


def test_scores_are_those_of_each_conversation_alone(tuned, write_lines, monkeypatch):
    tokenizer, scorer = Tokenizer.load(tuned.path), new_scorer(load_model(tuned.path))
    with torch.no_grad():
        scorer.lm_head.weight.normal_()
    rows = read_pairs(write_lines(green_is_preferred(12)))
    answers = [answered(tokenizer, row.prompt, side) for row in rows for side in (row.chosen, row.rejected)]
    expected = []
    for one in answers:
        hidden_BTD = scorer(torch.from_numpy(one.ids)[None])
        expected.append(scorer.lm_head(hidden_BTD[0, -1]))  # after the end token
    margins_P = torch.zeros(len(rows))
    bradley_terry(torch.cat(expected), margins_P, centering=0.1).mean().backward()
    gradients = {name: weight.grad.clone() for name, weight in scorer.named_parameters()}
    scorer.zero_grad()
    packed_S, expected_S = scores(scorer, answers), torch.cat(expected).detach()
    torch.testing.assert_close(packed_S.detach(), expected_S, atol=1e-4, rtol=1e-4)
    bradley_terry(packed_S, margins_P, centering=0.1).mean().backward()
    for name, weight in scorer.named_parameters():
        torch.testing.assert_close(gradients[name], weight.grad, atol=1e-4, rtol=1e-3)
    monkeypatch.setattr(sequences, "pass_tokens", lambda model: 50)
    torch.testing.assert_close(all_scores(scorer, answers), expected_S, atol=1e-4, rtol=1e-4)


def test_it_learns_what_is_preferred_and_can_be_read_again(tmp_path, tuned, write_lines):
    pairs = write_lines(green_is_preferred())
    options = RewardOptions(
        model=tuned.path, preferences=pairs, epochs=6, batch=8, adamw_rate=0.003, held_back=20, evaluate_every_steps=10
    )
    made = run_reward(options, out=tmp_path / "reward")
    rows = read_metrics(made.path / "logs")
    assert made.kind == "reward"
    assert rows[0]["train/loss"] == pytest.approx(math.log(2), abs=1e-6)  # all begin with 0
    assert made.facts["held_back_accuracy"] > 0.9
    assert 0.3 < made.facts["held_back_accuracy_by_length"] < 0.7
    assert made.facts["held_back_calibration_error"] < 0.3
    assert rows[-1]["held_back/rewards/accuracy"] == made.facts["held_back_accuracy"]

    scorer, tokenizer = load_scorer(made.path), Tokenizer.load(made.path)
    (one,) = read_pairs(write_lines([pair(0, "green", "black")]))
    good, bad = all_scores(scorer, [answered(tokenizer, one.prompt, side) for side in (one.chosen, one.rejected)]).tolist()
    assert good > bad + 0.5
    described = json.loads((made.path / "config.json").read_text())
    assert described["architectures"][0].endswith("ForSequenceClassification")
    assert described["num_labels"] == 1
    with pytest.raises(InputError, match="is no reward model"):
        load_scorer(tuned.path)
    with pytest.raises(InputError):
        load_model(made.path)


@pytest.mark.peer
def test_transformers_gives_the_same_scores(tmp_path, tuned, write_lines):
    transformers = pytest.importorskip("transformers")
    options = RewardOptions(
        model=tuned.path, preferences=write_lines(green_is_preferred()), steps=6, adamw_rate=0.003, held_back=0
    )
    made = run_reward(options, out=tmp_path / "reward")
    scorer, tokenizer = load_scorer(made.path), Tokenizer.load(made.path)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(made.path)
    for row in read_pairs(write_lines(green_is_preferred(4))):
        one = answered(tokenizer, row.prompt, row.chosen)
        score = theirs(torch.from_numpy(one.ids)[None]).logits[0, 0].item()
        assert all_scores(scorer, [one]).item() == pytest.approx(score, abs=1e-4)


def test_an_interrupted_run_ends_with_the_weights_of_an_undisturbed_one(tmp_path, tuned, write_lines, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_SECONDS", 0.05)
    pairs = write_lines(green_is_preferred())
    options = RewardOptions(model=tuned.path, preferences=pairs, batch=4, steps=17, adamw_rate=0.001, held_back=4)
    straight = run_reward(options, out=tmp_path / "straight")
    out = tmp_path / "interrupted"
    resumed = interrupted(lambda: run_reward(options, out=out), out, after_steps=(5, 11))
    assert resumed.digest == straight.digest
    assert resumed.facts == straight.facts


def test_figures_of_a_reward_model():
    scores_S = torch.tensor([1.0, 0.0, 0.0, 2.0])
    told = figures(scores_S)
    assert (told["accuracy"], told["margin"]) == (0.5, -0.5)
    assert (told["min_reward"], told["max_reward"], told["mean_reward"]) == (0, 2, 0.75)
    stated = [1 / (1 + math.exp(-margin)) for margin in (1.0, 2.0)]  # the first is right, the second wrong
    assert calibration_error(scores_S) == pytest.approx(((1 - stated[0]) + stated[1]) / 2)
    sure = torch.tensor([20.0, 0.0] * 9 + [0.0, 20.0])
    assert calibration_error(sure) == pytest.approx(0.1, abs=1e-4)


def test_the_length_alone_is_told_beside_it(tuned, write_lines):
    tokenizer = Tokenizer.load(tuned.path)
    rows = read_pairs(
        write_lines([pair(1, "green and blue", "red"), pair(2, "green", "red and blue"), pair(3, "green", "black")])
    )
    items = [
        Item(row.id, (answered(tokenizer, row.prompt, row.chosen), answered(tokenizer, row.prompt, row.rejected)))
        for row in rows
    ]
    assert by_length(items[:2]) == 0.5
    assert by_length(items[:1]) == 1.0
    assert by_length([]) == 0.5


def test_a_margin_must_be_a_number(write_lines):
    assert read_pairs(write_lines([pair(1, "a", "b", margin=2)]))[0].margin == 2.0
    with pytest.raises(InputError, match='"margin" must be a number'):
        read_pairs(write_lines([pair(1, "a", "b", margin="much")]))
