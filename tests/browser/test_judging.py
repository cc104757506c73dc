"""Judging answers on the chat page, by mouse and by keyboard; what is said reaches the store."""

from __future__ import annotations

from contextlib import closing

import pytest
from playwright.sync_api import expect
from tests.browser.test_chat_page import ask, last_answer
from tests.serve.test_completions import small_model
from tests.serve.world import STARTERS, running

from ropewalk.serve.app import Service
from ropewalk.serve.feedback import Store

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("feedback") / "feedback.sqlite"


@pytest.fixture(scope="module")
def address(path):
    """Models that babble: what they say does not matter here."""
    models = {"small": small_model("small"), "other": small_model("other", seed=2, context_tokens=2048)}
    with (
        closing(Store(path, create=True)) as store,
        running(Service(models, most_waiting=12, starters=STARTERS, feedback=store)) as address,
    ):
        yield address


@pytest.fixture
def judged(path):
    """The judgements of the store that came since and stand, with the first answer they are about."""

    def read():
        with closing(Store(path)) as store:
            return store.judged()

    before = max((one.number for one in read()[1]), default=0)

    def fresh():
        answers, judgements = read()
        return [(one, answers[one.answer]) for one in judgements if one.number > before]

    return fresh


def settle(page, *, longest=8, compare="no", model="small"):
    page.get_by_label("Model").select_option(model)
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Longest answer, in tokens").fill(str(longest))
    page.get_by_label("Compare answers").select_option(label=compare)
    page.get_by_role("button", name="Done").click()


def answered(page, question):
    ask(page, question)
    answer = last_answer(page)
    answer.get_by_role("button", name="Edit").wait_for()
    return answer


def test_a_thumb_is_kept_with_its_reasons_and_can_be_taken_back(page, judged):
    settle(page)
    assert "are kept on this server" in page.locator("#keeping").inner_text()
    answer = answered(page, "What is hemp?")
    bad = answer.get_by_role("button", name="Bad")
    bad.click()
    answer.get_by_label("too long").check()
    answer.get_by_label("Comment").fill("<b>brown</b>")
    answer.get_by_role("button", name="Send").click()
    answer.get_by_text("Thank you.").wait_for()
    [(thumb, written)] = judged()
    assert (thumb.value, thumb.reasons, thumb.comment) == ("bad", ("too long",), "<b>brown</b>")
    assert (written.model, len(written.token_ids)) == ("small", 8)
    assert [message["content"] for message in written.messages] == ["What is hemp?"]
    expect(bad).to_have_attribute("aria-pressed", "true")
    bad.click()
    expect(bad).to_have_attribute("aria-pressed", "false")
    assert judged() == []


def test_an_edited_answer_is_what_the_conversation_goes_on_with(page, judged):
    settle(page)
    answer = answered(page, "What is moss?")
    edit = answer.get_by_role("button", name="Edit")
    edit.click()
    page.keyboard.press("Escape")
    expect(edit).to_be_focused()
    page.keyboard.press("Enter")
    words = answer.get_by_label("How the answer should have been")
    expect(words).to_be_focused()
    written = words.input_value()
    words.fill("Moss is green when wet.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(answer.locator(".ideal")).to_have_text("Moss is green when wet.")
    [(edited, original)] = judged()
    assert (edited.text, original.text) == ("Moss is green when wet.", written)
    with page.expect_request("**/v1/chat/completions") as sent:
        answered(page, "What is tar?")
    assert sent.value.post_data_json["messages"][1]["content"] == "Moss is green when wet."


def test_two_models_are_compared_without_their_names_and_by_keyboard(page, judged):
    settle(page, compare="with other (third-party)")
    ask(page, "What is rust?")
    choose = page.get_by_role("button", name="The second is better")
    choose.wait_for()
    assert page.locator(".speaker").all_inner_texts() == ["First answer", "Second answer"]
    assert page.locator(".badge").count() == 0
    choose.focus()
    page.keyboard.press("Enter")
    page.get_by_text("You said: the second is better.").wait_for()
    [(choice, left)] = judged()
    names = [name.partition("\n")[0] for name in page.locator(".speaker").all_inner_texts()]
    assert choice.value == "right"
    assert sorted(names) == ["other", "small"]
    assert names[0] == left.model
    page.get_by_role("button", name="Take back").click()
    choose.wait_for()
    assert judged() == []


def test_sides_are_drawn_by_lot(page):
    settle(page, compare="with other (third-party)")
    firsts = []
    for lot in (0.1, 0.9):
        page.evaluate(f"Math.random = () => {lot}")
        ask(page, "What is rust?")
        page.locator(".pair").last.get_by_role("button", name="Both are as good").click()
        page.locator(".pair").last.get_by_text("You said").wait_for()
        firsts.append(page.locator(".pair").last.locator(".speaker").first.inner_text().partition("\n")[0])
    assert sorted(firsts) == ["other", "small"]


def test_two_samples_of_one_model_are_drawn_differently_and_the_better_goes_on(page, judged):
    settle(page, compare="two samples")
    requests = []
    page.on("request", lambda request: "completions" in request.url and requests.append(request.post_data_json))
    ask(page, "What is jute?")
    page.get_by_role("button", name="The first is better").click()
    page.get_by_text("You said").wait_for()
    assert {body["model"] for body in requests} == {"small"}
    assert len({body["seed"] for body in requests}) == 2
    assert all(body["temperature"] == 0.7 for body in requests)
    [(choice, left)] = judged()
    assert choice.value == "left"
    ask(page, "What is tar?")
    page.locator(".pair").last.get_by_role("button", name="Neither is good").wait_for()
    assert requests[-1]["messages"][1]["content"] == left.text


def test_a_stopped_answer_is_not_offered_for_judgement(page):
    settle(page, longest=1900, model="other")
    page.evaluate(
        """() => new MutationObserver((_, watch) => {
            if (document.querySelectorAll(".token").length < 5) return;
            watch.disconnect();
            document.getElementById("stop").click();
        }).observe(document.body, { childList: true, subtree: true })"""
    )
    ask(page, "Rope")
    last_answer(page).get_by_text("Stopped.").wait_for()
    assert last_answer(page).locator(".judging").count() == 0


@pytest.mark.parametrize("width", [320, 1400])
def test_judging_fits_every_width(page, width):
    page.set_viewport_size({"width": width, "height": 780})
    settle(page)
    answered(page, "What is hemp?").get_by_role("button", name="Bad").click()
    page.get_by_label("not true").wait_for()
    settle(page, compare="two samples")
    ask(page, "What is moss?")
    page.get_by_role("button", name="Neither is good").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    firsts = [box.bounding_box() for box in page.locator(".pair .answer").all()]
    assert (firsts[0]["y"] == firsts[1]["y"]) == (width > 700)
