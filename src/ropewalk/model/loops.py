"""Decoding in loops of our own, compiled by numba: one new token of each of a few texts through a block, on a CPU.

MKL lays a matrix out anew for every product, which for 8 to 32 tokens takes longer than the product itself, and torch's 40
small operations of a block cost more than a small model's arithmetic. Here each weight is read once, where it lies.

All loops stand in this file: numba compiles anew what it kept when the file changes that a function stands in, not others.

Shapes: B sequences, N tokens, R outputs, C inputs, D model width, F feed-forward width, H query heads, G key/value heads,
K head width, P pages, M places of a cache, S positions.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib import import_module
from math import factorial
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from numba import prange
from numba.core import config

Kernel = Any  # a compiled function, or one that numba will compile
Matrix = tuple[np.ndarray, np.ndarray, np.ndarray]  # weight (R, C), float32 or int8, and a scale and a bias for each output
PER_LN_2 = np.float32(1.4426950408889634)
LN_2_HIGH, LN_2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)  # the first has nine bits: its multiples are exact
LEAST_EXPONENT, MOST_EXPONENT = np.float32(-87), np.float32(88)
EXP_2, EXP_3, EXP_4, EXP_5, EXP_6 = (np.float32(1 / factorial(n)) for n in range(2, 7))
DRAW_PART = 1024  # of a vocabulary, summed before it is added to the rest
GATE_PARTS = 8  # of a row, for several threads
LEAST = np.float32(np.finfo(np.float32).min)  # fast mathematics knows no infinity


def loop(function: Kernel, *, parallel: bool = False) -> Kernel:
    """Compile a function at its first call, and keep that beside this file, or in the user's cache, if there is room."""
    options: dict[str, Any] = {"nogil": True, "fastmath": True, "parallel": parallel}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no place for it
        return numba.njit(**options)(function)


def several(function: Kernel) -> Kernel:
    """`loop` on several threads, if engines in threads of their own may use those at once; else on each one's own."""
    return loop(function, parallel=threads_are_safe())


@cache
def threads_are_safe() -> bool:
    """Whether numba has threads here that may be called from several of Python's: OpenMP's or TBB's. None is started yet."""
    setattr(config, "THREADING_LAYER", "threadsafe")  # noqa: B010  numba makes its settings as it loads
    for name in ("omppool", "tbbpool"):
        with suppress(ImportError):
            import_module(f"numba.np.ufunc.{name}")
            return True
    return False


def inlined(function: Kernel) -> Kernel:
    """Compile a function into those that call it, so that their loops stay loops of vectors."""
    return numba.njit(nogil=True, fastmath=True, inline="always")(function)


def use_threads() -> None:
    """Let the loops that follow, in this thread, use as many threads as torch does."""
    numba.set_num_threads(min(torch.get_num_threads(), getattr(config, "NUMBA_NUM_THREADS")))  # noqa: B009


@inlined
def exp(x):
    """e to the power of x, as near as float32 is, in operations that go eight at a time (Cody & Waite 1980, chapter 6)."""
    x = min(max(x, LEAST_EXPONENT), MOST_EXPONENT)
    halvings = np.floor(x * PER_LN_2 + np.float32(0.5))
    rest = x - halvings * LN_2_HIGH - halvings * LN_2_LOW
    power = np.float32(1) + rest * (
        np.float32(1) + rest * (EXP_2 + rest * (EXP_3 + rest * (EXP_4 + rest * (EXP_5 + rest * EXP_6))))
    )
    return power * np.int32((np.int32(halvings) + np.int32(127)) << np.int32(23)).view(np.float32)


@inlined
def weight(below, per_degree):
    """How probable a token is beside the likeliest, whose score it is `below` by; nothing where float32 ends."""
    scaled = max(below, LEAST_EXPONENT / per_degree) * per_degree
    return exp(scaled) if scaled > LEAST_EXPONENT else np.float32(0)


