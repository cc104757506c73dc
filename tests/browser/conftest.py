"""A real browser, Debian's Chromium, on a real server. 'make test-browser' installs what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect
from tests.serve.world import make_world, served

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE_MILLISECONDS = 60_000  # a busy machine is no mistake of the page's

expect.set_options(timeout=PATIENCE_MILLISECONDS)


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    home = tmp_path_factory.mktemp("world") / "home"
    home.mkdir()
    return make_world(home)


@pytest.fixture(scope="session")
def address(world):
    with served(world.model, world.base, world.stranger, index=world.index, runs=(world.model.parent,)) as (address, _):
        yield address


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def _is_complaint(message):
    """A network that a test has cut is none of the page's."""
    return message.type == "error" and "net::ERR_FAILED" not in message.text


@pytest.fixture
def page(browser, address):
    """The chat page, opened; whatever its scripts or its policy complain of fails the test."""
    with browser.new_context(viewport={"width": 1400, "height": 900}) as context:
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        page = context.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if _is_complaint(message) else None)
        page.on("request", lambda request: request.url.startswith(address) or complaints.append(f"asked {request.url}"))
        page.goto(address)
        page.get_by_role("button", name="What is hemp?").wait_for()
        yield page
        assert complaints == []
