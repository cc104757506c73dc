"""Conversations on the page: kept over reload and restart, found, renamed, exported, deleted; branches; a full context."""

from __future__ import annotations

import json
import re
import signal

import pytest
from playwright.sync_api import expect
from tests.browser.test_chat_page import answered, ask, last_answer, saved
from tests.serve.test_server import process_of

pytestmark = pytest.mark.browser


def listed(page):
    return page.locator("#chats-list a")


def open_more(page, title):
    item = page.locator("#chats-list li").filter(has_text=title).first
    item.get_by_role("button", name="More").click()
    return item


def test_a_conversation_survives_a_reload_with_its_probabilities(page):
    ask(page, "What is hemp?")
    answered(page, "Hemp is brown.").get_by_role("link", name="The colour of hemp is brown").wait_for()
    saved(page)
    page.reload()
    answer = answered(page, "Hemp is brown.")
    assert page.locator(".asked p").inner_text() == "What is hemp?"
    answer.get_by_role("link", name="The colour of hemp is brown").wait_for()
    answer.locator(".token").last.hover()
    assert page.locator("#alternatives li").count() == 5
    expect(page.locator("#chats-list [aria-current=page]")).to_have_text("What is hemp?")
    ask(page, "What is moss?")
    answered(page, ".")
    assert page.locator(".asked p").all_inner_texts() == ["What is hemp?", "What is moss?"]


def test_conversations_outlive_a_killed_server(browser, world, tmp_path):
    options = ("--models", world.model, "--chats", tmp_path / "chats.sqlite")
    with browser.new_context() as context:
        page = context.new_page()
        with process_of(*options) as (process, address):
            page.goto(address)
            expect(page.locator("#chats-kept")).to_contain_text("Kept on this server")
            ask(page, "What is rust?")
            answered(page, "Rust is red.")
            saved(page)
            process.send_signal(signal.SIGKILL)
            process.wait()
        ask(page, "What is tar?")
        last_answer(page).get_by_text("The server cannot be reached").wait_for()
        with process_of("--port", address.rpartition(":")[2], *options):
            page.reload()
            answered(page, "Rust is red.")
            assert page.locator(".asked").count() == 1
            ask(page, "What is moss?")
            answered(page, ".")


def test_conversations_are_searched_renamed_and_deleted(page):
    ask(page, "Sing!")
    answered(page, "la la")
    page.get_by_role("button", name="New chat").click()
    ask(page, "What is cotton?")
    answered(page, "Cotton is white.")
    saved(page)
    expect(listed(page).filter(has_text="Sing!")).not_to_have_count(0)
    page.get_by_label("Search conversations").fill("CoTTon is white")
    expect(listed(page)).to_have_text(["What is cotton?"])
    item = open_more(page, "What is cotton?")
    item.get_by_role("button", name="Rename").click()
    page.get_by_label("The conversation's name").fill("<b>Fibres</b>")
    page.keyboard.press("Enter")
    expect(listed(page)).to_have_text(["<b>Fibres</b>"])
    open_more(page, "Fibres").get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(listed(page)).to_have_text(["<b>Fibres</b>"])
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_text("No conversation has these words.").wait_for()
    assert page.locator(".asked").count() == 0


def test_a_conversation_is_opened_from_the_list_by_keyboard(page):
    ask(page, "What is jute?")
    answered(page, "Jute is golden.")
    saved(page)
    page.get_by_role("button", name="New chat").click()
    page.get_by_label("Search conversations").fill("jute is golden")
    expect(listed(page).first).to_have_text("What is jute?")
    page.keyboard.press("Tab")
    expect(listed(page).first).to_be_focused()
    page.keyboard.press("Enter")
    answered(page, "Jute is golden.")