@loop
def one_by_one(weight_RC, scale_R, bias_R, x_NC, r, n, out_NR, first):
    """An output of a token."""
    a = np.float32(0)
    for c in range(weight_RC.shape[1]):
        a += np.float32(weight_RC[r, c]) * x_NC[n, c]
    out_NR[n, first + r] = a * scale_R[r] + bias_R[r]


@loop
def four_by_two(weight_RC, scale_R, bias_R, x_NC, r, n, out_NR, first):
    """Four outputs of two tokens."""
    a = b = c = d = e = f = g = h = np.float32(0)
    for at in range(weight_RC.shape[1]):
        x0, x1 = x_NC[n, at], x_NC[n + 1, at]
        w = np.float32(weight_RC[r, at])
        a, e = a + w * x0, e + w * x1
        w = np.float32(weight_RC[r + 1, at])
        b, f = b + w * x0, f + w * x1
        w = np.float32(weight_RC[r + 2, at])
        c, g = c + w * x0, g + w * x1
        w = np.float32(weight_RC[r + 3, at])
        d, h = d + w * x0, h + w * x1
    put_four(scale_R, bias_R, r, a, b, c, d, out_NR[n], first)
    put_four(scale_R, bias_R, r, e, f, g, h, out_NR[n + 1], first)


@loop
def four_by_three(weight_RC, scale_R, bias_R, x_NC, r, n, out_NR, first):
    """Four outputs of three tokens: twelve sums, three activations and a weight fill AVX2's 16 registers, in this order."""
    a = b = c = d = e = f = g = h = i = j = k = m = np.float32(0)
    for at in range(weight_RC.shape[1]):
        x0, x1, x2 = x_NC[n, at], x_NC[n + 1, at], x_NC[n + 2, at]
        w = np.float32(weight_RC[r, at])
        a, e, i = a + w * x0, e + w * x1, i + w * x2
        w = np.float32(weight_RC[r + 1, at])
        b, f, j = b + w * x0, f + w * x1, j + w * x2
        w = np.float32(weight_RC[r + 2, at])
        c, g, k = c + w * x0, g + w * x1, k + w * x2
        w = np.float32(weight_RC[r + 3, at])
        d, h, m = d + w * x0, h + w * x1, m + w * x2
    put_four(scale_R, bias_R, r, a, b, c, d, out_NR[n], first)
    put_four(scale_R, bias_R, r, e, f, g, h, out_NR[n + 1], first)
    put_four(scale_R, bias_R, r, i, j, k, m, out_NR[n + 2], first)


@loop
def put_four(scale_R, bias_R, r, a, b, c, d, out_R, first):
    """Write four outputs of a token."""
    out_R[first + r] = a * scale_R[r] + bias_R[r]
    out_R[first + r + 1] = b * scale_R[r + 1] + bias_R[r + 1]
    out_R[first + r + 2] = c * scale_R[r + 2] + bias_R[r + 2]
    out_R[first + r + 3] = d * scale_R[r + 3] + bias_R[r + 3]


@several
def multiply(weight_RC, scale_R, bias_R, x_NC, out_NR, first):
    """Write `x @ (weight * scale).T + bias` into the columns of `out_NR` from `first` on."""
    R, N = weight_RC.shape[0], x_NC.shape[0]
    twos = (0, 2, 1)[N % 3] if N > 1 else 0  # 4 tokens are 2 and 2, 5 are 3 and 2, 7 are 3, 2 and 2
    threes, fours = (N - 2 * twos) // 3, R // 4 if N > 1 else 0
    for four in prange(fours):
        for three in range(threes):
            four_by_three(weight_RC, scale_R, bias_R, x_NC, 4 * four, 3 * three, out_NR, first)
        for two in range(twos):
            four_by_two(weight_RC, scale_R, bias_R, x_NC, 4 * four, 3 * threes + 2 * two, out_NR, first)
    for r in prange(4 * fours, R):
        for n in range(N):
            one_by_one(weight_RC, scale_R, bias_R, x_NC, r, n, out_NR, first)


