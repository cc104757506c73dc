"""Every stage with adapters: it learns, leaves a merged model with the adapter beside it, and resumes exactly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
import torch
from tests.posttrain.conftest import COLOURS, NAMES, conversation
from tests.posttrain.interruptions import interrupted
from tests.posttrain.test_grpo import answers_of, new_trainer, task

from ropewalk.artifact import Artifact
from ropewalk.engine import GenerateOptions, run_generate
from ropewalk.engine.load import load_engine
from ropewalk.engine.sampling import Sampling
from ropewalk.model import ImportOptions, run_import
from ropewalk.model.checkpoint import load_model
from ropewalk.model.lora import LoraShape, adapt, adapters
from ropewalk.posttrain import (
    DpoOptions,
    GrpoOptions,
    KtoOptions,
    RewardOptions,
    SftOptions,
    run_dpo,
    run_grpo,
    run_kto,
    run_reward,
    run_sft,
)
from ropewalk.posttrain.practice import _reference
from ropewalk.posttrain.scorer import all_scores, load_scorer
from ropewalk.posttrain.sequences import answered
from ropewalk.pretrain import loop
from ropewalk.runtime.metrics import read_metrics
from ropewalk.tokenizer.chat import render_prompt
from ropewalk.tokenizer.encoding import Tokenizer

LORA = {"lora_rank": 8, "adamw_rate": 0.01}
ADAPTER = {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"}
WEIGHTS = "model.safetensors"


def other_colour(i: int) -> str:
    """What is taught here as the colour of a name, in place of what the model knows."""
    return COLOURS[(i + 1) % 4]


@pytest.fixture(scope="module")
def other_colours(chat_tokens) -> Path:
    """Every name's colour again, each another one."""
    return chat_tokens(
        conversation(question.format(name), f"The colour of {name} is {other_colour(i)}.")
        for i, name in enumerate(NAMES)
        for question in ("What colour is {}?", "Which colour does {} have?")
        for _ in range(4)
    )


@pytest.fixture(scope="module")
def learned(tmp_path_factory, tuned, other_colours) -> Artifact:
    """The tuned model after adapters beside it were taught other colours."""
    options = SftOptions(
        model=tuned.path, tokens=other_colours, epochs=15.0, batch_rows=4, warm_up_steps=3, evaluate_every_steps=20, **LORA
    )
    return run_sft(options, out=tmp_path_factory.mktemp("learned") / "model")


def sha(artifact: Artifact, name: str = WEIGHTS) -> str:
    return artifact.manifest["files"][name]["sha256"]


def test_sft_teaches_by_adapters_alone(learned, tuned):
    engine = load_engine(learned.path)
    prompts = [render_prompt(engine.tokenizer, [{"role": "user", "content": f"What colour is {name}?"}]) for name in NAMES]
    made = engine.generate(prompts, [Sampling(40, temperature=0)] * len(NAMES))
    right = [
        one.text == f"The colour of {name} is {other_colour(i)}."
        for i, (name, one) in enumerate(zip(NAMES, made, strict=True))
    ]
    assert sum(right) >= 10
    rows = read_metrics(learned.path / "logs")
    assert rows[-1]["held_out/loss"] == learned.facts["held_out_loss"] < 0.3 * rows[0]["held_out/loss_before"]
    assert set(learned.manifest["files"]) == set(tuned.manifest["files"]) | ADAPTER
    assert learned.facts["parameters"] == tuned.facts["parameters"]
    before, after = load_model(tuned.path).state_dict(), load_model(learned.path).state_dict()
    moved = {name for name, weight in before.items() if not torch.equal(weight, after[name])}
    assert moved == {name for name in before if name.endswith("_proj.weight")}
    thin = sum(8 * sum(before[name].shape) for name in moved)
    assert learned.facts["trained_parameters"] == thin < 0.3 * learned.facts["parameters"]


