"""Objectives are as published; their gradient is autograd's; preferences are learned, resumed exactly, and checked."""

from __future__ import annotations

import math

import pytest
import torch
from tests.posttrain.conftest import COLOURS, NAMES
from tests.posttrain.interruptions import interrupted

from ropewalk.engine.load import load_engine
from ropewalk.engine.sampling import Sampling
from ropewalk.model.checkpoint import load_model
from ropewalk.posttrain import DpoOptions, KtoOptions, run_dpo, run_kto, sequences
from ropewalk.posttrain.judged import read_pairs, read_thumbs
from ropewalk.posttrain.kto import from_elsewhere
from ropewalk.posttrain.prefer import learn_judged
from ropewalk.posttrain.preference import PAIR_LOSSES, Said, kto, kto_baseline, reward_figures
from ropewalk.posttrain.sequences import answered, logprobs, passes
from ropewalk.pretrain import loop
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.metrics import read_metrics
from ropewalk.tokenizer.chat import render, render_prompt
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.special import TURN_END


def user(text: str) -> dict:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict:
    return {"role": "assistant", "content": text}


def pair(question: str, chosen: str, rejected: str) -> dict:
    return {"prompt": [user(question)], "chosen": [assistant(chosen)], "rejected": [assistant(rejected)]}


def green_is_preferred() -> list[dict]:
    """Green to any other colour, however it is asked for; and a name's own colour to others."""
    picked = [
        {**pair("Pick a colour.", "green", other), "id": f"{other} {number}"}
        for other in COLOURS
        if other != "green"
        for number in range(16)
    ]
    named = [
        pair(f"What colour is {name}?", f"The colour of {name} is {COLOURS[i % 4]}.", "blue") for i, name in enumerate(NAMES)
    ]
    return picked + named


def said(policy: list[float], reference: list[float], tokens: list[int]) -> Said:
    return Said(*(torch.tensor(values, dtype=torch.float64) for values in (policy, reference, tokens)))


def test_objectives_are_as_published():
    chosen, rejected = said([-4.0], [-5.0], [2]), said([-9.0], [-6.0], [6])
    expected = {
        "sigmoid": math.log(1 + math.exp(-0.1 * (1 - -3))),
        "sigmoid_norm": math.log(1 + math.exp(-0.1 * (1 / 2 - -3 / 6))),
        "ipo": (1 / 2 - -3 / 6 - 1 / 0.2) ** 2,
    }
    for name, value in expected.items():
        assert PAIR_LOSSES[name](chosen, rejected, 0.1).item() == pytest.approx(value, rel=1e-12)
    both, good = said([-4.0, -9.0], [-5.0, -6.0], [2, 6]), torch.tensor([True, False])
    losses = kto(both, good, 0.5, 0.1, good_weight=2.0, bad_weight=3.0).tolist()
    logistic = [1 / (1 + math.exp(-x)) for x in (0.1 * (1 - 0.5), -0.1 * (-3 - 0.5))]
    assert losses == pytest.approx([2 * (1 - logistic[0]), 3 * (1 - logistic[1])], rel=1e-6)
    assert kto_baseline(both).item() == 0
    assert kto_baseline(said([-1.0, -2.0], [-2.0, -2.5], [1, 1])).item() == 0.75
    told = reward_figures(chosen, rejected, 0.1)
    assert told["rewards/margins"] == pytest.approx(0.4)
    assert told["rewards/accuracies"] == 1


def plain_sums(model, answers) -> torch.Tensor:
    """Each answer's log-probability from whole logits, one answer at a time."""
    sums = []
    for one in answers:
        ids = torch.from_numpy(one.ids)[None]
        logprobs_TV = model.logits(model(ids[:, :-1]))[0].log_softmax(1)
        at_targets = logprobs_TV.gather(1, ids[0, 1:, None])[:, 0]
        sums.append(at_targets[torch.from_numpy(one.learned[1:])].sum())
    return torch.stack(sums)