@several
def attend(q_BGUK, k_GMK, v_GMK, table_BP, lengths_B, mixed_BGUK, page_tokens, scale):
    """Mix each sequence's one position with all that its pages hold, read where they lie (Kwon et al. 2023, section 4.3).

    U query heads share a key/value head.
    """
    B, G, U, K = q_BGUK.shape
    for part in prange(B * G):
        b, g = part // G, part % G
        length = lengths_B[b]
        scores_US = np.empty((U, length), np.float32)
        for first in range(0, length, page_tokens):
            at = table_BP[b, first // page_tokens] * page_tokens
            for s in range(min(page_tokens, length - first)):
                for u in range(U):
                    score = np.float32(0)
                    for c in range(K):
                        score += q_BGUK[b, g, u, c] * k_GMK[g, at + s, c]
                    scores_US[u, first + s] = score * scale
        sums_U, mixed_UK = np.zeros(U, np.float32), np.zeros((U, K), np.float32)
        for u in range(U):
            most = LEAST
            for s in range(length):
                most = max(most, scores_US[u, s])
            for s in range(length):
                scores_US[u, s] = exp(scores_US[u, s] - most)
                sums_U[u] += scores_US[u, s]
        for first in range(0, length, page_tokens):
            at = table_BP[b, first // page_tokens] * page_tokens
            for s in range(min(page_tokens, length - first)):
                for u in range(U):
                    for c in range(K):
                        mixed_UK[u, c] += scores_US[u, first + s] * v_GMK[g, at + s, c]
        for u in range(U):
            for c in range(K):
                mixed_BGUK[b, g, u, c] = mixed_UK[u, c] / sums_U[u]


@several
def gate(gates_BF, up_BF):
    """SwiGLU's product, into `gates_BF` (Shazeer 2020)."""
    B, F = gates_BF.shape
    for part in prange(B * GATE_PARTS):
        b, part_of = part // GATE_PARTS, part % GATE_PARTS
        for f in range(F * part_of // GATE_PARTS, F * (part_of + 1) // GATE_PARTS):
            gates_BF[b, f] = gates_BF[b, f] / (np.float32(1) + exp(-gates_BF[b, f])) * up_BF[b, f]


@loop
def norm(x_ND, weight_D, epsilon, out_ND):
    """Root-mean-square norm of each row (Zhang & Sennrich 2019)."""
    N, D = x_ND.shape
    for n in range(N):
        squares = np.float32(0)
        for d in range(D):
            squares += x_ND[n, d] * x_ND[n, d]
        factor = np.float32(1) / np.sqrt(squares / np.float32(D) + epsilon)
        for d in range(D):
            out_ND[n, d] = x_ND[n, d] * factor * weight_D[d]


@loop
def rotate(x_K, cos_K, sin_K, out_K):
    """Turn each pair (i, i + K/2) by its position's angle (Su et al. 2021, in the half-split layout)."""
    half = len(x_K) // 2
    for c in range(half):
        out_K[c] = x_K[c] * cos_K[c] - x_K[c + half] * sin_K[c]
        out_K[c + half] = x_K[c + half] * cos_K[c + half] + x_K[c] * sin_K[c + half]


@loop
def add(x_ND, more_ND):
    """Add in place."""
    N, D = x_ND.shape
    for n in range(N):
        for d in range(D):
            x_ND[n, d] += more_ND[n, d]


@loop
def products(matrices, x_NC, out_NR):
    """What several matrices make of the same, side by side."""
    first = 0
    for weight_RC, scale_R, bias_R in matrices:
        multiply(weight_RC, scale_R, bias_R, x_NC, out_NR, first)
        first += len(weight_RC)


@loop
def decode(x_BD, cos_BK, sin_BK, weights, norms, head_norms, k_GMK, v_GMK, written_B, table_BP, lengths_B, constants):
    """Take one position of each sequence through a block, in place of `x_BD`, and store its key and value.

    weights: the matrices of queries, keys and values; of what attention gives; of gates and what they let through; and of
    what the feed-forward gives: tuples of matrices each. norms: the weights of the two. head_norms: of queries and keys,
    empty if there are none. lengths_B: how many positions each sees, its own the last.
    """
    read, out, up, down = weights
    page_tokens, epsilon, scale = constants
    B, D = x_BD.shape
    G, _, K = k_GMK.shape
    HK = out[0][0].shape[1]
    normed_BD = np.empty((B, D), np.float32)
    norm(x_BD, norms[0], epsilon, normed_BD)
    read_BR = np.empty((B, HK + 2 * G * K), np.float32)
    products(read, normed_BD, read_BR)
    heads_BHK = read_BR.reshape(B, -1, K)
    H = HK // K
    if len(head_norms[0]):
        for b in range(B):
            norm(heads_BHK[b, :H], head_norms[0], epsilon, heads_BHK[b, :H])
            norm(heads_BHK[b, H : H + G], head_norms[1], epsilon, heads_BHK[b, H : H + G])
    q_BHK, mixed_BHK = np.empty((B, H, K), np.float32), np.empty((B, H, K), np.float32)
    for b in range(B):
        for h in range(H):
            rotate(heads_BHK[b, h], cos_BK[b], sin_BK[b], q_BHK[b, h])
        for g in range(G):
            rotate(heads_BHK[b, H + g], cos_BK[b], sin_BK[b], k_GMK[g, written_B[b]])
            v_GMK[g, written_B[b]] = heads_BHK[b, H + G + g]
    q_BGUK, mixed_BGUK = q_BHK.reshape(B, G, H // G, K), mixed_BHK.reshape(B, G, H // G, K)
    attend(q_BGUK, k_GMK, v_GMK, table_BP, lengths_B, mixed_BGUK, page_tokens, scale)
    products(out, mixed_BHK.reshape(B, HK), normed_BD)
    add(x_BD, normed_BD)
    norm(x_BD, norms[1], epsilon, normed_BD)
    F = down[0][0].shape[1]
    up_BF = np.empty((B, 2 * F), np.float32)
    products(up, normed_BD, up_BF)
    gates_BF = up_BF[:, :F].copy()
    gate(gates_BF, up_BF[:, F:])
    products(down, gates_BF, normed_BD)
    add(x_BD, normed_BD)


@several
def draw(logits_BV, banned, temperature_B, draws_B, ids_B, logprobs_B):
    """Choose a token of each row, and tell its log-probability in nats at temperature 1. Banned ids' logits are overwritten.

    The token is where the running sum of probabilities passes the draw, from [0, 1); at temperature 0 it is the likeliest.
    """
    B, V = logits_BV.shape
    parts = -(-V // DRAW_PART)
    for b in prange(B):
        for v in banned:
            logits_BV[b, v] = LEAST
        most = LEAST
        for v in range(V):
            most = max(most, logits_BV[b, v])
        whole, wide = np.float64(0), np.float64(0)  # the sums at temperature 1, and at the row's own
        wides = np.zeros(parts)
        per_degree = np.float32(1) / max(temperature_B[b], np.float32(1e-6))
        for part in range(parts):
            sum_1 = sum_t = np.float32(0)
            for v in range(part * DRAW_PART, min((part + 1) * DRAW_PART, V)):
                below = logits_BV[b, v] - most
                sum_1 += weight(below, np.float32(1))
                sum_t += weight(below, per_degree)
            whole, wide = whole + sum_1, wide + sum_t
            wides[part] = sum_t
        id_of = 0
        if temperature_B[b] == 0:
            while logits_BV[b, id_of] < most:
                id_of += 1
        else:
            left = draws_B[b] * wide
            part = 0
            while part < parts - 1 and left >= wides[part]:
                left -= wides[part]
                part += 1
            for v in range(part * DRAW_PART, min((part + 1) * DRAW_PART, V)):
                weighs = weight(logits_BV[b, v] - most, per_degree)
                if weighs > 0:
                    id_of = v  # rounding may lead past the last that can be drawn: then it is that
                    left -= weighs
                    if left < 0:
                        break
        ids_B[b] = id_of
        logprobs_B[b] = logits_BV[b, id_of] - most - np.log(whole)


def are_kept() -> bool:
    """Whether `decode` was compiled on this machine before."""
    folder = decode.stats.cache_path
    return folder is not None and any(Path(folder).glob("loops.decode-*.nbi"))
