"""`ropewalk doctor`: what this machine has, what is missing, and the command that mends it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from ropewalk.runtime.machine import System, cores, cxx_compiler, disk_free_bytes, memory_bytes, nearest_existing, system
from ropewalk.runtime.progress import size

LEAST_MEMORY_BYTES = 4e9
LEAST_DISK_BYTES = 5e9
DRIVER_SECONDS = 20.0
NAMESPACE_SECONDS = 20.0

COMPILER = {
    "Linux": "sudo apt-get install g++   (Debian, Ubuntu; on Fedora: sudo dnf install gcc-c++)",
    "WSL": "sudo apt-get install g++   (inside WSL, not on Windows)",
    "macOS": "xcode-select --install",
}
BUBBLEWRAP = {
    "Linux": "sudo apt-get install bubblewrap",
    "WSL": "sudo apt-get install bubblewrap   (WSL 2; WSL 1 has no user namespaces)",
    "macOS": "nothing to install: bubblewrap is for Linux only",
}
EXTRAS = {
    "demo": "the Atlas, and SmolLM2 beside it",
    "dev": "for working on ropewalk",
    "docs": "the book",
    "grammar": "answers that match a JSON schema or a regular expression",
    "peers": "for tests that compare with other tools",
    "wasm": "runs untrusted code where bubblewrap does not work",
}


@dataclass(frozen=True)
class DoctorOptions:
    """What this machine has, what is missing, how to mend it."""

    folder: Path = Path()
    """The folder whose disk is looked at: where artifacts will go."""


@dataclass(frozen=True)
class Finding:
    """One line of the report. `mend` says what to do if it is not `fine`; only a `needed` one fails the check-up."""

    name: str
    found: str
    fine: bool = True
    mend: str = ""
    needed: bool = False


def run_doctor(options: DoctorOptions) -> int:
    """Print the findings. Returns 1 if something needed is missing."""
    code = 0
    for finding in findings(options):
        mark = "ok" if finding.fine else "MISSING" if finding.needed else "note"
        print(f"{mark:<8}{finding.name:<14}{finding.found}", flush=True)
        if not finding.fine:
            print(f"{'':<22}-> {finding.mend}")
            code = 1 if finding.needed else code
    return code


def findings(options: DoctorOptions) -> Iterator[Finding]:
    """Look at one thing after the other; nothing is changed."""
    here = system()
    yield _system(here)
    yield Finding(
        "Python", platform.python_version(), sys.version_info >= (3, 11), "install Python 3.11 or newer", needed=True
    )
    yield from _libraries()
    yield _torch()
    yield Finding("cores", f"{cores()} usable of {os.cpu_count()}")
    total_bytes, free_bytes = memory_bytes()
    yield Finding(
        "memory", f"{size(total_bytes)}, {size(free_bytes)} free", total_bytes >= LEAST_MEMORY_BYTES,
        f"{size(LEAST_MEMORY_BYTES)} is little for a corpus: give fewer --workers",
    )  # fmt: skip
    disk_bytes = disk_free_bytes(options.folder)
    yield Finding(
        "disk", f"{size(disk_bytes)} free at {options.folder.absolute()}", disk_bytes >= LEAST_DISK_BYTES,
        "free some space, or give another folder with --folder and 'ropewalk run --into'",
    )  # fmt: skip
    yield _writable(options.folder)
    yield _compiler(here)
    yield _accelerator(here)
    yield _bubblewrap(here)
    yield from _extras()


def _system(here: System) -> Finding:
    said = {
        "Linux": "Linux: everything is tested here",
        "WSL": "WSL: as Linux, not tested yet; keep artifacts inside WSL (~/...), /mnt/c is slow",
        "macOS": "macOS: not tested yet; no bubblewrap, and the GPU (MPS) is not used",
    }
    found = f"{platform.platform()}. {said.get(here, '')}".rstrip(". ")
    return Finding(
        "system", found, here != "other", "Windows: install WSL with 'wsl --install' and work inside it", needed=True
    )


def _libraries() -> Iterator[Finding]:
    """The packages that ropewalk's own metadata asks for, each at a version it allows."""
    from packaging.requirements import Requirement

    wanted = [Requirement(text) for text in requires("ropewalk") or ()]
    bad = []
    for requirement in wanted:
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            if not requirement.specifier.contains(version(requirement.name), prereleases=True):
                bad.append(f"{requirement.name} {version(requirement.name)} (needed: {requirement.specifier})")
        except PackageNotFoundError:
            bad.append(f"{requirement.name} (not installed)")
    yield Finding(
        "libraries", ", ".join(bad) or "all there", not bad, "make install, or: pip install --upgrade ropewalk", needed=True
    )


