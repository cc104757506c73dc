"""The chat page, as a person uses it: ask, watch, follow a source, switch, stop; and hostile text stays text."""

from __future__ import annotations

import pytest
from tests.serve.world import HOSTILE, LISTED, STARTERS

pytestmark = pytest.mark.browser


def ask(page, question):
    page.get_by_label("Question", exact=True).fill(question)
    page.keyboard.press("Enter")


def last_answer(page):
    return page.locator(".answer").last


def answered(page, text):
    """The last answer, when it is whole and followed back."""
    answer = last_answer(page)
    answer.locator(".text").filter(has_text=text).wait_for()
    page.locator(".answer.writing").wait_for(state="detached")
    return answer


def saved(page):
    """Wait until the server has heard of all that was said."""
    page.locator("#conversation[data-saved=true]").wait_for()


def test_a_question_is_answered_and_leads_to_a_page_with_the_words_marked(page):
    ask(page, "What is hemp?")
    answer = answered(page, "Hemp is brown.")
    assert answer.locator(".text").inner_text() == "Hemp is brown."
    link = answer.get_by_role("link", name="The colour of hemp is brown")
    link.wait_for()
    assert "none of the pages" not in answer.inner_text()
    with page.expect_popup() as opened:
        link.click()
    source = opened.value
    assert source.locator("mark").inner_text() == LISTED
    assert "file:hemp.html" in source.inner_text("body")
    assert source.locator("mark").evaluate("mark => mark.getBoundingClientRect().top < innerHeight")
    source.close()


def test_what_stands_in_no_page_is_flagged(page):
    ask(page, "What is silk?")
    answer = answered(page, "Silk is purple.")
    answer.get_by_text("These words stand together in none of the pages read.").wait_for()
    assert answer.locator(".sources a").count() == 0


def test_a_verbatim_passage_is_underlined_and_leads_to_its_pages(page):
    ask(page, "Tell me of hemp.")
    answer = answered(page, LISTED)
    passage = answer.locator("a.passage")
    passage.wait_for()
    assert passage.inner_text() == LISTED
    passage.click()
    assert page.evaluate("document.activeElement.className") == "occurrence"
    assert page.locator(".occurrence").get_by_role("link", name="All about hemp").get_attribute("href").startswith("/pages/")
    assert "caused" not in page.inner_text("body")


def test_text_comes_token_by_token_and_stop_stops_it(page):
    page.get_by_label("Model").select_option("home/base")
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Longest answer, in tokens").fill("2000")
    page.get_by_role("button", name="Done").click()
    # Pressed from within the page: an answer may be whole before a slow machine's pointer reaches the button.
    page.evaluate(
        """() => new MutationObserver((_, watch) => {
            if (document.querySelectorAll(".token").length < 15) return;
            watch.disconnect();
            document.getElementById("stop").click();
        }).observe(document.body, { childList: true, subtree: true })"""
    )
    assert page.get_by_role("button", name="Stop").count() == 0
    ask(page, "Rope")
    last_answer(page).get_by_text("Stopped.").wait_for()
    tokens = last_answer(page).locator(".token")
    stopped = tokens.count()
    assert 15 <= stopped < 2000
    page.wait_for_timeout(200)
    assert tokens.count() == stopped
    page.get_by_role("button", name="Send").wait_for()


def test_the_probable_alternatives_show_by_mouse_and_by_keyboard(page):
    ask(page, "What is moss?")
    answer = answered(page, "Moss is green.")
    box = page.locator("#alternatives")
    answer.locator(".token").last.hover()
    box.wait_for()
    assert box.locator("li").count() == 5
    assert "probability" in box.inner_text()
    answer.locator(".text").focus()
    page.keyboard.press("Escape")
    assert box.is_hidden()
    page.keyboard.press("ArrowRight")
    assert box.is_visible()
    assert "%" in page.locator("#announcement").inner_text()


def test_the_model_can_be_switched_and_a_third_party_s_is_called_so(page):
    options = page.get_by_label("Model").locator("option").all_inner_texts()
    assert options == ["home/model", "home/base", "stranger (third-party)"]
    page.get_by_label("Model").select_option("stranger")
    assert "made elsewhere" in page.locator("#about").inner_text()
    ask(page, "What is moss?")
    answer = answered(page, "Moss is green.")
    assert "third-party" in answer.locator(".speaker").inner_text()
    answer.get_by_text("Tracing unavailable: this model was not trained on these pages.").wait_for()
    page.get_by_label("Model").select_option("home/model")
    ask(page, "What is hemp?")
    answered(page, ".")
    assert page.locator(".speaker").all_inner_texts() == ["stranger\nthird-party", "home/model"]


def test_what_a_model_or_a_person_writes_is_never_run(page):
    ask(page, "Attack!")
    answer = answered(page, "script")
    assert answer.locator(".text").inner_text() == HOSTILE
    ask(page, HOSTILE)
    assert page.locator(".asked p").last.inner_text() == HOSTILE
    answered(page, "")
    assert page.title() == "ropewalk"
    assert page.locator("#conversation img, #conversation script").count() == 0


def test_enter_sends_shift_enter_breaks_and_new_chat_forgets(page):
    question = page.get_by_label("Question", exact=True)
    assert question.evaluate("field => field === document.activeElement")
    page.keyboard.type("What is")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("tar?")
    assert question.input_value() == "What is\ntar?"
    page.keyboard.press("Enter")
    assert page.locator(".asked p").inner_text() == "What is\ntar?"
    answered(page, "")
    page.get_by_role("button", name="New chat").click()
    assert page.locator(".asked").count() == 0
    page.get_by_role("button", name=STARTERS[1]).click()
    answered(page, "Moss is green.")  # as to a first question: nothing of the chat before was sent


def test_the_answer_is_announced_and_its_limits_are_in_sight(page):
    ask(page, "What is rust?")
    answered(page, "Rust is red.")
    assert page.locator("#announcement[aria-live=polite]").inner_text() == "Rust is red."
    assert page.get_by_text("Answers may be wrong.").is_visible()


def test_old_turns_that_no_longer_fit_are_said_to_be_left_out(page):
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Longest answer, in tokens").fill("4")
    page.keyboard.press("Enter")
    for _ in range(4):
        ask(page, "rope yarn " * 250)
        page.locator(".answer.writing").wait_for(state="detached")
    last_answer(page).get_by_text("messages are left out").wait_for()


@pytest.mark.parametrize("width", [320, 390, 820, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_width_and_both_lights(page, width, scheme):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 780})
    ask(page, "What is hemp?")
    answered(page, "Hemp is brown.").get_by_role("link", name="The colour of hemp").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ("New chat", "Settings", "Send"):
        box = page.get_by_role("button", name=name).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    luminance = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/g).slice(0, 3).map(Number)")
    assert (sum(luminance) > 380) == (scheme == "light")
