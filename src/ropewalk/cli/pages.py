"""What a user's own folder holds, before any stage has read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ropewalk.artifact import is_remote, list_remote
from ropewalk.runtime.progress import progress

# Rough guesses, not measured; good enough to size a recipe. Bytes of text in a byte of file: markup goes, compression
# (WARC) goes the other way.
TEXT_FRACTION = {
    ".html": 0.3, ".htm": 0.3, ".xhtml": 0.3, ".md": 0.95, ".txt": 1.0,
    ".warc": 0.25, ".warc.gz": 1.2, ".warc.zst": 1.2, ".wet": 0.95, ".wet.gz": 2.3, ".wet.zst": 2.3,
    ".jsonl": 0.9, ".jsonl.gz": 2.3, ".jsonl.zst": 2.3, ".ndjson": 0.9, ".ndjson.gz": 2.3, ".ndjson.zst": 2.3,
    ".parquet": 1.7,
}  # fmt: skip
BYTES_PER_PAGE = {  # of files that hold many
    ".warc": 60_000, ".warc.gz": 12_000, ".warc.zst": 12_000, ".wet": 4_000, ".wet.gz": 1_700, ".wet.zst": 1_700,
    ".jsonl": 4_500, ".jsonl.gz": 1_700, ".jsonl.zst": 1_700, ".ndjson": 4_500, ".ndjson.gz": 1_700, ".ndjson.zst": 1_700,
    ".parquet": 2_400,
}  # fmt: skip


def count_pages(path: Path | str) -> tuple[Counter[str], Counter[str]]:
    """The files at or below `path` that the corpus stage reads, and their bytes, by suffix."""
    files: Counter[str] = Counter()
    file_bytes: Counter[str] = Counter()
    with progress(f"looking at {path}", total=None, unit="files") as bar:
        for name, size_bytes in _sizes(path):
            suffix = next((suffix for suffix in sorted(TEXT_FRACTION, key=len) if name.lower().endswith(suffix)), None)
            if suffix:
                files[suffix] += 1
                file_bytes[suffix] += size_bytes
            bar.advance()
    return files, file_bytes


def _sizes(path: Path | str) -> Iterator[tuple[str, int]]:
    """Name and bytes of every file at or below `path`."""
    if is_remote(path):
        yield from ((file.name, file.size_bytes) for file in list_remote(str(path)))
        return
    path = Path(path)
    for found in path.rglob("*") if path.is_dir() else [path]:
        if found.is_file():
            yield found.name, found.stat().st_size


def expected_pages(path: Path | str) -> float:
    """About how many pages a user's folder or file holds: a file each, but WARC files and tables hold many."""
    files, file_bytes = count_pages(path)
    return sum(
        file_bytes[suffix] / BYTES_PER_PAGE[suffix] if suffix in BYTES_PER_PAGE else files[suffix] for suffix in files
    )