def _torch() -> Finding:
    from ropewalk.runtime.threads import wait_politely

    wait_politely()
    mend = "pip install torch   (CPU only, smaller: add --index-url https://download.pytorch.org/whl/cpu)"
    try:
        import torch
    except (ImportError, OSError) as error:
        return Finding("torch", f"cannot be imported: {error}", fine=False, mend=mend, needed=True)
    return Finding("torch", f"{torch.__version__}, {torch.get_num_threads()} threads, BLAS {_blas(torch.__config__.show())}")


def _blas(text: str) -> str:
    return next((name for name in ("MKL", "Accelerate", "OpenBLAS") if name.lower() in text.lower()), "unknown")


def _writable(folder: Path) -> Finding:
    existing = nearest_existing(folder)
    fine = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
    return Finding(
        "writing",
        f"{'possible' if fine else 'not allowed'} in {folder.absolute()}",
        fine,
        "choose another folder",
        needed=True,
    )


def _compiler(here: System) -> Finding:
    found = cxx_compiler()
    mend = f"training is about 1.4 times as fast with one: {COMPILER.get(here, 'install g++')}"
    return Finding("C++ compiler", found or "none: torch.compile is off", found is not None, mend)


def _accelerator(here: System) -> Finding:
    if here == "macOS":
        return Finding("GPU", "not used on macOS")
    if not shutil.which("nvidia-smi"):
        return Finding("GPU", "none; every stage runs on the CPU")
    answer = _driver_answer()
    if answer is None:  # torch would wait for that driver too
        said = f"nvidia-smi gives no answer within {DRIVER_SECONDS:g} s: the driver hangs"
        return Finding("GPU", said, fine=False, mend="restart the machine, or see what 'dmesg' says of the driver")
    names = "; ".join(answer.strip().splitlines()) or "nvidia-smi found no GPU"
    try:
        import torch
    except (ImportError, OSError):
        return Finding("GPU", names)
    return Finding(
        "GPU", names, torch.cuda.is_available(),
        f"this torch ({torch.__version__}) cannot use it: see 'Choosing a torch' in CONTRIBUTING.md",
    )  # fmt: skip


def _driver_answer() -> str | None:
    """The GPUs as nvidia-smi lists them, None if it hangs."""
    process = subprocess.Popen(
        ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        return process.communicate(timeout=DRIVER_SECONDS)[0]
    except subprocess.TimeoutExpired:
        process.kill()  # and not waited for: a process that is stuck in the driver does not even die
        return None


def _bubblewrap(here: System) -> Finding:
    if here == "macOS":
        return Finding("bubblewrap", BUBBLEWRAP["macOS"])
    found = shutil.which("bwrap")
    if found is None:
        said = "none; only running untrusted code needs it"
        return Finding("bubblewrap", said, fine=False, mend=BUBBLEWRAP.get(here, ""))
    refusal = _namespaces_refused(found)
    if refusal is None:
        return Finding("bubblewrap", f"{found}: untrusted code runs in it")
    mend = "allow user namespaces (man 7 user_namespaces), or: pip install 'ropewalk[wasm]'"
    return Finding("bubblewrap", f"{found} cannot make a sandbox here: {refusal}", fine=False, mend=mend)


def _namespaces_refused(bwrap: str) -> str | None:
    """What bubblewrap says when it is asked for namespaces, None if it makes them."""
    command = [bwrap, "--unshare-all", "--unshare-user", "--ro-bind", "/", "/", "--size", "4096", "--tmpfs", "/tmp", "true"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=NAMESPACE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"


def _extras() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    wanted = [Requirement(text) for text in requires("ropewalk") or ()]
    for extra, purpose in EXTRAS.items():
        missing = []
        for requirement in wanted:
            if (
                requirement.marker
                and requirement.marker.evaluate({"extra": extra})
                and not requirement.marker.evaluate({"extra": ""})
            ):
                try:
                    version(requirement.name)
                except PackageNotFoundError:
                    missing.append(requirement.name)
        found = f"without {', '.join(missing)}" if missing else "all there"
        yield Finding(f"extra {extra}", f"{found} ({purpose})", not missing, f"pip install 'ropewalk[{extra}]'")
