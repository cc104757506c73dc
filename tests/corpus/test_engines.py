"""The same bytes from any number of workers, from Ray, from Slurm, and after kills at random moments."""

from __future__ import annotations

import importlib.util
import json
import random
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import polars as pl
import psutil
import pytest

from ropewalk.artifact import Artifact, open_artifact
from ropewalk.corpus import CorpusOptions, run
from ropewalk.corpus.build import check, sources_of
from ropewalk.corpus.machines import check_machine, versions
from ropewalk.corpus.rank import judge_rank
from ropewalk.corpus.shards import Ended, Shelf, cut_shards, judge_shards
from ropewalk.corpus.slurm import load_plan, new_plan, parse_jobs, save_plan
from ropewalk.runtime.errors import MachineError, OptionError

KILLS = 4
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="pip install 'ropewalk[cluster]'")


@pytest.fixture(scope="module")
def options(tmp_path_factory, prose, html, write_warc) -> CorpusOptions:
    """Five shards: three WARC files, one of them torn, a table, and loose files; among them what kills a worker."""
    folder = tmp_path_factory.mktemp("engines") / "pages"
    hostile = [
        ("http://site/hang", b"<div>" * 20_000 + b"deep"),
        ("http://site/deep", b"<div>" * 26_000 + b"deep"),
        ("http://site/binary", bytes(range(256)) * 40),
        ("http://site/empty", b""),
    ]
    for file, count in enumerate((300, 40, 150)):
        pages = [(f"http://site/{file}/{number}", html(prose((file, number), 12))) for number in range(count)]
        pages += [(f"http://site/{file}/copy", html(prose((0, 7), 12)) + b"<!-- a copy -->")]
        write_warc(folder / f"{file}.warc.gz", pages[:20] + hostile * (file == 1) + pages[20:])
    torn = folder / "2.warc.gz"
    torn.write_bytes(torn.read_bytes()[:-300])
    rows = [json.dumps({"text": prose(("table", number), 12), "id": number}) for number in range(30)]
    (folder / "texts.jsonl").write_text("\n".join([*rows, "{not JSON"]), encoding="utf-8")
    (folder / "notes.md").write_text(prose("notes", 12), encoding="utf-8")
    return CorpusOptions(pages=folder, rules="none", max_nesting=25_000, page_seconds=1, workers=1)


@pytest.fixture(scope="module")
def undisturbed(options, tmp_path_factory) -> Artifact:
    artifact = run(options, out=tmp_path_factory.mktemp("undisturbed") / "corpus")
    assert artifact.facts["reasons"]["timeout"] == 1
    assert artifact.facts["reasons"]["fault"] == 2
    return artifact


def assert_same(artifact: Artifact, undisturbed: Artifact) -> None:
    """The same bytes, ledger and samples among them, and the same totals."""
    assert artifact.manifest["files"] == undisturbed.manifest["files"]
    assert (artifact.digest, artifact.recipe) == (undisturbed.digest, undisturbed.recipe)
    assert artifact.facts == undisturbed.facts


def command(options: CorpusOptions, out: Path, *more: str) -> list[str]:
    given = [
        "--rules",
        options.rules,
        "--max-nesting",
        str(options.max_nesting),
        "--page-seconds",
        str(options.page_seconds),
    ]
    return [sys.executable, "-m", "ropewalk", "corpus", "--pages", str(options.pages), "--out", str(out), *given, *more]


@pytest.mark.parametrize("workers", [2, 8])
def test_the_number_of_workers_changes_nothing(workers, options, undisturbed, tmp_path):
    assert_same(run(replace(options, workers=workers), out=tmp_path / "corpus"), undisturbed)


@needs_ray
def test_ray_changes_nothing(options, undisturbed, tmp_path):
    done = subprocess.run(
        command(options, tmp_path / "corpus", "--engine", "ray", "--workers", "2"),
        check=True,
        capture_output=True,
        text=True,
    )
    assert "http://site/hang killed its worker (timeout) twice" in done.stdout + done.stderr
    assert_same(open_artifact(tmp_path / "corpus"), undisturbed)


