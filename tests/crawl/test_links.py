from __future__ import annotations

import time

import pytest

from ropewalk.crawl.links import find_links
from ropewalk.crawl.urls import host_of, normalise

HERE = "http://h/dir/page.html"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("HTTP://Example.COM:80/a/../b/%7euser?q=é#f", "http://example.com/b/~user?q=%C3%A9"),
        ("https://example.com:443", "https://example.com/"),
        ("http://example.com:443/?", "http://example.com:443/"),
        ("  other.html\n", "http://h/dir/other.html"),
        ("../x\ty/./z", "http://h/xy/z"),
        ("//cdn/lib", "http://cdn/lib"),
        ("?page=2", "http://h/dir/page.html?page=2"),
        ("#top", "http://h/dir/page.html"),
        ("a b", "http://h/dir/a%20b"),
        ("http://bücher.de/ü", "http://xn--bcher-kva.de/%C3%BC"),
        ("http://[::1]:8080/", "http://[::1]:8080/"),
        ("http://h/%E4%zz", "http://h/%E4%25zz"),
    ],
)
def test_an_address_has_one_spelling(address, expected):
    assert normalise(address, HERE) == expected
    assert normalise(expected) == expected


@pytest.mark.parametrize(
    "address",
    [
        "mailto:a@b.c",
        "javascript:void(0)",
        "data:text/html,<a>",
        "ftp://h/x",
        "file:///etc/passwd",
        "http://user:secret@h/",
        "http://h:99999/",
        "http://a b/",
        "http://[::1/",
        "http://" + "a" * 300 + "/",
        "x" * 5000,
    ],
)
def test_what_is_not_an_http_address_is_refused(address):
    assert normalise(address, HERE) is None


def test_a_host_is_scheme_name_and_port():
    assert host_of("http://h:81/x?y") == "http://h:81"
    assert host_of("https://h/") == "https://h"


def links(page: str | bytes, **given) -> tuple[str, ...]:
    payload = page.encode() if isinstance(page, str) else page
    return find_links(payload, url=HERE, **given).urls


def test_links_are_found_where_html_has_them():
    page = """<HTML><!-- <a href=no1> --><script>"<a href=no2>"</script><style><a href=no3></style>
    <title><a href=no4></title><textarea><a href=no5></textarea><!-->
    <A HREF = 'one'>1</A><a class=x href=two/>2</a><a href=a&amp;b>3</a><area href="four">
    <iframe src=five></iframe><meta http-equiv=Refresh content="0; URL='six'"><a name=x>none</a>
    <a title="a > b" href=seven href=no6><a rel="x NoFollow" href=no7><a/href=eight><a href=one#again><a
    href="nine"""
    assert links(page) == tuple(
        f"http://h/dir/{name}" for name in ("one", "two/", "a&b", "four", "five", "six", "seven", "eight")
    )


def test_base_moves_relative_links_and_counts_once():
    assert links('<base href="/other/"><base href="/third/"><a href=x>') == ("http://h/other/x",)


def test_the_charset_decides_what_a_link_says():
    page = '<a href="ü">'.encode("utf-16-le")
    assert links(page, charset="utf-16-le") == ("http://h/dir/%C3%BC",)
    assert links("<meta charset=iso-8859-1><a href='ü'>".encode("latin-1")) == ("http://h/dir/%C3%BC",)
    assert links(b"\xff\xfe\x00<a href=x>\x80", charset="no-such-charset") == ("http://h/dir/x",)


def test_pages_tell_robots_what_to_keep_and_follow():
    told = find_links(b"<meta name=ROBOTS content='NoIndex, follow'><a href=x>", url=HERE)
    assert (told.keep, told.urls) == (False, ("http://h/dir/x",))
    told = find_links(b"<meta name=robots content=nofollow><a href=x>", url=HERE)
    assert (told.keep, told.urls) == (True, ())
    told = find_links(b"<a href=x>", url=HERE, robots="none")
    assert (told.keep, told.urls) == (False, ())


@pytest.mark.parametrize(
    "piece",
    [
        "<a href=x>",
        "<div>",
        "<a '",
        '<a x="',
        "<!--",
        "<script>",
        "<a href=",
        "<a =",
        "<",
        "<a href='\">",
        "&amp",
        "</script",
        "<a b ",
    ],
)
def test_hostile_pages_take_linear_time(piece):
    payload = (piece * (1_000_000 // len(piece))).encode()
    started = time.process_time()
    links(payload)
    assert time.process_time() - started < 4
