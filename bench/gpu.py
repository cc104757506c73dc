"""Training steps on one GPU, beside nanochat's, under ten minutes.

    python bench/gpu.py --nanochat nanochat --out bench/results/gpu.json
    python bench/gpu.py --quick --only 'ropewalk, depth 24' 'ropewalk, depth 24, float8'

Every contestant is a process of its own, alone on the GPU, and trains on ids drawn by lot: a step is eight passes and a step
of the optimizer. The first two steps compile and are not counted; a rate is the median of the others'. With --quick all run
in one process, two steps of each count, and nothing is written: about a minute for two, most of it compilation.

A share of the peak (MFU) counts 6 operations a weight that multiplies a token, and attention over the whole context
(Chowdhery et al. 2022, app. B); what it is by the half that a causal model needs is given too.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import write

CONTEXT, PASSES, STEPS, WARM_STEPS = 2048, 8, 5, 2
VOCABULARY = 32_768
PEAK = 989e12  # dense bfloat16 products a second of an H100 or H200 SXM, NVIDIA's data sheet

# depth, rows in a pass, precision, the least share of the bfloat16 peak that was asked
CONTESTANTS: dict[str, dict[str, Any]] = {
    "ropewalk, depth 20": {"of": "speed", "depth": 20, "rows": 16, "precision": "bfloat16", "asked": 0.50},
    "ropewalk, depth 24": {"of": "speed", "depth": 24, "rows": 8, "precision": "bfloat16", "asked": 0.50},
    "ropewalk, depth 24, float8": {"of": "speed", "depth": 24, "rows": 8, "precision": "float8", "asked": 0.60},
    "ropewalk, Llama's 1B": {"of": "llama", "rows": 8, "precision": "bfloat16", "asked": 0.45},
    "nanochat, depth 20": {"of": "nanochat", "depth": 20, "rows": 16, "precision": "bfloat16"},
    "nanochat, depth 24": {"of": "nanochat", "depth": 24, "rows": 8, "precision": "bfloat16"},
    "nanochat, depth 24, float8": {"of": "nanochat", "depth": 24, "rows": 8, "precision": "float8"},
}

Step = Callable[[], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nanochat", type=Path, help="a checkout of nanochat at 92d63d4; without it, ours alone")
    parser.add_argument("--out", type=Path, help="where the result goes, JSON")
    parser.add_argument("--only", nargs="*", help="contestants, if not all")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="two steps of each, in this process")
    parser.add_argument("--small", action="store_true", help="a tenth of the depth, to try this script")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(CONTESTANTS[arguments.one], arguments.nanochat, steps=STEPS, small=arguments.small)))
        return
    names = [name for name in arguments.only or CONTESTANTS if arguments.nanochat or not name.startswith("nanochat")]
    if arguments.quick:
        look(names, arguments.nanochat, small=arguments.small)
        return
    found: dict[str, dict[str, Any]] = {}
    ceiling = products_per_second()
    for name in names:
        command = [sys.executable, __file__, "--one", name, *(["--small"] if arguments.small else [])]
        command += ["--nanochat", str(arguments.nanochat)] if arguments.nanochat else []
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode or not lines:
            print(f"{name} failed: {done.stderr[-1500:]}", file=sys.stderr, flush=True)
            continue
        found[name] = json.loads(lines[-1])
        print(f"{name}: {lines[-1]}", file=sys.stderr, flush=True)
        if arguments.out:  # what stands is there, whatever becomes of the next
            write(result(found, ceiling, machine()), arguments.out)


def look(names: Sequence[str], nanochat_folder: Path | None, *, small: bool) -> None:
    """Print what two steps of each give, and its first step's seconds, one after another."""
    import torch

    for name in names:
        print(f"{name}: {json.dumps(measure(CONTESTANTS[name], nanochat_folder, steps=2, small=small))}", flush=True)
        torch.compiler.reset()
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def machine() -> dict[str, Any]:
    """What is measured on."""
    import torch

    return {
        "hardware": {"processor": torch.cuda.get_device_name(), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }


def result(found: Mapping[str, Mapping[str, Any]], ceiling: float, machine: Mapping[str, Any]) -> dict[str, Any]:
    """What was found, in the form that all benches share."""
    pairs = [(name, name.replace("ropewalk", "nanochat")) for name in found if name.startswith("ropewalk")]
    targets = [
        {"ours": ours, "peer": peer, "least_ratio": 1.0, "ratio": round(ratio, 3), "met": ratio >= 1}
        for ours, peer in pairs
        if peer in found
        for ratio in [found[ours]["tokens_per_second"] / found[peer]["tokens_per_second"]]
    ]
    notes = [_share(name, one) for name, one in found.items()]
    steps = [one["rates"] for one in found.values()]
    return {
        "room": "gpu",
        "what": f"training steps of {PASSES} passes, {CONTEXT:,} tokens a row, vocabulary {VOCABULARY:,}; nanochat 92d63d4 "
        "with torch's attention",
        "unit": "tokens/s",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        **machine,
        "median": {name: one["tokens_per_second"] for name, one in found.items()},
        "spread_fraction": {name: one["spread_fraction"] for name, one in found.items()},
        "targets": targets,
        "meets_targets": all(target["met"] for target in targets) and not any(note.endswith("missed") for note in notes),
        "notes": [f"a product of 8,192 x 8,192 bfloat16 matrices: {ceiling / 1e12:,.0f} TFLOP/s", *notes],
        "rounds": [{"rates": dict(zip(found, rates, strict=True))} for rates in zip(*steps, strict=True)],
        "contestants": found,
    }


def _share(name: str, one: Mapping[str, Any]) -> str:
    """The share of the peak, what it is of the causal half alone, and whether it is what was asked."""
    said = (
        f"{name}: {one['peak_share']:.1%} of the bfloat16 peak, {one['peak_share_causal']:.1%} by the half of attention; "
        f"{one['peak_memory_gb']} GB, first step {one['first_step_seconds']} s"
    )
    if one["asked"] is None:
        return said
    return f"{said}; at least {one['asked']:.0%} asked: {'met' if one['peak_share'] >= one['asked'] else 'missed'}"


def products_per_second(size: int = 8192, times: int = 20) -> float:
    """Operations a second of a large bfloat16 product of random numbers."""
    import torch

    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    seconds = timed(lambda: [a @ b for _ in range(times)])
    return min(seconds, timed(lambda: [a @ b for _ in range(times)])) ** -1 * 2 * size**3 * times


def timed(work: Callable[[], object]) -> float:
    import torch

    torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def measure(contestant: dict[str, Any], nanochat_folder: Path | None, *, steps: int, small: bool) -> dict[str, Any]:
    """Train some steps and tell how fast they went."""
    import torch

    contestant = {**contestant, "layers": 2} if small else contestant
    config = config_of(contestant)
    if contestant["of"] == "nanochat":
        sys.path.insert(0, str(nanochat_folder))
        step = nanochat(config, contestant)
    else:
        step = ropewalk(config, contestant)
    began, losses, seconds = time.perf_counter(), [], []
    for number in range(WARM_STEPS + steps):
        taken = timed(lambda: losses.append(step()))
        if number == 0:
            first = time.perf_counter() - began
        if number >= WARM_STEPS:
            seconds.append(taken)
    tokens = PASSES * contestant["rows"] * CONTEXT
    rate = tokens / statistics.median(seconds)
    whole = config.training_flops_per_token + 6 * config.layers * config.query_heads * config.head_width * CONTEXT
    return {
        "tokens_per_second": round(rate),
        "spread_fraction": round((max(seconds) - min(seconds)) / statistics.median(seconds), 3),
        "rates": [round(tokens / one) for one in seconds],
        "peak_share": round(rate * whole / PEAK, 4),
        "peak_share_causal": round(rate * config.training_flops_per_token / PEAK, 4),
        "asked": contestant.get("asked"),
        "first_step_seconds": round(first, 1),
        "peak_memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 1),
        "parameters": config.parameters,
        "losses": [round(loss, 4) for loss in losses],
    }


def config_of(contestant: dict[str, Any]) -> Any:
    """The shape: `speed`, whose mathematics is nanochat's, or that of Llama 3.2's 1B."""
    from ropewalk.model.config import ModelConfig, speed

    if contestant["of"] != "llama":
        layers = contestant.get("layers", contestant["depth"])
        return speed(
            depth=layers, width=64 * contestant["depth"], head_width=128, vocabulary=VOCABULARY, context_tokens=CONTEXT
        )
    return ModelConfig(
        vocabulary=128_256,
        width=2048,
        layers=contestant.get("layers", 16),
        query_heads=32,
        key_value_heads=8,
        head_width=64,
        feed_forward_width=8192,
        context_tokens=CONTEXT,
        rope_theta=500_000.0,
        norm_epsilon=1e-5,
        tied_head=True,
        qk_norm=False,
    )


def drawn(rows: int, vocabulary: int):
    """Ids and what follows each, on the CPU, the same for all."""
    import torch

    draws = torch.Generator().manual_seed(0)
    while True:
        ids_BT = torch.randint(0, vocabulary, (rows, CONTEXT + 1), generator=draws)
        yield ids_BT[:, :-1].contiguous(), ids_BT[:, 1:].contiguous()


def ropewalk(config: Any, contestant: dict[str, Any]) -> Step:
    """Our model, loss and optimizer, as `ropewalk pretrain` puts them together."""
    import numpy as np
    import torch

    from ropewalk.model.rows import Rows
    from ropewalk.model.transformer import Transformer
    from ropewalk.pretrain.loop import compile_blocks, learn_rows
    from ropewalk.pretrain.optimizer import LearningRates, Optimizer

    with torch.device("cuda"):
        model = Transformer(config)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, 0.02) if weight.ndim > 1 else weight.fill_(1.0)
    model.precision = torch.bfloat16
    if contestant["precision"] == "float8":
        model.use_float8()
    compile_blocks(model)
    optimizer = Optimizer(model, LearningRates(matrix=0.02, embedding=0.1, head=0.004, norm=0.01), weight_decay=0.1)
    batches = drawn(PASSES * contestant["rows"], config.vocabulary)

    def step() -> float:
        ids_BT, targets_BT = (half.numpy() for half in next(batches))
        rows = Rows(ids_BT, targets_BT, np.ones_like(ids_BT, dtype=np.bool_))
        learned = learn_rows(model, rows, pass_rows=contestant["rows"])
        optimizer.step(rate_fraction=0.1, momentum=0.95)
        return learned.loss

    return step


