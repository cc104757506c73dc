"""A server with keys: the page asks for one until it fits, and keeps it while its tab is open."""

from __future__ import annotations

import pytest
from tests.serve.test_completions import small_model
from tests.serve.world import running

from ropewalk.serve import AddKeyOptions
from ropewalk.serve.app import Service
from ropewalk.serve.keys import Keys, add_key

pytestmark = pytest.mark.browser


def test_the_page_asks_for_a_key_until_it_fits(browser, tmp_path):
    path = tmp_path / "keys.jsonl"
    key = add_key(AddKeyOptions(keys=path, name="anna"))
    service = Service({"small": small_model("small")}, most_waiting=4, starters=("What is hemp?",))
    with running(service, keys=Keys(path)) as address, browser.new_context() as context:
        page = context.new_page()
        page.goto(address)
        for given in ("wrong", key):
            asked = page.get_by_label("The server's key")
            asked.wait_for()
            assert page.get_by_role("button", name="What is hemp?").count() == 0
            asked.fill(given)
            page.get_by_role("button", name="Done").click()
        page.get_by_role("button", name="What is hemp?").click()
        page.get_by_label("Conversation").locator("article").nth(1).wait_for()
        page.reload()
        page.get_by_role("button", name="What is hemp?").wait_for()
        assert not asked.is_visible()
