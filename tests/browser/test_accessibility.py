"""axe-core finds nothing serious on the chat page, in its states and both lights."""

from __future__ import annotations

import shutil
import subprocess
import tarfile

import pytest
from tests.browser.test_answers import MARKDOWN, address, saying, settle  # noqa: F401 (address: the server of those)
from tests.browser.test_chat_page import ask, last_answer

pytestmark = pytest.mark.browser

AXE = "axe-core@4.14.1"


@pytest.fixture(scope="session")
def axe(tmp_path_factory):
    """axe-core's script, fetched from npm's registry, which npm checks by its hash."""
    if shutil.which("npm") is None:
        pytest.skip("there is no npm to fetch axe-core with")
    folder = tmp_path_factory.mktemp("axe")
    fetched = subprocess.run(["npm", "pack", AXE], cwd=folder, capture_output=True, text=True)
    if fetched.returncode:
        pytest.skip(f"npm cannot fetch {AXE}: {fetched.stderr[-200:]}")
    with tarfile.open(next(folder.glob("*.tgz"))) as packed:
        return packed.extractfile("package/axe.min.js").read().decode()


def serious(page, axe):
    page.evaluate(axe)
    found = page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]
    return [
        (one["id"], one["help"], node["target"], node["failureSummary"])
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page, axe, scheme, width):
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 900})
    assert serious(page, axe) == []
    answer = saying(page, f"<think>\nHow is it said?\n</think>\n\n{MARKDOWN}")
    answer.locator(".formatted").wait_for()
    answer.get_by_role("button", name="Answer again").wait_for()
    answer.get_by_text("Thought for").click()
    assert serious(page, axe) == []
    if width < 1000:
        page.get_by_role("button", name="Chats").click()
    page.locator("#chats-list").get_by_role("button", name="More").first.click()
    assert serious(page, axe) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Settings").click()
    assert serious(page, axe) == []
    page.get_by_role("button", name="Done").click()
    answer.get_by_role("button", name="Run…").click()
    assert serious(page, axe) == []
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    page.unroute("**/v1/chat/completions")
    settle(page, longest=4)
    for _ in range(4):
        ask(page, "rope yarn " * 200)
        page.locator(".answer.writing").wait_for(state="detached")
    last_answer(page).get_by_role("button", name="Answer again").wait_for()
    page.locator(".horizon").wait_for()
    assert serious(page, axe) == []
