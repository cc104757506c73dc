"""trace: which training pages a text repeats word for word."""

import sys
from pathlib import Path

import ropewalk
from ropewalk.corpus.reading import read_documents
from ropewalk.trace.index import Index

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
made = ropewalk.api.index(folder / "index", corpus=folder / "corpus", tokens=folder / "tokens")
text = next(iter(read_documents(folder / "corpus", columns=("text",))))["text"][0].as_py()
with Index.open(made.path) as index:
    for span in index.spans(f"Somebody said: {text[200:400]}"):
        print(f"{span.tokens} tokens, characters {span.start} to {span.end}, {span.occurrences} times in the pages:")
        for page in span.pages:
            print("   ", page.url, page.start, page.end)
