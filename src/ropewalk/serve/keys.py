"""Who may ask a server: keys with a name, a role and a rate, in a file of JSON lines that only grows.

    {"name": "anna", "role": "user", "requests_per_minute": 120, "sha256": "9f86...", "created": "2026-11-26T20:00:00Z"}
    {"name": "anna", "removed": "2026-11-27T08:00:00Z"}

The file has no key in it, only its hash. A key is 256 random bits, which nobody finds by trying, so a slow hash with a
salt, as for passwords, would add nothing but its time. A line is one write to the file's end: what two processes do at
once is all there afterwards. A server that runs notices that the file has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge

from ropewalk.config import options_from
from ropewalk.runtime.errors import InputError, MachineError, OptionError
from ropewalk.runtime.lines import read_objects
from ropewalk.runtime.progress import say
from ropewalk.serve import AddKeyOptions, ListKeysOptions, RemoveKeyOptions, Role

PREFIX = "rw-"  # by which people, and scanners of published code, know one when they see it
KEY_BYTES = 32


@dataclass(frozen=True)
class Key:
    """What is known of a key. created: UTC. requests_per_minute: 0 for no limit."""

    name: str
    role: Role
    requests_per_minute: Annotated[int, Ge(0)]
    sha256: str
    created: str


class Keys:
    """The keys of a file as it stands now. Lives on the event loop."""

    def __init__(self, path: Path) -> None:
        """Read them.

        Raises:
            InputError: no such file, a damaged one, or none in it.
        """
        self.path = path
        self._seen = _version(path)
        self._by_hash = _by_hash(read_keys(path).values())
        if not self._by_hash:
            raise InputError(f"{path} holds no key: make one with 'ropewalk keys add --keys {path} --name NAME'")

    def of(self, secret: str) -> Key | None:
        """What is known of a key that somebody gives; None if it is none of ours.

        It is looked up by its hash, so the time this takes tells nothing of which key came near.
        """
        self._refresh()
        return self._by_hash.get(_hash(secret))

    def _refresh(self) -> None:
        version = _version(self.path)
        if version == self._seen:
            return
        self._seen = version
        try:
            self._by_hash = _by_hash(read_keys(self.path).values())
        except InputError as error:
            say(f"The keys stay as they were: {error}")


class Rates:
    """How often keys may still ask: a bucket for each, which holds a minute's requests and fills steadily."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}  # by hash: requests left, and when that was so

    def wait_seconds(self, key: Key) -> float:
        """Count a request; 0 if it may go on, else how long to wait before the next try, which costs nothing."""
        most = key.requests_per_minute
        if not most:
            return 0.0
        now = self._clock()
        left, then = self._left.get(key.sha256, (float(most), now))
        left = min(float(most), left + (now - then) * most / 60)
        waiting = left < 1
        self._left[key.sha256] = (left - (not waiting), now)
        return (1 - left) * 60 / most if waiting else 0.0


def read_keys(path: Path) -> dict[str, Key]:
    """The keys that stand, by name.

    Raises:
        InputError: no such file, or a line that is no key; names file and line.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file: make a key with 'ropewalk keys add --keys {path} --name NAME'")
    keys: dict[str, Key] = {}
    for where, fields in read_objects(path):
        if "removed" in fields:
            keys.pop(str(fields.get("name")), None)
        else:
            key = _key(fields, where=where)
            keys[key.name] = key
    return keys


def add_key(options: AddKeyOptions) -> str:
    """Make a key, write down what is to be known of it, and return it: it stands nowhere else.

    Raises:
        OptionError: the name is taken, or none. InputError: the file is none of keys. MachineError: it cannot be written.
    """
    if not re.fullmatch(r"\w[\w.@-]{0,63}", options.name):
        raise OptionError(f"--name {options.name!r}: use up to 64 letters, digits, and any of _ . @ - behind the first")
    if options.keys.exists() and options.name in read_keys(options.keys):
        raise OptionError(f"{options.keys} has a key called {options.name!r}: give another name, or remove that one first")
    secret = PREFIX + secrets.token_urlsafe(KEY_BYTES)
    key = Key(options.name, options.role, options.requests_per_minute, _hash(secret), _now())
    _append(options.keys, asdict(key))
    return secret


def print_new_key(options: AddKeyOptions) -> None:
    """Print a new key on stdout."""
    print(add_key(options))
    say(f"This is the key of {options.name!r}. It is shown this once: {options.keys} has only its hash.")


def print_keys(options: ListKeysOptions) -> None:
    """Print the keys that stand, without what opens."""
    print(f"{'name':<24}{'role':<8}{'requests a minute':>18}  created")
    for key in read_keys(options.keys).values():
        rate = f"{key.requests_per_minute:,}" if key.requests_per_minute else "no limit"
        print(f"{key.name:<24}{key.role:<8}{rate:>18}  {key.created}")


def remove_key(options: RemoveKeyOptions) -> None:
    """Let a key open nothing any more.

    Raises:
        OptionError: there is none of that name. InputError: the file is none of keys.
    """
    keys = read_keys(options.keys)
    if options.name not in keys:
        there = ", ".join(keys) or "none"
        raise OptionError(f"{options.keys} has no key called {options.name!r}: it has {there}")
    _append(options.keys, {"name": options.name, "removed": _now()})


def _key(fields: dict[str, Any], *, where: str) -> Key:
    try:
        return options_from(Key, fields, where=where)
    except OptionError as error:
        raise InputError(f"{error}; take the line out, and make a key with 'ropewalk keys add'") from None


def _append(path: Path, fields: dict[str, Any]) -> None:
    """Add a line, in one write, so that two processes at once lose nothing. A new file is nobody else's on this machine."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            file.write(json.dumps(fields, ensure_ascii=False).encode() + b"\n")
            os.fsync(file.fileno())
    except OSError as error:
        raise MachineError(f"{path} cannot be written ({error.strerror}): give a file in a folder of yours") from None


def _by_hash(keys: Iterable[Key]) -> dict[str, Key]:
    return {key.sha256: key for key in keys}


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _version(path: Path) -> tuple[int, int] | None:
    """What changes when the file does; None if it is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
