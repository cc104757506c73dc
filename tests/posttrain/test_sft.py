"""Fine-tuning teaches answers, resumes exactly after a kill, and refuses what does not fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.posttrain.conftest import COLOURS, NAMES, conversation
from tests.posttrain.interruptions import interrupted

from ropewalk.engine.load import load_engine
from ropewalk.engine.sampling import Sampling
from ropewalk.model.checkpoint import load_model
from ropewalk.posttrain import SftOptions, run_sft
from ropewalk.pretrain import loop
from ropewalk.pretrain.averages import Averages
from ropewalk.runtime.errors import ArtifactError, InputError, OptionError
from ropewalk.runtime.metrics import read_metrics
from ropewalk.tokenizer import TokenizeOptions, TokenizerOptions, run_tokenize, run_tokenizer
from ropewalk.tokenizer.chat import render_prompt


def test_it_answers_what_it_was_taught_and_ends_its_turn(tuned):
    engine = load_engine(tuned.path)
    prompts = [render_prompt(engine.tokenizer, [{"role": "user", "content": f"What colour is {name}?"}]) for name in NAMES]
    made = engine.generate(prompts, [Sampling(40, temperature=0)] * len(NAMES))
    right = [
        one.text == f"The colour of {name} is {COLOURS[i % 4]}."
        for i, (name, one) in enumerate(zip(NAMES, made, strict=True))
    ]
    assert sum(right) >= 10
    assert all(one.finish == "stop" for one in made)


def test_loss_before_while_and_after_is_written_down(tuned):
    rows = read_metrics(tuned.path / "logs")
    assert [row["step"] for row in rows] == list(range(tuned.facts["steps"]))
    held_out = [row["held_out/loss"] for row in rows if "held_out/loss" in row]
    assert rows[0]["held_out/loss_before"] == tuned.facts["held_out_loss_before"] > 4
    assert held_out[-1] == tuned.facts["held_out_loss"] < 1.0
    assert len(held_out) == -(-tuned.facts["steps"] // 20)
    assert tuned.facts["epochs"] == pytest.approx(12, abs=1)


def test_the_artifact_is_a_model_with_its_base_behind_it(tuned, base):
    assert set(tuned.manifest["files"]) == set(base.manifest["files"])
    for name in ("tokenizer.json", "generation_config.json", "config.json"):
        assert tuned.manifest["files"][name]["sha256"] == base.manifest["files"][name]["sha256"]
    assert tuned.inputs["model"]["digest"] == base.digest
    assert tuned.facts["conversations"] is True
    assert tuned.facts["parameters"] == base.facts["parameters"]
    assert tuned.facts["shape"] == base.facts["shape"]


def test_too_long_conversations_are_cut_or_dropped_and_counted(tmp_path, base, chat_tokens):
    long = conversation("Count.", " ".join(map(str, range(200))))
    nothing = conversation(" ".join(map(str, range(200))), "Yes.")
    tokens = chat_tokens([conversation("Hello", "Hi"), long, nothing], held_out_fraction=0.0)
    options = {"model": base.path, "tokens": tokens, "steps": 2, "batch_rows": 2, "compile": "off"}
    cut = run_sft(SftOptions(**options), out=tmp_path / "cut")
    drop = run_sft(SftOptions(**options, too_long="drop"), out=tmp_path / "drop")
    keys = ("conversations_learned", "conversations_cut", "conversations_left_out")
    assert [cut.facts[key] for key in keys] == [2, 1, 1]
    assert [drop.facts[key] for key in keys] == [1, 0, 2]
    assert cut.facts["held_out_loss"] is None
    only = chat_tokens([nothing], held_out_fraction=0.0)
    with pytest.raises(InputError, match="anything to learn in 96 tokens"):
        run_sft(SftOptions(**{**options, "tokens": only}), out=tmp_path / "none")


def test_what_does_not_fit_is_refused(tmp_path, base, corpus, colours, write_lines):
    other = run_tokenizer(TokenizerOptions(corpus=corpus, vocabulary=400), out=tmp_path / "other").path
    strange = TokenizeOptions(tokenizer=other, conversations=write_lines([conversation("Hello", "Hi")]))
    strange_tokens = run_tokenize(strange, out=tmp_path / "strange").path
    with pytest.raises(ArtifactError, match="was not made with the tokenizer of"):
        run_sft(SftOptions(model=base.path, tokens=strange_tokens), out=tmp_path / "model")
    with pytest.raises(ArtifactError, match="holds no conversations"):
        run_sft(SftOptions(model=base.path, tokens=base.input_path("tokens")), out=tmp_path / "model2")
    with pytest.raises(OptionError, match="more than the 96"):
        run_sft(SftOptions(model=base.path, tokens=colours, context_tokens=128), out=tmp_path / "model3")


@pytest.mark.parametrize("averages", [{}, {"average_decay": 0.9}, {"average_decay": 0.9, "members": 2}])
def test_an_interrupted_run_ends_with_the_weights_of_an_undisturbed_one(tmp_path, base, colours, monkeypatch, averages):
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_SECONDS", 0.05)
    steps = 40 // averages.get("members", 1)
    options = SftOptions(model=base.path, tokens=colours, steps=steps, batch_rows=4, evaluate_every_steps=15, **averages)
    straight = run_sft(options, out=tmp_path / "straight")
    out = tmp_path / "interrupted"
    resumed = interrupted(lambda: run_sft(options, out=out), out, after_steps=(10, 25))
    assert resumed.digest == straight.digest
    assert resumed.facts == straight.facts
    losses = [[row["train/loss"] for row in read_metrics(one.path / "logs")] for one in (straight, resumed)]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 40


def test_the_average_is_of_all_steps_and_then_forgets_at_its_decay(base):
    model = load_model(base.path)
    averages = Averages(model, steps=5, members=1, decay=0.75)
    for step, value in enumerate((4.0, 8.0, 3.0, 5.0, 100.0)):
        model.lm_head.weight.data.fill_(value)
        averages.follow(model, step)
        expected = (4.0, 6.0, 5.0, 5.0, 0.75 * 5.0 + 0.25 * 100.0)[step]
        assert averages.moving["lm_head.weight"].flatten()[0].item() == pytest.approx(expected)
    assert model.lm_head.weight.flatten()[-1].item() == pytest.approx(expected)


def test_the_mean_of_members_is_that_of_runs_by_themselves(tmp_path, base, colours):
    options = SftOptions(model=base.path, tokens=colours, steps=6, batch_rows=4)
    both = run_sft(replace(options, members=2), out=tmp_path / "both")
    first = run_sft(options, out=tmp_path / "first")
    losses = [[row["train/loss"] for row in read_metrics(one.path / "logs")] for one in (both, first)]
    assert losses[0][:6] == losses[1]
    start, one, mean = (load_model(made.path).lm_head.weight for made in (base, first, both))
    other = 2 * mean - one  # where the second ended: as far from the start as the first, and elsewhere
    assert 0.3 < (other - start).norm() / (one - start).norm() < 3
    assert (mean - start).norm() < 0.95 * (one - start).norm() + 0.05 * (other - start).norm()
    assert both.facts["steps"] == 12


def test_members_begin_alike_and_end_as_their_mean(base):
    model = load_model(base.path)
    begun = model.lm_head.weight.clone()
    averages = Averages(model, steps=2, members=3, decay=None)
    for step, value in enumerate((4.0, 8.0, 1.0, 6.0, 0.0, 1.0)):
        if step in (2, 4):
            averages.begin_member(model)
            assert model.lm_head.weight.equal(begun)
        model.lm_head.weight.data.fill_(value)
        averages.follow(model, step)
    assert model.lm_head.weight.flatten()[0].item() == pytest.approx((8 + 6 + 1) / 3)
