"""What makes a training step on a GPU faster: one switch after another, in one process, and where the time goes.

    python bench/gpu_look.py --out $OUT --nanochat .nanochat --budget 140

Every variant trains the same weights on the same ids (the optimizer's rates are 0), so its loss and gradients are
compared with the plain path's. The last thing printed is a table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch._dynamo.utils import counters

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).parent))

from ropewalk.model import held
from ropewalk.model.config import speed
from ropewalk.model.rows import Rows
from ropewalk.model.transformer import Transformer
from ropewalk.pretrain import loop, optimizer

BEGAN = time.perf_counter()
CUDA = torch.cuda.is_available()
torch._dynamo.config.recompile_limit = 64  # pyright: ignore[reportPrivateImportUsage]
TABLES, WEIGHTS = ["tables", "fused"], ["held", "added"]
ALL = [*TABLES, *WEIGHTS, "rows", "muon"]
TUNED = {"coordinate_descent_tuning": True}
FUSED_PRODUCTS = {
    "max_autotune_gemm": True,
    "max_autotune_gemm_backends": "ATEN,TRITON",
    "triton.enable_persistent_tma_matmul": True,
}

# name, precision, switches, options of the compiler, seconds that it may need
VARIANTS: list[tuple[str, str, list[str], dict[str, Any] | None, float]] = [
    ("plain", "bfloat16", [], None, 0),
    ("tables", "bfloat16", ["tables"], None, 5),
    ("tables, fused", "bfloat16", TABLES, None, 5),
    ("all", "bfloat16", ALL, None, 15),
    ("float8 plain", "float8", [], None, 20),
    ("float8 all", "float8", [*ALL, "float8"], None, 25),
    ("all, hooked", "bfloat16", [*(one for one in ALL if one != "added"), "hooked"], None, 12),
    ("all but added", "bfloat16", [one for one in ALL if one != "added"], None, 12),
    ("all but rows", "bfloat16", [one for one in ALL if one != "rows"], None, 12),
    ("all and chunk", "bfloat16", [*ALL, "chunk"], None, 5),
    ("float8 all but added", "float8", [*TABLES, "rows", "muon", "float8"], None, 20),
    ("float8 tuned", "float8", [*ALL, "float8"], TUNED, 40),
    ("all, tuned", "bfloat16", ALL, TUNED, 30),
    ("all, products fused", "bfloat16", ALL, FUSED_PRODUCTS, 60),
]
PROFILED = ("all", "float8 all")


class Look:
    """One model and its optimizer, whose switches are turned between steps."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.small, self.passes = arguments.small, 2 if arguments.small else 8
        self.width, self.rows, self.context = (128, 2, 32) if self.small else (1536, 8, 2048)
        vocabulary = 256 if self.small else 32_768
        config = speed(
            depth=arguments.layers, width=self.width, head_width=128, vocabulary=vocabulary, context_tokens=self.context
        )
        self.device = "cuda" if CUDA else "cpu"
        torch.manual_seed(0)
        with torch.device(self.device):
            self.model = Transformer(config)
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                weight.normal_(0, 0.02) if weight.ndim > 1 else weight.fill_(1.0 if name.endswith("residual_scale") else 0.2)
        rates = optimizer.LearningRates(matrix=0.02, embedding=0.1, head=0.004, norm=0.01)
        self.optimizer = optimizer.Optimizer(self.model, rates, weight_decay=0.1)
        ids = np.random.default_rng(0).integers(0, vocabulary, (self.passes * self.rows, self.context + 1))
        # half the tokens are common ones, as in texts: rows of a table that many positions add to
        ids = np.where(np.random.default_rng(1).random(ids.shape) < 0.5, ids % 64, ids)
        self.data = Rows(ids[:, :-1].copy(), ids[:, 1:].copy(), np.ones((len(ids), self.context), np.bool_))
        self.expected: dict[str, torch.Tensor] = {}
        self.options: Any = "none yet"
        self.capacity = 0.0

    def turn(self, precision: str, switches: list[str], options: dict[str, Any] | None) -> None:
        held.ON.clear()
        held.ON.update(switches)
        self.model.precision = torch.bfloat16
        for block in self.model.model.layers:
            block.by_rows = "rows" in switches
        for module in self.model.modules():
            if getattr(module, "in_float8", False):
                module.in_float8 = False
        if precision == "float8":
            self.model.use_float8()
        if options != self.options:
            loop.COMPILE_OPTIONS, self.options = options, options
            loop.compile_blocks(self.model)

    def learn(self, passes: int) -> float:
        return loop.learn_rows(self.model, self.data.some(slice(0, passes * self.rows)), pass_rows=self.rows).loss

    def step(self, fraction: float = 0.0) -> None:
        self.optimizer.step(rate_fraction=fraction, momentum=0.95)

    def watched(self) -> dict[str, torch.Tensor]:
        last = self.model.config.layers - 1
        names = ["embed_tokens", f"embed_values.{last}", "0.self_attn.q_proj", f"{last}.mlp.down_proj", "1.mlp.up_proj"]
        names += ["lm_head", "1.self_attn.v_proj", "1.residual_scale", "0.start_scale", f"{last}.self_attn.value_gate"]
        every = dict(self.model.named_parameters())
        return {name: next(weight for full, weight in every.items() if f".{name}" in f".{full}") for name in names}

    def errors(self) -> dict[str, float]:
        """Relative distances of the gradients from the plain path's."""
        found = {name: weight.grad.detach().float().clone() for name, weight in self.watched().items()}
        if not self.expected:
            self.expected = found
        return {name: float((found[name] - one).norm() / one.norm()) for name, one in self.expected.items()}

    def measure(self) -> dict[str, Any]:
        began = time.perf_counter()
        counters.clear()
        loss = self.learn(2)  # compiles
        synchronize()
        first = time.perf_counter() - began
        errors = self.errors()
        self.step()
        if CUDA:
            torch.cuda.reset_peak_memory_stats()
        passes, steps = [], []
        for _ in range(1 if self.small else 2):
            passes.append(timed(lambda: self.learn(self.passes)))
            steps.append(timed(self.step))
        passing, stepping = statistics.median(passes), statistics.median(steps)
        tokens = self.passes * self.rows * self.context
        return {
            "loss": loss,
            "errors": errors,
            "first_seconds": first,
            "graph_breaks": dict(counters["graph_break"]),
            "passes_ms": 1e3 * passing,
            "optimizer_ms": 1e3 * stepping,
            "all_passes_ms": [1e3 * one for one in passes],
            "tokens_per_second": tokens / (passing + stepping),
            "memory_gb": torch.cuda.max_memory_allocated() / 1e9 if CUDA else 0.0,
        }

    def moved(self) -> dict[str, float]:
        """How far one step of the compiled optimizer's loops lies from one of the plain ones', of how far it moves."""
        names = ("0.self_attn.q_proj", "1.mlp.up_proj", "1.mlp.down_proj")
        deltas: list[dict[str, torch.Tensor]] = []
        kept = {name: weight.detach().clone() for name, weight in self.model.named_parameters()}
        for switches in ([], ["muon"]):
            self.turn("bfloat16", switches, self.options)
            self.optimizer.reset()
            self.learn(1)
            self.step(0.1)
            watched = self.watched() | {"1.mlp.down_proj": self.model.get_parameter("model.layers.1.mlp.down_proj.weight")}
            before = {name: next(weight for full, weight in kept.items() if f".{name}" in f".{full}") for name in names}
            deltas.append({name: watched[name].detach() - before[name] for name in names})
            with torch.no_grad():
                for name, weight in self.model.named_parameters():
                    weight.copy_(kept[name])
        self.optimizer.reset()
        return {name: float((deltas[1][name] - one).norm() / one.norm()) for name, one in deltas[0].items()}

    def profile(self, name: str, out: Path | None) -> str:
        """Kernels of some passes, and of the optimizer's step, by time."""
        activities = [torch.profiler.ProfilerActivity.CUDA if CUDA else torch.profiler.ProfilerActivity.CPU]
        said = []
        for part, work, rows in (("4 passes", self.learn_some, 26), ("optimizer", self.step, 12)):
            with torch.profiler.profile(activities=activities, acc_events=True) as profiler:
                work()
                synchronize()
            kernels: dict[str, tuple[float, int]] = {}
            for event in profiler.events():
                if "CUDA" in str(event.device_type) and not event.name.startswith(("##", "Torch-Compiled")):
                    spent, count = kernels.get(event.name, (0.0, 0))
                    kernels[event.name] = spent + event.time_range.elapsed_us() / 1e3, count + 1
            total = sum(spent for spent, _ in kernels.values())
            ordered = sorted(kernels.items(), key=lambda one: -one[1][0])
            lines = [f"{spent:8.2f} ms {count:5d} x  {kernel[:62]}" for kernel, (spent, count) in ordered]
            said.append(f"{name}, {part}: {total:.1f} ms in kernels\n" + "\n".join(lines[:rows]))
            if out is not None:
                full = [f"{spent:9.3f} ms {count:5d} x  {kernel}" for kernel, (spent, count) in ordered]
                (out / f"kernels-{name}-{part}.txt".replace(" ", "_")).write_text("\n".join(full))
        return "\n".join(said)

    def learn_some(self) -> None:
        self.learn(min(4, self.passes))