@pytest.mark.parametrize("most_tokens", [60, 8192])
@pytest.mark.parametrize("name", list(PAIR_LOSSES))
def test_gradient_is_that_of_the_plain_objective(tuned, write_lines, monkeypatch, name, most_tokens):
    monkeypatch.setattr(sequences, "pass_tokens", lambda model: most_tokens)
    tokenizer, model = Tokenizer.load(tuned.path), load_model(tuned.path)
    rows = [pair("Pick a colour.", "green", "red and blue"), pair("What colour is list?", "black, I think", "It is red.")]
    answers = [
        answered(tokenizer, one.prompt, side)
        for one in read_pairs(write_lines([*rows, pair("Which?", "the first", "x")]))
        for side in (one.chosen, one.rejected)
    ]
    reference = logprobs(model, answers) + torch.tensor([0.3, -0.2, 0.1, 0.5, -1.0, 0.0])

    def objective(said: Said, part: slice | None = None) -> torch.Tensor:
        return PAIR_LOSSES[name](said.at(slice(0, None, 2)), said.at(slice(1, None, 2)), 0.3).sum()

    value, told = learn_judged(model, answers, reference, objective, together=2, count=3)
    found = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    tokens = torch.tensor([float(one.tokens) for one in answers])
    plain = objective(Said(plain_sums(model, answers), reference, tokens)) / 3
    plain.backward()
    assert value == pytest.approx(plain.item(), abs=1e-5)
    torch.testing.assert_close(told.policy_P, plain_sums(model, answers).detach(), atol=1e-4, rtol=1e-5)
    for weight_name, weight in model.named_parameters():
        torch.testing.assert_close(found[weight_name], weight.grad, atol=1e-5, rtol=1e-3)
    assert len(list(passes(model, answers, together=2))) == (1 if most_tokens > 60 else 3)


def test_ktos_gradient_is_that_of_the_plain_objective(tuned, write_lines):
    tokenizer, model = Tokenizer.load(tuned.path), load_model(tuned.path)
    said = [("green", True), ("red and blue", False), ("blue", True), ("It is red, I think", False)]
    rows = [{"prompt": f"Pick {n // 2}.", "completion": text, "label": good} for n, (text, good) in enumerate(said)]
    thumbs = read_thumbs(write_lines(rows))
    answers = [answered(tokenizer, thumb.prompt, thumb.answer) for thumb in thumbs]
    reference, good = (
        logprobs(model, answers) + torch.tensor([0.3, -0.2, 0.1, 0.5]),
        torch.tensor([one.good for one in thumbs]),
    )

    def objective(said: Said, part: slice) -> torch.Tensor:
        return kto(said, good[part], 0.2, 0.5, good_weight=1.0, bad_weight=2.0).sum()

    value, _ = learn_judged(model, answers, reference, objective, together=1, count=4)
    found = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    tokens = torch.tensor([float(one.tokens) for one in answers])
    plain = objective(Said(plain_sums(model, answers), reference, tokens), slice(None)) / 4
    plain.backward()
    assert value == pytest.approx(plain.item(), abs=1e-5)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(found[name], weight.grad, atol=1e-5, rtol=1e-3)


def test_only_the_answer_is_learned_and_its_end(tuned):
    tokenizer = Tokenizer.load(tuned.path)
    prompt = [user("Hello"), assistant("Hi"), user("Pick a colour.")]
    one = answered(tokenizer, prompt, [assistant("green")])
    learned = one.ids[one.learned].tolist()
    assert learned == [*tokenizer.encode("green"), tokenizer.special[TURN_END]]
    assert one.learned[-1]
    assert one.ids[: -len(learned)].tolist() == render_prompt(tokenizer, prompt)
    several = answered(tokenizer, prompt, [assistant("green"), user("And?"), assistant("blue")])
    assert several.tokens == len(learned) + len(tokenizer.encode("blue")) + 1
    assert several.ids.tolist() == render(tokenizer, [*prompt, assistant("green"), user("And?"), assistant("blue")]).ids[:-1]


def shares(path) -> tuple[float, float]:
    """How often a colour that is asked for is green, and how often one of the others."""
    engine = load_engine(path)
    prompt = render_prompt(engine.tokenizer, [user("Pick a colour.")])
    made = [one.text for one in engine.generate([prompt] * 60, [Sampling(8, seed=seed) for seed in range(60)])]
    return made.count("green") / 60, sum(made.count(colour) for colour in COLOURS if colour != "green") / 60


@pytest.mark.parametrize("loss", ["sigmoid", "sigmoid_norm"])
def test_dpo_makes_the_preferred_answer_likelier(tmp_path, tuned, write_lines, loss):
    options = DpoOptions(
        model=tuned.path,
        preferences=write_lines(green_is_preferred()),
        loss=loss,
        epochs=8,
        batch=8,
        adamw_rate=0.001,
        held_back=12,
        evaluate_every_steps=5,
    )
    made = run_dpo(options, out=tmp_path / "model")
    assert shares(tuned.path)[1] > 0.4
    green, others = shares(made.path)
    assert green > 0.6  # the plain loss takes some probability from both answers, and gives it to neither
    assert others < 0.05
    rows = read_metrics(made.path / "logs")
    assert rows[0]["train/loss"] == pytest.approx(math.log(2), abs=1e-4)  # the policy is the reference
    assert rows[0]["rewards/margins"] == pytest.approx(0, abs=1e-4)
    assert rows[-1]["rewards/margins"] > 0.1
    assert rows[-1]["held_back/rewards/accuracies"] == made.facts["held_back_accuracies"] > 0.9
    assert made.facts["learned_from"] == len(green_is_preferred()) - 12
    assert made.inputs["model"]["digest"] == tuned.digest


