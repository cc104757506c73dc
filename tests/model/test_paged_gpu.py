"""Triton's kernels say what torch's say: on a GPU, or by Triton's interpreter where somebody installed it."""

from __future__ import annotations

import os

import pytest
import torch

from ropewalk.model.attention import attend
from ropewalk.model.cache import PAGE_TOKENS, Memory, Places
from ropewalk.model.transformer import rotate

ON_GPU = torch.cuda.is_available()
if not ON_GPU:
    os.environ["TRITON_INTERPRET"] = "1"
pytest.importorskip("triton")
DEVICE = "cuda" if ON_GPU else "cpu"
FEW, MANY = [16, 17, 3, 1], [700, 1, 33, 64, 5, 129, 65, 257] * 40  # in parts that are joined, and each by one program


def case(lengths: list[int], shape: tuple[int, int, int], dtype: torch.dtype):
    """What one layer gets of each sequence's last position, a cache of random pages in random order, and angles."""
    (G, R, K), B, P = shape, len(lengths), 2 + max(lengths) // PAGE_TOKENS
    draws = torch.Generator().manual_seed(0)

    def drawn(*sides: int) -> torch.Tensor:
        return torch.randn(*sides, generator=draws).to(DEVICE, dtype)

    table_BP = (1 + torch.randperm(B * P, generator=draws)).view(B, P).to(DEVICE)
    positions_B1 = torch.tensor(lengths, device=DEVICE)[:, None] - 1
    written_N = (table_BP.gather(1, positions_B1 // PAGE_TOKENS) * PAGE_TOKENS + positions_B1 % PAGE_TOKENS).flatten()
    k_GNK, v_GNK = (drawn(G, (1 + B * P) * PAGE_TOKENS, K) for _ in range(2))
    memory = Memory(k_GNK, v_GNK, Places(written_N, table_BP, written_N, positions_B1))
    parts = drawn(B, (R * G + 2 * G) * K).split([R * G * K, G * K, G * K], dim=1)  # as one product gives them
    q_BH1K, k_BG1K, v_BG1K = (part.view(B, 1, -1, K).transpose(1, 2) for part in parts)
    turns = torch.randn(B, 1, 1, K // 2, generator=draws).repeat(1, 1, 1, 2)
    return (q_BH1K, k_BG1K, v_BG1K), (turns.cos().to(DEVICE, dtype), turns.sin().to(DEVICE, dtype)), memory


@torch.inference_mode()
@pytest.mark.parametrize("turns", [True, False])
@pytest.mark.parametrize("lengths", [FEW, MANY] if ON_GPU else [FEW])
@pytest.mark.parametrize("shape", [(3, 3, 64), (1, 20, 128), (2, 4, 80)] if ON_GPU else [(2, 3, 40)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16] if ON_GPU else [torch.float32])
def test_pages_are_written_and_read_as_if_they_were_gathered(dtype, shape, lengths, turns):
    from ropewalk.model.paged_gpu import attend_pages

    (q_BH1K, k_BG1K, v_BG1K), angles, memory = case(lengths, shape, dtype)
    plain = Memory(memory.k_GNK.clone(), memory.v_GNK.clone(), memory.places)
    found = attend_pages(q_BH1K, k_BG1K, v_BG1K, angles if turns else None, memory, scale=0.3)
    if turns:
        q_BH1K, k_BG1K = rotate(q_BH1K, *angles), rotate(k_BG1K, *angles)
    k_BGSK, v_BGSK = (each.float() for each in plain.extend(k_BG1K, v_BG1K))
    mask_B11S = torch.arange(k_BGSK.shape[2], device=DEVICE) <= memory.places.positions_BT[..., None, None]
    expected = attend(q_BH1K.float(), k_BGSK, v_BGSK, mask_B1TS=mask_B11S, sharpness=0.3 * shape[2] ** 0.5)
    most = 1e-5 if dtype == torch.float32 else 1e-2
    for ours, theirs in ((found, expected), (memory.k_GNK, plain.k_GNK), (memory.v_GNK, plain.v_GNK)):
        assert float((ours.float() - theirs.float()).norm() / theirs.float().norm()) < most
