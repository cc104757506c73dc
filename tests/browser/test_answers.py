"""What is known of an answer and can be done with it: Markdown, code, samples, tools, ideas; hostile answers stay inert.

The models babble; what an answer must be, the server is told by a grammar.
"""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect
from tests.browser.test_chat_page import ask, last_answer, saved
from tests.serve.test_completions import small_model
from tests.serve.test_tools import NO_SPACE
from tests.serve.world import STARTERS, running

from ropewalk.serve.app import Service

pytestmark = pytest.mark.browser

PROGRAM = "print(6 * 7)\n"
MARKDOWN = f"""## Ropes & yarn

Hemp is **brown**, says [a page](https://example.org/hemp).

- one
- two

| fibre | colour |
|---|---|
| jute | golden |

```python
{PROGRAM}```
"""
HOSTILE = """<script>document.title='owned'</script><img src=x onerror="document.title='owned'">

**bold**
[a](javascript:document.title='owned') [b](JaVaScRiPt:alert(1)) [c](data:text/html,<script>1</script>) <a href=x>d</a>
![pixel](http://192.0.2.1/pixel.png) <iframe src="http://192.0.2.1/"></iframe> [e](//192.0.2.1/x)

```html"onmouseover="document.title='owned'
</code></pre><script>document.title='owned'</script>
```
"""
WIDE_TABLE = "|a" * 40 + "|\n" + "|-" * 40 + "|\n" + "|wide table " * 40 + "|\n"


@pytest.fixture(scope="module")
def address():
    models = {"small": small_model("small", context_tokens=4096), "other": small_model("other", seed=2, context_tokens=4096)}
    with running(Service(models, most_waiting=16, starters=STARTERS, runs_code=True)) as address:
        yield address


def settle(page, *, longest=8, **fields):
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Longest answer, in tokens").fill(str(longest))
    for label, value in fields.items():
        field = page.get_by_label(label.replace("_", " "))
        field.set_checked(value) if isinstance(value, bool) else field.fill(value)
    page.get_by_role("button", name="Done").click()


def changing(page, change, times=None):
    """Let requests for answers reach the server with other fields."""

    def handle(route):
        body = route.request.post_data_json
        route.continue_(post_data=json.dumps(body | change(body)))

    page.route("**/v1/chat/completions", handle, **({} if times is None else {"times": times}))


def saying(page, text):
    settle(page, longest=4000)
    changing(page, lambda body: {"structured_outputs": {"choice": [text]}})
    ask(page, "Say it.")
    page.locator(".answer.writing").wait_for(state="detached", timeout=60_000)
    return last_answer(page)


def test_markdown_is_formatted_and_its_words_still_tell_how_probable_they_were(page):
    answer = saying(page, MARKDOWN)
    answer.locator(".formatted").wait_for()
    assert answer.locator("h5").inner_text() == "Ropes & yarn"
    assert answer.locator(".text strong").inner_text() == "brown"
    assert answer.locator(".text li").filter(has_text="two").count() == 1
    assert answer.locator("td").all_inner_texts() == ["jute", "golden"]
    assert answer.get_by_role("link", name="a page").get_attribute("href") == "https://example.org/hemp"
    answer.locator("td .token").first.hover()
    page.locator("#alternatives").filter(has_text="“j”, probability").wait_for()
    saved(page)
    page.reload()
    last_answer(page).locator(".text strong").filter(has_text="brown").wait_for()


