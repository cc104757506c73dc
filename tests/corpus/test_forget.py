"""A corpus rebuilt without some pages is the corpus that never had them, and so is a model made of it."""

from __future__ import annotations

import json

import pytest

from ropewalk.artifact import verify
from ropewalk.corpus import CorpusOptions, run
from ropewalk.corpus.forget import read_forgotten
from ropewalk.corpus.reading import read_ledger
from ropewalk.posttrain import SftOptions, run_sft
from ropewalk.pretrain import PretrainOptions
from ropewalk.pretrain import run as run_pretrain
from ropewalk.runtime.errors import InputError
from ropewalk.tokenizer import TokenizeOptions, TokenizerOptions, run_tokenize, run_tokenizer


@pytest.fixture
def forget(tmp_path):
    def write(text):
        path = tmp_path / "forget.txt"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def contents(artifact):
    """The files but the ledger, by their hashes, and the ledger's rows."""
    files = {name: entry["sha256"] for name, entry in artifact.manifest["files"].items() if "ledger" not in name}
    return files, read_ledger(artifact.path).to_pylist()


def test_forgetting_gives_the_corpus_that_never_had_the_pages(tmp_path, prose, html, write_warc, forget, capfd):
    pages = [(f"http://site/{folder}/{number}", html(prose(number))) for folder in "abc" for number in range(8)]
    pages += [("http://site/empty", b"")]
    whole = write_warc(tmp_path / "whole.warc.gz", pages)
    gone = {"http://site/a/3", "http://site/a/4", "http://site/empty", *(f"http://site/b/{number}" for number in range(8))}
    rest = write_warc(tmp_path / "rest.warc.gz", [page for page in pages if page[0] not in gone])
    lines = "# why\n\nhttp://site/a/3\r\nHTTP://Site:80/a/4#part\nhttp://site/b/*\nhttp://site/empty\nhttp://site/a/33\n"
    options = CorpusOptions(pages=whole, forget=forget(lines), held_out_fraction=0.2, workers=1)
    with_forget = run(options, out=tmp_path / "forgotten")
    never_had = run(CorpusOptions(pages=rest, held_out_fraction=0.2, workers=1), out=tmp_path / "never")
    files, rows = contents(with_forget)
    assert files == contents(never_had)[0]
    assert [row for row in rows if row["url"] not in gone] == contents(never_had)[1]
    assert {row["url"]: (row["stage"], row["reason"], row["characters"]) for row in rows if row["url"] in gone} == (
        dict.fromkeys(gone, ("rights", "forgotten", 0))
    )
    assert with_forget.facts["forgotten"] == {"pages": 11, "lines": 5, "lines_without_page": 1}
    assert "1 of 5 lines to forget name no page here" in capfd.readouterr().err
    # Its copy was dropped before: once the first of them is forgotten, the next one stands for it.
    kept = [row["url"] for row in rows if row["stage"] == "kept"]
    assert "http://site/c/3" in kept and "http://site/c/5" not in kept and "http://site/a/5" in kept


def line_from(corpus, home):
    """All that is made of a corpus, to a model that answers, by name."""
    said = [{"role": "user", "content": "Who is old?"}, {"role": "assistant", "content": "The captain."}]
    (home / "said.jsonl").write_text((json.dumps({"messages": said}) + "\n") * 20)
    made = {"tokenizer": run_tokenizer(TokenizerOptions(corpus=corpus.path, vocabulary=400), out=home / "tokenizer")}
    with_it = {"tokenizer": made["tokenizer"].path, "workers": 1}
    made["tokens"] = run_tokenize(TokenizeOptions(corpus=corpus.path, **with_it), out=home / "tokens")
    talk = run_tokenize(TokenizeOptions(conversations=home / "said.jsonl", **with_it), out=home / "talk")
    shape = {"depth": 1, "context_tokens": 64, "batch_rows": 4, "train_tokens": 6_000, "compile": "off"}
    reading = PretrainOptions(tokens=made["tokens"].path, tokenizer=made["tokenizer"].path, evaluate_documents=1, **shape)
    made["base"] = run_pretrain(reading, out=home / "base")
    answering = SftOptions(model=made["base"].path, tokens=talk.path, steps=4, batch_rows=2, compile="off")
    made["model"] = run_sft(answering, out=home / "model")
    return made


def test_a_model_made_anew_is_bit_for_bit_the_one_that_never_read_the_pages(tmp_path, prose, html, write_warc, forget):
    pages = [(f"http://site/{number}", html(prose(number))) for number in range(12)]
    whole = write_warc(tmp_path / "whole.warc.gz", pages)
    rest = write_warc(
        tmp_path / "rest.warc.gz", [page for page in pages if page[0] not in ("http://site/3", "http://site/7")]
    )
    forgotten = forget("http://site/3\nhttp://site/7\n")
    sources = {"had": (whole, None), "forgot": (whole, forgotten), "never_had": (rest, None)}
    made = {}
    for name, (source, file) in sources.items():
        options = CorpusOptions(pages=source, forget=file, held_out_fraction=0.2, workers=1)
        home = tmp_path / name
        home.mkdir()
        made[name] = line_from(run(options, out=home / "corpus"), home)
    for name, artifact in made["forgot"].items():
        assert artifact.digest == made["never_had"][name].digest != made["had"][name].digest, name
        assert verify(artifact.path) == []


def test_lines_that_name_too_much_or_nothing_readable(tmp_path, forget):
    with pytest.raises(InputError, match="line 2 names every page"):
        run(CorpusOptions(pages=tmp_path, forget=forget("http://site/\n*\n")), out=tmp_path.with_name("corpus"))
    (tmp_path / "latin").write_bytes(b"http://site/caf\xe9")
    with pytest.raises(InputError, match="not UTF-8"):
        read_forgotten(tmp_path / "latin")
    with pytest.raises(InputError, match="is not a file"):
        read_forgotten(tmp_path)
