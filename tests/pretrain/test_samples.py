"""A sample shows what the model would say, changes nothing, and ends where the model ends."""

from __future__ import annotations

from itertools import pairwise

import torch

from ropewalk.model.config import PRESETS
from ropewalk.model.transformer import Transformer
from ropewalk.pretrain import PretrainOptions, run
from ropewalk.pretrain.samples import sample_text
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.special import BOUNDARY


def model_that_says(tokenizer: Tokenizer, then: dict[int, int]) -> Transformer:
    """One that goes from each token to a certain next one: no layer, and a head that pairs them."""
    model = Transformer(PRESETS["portable"](depth=1, vocabulary=tokenizer.vocabulary, context_tokens=64, width=64))
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        model.model.norm.weight.fill_(1.0)
        for place, (before, after) in enumerate(then.items()):
            model.model.embed_tokens.weight[before, place] = 1.0
            model.lm_head.weight[after, place] = 30.0
    return model


def test_a_sample_follows_the_model_and_ends_with_it(gpt4_folder):
    tokenizer = Tokenizer.load(gpt4_folder)
    ids = tokenizer.encode("A new\nline")
    start = tokenizer.special[BOUNDARY]
    chain = [start, *ids, start]
    assert len(set(chain[1:])) == len(chain) - 1
    model = model_that_says(tokenizer, dict(pairwise(chain)))
    assert sample_text(model, tokenizer, tokens=30, seed=0) == "A new line"
    assert sample_text(model, tokenizer, tokens=2, seed=0) == tokenizer.decode(ids[:2])


def test_a_look_shows_a_sample_and_leaves_no_trace(tmp_path, tokens, gpt4_folder, capsys):
    digests = []
    for count in (0, 5):
        options = PretrainOptions(
            tokens=tokens, tokenizer=gpt4_folder, train_tokens=6_000, depth=1, context_tokens=64, batch_rows=4,
            compile="off", evaluate_documents=3, evaluate_every_steps=10, warm_up_steps=2, sample_tokens=count,
        )  # fmt: skip
        digests.append(run(options, out=tmp_path / str(count)).digest)
        assert ("sample: " in capsys.readouterr().err) == bool(count)
    assert digests[0] == digests[1]
