"""What the loop does besides steps: passes, spikes, signals, checkpoints; and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from ropewalk.artifact import Part, open_artifact
from ropewalk.model.config import PRESETS, portable
from ropewalk.model.rows import Rows
from ropewalk.model.transformer import Transformer
from ropewalk.pretrain import PretrainOptions, run
from ropewalk.pretrain.checkpoints import CHECKPOINT, Checkpoints
from ropewalk.pretrain.loop import Learned, learn_rows, train
from ropewalk.pretrain.optimizer import LearningRates, Optimizer
from ropewalk.pretrain.schedule import Schedule
from ropewalk.pretrain.spikes import HISTORY_STEPS, Spikes
from ropewalk.runtime.errors import InputError, MachineError
from ropewalk.runtime.metrics import read_metrics

RATES = LearningRates(matrix=0.02, embedding=0.1, head=0.006, norm=0.01)
SMALL = {"depth": 1, "context_tokens": 64, "batch_rows": 4, "compile": "off", "warm_up_steps": 5, "evaluate_documents": 3}


def new_model(preset: str = "portable", **changes: int) -> Transformer:
    model = Transformer(PRESETS[preset](**{"depth": 1, "vocabulary": 50, "context_tokens": 16, **changes}))
    model.initialize(0)
    return model


def some_rows(count: int = 6, *, learned: float = 0.7) -> Rows:
    draws = np.random.default_rng(0)
    ids = draws.integers(0, 50, (count, 17))
    return Rows(ids[:, :-1], ids[:, 1:], draws.random((count, 16)) < learned)


def steps_of(model: Transformer, part: Path, *, steps: int, learn=None, **options: object):
    return train(
        model,
        Optimizer(model, RATES, weight_decay=0.1),
        Schedule(steps=steps, warm_up_steps=2, warm_down_fraction=0.5),
        learn=learn or (lambda step: learn_rows(model, some_rows())),
        part=Part(part),
        evaluate=dict,
        evaluate_every_steps=100,
        **options,
    )


@pytest.mark.parametrize("pass_rows", [1, 4, 6, 100])
@pytest.mark.parametrize("preset", list(PRESETS))
def test_passes_add_up_to_the_step(preset, pass_rows):
    model = new_model(preset)
    for weight in model.parameters():
        weight.data += 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    whole = learn_rows(model, some_rows())
    expected = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    in_passes = learn_rows(model, some_rows(), pass_rows=pass_rows)
    assert in_passes.loss == pytest.approx(whole.loss, abs=1e-5)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, expected[name], atol=1e-5, rtol=1e-4)


def test_a_jump_is_left_out_and_a_slow_rise_is_not():
    spikes, draws = Spikes(6.0), np.random.default_rng(0)
    for step in range(2 * HISTORY_STEPS):
        assert not spikes.jumps(3.0 + 0.001 * step + 0.05 * draws.standard_normal(), 1.0 + 0.05 * draws.standard_normal())
    assert spikes.jumps(5.0, 1.0)
    assert spikes.jumps(3.2, 9.0)
    assert not spikes.jumps(3.25, 1.0)  # what jumped is not in the history
    assert not Spikes(None).jumps(1e9, 1e9)
    early = Spikes(6.0)
    assert not any(early.jumps(float(step % 50), 1.0) for step in range(HISTORY_STEPS))


def test_a_step_that_jumps_changes_nothing_and_is_counted(tmp_path):
    model, steps = new_model(), HISTORY_STEPS + 5
    noted: list[torch.Tensor] = []

    def learn(step: int) -> Learned:
        noted.append(model.lm_head.weight.detach().clone())
        learned = learn_rows(model, some_rows())
        return learned if step != HISTORY_STEPS + 1 else Learned(1e6, learned.tokens)

    steps_of(model, tmp_path, steps=steps, learn=learn, spike_deviations=6.0)
    changed = [not torch.equal(before, after) for before, after in pairwise(noted)]
    assert changed == [step != HISTORY_STEPS + 1 for step in range(steps - 1)]
    assert [row.get("train/skipped_steps") for row in read_metrics(tmp_path / "logs")[-4:]] == [1.0] * 4


def test_what_diverges_says_so(tmp_path):
    model = new_model()

    def learn(step: int) -> Learned:
        learned = learn_rows(model, some_rows())
        return learned if step != 3 else Learned(float("nan"), learned.tokens)

    with pytest.raises(InputError, match="training diverged at step 3"):
        steps_of(model, tmp_path, steps=9, learn=learn)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory: 9 GB")]
)
def test_too_little_memory_names_what_helps(tmp_path, error):
    def learn(step: int) -> Learned:
        raise error

    with pytest.raises(MachineError, match=r"pass_rows .* recompute"):
        steps_of(new_model(), tmp_path, steps=9, learn=learn)


def test_a_checkpoint_of_another_shape_is_refused(tmp_path):
    steps_of(new_model(), tmp_path, steps=2)
    with pytest.raises(InputError, match=r"is of another model: model\.embed_tokens\.weight is \(50, 64\), not \(51, 64\)"):
        steps_of(new_model(vocabulary=51), tmp_path, steps=4)


def test_a_damaged_checkpoint_is_named(tmp_path):
    steps_of(new_model(), tmp_path, steps=2)
    path = tmp_path / "scratch" / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="is damaged"):
        steps_of(new_model(), tmp_path, steps=4)


def test_ids_beyond_the_vocabulary_are_refused():
    rows = some_rows()
    rows.ids_BT[2, 3] = 50
    with pytest.raises(InputError, match="the id 50, but the model's vocabulary ends at 49"):
        learn_rows(new_model(), rows)


def test_what_is_saved_is_what_was_there_when_it_was(tmp_path):
    tensor = torch.arange(2_000_000, dtype=torch.float64)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save({"a": tensor, "b": torch.tensor(3)}, step=7)
        tensor += 1  # while it is being written
    loaded, step = Checkpoints(tmp_path).load()
    assert step == 7 and loaded["b"] == 3
    assert torch.equal(loaded["a"], tensor - 1)


def test_a_write_that_fails_is_not_silent(tmp_path):
    with pytest.raises(FileNotFoundError), Checkpoints(tmp_path / "gone") as checkpoints:
        checkpoints.save({"a": torch.zeros(1)}, step=1)


PROGRAM = """
import sys
from pathlib import Path
from ropewalk.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_waits_for_the_step_and_its_end_is_saved(tmp_path, tokens, gpt4_folder, number):
    flags = {"tokens": tokens, "tokenizer": gpt4_folder, "out": tmp_path / "model", "train-tokens": 60_000, "depth": 1}
    flags |= {"context-tokens": 64, "batch-rows": 4, "compile": "off", "evaluate-documents": 3}
    command = [sys.executable, "-c", PROGRAM, "pretrain", *(str(word) for k, v in flags.items() for word in (f"--{k}", v))]
    metrics = tmp_path / "model.part" / "logs" / "metrics.jsonl"
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= 3):
            assert process.poll() is None
        process.send_signal(number)
        _, said = process.communicate()
    assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130}[number], said
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert steps == list(range(len(steps)))
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True)
    assert f"carrying on at step {len(steps)}" in done.stderr  # no step was lost, though no 30 seconds had passed
    straight = run(
        PretrainOptions(tokens=tokens, tokenizer=gpt4_folder, train_tokens=60_000, depth=1, context_tokens=64, batch_rows=4,
                        compile="off", evaluate_documents=3),
        out=tmp_path / "straight",
    )  # fmt: skip
    assert open_artifact(tmp_path / "model").digest == straight.digest


