"""Muon's update is near-orthogonal, both optimizers learn, and their state is whole."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import pytest
import torch

from ropewalk.model.config import portable
from ropewalk.model.loss import linear_cross_entropy
from ropewalk.model.transformer import Transformer
from ropewalk.pretrain.optimizer import LearningRates, Optimizer, even_out, move_fused, orthogonalize
from ropewalk.pretrain.schedule import Schedule

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]

RATES = LearningRates(matrix=0.02, embedding=0.1, head=0.006, norm=0.01)


def test_orthogonalize_keeps_directions_and_levels_singular_values():
    torch.manual_seed(0)
    for shape in ((3, 64, 64), (2, 40, 96), (2, 96, 40)):
        left, _, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
        matrices_NRC = left @ torch.diag_embed(torch.logspace(0, -2, min(shape[1:])).expand(shape[0], -1)) @ right
        flat_NRC = orthogonalize(matrices_NRC)
        values = torch.linalg.svdvals(flat_NRC)
        assert values.min() > 0.7 and values.max() < 1.3
        nearest_NRC = left @ right  # the exact polar factor
        cosine = (flat_NRC * nearest_NRC).sum((1, 2)) / flat_NRC.norm(dim=(1, 2)) / nearest_NRC.norm(dim=(1, 2))
        assert cosine.min() > 0.98


def train_steps(model: Transformer, optimizer: Optimizer, steps: range) -> list[float]:
    losses = []
    for step in steps:
        ids_BT = torch.randint(0, 50, (4, 17), generator=torch.Generator().manual_seed(step % 2))
        hidden_ND = model(ids_BT[:, :-1]).flatten(0, 1)
        loss, _ = linear_cross_entropy(hidden_ND, model.lm_head.weight, ids_BT[:, 1:].flatten(), torch.full((64,), 1 / 64))
        loss.backward()
        optimizer.step(rate_fraction=1.0, momentum=0.9)
        losses.append(loss.item())
    return losses


def new_pair(matrices: Literal["muon", "adamw"] = "muon") -> tuple[Transformer, Optimizer]:
    model = Transformer(portable(depth=1, vocabulary=50, context_tokens=16))
    model.initialize(0)
    return model, Optimizer(model, RATES, weight_decay=0.1, matrices=matrices)


@pytest.mark.parametrize("matrices", ["muon", "adamw"])
def test_every_weight_moves_and_two_batches_are_learned_by_heart(matrices):
    model, optimizer = new_pair(matrices)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    losses = train_steps(model, optimizer, range(60))
    assert losses[-1] < 0.3 * losses[0]
    assert all(not torch.equal(before[name], weight) for name, weight in model.named_parameters())


@pytest.mark.parametrize("matrices", ["muon", "adamw"])
def test_state_restores_the_exact_path(matrices):
    model, optimizer = new_pair(matrices)
    train_steps(model, optimizer, range(5))
    saved_model = {name: weight.clone() for name, weight in model.state_dict().items()}
    saved_state = {name: value.clone() for name, value in optimizer.state().items()}
    straight = train_steps(model, optimizer, range(5, 9))
    other, other_optimizer = new_pair(matrices)
    other.load_state_dict(saved_model)
    other_optimizer.load(saved_state)
    assert train_steps(other, other_optimizer, range(5, 9)) == straight


def test_adamw_for_all_is_torchs_adamw_and_decays_matrices_alone():
    model, optimizer = new_pair("adamw")
    twin, _ = new_pair()
    named = dict(twin.named_parameters())
    in_blocks = [weight for name, weight in named.items() if name.startswith("model.layers.") and weight.ndim == 2]
    others = [
        {"params": [named["model.embed_tokens.weight"]], "lr": 0.1},
        {"params": [named["lm_head.weight"]], "lr": 0.006},
        {"params": [weight for weight in named.values() if weight.ndim == 1], "lr": 0.01},
    ]
    theirs = torch.optim.AdamW(
        [*others, {"params": in_blocks, "lr": 0.02, "weight_decay": 0.1}], betas=(0.8, 0.95), eps=1e-10, weight_decay=0.0
    )
    for step in range(3):
        for weight, other in zip(model.parameters(), twin.parameters(), strict=True):
            weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(step))
            other.grad = weight.grad.clone()
        optimizer.step(rate_fraction=1.0, momentum=0.9)
        theirs.step()
    for weight, other in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(weight, other, atol=1e-6, rtol=1e-5)


def test_schedule_rises_stays_and_falls():
    schedule = Schedule(steps=100, warm_up_steps=10, warm_down_fraction=0.5)
    rates = [schedule.rate_fraction(step) for step in range(100)]
    assert rates[0] == 0.1
    assert rates[10:50] == [1.0] * 40
    assert all(late < early for early, late in pairwise(rates[50:]))
    assert 0.05 < rates[-1] < 0.08


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", [(64, 64), (128, 64), (64, 160)])
def test_compiled_loops_move_matrices_as_the_plain_ones_do(shape, device):
    """Two steps, of other rates; the updates are bfloat16's there, float32's here: a CPU without it may be a quarter off."""
    torch.manual_seed(0)
    side = (shape[0], 1) if shape[0] >= shape[1] else (1, shape[1])
    weights = [torch.randn(shape, device=device) for _ in range(2)]
    gradients = [torch.randn(2, *shape, device=device) for _ in range(2)]
    averages_NRC, squares_N = torch.zeros(2, *shape, device=device), torch.zeros(2, *side, device=device)
    started, expected = [weight.clone() for weight in weights], [weight.clone() for weight in weights]
    averages, squares = averages_NRC.clone(), squares_N.clone()
    for gradients_NRC, momentum, rate in zip(gradients, (0.9, 0.95), (0.02, 0.03), strict=True):
        move_fused(weights, gradients_NRC, averages_NRC, squares_N, momentum=momentum, decay=0.1 * rate, scale=rate)
        averages.lerp_(gradients_NRC, 1 - momentum)
        updates_NRC = even_out(orthogonalize(gradients_NRC.lerp(averages, momentum)), squares, decay=0.9)
        for weight, update_RC, found, was in zip(expected, updates_NRC, weights, started, strict=True):
            weight -= 0.1 * rate * weight * (update_RC * weight > 0)
            weight -= rate * update_RC
            moves = [(one - was).flatten() for one in (found, weight)]
            assert torch.cosine_similarity(*moves, dim=0) > 0.95
            assert float(moves[0].norm() / moves[1].norm()) == pytest.approx(1, abs=0.05)
        torch.testing.assert_close(averages_NRC, averages)
        assert torch.cosine_similarity(squares_N.flatten(), squares.flatten(), dim=0) > 0.95
