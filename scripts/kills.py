"""Kill a recipe's run at random moments, carry on, and compare what it ends with to an undisturbed run.

    python scripts/kills.py recipes/docs.toml --set model.train_tokens=300000 > kills.json

Every kill is SIGKILL to the main process alone: its workers have to notice by themselves. A crawl's own files hold dates,
and the report repeats them: these two are verified only, the crawl's pages being compared through the corpus. Every other
artifact must have the same digest, the trained weights and the evaluation included.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ropewalk.artifact import open_artifact, verify

DATED = {"pages", "report"}  # hold dates, or name what holds them


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="NAME.KEY=VALUE")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("runs/kills"), help="folder for both runs")
    options = parser.parse_args()

    started = time.monotonic()
    subprocess.run(command(options, options.work / "undisturbed"), check=True)
    undisturbed_seconds = time.monotonic() - started
    kills = killed_run(options, undisturbed_seconds)
    stages = {path.name: open_artifact(path) for path in sorted((options.work / "undisturbed").iterdir()) if path.is_dir()}
    rows = []
    for name, artifact in stages.items():
        other = open_artifact(options.work / "killed" / name)
        equal, damage = other.digest == artifact.digest, len(verify(other.path))
        rows.append({"stage": name, "digest": artifact.digest, "equal": equal, "damage": damage})
    same = all(row["equal"] for row in rows if row["stage"] not in DATED) and not any(row["damage"] for row in rows)
    result = {
        "recipe": str(options.recipe),
        "set": options.overrides,
        "undisturbed_seconds": round(undisturbed_seconds, 1),
        "kills": kills,
        "stages": rows,
        "same": same and len(kills) >= options.kills,
    }
    print(json.dumps(result, indent=2))
    return 0 if result["same"] else 1


def command(options: argparse.Namespace, into: Path) -> list[str]:
    overrides = [word for override in options.overrides for word in ("--set", override)]
    return [sys.executable, "-m", "ropewalk", "run", str(options.recipe), "--into", str(into), *overrides]


def killed_run(options: argparse.Namespace, undisturbed_seconds: float) -> list[dict[str, Any]]:
    """Run to the end with `options.kills` kills on the way; what was under way at each."""
    rng = random.Random(options.seed)
    into = options.work / "killed"
    kills: list[dict[str, Any]] = []
    while True:
        process = subprocess.Popen(command(options, into), stderr=subprocess.DEVNULL)
        # A fresh start takes a second or two, so twice the even share keeps the kills spread over the whole line.
        seconds = rng.uniform(2.0, 4.0 + 2 * undisturbed_seconds / options.kills) if len(kills) < options.kills else None
        try:
            if process.wait(seconds) != 0:
                raise SystemExit(f"the run ended by itself with exit code {process.returncode}")
            return kills
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            parts = sorted(path.name.removesuffix(".part") for path in into.glob("*.part"))
            kills.append({"after_seconds": round(seconds or 0, 2), "under_way": parts})
            print(f"kill {len(kills)}: after {seconds:.1f} s, under way {', '.join(parts) or 'nothing'}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