def test_two_processes_learn_what_one_does(tmp_path, tokens, gpt4_folder):
    """Over gloo; a checkpoint that two left is gone on with by one. In equal passes, or the last bits soon differ."""
    flags = {"tokens": tokens, "tokenizer": gpt4_folder, "train-tokens": 20_000, "depth": 1, "context-tokens": 64}
    flags |= {"batch-rows": 4, "compile": "off", "evaluate-documents": 3, "preset": "speed", "pass-rows": 2}
    words = ["pretrain", *(str(word) for name, value in flags.items() for word in (f"--{name}", value))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "ropewalk"]
    one = [sys.executable, "-m", "ropewalk"]
    subprocess.run([*one, *words, "--out", str(tmp_path / "one")], check=True, env=environment, capture_output=True)
    subprocess.run([*two, *words, "--out", str(tmp_path / "two")], check=True, env=environment, capture_output=True)
    losses = {name: [row["train/loss"] for row in read_metrics(tmp_path / name / "logs")] for name in ("one", "two")}
    assert losses["two"] == pytest.approx(losses["one"], abs=1e-5)
    assert open_artifact(tmp_path / "two").facts["processes"] == 2

    out, metrics = tmp_path / "mixed", tmp_path / "mixed.part" / "logs" / "metrics.jsonl"
    with subprocess.Popen([*two, *words, "--out", str(out)], env=environment, stderr=subprocess.DEVNULL) as process:
        while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= 10):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait() != 0
    done = subprocess.run([*one, *words, "--out", str(out)], check=True, env=environment, capture_output=True, text=True)
    assert "carrying on at step" in done.stderr
    mixed = [row["train/loss"] for row in read_metrics(out / "logs")]
    assert mixed == pytest.approx(losses["one"], abs=1e-5)
    launched = [*one, *words, "--processes", "2", "--out", str(tmp_path / "launched")]
    subprocess.run(launched, check=True, env=environment, capture_output=True)
    assert open_artifact(tmp_path / "launched").digest == open_artifact(tmp_path / "two").digest
    again = subprocess.run([*two, *words, "--out", str(out)], check=True, env=environment, capture_output=True, text=True)
    assert "already made" in again.stderr