def test_kto_learns_from_lone_thumbs(tmp_path, tuned, write_lines):
    thumbs = [
        {"id": f"{colour} {number}", "prompt": "Pick a colour.", "completion": colour, "label": colour == "green"}
        for colour in COLOURS
        for number in range(12)
    ]
    options = KtoOptions(
        model=tuned.path, judged=write_lines(thumbs), epochs=12, batch=8, adamw_rate=0.001, held_back=8, good_weight=3.0
    )
    made = run_kto(options, out=tmp_path / "model")
    assert shares(made.path)[0] > 0.9
    rows = read_metrics(made.path / "logs")
    assert rows[0]["kl"] == 0
    assert rows[-1]["rewards/chosen"] > rows[-1]["rewards/rejected"]
    assert made.facts["learned_from"] == 40


@pytest.mark.parametrize("stage", ["dpo", "kto"])
def test_an_interrupted_run_ends_with_the_weights_of_an_undisturbed_one(tmp_path, tuned, write_lines, monkeypatch, stage):
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_SECONDS", 0.05)
    common = {"model": tuned.path, "batch": 4, "steps": 17, "adamw_rate": 0.001, "held_back": 4}
    if stage == "dpo":
        options, run = DpoOptions(preferences=write_lines(green_is_preferred()), **common), run_dpo
    else:
        rows = [{"prompt": f"Pick {n}.", "completion": COLOURS[n % 4], "label": n % 4 == 0} for n in range(24)]
        options, run = KtoOptions(judged=write_lines(rows), **common), run_kto
    straight = run(options, out=tmp_path / "straight")
    out = tmp_path / "interrupted"
    resumed = interrupted(lambda: run(options, out=out), out, after_steps=(5, 11))
    assert resumed.digest == straight.digest
    assert resumed.facts == straight.facts


def test_what_answers_gain_anyway_is_measured_behind_other_prompts(write_lines):
    """Also where a file has all answers to a prompt together."""
    rows = [{"prompt": f"Pick {n // 4}.", "completion": COLOURS[n % 4], "label": True} for n in range(12)]
    thumbs = read_thumbs(write_lines(rows))
    others = from_elsewhere(thumbs)
    assert all(one.prompt != other.prompt for one, other in zip(thumbs, others, strict=True))
    assert sorted(one.id for one in others) == sorted(one.id for one in thumbs)
    same = from_elsewhere(thumbs[:4])
    assert all(one != other for one, other in zip(thumbs[:4], same, strict=True))


def test_pairs_may_begin_alike_instead_of_having_a_prompt(write_lines):
    talk = [user("Hi"), assistant("Hello"), user("Pick a colour.")]
    row = {"chosen": [*talk, assistant("green")], "rejected": [*talk, assistant("red")]}
    (one,) = read_pairs(write_lines([row, row]))
    assert list(one.prompt) == talk
    assert (list(one.chosen), list(one.rejected)) == ([assistant("green")], [assistant("red")])


def test_what_is_no_judged_answer_is_refused(tmp_path, tuned, write_lines):
    def refused(row: dict, *, match: str, read=read_pairs) -> None:
        with pytest.raises(InputError, match=match):
            read(write_lines([pair("Good?", "yes", "no"), row] if read is read_pairs else [row]))

    refused(pair("Same?", "yes", "yes"), match="line 2: chosen and rejected are the same")
    refused({"prompt": "x", "chosen": "y"}, match='line 2: "rejected" must be a list of messages, or a text')
    refused({"prompt": [assistant("x")], "chosen": "y", "rejected": "z"}, match="answers nothing")
    refused({"prompt": "x", "chosen": [user("y")], "rejected": "z"}, match="must begin with what the assistant says")
    refused({"prompt": "x", "completion": "y", "label": 1}, match='"label" must be true or false', read=read_thumbs)
    refused({"completion": "y", "label": True}, match='there is no "prompt"', read=read_thumbs)
    with pytest.raises(InputError, match="another row has the id '7'"):
        read_pairs(write_lines([{**pair("a", "b", "c"), "id": 7}, {**pair("a", "b", "d"), "id": 7}]))
    with pytest.raises(InputError, match="holds no judged answer"):
        read_pairs(write_lines([]))
    long = write_lines([pair("word " * 200, "yes", "no")])
    with pytest.raises(InputError, match="none of the 1 judged answers can be learned from"):
        run_dpo(DpoOptions(model=tuned.path, preferences=long), out=tmp_path / "long")
