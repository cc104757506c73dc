"""The reward is reached; the gradient is that of the plain objective over all answers; a killed run resumes exactly."""

from __future__ import annotations

import pytest
import torch
from tests.posttrain.conftest import COLOURS, NAMES
from tests.posttrain.interruptions import interrupted

from ropewalk.engine.load import load_engine
from ropewalk.engine.sampling import Sampling
from ropewalk.evaluate.questions import Graded, read_questions
from ropewalk.posttrain import GrpoOptions, RewardOptions, run_grpo, run_reward, sequences
from ropewalk.posttrain.grpo import Trainer
from ropewalk.posttrain.lots import drawn, split
from ropewalk.posttrain.objective import advantages, policy_loss
from ropewalk.posttrain.rollout import answer_rows, graded, reward, sample, tasks_of
from ropewalk.pretrain import PretrainOptions, loop
from ropewalk.pretrain import run as run_pretrain
from ropewalk.runtime.errors import ArtifactError, InputError
from ropewalk.runtime.metrics import read_metrics
from ropewalk.tokenizer import TokenizeOptions, run_tokenize
from ropewalk.tokenizer.special import TURN_END


def task(number: int, question: str, *accept: str, refuse: bool = False) -> dict:
    return {
        "id": f"{number}", "group": "seen", "relation": "colour", "subject": "x", "refuse": refuse, "accept": list(accept),
        "messages": [{"role": "user", "content": question}],
    }  # fmt: skip


@pytest.fixture(scope="module")
def pick(write_lines):
    """A bandit: one question, four answers, green is right."""
    return write_lines([task(number, "Pick a colour.", "green") for number in range(2)])


@pytest.fixture(scope="module")
def mixed(write_lines):
    """The bandit, and what the model knows already: groups with and without a signal."""
    return write_lines(
        [task(number, "Pick a colour.", "green") for number in range(4)]
        + [
            task(10 + i, f"What colour is {name}?", f"The colour of {name} is {COLOURS[i % 4]}.")
            for i, name in enumerate(NAMES)
        ]
    )


def new_trainer(model, tasks_path, **options) -> Trainer:
    engine = load_engine(model, slots=36)
    made = GrpoOptions(model=model, tasks=tasks_path, prompts=6, samples=6, **options)
    tasks = tasks_of(engine.tokenizer, read_questions(tasks_path), context_tokens=engine.model.config.context_tokens)
    return Trainer(engine, tasks, made, judge=graded(made.wrong_reward), before={})