def test_code_is_copied_and_runs_in_the_sandbox_only_after_it_was_shown(page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    answer = saying(page, MARKDOWN)
    answer.locator("figure.code").get_by_role("button", name="Copy").click()
    answer.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == PROGRAM
    asked = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/v1/run") else None)
    answer.get_by_role("button", name="Run…").click()
    dialog = page.get_by_role("dialog")
    assert dialog.locator("pre").inner_text() == PROGRAM
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert asked == []
    answer.get_by_role("button", name="Run…").click()
    dialog.get_by_role("button", name="Run").click()
    answer.locator(".outcome pre").filter(has_text="42").wait_for(timeout=60_000)
    assert len(asked) == 1
    expect(answer.locator(".verify")).to_contain_text("its program ran to its end")


def test_hostile_answers_are_inert(page):
    answer = saying(page, HOSTILE)
    answer.locator(".formatted").wait_for()
    answer.locator("figure.code").hover()
    assert page.title() == "ropewalk"
    assert "<script>" in answer.inner_text()
    assert page.locator("#conversation").locator("img, script, iframe, object, style, form:not(.edit)").count() == 0
    handlers = "all => all.flatMap(one => one.getAttributeNames()).filter(name => name.startsWith('on'))"
    assert page.locator("#conversation *").evaluate_all(handlers) == []
    links = answer.locator(".text a").evaluate_all("all => all.map(link => link.protocol)")
    assert set(links) <= {"http:", "https:"}
    assert answer.get_by_role("button", name="Run…").count() == 0


THOUGHTS = "\nIs hemp <script>document.title='owned'</script> **brown**?\n"


def test_thoughts_are_folded_away_and_stay_text(page):
    answer = saying(page, f"<think>{THOUGHTS}</think>\n\nHemp is brown.")
    summary = answer.get_by_text(f"Thought for {len(THOUGHTS)} tokens")  # this model's tokens are bytes
    words = answer.locator(".thoughts .words")
    expect(words).to_be_hidden()
    assert answer.locator(".text").evaluate("text => text.textContent") == "Hemp is brown."
    summary.click()
    expect(words).to_be_visible()
    assert words.inner_text() == THOUGHTS.strip()
    assert page.title() == "ropewalk" and answer.locator("script, .words strong").count() == 0
    answer.locator(".text .token").first.hover()
    page.locator("#alternatives").filter(has_text="“H”, probability").wait_for()
    saved(page)
    page.reload()
    summary.wait_for()
    expect(words).to_be_hidden()
    assert words.evaluate("words => words.textContent") == THOUGHTS.strip()


@pytest.mark.parametrize("width", [320, 1400])
def test_a_huge_table_scrolls_in_its_own_place(page, width):
    page.set_viewport_size({"width": width, "height": 780})
    answer = saying(page, WIDE_TABLE)
    answer.locator("table").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_samples_say_how_many_agree(page):
    changing(
        page,
        lambda body: {"structured_outputs": {"choice": ["Hemp is brown."] if "n" not in body else ["hemp is brown", "no"]}},
    )
    ask(page, "What is hemp?")
    answer = last_answer(page)
    assert "Verify it yourself." in answer.locator(".verify").inner_text()
    answer.get_by_role("button", name="Ask 5 times more").click()
    answer.locator(".samples").get_by_text("of 5 more samples say the same.").wait_for()
    counts = [int(text.split()[0]) for text in answer.locator(".samples .times").all_inner_texts()]
    assert sum(counts) == 5
    agreeing = answer.locator(".samples li").filter(has_text="hemp").locator(".times").all_inner_texts() or ["0"]
    expect(answer.locator(".verify")).to_contain_text(f"{agreeing[0].split()[0]} of 5 more samples say the same")


CALL = {"expression": {"enum": ["6*7"]}}


def forced(body):
    """A call that must be made, of the calculator, with an argument that is known beforehand."""
    function = next(tool["function"] for tool in body["tools"] if tool["function"]["name"] == "calculator")
    schema = {**function["parameters"], "properties": CALL, "additionalProperties": False}
    tool = {"type": "function", "function": {**function, "parameters": schema}}
    return {"tools": [tool], "tool_choice": "required", "logit_bias": NO_SPACE, "max_tokens": 400}


@pytest.mark.parametrize(("button", "output"), [("Run", "42"), ("Do not run", "error: the user did not allow this call")])
def test_a_tool_is_called_when_the_reader_lets_it(page, button, output):
    settle(page, Offer_tools=True)
    changing(page, forced, times=1)
    ask(page, "What is six by seven?")
    card = page.locator(".call")
    card.get_by_role("button", name=button, exact=True).wait_for()
    assert "expression: 6*7" in card.inner_text()
    assert "Output" not in card.inner_text()
    with page.expect_request("**/v1/chat/completions") as sent:
        card.get_by_role("button", name=button, exact=True).click()
    said = sent.value.post_data_json["messages"]
    assert [message["role"] for message in said] == ["user", "assistant", "tool"]
    assert said[2]["content"] == output
    expect(card.get_by_label("Output")).to_have_text(output)
    page.locator(".answer.writing").wait_for(state="detached")
    saved(page)
    page.reload()
    expect(page.locator(".call").get_by_label("Output")).to_have_text(output)
    assert "expression: 6*7" in page.locator(".call").inner_text()


def test_tools_run_without_asking_if_the_reader_says_so(page):
    settle(page, Offer_tools=True, Ask_me_before_each_call=False)
    changing(page, forced, times=1)
    ask(page, "What is six by seven?")
    expect(page.locator(".call").get_by_label("Output")).to_have_text("42")


def test_ideas_stand_side_by_side_and_one_of_them_goes_on(page):
    settle(page)
    requests = []
    page.on("request", lambda request: requests.append(request.post_data_json) if "completions" in request.url else None)
    page.get_by_label("Answers to each question").select_option(label="4 ideas")
    ask(page, "A name for a boat?")
    third = page.locator(".pair .answer").nth(2)
    third.get_by_role("button", name="Go on with this").click()
    assert len({body["seed"] for body in requests}) == 4
    assert all(body["temperature"] == 0.9 for body in requests)
    boxes = [box.bounding_box() for box in page.locator(".pair .answer").all()]
    assert boxes[0]["y"] == boxes[1]["y"]
    text = third.locator(".text").evaluate("text => text.textContent")
    page.get_by_label("Answers to each question").select_option(label="1 answer")
    ask(page, "Why?")
    page.locator(".answer.writing").wait_for(state="detached")
    assert requests[-1]["messages"][1]["content"] == text
    saved(page)
    page.reload()
    expect(page.locator(".answer").first.locator(".branches")).to_contain_text("3 of 4")


def test_examples_are_what_chat_models_are_good_at(page):
    settle(page)
    page.locator("#examples").get_by_role("button", name="Suggest a name for a boat.").click()
    expect(page.locator(".pair .answer")).to_have_count(4)


def test_settings_reach_the_model_and_are_kept_in_the_browser(page):
    settle(page, System_prompt="Be brief.", **{"Top-p": "0.5"})
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Look").select_option("dark")
    page.get_by_role("button", name="Done").click()
    page.reload()
    page.get_by_role("button", name="What is hemp?").wait_for()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    with page.expect_request("**/v1/chat/completions") as sent:
        ask(page, "What is hemp?")
    body = sent.value.post_data_json
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (body["top_p"], body["max_tokens"]) == (0.5, 8)
