"""One of the processes that `ropewalk pretrain --processes N` starts: `python -m ropewalk.cli.job JOB.json`."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from ropewalk.cli import terminate
from ropewalk.cli.faults import explained
from ropewalk.config import options_from
from ropewalk.pretrain import PretrainOptions, run
from ropewalk.runtime.threads import wait_politely


def main() -> int:
    """Do the job's share."""
    signal.signal(signal.SIGTERM, terminate)
    wait_politely()
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    with explained(resumable=True) as outcome:
        options = options_from(PretrainOptions, job["options"], where="ropewalk pretrain")
        run(options, out=Path(job["out"]), force=job["force"])
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