@pytest.mark.parametrize(("form", "ending"), [("Markdown", "md"), ("JSONL", "jsonl")])
def test_a_conversation_is_saved(page, form, ending):
    ask(page, "What is rust?")
    answered(page, "Rust is red.")
    saved(page)
    item = open_more(page, "What is rust?")
    with page.expect_download() as download:
        item.get_by_role("button", name=f"Save as {form}").click()
    assert download.value.suggested_filename == f"What-is-rust-.{ending}"
    text = download.value.path().read_text()
    if form == "JSONL":
        said = [message["content"] for message in json.loads(text)["messages"]]
        assert said == ["What is rust?", "Rust is red."]
    else:
        assert text == "# What is rust?\n\n## You\n\nWhat is rust?\n\n## home/model\n\nRust is red.\n"


def test_a_reworded_question_begins_a_branch_and_both_can_be_seen(page):
    ask(page, "What is hemp?")
    answered(page, "Hemp is brown.")
    article = page.locator(".asked").first
    article.get_by_role("button", name="Reword").click()
    page.keyboard.press("Escape")
    expect(article.get_by_role("button", name="Reword")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_label("Your question, worded anew").fill("What is moss?")
    page.keyboard.press("Enter")
    answered(page, "Moss is green.")  # as to a first question: nothing of the other branch was sent
    assert page.locator(".asked p").all_inner_texts() == ["What is moss?"]
    expect(page.locator(".asked .branches")).to_contain_text("2 of 2")
    page.get_by_role("button", name="Branch before").click()
    answered(page, "Hemp is brown.")
    saved(page)
    page.reload()
    answered(page, "Hemp is brown.")
    expect(page.locator(".asked .branches")).to_contain_text("1 of 2")
    page.get_by_role("button", name="Branch after").focus()
    page.keyboard.press("Enter")
    answered(page, "Moss is green.")


def test_an_answer_is_made_again_beside_the_first(page):
    ask(page, "Tell me of hemp.")
    answer = answered(page, "The colour of hemp")
    with page.expect_request("**/v1/chat/completions") as sent:
        answer.get_by_role("button", name="Answer again").click()
    assert sent.value.post_data_json["temperature"] == 0.7
    assert [message["role"] for message in sent.value.post_data_json["messages"]] == ["user"]
    expect(last_answer(page).locator(".branches")).to_contain_text("2 of 2")
    last_answer(page).get_by_role("button", name="Branch before").click()
    assert last_answer(page).locator(".text").inner_text().startswith("The colour of hemp")
    expect(last_answer(page).locator(".branches")).to_contain_text("1 of 2")


def test_the_context_is_measured_and_what_is_read_no_more_is_marked(page):
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Longest answer, in tokens").fill("4")
    page.keyboard.press("Enter")
    ask(page, "rope")
    answered(page, "")
    words = page.locator("#context-words")
    expect(words).to_contain_text("of the 2,048 tokens that the model can read")
    before = int(words.inner_text().split()[0])
    page.get_by_label("Question", exact=True).fill("rope yarn " * 20)
    expect(words).not_to_contain_text(f"{before} of")  # what is typed counts
    assert page.locator(".unread").count() == 0
    for _ in range(4):
        ask(page, "rope yarn " * 250)
        page.locator(".answer.writing").wait_for(state="detached")
    expect(page.locator(".unread").first).to_be_visible()
    expect(words).to_contain_text("messages no more")
    left_out = int(re.search(r"oldest (\d+) messages", words.inner_text())[1])
    assert page.locator(".unread").count() == left_out
    assert page.locator(".horizon").evaluate("line => line.previousElementSibling.classList.contains('unread')")
    assert not page.locator(".horizon").evaluate("line => line.nextElementSibling?.classList.contains('unread')")


def test_a_question_that_was_not_answered_can_be_asked_again(page):
    page.route("**/v1/chat/completions", lambda route: route.abort(), times=1)
    ask(page, "What is hemp?")
    last_answer(page).get_by_text("The server cannot be reached").wait_for()
    saved(page)
    page.reload()
    page.get_by_role("button", name="Ask again").click()
    answered(page, "Hemp is brown.")
    assert page.locator(".asked").count() == 1
    assert page.get_by_role("button", name="Ask again").count() == 0
