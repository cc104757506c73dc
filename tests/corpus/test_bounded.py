"""With room for a few rows at a time the same corpus comes out as with room for all of them."""

from __future__ import annotations

import random

import polars as pl
import pytest

from ropewalk.corpus import CorpusOptions, order, run, write
from ropewalk.corpus.order import SCHEMA, sort_rows
from ropewalk.corpus.spill import Spill


@pytest.fixture
def cramped(monkeypatch):
    """Room for very little."""
    monkeypatch.setitem(sort_rows.__kwdefaults__, "run_rows", 20)
    monkeypatch.setitem(order.blocks.__kwdefaults__, "rows", 10)
    monkeypatch.setitem(Spill.__init__.__kwdefaults__, "file_records", 16)
    monkeypatch.setattr(order, "SAMPLED_ROWS", 3)
    monkeypatch.setattr(write, "FILE_TEXT_BYTES", 20_000)
    monkeypatch.setattr(write, "LEDGER_ROWS", 30)


def random_rows(seed: int, count: int) -> pl.DataFrame:
    """Rows with few URLs and pages, so that all columns of the order are needed."""
    chance = random.Random(seed)
    columns = {
        pl.String: lambda: chance.choice(["", "a", "b", "é", "http://x", "http://y", None]),
        pl.Int64: lambda: chance.randrange(3),
        pl.Float64: lambda: chance.choice([None, 0.5]),
        pl.Date: lambda: None,
    }
    return pl.DataFrame(
        {name: [columns[kind]() for _ in range(count)] for name, kind in SCHEMA.items()}, schema=SCHEMA
    ).with_columns(url=pl.Series([f"http://{chance.randrange(40)}/{chance.choice('aéz')}" for _ in range(count)]))


@pytest.mark.parametrize(("run_rows", "fan_out"), [(7, 64), (7, 3), (50, 64), (50, 2), (1_000, 64)])
def test_rows_come_out_as_from_one_sort(tmp_path, monkeypatch, run_rows, fan_out):
    monkeypatch.setattr(order, "SAMPLED_ROWS", 3)
    monkeypatch.setattr(order, "FAN_OUT", fan_out)
    rows = random_rows(run_rows, 300)
    batches = []
    for start in range(0, 300, 11):
        batches.append(tmp_path / f"batch-{start:03d}.parquet")
        rows.slice(start, 11).with_columns(text=pl.lit("not read")).write_parquet(batches[-1])
    paths = sort_rows(batches, tmp_path / "order", run_rows=run_rows)
    assert (len(paths) > 3) == (run_rows < 300)
    expected = rows.with_row_index("at").sort(order.ORDER, maintain_order=True)
    found = pl.concat([pl.read_parquet(path) for path in paths])
    assert found["at"].to_list() == expected["at"].to_list()
    assert found.drop("at").equals(expected.drop("at"))
    assert sorted((tmp_path / "order").iterdir()) == paths


def test_a_corpus_does_not_depend_on_the_room(tmp_path, prose, html, write_warc, request):
    pages = [(f"http://site/{number % 70:03d}", html(prose(number % 90, 12 + number % 9))) for number in range(160)]
    pages += [(f"http://site/few/{number}", html("Too few words.")) for number in range(9)]
    warc = write_warc(tmp_path / "pages.warc.gz", random.Random(1).sample(pages, len(pages)))
    (tmp_path / "forget.txt").write_text("http://site/01*\nhttp://site/033\nhttp://site/gone\n")
    (tmp_path / "evaluation.txt").write_text("\n".join(prose(number, 1) for number in range(0, 90, 9)))
    options = CorpusOptions(
        pages=warc,
        workers=1,
        max_line_documents=100,
        passage_words=30,
        forget=tmp_path / "forget.txt",
        decontaminate=tmp_path / "evaluation.txt",
        decontaminate_by="cut",
    )
    roomy = run(options, out=tmp_path / "roomy")
    request.getfixturevalue("cramped")
    close = run(options, out=tmp_path / "close")
    assert len(list(close.path.glob("ledger-*"))) == 6
    assert len(list(close.path.glob("documents-*"))) > 4
    for name in ("documents", "ledger"):
        assert pl.read_parquet(close.path / f"{name}-*.parquet").equals(pl.read_parquet(roomy.path / f"{name}-*.parquet"))
    assert (close.path / "samples.jsonl").read_bytes() == (roomy.path / "samples.jsonl").read_bytes()
    assert close.facts == roomy.facts
    assert roomy.facts["forgotten"]["pages"] > 20 and roomy.facts["forgotten"]["lines_without_page"] == 1
    assert roomy.facts["contamination"]["evaluation.txt"]["pages"] > 10
    assert roomy.facts["dropped"]["exact_duplicate"] > 40
