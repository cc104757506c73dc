"""Options: what is taken, what is refused, and the sentence it is refused with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
from annotated_types import Ge

from ropewalk.config import Input, NotContent, Stage, build_stage, checked, look_at_stage, options_from
from ropewalk.runtime.errors import ArtifactError, InputError, OptionError


@dataclass(frozen=True)
class Inner:
    source: Annotated[Path, Input()]
    languages: tuple[str, ...] = ("en",)
    threshold: float = 0.5
    rows: Annotated[int, Ge(1)] = 8
    mode: Literal["fast", "exact"] = "fast"
    names: dict[str, str] = field(default_factory=dict)
    strict: bool = True
    depth: int | None = None
    workers: Annotated[int, NotContent] = 0

    def __post_init__(self) -> None:
        if self.mode == "exact" and self.rows > 100:
            raise OptionError("exact takes 100 rows at most: give fewer rows")


STAGE = Stage("inner", "things", version=1)


def test_toml_values_become_typed_options():
    values = {"source": "a/b", "languages": ["de", "fr"], "threshold": 1, "names": {"x": "y"}, "depth": 3}
    options = options_from(Inner, values, where="r.toml [x]")
    assert options == Inner(source=Path("a/b"), languages=("de", "fr"), threshold=1.0, names={"x": "y"}, depth=3)
    assert isinstance(options.threshold, float)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"source": "a", "languges": []}, r"unknown option 'languges'; did you mean 'languages'\?"),
        ({"source": "a", "zzz": 1}, "unknown option 'zzz'; known are source, languages"),
        ({}, "option 'source' is missing, add it"),
        ({"source": "a", "rows": "8"}, "option 'rows' is '8': input should be a valid integer"),
        ({"source": "a", "rows": 8.5}, "option 'rows' is 8.5"),
        ({"source": "a", "rows": True}, "option 'rows' is True"),
        ({"source": "a", "rows": 0}, "option 'rows' is 0: input should be greater than or equal to 1"),
        ({"source": "a", "threshold": float("nan")}, "option 'threshold' is nan: input should be a finite number"),
        ({"source": "a", "strict": 1}, "option 'strict' is 1"),
        ({"source": "a", "mode": "slow"}, "option 'mode' is 'slow': input should be 'fast' or 'exact'"),
        ({"source": "a", "languages": "en"}, "option 'languages' is 'en'"),
        ({"source": "a", "languages": ["en", 3]}, r"option 'languages\.1' is 3"),
        ({"source": "a", "mode": "exact", "rows": 101}, r"^r\.toml \[x\]: exact takes 100 rows at most: give fewer rows$"),
    ],
)
def test_wrong_values_are_refused_in_one_sentence(values, sentence):
    with pytest.raises(OptionError, match=sentence) as caught:
        options_from(Inner, values, where="r.toml [x]")
    assert str(caught.value).startswith("r.toml [x]: ")
    assert "\n" not in str(caught.value)


def test_what_a_caller_fills_is_checked_too():
    with pytest.raises(OptionError, match="rows"):
        checked(Inner(source=Path("a"), rows="many"), where="here")  # pyright: ignore[reportArgumentType]


def make_one(part):
    (part.folder / "one").write_text("1")
    return {}


def test_workers_and_paths_stay_out_of_the_recipe_and_bytes_of_inputs_are_in(tmp_path):
    source = tmp_path / "source.txt"
    source.write_text("one")
    moved = tmp_path / "elsewhere" / "source.txt"
    moved.parent.mkdir()
    moved.write_text("one")
    recipe = build_stage(STAGE, Inner(source=source), out=tmp_path / "a", make=make_one).recipe
    assert build_stage(STAGE, Inner(source=moved, workers=8), out=tmp_path / "b", make=make_one).recipe == recipe
    moved.write_text("two")
    assert build_stage(STAGE, Inner(source=moved), out=tmp_path / "c", make=make_one).recipe != recipe
    assert build_stage(STAGE, Inner(source=source, rows=9), out=tmp_path / "d", make=make_one).recipe != recipe


def test_out_inside_its_own_input_is_refused(tmp_path):
    (tmp_path / "pages").mkdir()
    for out in (tmp_path / "pages", tmp_path / "pages" / "corpus"):
        with pytest.raises(OptionError, match="lies in its own input source"):
            build_stage(STAGE, Inner(source=tmp_path / "pages"), out=out, make=make_one)


def test_looking_tells_what_building_would_do(tmp_path):
    source = tmp_path / "source.txt"
    source.write_text("one")
    out = tmp_path / "a"

    def interrupted(part):
        (part.folder / "begun").touch()
        raise KeyboardInterrupt

    assert look_at_stage(STAGE, Inner(source=source), out=out) == "to make"
    with pytest.raises(KeyboardInterrupt):
        build_stage(STAGE, Inner(source=source), out=out, make=interrupted)
    assert look_at_stage(STAGE, Inner(source=source), out=out) == "carry on"
    with pytest.raises(ArtifactError, match=r"left by another recipe \(rows: 8 then, 9 now\)"):
        look_at_stage(STAGE, Inner(source=source, rows=9), out=out)
    build_stage(STAGE, Inner(source=source), out=out, make=make_one)
    assert look_at_stage(STAGE, Inner(source=source), out=out) == "standing"
    source.write_text("two")
    with pytest.raises(ArtifactError, match="input source: digest"):
        look_at_stage(STAGE, Inner(source=source), out=out)
    assert look_at_stage(STAGE, Inner(source=source), out=out, pending=frozenset({"source"})) == "standing"
    source.unlink()
    with pytest.raises(InputError, match="does not exist"):
        look_at_stage(STAGE, Inner(source=source), out=out)
