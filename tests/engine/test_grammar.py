"""What is drawn under a grammar matches it, wherever the model would rather go."""

from __future__ import annotations

import json
import re

import pytest
import torch
from tests.engine.small import new_engine

from ropewalk.engine.grammar import Grammar, one_of
from ropewalk.engine.sampling import Sampling
from ropewalk.runtime.errors import InputError

SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["hemp", "tar"]}, "old": {"type": "boolean"}, "age": {"type": "integer", "maximum": 99}},
    "required": ["name", "old"],
    "additionalProperties": False,
}


def drawn(model, tokenizer, grammar, *, samples=12, **options):
    engine = new_engine(model, tokenizer, 4)
    samplings = [Sampling(46, temperature=1.5, grammar=grammar, seed=seed, **options) for seed in range(samples)]
    return engine.generate([[97]] * samples, samplings)


@pytest.mark.parametrize("pattern", ["[a-c]{3,9}", "(yes|no)(, (yes|no)){0,2}", "é{2}[0-9]+x"])
def test_a_text_matches_its_regular_expression(model, tokenizer, pattern):
    made = drawn(model, tokenizer, Grammar("regex", pattern))
    ended = [one for one in made if one.finish == "stop"]
    assert ended
    assert all(re.fullmatch(pattern, one.text) for one in ended)
    assert len({one.text for one in made}) > 1


def test_a_text_matches_its_json_schema(model, tokenizer):
    no_space = tuple((ord(space), -100.0) for space in " \t\n\r")  # or it fills the small context
    made = drawn(model, tokenizer, Grammar("json", json.dumps(SCHEMA)), samples=30, logit_bias=no_space)
    ended = [json.loads(one.text) for one in made if one.finish == "stop"]
    assert len(ended) > 5
    for value in ended:
        assert value["name"] in ("hemp", "tar")
        assert isinstance(value["old"], bool)
        assert set(value) <= {"name", "old", "age"}


def test_a_text_is_one_of_the_choices_and_ends_with_it(model, tokenizer):
    made = drawn(model, tokenizer, one_of(["a.b", "c|d", "(e"]))
    assert {one.text for one in made} <= {"a.b", "c|d", "(e"}
    assert all(one.finish == "stop" and len(one.ids) == len(one.text) for one in made)


def test_others_in_the_batch_are_as_they_were(model, tokenizer):
    engine = new_engine(model, tokenizer, 4)
    prompt = tokenizer.encode("rope")
    plain = engine.generate([prompt], [Sampling(12, seed=3)])[0]
    grammar = Grammar("regex", "[0-9]{12}")
    beside, held = engine.generate([prompt] * 2, [Sampling(12, seed=3), Sampling(12, seed=3, grammar=grammar)])
    assert beside.ids == plain.ids
    assert re.fullmatch("[0-9]{12}", held.text)


def test_log_probabilities_are_those_without_the_grammar(model, tokenizer):
    engine = new_engine(model, tokenizer, 1)
    made = engine.generate([[97]], [Sampling(1, temperature=0, grammar=Grammar("regex", "[0-9]"))])[0]
    with torch.inference_mode():
        logits_V = model.logits(model(torch.tensor([[97]])))[0, -1].index_fill(0, engine.banned, -torch.inf)
    assert made.logprobs[0] == pytest.approx(logits_V.log_softmax(0)[made.ids[0]].item(), abs=1e-4)
    assert made.ids[0] == 48 + logits_V[48:58].argmax().item()


def test_a_grammar_that_the_vocabulary_cannot_spell_ends_in_an_error(model, tokenizer):
    engine = new_engine(model, tokenizer, 1)
    digits = tuple((48 + digit, -float("inf")) for digit in range(10))
    stuck = engine.generate([[97]], [Sampling(5, grammar=Grammar("regex", "a[0-9]"), logit_bias=digits)])[0]
    assert stuck.finish == "error"
    assert engine.generate([[97]], [Sampling(5, temperature=0)])[0].finish in ("stop", "length")  # the engine lives on


@pytest.mark.parametrize(
    ("grammar", "says"),
    [
        (Grammar("regex", "((("), "regular expression cannot be followed .*unclosed group"),
        (Grammar("regex", "(?<=a)b"), "regular expression cannot be followed"),
        (Grammar("json", "{"), "JSON schema cannot be "),
        (Grammar("json", '{"type": "nonsense"}'), "Invalid type: nonsense"),
    ],
)
def test_a_wrong_grammar_is_one_sentence(model, tokenizer, grammar, says):
    with pytest.raises(InputError, match=says):
        new_engine(model, tokenizer, 1).submit(0, [97], Sampling(1, grammar=grammar))
