"""What the CPU's tests show, on a GPU: the same losses and gradients, and a run that stops and goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from ropewalk.engine.engine import Engine
from ropewalk.engine.sampling import Sampling
from ropewalk.model.config import PRESETS
from ropewalk.model.lora import LoraShape, adapt
from ropewalk.model.loss import GPU_CHUNK_TOKENS, linear_cross_entropy, linear_cross_entropy_plain
from ropewalk.model.rows import Rows
from ropewalk.model.transformer import Transformer
from ropewalk.pretrain.loop import compile_blocks, learn_rows
from ropewalk.pretrain.optimizer import LearningRates, Optimizer, orthogonalize
from ropewalk.tokenizer.encoding import Tokenizer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
RATES = LearningRates(matrix=0.02, embedding=0.1, head=0.006, norm=0.01)
TOKENS = os.environ.get("ROPEWALK_GPU_RUN")  # a demo's folder with tokens and tokenizer


@pytest.mark.parametrize("tokens", [2 * GPU_CHUNK_TOKENS, 2 * GPU_CHUNK_TOKENS + 100])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("softcap", [None, 15.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fused_loss_equals_plain(dtype, softcap, compiled, tokens):
    torch.manual_seed(0)
    hidden_ND = torch.randn(tokens, 64, device="cuda", dtype=dtype, requires_grad=True)
    head_VD = (0.3 * torch.randn(1000, 64, device="cuda")).requires_grad_()
    targets_N = torch.randint(0, 1000, (tokens,), device="cuda")
    weights_N = torch.rand(tokens, device="cuda") / tokens
    loss, losses_N = linear_cross_entropy(hidden_ND, head_VD, targets_N, weights_N, softcap=softcap, compiled=compiled)
    loss.backward()
    found = loss.detach(), losses_N, hidden_ND.grad.float(), head_VD.grad
    exact_ND = hidden_ND.detach().float().requires_grad_()
    head_VD.grad = None
    loss, losses_N = linear_cross_entropy_plain(exact_ND, head_VD, targets_N, weights_N, softcap=softcap)
    loss.backward()
    for ours, plain in zip(found, (loss.detach(), losses_N, exact_ND.grad, head_VD.grad), strict=True):
        error = float((ours - plain).norm() / plain.norm())
        assert error < (1e-5 if dtype == torch.float32 else 1e-2), error


@pytest.mark.parametrize("shape", [(3, 256, 256), (2, 1024, 256), (2, 256, 1024)])
def test_matrices_are_orthogonalized_as_on_the_cpu(shape):
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    found, expected = orthogonalize(matrices.cuda()).cpu(), orthogonalize(matrices)
    assert float((found - expected).norm() / expected.norm()) < 0.1  # bfloat16 there, float32 here


def losses_on(
    device: str, *, preset: str, precision: str = "float32", compiled: bool = False, steps: int = 12
) -> list[float]:
    """The losses of a few steps on the same tokens."""
    model = Transformer(PRESETS[preset](depth=2, vocabulary=512, context_tokens=128, width=256))
    model.initialize(0)
    model.to(device)
    if precision == "float8":
        model.use_float8()
    else:
        model.precision = getattr(torch, precision)
    if compiled:
        torch.compiler.reset()  # a function is compiled a few times only, for models of one kind
        compile_blocks(model)
    optimizer = Optimizer(model, RATES, weight_decay=0.1)
    ids = np.random.default_rng(0).zipf(1.3, (8, 129)) % 512
    rows, losses = Rows(ids[:, :-1], ids[:, 1:], np.random.default_rng(1).random((8, 128)) < 0.8), []
    for _ in range(12):
        losses.append(learn_rows(model, rows, pass_rows=4).loss)
        optimizer.step(rate_fraction=0.3, momentum=0.9)
    return losses


@pytest.mark.parametrize("preset", list(PRESETS))
def test_training_steps_equal_the_cpus(preset):
    expected = losses_on("cpu", preset=preset)
    assert expected[-1] < expected[0] - 0.5
    exact = losses_on("cuda", preset=preset)
    assert exact[0] == pytest.approx(expected[0], abs=1e-4)
    assert exact == pytest.approx(expected, abs=0.05)  # Muon's products are in bfloat16 there
    several = (("float32", True), ("bfloat16", False), ("bfloat16", True), ("float8", True))
    for precision, compiled in several if preset == "speed" else several[2:3]:
        found = losses_on("cuda", preset=preset, precision=precision, compiled=compiled)
        assert found == pytest.approx(expected, abs=0.25 if precision == "float8" else 0.12), (precision, compiled)


def gradients_on(device: str, preset: str, precision: str, *, compiled: bool) -> dict[str, torch.Tensor]:
    """What four passes over the same rows leave in the weights."""
    torch.manual_seed(0)
    model = Transformer(PRESETS[preset](depth=2, vocabulary=512, context_tokens=128, width=256))
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, 0.05) if weight.ndim > 1 else weight.fill_(0.7)
    model.to(device)
    if precision == "float8":
        model.use_float8()
    else:
        model.precision = getattr(torch, precision)
    if compiled:
        torch.compiler.reset()  # a function is compiled a few times only, for models of one kind
        compile_blocks(model)
    ids = np.random.default_rng(0).zipf(1.3, (8, 129)) % 512
    learn_rows(model, Rows(ids[:, :-1], ids[:, 1:], np.random.default_rng(1).random((8, 128)) < 0.8), pass_rows=2)
    return {name: weight.grad.float().cpu() for name, weight in model.named_parameters()}


@pytest.mark.parametrize(
    ("preset", "precision", "compiled", "most"),
    [
        *((preset, "bfloat16", False, 0.15) for preset in PRESETS),
        ("speed", "float32", True, 0.01),
        ("speed", "bfloat16", True, 0.15),
        ("speed", "float8", False, 0.4),
        ("speed", "float8", True, 0.4),
        ("portable", "float8", True, 0.4),
    ],
)
def test_gradients_of_several_passes_are_the_cpus(preset, precision, compiled, most):
    """Of passes that add to one sum."""
    expected = gradients_on("cpu", preset, "float32", compiled=False)
    found = gradients_on("cuda", preset, precision, compiled=compiled)
    for name, gradient in expected.items():
        if gradient.numel() > 4096:  # of scales and gates it is a difference of large sums, mostly rounding here
            assert float((found[name] - gradient).norm() / gradient.norm()) < most, name


def test_adapters_learn_as_on_the_cpu():
    """Where queries, keys and values have adapters they are no longer one product."""
    ids = np.random.default_rng(0).zipf(1.3, (8, 129)) % 512
    rows, losses = Rows(ids[:, :-1], ids[:, 1:], np.ones((8, 128), np.bool_)), {}
    for device in ("cpu", "cuda"):
        model = Transformer(PRESETS["portable"](depth=2, vocabulary=512, context_tokens=128, width=256))
        model.initialize(0)
        adapt(model.to(device), LoraShape(8, 16.0, rank_stabilised=False, targets="all"), seed=0)
        optimizer = Optimizer(model, LearningRates(0.01, 0.01, 0.01, 0.01), weight_decay=0.0, matrices="adamw")
        losses[device] = []
        for _ in range(12):
            losses[device].append(learn_rows(model, rows).loss)
            optimizer.step(rate_fraction=1.0, momentum=0.9)
    assert losses["cpu"][-1] < losses["cpu"][0]
    assert losses["cuda"] == pytest.approx(losses["cpu"], abs=0.02)


@pytest.mark.skipif(not TOKENS, reason="ROPEWALK_GPU_RUN names no demo to read")
def test_a_run_stops_goes_on_and_learns(tmp_path):
    """The demo's base on a GPU: stopped by SIGTERM and carried on, its held-out pages cost what they cost on a CPU."""
    options = f"""--tokens {TOKENS}/tokens --tokenizer {TOKENS}/tokenizer --conversations {TOKENS}/reading
        --conversation-fraction 0.22 --width 128 --head-width 32 --context-tokens 256 --batch-rows 8 --train-tokens 2500000
        --matrix-rate 0.04 --embedding-rate 0.3 --head-rate 0.02 --out {tmp_path / "model"}"""
    command = [sys.executable, "-m", "ropewalk", "pretrain", *options.split()]
    process = subprocess.Popen(command)
    log = tmp_path / "model.part" / "logs" / "metrics.jsonl"
    while process.poll() is None and not (log.exists() and log.read_text().count("\n") > 300):
        time.sleep(0.2)
    process.terminate()
    assert process.wait(60) != 0
    subprocess.run(command, check=True)
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    lines = [json.loads(line) for line in (tmp_path / "model" / "logs" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(len(lines)))
    assert manifest["facts"]["held_out_bits_per_byte"] < 0.5
    base, sft = tmp_path / "model", tmp_path / "sft"
    for stage in (
        f"sft --model {base} --tokens {TOKENS}/answering --epochs 0.1 --compile off --out {sft}",
        f"grpo --model {sft} --tasks {TOKENS}/tasks.jsonl --steps 10 --matrix-rate 0.0003 --out {tmp_path / 'grpo'}",
    ):
        subprocess.run([sys.executable, "-m", "ropewalk", *stage.split()], check=True)
    facts = json.loads((tmp_path / "grpo" / "manifest.json").read_text())["facts"]
    assert facts["held_back_right_fraction"] > 0.5  # of tasks that neither stage trained on


@pytest.mark.skipif(not TOKENS, reason="ROPEWALK_GPU_RUN names no demo to read")
def test_answers_are_the_cpus():
    """Greedy texts of a model with random weights, several at once, in float32."""
    tokenizer = Tokenizer.load(Path(f"{TOKENS}/tokenizer"))
    model = Transformer(PRESETS["speed"](depth=2, vocabulary=2048, context_tokens=256, width=128))
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, 0.1) if weight.ndim > 1 else weight.fill_(1.0)
    prompts, texts = [list(range(20, 20 + length)) for length in (3, 70, 40)], []
    for device in ("cpu", "cuda"):
        engine = Engine(model.to(device), tokenizer, frozenset({0}), slots=2)
        made = engine.generate(prompts, [Sampling(50, temperature=0)] * 3)
        texts.append([one.ids[:20] for one in made])
    assert texts[0] == texts[1]
