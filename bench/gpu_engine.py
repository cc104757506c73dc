"""The engine on one GPU: launched from Python, by replayed graphs, and beside transformers' generate.

    python bench/gpu_engine.py --check --logs FOLDER           tests, then short timings: under two minutes
    python bench/gpu_engine.py --out bench/results/gpu_engine.json [--model FOLDER]

SmolLM2-135M, or without a folder random weights in its shape, in bfloat16: texts of 128 tokens and 128 new ones, drawn at
temperature 1. Contestants take turns. A rate counts new tokens from the first prompt on; a step is one token for every text.
Agreement is of the log-probabilities of our greedy tokens, in float32, with transformers' and the CPU's for the same texts.
Each part stands alone: one that fails is told and costs the others nothing.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
PROMPT_TOKENS, NEW_TOKENS = 128, 128
TEXTS = (1, 8, 32, 128)
CHECKED = ("tests/model/test_paged_gpu.py", "tests/gpu/test_engine.py")
MOST_DIFFERENCE = 2e-3  # nats
STATIC_SECONDS = 45  # for transformers to compile, and no more


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="SmolLM2 as 'ropewalk import' made it; without it, random weights")
    parser.add_argument("--check", action="store_true", help="tests and short timings")
    parser.add_argument("--logs", type=Path, default=Path(os.environ.get("OUT", "/tmp")), help="where logs go")
    parser.add_argument("--out", type=Path, help="where the result goes, JSON")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="two layers and few tokens, to try this script")
    parser.add_argument("--static", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.small:
        globals().update(PROMPT_TOKENS=20, NEW_TOKENS=8, TEXTS=(1, 3))
    if arguments.static:
        print(json.dumps(static(arguments)))
        return
    found: dict[str, Any] = {
        "room": "gpu_engine",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "hardware": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    jobs = (tested, shortly, profiled, kernels) if arguments.check else (agreement, raced, compiled_peer, sampled)
    for job in jobs:
        began = time.monotonic()
        try:
            found[job.__name__] = job(arguments)
        except Exception:  # noqa: BLE001
            found[job.__name__] = f"failed: {traceback.format_exc()[-1500:]}"
        found[f"{job.__name__} seconds"] = round(time.monotonic() - began, 1)
        if arguments.out:  # what stands is there, whatever becomes of the next
            arguments.out.write_text(json.dumps(found, indent=2) + "\n")
    print(
        "\n".join(f"{key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in found.items())[-8000:]
    )


def model_of(arguments: argparse.Namespace) -> Any:
    """Our model on the CPU, in float32."""
    from ropewalk.model.checkpoint import load_model
    from ropewalk.model.config import ModelConfig
    from ropewalk.model.transformer import Transformer

    if arguments.model:
        return load_model(arguments.model)
    config = ModelConfig(
        vocabulary=49_152,
        width=576,
        layers=2 if arguments.small else 30,
        query_heads=9,
        key_value_heads=3,
        head_width=64,
        feed_forward_width=1536,
        context_tokens=2048,
        rope_theta=100_000.0,
        norm_epsilon=1e-5,
        tied_head=True,
        qk_norm=False,
    )
    model = Transformer(config)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, 0.04) if weight.ndim > 1 else weight.fill_(1.0)
    return model.eval()


def there(model: Any, precision: str) -> Any:
    """A copy of it to read, where a model of that precision computes."""
    from ropewalk.model.placing import settle

    return settle(copy.deepcopy(model), precision, reading=True)  # pyright: ignore[reportArgumentType]


def engine_of(model: Any, *, slots: int, graphs: bool | None) -> Any:
    """An engine without stop tokens. Prompts and answers are ids: of the tokenizer only the size is used."""
    from ropewalk.engine.engine import Engine
    from ropewalk.tokenizer.encoding import Tokenizer
    from ropewalk.tokenizer.pattern import GPT4

    tokens = [number.to_bytes(3, "big") for number in range(model.config.vocabulary)]
    tokens[:256] = [bytes([value]) for value in range(256)]
    return Engine(model, Tokenizer(tokens, pattern=GPT4, special={}), frozenset(), slots=slots, graphs=graphs)


def prompts_of(texts: int, vocabulary: int, seed: int) -> torch.Tensor:
    return torch.randint(0, vocabulary, (texts, PROMPT_TOKENS), generator=torch.Generator().manual_seed(seed))


def run(engine: Any, texts: int, seed: int, **cuts: Any) -> tuple[float, float]:
    """Tokens a second in all, and the median of the steps that only write, in milliseconds."""
    from ropewalk.engine.sampling import Sampling

    for number, prompt in enumerate(prompts_of(texts, engine.model.config.vocabulary, seed).tolist()):
        engine.submit(number, prompt, Sampling(NEW_TOKENS, seed=seed + number, **cuts))
    steps, made = [], 0
    began = time.perf_counter()
    while not engine.idle:
        started, count = time.perf_counter(), len(engine.step())
        made += count
        if count == texts:
            steps.append(1000 * (time.perf_counter() - started))
    return made / (time.perf_counter() - began), statistics.median(steps or [0.0])


def tested(arguments: argparse.Namespace) -> dict[str, str]:
    """Our tests, each file's last line; all they say is in the logs."""
    said = {}
    for path in CHECKED:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", "--timeout=100", path]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        (arguments.logs / (Path(path).stem + ".log")).write_text(done.stdout + done.stderr)
        lines = [line for line in done.stdout.splitlines() if line.startswith(("E  ", "FAILED", "ERROR"))]
        said[path] = "\n".join([*lines[:12], (done.stdout.strip().splitlines() or [done.stderr[-300:]])[-1]])
    return said


