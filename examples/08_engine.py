"""engine: two continuations of one text, side by side in one batch, each token with how probable it was."""

import sys
from pathlib import Path

from ropewalk.engine.generate import document_prompt
from ropewalk.engine.load import load_engine
from ropewalk.engine.sampling import Sampling

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
engine = load_engine(folder / "base", slots=2)
prompt = document_prompt(engine, "The value of")
samplings = [Sampling(20, temperature=0.7, top_p=0.95, seed=seed) for seed in (0, 1)]
for made in engine.generate([prompt, prompt], samplings):
    print(f"{made.text!r}, ended by {made.finish}, {sum(made.logprobs):.1f} nats")
