"""Take the pictures of docs/images: ask a running server's chat page some questions, or look at its page of tokens.

.venv/bin/python tests/browser/picture.py http://127.0.0.1:8000 docs/images/chat.png "What is the capital of France?"
.venv/bin/python tests/browser/picture.py http://127.0.0.1:8000/tokens docs/images/tokens.png
"""

from __future__ import annotations

import sys

from playwright.sync_api import Page, sync_playwright


def take(address: str, out: str, questions: list[str]) -> None:
    """Open a page, use it, and save what is to be seen."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 820})
        page.goto(address)
        if address.endswith("/tokens"):
            page.get_by_label("Show the tokens' numbers").check()
            page.locator(".piece").last.wait_for()
        else:
            ask(page, questions)
        page.screenshot(path=out)
        browser.close()


def ask(page: Page, questions: list[str]) -> None:
    """Ask all in one chat, and point at the last shaded word."""
    page.locator("#about").filter(has_text="parameters").wait_for()
    for question in questions:
        page.get_by_label("Question", exact=True).fill(question)
        page.keyboard.press("Enter")
        page.locator(".answer.writing").wait_for(state="detached")
        page.wait_for_timeout(500)
    page.locator(".token.doubtful").last.hover()


if __name__ == "__main__":
    take(sys.argv[1], sys.argv[2], sys.argv[3:])
