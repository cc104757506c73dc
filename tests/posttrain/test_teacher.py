"""A student that samples its own answers comes to say what its teacher would, and is told where that cannot work."""

from __future__ import annotations

import pytest
from tests.engine.small import write_folder
from tests.posttrain.conftest import NAMES
from tests.posttrain.test_grpo import task
from tests.serve.world import served

from ropewalk.engine.load import load_engine
from ropewalk.engine.remote import scores_from
from ropewalk.engine.sampling import Sampling
from ropewalk.posttrain import GrpoOptions, SftOptions, run_grpo, run_sft
from ropewalk.runtime.errors import InputError, OptionError
from ropewalk.runtime.metrics import read_metrics
from ropewalk.serve.replies import LEAST_LOGPROB
from ropewalk.tokenizer.chat import render_prompt


@pytest.fixture(scope="module")
def student(tmp_path_factory, base, colours):
    """A model that has seen the conversations once, where its teacher has seen them often."""
    options = SftOptions(model=base.path, tokens=colours, epochs=2.0, batch_rows=4, warm_up_steps=3, compile="off")
    return run_sft(options, out=tmp_path_factory.mktemp("student") / "model").path


@pytest.fixture(scope="module")
def teacher(tuned):
    with served(tuned.path, index=None, slots=8, queue=32) as (address, service):
        yield f"{address}/v1", next(iter(service.models))


@pytest.fixture(scope="module")
def asked(write_lines):
    return write_lines([task(number, f"What colour is {name}?", "red") for number, name in enumerate(NAMES)])


def test_the_teachers_scores_are_its_engines(teacher, tuned):
    engine = load_engine(tuned.path, slots=2)
    prompts = [
        render_prompt(engine.tokenizer, [{"role": "user", "content": f"What colour is {name}?"}]) for name in NAMES[:2]
    ]
    address, name = teacher
    for prompt, scores in zip(prompts, scores_from(address, name, prompts), strict=True):
        (token,) = engine.stream([prompt], [Sampling(1, prompt_logprobs=True)])
        assert [text for text, _ in scores] == [engine.tokenizer.token(one).decode("utf-8", "replace") for one in prompt]
        assert [score for _, score in scores[1:]] == pytest.approx(
            [max(one.logprob or 0.0, LEAST_LOGPROB) for one in token.read[1:]], abs=1e-4
        )


def test_a_student_approaches_its_teacher(tmp_path, student, teacher, asked):
    address, name = teacher
    options = GrpoOptions(
        model=student, tasks=asked, teacher=address, teacher_model=name, steps=40, prompts=8, samples=4, max_tokens=16,
        adamw_rate=0.002, warm_up_steps=2, held_back_tasks=0,
    )  # fmt: skip
    made = run_grpo(options, out=tmp_path / "model")
    distances = [row["teacher_kl"] for row in read_metrics(made.path / "logs")]
    assert 0 < sum(distances[-5:]) < 0.5 * sum(distances[:5])  # of 2.2 nats a token 0.8 are left


def test_a_teacher_of_other_tokens_is_refused(tmp_path, student, asked):
    other = write_folder(tmp_path / "other", context_tokens=128)
    with served(other, index=None) as (address, service):
        options = GrpoOptions(
            model=student, tasks=asked, teacher=f"{address}/v1", teacher_model=next(iter(service.models)), steps=1,
            prompts=2, samples=2, max_tokens=8,
        )  # fmt: skip
        with pytest.raises(InputError, match=r"other tokens|does not score"):
            run_grpo(options, out=tmp_path / "model")


def test_a_teacher_stands_alone(tmp_path, student, asked):
    with pytest.raises(OptionError, match="give both"):
        run_grpo(GrpoOptions(model=student, tasks=asked, teacher="http://127.0.0.1:1/v1"), out=tmp_path / "model")
    options = GrpoOptions(model=student, tasks=asked, teacher="x", teacher_model="y", kl_weight=0.1)
    with pytest.raises(OptionError, match="replaces rewards"):
        run_grpo(options, out=tmp_path / "model")
