"""Going on from a model: its own tokenizer, another corpus, the old one replayed, and what was read told in order."""

from __future__ import annotations

import json

import pytest
from tests.conftest import FOREIGN

from ropewalk.evaluate import EvalOptions, run_eval
from ropewalk.model.checkpoint import load_model
from ropewalk.pretrain import PretrainOptions, first_read, pages_read, run
from ropewalk.runtime.errors import ArtifactError, OptionError
from ropewalk.runtime.metrics import read_metrics
from ropewalk.tokenizer import TokenizeOptions, run_tokenize

SMALL = {"context_tokens": 64, "batch_rows": 4, "compile": "off", "evaluate_documents": 8}


@pytest.fixture(scope="module")
def base(tmp_path_factory, tokens, gpt4_folder):
    options = PretrainOptions(tokens=tokens, tokenizer=gpt4_folder, train_tokens=30_000, depth=1, **SMALL)
    return run(options, out=tmp_path_factory.mktemp("base") / "base")


@pytest.fixture(scope="module")
def own(tmp_path_factory, write_corpus, base):
    """Another corpus, as tokens made with the model's own tokenizer."""
    folder = tmp_path_factory.mktemp("own")
    texts = [f"{number}: " + FOREIGN[number % len(FOREIGN)] * 20 for number in range(60)]
    corpus = write_corpus(folder / "corpus", texts)
    return run_tokenize(TokenizeOptions(tokenizer=base.path, corpus=corpus), out=folder / "tokens").path


@pytest.fixture(scope="module")
def continued(tmp_path_factory, base, own, tokens):
    options = PretrainOptions(
        tokens=own, init=base.path, replay=tokens, replay_fraction=0.4, train_tokens=20_000, adamw_rate=3e-3, **SMALL
    )
    return run(options, out=tmp_path_factory.mktemp("continued") / "model")


def test_it_begins_where_the_other_ended_and_learns_the_new(base, continued):
    facts = continued.facts
    assert facts["held_out_bits_per_byte"] < 0.7 * facts["held_out_bits_per_byte_before"]
    for name in ("config.json", "tokenizer.json", "generation_config.json"):
        assert continued.manifest["files"][name] == base.manifest["files"][name]
    assert load_model(continued.path).config == load_model(base.path).config


def test_what_it_knew_is_kept_by_replay(tmp_path, base, own, tokens, corpus, continued):
    alone = PretrainOptions(tokens=own, init=base.path, train_tokens=20_000, adamw_rate=3e-3, **SMALL)
    without = run(alone, out=tmp_path / "without")
    old = {}
    for name, model in (("before", base), ("with", continued), ("without", without)):
        options = EvalOptions(model=model.path, tokens=tokens, corpus=corpus, samples_per_prompt=0, baseline_tokens=1_000)
        made = run_eval(options, out=tmp_path / f"evaluation-{name}")
        old[name] = json.loads((made.path / "evaluation.json").read_text())["bits_per_byte"]["model"]
    assert old["with"] < old["without"]


def test_what_was_read_before_comes_first(base, continued):
    before, all_of_it = list(pages_read(base.path, None)), list(pages_read(continued.path, None))
    assert all_of_it[: len(before)] == before
    after = all_of_it[len(before) :]
    assert {page for page, _ in after} & {page for page, _ in before}  # the replayed
    own_pages = [page for page, url in after if page not in {page for page, _ in before}]
    assert first_read(continued.path, own_pages[:1]) is not None


def test_a_run_without_a_rate_of_its_own_takes_the_dials(tmp_path, base, own):
    made = run(PretrainOptions(tokens=own, init=base.path, train_tokens=2_000, **SMALL), out=tmp_path / "model")
    assert read_metrics(made.path / "logs")[0]["train/loss"] < 7.3


def test_what_cannot_be_gone_on_with_is_refused(tmp_path, base, own, corpus, gpt2_folder):
    with pytest.raises(OptionError, match="give --tokenizer, or --init"):
        run(PretrainOptions(tokens=own), out=tmp_path / "model")
    with pytest.raises(OptionError, match="context_tokens 65 is more than the 64"):
        run(PretrainOptions(tokens=own, init=base.path, **{**SMALL, "context_tokens": 65}), out=tmp_path / "long")
    other = run_tokenize(TokenizeOptions(tokenizer=gpt2_folder, corpus=corpus), out=tmp_path / "other")
    with pytest.raises(ArtifactError, match="was not made with"):
        run(PretrainOptions(tokens=other.path, init=base.path, **SMALL), out=tmp_path / "no")
