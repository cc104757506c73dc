"""A contestant of bench/pretrain.py in a process of its own: it trains when it is asked to.

    python bench/pretrain_worker.py CONTESTANT '{"depth": 4, ...}'

Prints a line when it is ready, then reads numbers of steps and answers each with the loss of the last one. nanochat must be
on PYTHONPATH.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Step = Callable[[Tensor, Tensor], float]


def main() -> None:
    name, shape = sys.argv[1], json.loads(sys.argv[2])
    torch.manual_seed(0)
    step = CONTESTANTS[name](shape)
    began, batches = time.perf_counter(), data(shape)
    first = [step(*next(batches)) for _ in range(2)]
    print(json.dumps({"losses": first, "first_steps_seconds": round(time.perf_counter() - began, 1)}), flush=True)
    for line in sys.stdin:
        loss = float("nan")
        for _ in range(int(line)):
            loss = step(*next(batches))
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
        print(json.dumps({"loss": loss, "peak_mb": peak_mb}), flush=True)


def data(shape: dict[str, Any]):
    """Random ids (B, T) and what follows each, the same for all contestants."""
    draws = torch.Generator().manual_seed(1)
    while True:
        ids_BT = torch.randint(0, shape["vocabulary"], (shape["rows"], shape["context"] + 1), generator=draws)
        yield ids_BT[:, :-1].contiguous(), ids_BT[:, 1:].contiguous()


def weights(shape: dict[str, Any]) -> dict[str, Tensor]:
    """The weights that ropewalk and nanochat both begin with, by ropewalk's names: none at zero, so that all count."""
    from ropewalk.model.config import speed
    from ropewalk.model.transformer import Transformer

    model = Transformer(config_of(shape, speed))
    draws = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 0:
                weight.uniform_(0.1, 0.9, generator=draws)
            else:
                weight.normal_(0, weight.shape[-1] ** -0.5, generator=draws)
    return model.state_dict()


def config_of(shape: dict[str, Any], preset: Callable[..., Any]) -> Any:
    return preset(
        depth=shape["depth"], vocabulary=shape["vocabulary"], context_tokens=shape["context"], width=shape["width"]
    )


def ropewalk(shape: dict[str, Any], preset: str = "speed", *, compiled: bool = True) -> Step:
    """Our model, loss and optimizer, as `ropewalk pretrain` puts them together."""
    from ropewalk.model.config import PRESETS
    from ropewalk.model.rows import Rows
    from ropewalk.model.transformer import Transformer
    from ropewalk.pretrain.loop import compile_blocks, learn_rows
    from ropewalk.pretrain.optimizer import LearningRates, Optimizer

    model = Transformer(config_of(shape, PRESETS[preset]))
    if preset == "speed":
        model.load_state_dict(weights(shape))
    else:
        model.initialize(0)
    if compiled:
        compile_blocks(model)
    optimizer = Optimizer(model, LearningRates(matrix=0.02, embedding=0.2, head=0.004, norm=0.01), weight_decay=0.1)

    def step(ids_BT: Tensor, targets_BT: Tensor) -> float:
        rows = Rows(ids_BT.numpy(), targets_BT.numpy(), torch.ones_like(ids_BT, dtype=torch.bool).numpy())
        learned = learn_rows(model, rows)
        optimizer.step(rate_fraction=1.0, momentum=0.95)
        return learned.loss

    return step


def nanochat(shape: dict[str, Any]) -> Step:
    """nanochat's model and optimizer as its base_train.py uses them, all layers with the whole context."""
    from nanochat.gpt import GPT, GPTConfig

    config = GPTConfig(
        sequence_len=shape["context"],
        vocab_size=shape["vocabulary"],
        n_layer=shape["depth"],
        n_head=shape["width"] // 64,
        n_kv_head=shape["width"] // 64,
        n_embd=shape["width"],
        window_pattern="L",
    )
    with torch.device("meta"):
        model = GPT(config)
    model.to_empty(device="cpu")
    model.init_weights()
    with torch.no_grad():
        theirs = dict(model.named_parameters())
        for name, weight in weights(shape).items():
            told, at = nanochat_name(name)
            if name.endswith(("q_proj.weight", "k_proj.weight")):  # it turns the pairs the other way round
                weight = weight.view(-1, 2, 32, shape["width"]).flip(1).flatten(0, 2)
            (theirs[told] if at is None else theirs[told][at]).copy_(weight)
    optimizer = model.setup_optimizer(matrix_lr=0.02, weight_decay=0.1)
    compiled = torch.compile(model, dynamic=False)

    def step(ids_BT: Tensor, targets_BT: Tensor) -> float:
        loss = compiled(ids_BT, targets_BT)
        loss.backward()
        optimizer.step()
        model.zero_grad(set_to_none=True)
        return loss.item()

    return step


def nanochat_name(name: str) -> tuple[str, int | None]:
    """nanochat's name for one of our weights, and where in it a single scale stands."""
    whole = {
        "model.embed_tokens.weight": "transformer.wte.weight",
        "model.smear_gate.weight": "smear_gate.weight",
        "model.smear_scale": "smear_lambda",
        "model.backout_scale": "backout_lambda",
        "lm_head.weight": "lm_head.weight",
    }
    if name in whole:
        return whole[name], 0 if name.endswith("_scale") else None
    if "embed_values" in name:
        return f"value_embeds.{name.split('.')[2]}.weight", None
    _, _, layer, within = name.split(".", 3)
    if within.endswith("_scale"):
        return {"residual_scale": "resid_lambdas", "start_scale": "x0_lambdas"}[within], int(layer)
    told = {
        "self_attn.q_proj": "attn.c_q",
        "self_attn.k_proj": "attn.c_k",
        "self_attn.v_proj": "attn.c_v",
        "self_attn.o_proj": "attn.c_proj",
        "self_attn.value_gate": "attn.ve_gate",
        "mlp.up_proj": "mlp.c_fc",
        "mlp.down_proj": "mlp.c_proj",
    }
    return f"transformer.h.{layer}.{told[within.removesuffix('.weight')]}.weight", None


def transformers(shape: dict[str, Any]) -> Step:
    """A plain loop: transformers' own Qwen3, its loss, torch's AdamW, the shape of our `portable` preset."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from ropewalk.model.config import portable
    from ropewalk.model.families import to_hugging_face

    described = to_hugging_face(config_of(shape, portable))
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**described))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step(ids_BT: Tensor, targets_BT: Tensor) -> float:
        logits_BTV = model(ids_BT, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


CONTESTANTS: dict[str, Callable[[dict[str, Any]], Step]] = {
    "ropewalk": ropewalk,
    "ropewalk, eager": lambda shape: ropewalk(shape, compiled=False),
    "ropewalk, portable": lambda shape: ropewalk(shape, "portable"),
    "nanochat": nanochat,
    "transformers": transformers,
}


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
    main()
