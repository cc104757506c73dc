"""model: the folder that others load, and the five tokens that it holds most probable behind a text."""

import sys
from pathlib import Path

import torch

from ropewalk.model.checkpoint import load_model
from ropewalk.tokenizer.encoding import Tokenizer

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples") / "base"
print(sorted(path.name for path in folder.iterdir()))
model, tokenizer = load_model(folder), Tokenizer.load(folder)
print(model.config)
with torch.inference_mode():
    hidden_BTD = model(torch.tensor([tokenizer.encode("The value of")]))
    probabilities_V = model.logits(hidden_BTD[0, -1]).softmax(-1)
for probability, token in zip(*(values.tolist() for values in probabilities_V.topk(5)), strict=True):
    print(f"{probability:.3f} {tokenizer.decode([token])!r}")
