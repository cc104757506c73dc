"""Pages at an address: fsspec's memory, and a web server on loopback that gives ranges, or none, or breaks off."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.crawl.files import Files

from ropewalk.artifact import inputs, list_remote, open_artifact
from ropewalk.cli.lineage import LineageOptions, run_lineage
from ropewalk.cli.pages import expected_pages
from ropewalk.config import load_recipe
from ropewalk.corpus import CorpusOptions, run
from ropewalk.runtime.errors import ArtifactError, InputError, MachineError


@pytest.fixture
def serve(monkeypatch) -> Iterator[Callable[[dict[str, bytes]], Files]]:
    monkeypatch.setattr(inputs, "FIRST_BACKOFF_SECONDS", 0.01)
    servers = []

    def start(files: dict[str, bytes]) -> Files:
        servers.append(Files(files))
        return servers[-1]

    yield start
    for files in servers:
        files.close()


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


@pytest.fixture
def packed(prose) -> bytes:
    rows = [{"text": prose(number), "url": f"http://site/{number}"} for number in range(100)]
    return gzip.compress(b"".join(json.dumps(row).encode() + b"\n" for row in rows))


def test_a_folder_elsewhere_gives_the_bytes_of_one_here(tmp_path, prose, html, write_warc, memory):
    write_warc(
        tmp_path / "mine" / "deep" / "a.warc.gz", [(f"http://site/{number}", html(prose(number))) for number in range(5)]
    )
    (tmp_path / "mine" / "b.jsonl").write_text(json.dumps({"text": prose("b")}))
    pq.write_table(pa.table({"text": [prose("c")]}), tmp_path / "mine" / "c.parquet")
    (tmp_path / "mine" / "d.md").write_text(prose("d"))
    memory.put(str(tmp_path / "mine"), "/bucket/mine", recursive=True)
    here = run(CorpusOptions(pages=tmp_path / "mine", workers=1), out=tmp_path / "here")
    there = run(CorpusOptions(pages="memory://bucket/mine", workers=1), out=tmp_path / "there")
    assert there.digest == here.digest
    assert there.facts["documents"] == 8
    assert there.inputs["pages"]["path"] == "memory://bucket/mine" and there.inputs["pages"]["kind"] == "remote"
    some = run(CorpusOptions(pages="memory://bucket/mine/*.[jp]*", workers=1), out=tmp_path / "some")
    assert some.facts["documents"] == 2
    assert expected_pages("memory://bucket/mine/d.md") == 1


def test_what_lies_elsewhere_is_known_by_its_version(tmp_path, prose, memory, capsys):
    address = "memory://bucket/a.txt"
    memory.pipe("/bucket/a.txt", prose("a").encode())
    options = CorpusOptions(pages=address, workers=1)
    first = run(options, out=tmp_path / "corpus")
    assert run(options, out=tmp_path / "corpus").recipe == first.recipe
    assert run_lineage(LineageOptions(paths=(tmp_path / "corpus",))) == 0
    assert address in capsys.readouterr().out
    memory.pipe("/bucket/a.txt", prose("b").encode())
    with pytest.raises(ArtifactError, match="input pages"):
        run(options, out=tmp_path / "corpus")
    assert run_lineage(LineageOptions(paths=(tmp_path / "corpus",))) == 1
    assert "is another now" in capsys.readouterr().out


def test_a_recipe_takes_an_address(tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('into = "runs"\n[corpus]\nstage = "corpus"\npages = "s3://bucket/a//b/*.parquet"\n')
    (step,) = load_recipe(recipe, options_classes={"corpus": CorpusOptions}).steps
    assert step.options.pages == "s3://bucket/a//b/*.parquet" and step.reads == ()


def test_a_file_on_the_web_is_read_by_ranges_and_without_them(tmp_path, packed, serve):
    web = serve({"/a.jsonl.gz": packed})
    (signed,) = list_remote(f"{serve({'/in/a.txt?key=a/b': b'x'}).url}/in/a.txt?key=a/b")
    assert (signed.name, signed.open().read()) == ("a.txt", b"x")
    digests = set()
    for ranges in (True, False):
        web.ranges, web.sent_bytes = ranges, 0
        artifact = run(CorpusOptions(pages=f"{web.url}/a.jsonl.gz", workers=1), out=tmp_path / f"corpus-{ranges}")
        digests.add(artifact.digest)
        assert artifact.facts["records"] == 100
        assert web.sent_bytes <= 3 * len(packed)  # looked at once, read once
    assert len(digests) == 1


def test_a_web_page_of_links_is_a_folder(tmp_path, prose, serve):
    files = {f"/{name}": json.dumps({"text": prose(name)}).encode() for name in ("a.jsonl", "b.jsonl")}
    web = serve({"/": b'<a href="a.jsonl">a</a> <a href="/b.jsonl">b</a>', **files})
    listed = list_remote(web.url + "/")
    assert [(file.name, file.size_bytes, file.version) for file in listed] == [
        (name.removeprefix("/"), len(content), '"one"') for name, content in files.items()
    ]
    assert run(CorpusOptions(pages=web.url + "/", workers=1), out=tmp_path / "corpus").facts["documents"] == 2


@pytest.mark.parametrize("ranges", [True, False])
def test_broken_connections_are_taken_up_where_they_broke(packed, serve, monkeypatch, ranges):
    monkeypatch.setattr(inputs, "BLOCK_BYTES", 20_000)
    web = serve({"/a.jsonl.gz": packed})
    web.ranges = ranges
    asked = iter(range(10**6))
    web.cut = lambda: 5_000 + 10_000 * (number // 3) if (number := next(asked)) % 3 else None
    (file,) = list_remote(f"{web.url}/a.jsonl.gz")
    with file.open() as stream:
        assert stream.read() == packed
    web.cut = lambda: 0
    with file.open() as stream, pytest.raises(InputError, match=r"a.jsonl.gz cannot be read .* carries on"):
        stream.read()


def test_a_file_that_changes_while_it_is_read_is_an_error(packed, serve, monkeypatch):
    monkeypatch.setattr(inputs, "BLOCK_BYTES", 20_000)
    web = serve({"/a.jsonl.gz": packed})
    (file,) = list_remote(f"{web.url}/a.jsonl.gz")
    monkeypatch.setattr(inputs, "BUFFER_BYTES", 1_000)
    with file.open() as stream:
        stream.read(10)
        web.etag, web.cut = '"two"', lambda: 0
        with pytest.raises(InputError, match="has changed while it was read"):
            stream.read()


def test_what_cannot_be_had_is_one_sentence(tmp_path, serve, memory, monkeypatch):
    web = serve({})
    for address, error, said in (
        (f"{web.url}/none.jsonl", InputError, "is not there, or cannot be reached"),
        ("memory://nothing/here", InputError, "is not there"),
        ("nonsense://bucket/x", InputError, "nonsense://bucket/x cannot be read"),
    ):
        with pytest.raises(error, match=said):
            run(CorpusOptions(pages=address), out=tmp_path / "corpus")
    memory.pipe("/bucket/picture.png", b"png")
    with pytest.raises(InputError, match="holds no pages"):
        run(CorpusOptions(pages="memory://bucket/"), out=tmp_path / "corpus")
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)  # as if it were not installed
    with pytest.raises(MachineError, match=r"pip install 'ropewalk\[remote\]' \(or s3fs alone\)"):
        run(CorpusOptions(pages="s3://bucket/x"), out=tmp_path / "corpus")
    assert not (tmp_path / "corpus.part").exists()


def test_an_artifact_elsewhere_is_its_pages(tmp_path, prose, html, write_warc, memory):
    """Its ledger and manifest are not taken for texts."""
    write_warc(tmp_path / "pages-00000.warc.gz", [("http://site/1", html(prose(1)))])
    memory.put(str(tmp_path / "pages-00000.warc.gz"), "/runs/pages/pages-00000.warc.gz")
    memory.pipe("/runs/pages/fetches.jsonl", b'{"url": "http://site/1"}\n')
    memory.pipe("/runs/pages/manifest.json", b"{}")
    artifact = run(CorpusOptions(pages="memory://runs/pages", workers=1), out=tmp_path / "corpus")
    assert open_artifact(artifact.path).facts["records"] == 1
