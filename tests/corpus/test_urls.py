import random

import pytest

from ropewalk.corpus import CorpusOptions, run
from ropewalk.corpus.reading import read_ledger
from ropewalk.corpus.urls import load_url_lists
from ropewalk.runtime.errors import InputError

LISTS = {
    "extra_domains": ("domains", ["bad.com", "# a comment", "sub.mixed.org", "evil.co.uk"]),
    "extra_urls": ("urls", ["http://fine.org/one/page", "https://fine.org/?q=1"]),
    "banned_words": ("banned_words.txt", ["casino", "x-rated"]),
    "soft_banned_words": ("soft_banned_words.txt", ["poker", "bet", "slots"]),
    "banned_subwords": ("banned_subwords.txt", ["free-pills"]),
}


@pytest.fixture
def lists(tmp_path):
    folder = tmp_path / "lists"
    folder.mkdir()
    for name, lines in LISTS.values():
        (folder / name).write_text("\n".join([*lines, ""]), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://bad.com/", "blocked_domain"),
        ("https://www.BAD.com:8080/page", "blocked_domain"),
        ("http://notbad.com/", None),
        ("http://mixed.org/", None),
        ("http://a.sub.mixed.org/", "blocked_domain"),
        ("http://fine.org/one/page", "blocked_url"),
        ("http://fine.org/one/page/", None),
        ("http://fine.org/casino-night", "banned_word"),
        ("http://fine.org/casinos", None),
        ("http://fine.org/poker/poker", None),
        ("http://bet.org/poker", "soft_banned_words"),
        ("http://fine.org/free/pills", "banned_subword"),
        ("", None),
        ("no address [at] all", None),
    ],
)
def test_reasons(lists, url, reason):
    assert load_url_lists(lists).reason(url) == reason


def test_blocked_pages_stand_in_the_ledger(tmp_path, lists, prose, html, write_warc):
    (lists / "banned_subwords.txt").unlink()
    urls = ["http://fine.org/a", "http://bad.com/b", "http://fine.org/casino"]
    warc = write_warc(tmp_path / "pages.warc.gz", [(url, html(prose(url))) for url in urls])
    artifact = run(CorpusOptions(pages=warc, url_lists=lists, workers=1), out=tmp_path / "corpus")
    rows = {row["url"]: (row["stage"], row["reason"], row["characters"]) for row in read_ledger(artifact.path).to_pylist()}
    assert rows["http://bad.com/b"] == ("url", "blocked_domain", 0)
    assert rows["http://fine.org/casino"] == ("url", "banned_word", 0)
    assert rows["http://fine.org/a"][0] == "kept" and artifact.facts["funnel"][1] == {
        "stage": "url",
        "documents": 1,
        "bytes": len(html(prose(urls[0]))),
    }


def test_an_empty_folder_is_no_list(tmp_path):
    with pytest.raises(InputError, match="holds no list of URLs"):
        load_url_lists(tmp_path)


def test_many_domains_are_held_in_eight_bytes_each(tmp_path):
    (tmp_path / "domains").write_text("\n".join(f"site{number}.example" for number in range(200_000)), encoding="utf-8")
    lists = load_url_lists(tmp_path)
    assert lists.domains.nbytes == 1_600_000
    assert (
        lists.reason("http://www.site199999.example/") == "blocked_domain"
        and lists.reason("http://site200000.example/") is None
    )


@pytest.mark.peer
def test_decisions_are_datatrove_s(peer, lists):
    reasons = {
        "blocked_domain": ("domain", "subdomain"),
        "blocked_url": ("url",),
        "banned_word": ("hard_blacklisted",),
        "soft_banned_words": ("soft_blacklisted",),
        "banned_subword": ("blacklisted_subword",),
        None: (None,),
    }
    chance = random.Random(6)
    hosts = [
        "bad.com",
        "www.bad.com",
        "fine.org",
        "mixed.org",
        "sub.mixed.org",
        "evil.co.uk",
        "www.evil.co.uk",
        "co.uk",
        "poker.de",
    ]
    words = ["casino", "Casino", "x", "rated", "xrated", "poker", "bet", "slots", "free", "pills", "one", "page", "b", "q"]
    urls = [
        f"http://{chance.choice(hosts)}/"
        + "".join(chance.choice(words) + chance.choice("/-_.=?&") for _ in range(chance.randint(0, 5)))
        for _ in range(3_000)
    ]
    given = {name: lines for name, (_, lines) in LISTS.items()}
    known = load_url_lists(lists)
    for url, theirs in zip(urls, peer("urls", [given, urls]), strict=True):
        assert theirs in reasons[known.reason(url)], url
