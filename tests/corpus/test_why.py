"""What `ropewalk why` says of a page."""

from __future__ import annotations

import pytest

from ropewalk.artifact import Part, open_artifact
from ropewalk.corpus import CorpusOptions, run
from ropewalk.corpus.why import WhyOptions, run_why
from ropewalk.corpus.write import check_accounts


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, prose, html, write_warc):
    folder = tmp_path_factory.mktemp("why")
    good = [(f"http://site/good/{number}", html(prose(number))) for number in range(6)]
    bad = [
        ("http://site/bad/copy", html(prose(3)) + b"<!-- a copy -->"),
        ("http://site/bad/deep", b"<div>" * 5_000 + b"deep"),
        ("http://site/bad/\x1b[2J", html("Too few words.")),
    ]
    warc = write_warc(folder / "pages.warc.gz", [*good, *bad])
    return run(CorpusOptions(pages=warc, workers=1), out=folder / "corpus").path


@pytest.fixture
def why(corpus, capsys):
    def ask(url):
        code = run_why(WhyOptions(corpus, url))
        return capsys.readouterr().out.splitlines(), code

    return ask


def test_a_kept_page_says_where_it_stands_and_which_copies_went(why):
    lines, code = why("http://site/bad/copy")
    assert code == 0
    assert lines[:2] == ["http://site/bad/copy", "    kept, in documents-00000.parquet, to train on"]
    assert "title A page" in lines[2] and "language en" in lines[2]
    assert lines[3] == "    dropped as its copies: http://site/good/3"


def test_a_copy_names_what_it_repeats(why):
    assert why("http://site/good/3")[0][1] == "    dropped at exact_duplicate: it repeats http://site/bad/copy (kept)"


def test_a_dropped_page_says_rule_value_and_threshold(why):
    assert why("http://site/bad/deep")[0][1] == "    dropped at extract: nesting (5000, where at most 512 is wanted)"


def test_another_spelling_finds_the_page(why):
    assert why("HTTP://SITE:80/good/1#top")[0][0] == "http://site/good/1"


def test_an_unknown_address_is_answered_with_others(why):
    lines, code = why("good/")
    assert code == 1
    assert (lines[0], len(lines)) == ("no record has the address good/; 6 hold that text:", 7)
    lines, code = why("http://site/good/25")
    assert code == 1
    assert "    http://site/good/2" in lines and "    http://site/good/3" in lines


def test_no_address_speaks_to_the_terminal(why):
    lines, _ = why("http://site/bad/\x1b[2J")
    assert lines[0] == "http://site/bad/\N{REPLACEMENT CHARACTER}[2J"
    assert not any("\x1b" in line for line in why("bad")[0])


def test_accounts_that_do_not_add_up_stop_the_stage(corpus):
    artifact = open_artifact(corpus)
    check_accounts(Part(corpus), artifact.facts["records"], artifact.facts)
    with pytest.raises(AssertionError, match="10 records read"):
        check_accounts(Part(corpus), artifact.facts["records"] + 1, artifact.facts)
