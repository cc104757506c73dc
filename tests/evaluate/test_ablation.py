"""What rules are worth: the variants of a corpus, the intervals, and a tiny ablation from end to end."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.corpus.conftest import _html as html
from tests.corpus.conftest import _prose as prose
from tests.corpus.conftest import _write_warc as write_warc

from ropewalk.artifact import open_artifact
from ropewalk.corpus import CorpusOptions, run
from ropewalk.corpus.rules import apply_rules
from ropewalk.evaluate import AblateOptions, ablation, run_ablate
from ropewalk.evaluate.differences import bits_per_byte_difference, t_quantile
from ropewalk.evaluate.variants import read_options, variants
from ropewalk.runtime.errors import ArtifactError, OptionError

OUT = ("raw", "repetition", "language")
TINY = {"seeds": 2, "train_tokens": 3_000, "vocabulary": 300, "depth": 1, "width": 32, "context_tokens": 64, "batch_rows": 2}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Prose of sailors, with its copies, and pages of one line said again and again."""
    folder = tmp_path_factory.mktemp("ablation")
    pages = [(f"http://site/good/{n:02d}", html(prose(n, 12))) for n in range(40)]
    pages += [(f"http://site/copy/{n:02d}", html(prose(n, 12)) + b"<!-- a copy -->") for n in range(40)]
    pages += [(f"http://site/near/{n:02d}", html(prose(n, 12) + " It was so.")) for n in range(40)]
    pages += [(f"http://site/again/{n:02d}", html("\n\n".join([prose(f"again {n}", 1)] * 12))) for n in range(20)]
    options = CorpusOptions(pages=write_warc(folder / "pages.warc.gz", pages), held_out_fraction=0.2, workers=1)
    return run(options, out=folder / "corpus").path


@pytest.fixture(scope="module")
def ablated(corpus) -> Path:
    options = AblateOptions(corpus=corpus, without=OUT, workers=1, **TINY)
    return run_ablate(options, out=corpus.parent / "ablation").path


def test_a_rule_is_on_trial_by_one_variant_each_and_copies_by_none(corpus, ablated):
    figures = json.loads((ablated / "ablation.json").read_text())
    rows = {row["name"]: row for row in figures["variants"]}
    assert list(rows) == ["filtered", "raw", "language", "repetition"]
    assert figures["documents"] == 8  # a fifth of forty
    # Three of each held-out text are kept away from raw; of the corpus the copies went as duplicates or are kept away too.
    assert rows["raw"]["kept_away"] == rows["filtered"]["kept_away"] == 3 * 8
    assert rows["filtered"]["documents"] == 32
    assert rows["raw"]["documents"] == 3 * 32 + 20
    assert rows["repetition"]["documents"] == 32 + 20
    assert 2 * 300 * 32 < figures["parameters"] < 40_000
    for row in rows.values():
        assert len(row["bits_per_byte"]) == 2 and row["mean"] == pytest.approx(np.mean(row["bits_per_byte"]), abs=1e-5)
        assert row["difference"]["low"] <= row["difference"]["mean"] <= row["difference"]["high"]
        assert row["difference"]["mean"] == pytest.approx(row["mean"] - rows["filtered"]["mean"], abs=2e-5)
        assert 1 < row["mean"] < 9 and row["epochs"] == pytest.approx(3_000 / row["tokens"], rel=0.2)
    assert rows["language"]["difference"] == {"mean": 0, "low": 0, "high": 0}  # all pages are English: the same corpus
    assert "language" in figures["not_shown"]
    page = (ablated / "index.html").read_text()
    assert "Not shown to help here" in page and "<svg" in page and "<script" not in page


