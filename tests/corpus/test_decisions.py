"""Our decisions against those of datatrove's own filters, on real documents and beside every threshold."""

import random
import re
from collections import Counter

import pytest
from tests.corpus import near
from tests.corpus.manuals import documents

from ropewalk.corpus import c4
from ropewalk.corpus.marks import sentence_ends, symbols
from ropewalk.corpus.measure import first_failure
from ropewalk.corpus.rules import apply_rules

REAL = 720
PAIRS = 20
REASONS = {
    "empty": "empty",
    "gopher_duplicate_paragraphs": "dup_para_frac",
    "gopher_duplicate_paragraph_characters": "dup_para_char_frac",
    "gopher_duplicate_lines": "dup_line_frac",
    "gopher_duplicate_line_characters": "dup_line_char_frac",
    **{f"gopher_top_{size}_gram": f"top_{size}_gram" for size in range(2, 5)},
    **{f"gopher_duplicate_{size}_grams": f"duplicated_{size}_n_grams" for size in range(5, 11)},
    "gopher_min_words": "gopher_short_doc",
    "gopher_max_words": "gopher_long_doc",
    "gopher_min_mean_word_characters": "gopher_below_avg_threshold",
    "gopher_max_mean_word_characters": "gopher_above_avg_threshold",
    "gopher_hash_signs": "gopher_too_many_hashes",
    "gopher_ellipses": "gopher_too_many_ellipsis",
    "gopher_bullet_lines": "gopher_too_many_bullets",
    "gopher_ellipsis_lines": "gopher_too_many_end_ellipsis",
    "gopher_alphabetic_words": "gopher_below_alpha_threshold",
    "gopher_stop_words": "gopher_enough_stop_words",
    "c4_max_lorem_ipsum": "lorem_ipsum",
    "c4_max_curly_brackets": "curly_bracket",
    "c4_min_sentences": "too_few_sentences",
    "fineweb_min_punctuated_lines": "line_punct_ratio",
    "fineweb_max_short_lines": "short_line_ratio",
    "fineweb_max_duplicate_characters": "char_dup_ratio",
    "fineweb_max_line_ends_per_word": "list_ratio",
}
pytestmark = pytest.mark.peer


def test_decisions_and_reasons_are_datatrove_s(peer):
    real = documents(REAL)
    assert len(real) >= 700
    vocabulary = sorted({word for text in real for word in re.findall(r"\b[a-z]{4,9}\b", text)})
    beside = {
        (name, rule, seed): near.beside(recipe(near.Say(random.Random(f"{rule} {seed}"), vocabulary)), name, rule)
        for (name, rule), recipe in near.RECIPES.items()
        for seed in range(PAIRS)
    }
    chance = random.Random(4)
    odd = [near.odd_lines(chance, near.Say(chance, vocabulary).sentences(3)) for _ in range(60)]
    edges = ["word", " \n", "\n\nA  b.\n", "a\n\n\n\na", "x" * 5_000, "!?." * 400, "[1] [2] [3]\n" * 6]
    texts = [*real, *odd, *edges, *(text for pair in beside.values() for text in pair)]
    verdicts = dict(zip(texts, peer("filters", texts), strict=True))
    for text in texts:
        compare(text, verdicts[text])
    sides = Counter()
    for (name, rule, _), (keep, drop) in beside.items():
        assert verdicts[keep][name] is None and verdicts[drop][name] == REASONS[rule], (name, rule)
        sides[name, rule] += 1
    assert set(sides) == set(near.RECIPES) and min(sides.values()) >= 20
    assert {rule for _, rule in near.RECIPES} == set(REASONS) - {"empty"}
    reasons = Counter(verdicts[text]["chain"] for text in real)
    assert reasons[None] >= 20 and len(reasons) >= 15


def compare(text: str, verdict: dict) -> None:
    for name in near.FILTERS:
        failure = first_failure(near.measures(text, name))
        assert (failure and REASONS[failure.rule]) == verdict[name], (name, failure, text)
    for name in ("c4", "c4_paper"):
        if verdict[name] is None:
            assert c4.rewrite(text, near.VARIANTS.get(name, near.OPTIONS)).text == verdict[f"{name} text"]
    rewritten, failure = apply_rules(text, "en", near.OPTIONS)
    assert (failure and REASONS[failure.rule]) == verdict["chain"], (failure, text)
    if failure is None:
        assert rewritten == verdict["chain text"]


def test_marks_are_datatrove_s(peer):
    ends, marks = peer("marks", None)
    assert set(ends) == sentence_ends() and set(marks) == symbols()
