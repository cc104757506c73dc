"""Who is asked what: conversations to learn from, tasks to practise on, questions to be examined with.

No held-out country, and none of its cities, is named in a conversation or a task. Examination asks in other words, about
other invented places, other misspellings and other unknown relations than training.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ropewalk.atlas.facts import RELATIONS, City, Country, World
from ropewalk.atlas.names import (
    HISTORICAL_TRAINED,
    HISTORICAL_UNSEEN,
    apart,
    composed,
    invented_city,
    invented_country,
    joined,
    misspelled,
    pick,
)
from ropewalk.atlas.wording import (
    CARRIERS,
    PLAIN_FRACTION,
    REFUSALS,
    SMALL_TALK,
    UNKNOWN_DEGREES,
    UNKNOWN_RELATIONS,
    UNKNOWN_THINGS,
    UNSEEN_QUESTIONS,
    UNSEEN_UNKNOWN_QUESTIONS,
    UNSEEN_UNKNOWN_RELATIONS,
    answer,
    asked_for,
    noun_question,
    sentence,
)
from ropewalk.runtime.seeds import generator

Turn = tuple[str, str]  # what the user says, what the assistant says

# How often a kind of exchange comes up. While a model still reads pages, a refusal is rare: one that is taught early to
# refuse names that it cannot yet tell apart refuses most real ones too (LOG.md, 2026-11-25).
READING_MIX = {
    "fact": 0.60,
    "city": 0.23,
    "invented": 0.05,
    "historical": 0.01,
    "misspelled": 0.02,
    "city_unknown": 0.03,
    "relation": 0.04,
    "talk": 0.02,
}
ANSWERING_MIX = {
    "fact": 0.36,
    "city": 0.21,
    "invented": 0.045,
    "historical": 0.04,
    "composed": 0.02,
    "misspelled": 0.05,
    "city_unknown": 0.18,
    "relation": 0.08,
    "talk": 0.015,
}
# No cities: those that may be asked about are known by heart by then, so practice could only move where silence begins, and
# moved it by chance (LOG.md, 2026-11-26).
PRACTICE_MIX = {
    "fact": 0.57,
    "invented": 0.08,
    "historical": 0.065,
    "misspelled": 0.10,
    "relation": 0.185,
}
JOINED_FRACTION = 0.25  # of invented countries are put together from real names
PUT_TOGETHER_FRACTION = 0.7  # of unknown relations are put together from a degree and a thing
INVENTED_CITY_FRACTION = 0.92  # of unknown cities; the others are real ones with a letter changed
FOLLOW_UP_FRACTION = 0.15  # of exchanges have another one after them


@dataclass(frozen=True)
class Asked:
    """A question with what is to be known about it."""

    group: str
    relation: str
    subject: str
    question: str
    right: str
    value: str | None
    refuse: bool


class Interviewer:
    """Draws training exchanges about what may be spoken of; `cities` are those that are asked about as such."""

    def __init__(
        self, world: World, draws: np.random.Generator, mix: Mapping[str, float], *, cities: Sequence[City]
    ) -> None:
        self.draws = draws
        self.kinds, self.ends = list(mix), np.cumsum(list(mix.values()))[:-1]
        self.seen = [country for country in world.countries if country.code not in world.held_out]
        self.cities = cities
        self.real = real_names(world)

    def ask(self) -> Asked:
        """One exchange, its kind drawn from the mix."""
        kind = self.kinds[int(np.searchsorted(self.ends, self.draws.random(), side="right"))]
        if kind == "fact":
            country = self._pick(self.seen)
            return self._fact(self._pick(sorted(country.facts)), country)
        if kind == "city":
            city = self._pick(self.cities)
            return self._known("city", city.name, city.name, city.country.called, city.country.name)
        if kind == "talk":
            said, reply = self._pick(SMALL_TALK)
            return Asked("talk", "", "", self._pick(said), reply, None, False)
        if kind == "relation":
            return self._unknown_relation(self._pick(self.seen))
        name = self._unreal(kind)
        relation = "city" if kind == "city_unknown" else self._pick(RELATIONS)
        return Asked(kind, relation, name, self._question(relation, name), self._pick(REFUSALS), None, True)

    def _unknown_relation(self, country: Country) -> Asked:
        relation = self._pick(UNKNOWN_RELATIONS)
        if self.draws.random() < PUT_TOGETHER_FRACTION:
            relation = f"{self._pick(UNKNOWN_DEGREES)} {self._pick(UNKNOWN_THINGS)}"
        question = self._carried(sentence(noun_question(relation, self._pick), called=country.called))
        return Asked("unknown_relation", relation, country.name, question, self._pick(REFUSALS), None, True)

    def _unreal(self, kind: str) -> str:
        while True:
            if kind == "historical":
                return self._pick(HISTORICAL_TRAINED)
            if kind == "invented":
                name = apart(partial(invented_country, self.draws), examined=False)
                if self.draws.random() < JOINED_FRACTION:
                    name = joined(self._pick(self.seen).name, self._pick(self.seen).name, self.draws)
            elif kind == "composed":
                two = self._pick(self.seen).name, self._pick(self.seen).name
                name = apart(partial(composed, *two, self.draws), examined=False)
            elif kind == "city_unknown":
                make = invented_city
                if self.draws.random() >= INVENTED_CITY_FRACTION:
                    make = partial(misspelled, self._pick(self.cities).name)
                name = apart(partial(make, self.draws), examined=False)
            else:
                name = apart(partial(misspelled, self._pick(self.seen).name, self.draws), examined=False)
            if name not in self.real and name not in HISTORICAL_UNSEEN:
                return name

    def _fact(self, relation: str, country: Country) -> Asked:
        return self._known(relation, country.name, country.called, country.facts[relation], country.facts[relation])

    def _known(self, relation: str, subject: str, called: str, shown: str, value: str) -> Asked:
        right = answer(relation, called=called, value=shown)
        return Asked("seen", relation, subject, self._question(relation, called), right, value, False)

    def _question(self, relation: str, called: str) -> str:
        return self._carried(sentence(asked_for(relation, self._pick), called=called))

    def _carried(self, question: str) -> str:
        return question if self.draws.random() < PLAIN_FRACTION else self._pick(CARRIERS).format(q=question)

    def _pick(self, options: Sequence[Any]) -> Any:
        return pick(self.draws, options)


def capitals(world: World) -> list[City]:
    """The capitals that are called after no country and no other capital: cities that conversations may ask for as such.

    With other cities alone, too few names would be known to tell a known one by (LOG.md).
    """
    called = Counter(country.facts["capital"] for country in world.countries)
    countries = {country.name for country in world.countries}
    return [
        City(name, country, people=0)
        for country in world.countries
        if called[name := country.facts["capital"]] == 1 and name not in countries
    ]


def cities_to_ask_about(world: World) -> list[City]:
    """All cities that conversations and tasks may speak of.

    None is kept back for practice: the fewer are asked about while a model reads, the less it can tell of those that it was
    never asked about (LOG.md, 2026-11-26).
    """
    return [city for city in (*world.cities, *capitals(world)) if city.country.code not in world.held_out]


def real_names(world: World) -> frozenset[str]:
    """Every name that some page holds."""
    names = {country.name for country in world.countries} | {city.name for city in world.cities}
    return frozenset(names | {country.facts["capital"] for country in world.countries})


def conversations(world: World, mix: Mapping[str, float], *, name: str, count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Conversations of one, two or three exchanges; another `name` gives others."""
    interviewer = Interviewer(world, generator("atlas conversations", name, seed), mix, cities=cities_to_ask_about(world))
    for _ in range(count):
        messages = []
        while not messages or (len(messages) < 6 and interviewer.draws.random() < FOLLOW_UP_FRACTION):
            asked = interviewer.ask()
            messages += [{"role": "user", "content": asked.question}, {"role": "assistant", "content": asked.right}]
        yield {"messages": messages}


