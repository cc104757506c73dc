"""tokenizer: a vocabulary learned from the corpus, the corpus as ids, and a conversation as a model reads it."""

import sys
from pathlib import Path

import ropewalk
from ropewalk.tokenizer.chat import render
from ropewalk.tokenizer.encoding import Tokenizer

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
learned = ropewalk.api.tokenizer(folder / "tokenizer", corpus=folder / "corpus", vocabulary=600)
tokens = ropewalk.api.tokenize(folder / "tokens", corpus=folder / "corpus", tokenizer=folder / "tokenizer")
print(f"{tokens.facts['tokens']:,} tokens of {tokens.facts['bytes_per_token']:.2f} bytes")

tokenizer = Tokenizer.load(learned.path)
ids = tokenizer.encode("The value of an expression")
print([tokenizer.decode([one]) for one in ids])
conversation = render(tokenizer, [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}])
for one, is_learned in zip(conversation.ids, conversation.loss_mask, strict=True):
    print(f"{one:>5} {'learned' if is_learned else '':<8}{tokenizer.decode([one])!r}")
