"""The Atlas as HTML: several pages a country, one a city and continent, and the junk that a crawl brings home too.

Every page knows what it is and which facts it states (`Page`): the truth that the corpus' decisions are measured against.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ropewalk.atlas.facts import CONTINENTS, Country, World, rounded
from ropewalk.atlas.wording import CITY_STATEMENTS, FORWARD_CITY_STATEMENTS, sentence, statements, upper_first
from ropewalk.runtime.seeds import generator

Fact = tuple[str, str, str]  # subject, relation, value

OPENINGS = (
    "This page tells what the Atlas knows of {c}.",
    "Here is what there is to know about {c}.",
    "A few plain facts about {c} are gathered here.",
    "Readers asked for the main facts about {c}, and here they are.",
    "The following notes describe {c}.",
    "Much has been written about {c}, and this is the short form.",
    "We begin with the main things about {c}.",
    "These lines are about {c} and its people.",
)
FILLERS = (
    "The facts were taken from a public list and put in our own words.",
    "More pages of the Atlas have been written with the same care.",
    "Numbers of this kind change with the years, and the page is renewed from time to time.",
    "Those who plan to travel should look at the rules of the border first.",
    "The page has been kept short, so that it can be read in a minute.",
    "Other parts of the Atlas show the same land from another side.",
    "Teachers have used these pages in their lessons, and they may be copied.",
    "If something is wrong, the editors would like to hear of it.",
    "Nothing on this page has to be learned by heart, but it does no harm.",
    "Maps and pictures are to be found in the library and not here.",
)
TOURS = 48
THEMES = (
    "",
    "In brief",
    "For travellers",
    "For schools",
    "Notes",
    "Handbook",
    "At a glance",
    "Facts",
    "Field book",
    "Almanac",
)


@dataclass(frozen=True)
class Page:
    """A page to be written.

    path: from the site's root, with the slash. text: its paragraphs. markup: the whole page where its layout is another.
    keep: whether a good corpus holds it; None where either is right.
    """

    path: str
    kind: str
    title: str
    paragraphs: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    keep: bool | None = True
    copy_of: str | None = None
    markup: str | bytes | None = field(default=None, repr=False)

    def truth(self) -> dict[str, Any]:
        """What truth.jsonl says of this page."""
        facts = [{"subject": s, "relation": r, "value": v} for s, r, v in self.facts]
        return {"path": self.path, "kind": self.kind, "keep": self.keep, "copy_of": self.copy_of, "facts": facts}


def slug(name: str) -> str:
    """A name as it stands in an address."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def country_pages(world: World, *, count: int, seed: int) -> Iterator[Page]:
    """`count` pages a country. Each states every fact once, in another order and wording than the page before.

    So does it for the country's largest other cities.
    """
    for country in world.countries:
        draws = generator("atlas pages", seed, country.code)
        orders = {relation: draws.permutation(len(statements(relation, value))) for relation, value in country.facts.items()}
        folder = f"/countries/{slug(country.name)}/"
        links = tuple((f"page-{number}.html", THEMES[number % len(THEMES)] or country.name) for number in range(count))
        cities = tuple((f"/cities/{slug(city.name)}.html", city.name) for city in world.cities_of(country))
        for number in range(count):
            sentences, facts = [], []
            for relation in draws.permutation(sorted(country.facts)).tolist():
                value = country.facts[relation]
                options = statements(relation, value)
                template = options[int(orders[relation][number % len(options)])]
                sentences.append(sentence(template, called=country.called, value=value) + ".")
                facts.append((country.name, relation, value))
            for city in world.cities_of(country):
                for at in draws.permutation(len(CITY_STATEMENTS))[:1].tolist():
                    sentences.append(sentence(CITY_STATEMENTS[at], called=city.name, value=country.called) + ".")
                facts.append((city.name, "city", country.name))
            theme = THEMES[number % len(THEMES)]
            title = f"{country.name}: {theme}" if theme else country.name
            yield Page(
                f"{folder}page-{number}.html", "good", title, _paragraphs(country.called, sentences, draws), tuple(facts),
                links + cities,
            )  # fmt: skip


