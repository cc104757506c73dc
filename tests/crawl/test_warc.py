from __future__ import annotations

import gzip
import hashlib
import zlib

import pytest

from ropewalk.crawl import warc
from ropewalk.crawl.decode import TooLargeError, UndecodableError, decode_content
from ropewalk.crawl.warc import Fault, Page, Place, WarcWriter, encode_response, page_id, read_pages

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: Text/HTML; charset=ISO-8859-1\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n"
    b"X-Odd: \xe4\xf6\r\n\r\n"
)


def payload(number: int) -> bytes:
    return b"<p>\xe4 page %d</p>" % number + hashlib.sha256(b"%d" % number).hexdigest().encode() * 20


def write(folder, count=5) -> list[Place]:
    writer = WarcWriter(folder, {"software": "test"})
    records = [encode_response(f"http://h/{n}", HEAD, payload(n), content_type="text/html") for n in range(count)]
    places = [writer.write(record) for record in records]
    writer.close()
    return places


def raw_record(http: bytes, *, kind: bytes = b"response", url: bytes = b"http://h/x", version: bytes = b"1.0") -> bytes:
    content_type = b"application/http; msgtype=response" if kind == b"response" else b"text/plain"
    return (
        b"WARC/%s\r\nWARC-Type: %s\r\nWARC-Target-URI: %s\r\nWARC-Date: 2020-01-01T00:00:00Z\r\n"
        b"WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-000000000001>\r\n"
        b"Content-Type: %s\r\nContent-Length: %d\r\n\r\n%s\r\n\r\n"
    ) % (version, kind, url, content_type, len(http), http)


def read(path, data: bytes) -> list[Page | Fault]:
    path.write_bytes(data)
    return list(read_pages(path))


def test_what_is_written_is_read(tmp_path):
    write(tmp_path)
    pages = list(read_pages(tmp_path / "pages-00000.warc.gz"))
    assert [page.url for page in pages] == [f"http://h/{n}" for n in range(5)]
    assert [page.payload for page in pages] == [payload(n) for n in range(5)]
    assert pages[2].page_id == hashlib.sha256(b"http://h/2\n" + payload(2)).hexdigest() == page_id("http://h/2", payload(2))
    assert (pages[0].content_type, pages[0].charset, pages[0].last_modified) == ("text/html", "iso8859-1", "2015-10-21")
    assert len({page.record_id for page in pages}) == 5


def test_a_file_cut_anywhere_gives_its_whole_records_then_one_fault(tmp_path):
    places = write(tmp_path, count=3)
    data = (tmp_path / "pages-00000.warc.gz").read_bytes()
    starts = {place.offset for place in places} | {0, len(data)}
    for cut in range(len(data)):
        got = read(tmp_path / "cut.warc.gz", data[:cut])
        whole = sum(place.end <= cut for place in places)
        assert [entry.url for entry in got if isinstance(entry, Page)] == [f"http://h/{n}" for n in range(whole)]
        assert [isinstance(entry, Fault) for entry in got[whole:]] == ([] if cut in starts else [True])


def test_damage_loses_one_record_and_says_so(tmp_path):
    places = write(tmp_path)
    data = (tmp_path / "pages-00000.warc.gz").read_bytes()
    for at in range(places[1].offset, places[1].end, 7):
        if at - places[1].offset in range(4, 10):
            continue  # gzip's time stamp and system: nothing checks them, nothing depends on them
        damaged = bytearray(data)
        damaged[at] ^= 0x55
        got = read(tmp_path / "damaged.warc.gz", bytes(damaged))
        assert [page.url for page in got if isinstance(page, Page)] == [f"http://h/{n}" for n in (0, 2, 3, 4)], at
        faults = [fault for fault in got if isinstance(fault, Fault)]
        assert [fault.where for fault in faults] == [f"damaged.warc.gz at byte {places[1].offset:,}"]


def test_other_peoples_archives_are_read(tmp_path):
    chunked = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    not_chunked = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n<p>hello"
    packed = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"hello" * 1000)
    common_crawl = (
        b"HTTP/1.1 200\r\nContent-Type: text/html; charset=nonsense\r\nX-Crawl-Content-Encoding: gzip\r\n\r\nhello"
    )
    records = [
        raw_record(b"software: wget", kind=b"warcinfo"),
        raw_record(b"GET / HTTP/1.1\r\n\r\n", kind=b"request"),
        raw_record(chunked, url=b"<http://h/chunked>"),
        raw_record(not_chunked),
        raw_record(packed),
        raw_record(common_crawl, version=b"1.1"),
        raw_record(b"HTTP/1.1 404 Not Found\r\n\r\nno"),
        raw_record("wörds".encode(), kind=b"conversion", url=b"http://h/wet"),
    ]
    expected = [
        ("http://h/chunked", b"hello", "text/html", None),
        ("http://h/x", b"<p>hello", "text/html", None),
        ("http://h/x", b"hello" * 1000, "", None),
        ("http://h/x", b"hello", "text/html", None),
        ("http://h/wet", "wörds".encode(), "text/plain", "utf-8"),
    ]
    for name, data in {
        "members.warc.gz": b"".join(map(gzip.compress, records)),
        "one-member.warc.gz": gzip.compress(b"".join(records)),
        "plain.warc": b"".join(records),
    }.items():
        got = read(tmp_path / name, data)
        assert [(page.url, page.payload, page.content_type, page.charset) for page in got] == expected, name


