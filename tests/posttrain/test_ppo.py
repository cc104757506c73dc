"""Advantages are as defined; the gradient is the plain objective's; a bandit is learned; kills cost nothing."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from tests.posttrain.interruptions import interrupted
from tests.posttrain.test_grpo import task

from ropewalk.engine.load import load_engine
from ropewalk.evaluate.questions import read_questions
from ropewalk.posttrain import PpoOptions, run_ppo
from ropewalk.posttrain.objective import generalized_advantages, policy_loss, value_loss
from ropewalk.posttrain.ppo import Trainer
from ropewalk.posttrain.rollout import graded, sample, tasks_of
from ropewalk.pretrain import loop
from ropewalk.runtime.metrics import read_metrics


@pytest.fixture(scope="module")
def pick(write_lines):
    """A bandit: one question, four answers, green is right."""
    return write_lines([task(number, "Pick a colour.", "green") for number in range(8)])


@pytest.mark.parametrize(("discount", "trace_decay"), [(1.0, 0.95), (0.9, 0.5), (0.7, 1.0), (1.0, 0.0)])
def test_advantages_are_the_discounted_sums_of_all_later_surprises(discount, trace_decay):
    draws = torch.Generator().manual_seed(0)
    rewards_T, values_T = (torch.randn(9, generator=draws) for _ in range(2))
    after_T = torch.cat([values_T[1:], torch.zeros(1)])
    surprises_T = rewards_T + discount * after_T - values_T
    expected = [
        sum((discount * trace_decay) ** (later - now) * surprises_T[later] for later in range(now, 9)) for now in range(9)
    ]
    found_T = generalized_advantages(rewards_T, values_T, discount=discount, trace_decay=trace_decay)
    torch.testing.assert_close(found_T, torch.stack(expected))
    if trace_decay == 1:  # the return is then the discounted sum of all that is earned
        returns = [sum(discount ** (later - now) * rewards_T[later] for later in range(now, 9)) for now in range(9)]
        torch.testing.assert_close(found_T + values_T, torch.stack(returns))


def test_a_value_gains_nothing_by_moving_further_than_it_may():
    values_N = torch.tensor([0.1, 0.5, -0.5], requires_grad=True)
    losses_N = value_loss(values_N, torch.zeros(3), torch.ones(3), clip=0.2)
    torch.testing.assert_close(losses_N, torch.tensor([0.405, 0.32, 1.125]))
    losses_N.sum().backward()
    torch.testing.assert_close(values_N.grad, torch.tensor([-0.9, 0.0, -1.5]))


def new_trainer(tuned, tasks_path, **options) -> Trainer:
    engine, reference = load_engine(tuned.path, slots=36), load_engine(tuned.path, slots=1).model
    made = PpoOptions(model=tuned.path, tasks=tasks_path, prompts=8, **options)
    tasks = tasks_of(engine.tokenizer, read_questions(tasks_path), context_tokens=engine.model.config.context_tokens)
    trainer = Trainer(engine, tasks, made, judge=graded(made.wrong_reward), reference=reference, before={})
    torch.nn.init.normal_(trainer.head.weight, std=0.1, generator=torch.Generator().manual_seed(1))
    return trainer


def plain_terms(trainer: Trainer, model, answer) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities and values of an answer's tokens, from whole logits, by itself."""
    made = answer.generation
    hidden_TD = model(torch.tensor([[*answer.prompt, *made.ids]]))[0, len(answer.prompt) - 1 : -1]
    logits_TV = model.logits(hidden_TD).index_fill(1, trainer.engine.banned, -torch.inf)
    logprobs_T = logits_TV.log_softmax(1).gather(1, torch.tensor(made.ids)[:, None])[:, 0]
    return logprobs_T, hidden_TD @ trainer.head.weight[0]


