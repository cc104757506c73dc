"""`ropewalk plan` against what it foretells: a plan from a sample of real pages, then ten times as many of them.

    python bench/plan.py --out plan.json --pages runs/tiny/pages       # three minutes on two idle cores

The pages are those of a crawl. They are made distinct, ten times over, by exchanging its words of four letters and more, in
another way each time: length, markup and rules stay, no run of words does. Processor seconds grow by some 10% beside other
programs, time on the clock by anything: run it on an idle machine. Disk and memory are looked at from outside, 20 times a
second.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

TIMES = 10
MOST_ERROR = 0.15
WORD = re.compile(rb"(<[^>]*>)|\b([a-z]{4,})\b")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the result goes, JSON")
    parser.add_argument("--pages", type=Path, required=True, help="a pages artifact")
    parser.add_argument("--workers", type=int, default=2, help="worker processes")
    parser.add_argument("--rules", default="fineweb", help="the corpus' rules")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pages(arguments.pages, folder / "one.warc.gz", range(1))
        write_pages(arguments.pages, folder / "ten.warc.gz", range(TIMES))
        options = ["--rules", arguments.rules, "--workers", str(arguments.workers)]
        make(folder / "one.warc.gz", folder / "one", options)
        taken = make(folder / "ten.warc.gz", folder / "ten", options)
        sample = json.loads((folder / "one" / "manifest.json").read_text(encoding="utf-8"))["facts"]["records"]
        plan = foretold(folder / "one", TIMES * sample, arguments.workers)
    result = judged(plan, taken) | {"pages": TIMES * sample, "sample_pages": sample, "load": os.getloadavg()[0]}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


def write_pages(pages: Path, out: Path, copies: range) -> None:
    """Write the crawl's pages as a WARC file, so many times over, each time with other words in their places."""
    from ropewalk.crawl.warc import Page, encode_info, encode_response, read_pages_from

    with next(pages.glob("*.warc.gz")).open("rb") as file:
        crawled = [page for page in read_pages_from(file, pages.name) if isinstance(page, Page)]
    vocabulary = sorted({found[2] for page in crawled for found in WORD.finditer(page.payload) if found[2]})
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"
    with out.open("wb") as file:
        file.write(encode_info(out.name, {"software": "bench/plan.py"}))
        for copy in copies:
            other = dict(zip(vocabulary, random.Random(copy).sample(vocabulary, len(vocabulary)), strict=True))
            for page in crawled:
                payload = WORD.sub(lambda found, other=other: found[1] or other[found[2]], page.payload)
                url = page.url.replace("://", f"://copy-{copy}.", 1)
                file.write(encode_response(url, head, payload, content_type="text/html"))


def make(pages: Path, out: Path, options: list[str]) -> dict[str, float]:
    """Make a corpus and look on."""
    started, before = time.perf_counter(), os.times()
    command = [sys.executable, "-m", "ropewalk", "corpus", "--pages", pages, "--out", out, *options]
    process = subprocess.Popen(list(map(str, command)))
    disk = driver = 0
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        disk = max(disk, stored(out.with_name(out.name + ".part")))
        try:
            driver = max(driver, watched.memory_info().rss)
        except psutil.Error:
            break
        time.sleep(0.05)
    if process.wait():
        sys.exit(f"ropewalk corpus failed on {pages}")
    after = os.times()
    worker = json.loads((out / "logs" / "costs.json").read_text(encoding="utf-8"))["phases"]["judging"]["child_peak_bytes"]
    return {
        "cpu_seconds": after.children_user + after.children_system - before.children_user - before.children_system,
        "wall_seconds": time.perf_counter() - started,
        "disk_peak_bytes": disk,
        "result_bytes": sum(path.stat().st_size for path in out.glob("*.parquet")),
        "driver_peak_bytes": driver,
        "worker_peak_bytes": worker,
    }


def stored(folder: Path) -> int:
    """Bytes of all files below a folder that is being worked in."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(parent, name)).st_size  # noqa: PTH116, PTH118
            except FileNotFoundError:
                continue
    return total


def foretold(sample: Path, pages: int, cores: int) -> dict[str, Any]:
    """What `ropewalk plan` says."""
    command = [sys.executable, "-m", "ropewalk", "plan", sample, "--pages", pages, "--cores", cores, "--json"]
    done = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True)
    plan = json.loads(done.stdout)
    return plan | {name: sum(plan[name].values()) for name in ("cpu_seconds", "wall_seconds")}


def judged(plan: dict[str, Any], taken: dict[str, float]) -> dict[str, Any]:
    """The two side by side."""
    rows = {
        name: {"foretold": plan[name], "taken": value, "error": round(plan[name] / value - 1, 4)}
        for name, value in taken.items()
    }
    met = all(abs(row["error"]) <= MOST_ERROR for row in rows.values())
    return {
        "room": "plan",
        "what": f"`ropewalk plan` from a sample, and {TIMES} times as many pages",
        "figures": rows,
        "most_error": MOST_ERROR,
        "meets_targets": met,
    }


if __name__ == "__main__":
    main()
