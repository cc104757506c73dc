"""What the jobs of the engine "slurm" run: python -m ropewalk.corpus.rank judge|finish PART --workers N [--rank N]."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ropewalk.corpus import run
from ropewalk.corpus.build import sources_of
from ropewalk.corpus.machines import check_machine
from ropewalk.corpus.shards import Judged, Shelf, cut_shards, judge_shards
from ropewalk.corpus.slurm import load_plan
from ropewalk.runtime.errors import RopewalkError
from ropewalk.runtime.progress import progress, say


def judge_rank(part: Path, rank: int, *, workers: int) -> None:
    """Judge what has not ended of a rank's shards.

    Raises:
        MachineError: this machine differs from the one that began the work. InputError: a file cannot be had.
    """
    plan, shelf = load_plan(part), Shelf(part / "scratch")
    options, evaluation = plan.load_options(), plan.load_evaluation()
    check_machine(options, evaluation, plan.versions)
    mine = plan.shards(rank, cut_shards(sources_of(options)))
    ended = shelf.ended(mine)
    waiting = [shard for shard in mine if shard.number not in ended]
    with progress(f"judging pages, rank {rank}", total=None, unit="pages") as bar:
        for outcome in judge_shards(waiting, options, evaluation, workers=options.workers or workers, made=shelf.names()):
            shelf.keep(outcome)
            bar.advance(outcome.records if isinstance(outcome, Judged) else 0)


def finish(part: Path, *, workers: int) -> None:
    """Give the command anew that handed the work over, to be done here: all is judged, and the rest is quick."""
    plan = load_plan(part)
    options = plan.load_options()
    options = replace(options, engine="local", workers=options.workers or workers)
    run(options, out=part.with_name(part.name.removesuffix(".part")), force=plan.force)


def main() -> int:
    """Judge or finish, as the command line says; a mistake is one sentence, in the rank's own log."""
    parser = argparse.ArgumentParser(prog="ropewalk.corpus.rank", description=__doc__)
    parser.add_argument("what", choices=["judge", "finish"])
    parser.add_argument("part", type=Path)
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--workers", type=int, required=True)
    given = parser.parse_args()
    try:
        if given.what == "judge":
            judge_rank(given.part, given.rank, workers=given.workers)
        else:
            finish(given.part, workers=given.workers)
    except RopewalkError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
