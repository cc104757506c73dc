"""The objective agrees with its definition, and its slope with autograd."""

from __future__ import annotations

import pytest
import torch

from ropewalk.posttrain.objective import Clip, advantages, policy_loss, policy_slope

CLIP = Clip(low=0.2, high=0.28, importance_cap=2.0)


def test_the_slope_is_autograds():
    torch.manual_seed(0)
    old_N, rollout_N = -torch.rand(400) * 4, -torch.rand(400) * 4
    logprobs_N = (old_N + torch.randn(400) * 0.4).requires_grad_()
    advantages_N = torch.randn(400) * (torch.arange(400) % 5 > 0)
    policy_loss(logprobs_N, old_N, rollout_N, advantages_N, CLIP).sum().backward()
    slope_N = policy_slope(logprobs_N.detach(), old_N, rollout_N, advantages_N, CLIP)
    torch.testing.assert_close(slope_N, -logprobs_N.grad)
    assert 50 < (slope_N == 0).sum() < 300


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (1.0, 2.0, -2.0),
        (1.5, 2.0, -2.56),  # clipped at 1.28
        (0.5, 2.0, -1.0),  # a good token may always rise back
        (0.5, -2.0, 1.6),  # clipped at 0.8
        (1.5, -2.0, 3.0),
    ],
)
def test_the_loss_by_hand(ratio, advantage, expected):
    old_N = torch.tensor([-1.0])
    loss_N = policy_loss(old_N + torch.tensor([ratio]).log(), old_N, old_N, torch.tensor([advantage]), CLIP)
    assert loss_N.item() == pytest.approx(expected, rel=1e-5)


def test_importance_weights_are_truncated_above_only():
    old_N, rollout_N = torch.tensor([0.0, -2.0, -1.0]), torch.tensor([-3.0, -1.0, -1.0])
    assert CLIP.importance(old_N, rollout_N).tolist() == pytest.approx([2.0, 0.3679, 1.0], abs=1e-4)


def test_advantages_by_hand():
    rewards_PS = torch.tensor([[1.0, -1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    assert advantages(rewards_PS, scale=False).tolist() == rewards_PS.sub(torch.tensor([[0.0], [1.0]])).tolist()
    scaled_PS = advantages(rewards_PS, scale=True)
    assert scaled_PS[0].tolist() == pytest.approx([1.22459, -1.22459, 0, 0], abs=1e-4)  # over 0.8165 + 1e-4
    assert scaled_PS[1].tolist() == [0, 0, 0, 0]


def test_groups_that_earned_the_same_have_no_advantage_at_all():
    rewards_PS = torch.full((9, 11), -1.0) * torch.linspace(0.1, 0.9, 9)[:, None]
    assert (rewards_PS - rewards_PS.mean(dim=1, keepdim=True)).abs().max() > 0  # rounding
    assert not advantages(rewards_PS, scale=False).any()
    assert not advantages(rewards_PS, scale=True).any()