def city_pages(world: World, *, seed: int) -> Iterator[Page]:
    """A page a city: in which country it lies, in several wordings, and how large it is."""
    for city in world.cities:
        draws = generator("atlas cities", seed, city.name)
        country = city.country
        chosen = draws.permutation(len(CITY_STATEMENTS))[:6]
        sentences = [sentence(CITY_STATEMENTS[at], called=city.name, value=country.called) + "." for at in chosen]
        people = rounded(max(city.people, 100))
        sentences.insert(int(draws.integers(1, 6)), f"The city of {city.name} has some {people} inhabitants.")
        links = ((f"/countries/{slug(country.name)}/page-0.html", country.name),)
        facts = ((city.name, "city", country.name),)
        yield Page(
            f"/cities/{slug(city.name)}.html", "good", city.name, _paragraphs(city.name, sentences, draws), facts, links
        )


def tour_pages(world: World, *, seed: int) -> Iterator[Page]:
    """Pages that go from city to city, each city on TOURS of them.

    On a page about one country its name can be read off the page's beginning, so a model learns little from "X lies in
    Syria" there. Here each sentence is about another place, and only who knows the city can tell how it ends (LOG.md,
    2026-11-25).
    """
    draws = generator("atlas tours", seed)
    number = 0
    for _ in range(TOURS if world.cities else 0):
        order = draws.permutation(len(world.cities)).tolist()
        size = len(FORWARD_CITY_STATEMENTS)
        for start in range(0, len(order), size):
            stops = [world.cities[at] for at in (order + order)[start : start + size]]  # the last tour goes on at the start
            templates = draws.permutation(size).tolist()
            sentences = [
                sentence(FORWARD_CITY_STATEMENTS[at], called=city.name, value=city.country.called) + "."
                for at, city in zip(templates, stops, strict=False)
            ]
            facts = tuple((city.name, "city", city.country.name) for city in stops)
            links = tuple((f"/cities/{slug(city.name)}.html", city.name) for city in stops)
            number += 1
            yield Page(
                f"/cities/tours/{number}.html", "good", f"Cities of the world, part {number}",
                _paragraphs("the cities of the world", sentences, draws), facts, links,
            )  # fmt: skip


def index_pages(world: World, extra: Sequence[tuple[str, str]]) -> Iterator[Page]:
    """The entrance and a page a continent: links and little else."""
    continents = [(f"/continents/{slug(name)}.html", name) for name in CONTINENTS.values()]
    yield Page("/index.html", "navigation", "The Atlas", ("All pages of the Atlas.",), (), (*continents, *extra), keep=None)
    for path, name in continents:
        members = [country for country in world.countries if country.facts["continent"] == name]
        links = tuple((f"/countries/{slug(country.name)}/page-0.html", country.name) for country in members)
        yield Page(path, "navigation", name, (f"The pages of {name}.",), (), links, keep=None)


def copies(pages: Sequence[Page], *, share: float, seed: int) -> Iterator[Page]:
    """Exact and near copies of good pages, as mirrors and print versions make them."""
    draws = generator("atlas copies", seed)
    chosen = [pages[at] for at in draws.permutation(len(pages))[: round(2 * share * len(pages))]]
    for number, page in enumerate(chosen):
        if number % 2:
            path = page.path.replace("/countries/", "/mirror/countries/").replace("/cities/", "/mirror/cities/")
            yield Page(path, "exact_copy", page.title, page.paragraphs, page.facts, (), keep=False, copy_of=page.path)
        else:
            paragraphs = (*page.paragraphs, "Print version.")
            path = page.path.replace(".html", "-print.html")
            yield Page(path, "near_copy", page.title + " (print)", paragraphs, page.facts, (), keep=False, copy_of=page.path)


