"""The pages that look inside: used by mouse and by keyboard, in light and dark, and hostile text stays text."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect
from tests.serve.lab_world import lab_of, make_first
from tests.serve.world import HOSTILE, running, served

from ropewalk.artifact import build
from ropewalk.serve import ServeOptions
from ropewalk.serve.app import Service
from ropewalk.serve.models import load_models
from ropewalk.serve.upstream import find_upstream
from ropewalk.trace.index import Index

pytestmark = pytest.mark.browser

PAGES = {
    "Next token": "What comes next",
    "Data": "From pages to the corpus",
    "Training": "Training",
    "Lineage": "Where a model comes from",
    "Report": "The report",
    "Tokens": "What a model reads",
}


def go(page, name):
    page.get_by_text("Look inside").click()
    page.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()


def test_one_menu_leads_to_all_pages_and_back(page):
    for name, title in PAGES.items():
        go(page, name)
        expect(page.get_by_role("heading", level=2, name=title)).to_be_visible()
        page.get_by_text("Look inside").click()
        assert page.locator("[aria-current=page]").inner_text() == name
        page.keyboard.press("Escape")
        assert not page.get_by_role("link", name="Chat").is_visible()
    go(page, "Chat")
    expect(page.get_by_label("Question", exact=True)).to_be_visible()


def test_the_tree_of_continuations_is_walked_by_keyboard(page):
    go(page, "Next token")
    page.get_by_label("It is a question to answer").check()
    page.get_by_label("A text to continue").fill("What is hemp?")
    expect(page.get_by_role("tree")).to_have_attribute("aria-busy", "false")
    items = page.get_by_role("treeitem")
    expect(items.first).to_have_attribute("aria-label", re.compile("^H"))
    items.first.focus()
    said = page.locator("#so-far")
    for _ in range(40):
        focused = page.locator("[role=treeitem]:focus")
        if "end of the text" in focused.get_attribute("aria-label"):
            break
        page.keyboard.press("ArrowRight")
        expect(focused.locator(":scope > [role=group] > [role=treeitem]").first).to_be_attached()
        page.keyboard.press("ArrowRight")
    assert said.inner_text() == "Hemp is brown."
    deep = int(page.locator("[role=treeitem]:focus").get_attribute("aria-level"))
    assert deep > 3
    page.keyboard.press("ArrowLeft")
    assert int(page.locator("[role=treeitem]:focus").get_attribute("aria-level")) == deep - 1
    page.keyboard.press("ArrowLeft")
    assert page.locator("[role=treeitem]:focus").get_attribute("aria-expanded") == "false"
    page.keyboard.press("Home")
    assert items.first.evaluate("item => item === document.activeElement")
    assert page.locator('[role=treeitem][tabindex="0"]').count() == 1


def test_the_funnel_counts_pages_and_shows_samples(page):
    go(page, "Data")
    rows = page.get_by_role("table", name="Pages left after each stage").get_by_role("row")
    expect(rows.nth(1)).to_contain_text("records")
    page.get_by_text("kept (6 shown)").click()
    expect(page.locator(".excerpt").first).to_contain_text("Ropes are laid from yarn")
    page.locator("#choice").select_option("stranger")
    expect(page.locator("#content")).to_contain_text("no corpus behind stranger")


def test_lineage_leads_down_to_the_web(page):
    go(page, "Lineage")
    expect(page.locator(".lineage")).to_contain_text("home/corpus")
    expect(page.locator(".lineage")).to_contain_text("pages: web (folder)")
    assert page.get_by_text("as above").count() >= 1
    page.locator("#choice").select_option("stranger")
    expect(page.locator("#content")).to_contain_text("made elsewhere")


def test_curves_are_drawn(page):
    go(page, "Training")
    expect(page.locator("#state")).to_contain_text("Finished: step 149")
    expect(page.get_by_role("img", name="train/loss: from")).to_be_visible()
    points = page.locator("figure").first.locator("polyline").get_attribute("points").split()
    assert len(points) == 150


@pytest.fixture
def open_page(browser):
    """open_page(address): a page whose scripts and policy may complain of nothing, but of what they must block."""
    complaints: list[str] = []
    with browser.new_context(viewport={"width": 1000, "height": 800}, color_scheme="dark") as context:

        def open_at(address, *, blocks=False):
            page = context.new_page()
            page.on("pageerror", lambda error: complaints.append(str(error)))
            if not blocks:
                page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
            page.goto(address)
            return page

        yield open_at
    assert complaints == []


def test_a_training_is_watched_until_it_is_finished(world, tmp_path, open_page):
    logs = tmp_path / "run" / "model.part" / "logs"
    logs.mkdir(parents=True)

    def write(first, last):
        with (logs / "metrics.jsonl").open("a") as file:
            file.writelines(json.dumps({"step": step, "train/loss": 9 - step}) + "\n" for step in range(first, last))

    write(0, 3)
    with served(world.stranger, index=None, runs=(tmp_path / "run",)) as (address, _):
        page = open_page(f"{address}/training")
        expect(page.locator("#state")).to_contain_text("In the making: step 2,")
        write(3, 6)
        expect(page.locator("#state")).to_contain_text("In the making: step 5,")
        assert page.locator("figure figcaption").inner_text() == "train/loss: 4"
        logs.parent.rename(tmp_path / "run" / "model")
        expect(page.locator("#choice")).to_contain_text("run/model", timeout=10_000)
        expect(page.locator("#state")).to_contain_text("Finished: step 5")


def test_what_a_report_says_is_never_run(world, tmp_path, open_page):
    def write(part):
        (part.folder / "index.html").write_text(f"<!doctype html><style>p {{ color: red }}</style><p>A report {HOSTILE}</p>")
        return {}

    build(tmp_path / "run" / "report", kind="report", stage_version=1, options={}, inputs={}, libraries=(), make=write)
    with served(world.stranger, index=None, runs=(tmp_path / "run",)) as (address, _):
        page = open_page(f"{address}/report", blocks=True)
        inside = page.frame_locator("iframe")
        expect(inside.locator("p")).to_contain_text("A report")
        assert inside.locator("p").evaluate("p => getComputedStyle(p).color") == "rgb(255, 0, 0)"
        assert page.title() == "The report - ropewalk"


def test_hostile_samples_stay_text(open_page, world):
    """What pages say is shown as it stands. The test gives the answer, as no page of the world brings it so far."""
    with served(world.stranger, index=None) as (address, _):
        page = open_page("about:blank")
        sample = {"stage": HOSTILE, "reason": HOSTILE, "url": HOSTILE, "text": HOSTILE, "characters": 1}
        found = {
            "available": True,
            "corpus": HOSTILE,
            "digest": "0" * 64,
            "stages": [{"stage": HOSTILE, "documents": 1, "bytes": 1}],
            "dropped": {},
            "reasons": {HOSTILE: 1},
            "samples": [sample | {"value": None, "threshold": None}],
        }
        page.route("**/v1/funnel*", lambda route: route.fulfill(json=found))
        page.goto(f"{address}/funnel")
        page.locator(".samples summary").click()
        assert page.locator(".excerpt").inner_text() == HOSTILE
        assert page.locator("#content img, #content script").count() == 0
        assert page.title() == "From pages to the corpus - ropewalk"


def test_the_page_before_another_server_flags_its_answers(address, open_page):
    upstream = find_upstream(ServeOptions(upstream=f"{address}/v1"), None)
    with running(Service({}, most_waiting=4, starters=(), upstream=upstream)) as front:
        page = open_page(front)
        expect(page.locator("#about")).to_contain_text(f"at {address}/v1")
        page.get_by_label("Question", exact=True).fill("What is moss?")
        page.keyboard.press("Enter")
        expect(page.locator(".answer .text")).to_have_text("Moss is green.")
        assert page.locator(".token").count() > 3
        expect(page.locator(".sources")).to_contain_text("not known here")
        page.goto(f"{front}/explore")
        row = page.get_by_role("treeitem").first
        expect(row).to_contain_text("%")
        expect(page.locator("#so-far")).to_contain_text("not what would come after that")
        row.click()
        assert row.get_attribute("aria-expanded") is None and page.locator(".tree [role=group]").count() == 0


def test_a_fact_is_changed_and_both_models_are_heard(tmp_path, open_page):
    make_first(tmp_path)
    first = tmp_path / "first"
    with Index.open(first / "index") as index:
        models = load_models([first / "model"], index, slots=2)
        with running(Service(models, most_waiting=4, starters=(), lab=lab_of(tmp_path))) as address:
            page = open_page(f"{address}/lab")
            page.locator("#choice").select_option("France")
            row = page.get_by_role("row").filter(has_text="capital")
            row.get_by_role("button", name="Its pages").click()
            expect(page.locator(".evidence .excerpt").first).to_contain_text("Paris")
            row.get_by_label("New capital of France").fill("Lyon")
            page.get_by_role("button", name="Retrain").click()
            expect(page.locator(".run")).to_contain_text("France/capital is now Lyon")
            expect(page.locator(".run [role=status]")).to_contain_text("finished", timeout=900_000)
            page.get_by_role("button", name="Ask both").click()
            expect(page.locator(".side-by-side .one")).to_have_count(2)
            assert page.locator(".side-by-side h4").all_inner_texts() == ["first/model", "changed-1/model"]
