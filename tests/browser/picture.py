"""Take the picture of docs/images: ask a running server's chat page some questions.

.venv/bin/python tests/browser/picture.py http://127.0.0.1:8000 docs/images/chat.png "What is the capital of France?"
"""

from __future__ import annotations

import sys

from playwright.sync_api import sync_playwright


def take(address: str, out: str, questions: list[str]) -> None:
    """Ask all in one chat, point at the last shaded word, and save what is to be seen."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 820})
        page.goto(address)
        page.locator("#about").filter(has_text="parameters").wait_for()
        for question in questions:
            page.get_by_label("Question", exact=True).fill(question)
            page.keyboard.press("Enter")
            page.locator(".answer.writing").wait_for(state="detached")
            page.wait_for_timeout(500)
        page.locator(".token.doubtful").last.hover()
        page.screenshot(path=out)
        browser.close()


if __name__ == "__main__":
    take(sys.argv[1], sys.argv[2], sys.argv[3:])