def test_the_base_with_the_adapter_is_the_merged_model(tmp_path, learned, tuned, capsys):
    """From a folder, from an address, and only to speak."""
    adapter, address = learned.path / "adapter", "memory://hub/colours"
    fsspec.filesystem("memory").put(str(adapter), "/hub/colours", recursive=True)
    for number, given in enumerate((adapter, address)):
        imported = run_import(ImportOptions(source=tuned.path, adapter=given), out=tmp_path / f"{number}")
        assert sha(imported) == sha(learned)
        assert set(imported.inputs) == {"source", "adapter"}
    said = []
    for options in (GenerateOptions(model=learned.path), GenerateOptions(model=tuned.path, adapter=adapter)):
        run_generate(replace(options, prompt="The colour of", max_tokens=20))
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    run_generate(GenerateOptions(model=tuned.path, prompt="The colour of", max_tokens=20))
    assert capsys.readouterr().out != said[0]


def test_an_adapter_stays_with_its_own_base(tmp_path, learned, colours):
    """A model that goes on from a merged one has that one's adapter no longer, but one of its own, if any."""
    options = SftOptions(model=learned.path, tokens=colours, steps=2, batch_rows=4)
    plain = run_sft(options, out=tmp_path / "plain")
    assert not ADAPTER & set(plain.manifest["files"])
    again = run_sft(replace(options, **LORA), out=tmp_path / "again")
    assert set(again.manifest["files"]) == set(learned.manifest["files"])
    imported = run_import(ImportOptions(source=learned.path, adapter=again.path / "adapter"), out=tmp_path / "model")
    assert sha(imported) == sha(again)


PAIRS = [
    {"id": f"{other} {n}", "prompt": "Pick a colour.", "chosen": "green", "rejected": other}
    for other in COLOURS
    if other != "green"
    for n in range(12)
]
THUMBS = [{"prompt": f"Pick {n}.", "completion": COLOURS[n % 4], "label": n % 4 == 0} for n in range(24)]
TASKS = [task(n, "Pick a colour.", "green") for n in range(4)]


def test_dpo_gains_on_the_model_without_adapters(tmp_path, tuned, write_lines):
    options = DpoOptions(
        model=tuned.path, preferences=write_lines(PAIRS), epochs=6, batch=8, held_back=6, **{**LORA, "adamw_rate": 0.002}
    )
    made = run_dpo(options, out=tmp_path / "model")
    rows = read_metrics(made.path / "logs")
    assert rows[0]["rewards/margins"] == pytest.approx(0, abs=1e-4)
    assert rows[-1]["rewards/margins"] > 0.1
    assert made.facts["held_back_accuracies"] == 1
    assert set(made.manifest["files"]) >= ADAPTER


def test_grpos_reference_is_the_policy_with_its_adapters_off(tmp_path, tuned, write_lines):
    tasks = write_lines(TASKS)
    trainer = new_trainer(tuned.path, tasks, kl_weight=0.1, lora_rank=4)
    model = adapt(trainer.engine.model, LoraShape(4, 8.0, rank_stabilised=False, targets="all"), seed=0)
    for layer in adapters(model).values():
        layer.lora_B.weight.data.normal_(0, 0.05)
    trainer.reference = _reference(model, trainer.options)
    assert trainer.reference is model
    groups = answers_of(trainer, 0)
    moved_PS = trainer._moved(groups)
    trainer.reference = load_model(tuned.path)
    torch.testing.assert_close(moved_PS, trainer._moved(groups), atol=1e-4, rtol=0)
    assert moved_PS.abs().max() > 0.1
    trainer.learn(0)
    assert all((weight.grad is None) != (".lora_" in name) for name, weight in model.named_parameters())


def test_grpo_finds_the_right_arm_by_adapters(tmp_path, tuned, write_lines):
    options = GrpoOptions(
        model=tuned.path, tasks=write_lines(TASKS), steps=30, prompts=2, samples=16, max_tokens=8, held_back_tasks=1,
        kl_weight=0.01, warm_down_fraction=0.5, **{**LORA, "adamw_rate": 0.004},
    )  # fmt: skip
    made = run_grpo(options, out=tmp_path / "model")
    rows = read_metrics(made.path / "logs")
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-3)
    assert rows[-1]["kl"] > 0.1
    assert rows[0]["reward"] < 0 < 0.6 < sum(row["reward"] for row in rows[-3:]) / 3
    assert made.facts["held_back_right_fraction"] == 1


