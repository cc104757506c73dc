"""A plan from a sample, against what a corpus of more pages then takes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ropewalk.corpus import CorpusOptions, run
from ropewalk.corpus.forecast import Sample, plan, read_sample
from ropewalk.corpus.plan import PlanOptions, run_plan
from ropewalk.runtime.errors import ArtifactError, OptionError

SMALL, LARGE = 60, 240


@pytest.fixture(scope="module")
def corpora(tmp_path_factory, prose, html, write_warc) -> dict[int, Path]:
    """Corpora of different pages, every tenth too short; that of SMALL pages is a quarter of the other."""
    folder = tmp_path_factory.mktemp("plan")
    found = {}
    for count in (SMALL, LARGE):
        pages = [(f"http://site/{n:04d}", html(prose(n, 3 if n % 10 == 0 else 60))) for n in range(count)]
        warc = write_warc(folder / f"{count}.warc.gz", pages)
        found[count] = run(CorpusOptions(pages=warc, workers=1), out=folder / str(count)).path
    return found


def test_a_run_notes_what_it_took_outside_its_digest(corpora):
    sample = read_sample(corpora[LARGE])
    assert (sample.records, sample.candidates, sample.workers) == (LARGE, LARGE * 9 // 10, 1)
    assert 0 < sample.page_seconds < sample.phases["judging"]["children_cpu_seconds"]
    assert all(phase["cpu_seconds"] > 0 and phase["peak_bytes"] > 20_000_000 for phase in sample.phases.values())
    assert sample.phases["deciding"]["scratch_bytes"] > sample.phases["judging"]["scratch_bytes"] > 100_000
    assert 0 < sample.spread < 0.5
    manifest = json.loads((corpora[LARGE] / "manifest.json").read_text())
    assert "logs/costs.json" in manifest["logs"] and not any("costs" in name for name in manifest["files"])


def test_a_quarter_foretells_the_whole(corpora):
    small, large = read_sample(corpora[SMALL]), read_sample(corpora[LARGE])
    planned = plan(small, LARGE, cores=1)
    assert planned.documents == pytest.approx(large.documents, rel=0.02)
    assert planned.result_bytes == pytest.approx(large.documents_stored_bytes + large.ledger_stored_bytes, rel=0.15)
    assert planned.disk_peak_bytes == pytest.approx(large.disk_bytes(), rel=0.15)
    # Processor time on a shared machine is itself uncertain: it may differ by half, but not be four times as much.
    taken = sum(phase["cpu_seconds"] + phase["children_cpu_seconds"] for phase in large.phases.values())
    assert planned.core_hours * 3600 == pytest.approx(taken, rel=0.6)


def test_what_does_not_grow_is_told_apart(corpora):
    small, large = read_sample(corpora[SMALL]), read_sample(corpora[LARGE])
    deciding = [one.phases["deciding"]["cpu_seconds"] for one in (small, large)]
    each = (deciding[1] - deciding[0]) / (LARGE - SMALL)
    planned = plan(large, 10 * LARGE, smaller=small, cores=1).cpu_seconds["deciding"]
    assert planned == pytest.approx(deciding[1] + max(0, each) * 9 * LARGE)
    assert planned < plan(large, 10 * LARGE, cores=1).cpu_seconds["deciding"]


def made_up(**changes) -> Sample:
    """A million pages, round figures."""
    phase = {"wall_seconds": 100.0, "cpu_seconds": 100.0, "children_cpu_seconds": 0.0, "peak_bytes": 1e9}
    phase |= {"child_peak_bytes": 2e8, "scratch_bytes": 4e9}
    judging = phase | {"wall_seconds": 5_000.0, "children_cpu_seconds": 10_004.0}
    options = CorpusOptions(pages="unused")
    sample = Sample(
        records=1_000_000,
        candidates=600_000,
        documents=500_000,
        text_bytes=2_000_000_000,
        columns_bytes=2_200_000_000,
        documents_stored_bytes=800_000_000,
        ledger_stored_bytes=100_000_000,
        page_seconds=10_000.0,
        spread=0.01,
        workers=2,
        cores=4,
        phases={"judging": judging, "deciding": phase | {"scratch_bytes": 5e9}, "writing": phase},
        options={name: getattr(options, name) for name in CorpusOptions.__dataclass_fields__},
    )
    return replace(sample, **changes)


def test_one_reader_is_the_limit_of_many_cores():
    few, many = (plan(made_up(), 100_000_000, cores=cores).wall_seconds for cores in (8, 1_000))
    waits = 5_000 / (10_004 / 2)
    assert few["judging"] == pytest.approx(waits * (10_000 + 1_000_000 + 8 * 2) / 8)
    assert many["judging"] == pytest.approx(waits * 10_000)  # the driver's own processor time
    assert few["writing"] == many["writing"] == pytest.approx(10_000)


def test_memory_stops_growing_but_for_what_is_noted_of_each_page():
    held = {pages: plan(made_up(), pages, cores=1).driver_peak_bytes for pages in (2_000_000, 10_000_000, 100_000_000)}
    each = 30 * 90_000_000 + (60 + 350 * 4 * 0.02) * 45_000_000  # four candidates for each place of those set aside
    assert held[100_000_000] - held[10_000_000] == pytest.approx(each, rel=0.05)
    assert held[2_000_000] - 1e9 < 0.1e9


def test_disk_counts_the_bands_where_they_are_most():
    sample = made_up(columns_bytes=1, documents_stored_bytes=1, ledger_stored_bytes=1)
    phases = {**sample.phases, "deciding": {**sample.phases["deciding"], "scratch_bytes": 4.1e9}}
    sample = replace(sample, phases=phases)
    assert plan(sample, 10_000_000, cores=1).disk_peak_bytes == pytest.approx(41e9 + 6_000_000 * 14 * 16)
    without = replace(sample, options={**sample.options, "near_duplicates": False})
    assert plan(without, 10_000_000, cores=1).disk_peak_bytes == pytest.approx(41e9 + 1e9)  # sorted rows beside the runs


def test_the_table_and_the_json_say_the_same(corpora, capsys):
    options = PlanOptions(sample=corpora[LARGE], pages=10**9, cores=64, price=0.04)
    run_plan(options)
    table = capsys.readouterr().out
    run_plan(replace(options, json=True, smaller=corpora[SMALL]))
    found = json.loads(capsys.readouterr().out)
    assert "1,000,000,000 pages" in table and "time on 64 cores" in table and "at 0.04 a core-hour" in table
    assert "take a larger sample" in table and "a larger sample" not in " ".join(found["assumptions"])
    assert found["cost"] == pytest.approx(0.04 * found["core_hours"])
    assert found["sample"]["records"] == LARGE


def test_samples_that_cannot_tell_are_refused(corpora, tmp_path, html, prose, write_warc):
    with pytest.raises(OptionError, match="at most half as many"):
        run_plan(PlanOptions(sample=corpora[SMALL], smaller=corpora[LARGE], pages=1000))
    warc = write_warc(tmp_path / "few.warc.gz", [(f"http://site/{n}", html(prose(n))) for n in range(5)])
    other = run(CorpusOptions(pages=warc, min_words=20, workers=1), out=tmp_path / "other").path
    with pytest.raises(OptionError, match="other options"):
        run_plan(PlanOptions(sample=corpora[LARGE], smaller=other, pages=1000))
    costs = other / "logs" / "costs.json"
    said = json.loads(costs.read_text()) | {"carried_on": True}
    costs.write_text(json.dumps(said))
    with pytest.raises(ArtifactError):
        read_sample(other)