def shortly(arguments: argparse.Namespace) -> dict[str, Any]:
    """One warm run and one timed of each."""
    model, found = there(model_of(arguments), "bfloat16"), {}
    for texts in TEXTS:
        for name, graphs in (("eager", False), ("graphs", True)):
            engine = engine_of(model, slots=texts, graphs=graphs)
            began = time.perf_counter()
            run(engine, texts, 0)
            first = time.perf_counter() - began
            rate, step = run(engine, texts, 1000)
            found[f"{name} {texts}"] = {"tokens/s": round(rate), "ms/step": round(step, 3), "first run s": round(first, 2)}
    return found


def profiled(arguments: argparse.Namespace) -> str:
    """Where a step of 32 texts goes: kernels on the GPU, and what Python calls; the step's own length beside it."""
    from ropewalk.engine.sampling import Sampling

    on_gpu, texts = torch.cuda.is_available(), min(32, TEXTS[-1])
    engine = engine_of(there(model_of(arguments), "bfloat16"), slots=texts, graphs=True)
    run(engine, texts, 0)
    for number, prompt in enumerate(prompts_of(texts, engine.model.config.vocabulary, 1).tolist()):
        engine.submit(number, prompt, Sampling(NEW_TOKENS, seed=number))
    for _ in range(3):
        engine.step()
    activities = [torch.profiler.ProfilerActivity.CPU, *([torch.profiler.ProfilerActivity.CUDA] if on_gpu else [])]
    with torch.profiler.profile(activities=activities) as profile:
        began = time.perf_counter()
        for _ in range(4):
            engine.step()
        seconds = time.perf_counter() - began
    for key, name in (("self_cuda_time_total", "gpu"), ("self_cpu_time_total", "cpu")):
        table = profile.key_averages().table(sort_by=key if on_gpu else "self_cpu_time_total", row_limit=60)
        (arguments.logs / f"profile_{name}.txt").write_text(table)
    on_device = sorted(
        ((event.self_device_time_total / 4, event.count // 4, event.key) for event in profile.key_averages()), reverse=True
    )
    kernels_us = sum(time_us for time_us, _, key in on_device if not key.startswith(("aten::", "cuda")))
    lines = [f"{time_us:8.1f} us {count:5} x {key[:70]}" for time_us, count, key in on_device[:18]]
    return "\n".join([f"{1000 * seconds / 4:.2f} ms a step under the profiler, {kernels_us:.0f} us in kernels", *lines])


def kernels(arguments: argparse.Namespace) -> dict[str, Any]:
    """Microseconds of attention by itself: pages read where they lie, or gathered; a prompt's, heads shared or repeated."""
    from torch.nn import functional
    from triton.testing import do_bench  # pyright: ignore[reportMissingImports]

    from ropewalk.model.attention import attend
    from ropewalk.model.cache import Memory, Places
    from ropewalk.model.paged_gpu import attend_pages

    G, R, K, found = 3, 3, 64, {}
    draw = {"device": "cuda", "dtype": torch.bfloat16}
    for B, length in ((1, 256), (1, 2048), (32, 256), (32, 2048), (128, 256), (128, 1024)):
        P = length // 16
        table_BP = (1 + torch.randperm(B * P, device="cuda")).view(B, P)
        last_B1 = torch.full((B, 1), length - 1, device="cuda")
        written_N = table_BP[:, -1] * 16 + 15
        k_GNK, v_GNK = (torch.randn(G, (1 + B * P) * 16, K, **draw) for _ in range(2))
        memory = Memory(k_GNK, v_GNK, Places(written_N, table_BP, written_N, last_B1))
        q_BH1K, k_BG1K = torch.randn(B, G * R, 1, K, **draw), torch.randn(B, G, 1, K, **draw)
        angles = (torch.randn(B, 1, 1, K, **draw), torch.randn(B, 1, 1, K, **draw))
        mask_B11S = torch.ones(B, 1, 1, length, dtype=torch.bool, device="cuda")
        with torch.inference_mode():
            ours = captured(lambda: attend_pages(q_BH1K, k_BG1K, k_BG1K, angles, memory, scale=0.125))  # noqa: B023
            plain = captured(lambda: attend(q_BH1K, *memory.extend(k_BG1K, k_BG1K), mask_B1TS=mask_B11S))  # noqa: B023
        gbyte_per_second = 2 * B * G * length * K * 2 / ours / 1e3
        found[f"{B} x {length}"] = {"ours": round(ours, 1), "gathered": round(plain, 1), "GB/s": round(gbyte_per_second)}
    for B, T in ((64, 128), (4, 2048)):
        q_BHTK, k_BGTK = torch.randn(B, G * R, T, K, **draw), torch.randn(B, G, T, K, **draw)
        mask_B1TS = torch.ones(T, T, dtype=torch.bool, device="cuda").tril().expand(B, 1, T, T)
        shared = partial(functional.scaled_dot_product_attention, q_BHTK, k_BGTK, k_BGTK, mask_B1TS, enable_gqa=True)
        found[f"prompts {B} x {T}"] = {
            name: round(1000 * float(do_bench(way, warmup=20, rep=60, return_mode="median")), 1)  # pyright: ignore
            for name, way in (("shared", shared), ("repeated", partial(repeated, q_BHTK, k_BGTK, mask_B1TS)))
        }
    return found


def repeated(q_BHTK: torch.Tensor, k_BGTK: torch.Tensor, mask_B1TS: torch.Tensor) -> torch.Tensor:
    """Attention with each shared head held several times."""
    k_BHTK = k_BGTK.repeat_interleave(q_BHTK.shape[1] // k_BGTK.shape[1], dim=1)
    return torch.nn.functional.scaled_dot_product_attention(q_BHTK, k_BHTK, k_BHTK, mask_B1TS)


def captured(work: Callable[[], object], times: int = 20) -> float:
    """Microseconds of one of so many in a graph."""
    beside = torch.cuda.Stream()
    with torch.cuda.stream(beside):
        work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(times):
            work()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    seconds = []
    for _ in range(5):
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        seconds.append(start.elapsed_time(end))
    return 1000 * statistics.median(seconds) / times


def peer_of(model: Any, dtype: torch.dtype) -> Any:
    """The same weights in transformers' Llama."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = model.config
    theirs = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=config.vocabulary,
            hidden_size=config.width,
            intermediate_size=config.feed_forward_width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.query_heads,
            num_key_value_heads=config.key_value_heads,
            head_dim=config.head_width,
            max_position_embeddings=config.context_tokens,
            rms_norm_eps=config.norm_epsilon,
            rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
            tie_word_embeddings=config.tied_head,
        )
    )
    theirs.load_state_dict(model.state_dict())
    device: Any = "cuda" if torch.cuda.is_available() else "cpu"
    return theirs.to(device, dtype=dtype).eval()


def generated(theirs: Any, texts: int, seed: int, **how: Any) -> float:
    """transformers' tokens a second."""
    ids_BT = prompts_of(texts, theirs.config.vocab_size, seed).to(theirs.device)
    ways = {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS, "do_sample": True, "top_k": 0, "pad_token_id": 0}
    began = time.perf_counter()
    made = theirs.generate(ids_BT, attention_mask=torch.ones_like(ids_BT), **ways, **how)
    made.cpu()
    return texts * (made.shape[1] - PROMPT_TOKENS) / (time.perf_counter() - began)


def raced(arguments: argparse.Namespace) -> dict[str, Any]:
    """Tokens a second of each, in turns."""
    model, found = model_of(arguments), {}
    theirs = peer_of(model, torch.bfloat16)
    ours = there(model, "bfloat16")
    for texts in TEXTS:
        engines = {
            name: engine_of(ours, slots=texts, graphs=graphs) for name, graphs in (("eager", False), ("graphs", True))
        }
        ways: dict[str, Callable[[int], tuple[float, float]]] = {
            name: lambda seed, engine=engine: run(engine, texts, seed)  # noqa: B023
            for name, engine in engines.items()
        }
        ways["transformers"] = lambda seed: (generated(theirs, texts, seed), 0.0)  # noqa: B023
        told: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for number in range(1 + arguments.rounds):
            for name in sorted(ways, reverse=number % 2 == 1):
                told[name].append(ways[name](1000 * number))
        for name, several in told.items():
            rates, steps = zip(*several[1:], strict=True)  # the first round warms up
            found[f"{name} {texts}"] = {
                "tokens/s": round(statistics.median(rates)),
                "spread": round((max(rates) - min(rates)) / statistics.median(rates), 3),
                **({"ms/step": round(statistics.median(steps), 3)} if any(steps) else {}),
            }
    return found


def sampled(arguments: argparse.Namespace) -> dict[str, float]:
    """Milliseconds of a step of 32 texts by what is asked of sampling."""
    texts = min(32, TEXTS[-1])
    engine, found = engine_of(there(model_of(arguments), "bfloat16"), slots=texts, graphs=True), {}
    asked = {
        "greedy": {"temperature": 0.0},
        "temperature 1": {},
        "top-p 0.95": {"top_p": 0.95},
        "5 alternatives": {"top_logprobs": 5},
        "repetition penalty": {"repetition_penalty": 1.1},
    }
    for name, cuts in asked.items():
        run(engine, texts, 0, **cuts)
        found[name] = round(run(engine, texts, 1000, **cuts)[1], 3)
    return found


def agreement(arguments: argparse.Namespace) -> dict[str, Any]:
    """The largest difference of a log-probability of our greedy tokens, float32, from transformers' and the CPU's."""
    from ropewalk.engine.sampling import Sampling

    model = model_of(arguments)
    theirs, ours = peer_of(model, torch.float32), there(model, "float32")
    prompts = prompts_of(8, model.config.vocabulary, 5).tolist()
    engine = engine_of(ours, slots=8, graphs=True)
    made = engine.generate(prompts, [Sampling(min(64, NEW_TOKENS), temperature=0.0)] * 8)
    found: dict[str, Any] = {"least probable token": min(min(one.logprobs) for one in made)}
    ids_BT = torch.tensor([[*prompt, *one.ids] for prompt, one in zip(prompts, made, strict=True)])
    said_BT = torch.tensor([one.logprobs for one in made])
    answers = slice(PROMPT_TOKENS - 1, -1)
    with torch.inference_mode():
        logits = {
            "transformers": lambda: theirs(ids_BT.to(theirs.device)).logits[:, answers],
            "the CPU": lambda: model.logits(model(ids_BT[:2])[:, answers]),
        }
        for name, judge in logits.items():
            judged_BTV = judge().float().cpu().log_softmax(dim=2)
            rows = len(judged_BTV)
            judged_BT = judged_BTV.gather(2, ids_BT[:rows, PROMPT_TOKENS:, None])[..., 0]
            found[name] = float((judged_BT - said_BT[:rows]).abs().max())
            found[f"{name}, best"] = float((judged_BTV.argmax(2) == ids_BT[:rows, PROMPT_TOKENS:]).float().mean())
    found["met"] = found["transformers"] <= MOST_DIFFERENCE
    return found


def compiled_peer(arguments: argparse.Namespace) -> dict[str, Any]:
    """transformers with its static cache, which it compiles, in a process that may be given up."""
    given = [*(["--model", str(arguments.model)] if arguments.model else []), *(["--small"] if arguments.small else [])]
    command = [sys.executable, __file__, "--static", *given]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=STATIC_SECONDS)
    except subprocess.TimeoutExpired:
        return {"gave up after seconds": STATIC_SECONDS}
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"failed": done.stderr[-800:]}


def static(arguments: argparse.Namespace) -> dict[str, Any]:
    theirs, texts = peer_of(model_of(arguments), torch.bfloat16), min(32, TEXTS[-1])
    rates = [generated(theirs, texts, seed, cache_implementation="static") for seed in range(3)]
    return {f"static cache {texts}": {"first": round(rates[0]), "tokens/s": round(max(rates))}}


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "src"))
    main()
