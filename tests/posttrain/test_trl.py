"""Losses and whole steps' gradients are TRL's own, computed by its trainers from the same weights and ids.

TRL's trainers are given ids instead of texts, so that what they learn from is what we learn from: they would also learn the
newline behind an answer's end token. Their optimizer is gradient descent that notes each step's gradients.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from tests.posttrain.conftest import COLOURS, NAMES
from torch import Tensor

from ropewalk.engine.engine import Engine
from ropewalk.engine.sampling import Sampling
from ropewalk.model.checkpoint import load_model
from ropewalk.model.sequences import Answered, packed
from ropewalk.posttrain import DpoOptions, GrpoOptions
from ropewalk.posttrain.dpo import pair_losses
from ropewalk.posttrain.grpo import Trainer
from ropewalk.posttrain.prefer import learn_judged
from ropewalk.posttrain.preference import Said, kto, kto_baseline
from ropewalk.posttrain.reward import bradley_terry
from ropewalk.posttrain.rollout import Answer, graded
from ropewalk.posttrain.scorer import new_scorer, save_scorer, scores
from ropewalk.posttrain.sequences import answered, logprobs
from ropewalk.pretrain.loop import learn_rows
from ropewalk.tokenizer.encoding import Tokenizer

pytestmark = pytest.mark.peer

AnyModel = TypeVar("AnyModel", bound=torch.nn.Module)
Gradients = dict[str, Tensor]


@dataclass
class Descent:
    """Plain gradient descent in the place of an optimizer; keeps the gradients of each step."""

    model: torch.nn.Module
    rate: float = 0.0
    gradients: list[Gradients] = field(default_factory=list)

    def optimizer(self) -> torch.optim.Optimizer:
        noted = self

        class Noting(torch.optim.SGD):
            def step(self, closure=None):
                found = {name: weight.grad.clone() for name, weight in noted.model.named_parameters()}
                noted.gradients.append(found)
                return super().step(closure)

        return Noting(self.model.parameters(), lr=self.rate)


def settings(folder: Path, **more) -> dict:
    return {
        "output_dir": str(folder), "use_cpu": True, "bf16": False, "gradient_checkpointing": False, "max_grad_norm": 0.0,
        "report_to": "none", "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1, "max_steps": 1,
        "lr_scheduler_type": "constant", **more,
    }  # fmt: skip


def their_model(folder: Path, kind: str = "AutoModelForCausalLM"):
    transformers = pytest.importorskip("transformers")
    return getattr(transformers, kind).from_pretrained(folder, dtype=torch.float32)


def their_tokenizer(folder: Path):
    """Padded with a token that is in no answer, as what is scored is the last that is no padding."""
    tokenizer = pytest.importorskip("transformers").AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = "<|pad|>"
    return tokenizer


def shifted(model: AnyModel) -> AnyModel:
    """The model with every weight moved a little, by the same draws for ours and theirs."""
    for name, weight in sorted(model.named_parameters()):
        draws = torch.Generator().manual_seed(len(name) + sum(name.encode()))
        with torch.no_grad():
            weight += 0.02 * torch.randn(weight.shape, generator=draws) * weight.std()
    return model


def their_steps(make: Callable[[dict], object], descent: Descent) -> tuple[list[float], list[Gradients]]:
    """Let a trainer of TRL run. Returns the loss and the gradients of each step."""
    trainer = make({"optimizers": (descent.optimizer(), None)})
    trainer.train()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row], descent.gradients


def gradients_of(model: torch.nn.Module) -> Gradients:
    found = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    return found


def assert_same_step(ours: tuple[float, Gradients], theirs: tuple[float, Gradients]) -> None:
    assert ours[0] == pytest.approx(theirs[0], rel=1e-6, abs=1e-6)  # ipo's loss is 25 here, and float32 has seven digits
    assert ours[1].keys() == theirs[1].keys()
    for name, gradient in ours[1].items():
        torch.testing.assert_close(
            gradient, theirs[1][name], atol=1e-5, rtol=1e-4, msg=lambda said, name=name: f"{name}: {said}"
        )
    assert max(float(gradient.abs().max()) for gradient in ours[1].values()) > 5e-4


def conversations(folder: Path) -> list[tuple[Answered, Answered]]:
    """Eight prompts, each with two answers, of many lengths."""
    tokenizer, draws = Tokenizer.load(folder), random.Random(5)
    pairs = []
    for number in range(8):
        prompt = [{"role": "user", "content": f"What colour is {NAMES[number]}?" if number % 3 else "Pick a colour."}]
        said = [" or ".join(draws.choices(COLOURS, k=1 + (3 * number * (1 + side)) % 13)) + "."[:side] for side in range(2)]
        one, other = (answered(tokenizer, prompt, [{"role": "assistant", "content": text}]) for text in said)
        pairs.append((one, other))
    return pairs


def prompt_and_answer(one: Answered) -> tuple[list[int], list[int]]:
    return one.ids[~one.learned].tolist(), one.ids[one.learned].tolist()


@pytest.mark.parametrize("accumulation", [1, 4])
def test_sft(tmp_path, tuned, accumulation):
    """The mean over all learned tokens of a step, whether it is read at once or in four passes."""
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    sequences = [one for pair in conversations(tuned.path) for one in pair]
    rows = [{"input_ids": one.ids.tolist(), "labels": np.where(one.learned, one.ids, -100).tolist()} for one in sequences]
    theirs = their_model(tuned.path)
    config = trl.SFTConfig(
        **settings(tmp_path, per_device_train_batch_size=16 // accumulation, gradient_accumulation_steps=accumulation)
    )
    losses, gradients = their_steps(
        lambda more: trl.SFTTrainer(
            theirs,
            config,
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=their_tokenizer(tuned.path),
            **more,
        ),
        Descent(theirs),
    )
    model = load_model(tuned.path)
    laid_out, _ = packed(sequences)
    assert len(laid_out.ids_BT) < len(sequences)
    learned = learn_rows(model, laid_out, pass_rows=-(-len(laid_out.ids_BT) // accumulation))
    assert_same_step((learned.loss, gradients_of(model)), (losses[0], gradients[0]))


def their_dpo(tmp_path, folder: Path, pairs: Sequence[tuple[Answered, Answered]], accumulation: int, **options):
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    theirs = their_model(folder)
    size = len(pairs) // accumulation
    config = trl.DPOConfig(
        **settings(tmp_path, per_device_train_batch_size=size, gradient_accumulation_steps=accumulation), **options
    )
    rows = []
    for chosen, rejected in pairs:
        (prompt, good), (_, bad) = prompt_and_answer(chosen), prompt_and_answer(rejected)
        rows.append({"prompt_ids": prompt, "chosen_ids": good, "rejected_ids": bad})

    def make(more: dict):
        texts = datasets.Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}])
        trainer = trl.DPOTrainer(
            theirs,
            shifted(their_model(folder)),
            config,
            train_dataset=texts,
            processing_class=their_tokenizer(folder),
            **more,
        )
        trainer.train_dataset = datasets.Dataset.from_list(rows)
        return trainer

    losses, gradients = their_steps(make, Descent(theirs))
    return losses[0], gradients[0]


def our_dpo(folder: Path, pairs: Sequence[tuple[Answered, Answered]], options: DpoOptions, beta: float):
    model, sequences = load_model(folder), [one for pair in pairs for one in pair]
    reference_S = logprobs(shifted(load_model(folder)), sequences)
    value, _ = learn_judged(
        model,
        sequences,
        reference_S,
        lambda said, part: pair_losses(said, options, beta).sum(),
        together=2,
        count=len(pairs),
    )
    return value, gradients_of(model)


@pytest.mark.parametrize("accumulation", [1, 4])
@pytest.mark.parametrize(("loss", "beta"), [("sigmoid", 0.1), ("sigmoid_norm", 5.0), ("ipo", 0.1)])
def test_dpo(tmp_path, tuned, loss, beta, accumulation):
    pairs = conversations(tuned.path)
    options = DpoOptions(model=tuned.path, preferences=tuned.path, loss=loss)
    theirs = their_dpo(tmp_path, tuned.path, pairs, accumulation, loss_type=[loss], beta=beta)
    assert_same_step(our_dpo(tuned.path, pairs, options, beta), theirs)


def test_dpo_with_label_smoothing(tmp_path, tuned):
    """TRL 1.16 smoothes labels as we do in `aot` alone, which is the plain loss where a pass holds a single pair.

    Its `robust` is another loss: it takes the turned pair's loss off, and is not bounded below.
    """
    pairs = conversations(tuned.path)
    options = DpoOptions(model=tuned.path, preferences=tuned.path, loss="sigmoid", label_smoothing=0.2)
    theirs = their_dpo(tmp_path, tuned.path, pairs, len(pairs), loss_type=["aot"], label_smoothing=0.2)
    assert_same_step(our_dpo(tuned.path, pairs, options, 0.1), theirs)


@pytest.mark.parametrize(("accumulation", "sharper"), [(1, 0.5), (4, 3.0)])
def test_kto(tmp_path, tuned, accumulation, sharper):
    """The same answers behind other prompts are given to both.

    TRL measures its baseline anew in each pass, we in each step: with four passes the two are one objective only where the
    baseline is 0 in all of them, as it is for a policy that has become too sure of itself.
    """
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    own, elsewhere = zip(*conversations(tuned.path), strict=True)
    good = [number % 3 == 0 for number in range(len(own))]
    rows = []
    for one, other, label in zip(own, elsewhere, good, strict=True):
        (prompt, answer), (_, kl_answer) = prompt_and_answer(one), prompt_and_answer(other)
        rows.append({"prompt_ids": prompt, "completion_ids": answer, "KL_completion_ids": kl_answer, "label": label})
    theirs, reference = their_model(tuned.path), their_model(tuned.path)
    model, before = load_model(tuned.path), load_model(tuned.path)
    with torch.no_grad():
        theirs.lm_head.weight *= sharper
        model.lm_head.weight *= sharper
    size = len(own) // accumulation
    config = trl.KTOConfig(
        **settings(tmp_path, per_device_train_batch_size=size, gradient_accumulation_steps=accumulation),
        desirable_weight=1.5, undesirable_weight=0.7,
    )  # fmt: skip

    def make(more: dict):
        texts = [{"prompt": "a", "completion": "b", "label": bool(number % 2)} for number in range(2 * size)]
        trainer = trl.KTOTrainer(
            theirs, reference, config, train_dataset=datasets.Dataset.from_list(texts),
            processing_class=their_tokenizer(tuned.path), **more,
        )  # fmt: skip
        trainer.train_dataset = datasets.Dataset.from_list(rows)
        return trainer

    losses, gradients = their_steps(make, Descent(theirs))
    lengths = torch.tensor([float(one.tokens) for one in elsewhere])
    baseline = kto_baseline(Said(logprobs(model, elsewhere), logprobs(before, elsewhere), lengths))
    assert (baseline > 0) == (accumulation == 1)

    def loss(said: Said, part: slice) -> Tensor:
        return kto(said, torch.tensor(good)[part], baseline, config.beta, good_weight=1.5, bad_weight=0.7).sum()

    value, _ = learn_judged(model, own, logprobs(before, own), loss, together=1, count=len(own))
    assert_same_step((value, gradients_of(model)), (losses[0], gradients[0]))


@pytest.mark.parametrize("accumulation", [1, 4])
@pytest.mark.parametrize(("margins", "centering"), [(False, 0.0), (True, 0.01)])
def test_reward(tmp_path, tuned, margins, centering, accumulation):
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    pairs = conversations(tuned.path)
    margins_P = torch.linspace(-0.5, 1.5, len(pairs)) if margins else torch.zeros(len(pairs))
    scorer = new_scorer(load_model(tuned.path))
    with torch.no_grad():
        scorer.lm_head.weight.normal_(0, 0.2, generator=torch.Generator().manual_seed(1))
    folder = tmp_path / "scorer"
    folder.mkdir()
    save_scorer(scorer, tuned.path, folder)
    rows = [{"chosen_ids": one.ids.tolist(), "rejected_ids": other.ids.tolist()} for one, other in pairs]
    if margins:
        rows = [{**row, "margin": float(margin)} for row, margin in zip(rows, margins_P, strict=True)]
    theirs = their_model(folder, "AutoModelForSequenceClassification")
    size = len(pairs) // accumulation
    config = trl.RewardConfig(
        **settings(tmp_path, per_device_train_batch_size=size, gradient_accumulation_steps=accumulation),
        center_rewards_coefficient=centering or None,
    )
    losses, gradients = their_steps(
        lambda more: trl.RewardTrainer(
            theirs,
            config,
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=their_tokenizer(tuned.path),
            **more,
        ),
        Descent(theirs),
    )
    given_S = scores(scorer, [one for pair in pairs for one in pair])
    loss = bradley_terry(given_S, margins_P, centering=centering).mean()
    loss.backward()
    found = gradients_of(scorer)
    found["score.weight"] = found.pop("lm_head.weight")
    assert_same_step((loss.item(), found), (losses[0], gradients[0]))


Groups = list[list[Answer]]


def sampled(folder: Path, **options) -> tuple[Trainer, Groups]:
    """A trainer of ours, and four samples from each of four prompts, the third of which earned the same with all.

    TRL samples special tokens too; here each of them ends an answer, so that none is barred.
    """
    tokenizer = Tokenizer.load(folder)
    engine = Engine(load_model(folder), tokenizer, frozenset(tokenizer.special.values()), slots=16)
    prompts = [one.ids[~one.learned].tolist() for one, _ in conversations(folder)[1:5]]
    draws, groups = random.Random(3), []
    for number, prompt in enumerate(prompts):
        made = engine.generate([prompt] * 4, [Sampling(12, seed=10 * number + sample) for sample in range(4)])
        earned = [0.5] * 4 if number == 2 else [draws.choice((1.0, 0.0, -1.0)) for _ in made]
        groups.append([Answer(prompt, one, reward) for one, reward in zip(made, earned, strict=True)])
    options = GrpoOptions(model=folder, tasks=folder, prompts=4, samples=4, max_tokens=12, **options)
    return Trainer(engine, [], options, judge=graded(-1.0), before={}), groups


def with_logprobs(groups: Groups, change: Callable[[Answer], list[float]]) -> Groups:
    """The same answers, as if an engine had given them other log-probabilities."""
    return [[replace(one, generation=replace(one.generation, logprobs=change(one))) for one in group] for group in groups]


def their_grpo(
    tmp_path, folder: Path, groups: Groups, *, accumulation: int, rate: float = 0.0, corrected: bool = False, **options
):
    """What TRL's trainer makes of our answers. corrected: it weighs tokens as it does where vLLM has drawn them."""
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    theirs, answers = their_model(folder), [answer for group in groups for answer in group]

    def rollout(prompts, trainer):
        assert prompts == [str(number) for number in range(4) for _ in range(4)]
        return {
            "prompt_ids": [answer.prompt for answer in answers],
            "completion_ids": [answer.generation.ids for answer in answers],
            "logprobs": [answer.generation.logprobs for answer in answers],
            "earned": [answer.reward for answer in answers],
        }

    def earned(completions, earned, **_):
        return earned

    config = trl.GRPOConfig(
        **settings(
            tmp_path,
            per_device_train_batch_size=16 // accumulation,
            gradient_accumulation_steps=accumulation,
            max_steps=options.get("num_iterations", 1),
        ),
        num_generations=4,
        max_completion_length=12,
        epsilon_high=0.28,
        shuffle_dataset=False,
        vllm_importance_sampling_mode="token_truncate",
        vllm_importance_sampling_clip_max=2.0,
        **options,
    )

    def make(more: dict):
        prompts = datasets.Dataset.from_list([{"prompt": str(number)} for number in range(4)])
        trainer = trl.GRPOTrainer(
            theirs,
            earned,
            config,
            train_dataset=prompts,
            processing_class=their_tokenizer(folder),
            rollout_func=rollout,
            **more,
        )
        if corrected:
            trainer.use_vllm, trainer._last_loaded_step = True, 0
        return trainer

    return their_steps(make, Descent(theirs, rate))


