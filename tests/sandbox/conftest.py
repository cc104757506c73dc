"""WebAssembly's interpreter is translated once and kept where it always is, whatever HOME a test sets."""

from __future__ import annotations

import pytest

from ropewalk.runtime.machine import cache_folder


@pytest.fixture
def cache(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_folder().parent))