def test_documents_of_a_row_can_be_kept_apart(tmp_path, tokens, gpt4_folder):
    """The first loss is that of each document by itself."""
    from ropewalk.pretrain.stage import _begin, _rows

    options = PretrainOptions(
        tokens=tokens, tokenizer=gpt4_folder, train_tokens=1_000, within_documents=True, **{**SMALL, "context_tokens": 1024}
    )
    begun = _begin(options)
    rows = _rows(begun.order, 0, apart=True)
    assert len(np.unique(rows.documents_BT)) > 1
    apart = learn_rows(begun.model, rows)
    nats = 0.0
    for b in range(4):
        for document in np.unique(rows.documents_BT[b]):
            here = np.flatnonzero(rows.documents_BT[b] == document)
            alone = Rows(*(array[b : b + 1, here] for array in (rows.ids_BT, rows.targets_BT, rows.mask_BT)))
            assert rows.positions_BT[b, here].tolist() == list(range(len(here)))
            nats += learn_rows(begun.model, alone).loss * len(here)
    assert apart.loss == pytest.approx(nats / rows.ids_BT.size, abs=1e-5)
    made = run(options, out=tmp_path / "model")
    assert read_metrics(made.path / "logs")[0]["train/loss"] == pytest.approx(apart.loss, abs=1e-6)


def test_the_parameters_of_every_shape_are_counted_right():
    for preset, depth in ((preset, depth) for preset in PRESETS for depth in (1, 2, 3, 4)):
        with torch.device("meta"):
            model = Transformer(PRESETS[preset](depth=depth, vocabulary=70, context_tokens=16))
        assert model.config.parameters == sum(weight.numel() for weight in model.parameters())
    assert portable(depth=12, vocabulary=32_768, context_tokens=512).parameters > 100e6
