"""The law between models of several depths, and a tiny sweep from end to end."""

from __future__ import annotations

import json

import pytest

from ropewalk.evaluate import SweepOptions, run_sweep
from ropewalk.evaluate.scaling import fit
from ropewalk.runtime.errors import OptionError
from ropewalk.tokenizer import TokenizeOptions, run_tokenize


def test_the_law_of_points_that_follow_one_is_found():
    operations = [1e12, 3e12, 2e13, 5e14]
    law = fit(operations, [7.0 * c**-0.06 for c in operations])
    assert (law.factor, law.exponent) == (pytest.approx(7.0), pytest.approx(0.06))
    assert law.off_fraction < 1e-9
    bent = fit([1e12, 1e13, 1e14], [2.0, 1.5, 1.4])
    assert 0.02 < bent.off_fraction < 0.2


def test_a_sweep_trains_each_depth_on_its_own_tokens(tmp_path, corpus, gpt4_folder):
    tokens = run_tokenize(TokenizeOptions(corpus=corpus, tokenizer=gpt4_folder), out=tmp_path / "tokens").path
    options = SweepOptions(
        tokens=tokens, tokenizer=gpt4_folder, depths=(2, 1), head_width=32, context_tokens=32, tokens_per_parameter=0.05,
        batch_rows=4, seeds=2, compile="off",
    )  # fmt: skip
    made = run_sweep(options, out=tmp_path / "sweep")
    figures = json.loads((made.path / "sweep.json").read_text())
    assert [row["depth"] for row in figures["models"]] == [1, 2]
    assert figures["models"][1]["tokens"] > 2 * figures["models"][0]["tokens"]
    assert figures["models"][1]["mean"] < figures["models"][0]["mean"]
    assert len(set(figures["models"][0]["bits_per_byte"])) == 2
    assert figures["ahead"]["bits_per_byte"] < figures["models"][1]["mean"]
    page = (made.path / "index.html").read_text()
    assert "<svg" in page and "bits per byte" in page
    with pytest.raises(OptionError, match="two depths or more"):
        run_sweep(SweepOptions(tokens=tokens, tokenizer=gpt4_folder, depths=(1, 1)), out=tmp_path / "no")
