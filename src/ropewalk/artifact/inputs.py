"""What a stage reads: files in a folder here, or behind an address such as s3://bucket/folder or https://host/file.

Addresses go through fsspec. It brings memory:// and https:// along; the other file systems are the extra
`ropewalk[remote]`. Nothing is copied to disk: files are read as they come, from where they lie.
"""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from ropewalk.runtime.errors import InputError, MachineError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from fsspec import AbstractFileSystem

ATTEMPTS = 5
FIRST_BACKOFF_SECONDS = 0.5
BLOCK_BYTES = 4 << 20
BUFFER_BYTES = 1 << 18
# What file systems say of a file's content, most telling first; where none is said, the size has to do.
_VERSIONS = ("ETag", "etag", "sha256", "md5Hash", "crc32c", "Content-MD5", "content_md5", "blob_id", "xet_hash")
_TIMES = ("Last-Modified", "LastModified", "last_modified", "updated", "mtime", "modified", "created")
_ERRORS = (
    ("aiohttp", "ClientError"),
    ("botocore.exceptions", "BotoCoreError"),
    ("gcsfs.retry", "HttpError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("huggingface_hub.errors", "HfHubHTTPError"),
)
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "hf": "huggingface_hub"}


@dataclass(frozen=True)
class InputFile:
    """A file to read. name: its path below the folder given. version: what changes with a remote file's content."""

    name: str
    location: Path | str
    size_bytes: int
    version: str = ""

    def open(self) -> BinaryIO:
        """Open it for reading.

        Raises:
            OSError: a file here cannot be opened. InputError, also from each `read`: one elsewhere cannot be had.
        """
        if isinstance(self.location, Path):
            return self.location.open("rb")
        return cast("BinaryIO", io.BufferedReader(_Persistent(self.location), BUFFER_BYTES))


def is_remote(location: Path | str) -> bool:
    """Whether this is an address, and not a path on this machine."""
    return isinstance(location, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", location) is not None


def list_remote(address: str) -> list[InputFile]:
    """The files at, or below, an address, by name. A star in it stands for any names: s3://bucket/2025-*/*.parquet.

    Over https:// an address that ends in a slash is a folder, whose page links to its files; folders in it are left out.

    Raises:
        InputError: nothing there, or it cannot be reached. MachineError: a package is missing.
    """
    with _explained(address):
        system, path = _file_system(address)
        on_web = address.startswith(("http://", "https://"))
        plain = path.partition("?")[0] if on_web else path  # a signed address carries its signature behind the name
        if "*" in plain:
            root, found = plain[: plain.index("*")].rpartition("/")[0], system.glob(path, detail=True)
        elif not plain.endswith("/") and (info := system.info(path))["type"] == "file":
            root, found = plain.rpartition("/")[0], {path: info}
        else:
            root, found = path, system.find(path, maxdepth=1 if on_web else None, detail=True)
        root = root.rstrip("/") + "/"
        files = []
        for name, info in sorted(cast("Mapping[str, Mapping[str, Any]]", found).items()):
            if info["type"] == "file" and name.startswith(root):
                if not _says_enough(info):  # a listing by links: each file has to be asked
                    info = system.info(name)
                where, below = str(system.unstrip_protocol(name)), name.removeprefix(root)
                below = below.partition("?")[0] if on_web else below
                files.append(InputFile(below, where, int(info["size"] or 0), _version(info)))
    if not files:
        raise InputError(f"{address} holds no files: check the address")
    return files


def _file_system(address: str) -> tuple[AbstractFileSystem, str]:
    from fsspec.core import url_to_fs

    try:
        system, path = url_to_fs(address, use_listings_cache=False)
    except ImportError as error:
        scheme = address.partition("://")[0]
        package = (
            f"'ropewalk[remote]' (or {_PACKAGES[scheme]} alone)" if scheme in _PACKAGES else f"what it asks for: {error}"
        )
        raise MachineError(f"{address} needs a package that is not installed: pip install {package}") from None
    except ValueError as error:
        raise InputError(f"{address} cannot be read ({error}): give s3://, gs://, hf://, https:// or a path") from None
    return system, str(path) + "/" * (address.endswith("/") and not str(path).endswith("/"))


@contextmanager
def _explained(address: str) -> Iterator[None]:
    """Turn what a file system raises into a sentence."""
    try:
        yield
    except (MachineError, InputError):
        raise
    except FileNotFoundError:
        said = "is not there, or cannot be reached or read: check the address and your credentials"
        raise InputError(f"{address} {said}") from None
    except _errors() as error:
        why = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise InputError(f"{address} cannot be read ({why}): mend that, the same command then carries on") from None


def _errors() -> tuple[type[Exception], ...]:
    """What may go wrong elsewhere. Not all of it is an OSError; a package that is not loaded raises nothing."""
    loaded = [(sys.modules[module], name) for module, name in _ERRORS if module in sys.modules]
    return (OSError, ValueError, *(getattr(module, name) for module, name in loaded))


def _says_enough(info: Mapping[str, Any]) -> bool:
    return info.get("size") is not None and bool(_version(info))


def _version(info: Mapping[str, Any]) -> str:
    lfs = info.get("lfs")
    if lfs:  # Hugging Face's large files
        return str(lfs["sha256"])
    return next((str(info[name]) for name in (*_VERSIONS, *_TIMES) if info.get(name)), "")


class _Persistent(io.RawIOBase):
    """A remote file that is opened anew, where it was, after a connection breaks; one that changed meanwhile is an error.

    A web server that gives no ranges is read from the start, as far as the place wanted.
    """

    def __init__(self, address: str) -> None:
        self.address, self.position = address, 0
        with _explained(address):
            self.system, self.path = _file_system(address)
            self.info = self.system.info(self.path)
        self.ranged = self.info["size"] is not None and self.info.get("partial", True)
        self.file: Any = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.info["size"] or 0}[whence]
        self.position = base + offset
        return self.position

    def tell(self) -> int:
        return self.position

    def close(self) -> None:
        self._drop()
        super().close()

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        with _explained(self.address):
            piece = self._persist(len(view))
        view[: len(piece)] = piece
        self.position += len(piece)
        return len(piece)

    def _persist(self, count: int) -> bytes:
        for attempt in range(ATTEMPTS):
            try:
                return self._read(count)
            except InputError:
                raise
            except _errors() as error:
                self._drop()
                if isinstance(error, ValueError):  # fsspec's, for a whole file in place of the range asked for
                    self.ranged = False
                if attempt + 1 == ATTEMPTS:
                    raise
                time.sleep(FIRST_BACKOFF_SECONDS * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def _read(self, count: int) -> bytes:
        if self.file is not None and not self.ranged and self.file.tell() > self.position:
            self._drop()
        if self.file is None:
            now = self.system.info(self.path)
            if (now["size"], _version(now)) != (self.info["size"], _version(self.info)):
                raise InputError(f"{self.address} has changed while it was read: start over with --force")
            block_bytes = BLOCK_BYTES if self.ranged else 0  # 0: a stream, without ranges
            self.file = self.system.open(self.path, "rb", block_size=block_bytes, cache_type="readahead")
        if self.ranged:
            self.file.seek(self.position)
        while self.file.tell() < self.position:
            if not self.file.read(min(BLOCK_BYTES, self.position - self.file.tell())):
                return b""
        return self.file.read(count)

    def _drop(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None
