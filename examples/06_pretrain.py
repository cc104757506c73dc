"""pretrain: a model of one layer reads 20,000 tokens."""

import sys
from pathlib import Path

import ropewalk
from ropewalk.runtime.metrics import read_metrics

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
model = ropewalk.api.pretrain(
    folder / "base",
    tokens=folder / "tokens",
    tokenizer=folder / "tokenizer",
    depth=1,
    context_tokens=64,
    batch_rows=4,
    train_tokens=20_000,
    compile="off",
)
losses = [row["train/loss"] for row in read_metrics(model.path / "logs")]
print(f"{model.facts['parameters']:,} parameters; loss {losses[0]:.2f} -> {losses[-1]:.2f} nats a token")