def plain_loss(trainer: Trainer, groups, old=None) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The objective, one answer at a time, all of them, from whole logits."""
    model, options = trainer.engine.model, trainer.options
    rewards_PS = torch.tensor([[answer.reward for answer in group] for group in groups])
    advantages_PS = advantages(rewards_PS, scale=options.scale_advantages)
    total, tokens, logprobs = torch.tensor(0.0), 0, []
    for p, group in enumerate(groups):
        for s, answer in enumerate(group):
            made = answer.generation
            logits_TV = model.logits(model(torch.tensor([[*answer.prompt, *made.ids]])))[0, len(answer.prompt) - 1 : -1]
            logits_TV = logits_TV.index_fill(1, trainer.engine.banned, -torch.inf)
            logprobs_T = logits_TV.log_softmax(1).gather(1, torch.tensor(made.ids)[:, None])[:, 0]
            logprobs.append(logprobs_T.detach())
            old_T = logprobs_T.detach() if old is None else old[len(logprobs) - 1]
            if options.mask_truncated and made.finish == "length":
                continue
            tokens += len(made.ids)
            terms = (logprobs_T, old_T, torch.tensor(made.logprobs), advantages_PS[p, s].expand(len(made.ids)))
            total = total + policy_loss(*terms, trainer.clip).sum()
    return total / tokens, logprobs


def answers_of(trainer: Trainer, batch: int):
    options = trainer.options
    return sample(
        trainer.engine, drawn(trainer.tasks, batch, count=options.prompts, seed=options.seed), samples=options.samples,
        max_tokens=options.max_tokens, judge=trainer.judge, seeds=(options.seed, batch),
    )  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"mask_truncated": True, "max_tokens": 4}, {"scale_advantages": True}])
def test_the_gradient_is_that_of_the_plain_objective_over_all_answers(tuned, mixed, options):
    """Also for the second update on the same answers, where ratios have moved."""
    trainer = new_trainer(tuned.path, mixed, updates=2, **options)
    model, groups, old = trainer.engine.model, answers_of(trainer, 0), None
    for step in range(2):
        model.zero_grad()
        learned = trainer.learn(step)
        gradients = {name: weight.grad.clone() for name, weight in model.named_parameters()}
        model.zero_grad()
        loss, logprobs = plain_loss(trainer, groups, old)
        loss.backward()
        assert learned.loss == pytest.approx(loss.item(), abs=1e-5)
        largest = max(float(weight.grad.abs().max()) for weight in model.parameters())
        for name, weight in model.named_parameters():
            torch.testing.assert_close(gradients[name], weight.grad, atol=1e-4 * largest, rtol=1e-3)
        old = old or logprobs
        with torch.no_grad():
            for weight in model.parameters():
                weight -= 0.02 / largest * weight.grad
    assert learned.figures["clip_ratio/region_mean"] > 0
    assert 0 < learned.figures["frac_reward_zero_std"] < 1
    with_signal = [one for group in groups if len({one.reward for one in group}) > 1 for one in group]
    assert sum(len(rows.rollout_N) for rows in trainer.batch) <= sum(len(one.generation.ids) for one in with_signal)
    assert sum(rows.rows.tokens for rows in trainer.batch) < sum(
        len(one.prompt) + len(one.generation.ids) - 1 for one in with_signal
    )  # a prompt was read once for all its answers


@pytest.mark.parametrize("name", ["base", "tuned"])
def test_the_trainers_probabilities_are_the_engines(request, mixed, name):
    """For a model that would say what the engine never draws, too."""
    trainer = new_trainer(request.getfixturevalue(name).path, mixed, wrong_reward=-0.5)
    groups = answers_of(trainer, 3)
    with torch.no_grad():
        _, logprobs = plain_loss(trainer, groups)
    for answer, logprobs_T in zip([one for group in groups for one in group], logprobs, strict=True):
        torch.testing.assert_close(torch.tensor(answer.generation.logprobs), logprobs_T, atol=1e-4, rtol=0)
    figures = trainer.learn(3).figures
    if trainer.batch:
        assert figures["sampling/importance_sampling_ratio/max"] == pytest.approx(1, abs=1e-4)
        assert figures["sampling/kl"] == pytest.approx(0, abs=1e-6)


def test_rows_learn_the_answer_and_its_end_and_nothing_of_the_prompt(tuned, mixed, monkeypatch):
    trainer = new_trainer(tuned.path, mixed)
    end = trainer.engine.tokenizer.special[TURN_END]
    answers = [answer for group in answers_of(trainer, 0) for answer in group]
    for answer in answers:
        (rows,) = answer_rows(trainer.engine.model, [(answer, 0.5)])
        assert rows.rows.targets_BT[rows.rows.mask_BT].tolist() == answer.generation.ids
        assert rows.rows.ids_BT[0].tolist() == [*answer.prompt, *answer.generation.ids][:-1]
        assert answer.generation.ids[-1] == end
    answers = answers[:20]
    (together,) = answer_rows(trainer.engine.model, [(answer, 0.5) for answer in answers])
    assert together.rows.mask_BT.sum() == sum(len(answer.generation.ids) for answer in answers) == len(together.rollout_N)
    monkeypatch.setattr(sequences, "pass_tokens", lambda model: 1024)
    many = list(answer_rows(trainer.engine.model, [(answer, 0.5) for answer in answers * 20]))
    assert len(many) > 1
    assert max(rows.rows.tokens for rows in many) <= 1024
    assert sum(len(rows.rollout_N) for rows in many) == 20 * len(together.rollout_N)


def test_a_bandit_finds_the_right_arm(tmp_path, tuned, pick):
    options = GrpoOptions(
        model=tuned.path,
        tasks=pick,
        steps=40,
        prompts=2,
        samples=16,
        max_tokens=8,
        held_back_tasks=1,
        adamw_rate=0.003,
        evaluate_every_steps=5,
    )
    made = run_grpo(options, out=tmp_path / "model")
    rows = read_metrics(made.path / "logs")
    assert rows[0]["reward"] < 0.2
    assert sum(row["reward"] for row in rows[-3:]) / 3 > 0.95
    assert made.facts["held_back_right_fraction"] == 1
    assert {"reward", "right_fraction", "refused_fraction", "wrong_fraction"} == set(made.facts["before"])
    assert rows[-1]["completions/clipped_ratio"] == 0
    assert rows[-1]["held_back/reward"] == made.facts["held_back_reward"]
    assert rows[0]["held_back/reward_before"] == made.facts["before"]["reward"]
    assert made.inputs["model"]["digest"] == tuned.digest
    assert made.facts["conversations"] is True
    assert made.facts["steps"] == 40


def test_steps_without_a_signal_move_nothing(tmp_path, tuned, write_lines):
    """All answers are wrong: no answer is better than another."""
    tasks = write_lines([task(number, "Pick a colour.", "no such answer") for number in range(2)])
    options = GrpoOptions(model=tuned.path, tasks=tasks, steps=2, prompts=1, samples=4, max_tokens=4, held_back_tasks=0)
    made = run_grpo(options, out=tmp_path / "model")
    weights = [one.manifest["files"]["model.safetensors"]["sha256"] for one in (made, tuned)]
    assert weights[0] == weights[1]
    assert made.facts["before"] == {}
    assert [row["train/loss"] for row in read_metrics(made.path / "logs")] == [0, 0]


def test_what_an_answer_earns():
    grades = Graded("right", 1.0), Graded("refused", 0.0), Graded("wrong", 0.0), Graded("wrong", 0.5)
    assert [reward(one, wrong_reward=-2.0) for one in grades] == [1.0, 0.0, -2.0, -0.5]


def test_tasks_are_split_by_their_ids_and_drawn_once_an_epoch(tuned, mixed):
    trainer = new_trainer(tuned.path, mixed)

    def parted(tasks, count):
        return split(tasks, count, name=lambda task: task.question.id)

    train, held_back = parted(trainer.tasks, 5)
    assert (len(train), len(held_back)) == (11, 5)
    assert parted(trainer.tasks[::-1], 5)[1] == held_back[::-1]
    assert len(parted(trainer.tasks[:4], 64)[1]) == 2
    read = [one.question.id for batch in range(11) for one in drawn(train, batch, count=3, seed=1)]
    for epoch in range(3):
        assert len(set(read[11 * epoch : 11 * (epoch + 1)])) == 11
    assert read[:11] != read[11:22]
    assert read[:3] != [one.question.id for one in drawn(train, 0, count=3, seed=2)]


def test_an_interrupted_run_ends_with_the_weights_of_an_undisturbed_one(tmp_path, tuned, mixed, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_SECONDS", 0.05)
    options = GrpoOptions(
        model=tuned.path, tasks=mixed, steps=17, prompts=4, samples=4, max_tokens=8, updates=2, held_back_tasks=4
    )
    straight = run_grpo(options, out=tmp_path / "straight")
    out = tmp_path / "interrupted"
    resumed = interrupted(lambda: run_grpo(options, out=out), out, after_steps=(5, 11))
    assert resumed.digest == straight.digest
    assert resumed.facts == straight.facts
    rewards = [[row["reward"] for row in read_metrics(one.path / "logs")] for one in (straight, resumed)]
    assert rewards[0] == rewards[1]
    assert len(rewards[0]) == 17


@pytest.fixture(scope="module")
def likes_black(tmp_path_factory, tuned, write_lines):
    """A reward model that prefers black to all other colours."""
    pairs = [
        {"id": f"{other} {n}", "prompt": "Pick a colour.", "chosen": "black", "rejected": other}
        for other in COLOURS
        if other != "black"
        for n in range(12)
    ]
    options = RewardOptions(
        model=tuned.path, preferences=write_lines(pairs), epochs=4, batch=8, adamw_rate=0.003, held_back=6
    )
    return run_reward(options, out=tmp_path_factory.mktemp("reward") / "reward").path


def test_a_reward_model_says_what_answers_earn(tmp_path, tuned, pick, likes_black):
    """It likes black, though the tasks' right answer is green: the proxy's reward rises, the grades fall."""
    common = {"model": tuned.path, "tasks": pick, "reward": likes_black, "prompts": 2, "samples": 16, "max_tokens": 8}
    options = GrpoOptions(**common, steps=25, held_back_tasks=1, adamw_rate=0.003)
    made = run_grpo(options, out=tmp_path / "free")
    rows = read_metrics(made.path / "logs")
    engine = load_engine(made.path)
    prompt = tasks_of(engine.tokenizer, read_questions(pick), context_tokens=96)[0].prompt
    assert engine.generate([prompt], [Sampling(8, temperature=0)])[0].text == "black"
    assert rows[-1]["reward"] > rows[0]["reward"]
    assert made.facts["held_back_right_fraction"] == 0
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-3)
    assert rows[-1]["kl"] > 0.5
    held = run_grpo(
        GrpoOptions(**common, steps=25, held_back_tasks=1, adamw_rate=0.003, kl_weight=20.0), out=tmp_path / "held"
    )
    assert read_metrics(held.path / "logs")[-1]["kl"] < 0.3 * rows[-1]["kl"]


def test_a_reward_model_of_another_tokenizer_is_refused(tmp_path, tuned, pick, corpus, gpt2_folder, write_lines):
    tokens = run_tokenize(TokenizeOptions(corpus=corpus, tokenizer=gpt2_folder), out=tmp_path / "tokens").path
    options = PretrainOptions(
        tokens=tokens, tokenizer=gpt2_folder, depth=1, context_tokens=64, batch_rows=4, train_tokens=512, compile="off",
        evaluate_documents=1,
    )  # fmt: skip
    other = run_pretrain(options, out=tmp_path / "other").path
    pairs = write_lines([{"prompt": "Good?", "chosen": "yes", "rejected": "no"}])
    reward = run_reward(RewardOptions(model=other, preferences=pairs, steps=1), out=tmp_path / "reward").path
    with pytest.raises(ArtifactError, match="has another tokenizer"):
        run_grpo(GrpoOptions(model=tuned.path, tasks=pick, reward=reward), out=tmp_path / "model")


def test_what_does_not_fit_is_refused(tmp_path, tuned, mixed, write_lines):
    long = write_lines([task(1, "word " * 200, "x")])
    with pytest.raises(InputError, match=r"question '1' has \d+ tokens, the model reads 95"):
        run_grpo(GrpoOptions(model=tuned.path, tasks=long), out=tmp_path / "long")
    with pytest.raises(InputError, match="no answer would be right"):
        run_grpo(GrpoOptions(model=tuned.path, tasks=write_lines([task(1, "What?")])), out=tmp_path / "no")
    with pytest.raises(InputError, match="does not exist"):
        run_grpo(GrpoOptions(model=tuned.path, tasks=tmp_path / "nowhere"), out=tmp_path / "nowhere2")
    with pytest.raises(ArtifactError, match="is not a finished model"):
        run_grpo(GrpoOptions(model=mixed.parent, tasks=mixed), out=tmp_path / "m")
