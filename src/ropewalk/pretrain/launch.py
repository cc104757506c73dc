"""Start several processes for one run.

`ropewalk pretrain --processes 8` comes here; `torchrun` on several machines starts `ropewalk pretrain` itself.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from ropewalk.artifact import Artifact, open_artifact
from ropewalk.config.options import plain
from ropewalk.pretrain import PretrainOptions
from ropewalk.runtime.errors import MachineError
from ropewalk.runtime.machine import cores


def launch(options: PretrainOptions, *, out: Path, force: bool) -> Artifact:
    """Run `options.processes` processes to their end, and return what they made.

    Raises:
        MachineError: they failed; they have said why.
    """
    import torch

    processes = options.processes or max(1, torch.cuda.device_count())
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "job.json"
        job.write_text(json.dumps({"options": plain(options), "out": str(out), "force": force}), encoding="utf-8")
        words = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command = [sys.executable, "-m", *words, "-m", "ropewalk.cli.job", str(job)]
        threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, cores() // processes))
        with subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": threads}) as running:
            try:
                code = running.wait()
            except KeyboardInterrupt:  # they finish their step and save
                running.send_signal(signal.SIGTERM)
                running.wait()
                raise
    if code:
        raise MachineError(f"{processes} processes did not come to an end together (exit {code}): see what they said above")
    return open_artifact(out, "model")
