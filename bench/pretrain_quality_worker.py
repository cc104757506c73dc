"""A contestant of bench/pretrain_quality.py in a process of its own: it trains on a corpus whenever it is asked to.

    python bench/pretrain_quality_worker.py CONTESTANT '{"tokens": ..., "depth": 4, ...}'

Each line on its input is a run, {"seed": 0, "factor": 1.0, "steps": 400}; the answer is its held-out bits per byte, a
[step, bits] for each time it was looked at. A number instead lets it take that many steps. nanochat must be on PYTHONPATH.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

LOOKS = 20
HELD_OUT_ROWS = 32
WARM_UP_STEPS = 40
WARM_DOWN_FRACTION = 0.65


class Contestant(Protocol):
    """A model and its optimizer; `begin` starts a run of both."""

    def begin(self, *, seed: int, factor: float, steps: int) -> None: ...

    def learn(self, step: int, ids_BT: Tensor, targets_BT: Tensor) -> None: ...

    def losses(self, ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """Nats (B, T), with no gradient."""
        ...


def main() -> None:
    name, shape = sys.argv[1], json.loads(sys.argv[2])
    torch.manual_seed(0)
    contestant: Contestant = CONTESTANTS[name](shape)
    corpus = Corpus(shape)
    print(json.dumps({"ready": name}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if isinstance(asked, int):
            for step in range(asked):
                contestant.learn(step, *corpus.batch(0, step))
            print(json.dumps({"steps": asked}), flush=True)
            continue
        contestant.begin(**asked)
        looks = {round(asked["steps"] * part / LOOKS) for part in range(1, LOOKS + 1)}
        curve = []
        for step in range(asked["steps"]):
            contestant.learn(step, *corpus.batch(asked["seed"], step))
            if step + 1 in looks:
                curve.append([step + 1, corpus.bits_per_byte(contestant.losses)])
        print(json.dumps({"curve": curve}), flush=True)


class Corpus:
    """What both read, and what both are judged by: rows of a tokens artifact in our reading order, and held-out rows."""

    def __init__(self, shape: Mapping[str, Any]) -> None:
        from ropewalk.pretrain.held_out import held_out_rows
        from ropewalk.tokenizer.encoding import Tokenizer
        from ropewalk.tokenizer.order import ReadingOrder
        from ropewalk.tokenizer.shards import TokenReader

        self.reader = TokenReader(Path(shape["tokens"]))
        self._order = {
            seed: ReadingOrder(self.reader, seed=seed, rows=shape["rows"], context_tokens=shape["context"])
            for seed in range(shape["seeds"])
        }
        self.bytes_per_token = torch.from_numpy(Tokenizer.load(Path(shape["tokenizer"])).bytes_per_token.astype(np.int64))
        documents = (self.reader.documents[row] for row in held_out_rows(self.reader))
        held_out = np.concatenate([self.reader.read(int(one["first_token"]), int(one["tokens"])) for one in documents])
        length = shape["context"] + 1
        rows = len(held_out) // length
        every = max(1, rows // HELD_OUT_ROWS)
        self._held_out = torch.from_numpy(held_out[: rows * length].reshape(rows, length)[::every].astype(np.int64))
        self._at_once = shape["rows"]

    def batch(self, seed: int, step: int) -> tuple[Tensor, Tensor]:
        batch = self._order[seed].batch(step)
        return torch.from_numpy(batch.ids_BT.astype(np.int64)), torch.from_numpy(batch.targets_BT.astype(np.int64))

    def bits_per_byte(self, losses: Callable[[Tensor, Tensor], Tensor]) -> float:
        nats = text_bytes = 0.0
        for rows_BT in self._held_out.split(self._at_once):
            if len(rows_BT) < self._at_once:
                break  # one shape of input only
            targets_BT = rows_BT[:, 1:].contiguous()
            lengths_BT = self.bytes_per_token[targets_BT]
            nats += (losses(rows_BT[:, :-1].contiguous(), targets_BT) * (lengths_BT > 0)).sum().item()
            text_bytes += lengths_BT.sum().item()
        return nats / math.log(2) / text_bytes


class Ropewalk:
    """What `ropewalk pretrain --preset speed` puts together, its rates as the dial has them but for `factor`."""

    def __init__(self, shape: Mapping[str, Any]) -> None:
        from ropewalk.model.config import speed
        from ropewalk.model.transformer import Transformer
        from ropewalk.pretrain.loop import compile_blocks

        self.model = Transformer(
            speed(
                depth=shape["depth"],
                vocabulary=shape["vocabulary"],
                context_tokens=shape["context"],
                width=shape["width"],
            )
        )
        compile_blocks(self.model)

    def begin(self, *, seed: int, factor: float, steps: int) -> None:
        from ropewalk.pretrain.dial import turn
        from ropewalk.pretrain.optimizer import LearningRates, Optimizer
        from ropewalk.pretrain.schedule import Schedule

        self.model.initialize(seed)
        dial = turn(self.model.config, {})
        rates = (dial.matrix_rate, dial.embedding_rate, dial.head_rate, dial.norm_rate)
        self.optimizer = Optimizer(
            self.model, LearningRates(*(factor * rate for rate in rates)), weight_decay=dial.weight_decay
        )
        self.schedule = Schedule(steps, warm_up_steps=WARM_UP_STEPS, warm_down_fraction=WARM_DOWN_FRACTION)

    def learn(self, step: int, ids_BT: Tensor, targets_BT: Tensor) -> None:
        from ropewalk.model.rows import Rows
        from ropewalk.pretrain.loop import learn_rows

        learned = np.ones(ids_BT.shape, dtype=bool)
        learn_rows(self.model, Rows(ids_BT.numpy(), targets_BT.numpy(), learned))
        fraction, momentum = self.schedule.rate_fraction(step), self.schedule.momentum(step)
        self.optimizer.step(rate_fraction=fraction, momentum=momentum)

    @torch.no_grad()
    def losses(self, ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
        hidden_ND = self.model(ids_BT).flatten(0, 1)
        _, losses_N = self.model.loss(hidden_ND, targets_BT.flatten(), torch.ones(targets_BT.numel()))
        return losses_N.view(targets_BT.shape)


class Nanochat:
    """nanochat's model and optimizer with the schedules of its base_train.py.

    `factor` is of the rates that it sets for steps of half a million tokens; its own rule for a step of N tokens is the root
    of N / 524,288. Its weight decay follows from the rate and the length of the run, as its rule has it.
    """

    BATCH_TOKENS, RATES = 2**19, {"unembedding_lr": 0.008, "embedding_lr": 0.3, "scalar_lr": 0.5, "matrix_lr": 0.02}
    WEIGHT_DECAY, TOKENS_PER_PARAMETER = 0.28, 12

    def __init__(self, shape: Mapping[str, Any]) -> None:
        self.step_tokens = shape["rows"] * shape["context"]
        self.model = self._of(shape, shape["depth"], shape["width"], "cpu")
        self.compiled = torch.compile(self.model, dynamic=False)
        reference = self._of(shape, 12, 768, "meta").num_scaling_params()
        self.reference_tokens = self.TOKENS_PER_PARAMETER * (reference["transformer_matrices"] + reference["lm_head"])

    def _of(self, shape: Mapping[str, Any], depth: int, width: int, device: str) -> Any:
        from nanochat.gpt import GPT, GPTConfig

        config = GPTConfig(
            sequence_len=shape["context"],
            vocab_size=shape["vocabulary"],
            n_layer=depth,
            n_head=width // 64,
            n_kv_head=width // 64,
            n_embd=width,
            window_pattern="L",
        )
        with torch.device("meta"):
            model = GPT(config)
        return model.to_empty(device=device) if device != "meta" else model

    def begin(self, *, seed: int, factor: float, steps: int) -> None:
        torch.manual_seed(seed)
        self.model.init_weights()
        self.steps = steps
        self.decay = self.WEIGHT_DECAY * (self.step_tokens / self.BATCH_TOKENS) / factor
        self.decay *= self.reference_tokens / (steps * self.step_tokens)
        rates = {name: factor * rate for name, rate in self.RATES.items()}
        self.optimizer = self.model.setup_optimizer(**rates, weight_decay=self.decay)

    def learn(self, step: int, ids_BT: Tensor, targets_BT: Tensor) -> None:
        self.compiled(ids_BT, targets_BT).backward()
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self._rate_fraction(step)
            if group["kind"] == "muon":
                group["momentum"] = self._momentum(step)
                group["weight_decay"] = self.decay * 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.steps)))
        self.optimizer.step()
        self.model.zero_grad(set_to_none=True)

    def _rate_fraction(self, step: int) -> float:
        left = min(1.0, max(0.0, (self.steps - step) / round(WARM_DOWN_FRACTION * self.steps)))
        return min(1.0, (step + 1) / WARM_UP_STEPS) if step < WARM_UP_STEPS else left + 0.05 * (1 - left)

    def _momentum(self, step: int) -> float:
        start = self.steps - round(WARM_DOWN_FRACTION * self.steps)
        if step < 400:
            return 0.85 + 0.12 * step / 400
        return 0.97 - 0.07 * max(0.0, (step - start) / (self.steps - start))

    @torch.no_grad()
    def losses(self, ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
        return self.model(ids_BT, targets_BT, loss_reduction="none").view(targets_BT.shape)


CONTESTANTS: dict[str, Callable[[Mapping[str, Any]], Contestant]] = {"ropewalk": Ropewalk, "nanochat": Nanochat}


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
    main()
