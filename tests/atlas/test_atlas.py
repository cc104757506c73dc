"""The Atlas keeps its promises: facts, splits, junk, changed facts; the same bytes each time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ropewalk.artifact import Artifact, open_artifact
from ropewalk.atlas import AtlasOptions, run
from ropewalk.atlas.facts import NO_NEIGHBOURS, RELATIONS, load_world, neighbour_names, rounded
from ropewalk.atlas.names import invented_country, misspelled, pick
from ropewalk.atlas.questions import real_names
from ropewalk.atlas.wording import (
    ANSWERS,
    CARRIERS,
    CITY_STATEMENTS,
    STATEMENTS,
    UNSEEN_QUESTIONS,
    asked_for,
)
from ropewalk.runtime.errors import OptionError
from ropewalk.runtime.seeds import generator

SMALL = {"pages_per_country": 1, "junk_pages": 3, "python_pages": 2, "conversations": 500, "tasks": 100}


def lines(artifact: Artifact, name: str) -> list[dict]:
    return [json.loads(line) for line in (artifact.path / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower().replace("{c}", "")))


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Artifact:
    return run(AtlasOptions(**SMALL), out=tmp_path_factory.mktemp("atlas") / "site")


@pytest.fixture(scope="module")
def world():
    return load_world(seed=0, held_out_fraction=0.2, alter={}, remove=())


def test_the_facts_are_real(world):
    france = world.country("France")
    assert france.facts["capital"] == "Paris"
    assert france.facts["phone"] == "+33"
    assert france.facts["domain"] == ".fr"
    assert france.facts["population"] == "67 million"
    assert neighbour_names(france) == [
        "Andorra", "Belgium", "Germany", "Italy", "Luxembourg", "Monaco", "Spain", "Switzerland",
    ]  # fmt: skip
    assert world.country("Iceland").facts["neighbours"] == NO_NEIGHBOURS
    assert {"Serbia and Montenegro", "Netherlands Antilles", "Antarctica"}.isdisjoint({c.name for c in world.countries})
    assert len(world.countries) > 235
    assert all(set(country.facts) <= set(RELATIONS) and len(country.facts) >= 6 for country in world.countries)


@pytest.mark.parametrize(
    ("people", "said"),
    [
        (66_987_244, "67 million"),
        (9_630_959, "9.6 million"),
        (77_006, "77 thousand"),
        (921, "920"),
        (1_411_778_724, "1.4 billion"),
        (995_000, "1 million"),
    ],
)
def test_numbers_of_people_have_two_digits(people, said):
    assert rounded(people) == said


def test_every_relation_has_wordings_of_its_own_for_pages_training_and_examination():
    lead_ins = words("Could you remind me. I would like to know.")
    for relation in RELATIONS:
        assert len(STATEMENTS[relation]) >= 8
        trained = {asked_for(relation, partial(pick, np.random.default_rng(seed))) for seed in range(2_000)}
        assert len(trained) >= 300
        assert not trained & set(UNSEEN_QUESTIONS[relation])
        known = words(" ".join((*trained, *STATEMENTS.get(relation, CITY_STATEMENTS), *CARRIERS)))
        for question in UNSEEN_QUESTIONS[relation]:
            assert words(question) <= known | lead_ins, question
        assert ANSWERS[relation].rstrip(".") not in STATEMENTS[relation]


def test_no_conversation_or_task_names_a_held_out_country_or_its_cities(site, world):
    held_out = {country.name for country in world.countries if country.code in world.held_out}
    cities = {city.name for city in world.cities if city.country.code in world.held_out}
    assert set(site.facts["held_out_countries"]) == held_out
    assert len(held_out) == pytest.approx(0.2 * len(world.countries), abs=1)
    practised = {row["subject"] for row in lines(site, "tasks")}
    assert practised.isdisjoint(held_out | cities)
    learned = {
        message["content"]
        for name in ("reading", "answering")
        for row in lines(site, name)
        for message in row["messages"]
        if message["role"] == "assistant"
    }
    for country in (country for country in world.countries if country.code in world.held_out):
        assert f"The capital of {country.called} is {country.facts['capital']}." not in learned
    examined = {row["subject"] for row in lines(site, "questions") if row["group"] == "held_out"}
    assert examined == held_out | cities


def test_examination_and_practice_share_no_question(site):
    examined = {row["messages"][0]["content"] for row in lines(site, "questions")}
    practised = {row["messages"][0]["content"] for row in lines(site, "tasks")}
    said = {row["messages"][0]["content"] for name in ("reading", "answering") for row in lines(site, name)}
    assert examined.isdisjoint(practised | said)


def test_pages_state_what_the_truth_says(site):
    rows = lines(site, "truth")
    web = site.path / "web"
    files = {"/" + path.relative_to(web).as_posix() for path in web.rglob("*.html")}
    assert files == {row["path"] for row in rows}
    page = next(row for row in rows if row["path"].startswith("/countries/france/"))
    markup = (web / page["path"].lstrip("/")).read_text(encoding="utf-8")
    assert len(page["facts"]) >= len(RELATIONS)
    for fact in page["facts"]:
        assert fact["value"] in markup
    kinds = {row["kind"] for row in rows}
    assert kinds == {
        "good",
        "exact_copy",
        "near_copy",
        "other_language",
        "spam",
        "broken",
        "pydoc",
        "disallowed",
        "navigation",
    }


def test_the_same_options_give_the_same_bytes_and_another_seed_others(site, tmp_path):
    assert run(AtlasOptions(**SMALL), out=tmp_path / "again").digest == site.digest
    assert run(AtlasOptions(**SMALL, seed=1), out=tmp_path / "other").digest != site.digest


def test_facts_can_be_altered_and_countries_removed(tmp_path, world):
    changed = run(AtlasOptions(**SMALL, alter={"France/capital": "Lyon"}, remove=("Hungary",)), out=tmp_path / "changed")
    rows = lines(changed, "questions")
    altered = [row for row in rows if row["group"] == "altered"]
    assert [row["accept"] for row in altered] == [["The capital of France is Lyon."]] * len(altered)
    assert altered
    removed = [row for row in rows if row["group"] == "removed"]
    assert {row["subject"] for row in removed} == {"Hungary"}
    assert all(row["refuse"] for row in removed)
    web = changed.path / "web"
    pages = "".join(path.read_text(encoding="utf-8") for path in (web / "countries").rglob("*.html"))
    assert "Hungary" not in pages
    assert "Lyon" in (web / "countries/france/page-0.html").read_text(encoding="utf-8")
    assert set(changed.facts["held_out_countries"]) == {c.name for c in world.countries if c.code in world.held_out} - {
        "Hungary"
    }


@pytest.mark.parametrize(("options", "sentence"), [
    ({"alter": {"Frence/capital": "Lyon"}}, "did you mean 'France'"),
    ({"alter": {"France/king": "Louis"}}, "what is known of France"),
    ({"remove": ("Atlantis",)}, "no country of the Atlas"),
])  # fmt: skip
def test_changes_that_name_nothing_are_refused(tmp_path, options, sentence):
    with pytest.raises(OptionError, match=sentence):
        run(AtlasOptions(**SMALL, **options), out=tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def test_invented_and_misspelled_names_are_not_real_ones(world):
    draws = generator("test")
    real = real_names(world)
    invented = {invented_country(draws) for _ in range(500)}
    assert len(invented) > 450
    assert len(invented & real) <= 1
    for country in world.countries:
        assert misspelled(country.name, draws) != country.name


def test_the_notice_names_source_and_licence(site):
    notice = (open_artifact(site.path).path / "NOTICE").read_text(encoding="utf-8")
    assert "CC BY 4.0" in notice
    assert "GeoNames" in notice
    assert Path(site.path / "web" / "about.html").is_file()


def test_python_s_pages_are_the_same_in_every_process():
    """Addresses in memory and the order of sets differ from one to the next."""
    code = (
        "import hashlib; from ropewalk.atlas.python_pages import MODULES, python_pages; "
        "print([(page.path, hashlib.sha256(page.markup.encode()).hexdigest()) for page in python_pages(len(MODULES))])"
    )
    printed = {
        subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
    assert printed.pop().count(b"/python/") > 150