@pytest.mark.parametrize("accumulation", [1, 4])
@pytest.mark.parametrize("scale", [False, True])
def test_grpo(tmp_path, tuned, scale, accumulation):
    """The token mean over the whole batch, TRL's default, with advantages scaled or not."""
    trainer, groups = sampled(tuned.path, scale_advantages=scale)
    losses, gradients = their_grpo(
        tmp_path, tuned.path, groups, accumulation=accumulation, scale_rewards="group" if scale else "none"
    )
    trainer.take(groups)
    loss, _ = trainer.update()
    assert_same_step((loss, gradients_of(trainer.engine.model)), (losses[0], gradients[0]))


def test_grpo_with_truncated_importance_weights_and_clipping(tmp_path, tuned):
    """Two updates on the same answers, drawn by an engine whose probabilities are off."""
    trainer, groups = sampled(tuned.path, updates=2)
    draws, rate = random.Random(8), 4.0
    groups = with_logprobs(groups, lambda one: [value + draws.gauss(0, 0.5) for value in one.generation.logprobs])
    theirs = their_grpo(
        tmp_path, tuned.path, groups, accumulation=1, rate=rate, corrected=True, scale_rewards="none", num_iterations=2
    )
    model = trainer.engine.model
    trainer.take(groups)
    for their_step in zip(*theirs, strict=True):
        loss, figures = trainer.update()
        found = gradients_of(model)
        assert_same_step((loss, found), their_step)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                weight -= rate * found[name]
    assert figures["clip_ratio/low_mean"] > 0
    assert figures["clip_ratio/high_mean"] > 0
    assert figures["sampling/importance_sampling_ratio/max"] > 2