def test_the_gradient_is_that_of_the_plain_objective(tuned, pick):
    """Of policy and values together, also for a second update on the same answers, from a model that has moved."""
    trainer = new_trainer(tuned, pick, value_weight=0.5, value_clip=0.05)
    model, options = trainer.engine.model, trainer.options
    with torch.no_grad():  # away from the reference
        for weight in model.parameters():
            weight += 0.01 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(2)) * weight.std(correction=0)
    groups = sample(
        trainer.engine, trainer.tasks, samples=2, max_tokens=8, judge=trainer.judge, seeds=(0, 0)
    )  # fmt: skip
    answers = [answer for group in groups for answer in group]
    trainer.take(groups)
    with torch.no_grad():
        before = [plain_terms(trainer, model, answer) for answer in answers]
        found = []
        for answer, (old_T, values_T) in zip(answers, before, strict=True):
            moved_T = old_T - plain_terms(trainer, trainer.reference, answer)[0]
            rewards_T = -options.kl_weight * moved_T
            rewards_T[-1] += answer.reward
            found.append(generalized_advantages(rewards_T, values_T, discount=1.0, trace_decay=0.95))
        mean, deviation = torch.cat(found).mean(), torch.cat(found).std(correction=0)
    assert trainer.figures["kl"] != 0
    tokens = sum(len(one) for one in found)
    for _ in range(2):
        model.zero_grad()
        loss, _ = trainer.update()
        gradients = {name: weight.grad.clone() for name, weight in model.named_parameters()}
        model.zero_grad()
        policy, value = torch.zeros(()), torch.zeros(())
        for answer, (old_T, values_T), advantages_T in zip(answers, before, found, strict=True):
            logprobs_T, now_T = plain_terms(trainer, model, answer)
            rollout_T = torch.tensor(answer.generation.logprobs)
            scaled_T = (advantages_T - mean) / deviation
            policy = policy + policy_loss(logprobs_T, old_T, rollout_T, scaled_T, trainer.clip).sum() / tokens
            value = value + value_loss(now_T, values_T, advantages_T + values_T, clip=0.05).sum() / tokens
        (policy + 0.5 * value).backward()
        assert loss == pytest.approx(policy.item(), abs=1e-5)
        assert gradients["value_head.weight"].abs().max() > 0
        largest = max(float(weight.grad.abs().max()) for weight in model.parameters())
        for name, weight in model.named_parameters():
            torch.testing.assert_close(gradients[name], weight.grad, atol=1e-4 * largest, rtol=1e-3)
        with torch.no_grad():
            for weight in model.parameters():
                weight -= 0.02 / largest * weight.grad


def test_a_bandit_finds_the_right_arm(tmp_path, tuned, pick):
    """What is left behind is a model as any other, without the head."""
    options = PpoOptions(
        model=tuned.path, tasks=pick, steps=60, prompts=32, max_tokens=8, updates=3, held_back_tasks=1, adamw_rate=0.003
    )
    made = run_ppo(options, out=tmp_path / "model")
    rows = read_metrics(made.path / "logs")
    assert rows[0]["reward"] < 0.2
    assert rows[-1]["reward"] > 0.9
    assert made.facts["held_back_right_fraction"] == 1
    assert rows[-1]["kl"] > 0.5 > abs(rows[0]["kl"])
    assert max(row["value/explained_variance"] for row in rows) > 0.3
    names = [set(load_file(one.path / "model.safetensors")) for one in (made, tuned)]
    assert names[0] == names[1]


def test_an_interrupted_run_ends_with_the_weights_of_an_undisturbed_one(tmp_path, tuned, pick, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_SECONDS", 0.05)
    options = PpoOptions(model=tuned.path, tasks=pick, steps=18, prompts=8, max_tokens=8, updates=3, held_back_tasks=4)
    straight = run_ppo(options, out=tmp_path / "straight")
    out = tmp_path / "interrupted"
    resumed = interrupted(lambda: run_ppo(options, out=out), out, after_steps=(5, 11))
    assert resumed.digest == straight.digest
    assert resumed.facts == straight.facts