def test_it_resumes_where_it_was_stopped(corpus, ablated, monkeypatch, capsys):
    options = AblateOptions(corpus=corpus, without=OUT, workers=1, **TINY)
    out = corpus.parent / "stopped"
    trained, real = [], ablation.run_pretrain

    def stop_at_the_fourth(chosen, *, out):
        trained.append(out)
        if len(trained) == 4:
            raise KeyboardInterrupt
        return real(chosen, out=out)

    monkeypatch.setattr(ablation, "run_pretrain", stop_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        run_ablate(options, out=out)
    made = list(out.with_name("stopped.part").glob("scratch/*/*/manifest.json"))
    assert len(made) == 4 + 2 + 3  # four corpora, of two the tokens, three models
    monkeypatch.setattr(ablation, "run_pretrain", real)
    capsys.readouterr()
    artifact = run_ablate(options, out=out)
    # Beside those the tokenizer and the measured documents stand. What has the corpus of another variant is not made at all.
    assert capsys.readouterr().err.count("already made") == len(made) + 2
    assert (artifact.path / "ablation.json").read_bytes() == (ablated / "ablation.json").read_bytes()


def test_every_rule_that_a_corpus_has_gets_a_variant(tmp_path):
    options = CorpusOptions(pages="p", rules="fineweb", url_lists=tmp_path, classifier=tmp_path, passage_words=50)
    found = {one.name: one.options for one in variants(options)}
    assert list(found) == (
        "filtered raw url language repetition quality c4 fineweb relevance exact_duplicate near_duplicate repeats".split()
    )
    assert found["filtered"] == options
    assert found["c4"] == replace(options, leave_out=("c4",))
    assert found["raw"].rules == "none" and found["raw"].leave_out == ("exact_duplicate",)
    assert (found["raw"].languages, found["raw"].classifier, found["raw"].url_lists) == ((), None, None)
    few = CorpusOptions(pages="p", rules="none", languages=(), near_duplicates=False, leave_out=("exact_duplicate",))
    assert [one.name for one in variants(few)] == ["filtered", "raw"]


def test_what_cannot_be_tried_is_refused(corpus, tmp_path):
    with pytest.raises(OptionError, match="has no 'c4' to leave out; it has raw, language, repetition"):
        run_ablate(AblateOptions(corpus=corpus, without=("c4",)), out=tmp_path / "ablation")
    with pytest.raises(OptionError, match="multiple of 32"):
        run_ablate(AblateOptions(corpus=corpus, width=100), out=tmp_path / "ablation")
    assert read_options(open_artifact(corpus)).min_words == 50
    warc = write_warc(tmp_path / "pages.warc.gz", [(f"http://site/{n}", html(prose(n))) for n in range(3)])
    other = run(CorpusOptions(pages=warc, workers=1), out=tmp_path / "corpus")
    write_warc(tmp_path / "pages.warc.gz", [("http://site/1", html(prose(1)))])
    with pytest.raises(ArtifactError, match="make the corpus anew"):
        read_options(other)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """Documents of different lengths with effects of their own, three seeds: 95 in 100, or a little more."""
    rng, hits, of = np.random.default_rng(0), 0, 400
    for _ in range(of):
        bytes_d = rng.integers(500, 3_000, size=60)
        effect = 0.02 + rng.normal(0, 0.02, size=60) + rng.normal(0, 0.01, size=(3, 1)) + rng.normal(0, 0.01, size=(3, 60))
        other = rng.random((3, 60)) * bytes_d
        found = bits_per_byte_difference(other + effect * bytes_d * math.log(2), other, bytes_d)
        hits += found.low <= 0.02 <= found.high
    assert 0.93 <= hits / of <= 1.0


def test_the_difference_by_hand():
    nats, other = np.array([[2.0, 4.0], [4.0, 6.0]]), np.array([[1.0, 1.0], [1.0, 1.0]])
    found = bits_per_byte_difference(nats, other, np.array([10, 30]))
    assert found.mean == pytest.approx((1 + 3 + 3 + 5) / 2 / 40 / math.log(2))
    of_seeds = ((8 - 4) / 40 / math.log(2)) ** 2 / 2 / 2
    of_documents = 2 * ((2 - 1.5) / math.log(2)) ** 2 * 2 / 1 / 40**2
    freedom = (of_seeds + of_documents) ** 2 / (of_seeds**2 + of_documents**2)
    assert found.high - found.mean == pytest.approx(t_quantile(freedom) * math.sqrt(of_seeds + of_documents))
    assert [round(t_quantile(freedom), 3) for freedom in (1, 2, 10, 1e4)] == [12.706, 4.303, 2.228, 1.96]


def test_rules_that_are_left_out_are_not_asked():
    """A text that fails a group's rule fails no rule of that group once it is left out."""
    broken = {
        "repetition": ("gopher_", "\n\n".join([prose("again", 1)] * 12)),
        "quality": ("gopher_", prose(1).replace("the ", "this ").replace(" and ", " plus ")),
        "c4": ("c4_", prose(2) + "\n\nA { stands here and here."),
    }
    for group, (prefix, text) in broken.items():
        asked, spared = (
            apply_rules(text, "en", CorpusOptions(pages="unused", rules="fineweb", leave_out=left_out))[1]
            for left_out in ((), (group,))
        )
        assert asked is not None and asked.rule.startswith(prefix)
        assert spared is None or spared.rule != asked.rule
