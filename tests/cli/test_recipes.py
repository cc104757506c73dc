"""The recipes that come along: each is read whole, and its stages fit together."""

from __future__ import annotations

from pathlib import Path

import pytest

from ropewalk.cli import main

# feedback.toml begins with what tiny.toml made, and with judgements: tests/evaluate/test_gate.py runs it.
RECIPES = sorted(path for path in (Path(__file__).parents[2] / "recipes").glob("*.toml") if path.stem != "feedback")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_fits_together(tmp_path, monkeypatch, capsys, recipe):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "pages").mkdir(parents=True)
    (tmp_path / "data" / "pages" / "page.html").write_text("<p>Rope is made of hemp.</p>")
    for name in ("conversations", "tasks"):
        (tmp_path / "data" / f"{name}.jsonl").write_text("{}\n")
    served = (
        ["--set", 'pages.serve={manuals="data/pages"}'] if "/usr/share/doc" in recipe.read_text(encoding="utf-8") else []
    )
    assert main(["run", "--dry-run", str(recipe), *served]) == 0
    assert "together" in capsys.readouterr().out
