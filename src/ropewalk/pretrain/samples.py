"""A few words of a model in training, to see how it comes along. Shapes: P pages, V vocabulary."""

from __future__ import annotations

import torch

from ropewalk.model.cache import KeyValueCache, pages_for
from ropewalk.model.transformer import Transformer
from ropewalk.runtime.seeds import generator
from ropewalk.runtime.terminal import one_line
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.special import BOUNDARY

TEMPERATURE = 0.8


@torch.no_grad()
def sample_text(model: Transformer, tokenizer: Tokenizer, *, tokens: int, seed: int) -> str:
    """What the model makes of nothing but a document's beginning, on one line; it may end before so many tokens."""
    special = set(tokenizer.special.values())
    draws, device = generator("training sample", seed), model.lm_head.weight.device
    cache = KeyValueCache(model.config, pages=pages_for(tokens), dtype=model.precision, device=device)
    table_1P = torch.arange(1, 1 + cache.pages, device=device)[None]
    ids = [tokenizer.special.get(BOUNDARY, 0)]
    with torch.compiler.set_stance("force_eager"):  # one token at a time is a shape that nothing was compiled for
        for place in range(min(tokens, model.config.context_tokens)):
            ids_BT, positions_BT = torch.tensor([[ids[-1]], [place]], device=device)[:, None]
            hidden_BTD = model(ids_BT, cache=cache, table_BP=table_1P, positions_BT=positions_BT)
            weights_V = (model.logits(hidden_BTD[0, -1]).double() / TEMPERATURE).softmax(0).cumsum(0).cpu()
            ids.append(min(int(torch.searchsorted(weights_V, draws.random())), len(weights_V) - 1))
            if ids[-1] in special or ids[-1] >= tokenizer.vocabulary:
                ids.pop()
                break
    return one_line(tokenizer.decode(ids[1:]))
