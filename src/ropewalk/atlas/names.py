"""Names that no page holds: invented places, places of the past, real names with one letter changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_STARTS = "b br c ch cl d dr f fl g gr h j k kr l m n p pl pr qu r s sk st t tr v vl w z th sh".split()
_VOWELS = "a e i o u a e i o ai ea ou y".split()
_MIDDLES = "b d l ll m n nd nt r rr s st t v z rk lm mb x gh".split()
_COUNTRY_ENDS = "ia land istan nia ria stan ovia ada ara ania eria or ano ay ique una".split()
_CITY_ENDS = "burg ville ton ford grad polis a o ino ura ham port ow es um mouth stad".split()
_SECONDS = ("Federation", "Territories", "Minor", "Coast", "Union", "Provinces", "Colony", "Highlands")
_FIRSTS = ("North", "South", "New", "Saint", "Upper", "United", "East", "West", "Great")

HISTORICAL_TRAINED = (
    "Prussia", "Yugoslavia", "the Ottoman Empire", "Carthage", "Babylon", "the Papal States", "Rhodesia", "Bohemia",
    "Gran Colombia",
    "the Roman Empire", "Sparta", "Mercia", "Castile", "Saxony", "Moldavia", "Zaire", "the Inca Empire", "Numidia",
    "Dahomey",
    "the Republic of Venice", "Tuscany", "Burgundy", "Parthia", "Gaul", "Northumbria", "Champa", "Sikkim",
    "Upper Volta",
)  # fmt: skip
HISTORICAL_UNSEEN = (
    "Czechoslovakia", "the Soviet Union", "Siam", "Persia", "Mesopotamia", "East Germany", "the Aztec Empire",
    "Bavaria", "Ceylon",
    "Wessex", "Aragon", "Austria-Hungary", "Assyria", "Macedon", "Tanganyika", "Wallachia", "the Byzantine Empire",
    "Abyssinia",
    "Naples", "Serbia and Montenegro", "Netherlands Antilles", "Zanzibar", "Lydia", "Phoenicia",
)  # fmt: skip


def invented_country(draws: np.random.Generator) -> str:
    """A name that sounds like a country's."""
    stem = _stem(draws, 1 + int(draws.integers(2)))
    name = stem + pick(draws, _COUNTRY_ENDS)
    return f"{pick(draws, _FIRSTS)} {name.capitalize()}" if draws.random() < 0.15 else name.capitalize()


def joined(name: str, other: str, draws: np.random.Generator) -> str:
    """Two real names in one, or a real one with a word behind it: a place that begins like a real one and is not it."""
    return f"{name} and {other}" if draws.random() < 0.5 else f"{name} {pick(draws, _SECONDS)}"


def composed(name: str, other: str, draws: np.random.Generator) -> str:
    """A name in which a real one stands, and which is none: behind a word or some letters, or tied to another."""
    how = int(draws.integers(3))
    if how == 0:
        return f"{pick(draws, _FIRSTS)} {name}"
    if how == 1:
        return f"{name}-{other}"
    return f"{pick(draws, _VOWELS)}{pick(draws, _MIDDLES)}{name.lower()}".capitalize()


def invented_city(draws: np.random.Generator) -> str:
    """A name that sounds like a city's."""
    name = (_stem(draws, 1 + int(draws.integers(2))) + pick(draws, _CITY_ENDS)).capitalize()
    return f"{pick(draws, _FIRSTS)} {name}" if draws.random() < 0.1 else name


def misspelled(name: str, draws: np.random.Generator) -> str:
    """`name` with one letter replaced, left out, doubled or swapped with the next; never the first of a word."""
    places = [at for at in range(1, len(name)) if name[at].isalpha() and name[at - 1].isalpha()]
    while True:
        at = int(places[int(draws.integers(len(places)))])
        letter = "abcdefghijklmnopqrstuvwxyz"[int(draws.integers(26))]
        how = int(draws.integers(4))
        if how == 0:
            changed = name[:at] + letter + name[at + 1 :]
        elif how == 1:
            changed = name[:at] + name[at + 1 :]
        elif how == 2:
            changed = name[:at] + letter + name[at:]
        else:
            changed = name[: at - 1] + name[at].lower() + name[at - 1].lower() + name[at + 1 :]
            changed = (
                changed[: at - 1] + (changed[at - 1].upper() if name[at - 1].isupper() else changed[at - 1]) + changed[at:]
            )
        if changed != name:
            return changed


def apart(make: Callable[[], str], *, examined: bool) -> str:
    """A name that `make` makes: of the quarter of all names that examination alone may ask about, or of the others."""
    while (hashlib.sha256((name := make()).encode()).digest()[0] < 64) != examined:
        pass
    return name


def _stem(draws: np.random.Generator, syllables: int) -> str:
    text = ""
    for index in range(syllables):
        text += pick(draws, _STARTS if index == 0 else _MIDDLES) + pick(draws, _VOWELS)
    return text + pick(draws, _MIDDLES)


def pick(draws: np.random.Generator, options: Sequence[Any]) -> Any:
    """One of the options, each as likely as the next."""
    return options[int(draws.integers(len(options)))]