def nanochat(config: Any, contestant: dict[str, Any]) -> Step:
    """nanochat's model and optimizer as its base_train.py uses them, all layers with the whole context."""
    import torch
    from nanochat.gpt import GPT, GPTConfig

    torch.set_float32_matmul_precision("high")
    with torch.device("meta"):
        model = GPT(
            GPTConfig(
                sequence_len=CONTEXT,
                vocab_size=VOCABULARY,
                n_layer=config.layers,
                n_head=config.query_heads,
                n_kv_head=config.key_value_heads,
                n_embd=config.width,
                window_pattern="L",
            )
        )
    model.to_empty(device="cuda")
    model.init_weights()
    if contestant["precision"] == "float8":
        from nanochat.fp8 import Float8LinearConfig, convert_to_float8_training

        convert_to_float8_training(
            model,
            config=Float8LinearConfig.from_recipe_name("tensorwise"),
            module_filter_fn=lambda module, _: (
                module.in_features % 16 == 0
                and module.out_features % 16 == 0
                and min(module.in_features, module.out_features) >= 128
            ),
        )
    optimizer = model.setup_optimizer()
    compiled = torch.compile(model, dynamic=False)
    batches = drawn(contestant["rows"], VOCABULARY)

    def step() -> float:
        for _ in range(PASSES):
            ids_BT, targets_BT = (half.cuda() for half in next(batches))
            loss = compiled(ids_BT, targets_BT)
            (loss / PASSES).backward()
        optimizer.step()
        model.zero_grad(set_to_none=True)
        return loss.item()

    return step


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
    main()