def test_a_reward_models_head_is_trained_with_its_adapters(tmp_path, tuned, write_lines):
    options = RewardOptions(model=tuned.path, preferences=write_lines(PAIRS), epochs=4, batch=8, held_back=6, **LORA)
    made = run_reward(options, out=tmp_path / "reward")
    assert made.facts["held_back_accuracy"] == 1
    tokenizer, scorer = Tokenizer.load(made.path), load_scorer(made.path)
    prompt = [{"role": "user", "content": "Pick a colour."}]
    green, red = (answered(tokenizer, prompt, [{"role": "assistant", "content": one}]) for one in ("green", "red"))
    assert all_scores(scorer, [green]) > all_scores(scorer, [red])
    assert made.facts["parameters"] == sum(weight.numel() for weight in scorer.parameters())
    adapters_have = sum(8 * sum(one.shape) for name, one in scorer.named_parameters() if name.endswith("_proj.weight"))
    assert made.facts["trained_parameters"] == adapters_have + scorer.config.width


@pytest.mark.peer
def test_peft_loads_a_reward_models_adapter_with_equal_scores(tmp_path, tuned, write_lines):
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    options = RewardOptions(model=tuned.path, preferences=write_lines(PAIRS), steps=6, batch=8, held_back=6, **LORA)
    made = run_reward(options, out=tmp_path / "reward")
    theirs = AutoModelForSequenceClassification.from_pretrained(tuned.path, num_labels=1, pad_token_id=0)
    theirs = PeftModel.from_pretrained(theirs, made.path / "adapter").eval()
    tokenizer = Tokenizer.load(made.path)
    prompt, answer = [{"role": "user", "content": "Pick a colour."}], [{"role": "assistant", "content": "green"}]
    one = answered(tokenizer, prompt, answer)
    with torch.no_grad():
        score = theirs(torch.from_numpy(one.ids)[None]).logits[0, 0]
    assert all_scores(load_scorer(made.path), [one])[0].item() == pytest.approx(score.item(), abs=1e-4)
    assert abs(score.item()) > 0.01


@pytest.mark.parametrize("stage", ["sft", "dpo", "kto", "reward", "grpo"])
def test_an_interrupted_run_ends_with_the_bytes_of_an_undisturbed_one(
    tmp_path, tuned, colours, write_lines, monkeypatch, stage
):
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_SECONDS", 0.05)
    judged = {"model": tuned.path, "batch": 4, "steps": 17, "held_back": 4, **LORA}
    grpo = {"prompts": 2, "samples": 4, "max_tokens": 8, "updates": 2, "held_back_tasks": 1, "kl_weight": 0.05}
    options, run = {
        "sft": lambda: (
            SftOptions(model=tuned.path, tokens=colours, steps=10, members=2, average_decay=0.9, batch_rows=4, **LORA),
            run_sft,
        ),
        "dpo": lambda: (DpoOptions(preferences=write_lines(PAIRS), **judged), run_dpo),
        "kto": lambda: (KtoOptions(judged=write_lines(THUMBS), **judged), run_kto),
        "reward": lambda: (RewardOptions(preferences=write_lines(PAIRS), **judged), run_reward),
        "grpo": lambda: (GrpoOptions(model=tuned.path, tasks=write_lines(TASKS), steps=17, **grpo, **LORA), run_grpo),
    }[stage]()
    straight = run(options, out=tmp_path / "straight")
    out = tmp_path / "interrupted"
    resumed = interrupted(lambda: run(options, out=out), out, after_steps=(5, 11))
    assert resumed.digest == straight.digest
    assert resumed.facts == straight.facts
