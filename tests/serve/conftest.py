"""One small world for all tests of this room."""

from __future__ import annotations

import openai
import pytest
from tests.serve.world import World, make_world, running, served


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    home = tmp_path_factory.mktemp("world") / "home"
    home.mkdir()
    return make_world(home)


@pytest.fixture(scope="session")
def server(world):
    """Address and service of a server with all three models."""
    with served(world.model, world.base, world.stranger, index=world.index, runs=(world.model.parent,)) as running:
        yield running


@pytest.fixture(scope="module")
def address(service):
    """Where the `service` of a test's own module answers."""
    with running(service) as address:
        yield address


@pytest.fixture(scope="module")
def client(address):
    """OpenAI's client of it."""
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client
