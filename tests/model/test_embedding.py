"""A table's gradient, added up where it lies, is autograd's."""

from __future__ import annotations

import pytest
import torch

from ropewalk.model.embedding import InPlace, look_up, take_rows

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_in_place_are_autograds(dtype, compiled, device):
    """Of two passes of other sizes, some rows of which are read many times."""
    torch.manual_seed(0)
    table_VD = torch.randn(50, 24, device=device, requires_grad=True)
    passes = [
        (torch.randint(0, 9, shape, device=device), torch.randn(*shape, 24, device=device)) for shape in ((2, 30), (3, 7))
    ]
    found = []
    for take in (take_rows, lambda ids_BT, table_VD, dtype: InPlace.apply(ids_BT, table_VD, dtype, compiled)):
        table_VD.grad = None
        made = [take(ids_BT, table_VD, dtype) for ids_BT, _ in passes]
        for rows_BTD, (_, d_BTD) in zip(made, passes, strict=True):
            rows_BTD.backward(d_BTD.to(dtype))
        found.append((*made, table_VD.grad))
    (*plain, expected), (*ours, gradient) = found
    assert all(torch.equal(one, other) for one, other in zip(plain, ours, strict=True))
    # In bfloat16 autograd rounds the gradient of each row before it adds it to the sum; here it is float32 throughout.
    assert gradient.dtype == torch.float32
    torch.testing.assert_close(gradient, expected, rtol=1e-5 if dtype == torch.float32 else 2e-2, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_keeps_the_sum_that_is_there():
    table = torch.nn.Embedding(50, 24, device="cuda")
    ids_BT = torch.randint(0, 50, (2, 30), device="cuda")
    look_up(ids_BT, table, torch.bfloat16).sum().backward()
    kept = table.weight.grad
    look_up(ids_BT, table, torch.bfloat16).sum().backward()
    assert table.weight.grad is kept
    assert float(kept.sum()) == pytest.approx(2 * 60 * 24)
