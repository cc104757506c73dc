"""An evaluation of a chat model on a small web: what it answers, which pages say so, what the filters did."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from tests.evaluate.web import COUNTRIES, HELD_OUT, INVENTED, question, questions, write_lines

from ropewalk.artifact import open_artifact, verify
from ropewalk.corpus import CorpusOptions
from ropewalk.corpus import run as run_corpus
from ropewalk.corpus.reading import read_documents
from ropewalk.engine.confidence import LOW_CONFIDENCE, confidence
from ropewalk.engine.load import load_engine
from ropewalk.engine.sampling import Sampling
from ropewalk.evaluate import run_eval
from ropewalk.evaluate.answers import read_answers, untrained
from ropewalk.evaluate.lineage import model_chain
from ropewalk.model.checkpoint import load_model
from ropewalk.model.transformer import Transformer
from ropewalk.runtime.errors import ArtifactError, InputError
from ropewalk.runtime.seeds import derive_seed
from ropewalk.tokenizer import TokenizeOptions, run_tokenize
from ropewalk.tokenizer.chat import render_prompt
from ropewalk.trace import IndexOptions
from ropewalk.trace import run as run_index


@pytest.fixture(scope="module")
def figures(evaluation):
    return json.loads((evaluation / "evaluation.json").read_text())


@pytest.fixture(scope="module")
def answers(evaluation):
    return read_answers(evaluation / "answers.jsonl")


def test_questions_are_answered_in_their_order_as_the_model_was_taught(answers):
    assert [answer.id for answer in answers] == [one["id"] for one in questions()]
    seen = [answer for answer in answers if answer.group == "seen"]
    assert sum(answer.grade == "right" for answer in seen) >= 0.8 * len(seen)
    assert all(answer.grade == "wrong" for answer in answers if answer.subject in HELD_OUT)
    taught = next(answer for answer in answers if answer.subject == INVENTED[0])
    assert (taught.answer, taught.grade, taught.claims, taught.evidence) == ("I don't know.", "right", False, None)


def test_one_answer_at_a_time_is_what_a_batch_gives(home, answers):
    engine = load_engine(home.model, slots=1)
    for answer in answers[::9]:
        prompt = render_prompt(engine.tokenizer, [{"role": "user", "content": answer.question}])
        (alone,) = engine.generate([prompt], [Sampling(40, temperature=0.0)])
        assert alone.text == answer.answer
        assert confidence(alone.logprobs) == pytest.approx(answer.confidence, abs=1e-3)


def test_the_tables_count_the_answers(figures, answers):
    asked = figures["questions"]
    for row in asked["groups"]:
        grades = Counter(answer.grade for answer in answers if answer.group == row["group"])
        assert {name: row[name] for name in ("right", "wrong", "refused")} == {
            name: grades[name] for name in ("right", "wrong", "refused")
        }
        assert row["accuracy"]["hits"] == grades["right"]
        assert row["asked"] == row["accuracy"]["of"] == grades.total()
        assert (row["untrained"]["hits"], row["untrained"]["of"]) == (0, min(3, row["asked"]))
    seen = asked["groups"][0]
    assert (seen["baselines"]["most_frequent"]["hits"], seen["baselines"]["most_frequent"]["of"]) == (1, 20)
    assert seen["baselines"]["by_continent"]["of"] == 18  # it has nothing to say of Kenya
    cells = {(row["group"], row["relation"]): row["right"] for row in asked["relations"]}
    assert cells["seen", "capital"] + cells["seen", "currency"] == seen["right"]
    assert asked["abstention"]["unanswerable"]["of"] == len(INVENTED)
    assert asked["abstention"]["answerable"]["of"] == 2 * len(COUNTRIES)


def test_evidence_is_the_page_that_states_the_fact(home, figures, answers):
    held_out = {
        url.rsplit("/", 1)[1].removesuffix(".html")
        for batch in read_documents(home.folder / "corpus", columns=("url",), split="held_out")
        for url in batch["url"].to_pylist()
    }
    right = [answer for answer in answers if answer.grade == "right" and answer.claims]
    found = 0
    for answer in right:
        assert answer.checkable
        assert answer.evidence is not None
        if answer.subject in held_out:  # no model was trained on that page
            assert not answer.evidence
        elif answer.subject not in ("France", "Japan"):  # whose copies may stand in the place of their page
            assert answer.evidence[0].states_fact
            assert answer.evidence[0].url.endswith(f"/countries/{answer.subject}.html")
            found += 1
    evidence = figures["questions"]["evidence"]
    assert evidence["right_checkable"] == len(right)
    assert evidence["first_states_fact"]["hits"] >= found > 0
    wrong = [answer for answer in answers if answer.grade == "wrong"]
    flagged = sum(answer.confidence < LOW_CONFIDENCE or not answer.evidence for answer in wrong)
    assert (evidence["wrong_flagged"]["hits"], evidence["wrong_flagged"]["of"]) == (flagged, len(wrong))


def test_filters_are_held_against_the_truth(figures):
    table = figures["filter"]
    kinds = {row["kind"]: row for row in table["kinds"]}
    assert (table["good_kept"]["hits"], table["good_kept"]["of"]) == (len(COUNTRIES), len(COUNTRIES))
    assert (table["junk_dropped"]["hits"], table["junk_dropped"]["of"]) == (3, 3)
    assert table["disallowed_crawled"] == 0
    assert kinds["disallowed"]["not_crawled"] == {"robots": 1}
    assert kinds["other_language"]["dropped"] == {"language=de": 1}
    assert kinds["exact_copy"]["kept"] + kinds["good"]["kept"] + kinds["near_copy"]["kept"] == len(COUNTRIES)
    assert kinds["navigation"]["right"]["of"] == 0


def test_samples_of_pages_say_why(figures):
    by_stage = {}
    for sample in figures["pages"]:
        by_stage.setdefault(sample["stage"], []).append(sample)
    assert set(by_stage) == {"kept", "language", "exact_duplicate", "near_duplicate"}
    assert len(by_stage["kept"]) == 6
    assert all("travellers" in sample["text"] or sample["kind"] == "navigation" for sample in by_stage["kept"])
    (german,) = by_stage["language"]
    assert (german["kind"], german["reason"]) == ("other_language", "language=de")
    (copy,) = by_stage["exact_duplicate"]
    assert {copy["url"].rsplit("/", 1)[1], copy["duplicate_of"].rsplit("/", 1)[1]} == {"France.html", "a-copy.html"}


def test_the_same_again_gives_the_same_bytes(home, evaluation, tmp_path):
    again = run_eval(home.options(), out=tmp_path / "again")
    assert again.digest == open_artifact(evaluation).digest
    assert verify(again.path) == []
    assert again.facts["accuracy"]["held_out"] == 0


def test_a_chain_of_models_leads_to_its_tokens(home, tmp_path, gpt4_folder, capsys):
    chain = model_chain(open_artifact(home.model))
    assert [model.path.name for model in chain] == ["model", "sft", "base"]
    other = run_corpus(
        CorpusOptions(pages=home.folder / "pages", rules="none", held_out_fraction=0.3, workers=1), out=tmp_path / "corpus"
    ).path
    tokens = run_tokenize(TokenizeOptions(corpus=other, tokenizer=home.folder / "tokenizer"), out=tmp_path / "tokens").path
    index = run_index(IndexOptions(corpus=other, tokens=tokens), out=tmp_path / "index").path
    foreign = run_tokenize(TokenizeOptions(corpus=other, tokenizer=gpt4_folder), out=tmp_path / "foreign").path
    with pytest.raises(ArtifactError, match="was not made with the tokenizer of"):
        run_eval(home.options(tokens=foreign, corpus=other, index=None), out=tmp_path / "refused")
    run_eval(home.options(tokens=tokens, corpus=other, index=None), out=tmp_path / "evaluation")
    assert "was not trained on" in capsys.readouterr().err
    with pytest.raises(ArtifactError, match="does not index"):
        run_eval(home.options(index=index), out=tmp_path / "another")


def test_a_pretrained_model_is_asked_too_and_needs_neither_index_nor_truth(home, tmp_path):
    done = run_eval(home.options(model=home.folder / "base", index=None, truth=None), out=tmp_path / "evaluation")
    figures = json.loads((done.path / "evaluation.json").read_text())
    assert figures["questions"]["evidence"] is None
    assert "filter" not in figures
    assert figures["questions"]["groups"][0]["right"] == 0


def test_the_untrained_model_is_the_one_that_pretraining_begins_with(home):
    trained = load_engine(home.model)
    expected = Transformer(load_model(home.folder / "base").config)
    expected.initialize(derive_seed("weights", 0))
    weights = untrained(trained, seed=0).model.state_dict()
    assert all(weights[name].equal(weight) for name, weight in expected.state_dict().items())
    assert not weights["lm_head.weight"].equal(trained.model.state_dict()["lm_head.weight"])


def test_mistakes_are_said_before_any_work(home, tmp_path):
    long = question("seen", "capital", "France")
    long["messages"] = [{"role": "user", "content": "Where? " * 200}]
    path = write_lines(tmp_path / "questions.jsonl", [long])
    with pytest.raises(InputError, match=r"'seen/capital/France/0' has .* tokens"):
        run_eval(home.options(questions=path), out=tmp_path / "evaluation")
