"""One small world for all tests of this room."""

from __future__ import annotations

import pytest
from tests.serve.world import World, make_world, served


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    home = tmp_path_factory.mktemp("world") / "home"
    home.mkdir()
    return make_world(home)


@pytest.fixture(scope="session")
def server(world):
    """Address and service of a server with all three models."""
    with served(world.model, world.base, world.stranger, index=world.index) as running:
        yield running