def synchronize() -> None:
    if CUDA:
        torch.cuda.synchronize()


def timed(work: Any) -> float:
    synchronize()
    began = time.perf_counter()
    work()
    synchronize()
    return time.perf_counter() - began


def line(name: str, one: dict[str, Any]) -> str:
    if "failed" in one:
        return f"{name:24s} {one['failed'][:110]}"
    matrices = {
        key: error for key, error in one["errors"].items() if not key.endswith("scale")
    }  # scales' are mostly rounding
    worst = sorted(matrices.items(), key=lambda item: -item[1])[:2]
    return (
        f"{name:24s} {one['tokens_per_second']:9,.0f} tok/s  passes {one['passes_ms']:7.1f}  "
        f"optimizer {one['optimizer_ms']:6.1f} ms  {one['memory_gb']:4.1f} GB  first {one['first_seconds']:5.1f} s  "
        f"loss {one['loss']:.4f}  breaks {len(one['graph_breaks'])}  "
        + ", ".join(f"{key} {error:.1e}" for key, error in worst)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--budget", type=float, default=140, help="seconds after which no variant begins")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--small", action="store_true", help="a tiny model, to try this script on a CPU")
    arguments = parser.parse_args()
    if arguments.small:
        arguments.layers = 2
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
    look, found, profiles = Look(arguments), {}, []
    print(f"started in {time.perf_counter() - BEGAN:.1f} s, torch {torch.__version__}", flush=True)
    for name, precision, switches, options, needs in VARIANTS:
        if arguments.only and name not in arguments.only:
            continue
        if time.perf_counter() - BEGAN + needs > arguments.budget:
            found[name] = {"failed": "no time left"}
            continue
        try:
            look.turn(precision, switches, options)
            found[name] = look.measure()
            if name in PROFILED:
                profiles.append(look.profile(name, arguments.out))
            if name == "all":
                found["optimizer"] = {"failed": "moves unlike the plain one by " + str(look.moved())}
        except Exception as error:  # noqa: BLE001 - one failure must cost no other variant its turn
            text = traceback.format_exc()
            found[name] = {"failed": f"{type(error).__name__}: {error}".replace("\n", " ")[:400]}
            if arguments.out:
                (arguments.out / f"error-{name}.txt".replace(" ", "_")).write_text(text)
            look.model.release()
            look.model.zero_grad()
        print(f"{time.perf_counter() - BEGAN:6.1f} s  {line(name, found[name])}", flush=True)
        if arguments.out:
            (arguments.out / "look.json").write_text(json.dumps(found, indent=1))
    print("\n".join(profiles)[:6500])
    print("\n".join(line(name, one) for name, one in found.items()))


if __name__ == "__main__":
    main()