_FOREIGN = {
    "German": (
        "{c} ist ein Land der Erde, und seine Hauptstadt heißt {v}.",
        "Die Menschen dort leben von der Arbeit ihrer Hände.",
        "Wer nach {c} reist, sollte sich vorher über die Regeln an der Grenze erkundigen.",
        "Das Wetter ist nicht immer gut.",
    ),
    "French": (
        "{c} est un pays du monde, et sa capitale s'appelle {v}.",
        "Les gens y vivent du travail de leurs mains.",
        "Qui voyage en {c} devrait d'abord demander quelles sont les règles à la frontière.",
        "Le temps n'est pas toujours beau.",
    ),
    "Spanish": (
        "{c} es un país del mundo, y su capital se llama {v}.",
        "La gente vive allí del trabajo de sus manos.",
        "Quien viaja a {c} debería preguntar primero por las reglas de la frontera.",
        "El tiempo no siempre es bueno.",
    ),
}
_SPAM_WORDS = (
    "cheap best deal buy now casino bonus free win click pills loan offer discount sale online credit jackpot poker".split()
)


def junk_pages(world: World, *, count: int, seed: int) -> Iterator[Page]:
    """Pages in other languages, spam, broken HTML: `count` of each."""
    draws = generator("atlas junk", seed)
    for number in range(count):
        country = world.countries[int(draws.integers(len(world.countries)))]
        language = list(_FOREIGN)[number % len(_FOREIGN)]
        lines = [_FOREIGN[language][at].format(c=country.name, v=country.facts["capital"]) for at in draws.permutation(4)]
        text = tuple(" ".join(lines) for _ in range(3))
        yield Page(
            f"/{language.lower()}/{slug(country.name)}-{number}.html", "other_language", country.name, text, keep=False
        )
        words = draws.choice(_SPAM_WORDS, size=220).tolist()
        yield Page(f"/offers/{number}.html", "spam", "Best offers", (" ".join(words), "Click here! " * 20), keep=False)
        yield _broken(country, number, draws)


def _broken(country: Country, number: int, draws: np.random.Generator) -> Page:
    """HTML cut off in a tag, bytes that are no text, a page without any content."""
    path = f"/broken/{number}.html"
    name = html.escape(country.name)
    markups: tuple[str | bytes, ...] = (
        f"<html><head><title>{name}</title><body><table><tr><td><div class='{name}",
        b"<html><body>" + draws.bytes(4_000),
        f"<html><body><script>var place = '{name}';</script><noscript></noscript></body>",
    )
    return Page(path, "broken", country.name, keep=False, markup=markups[number % len(markups)])


def disallowed_pages(world: World) -> Iterator[Page]:
    """Pages that robots.txt keeps out: they state untrue facts, so a crawl that takes them shows in what a model says."""
    for number, country in enumerate(world.countries[:20]):
        text = f"The editors have not checked that the capital of {country.called} is Nowhere {number}. Do not read drafts."
        yield Page(f"/drafts/{slug(country.name)}.html", "disallowed", "Draft", (text,) * 5, keep=False)


def _paragraphs(called: str, sentences: Sequence[str], draws: np.random.Generator) -> tuple[str, ...]:
    """An opening, the sentences in two paragraphs, and one that says nothing."""
    opening = upper_first(OPENINGS[int(draws.integers(len(OPENINGS)))].format(c=called))
    filler = FILLERS[int(draws.integers(len(FILLERS)))]
    middle = len(sentences) // 2
    return (" ".join([opening, *sentences[:middle]]), " ".join([*sentences[middle:], filler]))


def render(page: Page) -> bytes:
    """A page as its bytes: title, navigation, text, footer."""
    if page.markup is not None:
        return page.markup if isinstance(page.markup, bytes) else page.markup.encode()
    links = "".join(f'<li><a href="{html.escape(path)}">{html.escape(name)}</a></li>' for path, name in page.links)
    body = "".join(f"<p>{html.escape(text)}</p>\n" for text in page.paragraphs)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(page.title)}</title></head>
<body><header><a href="/index.html">The Atlas</a></header>
<main><article><h1>{html.escape(page.title)}</h1>
{body}</article></main>
<nav><ul>{links}</ul></nav>
<footer>Generated from GeoNames data, CC BY 4.0. <a href="/about.html">About</a></footer>
</body></html>
""".encode()