def test_records_that_cannot_be_read_are_faults_and_the_next_one_is_read(tmp_path):
    good = raw_record(b"HTTP/1.1 200 OK\r\n\r\nfine", url=b"http://h/good")
    bad = [
        raw_record(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"hello" * 1000)[:-9]),
        raw_record(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nnot gzip"),
        raw_record(b"HTTP/1.1 200 OK\r\nContent-Encoding: rot13\r\n\r\nuryyb"),
        raw_record(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nshort"),
        raw_record(b"no status line at all"),
        b"not a warc record at all",
        good.replace(b"Content-Length", b"Content-Longth"),
        good.replace(b"Content-Length: ", b"Content-Length: 9"),
    ]
    for record in bad:
        got = read(tmp_path / "bad.warc.gz", gzip.compress(record) + gzip.compress(good))
        assert [type(entry) for entry in got] == [Fault, Page], record
        assert got[0].what
    assert [type(entry) for entry in read(tmp_path / "bad.warc", good + good[:-20])] == [Page, Fault]
    assert read(tmp_path / "empty.warc.gz", b"") == []


def test_oversized_records_are_faults_and_never_inflated(tmp_path, monkeypatch):
    monkeypatch.setattr(warc, "MAX_RECORD_BYTES", 100_000)
    good = raw_record(b"HTTP/1.1 200 OK\r\n\r\nfine", url=b"http://h/good")
    bomb = raw_record(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(50_000_000)))
    huge = raw_record(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(200_000))
    for first in (bomb, huge):
        for name, data in {"big.warc.gz": gzip.compress(first) + gzip.compress(good), "big.warc": first + good}.items():
            got = read(tmp_path / name, data)
            assert [type(entry) for entry in got] == [Fault, Page], name


def test_decoding_is_bounded_and_forgiving_where_browsers_are():
    data = b"hello" * 1000
    bare = zlib.compressobj(wbits=-15)
    assert decode_content(zlib.compress(data), "deflate", limit_bytes=5000) == data
    assert decode_content(bare.compress(data) + bare.flush(), "deflate", limit_bytes=5000) == data
    assert decode_content(gzip.compress(data[:2500]) + gzip.compress(data[2500:]), "gzip", limit_bytes=5000) == data
    assert decode_content(gzip.compress(gzip.compress(data)) + b"junk", "GZIP, x-gzip", limit_bytes=5000) == data
    for coding in ("gzip", "deflate", "identity"):
        raw = {"gzip": gzip.compress(data), "deflate": zlib.compress(data), "identity": data}[coding]
        with pytest.raises(TooLargeError):
            decode_content(raw, coding, limit_bytes=4999)
    with pytest.raises(UndecodableError, match="rot13"):
        decode_content(data, "rot13", limit_bytes=5000)


def test_a_writer_carries_on_behind_the_last_journaled_record_and_rolls(tmp_path, monkeypatch):
    places = write(tmp_path)
    whole = (tmp_path / "pages-00000.warc.gz").read_bytes()
    (tmp_path / "pages-00001.warc.gz").write_bytes(b"left by a killed run")
    monkeypatch.setattr(warc, "ROLL_BYTES", places[2].offset + 1)
    writer = WarcWriter(tmp_path, {}, last=places[1])
    for number in (2, 3):
        writer.write(encode_response(f"http://h/{number}", HEAD, payload(number), content_type="text/html"))
    writer.close()
    assert (tmp_path / "pages-00000.warc.gz").read_bytes()[: places[1].end] == whole[: places[1].end]
    for number, expected in {0: [0, 1, 2], 1: [3]}.items():
        pages = list(read_pages(tmp_path / f"pages-0000{number}.warc.gz"))
        assert [page.url for page in pages] == [f"http://h/{n}" for n in expected]


@pytest.mark.peer
def test_warcio_finds_our_files_valid(tmp_path):
    from warcio.archiveiterator import ArchiveIterator

    write(tmp_path)
    with (tmp_path / "pages-00000.warc.gz").open("rb") as stream:
        records = [
            (record.rec_type, record.content_stream().read(), record.digest_checker.passed, record.http_headers)
            for record in ArchiveIterator(stream, check_digests=True)
        ]
    assert [kind for kind, *_ in records] == ["warcinfo"] + ["response"] * 5
    assert [content for _, content, *_ in records[1:]] == [payload(n) for n in range(5)]
    assert [passed for *_, passed, _ in records[1:]] == [True] * 5
    assert records[1][-1].get_header("Content-Type") == "Text/HTML; charset=ISO-8859-1"
