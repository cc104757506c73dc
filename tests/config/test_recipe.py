"""Recipes: references, overrides, and every mistake in one sentence before anything is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest

from ropewalk.config import Input, load_recipe
from ropewalk.posttrain import IdentityOptions
from ropewalk.runtime.errors import InputError, OptionError
from ropewalk.tokenizer import TokenizeOptions


@dataclass(frozen=True)
class First:
    count: int = 1
    label: str = ""


@dataclass(frozen=True)
class Second:
    source: Annotated[Path, Input("first")]
    count: int = 1


CLASSES = {"first": First, "second": Second}
GOOD = """
into = "runs/x"
[pages]
stage = "first"
[corpus]
stage = "second"
source = "pages"
"""


def load(tmp_path: Path, text: str, **more):
    path = tmp_path / "r.toml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(path, options_classes=CLASSES, **more)


def test_a_name_made_above_becomes_its_path(tmp_path):
    recipe = load(tmp_path, GOOD)
    assert [step.out for step in recipe.steps] == [Path("runs/x/pages"), Path("runs/x/corpus")]
    assert recipe.steps[1].options.source == Path("runs/x/pages")
    assert recipe.steps[1].reads == ("pages",)
    assert load(tmp_path, GOOD, into=tmp_path).steps[1].options.source == tmp_path / "pages"


def test_what_would_be_made_inside_its_own_input_is_refused_by_the_name_of_into(tmp_path):
    text = GOOD.replace('source = "pages"', f"source = '{tmp_path}'")
    with pytest.raises(
        OptionError, match=r"would be made at .*corpus, inside its own input source = .*another into"
    ) as caught:
        load(tmp_path, text, into=tmp_path / "runs")
    assert "--out" not in str(caught.value)
    load(tmp_path, text, into=tmp_path.with_name("runs"))


def test_overrides_are_toml_values_or_bare_text(tmp_path):
    recipe = load(tmp_path, GOOD, overrides=("pages.count=7", "pages.label=two words"))
    assert recipe.steps[0].options == First(count=7, label="two words")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("into = ", "is not TOML"),
        ("", 'say where its artifacts go, with a first line like into = "runs/r"'),
        ('into = "x"', "has no stages"),
        ('into = "x"\ncolour = 3\n[a]\nstage = "first"', "unknown key 'colour' outside a section"),
        ('into = "x"\n[a]\ncount = 1', r"\[a\]: has no stage; stages are first, second"),
        ('into = "x"\n[a]\nstage = "frist"', "stage 'frist' is unknown"),
        ('into = "x"\n[a]\nstage = ["first"]', r"stage \['first'\] is unknown; stages are first, second"),
        ('into = "x"\n[a]\nstage = "first"\ncuont = 2', "unknown option 'cuont'; did you mean 'count'"),
        (
            'into = "x"\n[a]\nstage = "second"\nsource = "b"',
            r"source = 'b' is neither a path nor made above \(made above: none\)",
        ),
        ('into = "x"\n["../a"]\nstage = "first"', "the name becomes a folder's, use letters"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, text, sentence):
    with pytest.raises((OptionError, InputError), match=sentence) as caught:
        load(tmp_path, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("override", ["pages", "pages.count", "count=1", "nobody.count=1", "pages.count=[", "pages.depth=1"])
def test_wrong_overrides_are_refused(tmp_path, override):
    with pytest.raises(OptionError):
        load(tmp_path, GOOD, overrides=(override,))


def test_missing_recipe_and_folder_are_told_apart(tmp_path):
    with pytest.raises(InputError, match=r"there is no recipe .*ropewalk init"):
        load_recipe(tmp_path / "no.toml", options_classes=CLASSES)
    with pytest.raises(InputError, match=f"is a folder: .*'ropewalk init {tmp_path}'"):
        load_recipe(tmp_path, options_classes=CLASSES)


def test_bytes_that_are_not_utf8_are_refused(tmp_path):
    (tmp_path / "r.toml").write_bytes(b'into = "caf\xe9"')
    with pytest.raises(InputError, match="is not TOML"):
        load_recipe(tmp_path / "r.toml", options_classes=CLASSES)


def test_an_input_may_be_a_file_in_an_artifact_made_above(tmp_path):
    recipe = load(tmp_path, GOOD.replace('source = "pages"', 'source = "pages/labels.jsonl"'))
    assert recipe.steps[1].options.source == recipe.steps[0].out / "labels.jsonl"
    assert recipe.steps[1].reads == ("pages",)


def test_an_option_may_name_several_inputs(tmp_path):
    (tmp_path / "talk.jsonl").write_text("{}\n")
    (tmp_path / "tokenizer").mkdir()
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'into = "{tmp_path}/runs"\n[who]\nstage = "identity"\nname = "Hemp"\nmaker = "us"\n[lessons]\nstage = "tokenize"\n'
        f'tokenizer = "{tmp_path}/tokenizer"\nconversations = "who/conversations.jsonl"\n'
        f'also = ["{tmp_path}/talk.jsonl", "who/held_out.jsonl"]\n'
    )
    classes = {"identity": IdentityOptions, "tokenize": TokenizeOptions}
    step = load_recipe(recipe, options_classes=classes).steps[1]
    assert step.options.also == (tmp_path / "talk.jsonl", tmp_path / "runs" / "who" / "held_out.jsonl")
    assert set(step.reads) == {"who"}
    recipe.write_text(recipe.read_text().replace("who/held_out", "whom/held_out"))
    with pytest.raises(OptionError, match=r"also = 'whom/held_out.jsonl' is neither a path nor made above"):
        load_recipe(recipe, options_classes=classes)
