"""TRL's part of bench/posttrain.py in a process of its own: its trainers, which wait before a step until they are asked.

    python bench/posttrain_peer.py JOB plain|tuned FOLDER

Speaks as posttrain_worker.py does.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
from posttrain_worker import ADAMW_RATE, Clock, close, peak_mb, right

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
Reward = Callable[[str, int], float]


def main() -> None:
    import transformers

    transformers.utils.logging.set_verbosity_error()
    job, tuned, folder = sys.argv[1], sys.argv[2] == "tuned", Path(sys.argv[3])
    clock = Clock()
    with tempfile.TemporaryDirectory() as out:
        trainer = MAKERS[job](folder, settings(out), tuned)
        generate = getattr(trainer, "_generate", None)
        if generate is not None:
            trainer._generate = timed(generate, clock)
        trainer.add_callback(on_demand(trainer, clock))
        trainer.train()


def settings(out: str) -> dict[str, Any]:
    return {
        "output_dir": out, "use_cpu": True, "bf16": False, "gradient_checkpointing": False, "report_to": "none",
        "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True, "max_steps": 10_000,
        "learning_rate": ADAMW_RATE, "lr_scheduler_type": "constant", "dataloader_pin_memory": False,
    }  # fmt: skip


def timed(work: Callable[..., Any], clock: Clock) -> Callable[..., Any]:
    def inner(*arguments: Any) -> Any:
        with clock.part("generation"):
            return work(*arguments)

    return inner


def on_demand(trainer: Any, clock: Clock) -> Any:
    """A callback that waits for a number on stdin before that many steps, and then tells what they took."""
    import transformers

    class OnDemand(transformers.TrainerCallback):
        left, tokens, began, moved = 0, 0, 0.0, 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            print(json.dumps({"ready": True}), flush=True)

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            if self.left == 0:
                line = sys.stdin.readline()
                if not line:
                    sys.exit()
                self.left, self.tokens = int(line), read_tokens(trainer)
            self.began = time.perf_counter()

        def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
            self.moved = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.seconds["optimizer"] += time.perf_counter() - self.moved
            clock.seconds["forward and backward"] += self.moved - self.began
            self.left -= 1
            if self.left == 0:
                seconds = clock.taken()
                seconds["forward and backward"] -= seconds.get("generation", 0.0)
                tokens = read_tokens(trainer) - self.tokens
                print(json.dumps({"seconds": seconds, "tokens": tokens, "peak_mb": peak_mb()}), flush=True)

    return OnDemand()


def read_tokens(trainer: Any) -> int:
    return int(getattr(trainer, "_total_train_tokens", trainer.state.num_input_tokens_seen))


def loaded(folder: Path) -> tuple[Any, Any]:
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    return model, transformers.AutoTokenizer.from_pretrained(folder / "model")


def rows_of(folder: Path, name: str) -> list[dict[str, Any]]:
    with (folder / f"{name}.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def sft(folder: Path, common: dict[str, Any], tuned: bool) -> Any:
    """The ids and labels that `ropewalk tokenize` made."""
    import numpy as np
    import trl
    from datasets import Dataset

    from ropewalk.tokenizer.shards import TokenReader

    reader, rows = TokenReader(folder / "tokens"), []
    for document in reader.documents:
        where = int(document["first_token"]), int(document["tokens"])
        ids = reader.read(*where).astype(np.int64)
        rows.append({"input_ids": ids.tolist(), "labels": np.where(reader.read_mask(*where), ids, -100).tolist()})
    model, tokenizer = loaded(folder)
    config = trl.SFTConfig(**common, per_device_train_batch_size=8, padding_free=tuned, max_length=None)
    return trl.SFTTrainer(model, config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)


def dpo(folder: Path, common: dict[str, Any], tuned: bool) -> Any:
    import trl
    from datasets import Dataset

    model, tokenizer = loaded(folder)
    config = trl.DPOConfig(**common, per_device_train_batch_size=4, precompute_ref_log_probs=tuned)
    pairs = Dataset.from_list(rows_of(folder, "pairs"))
    return trl.DPOTrainer(model, args=config, train_dataset=pairs, processing_class=tokenizer)


def grpo(folder: Path, common: dict[str, Any], tuned: bool, reward: Reward = right) -> Any:
    import trl
    from datasets import Dataset

    def rewards(completions: list[Any], expected: list[int], **_: Any) -> list[float]:
        return [reward(made[0]["content"], one) for made, one in zip(completions, expected, strict=True)]

    model, tokenizer = loaded(folder)
    sums = [{"prompt": row["messages"], "expected": int(row["accept"][0])} for row in rows_of(folder, "sums")]
    config = trl.GRPOConfig(**common, per_device_train_batch_size=16, num_generations=4, max_completion_length=48)
    return trl.GRPOTrainer(model, rewards, config, train_dataset=Dataset.from_list(sums), processing_class=tokenizer)


MAKERS = {
    "sft": sft,
    "dpo": dpo,
    "grpo": grpo,
    "grpo, close": lambda folder, common, tuned: grpo(folder, common, tuned, close),
}


if __name__ == "__main__":
    main()
