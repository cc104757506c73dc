"""What a user's own folder holds, before any stage has read it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ropewalk.runtime.progress import progress

# Rough guesses, not measured; good enough to size a recipe. Bytes of text in a byte of file: markup goes, compression
# (WARC) goes the other way.
TEXT_FRACTION = {".html": 0.3, ".htm": 0.3, ".md": 0.95, ".txt": 1.0, ".warc": 0.25, ".warc.gz": 1.2}
WARC_BYTES_PER_PAGE = {".warc": 60_000, ".warc.gz": 12_000}


def count_pages(path: Path) -> tuple[Counter[str], Counter[str]]:
    """The files at or below `path` that the corpus stage reads, and their bytes, by suffix."""
    files: Counter[str] = Counter()
    file_bytes: Counter[str] = Counter()
    with progress(f"looking at {path}", total=None, unit="files") as bar:
        for found in path.rglob("*") if path.is_dir() else [path]:
            suffix = next((suffix for suffix in sorted(TEXT_FRACTION, key=len) if found.name.lower().endswith(suffix)), None)
            if suffix and found.is_file():
                files[suffix] += 1
                file_bytes[suffix] += found.stat().st_size
            bar.advance()
    return files, file_bytes


def expected_pages(path: Path) -> float:
    """About how many pages a user's folder or file holds: a file each, but WARC files hold many."""
    files, file_bytes = count_pages(path)
    return sum(
        file_bytes[suffix] / WARC_BYTES_PER_PAGE[suffix] if suffix in WARC_BYTES_PER_PAGE else files[suffix]
        for suffix in files
    )
