"""Every kind of source is read, and whatever is planted in one costs its own row and no more."""

from __future__ import annotations

import base64
import functools
import gzip
import json
import struct
import time
import zlib
from datetime import date, datetime
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ropewalk.artifact import InputFile
from ropewalk.corpus import CorpusOptions, rows, run
from ropewalk.corpus.reading import read_documents, read_ledger
from ropewalk.corpus.records import Record, find_sources
from ropewalk.corpus.rows import Columns
from ropewalk.crawl.decode import zstd
from ropewalk.crawl.warc import page_id
from ropewalk.runtime.errors import InputError

MAX_PAGE_BYTES = 100_000
ZEROS_BR = base64.b85decode(  # 304 MB of zeros in brotli's 250 bytes
    "&;S2__$L73u|OdA{-6K<|L{)$#9;w|?)^Xi|Nr5i0EojP0Nwk4{{R2OKLHSj1pvDD|NQ^|hkpVf4hsNu@BjJ#{}2BJKpYkT=-&VH|NkHU"
    "34k~(0MNbv=l}md{1X6iSOB1V|Ih#bfA}W=;;;Zf_x_*%|Nrn$0K{PdfbRW2|NsBtp8$x%0s!6nfBygf!#@EKhXnw-_y7F=|A&79APx%v"
    "bnpN9|NjsF1V9`X0O;QT^Z)-J{t19MECA5G|L6bzKl~E_aaaJLd;ib>|9|)=0OGI!K==Ni|NsB+PXNSW0f6rPfBye};GY19!vX-^`ws"
)


def records_of(pages: Path | str, **columns: str) -> list[Record]:
    sources = find_sources(pages, Columns(**columns))
    return [record for source in sources for record in source.records(MAX_PAGE_BYTES)]


def fates(records: list[Record]) -> list[str]:
    """Each record in a word: its text's beginning, or what is wrong with it."""
    return [
        "fault" if record.fault else "large" if record.payload_bytes > MAX_PAGE_BYTES else record.payload[:9].decode()
        for record in records
    ]


def warc_record(content: bytes, *, kind: str = "response", url: str | None = "http://site/page", number: int = 1) -> bytes:
    target = f"WARC-Target-URI: {url}\r\n" if url is not None else ""
    content_type = "application/http; msgtype=response" if kind == "response" else "text/plain"
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\n{target}WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-{number:012d}>\r\n"
        f"WARC-Date: 2020-01-01T00:00:00Z\r\nContent-Type: {content_type}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content + b"\r\n\r\n"


def http(body: bytes, encoding: str = "") -> bytes:
    coded = f"Content-Encoding: {encoding}\r\n" if encoding else ""
    return f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{coded}\r\n".encode() + body


@functools.cache
def zeros_gz(count_bytes: int) -> bytes:
    """A gzip bomb."""
    packer = zlib.compressobj(1, wbits=31)
    piece = bytes(1 << 20)
    return b"".join(packer.compress(piece) for _ in range(count_bytes >> 20)) + packer.flush()


@functools.cache
def zeros_zst(count_bytes: int) -> bytes:
    packer = zstd.ZstdCompressor()
    piece = bytes(1 << 20)
    return b"".join(packer.compress(piece) for _ in range(count_bytes >> 20)) + packer.flush()


@pytest.fixture
def bounded():
    """Fails a test that takes over 20 s of processor time or 1.2 GB more memory than before."""
    process = psutil.Process()
    before, started = process.memory_info().rss, time.process_time()
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    yield
    peak = (
        int(next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line).split()[1]) * 1024
    )
    assert peak - before < 1.2e9
    assert time.process_time() - started < 20


