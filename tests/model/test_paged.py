from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from ropewalk.model import loops, paged
from ropewalk.model.attention import attend
from ropewalk.model.cache import PAGE_TOKENS, Memory, Places

G, R, K = 2, 3, 8


def case(lengths: list[int], seed: int = 0) -> tuple[torch.Tensor, Memory, torch.Tensor]:
    """Queries, a cache of random pages in random order, of which the first two rows share one, and the mask."""
    draws = torch.Generator().manual_seed(seed)
    pages = -(-max(lengths) // PAGE_TOKENS)
    table_BP = (1 + torch.randperm(len(lengths) * pages, generator=draws)).view(len(lengths), pages)
    table_BP[1, 0] = table_BP[0, 0]
    k_GNK, v_GNK = (torch.randn(G, (1 + table_BP.numel()) * PAGE_TOKENS, K, generator=draws) for _ in range(2))
    q_BH1K = torch.randn(len(lengths), G * R, 1, K, generator=draws)
    mask_B11S = (torch.arange(pages * PAGE_TOKENS) < torch.tensor(lengths)[:, None])[:, None, None]
    nowhere = torch.zeros(len(lengths), dtype=torch.long)
    return q_BH1K, Memory(k_GNK, v_GNK, Places(nowhere, table_BP, nowhere, nowhere)), mask_B11S


def gathered(q_BH1K: torch.Tensor, memory: Memory, mask_B11S: torch.Tensor, *, scale: float) -> torch.Tensor:
    """The same by torch's kernel."""
    table_BP = memory.places.table_BP
    places_BS = (table_BP[..., None] * PAGE_TOKENS + torch.arange(PAGE_TOKENS)).flatten(1)
    k_BGSK, v_BGSK = (held[:, places_BS].transpose(0, 1) for held in (memory.k_GNK, memory.v_GNK))
    return attend(q_BH1K, k_BGSK, v_BGSK, mask_B1TS=mask_B11S, sharpness=scale * K**0.5)


@pytest.fixture(params=["several threads", "one thread"])
def kernel(request, monkeypatch):
    if request.param == "one thread":
        monkeypatch.setattr(loops, "attend", loops.loop(loops.attend.py_func))


@torch.inference_mode()
@pytest.mark.parametrize("lengths", [[1, 1], [16, 17, 3], [40, 1, 33, 64, 5]])
def test_pages_are_read_as_if_they_were_gathered(kernel, lengths):
    for seed in range(3):
        q_BH1K, memory, mask_B11S = case(lengths, seed)
        found = paged.attend_pages(q_BH1K, memory, mask_B11S, scale=0.3)
        assert torch.allclose(found, gathered(q_BH1K, memory, mask_B11S, scale=0.3), atol=1e-6)


@torch.inference_mode()
def test_a_sequence_does_not_depend_on_those_beside_it():
    q_BH1K, memory, mask_B11S = case([40, 1, 33, 64, 5])
    together = paged.attend_pages(q_BH1K, memory, mask_B11S, scale=1.0)
    for row in range(5):
        nowhere = memory.places.written_N
        places = Places(nowhere, memory.places.table_BP[row : row + 1], nowhere, nowhere)
        alone = paged.attend_pages(
            q_BH1K[row : row + 1], Memory(memory.k_GNK, memory.v_GNK, places), mask_B11S[row : row + 1], scale=1.0
        )
        assert torch.equal(alone[0], together[row])


def test_engines_in_threads_of_their_own_do_not_disturb_each_other():
    def attended(seed: int) -> torch.Tensor:
        with torch.inference_mode():
            q_BH1K, memory, mask_B11S = case([40, 9, 33], seed)
            return torch.stack([paged.attend_pages(q_BH1K, memory, mask_B11S, scale=1.0) for _ in range(50)])

    with ThreadPoolExecutor(4) as pool:
        for seed, found in enumerate(pool.map(attended, range(8))):
            with torch.inference_mode():
                expected = gathered(*case([40, 9, 33], seed), scale=1.0)
            assert torch.allclose(found, expected.expand_as(found), atol=1e-6)


def test_only_one_new_position_that_nothing_learns_from_reads_pages():
    q_BHTK = torch.randn(2, 4, 1, K)
    assert not paged.reads_pages(q_BHTK)
    with torch.no_grad():
        assert paged.reads_pages(q_BHTK)
        assert not paged.reads_pages(q_BHTK.bfloat16())
        assert not paged.reads_pages(q_BHTK.expand(2, 4, 3, K))
