"""posttrain: the model imitates conversations about sums for a few steps, and is asked one."""

import sys
from pathlib import Path

import ropewalk
from ropewalk.engine.load import load_engine
from ropewalk.engine.sampling import Sampling
from ropewalk.tokenizer.chat import render_prompt

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
sums = ropewalk.api.tasks(folder / "sums", dataset="arithmetic", digits=1, count=60, held_out=10)
talks = ropewalk.api.tokenize(
    folder / "talks", conversations=sums.path / "conversations.jsonl", tokenizer=folder / "tokenizer"
)
taught = ropewalk.api.sft(folder / "sft", model=folder / "base", tokens=talks.path, steps=8, batch_rows=4)
print(f"held-out loss {taught.facts['held_out_loss_before']:.2f} -> {taught.facts['held_out_loss']:.2f} nats a token")

engine = load_engine(taught.path, slots=1)
question = render_prompt(engine.tokenizer, [{"role": "user", "content": "What is 3 + 4?"}])
print("3 + 4 =", repr(engine.generate([question], [Sampling(8, temperature=0)])[0].text))
