"""Attention of one new position a sequence to the pages that it holds, in Triton's kernels: `paged` on a GPU.

Three launches a layer: positions are turned and put into their pages, pages are read once, where they lie, and where too few
sequences would leave most of the card idle, several programs share one and their parts are joined (Dao et al. 2023,
Flash-Decoding). Nothing here depends on how long the sequences are, so that a CUDA graph may hold it.

Triton comes with torch for CUDA, and is imported here alone. Under TRITON_INTERPRET=1 the kernels run on a CPU.

Shapes: B sequences, H query heads, G key/value heads, R query heads of each, K head width, N places of a cache, P pages,
S positions, C parts of a sequence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor

from ropewalk.model.cache import PAGE_TOKENS, Memory

BLOCK = 64  # positions that a program reads at once
MOST_PARTS = 16
WANTED_PROGRAMS = 264  # two for each of an H100's processors
LEAST_SIDE = 16  # of a product on tensor cores


def jit(kernel: Callable[..., None]) -> Any:
    """`triton.jit`, of which the types are not known where Triton is not."""
    return triton.jit(kernel)


def attend_pages(
    q_BH1K: Tensor, k_BG1K: Tensor, v_BG1K: Tensor, angles: tuple[Tensor, Tensor] | None, memory: Memory, *, scale: float
) -> Tensor:
    """Turn queries and keys by their angles, store keys and values, and mix what the pages hold. Returns (B, H, 1, K)."""
    (B, H, _, K), G = q_BH1K.shape, k_BG1K.shape[1]
    places, half = memory.places, triton.next_power_of_2(K // 2)
    cos, sin = (q_BH1K, q_BH1K) if angles is None else angles  # where nothing turns they are not read
    q_BHK = torch.empty(B, H, K, dtype=q_BH1K.dtype, device=q_BH1K.device)
    rows = (each.stride(axis) for each in (q_BH1K, k_BG1K, v_BG1K) for axis in (0, 1))
    _place[(B, H + 2 * G)](
        *(q_BH1K, k_BG1K, v_BG1K, cos, sin, places.written_N, q_BHK, memory.k_GNK, memory.v_GNK),
        *(*rows, cos.stride(0), memory.k_GNK.stride(0), H, G, K),
        HALF=half,
        TURNS=angles is not None,
        num_warps=1,
    )
    parts = min(MOST_PARTS, 1 << max(0, (WANTED_PROGRAMS // (B * G)).bit_length() - 1))
    mixed_BHK = torch.empty_like(q_BHK)
    part_BHCK, sums_BHC2 = mixed_BHK, mixed_BHK  # with one part they are not written
    if parts > 1:
        part_BHCK = torch.empty(B, H, parts, K, dtype=torch.float32, device=q_BHK.device)
        sums_BHC2 = torch.empty(B, H, parts, 2, dtype=torch.float32, device=q_BHK.device)
    table_BP, positions_B1 = places.table_BP, places.positions_BT
    wide = triton.next_power_of_2(max(K, LEAST_SIDE))
    _attend[(B, G, parts)](
        *(q_BHK, memory.k_GNK, memory.v_GNK, table_BP, positions_B1, mixed_BHK, part_BHCK, sums_BHC2, scale),
        *(table_BP.stride(0), positions_B1.stride(0), memory.k_GNK.stride(0), H, K),
        **{"R": H // G, "ROWS": triton.next_power_of_2(max(H // G, LEAST_SIDE)), "WIDE": wide},
        **{"PARTS": parts, "BLOCK": BLOCK, "PAGE": PAGE_TOKENS},
    )
    if parts > 1:
        _join[(B * H,)](part_BHCK, sums_BHC2, mixed_BHK, K, PARTS=parts, WIDE=wide, num_warps=1)
    return mixed_BHK[:, :, None]


@jit
def _place(
    q, k, v, cos, sin, written_N, turned, k_GNK, v_GNK,
    q_row, q_head, k_row, k_head, v_row, v_head, angle_row, group, H, G, K,
    HALF: tl.constexpr, TURNS: tl.constexpr,
):  # fmt: skip
    b, head = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    channel = tl.arange(0, HALF)
    inside = channel < K // 2
    place = tl.load(written_N + b)
    if head < H:
        source, target = q + b * q_row + head * q_head, turned + (b * H + head) * K
    elif head < H + G:
        source, target = k + b * k_row + (head - H) * k_head, k_GNK + (head - H) * group + place * K
    else:
        source, target = v + b * v_row + (head - H - G) * v_head, v_GNK + (head - H - G) * group + place * K
    first = tl.load(source + channel, inside, 0.0).to(tl.float32)
    second = tl.load(source + K // 2 + channel, inside, 0.0).to(tl.float32)
    if TURNS:  # noqa: SIM102  known when this is compiled, unlike the next
        if head < H + G:
            cosine = tl.load(cos + b * angle_row + channel, inside, 0.0).to(tl.float32)
            sine = tl.load(sin + b * angle_row + channel, inside, 0.0).to(tl.float32)
            first, second = first * cosine - second * sine, second * cosine + first * sine
    tl.store(target + channel, first.to(turned.dtype.element_ty), inside)
    tl.store(target + K // 2 + channel, second.to(turned.dtype.element_ty), inside)


@jit
def _attend(
    q_BHK, k_GNK, v_GNK, table_BP, positions_B, mixed_BHK, part_BHCK, sums_BHC2, scale,
    table_row, position_row, group, H, K,
    R: tl.constexpr, ROWS: tl.constexpr, WIDE: tl.constexpr, PARTS: tl.constexpr, BLOCK: tl.constexpr, PAGE: tl.constexpr,
):  # fmt: skip
    b, g, part = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64), tl.program_id(2)
    row, channel = tl.arange(0, ROWS), tl.arange(0, WIDE)
    length = (tl.load(positions_B + b * position_row) + 1).to(tl.int32)
    share = tl.cdiv(tl.cdiv(length, BLOCK), PARTS) * BLOCK
    heads = b * H + g * R + row
    q_RK = tl.load(q_BHK + heads[:, None] * K + channel, (row < R)[:, None] & (channel < K), 0.0)
    most_R = tl.full([ROWS], -float("inf"), tl.float32)
    sum_R = tl.zeros([ROWS], tl.float32)
    mixed_RK = tl.zeros([ROWS, WIDE], tl.float32)
    for start in range(part * share, tl.minimum((part + 1) * share, length), BLOCK):
        s = start + tl.arange(0, BLOCK)
        page = tl.load(table_BP + b * table_row + s // PAGE, s < length, 0)
        places = g * group + (page * PAGE + s % PAGE)[:, None] * K + channel
        held = (s < length)[:, None] & (channel < K)
        k_SK = tl.load(k_GNK + places, held, 0.0)
        scores_RS = scale * tl.dot(q_RK, tl.trans(k_SK), input_precision="ieee")
        scores_RS = tl.where(s < length, scores_RS, -float("inf"))
        more_R = tl.maximum(most_R, tl.max(scores_RS, 1))
        weights_RS = tl.exp(scores_RS - more_R[:, None])
        kept_R = tl.exp(most_R - more_R)
        v_SK = tl.load(v_GNK + places, held, 0.0)
        sum_R = sum_R * kept_R + tl.sum(weights_RS, 1)
        mixed_RK = mixed_RK * kept_R[:, None] + tl.dot(weights_RS.to(v_SK.dtype), v_SK, input_precision="ieee")
        most_R = more_R
    kept = (row < R)[:, None] & (channel < K)
    if PARTS == 1:
        mixed_RK = (mixed_RK / sum_R[:, None]).to(mixed_BHK.dtype.element_ty)
        tl.store(mixed_BHK + heads[:, None] * K + channel, mixed_RK, kept)
    else:
        parts = heads * PARTS + part
        tl.store(part_BHCK + parts[:, None] * K + channel, mixed_RK, kept)
        tl.store(sums_BHC2 + 2 * parts, most_R, row < R)
        tl.store(sums_BHC2 + 2 * parts + 1, sum_R, row < R)


@jit
def _join(part_BHCK, sums_BHC2, mixed_BHK, K, PARTS: tl.constexpr, WIDE: tl.constexpr):
    head = tl.program_id(0).to(tl.int64)
    part, channel = tl.arange(0, PARTS), tl.arange(0, WIDE)
    most_C = tl.load(sums_BHC2 + 2 * (head * PARTS + part))
    weight_C = tl.exp(most_C - tl.max(most_C, 0))
    sum_C = weight_C * tl.load(sums_BHC2 + 2 * (head * PARTS + part) + 1)
    part_CK = tl.load(part_BHCK + (head * PARTS + part)[:, None] * K + channel, (channel < K)[None, :], 0.0)
    mixed_K = tl.sum(weight_C[:, None] * part_CK, 0) / tl.sum(sum_C, 0)
    tl.store(mixed_BHK + head * K + channel, mixed_K.to(mixed_BHK.dtype.element_ty), channel < K)
