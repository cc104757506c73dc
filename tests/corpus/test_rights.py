"""Marks about a page's use: read from headers and HTML, recorded, obeyed where asked, whatever the HTML."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from ropewalk.corpus import CorpusOptions, run
from ropewalk.corpus.reading import read_documents, read_ledger
from ropewalk.corpus.rights import READ_CHARACTERS, Rights, read_rights
from ropewalk.crawl.warc import encode_response

URL = "http://site/a/page"
BY = "https://creativecommons.org/licenses/by/4.0/"


@pytest.mark.parametrize(
    ("html", "signals"),
    [
        ('<meta name="ROBOTS" content="NoAI, noimageai">', ("noai", "noimageai")),
        ("<meta content='none' name=robots>", ("noindex",)),
        ('<meta name="robots" content="max-snippet:0, nosnippet, noindex">', ("noindex", "nosnippet")),
        ('<meta name="googlebot" content="noindex, noai">', ("noai",)),
        ('<meta name="tdm-reservation" content="1"><meta name="tdm-policy" content="/policy.json">', ("tdm-reservation",)),
        ('<meta name="tdm-reservation" content="0">', ()),
        ('<meta name="description" content="noai"><p>noindex', ()),
        ('<!-- <meta name="robots" content="noai"> --><script>"<meta name=robots content=noai>"</script>', ()),
    ],
)
def test_marks_in_html(html, signals):
    assert read_rights(html, URL, ()).signals == signals


@pytest.mark.parametrize(
    ("value", "signals"),
    [
        ("noindex, noai", ("noai", "noindex")),
        ("googlebot: noindex, nosnippet", ()),
        ("googlebot: noindex, *: nosnippet", ("nosnippet",)),
        ("anybot: noai", ("noai",)),
        ("max-image-preview: large, noindex", ("noindex",)),
        ("unavailable_after: Wednesday, 25-Aug-27 15:00:00 GMT, noai", ("noai",)),
    ],
)
def test_marks_in_headers(value, signals):
    assert read_rights("", URL, [("x-robots-tag", value)]).signals == signals


def test_a_reservation_anywhere_reserves():
    assert read_rights('<meta name="tdm-reservation" content="0">', URL, [("tdm-reservation", "1")]).signals == (
        "tdm-reservation",
    )


@pytest.mark.parametrize(
    ("html", "found"),
    [
        (f'<link rel="license" href="{BY}">', BY),
        ('<a rel="noopener license" href="../terms">', "http://site/terms"),
        ('<meta name="DCTERMS.license" content="CC0">', "CC0"),
        (f'<script type="application/ld+json">{{"@type": "Article", "license": "{BY}"}}</script>', BY),
        (f'<script type="application/ld+json">{{"@graph": [{{"license": {{"@id": "{BY}"}}}}]}}</script>', BY),
        (f'<script type="application/ld+json">{{"@type": "ImageObject", "license": "{BY}"}}</script>', None),
        ('<script type="application/ld+json">{"license": </script>', None),
        (
            "<a href='//creativecommons.org/publicdomain/zero/1.0/'>CC0</a>",
            "http://creativecommons.org/publicdomain/zero/1.0/",
        ),
        (f'<a href="{BY}">a picture</a><link rel=license href="/own">', "http://site/own"),
        ("<a href='https://example.org/licenses/by'>", None),
        ('<a rel="license" href="javascript:alert(1)">', "javascript:alert(1)"),
        (f"<p>{'x' * 5 * READ_CHARACTERS}<footer><a rel=license href={BY}>", BY),
    ],
)
def test_licences_in_html(html, found):
    assert read_rights(html, URL, ()).license == found


def test_licences_in_headers():
    links = f'</style.css>; rel="stylesheet", <{BY}>; rel="license"; title="CC BY"'
    assert read_rights("", URL, [("link", links)]) == Rights((), BY)
    assert read_rights("", URL, [("link", '</license>; rel="next"')]).license is None


@pytest.mark.parametrize(
    "piece",
    [
        "<", "<a ", "<a href=", "<a href='", '<meta name="robots', "<!--", "<script type=application/ld+json>",
        "rel=license ", "<link rel=license href=//creativecommons.org/licenses/", "{[", "noai:", "noai ", ":,", "</script",
        "<a rel='license' ",
    ],
)  # fmt: skip
def test_hostile_heads_take_no_time(piece):
    """Quadratic time would be minutes at this size."""
    many = (piece * READ_CHARACTERS)[: 2 * READ_CHARACTERS]
    started = time.process_time()
    read_rights("robots license" + many, URL, ())
    read_rights(f'<script type="application/ld+json">{many}</script><meta name="robots" content="{many}">license', URL, ())
    read_rights("", URL, [("x-robots-tag", many), ("link", many), ("link", f"<a>; {many}")])
    assert time.process_time() - started < 2.0


@pytest.fixture(scope="module")
def marked(tmp_path_factory, prose, html):
    """A WARC of pages that carry marks in headers and in HTML, and some that carry none."""
    pages = {
        "plain": ("", ""),
        "text-noai": ("", '<meta name="robots" content="noai">'),
        "header-noindex": ("X-Robots-Tag: noarchive\r\nx-robots-tag: noindex\r\n", ""),
        "header-tdm": ("TDM-Reservation: 1\r\n", ""),
        "licensed": ("", f'<link rel="license" href="{BY}">'),
    }
    path = tmp_path_factory.mktemp("rights") / "pages.warc.gz"
    with path.open("wb") as file:
        for name, (headers, meta) in pages.items():
            head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{headers}\r\n".encode()
            payload = html(prose(name)).replace(b"<title>", meta.encode() + b"<title>")
            file.write(encode_response(f"http://site/{name}", head, payload, content_type="text/html"))
    return path


def test_marks_are_recorded_in_documents_ledger_and_facts(tmp_path, marked):
    artifact = run(CorpusOptions(pages=marked, workers=1), out=tmp_path / "corpus")
    expected = {
        "header-noindex": ("noindex", None),
        "header-tdm": ("tdm-reservation", None),
        "licensed": (None, BY),
        "plain": (None, None),
        "text-noai": ("noai", None),
    }
    (batch,) = read_documents(artifact.path, columns=("url", "rights", "license"))
    for rows in (batch.to_pylist(), read_ledger(artifact.path).to_pylist()):
        assert {row["url"].rpartition("/")[2]: (row["rights"], row["license"]) for row in rows} == expected
    assert artifact.facts["rights"] == {"noai": 1, "noindex": 1, "tdm-reservation": 1, "license": 1}


def test_marks_are_obeyed_where_asked(tmp_path, marked):
    options = CorpusOptions(pages=marked, drop_rights=("noai", "tdm-reservation"), workers=1)
    artifact = run(options, out=tmp_path / "corpus")
    rows = read_ledger(artifact.path).to_pylist()
    dropped = {row["url"].rpartition("/")[2]: row["reason"] for row in rows if row["stage"] == "rights"}
    assert dropped == {"header-tdm": "tdm-reservation", "text-noai": "noai"}
    assert Counter(row["stage"] for row in rows) == {"kept": 3, "rights": 2}
    funnel = {step["stage"]: step["documents"] for step in artifact.facts["funnel"]}
    assert (funnel["decode"], funnel["rights"], funnel["near_duplicate"]) == (5, 3, 3)
