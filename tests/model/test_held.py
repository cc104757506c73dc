import numpy as np
import pytest
import torch

from ropewalk.model import held
from ropewalk.model.config import PRESETS
from ropewalk.model.rows import Rows
from ropewalk.model.transformer import Transformer
from ropewalk.pretrain.loop import learn_rows
from ropewalk.pretrain.optimizer import LearningRates, Optimizer

EVERY = {"tables", "held", "added", "rows"}


@pytest.fixture(autouse=True)
def nothing_on():
    """Switches as they were, whatever a test turns."""
    before = set(held.ON)
    held.ON.clear()
    yield
    held.ON.clear()
    held.ON.update(before)


def learned(preset: str, switches: set[str], *, in_float8: bool = False, steps: int = 1) -> tuple[list[float], dict]:
    """Losses of some steps of three passes, and the last one's gradients."""
    held.ON.clear()
    held.ON.update(switches)
    model = Transformer(PRESETS[preset](depth=2, vocabulary=64, context_tokens=32, width=128))
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, 0.05) if weight.ndim > 1 else weight.fill_(0.7)
    model.precision = torch.bfloat16
    if in_float8:
        model.use_float8()
    optimizer = Optimizer(model, LearningRates(0.02, 0.05, 0.005, 0.01), weight_decay=0.1)
    ids = np.random.default_rng(0).zipf(1.3, (6, 33)) % 64
    rows, losses, gradients = Rows(ids[:, :-1], ids[:, 1:], np.random.default_rng(1).random((6, 32)) < 0.8), [], {}
    for _ in range(steps):
        losses.append(learn_rows(model, rows, pass_rows=2).loss)
        gradients = {name: weight.grad.clone() for name, weight in model.named_parameters()}
        optimizer.step(rate_fraction=0.3, momentum=0.9)
    assert all(module.held is None for module in model.modules() if hasattr(module, "held"))
    return losses, gradients


@pytest.mark.parametrize("switches", [{"tables"}, {"held"}, {"held", "added"}, {"held", "hooked"}, {"rows"}, EVERY])
@pytest.mark.parametrize("preset", list(PRESETS))
def test_what_passes_share_leaves_loss_and_gradients_as_they_were(preset, switches):
    expected_losses, expected = learned(preset, set())
    losses, found = learned(preset, switches)
    assert losses == pytest.approx(expected_losses, abs=2e-3)
    for name, gradient in expected.items():
        if gradient.ndim:  # a scale's gradient is a difference of large sums, mostly rounding here
            assert float((found[name] - gradient).norm() / gradient.norm()) < 0.03, name


@pytest.mark.parametrize("switches", [{"float8"}, {"float8", "added", "tables", "rows"}])
def test_scales_of_the_first_pass_serve_the_others(switches):
    expected_losses, expected = learned("speed", set(), in_float8=True)
    losses, found = learned("speed", switches, in_float8=True)
    assert losses == pytest.approx(expected_losses, abs=2e-2)
    for name, gradient in expected.items():
        if gradient.ndim > 1:
            assert float((found[name] - gradient).norm() / gradient.norm()) < 0.25, name


def test_several_steps_learn_as_before():
    expected, _ = learned("speed", set(), steps=10)
    losses, _ = learned("speed", EVERY, steps=10)
    assert expected[-1] < expected[0] - 0.3
    assert losses == pytest.approx(expected, abs=0.05)
