"""`ropewalk plan`: what a corpus of so many pages will take, as a table or as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt
from tyro.conf import FlagCreatePairsOff, Positional

from ropewalk.runtime.errors import OptionError
from ropewalk.runtime.machine import cores
from ropewalk.runtime.progress import clock, size

if TYPE_CHECKING:
    from ropewalk.corpus.forecast import Plan, Sample


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """Tell what a corpus of so many pages will take."""

    sample: Positional[Path]
    """A finished corpus, made with the options to plan for from a random part of the pages: the more, the surer."""
    pages: Annotated[int, Gt(0)]
    """Pages to plan for."""
    smaller: Path | None = None
    """Another corpus with the same options, from fewer pages: tells what stays the same however many pages there are."""
    cores: Annotated[int, Ge(0)] = 0
    """Cores, and so workers, of the machine to plan for; 0 for as many as this one has."""
    price: Annotated[float, Gt(0)] | None = None
    """Price of an hour of one core, in any currency; without it no cost is told."""
    json: FlagCreatePairsOff[bool] = False
    """Print the plan as JSON, for programs."""


def run_plan(options: PlanOptions) -> None:
    """Print the plan.

    Raises:
        ArtifactError: no corpus there, or one that does not know what it took.
        OptionError: the two samples are of other options, or the smaller one is not smaller.
    """
    from ropewalk.corpus.forecast import plan, read_sample

    sample = read_sample(options.sample)
    smaller = read_sample(options.smaller) if options.smaller else None
    if smaller is not None and smaller.options != sample.options:
        raise OptionError(
            f"{options.smaller} was made with other options than {options.sample}: give two that differ in pages"
        )
    if smaller is not None and smaller.records >= sample.records / 2:
        raise OptionError(
            f"--smaller has {smaller.records} pages, the sample {sample.records}: give one of at most half as many"
        )
    planned = plan(sample, options.pages, smaller=smaller, cores=options.cores or cores(), price=options.price)
    if options.json:
        print(json.dumps({"core_hours": planned.core_hours, **asdict(planned), "sample": asdict(sample)}, indent=2))
    else:
        print("\n".join(_shown(planned, sample, options)))


def _shown(planned: Plan, sample: Sample, options: PlanOptions) -> list[str]:
    """The plan for people."""
    hours = {name: seconds / 3600 for name, seconds in planned.cpu_seconds.items()}
    rows = [
        ("documents", f"{planned.documents:,.0f}"),
        ("core-hours", f"{_figure(planned.core_hours)} (+-{planned.uncertain_fraction:.0%})"),
        *((f"  {name}", _figure(value)) for name, value in hours.items()),
        (f"time on {planned.cores} cores", clock(sum(planned.wall_seconds.values()))),
        *((f"  {name}", clock(seconds)) for name, seconds in planned.wall_seconds.items()),
        ("disk, at most", size(planned.disk_peak_bytes)),
        ("result", size(planned.result_bytes)),
        ("memory, driver", size(planned.driver_peak_bytes)),
        ("memory, a worker", size(planned.worker_peak_bytes)),
    ]
    if planned.cost is not None:
        rows.append(("cost", f"{planned.cost:,.2f} at {options.price:g} a core-hour"))
    lines = [f"{planned.pages:,} pages as those of {options.sample} ({sample.records:,}):", ""]
    lines += [f"  {name:<22}{value}" for name, value in rows]
    return [*lines, "", "Assumed:", *(f"- {sentence}" for sentence in planned.assumptions)]


def _figure(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