def test_all_kinds_of_source_give_the_same_documents(tmp_path, prose):
    """The same texts as WARC and WET, packed in every way, as JSONL and as Parquet: the same bytes come out."""
    texts = {f"http://site/{number}": prose(number, 12) for number in range(12)}
    as_json = [json.dumps({"text": text, "url": url, "more": [1, {"a": 2}]}).encode() + b"\n" for url, text in texts.items()]
    as_wet = [
        warc_record(text.encode(), kind="conversion", url=url, number=number)
        for number, (url, text) in enumerate(texts.items())
    ]
    table = pa.table({"text": list(texts.values()), "url": list(texts), "score": [0.5] * len(texts)})
    dictionary = zstd.train_dict([record * 3 for record in as_wet * 20], 4_000)
    skippable = zstd.compress(dictionary.dict_content)
    files = {
        "a.jsonl": b"\xef\xbb\xbf" + b"".join(as_json),
        "b.ndjson": b"\n\n".join(as_json),
        "c.jsonl.gz": gzip.compress(b"".join(as_json[:5])) + gzip.compress(b"".join(as_json[5:])),
        "d.jsonl.zst": zstd.compress(b"".join(as_json[:5])) + zstd.compress(b"".join(as_json[5:])),
        "e.jsonl.gz": b"".join(as_json),  # unpacked on its way, as browsers do
        "f.warc.wet.gz": b"".join(map(gzip.compress, as_wet)),
        "g.wet": b"".join(as_wet),
        "h.warc.zst": b"".join(map(zstd.compress, as_wet)) + struct.pack("<II", 0x184D2A50, 3) + b"abc",
        "i.warc.wet.zst": struct.pack("<II", 0x184D2A5D, len(skippable))
        + skippable
        + b"".join(zstd.compress(record, zstd_dict=dictionary) for record in as_wet),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    pq.write_table(table, tmp_path / "j.parquet", row_group_size=5)
    pq.write_table(table.cast(pa.schema([("text", pa.large_string()), *list(table.schema)[1:]])), tmp_path / "k.parquet")
    expected = sorted((url, text.encode(), page_id(url, text.encode())) for url, text in texts.items())
    for path in sorted(tmp_path.iterdir()):
        records = records_of(path)
        found = sorted((record.url, record.payload, record.page_id) for record in records)
        assert found == expected, path.name
        assert {(record.content_type, record.charset) for record in records} == {("text/plain", "utf-8")}
    digests = {
        run(CorpusOptions(pages=tmp_path / name, workers=1), out=tmp_path / f"out-{name}").digest
        for name in ("a.jsonl", "i.warc.wet.zst", "j.parquet")
    }
    assert len(digests) == 1


def test_text_rows_are_not_taken_for_html(tmp_path, prose):
    text = f"# Tags\n\n<p>is a tag & so is <nav>.</nav>\n\n{prose('tags')}"
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": text, "url": "http://site/a"}))
    artifact = run(CorpusOptions(pages=tmp_path / "a.jsonl", workers=1), out=tmp_path / "corpus")
    (batch,) = read_documents(artifact.path, columns=("text",))
    assert batch["text"].to_pylist() == [text]


def test_columns_have_names_and_rows_without_an_address_have_one_made(tmp_path):
    lines = [
        {"body": "a", "link": "http://site/a", "key": 7, "when": "2024-02-29T11:12:13Z"},
        {"body": "b", "key": 7, "when": "soon"},
        {"body": "c", "key": "<urn:uuid:1>", "when": "2023-02-29"},
        {"body": "d", "link": ""},
        {"body": "e", "link": "http://site/" + "e" * 10_000, "when": 20240229},
    ]
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = records_of(tmp_path, text="body", url="link", id="key", date="when")
    assert [(record.url, record.last_modified) for record in found] == [
        ("http://site/a", "2024-02-29"),
        ("id:7", None),
        ("urn:uuid:1", None),
        ("file:deep/a.jsonl#4", None),
        ("file:deep/a.jsonl#5", None),
    ]
    assert len({record.page_id for record in found}) == 5
    whens = {
        "day": [date(2024, 2, 29)],
        "ns": pa.array([1709205133123456789], pa.timestamp("ns", tz="UTC")),
        "us": [datetime(2024, 2, 29, 23, 59)],
        "text": ["2024-02-29 10:00"],
        "beyond": pa.array([2**40], pa.timestamp("s")),
    }
    for name, when in whens.items():
        pq.write_table(pa.table({"text": ["t"], "date": when}), tmp_path / "when.parquet")
        (record,) = records_of(tmp_path / "when.parquet")
        assert record.last_modified == (None if name == "beyond" else "2024-02-29"), name
        assert record.url == "file:when.parquet#1"


def test_a_wrong_column_is_named_before_any_work(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"content": "x", "id": 1}\n')
    pq.write_table(pa.table({"content": ["x"], "id": [1]}), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.parquet"):
        with pytest.raises(InputError, match=rf"{name} has no column 'text', but content, id: .*--text-column"):
            run(CorpusOptions(pages=tmp_path / name), out=tmp_path / "corpus")


def test_a_crawls_ledger_beside_its_pages_is_not_taken_for_texts(tmp_path, prose, html, write_warc):
    write_warc(tmp_path / "pages-00000.warc.gz", [("http://site/1", html(prose(1)))])
    (tmp_path / "fetches.jsonl").write_text('{"url": "http://site/1"}\n')
    assert [record.url for record in records_of(tmp_path)] == ["http://site/1"]


def test_hostile_lines_cost_a_row_each(tmp_path, bounded):
    lines = [
        b'{"text": "first"}',
        b"[" * 200_000,
        b'{"text": ' + b"9" * 10_000 + b"}",
        b'{"text": 5}',
        b'["text"]',
        b'{"txet": "x"}',
        '{"text": "käse"}'.encode("latin-1"),
        b'{"text": null}',
        b'{"text": "' + b"x" * 150_000 + b'"}',
        b'{"text": "\\ud800 alone"}',
        b'{"text": "cut',
        b'{"text": "last"}',
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    expected = ["first", *["fault"] * 6, "", "large", "? alone", "fault", "last"]
    found = records_of(tmp_path / "a.jsonl")
    assert fates(found) == expected
    assert found[8].payload_bytes == 150_000
    assert [record.url for record in found] == [f"file:a.jsonl#{number}" for number in range(1, 13)]


def test_a_line_of_a_gigabyte_is_one_row(tmp_path, bounded):
    with (tmp_path / "a.jsonl").open("wb") as file:
        file.write(b'{"text": "first"}\n{"text": "')
        file.seek(1_000_000_000, 1)  # a hole: no disk is used
        file.write(b'"}\n{"text": "last"}\n')
    found = records_of(tmp_path / "a.jsonl")
    assert fates(found) == ["first", "large", "last"]
    assert found[1].payload_bytes == 1_000_000_013


def test_bombs_of_lines_end(tmp_path, bounded, monkeypatch):
    first = b'{"text": "first"}\n'
    for name, content in {
        "a.jsonl.gz": gzip.compress(first) + zeros_gz(300_000_000) + gzip.compress(b"\n" + first),
        "a.jsonl.zst": zstd.compress(first) + zeros_zst(300_000_000) + zstd.compress(b"\n" + first),
    }.items():
        (tmp_path / name).write_bytes(content)
        assert fates(records_of(tmp_path / name)) == ["first", "large", "first"]
        with monkeypatch.context() as limited:
            limited.setattr(rows, "MAX_SKIPPED_BYTES", 100_000_000)
            assert fates(records_of(tmp_path / name)) == ["first", "fault"]


def test_packed_lines_that_are_cut_or_damaged_give_what_stands_before(tmp_path, prose):
    lines = b"".join(json.dumps({"text": prose(number)}).encode() + b"\n" for number in range(40))
    for suffix, packed in {".gz": gzip.compress(lines), ".zst": zstd.compress(lines)}.items():
        path = tmp_path / f"a.jsonl{suffix}"
        for cut in (5, len(packed) // 2, len(packed) - 1):
            path.write_bytes(packed[:cut])
            found = records_of(path)
            assert fates(found)[-1] == "fault" and "fault" not in fates(found)[:-1], (suffix, cut)
        damaged = bytearray(packed)
        damaged[len(packed) // 2 : len(packed) // 2 + 50] = bytes(50)
        path.write_bytes(damaged)
        assert 1 <= fates(records_of(path)).count("fault") <= 2  # the line that is garbled, the checksum behind it


def test_a_damaged_parquet_loses_what_is_damaged(tmp_path):
    texts = [f"text {number} " + f"{number * 7919 % 10007} " * 200 for number in range(40)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": texts}), path, row_group_size=10, use_dictionary=False, write_page_checksum=True)
    whole = path.read_bytes()
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    damaged = bytearray(whole)
    end = column.data_page_offset + column.total_compressed_size
    damaged[end - 60 : end - 20] = bytes(40)
    path.write_bytes(damaged)
    kept = [text[:9] for text in texts]
    found = records_of(path)
    assert fates(found) == [*kept[:10], "fault", *kept[20:]]
    assert [found[10].url, found[11].url] == ["file:a.parquet#11", "file:a.parquet#21"]
    for content in (whole[:-10], b"PAR1" * 100, b""):
        path.write_bytes(content)
        assert fates(records_of(path)) == ["fault"]


def test_parquet_values_of_other_types_and_bombs_of_them(tmp_path, bounded):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": pa.array([None, b"\xff\xfe"], pa.binary()).cast(pa.binary())}), path)
    assert fates(records_of(path)) == ["", "fault"]
    large = pa.DictionaryArray.from_arrays(pa.array([0] * 50 + [1], pa.int32()), pa.array(["x" * 50_000_000, "fine"]))
    pq.write_table(
        pa.table({"text": large}), path, dictionary_pagesize_limit=1 << 30, store_schema=False, compression="zstd"
    )
    assert path.stat().st_size < 100_000
    found = records_of(path)
    assert fates(found) == ["large"] * 50 + ["fine"]
    assert found[0].payload_bytes == 50_000_000


def test_hostile_records_cost_a_row_each(tmp_path, prose, html, bounded, capfd):
    """What the issue names, in one WARC file between good pages, through the whole stage."""
    good = html(prose("good"))
    latin = f"<p>Café. {prose('latin')}</p>".encode("latin-1")
    greek = "<meta charset=utf-8><p>" + "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι. " * 30
    large = b"<p>" + b"word " * 20_000_000
    planted = {
        "http://site/bomb-br": http(ZEROS_BR, "br"),
        "http://site/bomb-gzip": http(zeros_gz(300_000_000), "gzip"),
        "http://site/bomb-layers": http(good, ", ".join(["gzip"] * 500)),
        "http://site/bomb-zstd": http(zeros_zst(300_000_000), "zstd"),
        "http://site/binary": http(bytes(range(256)) * 40),
        "http://site/deep": http(b"<div>" * 20_000 + b"deep"),
        "http://site/greek": http(greek.encode("iso-8859-7")),
        "http://site/latin": http(latin),
        "http://site/large": http(large),
    }
    planted = [warc_record(content, url=url, number=number) for number, (url, content) in enumerate(planted.items())]
    planted.append(warc_record(http(html(prose("no address"))), url=None, number=77))
    planted.append(warc_record(http(html(prose("long address"))), url="http://site/" + "x" * 100_000, number=78))
    between = [warc_record(http(html(prose(number))), url=f"http://site/{number}") for number in range(len(planted) + 1)]
    members = [gzip.compress(record, 1) for pair in zip(between, planted, strict=False) for record in pair]
    bomb_member = zeros_gz(300_000_000)
    cut = gzip.compress(between[0])[:-20]
    (tmp_path / "a.warc.gz").write_bytes(b"".join([*members, bomb_member, gzip.compress(between[-1]), cut]))
    artifact = run(CorpusOptions(pages=tmp_path / "a.warc.gz", workers=1), out=tmp_path / "corpus")
    ledger = {row["url"]: (row["stage"], row["reason"]) for row in read_ledger(artifact.path).to_pylist()}
    urn = "urn:uuid:00000000-0000-0000-0000-0000000000"
    places = sorted(url for url in ledger if url.startswith("file:"))
    assert {url: ledger[url] for url in ledger if not url[-1].isdigit() or url.startswith(("urn", "file"))} == {
        "http://site/binary": ("decode", "unreadable"),
        "http://site/bomb-br": ("read", "fault"),
        "http://site/bomb-gzip": ("read", "fault"),
        "http://site/bomb-layers": ("read", "fault"),
        "http://site/bomb-zstd": ("read", "fault"),
        "http://site/deep": ("extract", "nesting"),
        "http://site/greek": ("language", "language=el"),
        "http://site/large": ("read", "too_large"),
        "http://site/latin": ("kept", ""),
        urn + "77": ("kept", ""),
        urn + "78": ("kept", ""),
        **dict.fromkeys(places, ("read", "fault")),
    }
    assert len(places) == 2 and all(place.startswith("file:a.warc.gz#byte=") for place in places)
    assert artifact.facts["records"] == len(ledger) == len(planted) + len(between) + 2
    assert all(ledger[f"http://site/{number}"][0] == "kept" for number in range(len(between)))
    row = next(row for row in read_ledger(artifact.path).to_pylist() if row["url"] == "http://site/large")
    assert row["value"] == len(large)


def test_damage_is_searched_in_bounded_time_and_memory(tmp_path, bounded):
    """Files made of nothing but beginnings: of gzip members, of empty members, of zstd frames, of line ends."""
    start = gzip.compress(warc_record(http(b"fine"), url="http://site/start"))
    end = gzip.compress(warc_record(http(b"fine"), url="http://site/end"))
    for filling in (b"\x1f\x8b\x08" * 400_000, gzip.compress(b"") * 100_000, gzip.compress(b"\n" * 100_000_000)):
        (tmp_path / "a.warc.gz").write_bytes(start + filling + end)
        assert [record.url for record in records_of(tmp_path / "a.warc.gz") if not record.fault] == [
            "http://site/start",
            "http://site/end",
        ]


def test_a_zstd_file_loses_what_is_damaged(tmp_path):
    frames = [zstd.compress(warc_record(http(b"fine %d" % n), url=f"http://site/{n}")) for n in range(4)]
    bomb = zstd.ZstdCompressor(
        options={zstd.CompressionParameter.window_log: 30, zstd.CompressionParameter.content_size_flag: 0}
    )
    wide = bomb.compress(b"WARC/1.0") + bomb.flush()
    damaged = bytearray(frames[1])
    damaged[20] ^= 0x55
    path = tmp_path / "a.warc.zst"
    for bad in (bytes(damaged), wide, zeros_zst(300_000_000), frames[1][:-9]):
        path.write_bytes(frames[0] + bad + frames[2] + frames[3][:-3])
        found = records_of(path)
        assert [record.url for record in found if not record.fault] == ["http://site/0", "http://site/2"]
        assert len(found) == 4
    for dictionary in (struct.pack("<II", 0x184D2A5D, 1 << 31), struct.pack("<II", 0x184D2A5D, 20) + bytes(20)):
        path.write_bytes(dictionary + frames[0])
        assert fates(records_of(path)) == ["fault"]


def test_a_file_that_goes_away_while_reading_is_a_row(tmp_path):
    (tmp_path / "a.txt").write_text("here")
    (source,) = find_sources(tmp_path, Columns())
    (tmp_path / "a.txt").unlink()
    assert fates(list(source.records(100))) == ["fault"]
    assert InputFile("a.txt", tmp_path / "a.txt", 4).size_bytes == 4
