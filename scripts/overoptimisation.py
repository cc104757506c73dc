"""Draw what a reward model gave and what was right, over how far a model had moved: Gao et al. 2023, figure 1.

    python scripts/overoptimisation.py runs/overoptimisation/model --out docs/images/overoptimisation.svg

Reads the metrics of a `grpo` or `ppo` run with a reward model; `ropewalk report` of such a model draws the same.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ropewalk.artifact import open_artifact
from ropewalk.evaluate.curves import overoptimisation_plot
from ropewalk.runtime.metrics import read_metrics


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--out", type=Path, default=Path("overoptimisation.svg"))
    options = parser.parse_args()
    plot = overoptimisation_plot(options.model.name, read_metrics(open_artifact(options.model, "model").path / "logs"))
    if plot is None:
        sys.exit(f"{options.model} was not trained with a reward model: give one that was")
    options.out.write_text(plot.svg)
    given, right = plot.series
    best = max(range(len(right.y)), key=right.y.__getitem__)
    for name, place in (("first", 0), ("best", best), ("last", len(right.y) - 1)):
        print(f"{name}: distance {right.x[place]:.2f}, given {given.y[place]:.3f} of its range, right {right.y[place]:.3f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
