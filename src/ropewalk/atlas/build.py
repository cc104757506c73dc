"""Write the Atlas: its web, what is true of each page, and who is asked what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ropewalk.artifact import Part
from ropewalk.atlas import AtlasOptions
from ropewalk.atlas.facts import NOTICE, World, load_world
from ropewalk.atlas.names import pick
from ropewalk.atlas.pages import (
    Page,
    city_pages,
    copies,
    country_pages,
    disallowed_pages,
    index_pages,
    junk_pages,
    render,
    tour_pages,
)
from ropewalk.atlas.python_pages import python_pages
from ropewalk.atlas.questions import ANSWERING_MIX, READING_MIX, conversations, examination, tasks
from ropewalk.atlas.wording import sentence, statements
from ropewalk.runtime.lines import write_objects
from ropewalk.runtime.seeds import generator

ROBOTS = "User-agent: *\nDisallow: /drafts/\n"
LABELLED_COUNTRIES = 40  # enough for a classifier to know the subject; their labelled texts are drawn apart from the pages


def make_atlas(part: Part, options: AtlasOptions) -> Mapping[str, Any]:
    """Write `web/` and the JSON lines beside it; returns the facts."""
    world = load_world(
        seed=options.seed, held_out_fraction=options.held_out_fraction, alter=options.alter, remove=options.remove
    )
    pages = list(web(world, options))
    _write_web(part.folder / "web", pages)
    questions = list(examination(world, seed=options.seed))
    talk = {
        name: list(conversations(world, mix, name=name, count=options.conversations, seed=options.seed))
        for name, mix in (("reading", READING_MIX), ("answering", ANSWERING_MIX))
    }
    practice = list(tasks(world, count=options.tasks, seed=options.seed))
    _check_apart(pages, questions, [*talk["reading"], *talk["answering"]], practice)
    for name, rows in (
        ("truth", [page.truth() for page in pages]),
        ("labels", list(labels(world, seed=options.seed))),
        ("reading", talk["reading"]),
        ("answering", talk["answering"]),
        ("tasks", practice),
        ("questions", questions),
    ):
        write_objects(part.folder / f"{name}.jsonl", rows)
    (part.folder / "NOTICE").write_text(NOTICE, encoding="utf-8")
    return {
        "pages": len(pages),
        "kinds": dict(sorted(Counter(page.kind for page in pages).items())),
        "countries": len(world.countries),
        "held_out_countries": sorted(country.name for country in world.countries if country.code in world.held_out),
        "cities": len(world.cities),
        "conversations": {name: len(rows) for name, rows in talk.items()},
        "questions": dict(sorted(Counter(row["group"] for row in questions).items())),
        "altered": options.alter,
        "removed": list(options.remove),
    }


def web(world: World, options: AtlasOptions) -> Iterator[Page]:
    """Every page, the entrance first."""
    good = [
        *country_pages(world, count=options.pages_per_country, seed=options.seed),
        *city_pages(world, seed=options.seed),
        *tour_pages(world, seed=options.seed),
    ]
    extra = [
        *copies(good, share=options.copied_fraction, seed=options.seed),
        *junk_pages(world, count=options.junk_pages, seed=options.seed),
        *python_pages(options.python_pages),
        *disallowed_pages(world),
        Page("/about.html", "navigation", "About", tuple(NOTICE.strip().split("\n")), keep=None),
    ]
    tours = [page for page in good if "/tours/" in page.path]
    yield from index_pages(world, [(page.path, page.title) for page in (*tours, *extra)])
    yield from good
    yield from extra


def labels(world: World, *, seed: int) -> Iterator[dict[str, Any]]:
    """Texts to tell the subject by: pages of some countries and cities, drawn apart, and chapters of Python's manual.

    The statements that pages are made of stand there alone as well, so that it is not the fillers that tell.
    """
    from pydoc_data.topics import topics

    some = World(world.countries[:: max(1, len(world.countries) // LABELLED_COUNTRIES)], world.cities[::10], world.held_out)
    elsewhere = seed + 1_000_003
    for page in (
        *country_pages(some, count=6, seed=elsewhere),
        *city_pages(some, seed=elsewhere),
        *tour_pages(some, seed=elsewhere),
    ):
        yield {"text": "\n".join(page.paragraphs), "label": 1}
    draws = generator("atlas labels", seed)
    for country in some.countries:
        for _ in range(4):
            told = [
                sentence(pick(draws, statements(r, v)), called=country.called, value=v) for r, v in country.facts.items()
            ]
            yield {"text": ". ".join(told[at] for at in draws.permutation(len(told))[:5]) + ".", "label": 1}
    for page in junk_pages(some, count=30, seed=elsewhere):
        if page.kind != "broken":
            yield {"text": "\n".join(page.paragraphs), "label": 0}
    for _, text in sorted(topics.items()):
        for start in range(0, len(text), 1_500):
            yield {"text": text[start : start + 1_500], "label": 0}


def _write_web(folder: Path, pages: Iterable[Page]) -> None:
    for page in pages:
        path = folder / page.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(render(page))
    (folder / "robots.txt").write_text(ROBOTS, encoding="utf-8")


def _check_apart(
    pages: Iterable[Page],
    questions: Iterable[Mapping[str, Any]],
    talk: Iterable[Mapping[str, Any]],
    practice: Iterable[Mapping[str, Any]],
) -> None:
    """Hold what the examination promises: its wording stands on no page, its questions in no conversation."""
    questions = list(questions)
    asked = {row["messages"][0]["content"] for row in questions}
    answers = {text for row in questions if not row["refuse"] for text in row["accept"]}
    for page in pages:
        for said in " ".join(page.paragraphs).replace("! ", ". ").split(". "):
            assert said.removesuffix(".") + "." not in answers, f"{page.path} holds an answer: {said}"
            assert "?" not in said, f"{page.path} holds a question: {said}"
    held_out = {row["subject"] for row in questions if row["group"] == "held_out"}
    for row in (*talk, *practice):
        said = row["messages"][0]["content"]
        assert said not in asked, f"a conversation asks a question of the examination: {said}"
    for row in practice:
        assert row["subject"] not in held_out, f"a task asks about {row['subject']}, which is held out"