@pytest.mark.parametrize("engine", ["local", pytest.param("ray", marks=needs_ray)])
def test_kills_at_random_moments_change_nothing(engine, options, undisturbed, tmp_path):
    """First one of its processes is killed, any of them, and then itself; the next run carries on."""
    chance = random.Random(engine)
    out, part = tmp_path / "corpus", tmp_path / "corpus.part"
    line = command(options, out, "--engine", engine, "--workers", "2")
    kills = 0
    while kills < KILLS // (2 if engine == "ray" else 1):
        with subprocess.Popen(line, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
            batches = len(list(part.rglob("batch-*.parquet")))
            while kills == 0 and len(list(part.rglob("batch-*.parquet"))) == batches:  # the first comes when there is work
                assert process.poll() is None
                time.sleep(0.02)
            time.sleep(chance.uniform(0, 2))
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            for victim in (chance.choice(family), family[0]):
                if victim.is_running():
                    victim.kill()
                time.sleep(chance.uniform(0, 0.5))
            kills += 1
        psutil.wait_procs(family, timeout=20)
        assert not out.exists()
    assert part.exists()
    subprocess.run(line, check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    assert_same(open_artifact(out), undisturbed)


def test_a_shard_that_has_ended_is_not_read_again(options, tmp_path):
    shards, shelf = cut_shards(sources_of(options)), Shelf(tmp_path)
    assert [len(shard.sources) for shard in shards] == [1, 1, 1, 1, 1]
    mine = [shard for shard in shards if shard.number in (3, 4)]
    for outcome in judge_shards(mine, options, None, workers=1, made=frozenset()):
        shelf.keep(outcome)
    assert shelf.ended(shards) == {3: Ended(3, 1, 31), 4: Ended(4, 1, 1)}
    again = list(judge_shards(mine, options, None, workers=1, made=shelf.names()))
    assert again == list(shelf.ended(mine).values())


def test_ranks_make_the_batches_that_one_process_makes(options, tmp_path):
    """Without Slurm: what its jobs run, one after the other."""
    part, alone = tmp_path / "corpus.part", tmp_path / "alone"
    alone.mkdir()
    (part / "scratch" / "slurm").mkdir(parents=True)
    little = replace(options, pages=tmp_path / "pages", slurm_ranks=2)
    shutil.copytree(options.pages, little.pages, ignore=shutil.ignore_patterns("0*", "1*"))
    shards = cut_shards(sources_of(little))
    save_plan(part, new_plan(shards, little, None, force=False))
    assert load_plan(part).load_options() == replace(little, pages=str(little.pages))
    for rank in range(2):
        judge_rank(part, rank, workers=1)
    for outcome in judge_shards(shards, little, None, workers=1, made=frozenset()):
        Shelf(alone).keep(outcome)
    assert Shelf(part / "scratch").ended(shards) == Shelf(alone).ended(shards)
    for name in Shelf(alone).names():
        here, there = (pl.read_parquet(folder / name).drop("cpu_seconds") for folder in (part / "scratch", alone))
        assert here.equals(there)


def test_a_machine_that_differs_is_refused(options):
    check_machine(options, None, versions(options))
    with pytest.raises(MachineError, match=r"has spacy .*, and this corpus was begun with 1\.0"):
        check_machine(options, None, versions(options) | {"spacy": "1.0"})
    with pytest.raises(MachineError, match=r"does not have .*nowhere.*all machines"):
        check_machine(replace(options, forget=Path("/nowhere/forget.txt")), None, versions(options))


def test_an_engine_that_is_not_here_is_named_with_what_to_do(options, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MachineError, match=r"pip install 'ropewalk\[cluster\]'"):
        check(replace(options, engine="ray"))
    with pytest.raises(OptionError, match="--ray-address auto"):
        check(replace(options, engine="ray", ray_address="ray://head:10001"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MachineError, match="engine slurm needs sbatch, squeue, scancel: run this on a machine"):
        check(replace(options, engine="slurm"))


def test_squeue_is_read():
    listing = "1_2|PENDING\n1_3|PENDING\n2|PENDING\n1_0|RUNNING\n1_1|RUNNING\n"  # Slurm 22.05.8 said so
    assert parse_jobs(listing) == {"1_2": "PENDING", "1_3": "PENDING", "2": "PENDING", "1_0": "RUNNING", "1_1": "RUNNING"}
    assert parse_jobs("") == {}


@pytest.fixture
def slurm() -> None:
    """A Slurm that answers, and may be given small jobs."""
    found = shutil.which("sinfo")
    if found is None or subprocess.run([found, "--noheader"], capture_output=True, timeout=60).returncode:
        pytest.skip("no Slurm answers 'sinfo': scripts/slurm_here.sh starts one in a container")


def test_slurm_shows_the_rank_that_failed_and_submits_it_alone(slurm, options, undisturbed, tmp_path):
    out, part = tmp_path / "corpus", tmp_path / "corpus.part"
    line = command(options, out, "--engine", "slurm", "--slurm-ranks", "2")

    def give() -> tuple[int, str]:
        done = subprocess.run(line, capture_output=True, text=True)
        return done.returncode, done.stderr

    def wait_for(what) -> None:
        deadline = time.monotonic() + 120
        while not what():
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def live() -> dict[str, str]:
        listing = subprocess.run(["squeue", "--me", "-hr", "-o", "%i|%T"], capture_output=True, text=True, check=True).stdout
        return parse_jobs(listing)

    code, said = give()
    assert code == 75
    assert re.search(r"2 ranks: 2 new.*\n.*submitted 2 ranks as job \d+\n.*same command says how far it is", said)
    before = load_plan(part)
    log = part / "scratch" / "slurm" / "rank-0.log"
    wait_for(lambda: list((part / "scratch").glob("batch-000000-*")))  # the first shard is rank 0's
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if str(part) in words and words[-2:] == ["--rank", "0"]:
            process.kill()
    wait_for(lambda: before.jobs["0"] not in live() and before.jobs["1"] not in live())
    log.write_text(log.read_text(encoding="utf-8") + "the last words of a rank\n", encoding="utf-8")
    code, said = give()
    assert code == 75
    assert "2 ranks: 1 finished, 1 failed" in said
    assert "rank 0 failed; the end of" in said and "the last words of a rank" in said
    assert re.search(r"submitted rank 0 as job \d+", said)
    after = load_plan(part)
    assert after.jobs["0"] != before.jobs["0"] and after.jobs["1"] == before.jobs["1"]
    wait_for(out.exists)
    assert_same(open_artifact(out), undisturbed)
    assert give()[0] == 0
