"""Run the command line as a user does: in a process of its own."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path


def ropewalk(
    *arguments: str | Path,
    cwd: Path | None = None,
    file_limit_bytes: int | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `ropewalk ARGUMENTS` to its end. `file_limit_bytes` caps every file it writes, as a quota would."""

    def limit() -> None:
        if file_limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit_bytes, file_limit_bytes))

    return subprocess.run(
        command(*arguments), cwd=cwd, capture_output=True, text=True, timeout=120, check=False, preexec_fn=limit,
        env={**os.environ, "COLUMNS": "110"},
    )  # fmt: skip


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "ropewalk", *map(str, arguments)]


def refusal(process: subprocess.CompletedProcess[str]) -> str:
    """The one sentence a failed command ends with; no traceback, nothing on stdout."""
    assert process.returncode in (1, 2), process
    assert "Traceback" not in process.stderr, process.stderr
    lines = process.stderr.strip().splitlines()
    assert lines, process
    return lines[-1]
