"""The fused loss agrees with its plain twin, values and gradients."""

from __future__ import annotations

import math

import pytest
import torch

from ropewalk.model.loss import bits_per_byte, linear_cross_entropy, linear_cross_entropy_plain


@pytest.mark.parametrize("softcap", [None, 4.0])
@pytest.mark.parametrize("tokens", [1, 511, 512, 1300])
def test_fused_loss_equals_plain(tokens, softcap):
    torch.manual_seed(tokens)
    hidden_ND = torch.randn(tokens, 24, requires_grad=True)
    head_VD = torch.randn(70, 24, requires_grad=True)
    targets_N = torch.randint(0, 70, (tokens,))
    weights_N = torch.rand(tokens) * (torch.rand(tokens) > 0.3)
    results = []
    for function in (linear_cross_entropy, linear_cross_entropy_plain):
        hidden_ND.grad = head_VD.grad = None
        loss, losses_N = function(hidden_ND, head_VD, targets_N, weights_N, softcap=softcap)
        (3 * loss).backward()
        results.append((loss.detach(), losses_N, hidden_ND.grad, head_VD.grad))
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, atol=2e-5, rtol=1e-4)


def test_an_objective_that_is_no_sum_of_losses_has_its_own_gradient():
    """The square of every loss, with two ids that cannot be drawn: weights are the slope, twice the loss."""
    torch.manual_seed(0)
    hidden_ND = torch.randn(1300, 24, requires_grad=True)
    head_VD = torch.randn(70, 24, requires_grad=True)
    targets_N, barred = torch.randint(0, 60, (1300,)), torch.tensor([61, 69])
    logits_NV = (hidden_ND @ head_VD.T).index_fill(1, barred, -torch.inf)
    losses_N = torch.nn.functional.cross_entropy(logits_NV, targets_N, reduction="none")
    losses_N.square().sum().backward()
    expected = hidden_ND.grad, head_VD.grad
    for function in (linear_cross_entropy, linear_cross_entropy_plain):
        hidden_ND.grad = head_VD.grad = None
        surrogate, found_N = function(hidden_ND, head_VD, targets_N, lambda losses_C, chunk: 2 * losses_C, barred=barred)
        surrogate.backward()
        torch.testing.assert_close(found_N, losses_N.detach(), atol=2e-5, rtol=1e-4)
        for ours, theirs in zip((hidden_ND.grad, head_VD.grad), expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=1e-4)
    assert torch.equal(head_VD.grad[barred], torch.zeros(2, 24))


def test_what_is_frozen_costs_no_gradient():
    """A head beside which adapters are trained, or hidden states under which nothing is."""
    torch.manual_seed(0)
    hidden_ND, head_VD = torch.randn(600, 24), torch.randn(70, 24)
    targets_N, weights_N = torch.randint(0, 70, (600,)), torch.rand(600)
    both = hidden_ND.clone().requires_grad_(), head_VD.clone().requires_grad_()
    linear_cross_entropy(*both, targets_N, weights_N)[0].backward()
    for trained in (0, 1):
        given = [hidden_ND.clone(), head_VD.clone()]
        given[trained].requires_grad_()
        loss, _ = linear_cross_entropy(given[0], given[1], targets_N, weights_N)
        assert loss.grad_fn.saved_tensors[1 - trained] is None
        loss.backward()
        assert torch.equal(given[trained].grad, both[trained].grad)
        assert given[1 - trained].grad is None


def test_half_precision_gives_gradients_of_its_own_kind():
    torch.manual_seed(0)
    hidden_ND = torch.randn(700, 24, requires_grad=True)
    head_VD = torch.randn(70, 24, requires_grad=True)
    targets_N, weights_N = torch.randint(0, 70, (700,)), torch.full((700,), 1 / 700)
    linear_cross_entropy(hidden_ND, head_VD, targets_N, weights_N, softcap=15.0)[0].backward()
    exact = hidden_ND.grad, head_VD.grad
    half_ND = hidden_ND.detach().bfloat16().requires_grad_()
    head_VD.grad = None
    linear_cross_entropy(half_ND, head_VD, targets_N, weights_N, softcap=15.0)[0].backward()
    assert (half_ND.grad.dtype, head_VD.grad.dtype) == (torch.bfloat16, torch.float32)
    for near, truth in zip((half_ND.grad.float(), head_VD.grad), exact, strict=True):
        torch.testing.assert_close(near, truth, atol=0.05 * float(truth.std()), rtol=0.1)


def test_extreme_logits_stay_finite():
    hidden_ND = torch.tensor([[1e4], [-1e4]], requires_grad=True)
    head_VD = torch.tensor([[1.0], [-1.0], [0.0]])
    loss, losses_N = linear_cross_entropy(hidden_ND, head_VD, torch.tensor([1, 1]), torch.ones(2))
    loss.backward()
    assert losses_N.tolist() == [2e4, 0.0]
    assert torch.isfinite(hidden_ND.grad).all()


def test_bits_per_byte_of_a_uniform_byte_model_is_eight():
    assert bits_per_byte(1000 * math.log(256), 1000) == pytest.approx(8.0)