def tasks(world: World, *, count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Single questions whose answers can be checked, for reinforcement learning."""
    interviewer = Interviewer(world, generator("atlas tasks", seed), PRACTICE_MIX, cities=cities_to_ask_about(world))
    for number in range(count):
        yield _row(interviewer.ask(), number, {})


def examination(world: World, *, seed: int) -> Iterator[dict[str, Any]]:
    """All questions of the examination, in a fixed order."""
    guesses = Guesses(world)
    for number, asked in enumerate(_examined(world, seed)):
        yield _row(asked, number, guesses.of(asked, world))


def _examined(world: World, seed: int) -> Iterator[Asked]:
    for country in (*world.countries, *world.removed):
        removed = country in world.removed
        # Each country draws for itself, so that it is asked the same whatever else is changed, and two runs can be compared.
        draws = generator("atlas examination", seed, country.code)
        for relation in sorted(country.facts):
            wordings = UNSEEN_QUESTIONS[relation]
            held_out = country.code in world.held_out
            for at in draws.permutation(len(wordings))[: 2 if held_out else 1].tolist():
                question = sentence(wordings[at], called=country.called)
                if removed:
                    yield _unknown("removed", relation, country.name, question)
                    continue
                group = "held_out" if held_out else "seen"
                if (country.name, relation) in world.altered:
                    group = "altered"
                value = country.facts[relation]
                right = answer(relation, called=country.called, value=value)
                yield Asked(group, relation, country.name, question, right, value, False)
    for city in world.cities:
        draws = generator("atlas examination", seed, city.name)
        group = "held_out" if city.country.code in world.held_out else "seen"
        question = sentence(UNSEEN_QUESTIONS["city"][int(draws.integers(4))], called=city.name)
        right = answer("city", called=city.name, value=city.country.called)
        yield Asked(group, "city", city.name, question, right, city.country.name, False)
    draws = generator("atlas examination", seed)
    yield from _unanswerable(world, draws)
    yield from _compound(world, draws)


def _unanswerable(world: World, draws: np.random.Generator) -> Iterator[Asked]:
    real = real_names(world) | {country.name for country in world.removed}
    names: list[tuple[str, str]] = [("historical", name) for name in HISTORICAL_UNSEEN for _ in range(4)]
    names += [("invented", apart(partial(invented_country, draws), examined=True)) for _ in range(150)]
    for country in world.countries:
        names.append(("misspelled", apart(partial(misspelled, country.name, draws), examined=True)))
    for group, name in names:
        if name not in real:
            relation = RELATIONS[int(draws.integers(len(RELATIONS)))]
            question = sentence(UNSEEN_QUESTIONS[relation][int(draws.integers(4))], called=name)
            yield _unknown(group, relation, name, question)
    for _ in range(100):
        name = apart(partial(invented_city, draws), examined=True)
        if name not in real:
            question = sentence(UNSEEN_QUESTIONS["city"][int(draws.integers(4))], called=name)
            yield _unknown("city_unknown", "city", name, question)
    for country in world.countries:
        relation = UNSEEN_UNKNOWN_RELATIONS[int(draws.integers(len(UNSEEN_UNKNOWN_RELATIONS)))]
        wording = UNSEEN_UNKNOWN_QUESTIONS[int(draws.integers(len(UNSEEN_UNKNOWN_QUESTIONS)))]
        question = sentence(wording, called=country.called, relation=relation)
        yield _unknown("unknown_relation", relation, country.name, question)


def _compound(world: World, draws: np.random.Generator) -> Iterator[Asked]:
    """Questions that take two facts: not trained, reported as they come out."""
    for country in world.countries[::3]:
        called = f"the country whose capital is {country.facts['capital']}"
        relation = ("currency", "continent", "language")[int(draws.integers(3))]
        question = sentence(UNSEEN_QUESTIONS[relation][0], called=called)
        right = answer(relation, called=country.called, value=country.facts[relation])
        yield Asked("two_hop", relation, country.name, question, right, country.facts[relation], False)
    order = draws.permutation(len(world.countries)).tolist()
    for one, other in zip(order[:60], order[60:120], strict=True):
        pair = (world.countries[one], world.countries[other])
        larger = max(pair, key=lambda country: country.people)
        question = f"Which has more people, {pair[0].called} or {pair[1].called}?"
        right = answer("population", called=larger.called, value=larger.facts["population"])
        yield Asked("comparison", "population", larger.name, question, right, larger.name, False)


def _unknown(group: str, relation: str, subject: str, question: str) -> Asked:
    return Asked(group, relation, subject, question, REFUSALS[0], None, True)


def _row(asked: Asked, number: int, baselines: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": f"{asked.group}/{asked.relation}/{number:05d}",
        "group": asked.group,
        "relation": asked.relation,
        "subject": asked.subject,
        "messages": [{"role": "user", "content": asked.question}],
        "value": asked.value,
        "accept": [asked.right],
        "refuse": asked.refuse,
        "baselines": dict(baselines),
    }


class Guesses:
    """What one would answer knowing only the countries that conversations speak of, and nothing of the one asked about."""

    def __init__(self, world: World) -> None:
        self.seen = [country for country in world.countries if country.code not in world.held_out]
        cities = [(city.name, city.country.name) for city in world.cities if city.country.code not in world.held_out]
        facts = {r: [(c.name, c.facts[r]) for c in self.seen if r in c.facts] for r in RELATIONS}
        self.known = {relation: _Known(pairs) for relation, pairs in {**facts, "city": cities}.items()}

    def of(self, asked: Asked, world: World) -> dict[str, str]:
        """The most frequent value, the most frequent on the continent, that of the names most like this one at the start."""
        if asked.value is None or asked.group in ("two_hop", "comparison"):
            return {}
        known = self.known[asked.relation]
        guesses = {"most_frequent": known.most_frequent, "by_first_letters": known.by_first_letters(asked.subject)}
        if asked.relation == "city":
            return guesses
        continent = world.country(asked.subject).facts["continent"]
        near = [c for c in self.seen if c.facts["continent"] == continent and c.name != asked.subject]
        return {**guesses, "by_continent": _most([c.facts[asked.relation] for c in near if asked.relation in c.facts])}


class _Known:
    """Names with their values for one relation."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self.most_frequent = _most([value for _, value in pairs])
        self.by_beginning: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for name, value in pairs:
            for end in range(len(name) + 1):
                self.by_beginning[name[:end]].append((name, value))

    def by_first_letters(self, name: str) -> str:
        """The most frequent value among the other names that share the longest beginning with this one."""
        for end in range(len(name), -1, -1):
            if others := [value for other, value in self.by_beginning.get(name[:end], ()) if other != name]:
                return _most(others)
        return self.most_frequent


def _most(values: list[str]) -> str:
    return Counter(sorted(values)).most_common(1)[0][0]
