"""A model's blocks in loops of our own (`loops`), one new token of each of a few texts at a time: float32 or int8, on a CPU.

Weights are read where torch has them, so what training changes in its place is seen.

Shapes: B sequences, T = 1, N tokens, D model width, C inputs, K head width, S positions of keys.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ropewalk.model import loops
from ropewalk.model.cache import PAGE_TOKENS, KeyValueCache, Places
from ropewalk.model.int8 import Int8Linear
from ropewalk.model.thin import MOST_TOKENS, matrix
from ropewalk.model.transformer import Angles, Block, Linear, RMSNorm, Transformer
from ropewalk.runtime.progress import say


class Loops:
    """All blocks of a model: a `Decode`."""

    def __init__(self, model: Transformer) -> None:
        self.blocks = [block for block in model.model.layers if isinstance(block, Block)]
        config = model.config
        self.constants = PAGE_TOKENS, np.float32(config.norm_epsilon), np.float32(config.head_width**-0.5)
        self._seen: list[tuple[int, bool]] = []
        self._weights: list[tuple[object, ...]] = []

    def takes(self, texts: int) -> bool:
        """Whether it is made for as many, and for the layers that the model has now: adapters may have come since."""
        if texts > MOST_TOKENS:
            return False
        layers = [layer for block in self.blocks for layer in _layers(block)]
        seen = [(_weight(layer).data_ptr(), getattr(layer, "adapted", False)) for layer in layers]
        if seen != self._seen:  # averaged weights, say, lie elsewhere
            self._seen, self._weights = seen, [_weights(block) for block in self.blocks]
        return not any(adapted for _, adapted in seen)

    def __call__(self, x_B1D: Tensor, angles: Angles, mask_B11S: Tensor, cache: KeyValueCache, places: Places) -> Tensor:
        """What comes out of the last block, (B, 1, D)."""
        assert angles is not None
        x_BD = x_B1D[:, 0].clone(memory_format=torch.contiguous_format)
        cos_BK, sin_BK = (angle_B1TK.expand(len(x_BD), 1, 1, -1)[:, 0, 0].contiguous().numpy() for angle_B1TK in angles)
        lengths_B = (places.positions_BT[:, 0] + 1).numpy()
        written_B, table_BP = places.written_N.numpy(), places.table_BP.contiguous().numpy()
        loops.use_threads()
        for weights, k_GMK, v_GMK in zip(self._weights, cache.k_LGNK, cache.v_LGNK, strict=True):
            held = k_GMK.numpy(), v_GMK.numpy()
            loops.decode(x_BD.numpy(), cos_BK, sin_BK, *weights, *held, written_B, table_BP, lengths_B, self.constants)
        return x_BD[:, None]


def decode_in_loops(model: Transformer) -> None:
    """Let products of few tokens be `thin_linear`'s, and blocks, where they are of the usual shape, take a token in loops.

    On a GPU, and in bfloat16, a model stays as it is.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, Linear)]
    weights = [layer.weight for layer in layers]
    if model.precision != torch.float32 or not all(weight.is_cpu and weight.dtype == torch.float32 for weight in weights):
        return
    for layer in layers:
        layer.thin = True
    config = model.config
    if config.norm == "layer" or config.feed_forward != "swiglu" or config.positions != "rotary" or config.extras:
        return
    model.decode = Loops(model)
    if not loops.are_kept():
        say("compiling the loops that write tokens, once on this machine: some 20 s")


def _layers(block: Block) -> list[nn.Module]:
    """The matrices of a block, in the order in which they are used."""
    attention, feed_forward = block.self_attn, block.mlp
    read = [attention.joined] if attention.joined else [attention.q_proj, attention.k_proj, attention.v_proj]
    up = [feed_forward.joined] if feed_forward.joined else [feed_forward.gate_proj, feed_forward.up_proj]
    return [*read, attention.o_proj, *up, feed_forward.down_proj]


def _weights(block: Block) -> tuple[object, ...]:
    """What `loops.decode` wants to know of a block: matrices by what they read, norms, and norms of heads."""
    *read_out_up, down = (_matrix(layer) for layer in _layers(block))
    read = 1 if block.self_attn.joined else 3
    matrices = tuple(read_out_up[:read]), (read_out_up[read],), tuple(read_out_up[read + 1 :]), (down,)
    norms = tuple(_norm(norm) for norm in (block.input_layernorm, block.post_attention_layernorm))
    head_norms = tuple(_norm(norm) for norm in (block.self_attn.q_norm, block.self_attn.k_norm))
    return matrices, norms, head_norms


def _weight(layer: nn.Module) -> Tensor:
    if isinstance(layer, Int8Linear):
        return layer.weight_RC
    assert isinstance(layer, Linear)
    return layer.weight


def _matrix(layer: nn.Module) -> loops.Matrix:
    if isinstance(layer, Int8Linear):
        return matrix(layer.weight_RC, layer.scale_R, layer.bias)
    assert isinstance(layer, Linear)
    return matrix(layer.weight, None, layer.bias)


def _norm(norm: nn.Module) -> np.ndarray:
    """A norm's weights: ones for a bare one, none where there is no norm."""
    if not isinstance(norm, RMSNorm):
        return np.zeros(0, np.float32)
    return np.ones(norm.width, np.float32) if norm.weight is None else norm.weight.detach().numpy()
