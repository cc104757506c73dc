"""The page that shows how a text is cut."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_a_text_is_shown_in_coloured_pieces_with_their_numbers(page):
    page.get_by_text("Look inside").click()
    page.get_by_role("link", name="Tokens").click()
    page.locator(".piece").first.wait_for()
    page.locator("#text").fill("hemp 1024 <b>\n\U0001f9f5")
    page.locator("#counts").filter(has_text="15 characters").wait_for()
    shown = page.locator("#pieces")
    assert shown.inner_text().replace("\n", "").startswith("hemp·1024·<b>⏎")
    assert page.locator("#pieces b").count() == 0
    assert not page.locator(".piece sub").first.is_visible()
    page.get_by_label("Show the tokens' numbers").check()
    assert page.locator(".piece sub").first.is_visible()
    colours = {piece.evaluate("piece => getComputedStyle(piece).backgroundColor") for piece in page.locator(".piece").all()}
    assert len(colours) > 2
    before = page.locator(".piece").count()
    page.get_by_label("Vocabulary").select_option("GPT-4")
    expect(page.locator(".piece")).not_to_have_count(before)


def test_giant_texts_are_cut_short_and_empty_ones_are_nothing(page):
    page.get_by_text("Look inside").click()
    page.get_by_role("link", name="Tokens").click()
    page.locator(".piece").first.wait_for()
    page.locator("#text").fill("ab " * 10_000)
    page.locator("#counts").filter(has_text="the first 4,000 are shown").wait_for()
    assert page.locator(".piece").count() == 4_000
    page.locator("#text").fill("")
    page.locator("#counts").filter(has_text="0 tokens").wait_for()
