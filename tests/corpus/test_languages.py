from dataclasses import replace
from pathlib import Path

import pytest

from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.languages import check_languages, rules_for
from ropewalk.corpus.rules import apply_rules
from ropewalk.runtime.errors import InputError, OptionError

OPTIONS = CorpusOptions(pages=Path("unused"), languages=("en", "de"))
GERMAN = """
Der alte Kapitän trägt das lange Seil mit großer Sorgfalt durch die Stadt, und niemand weiß, warum er das tut.
Seine Nachbarin sieht ihm vom Fenster aus zu, während unten am Hafen die ersten Boote mit ihren Netzen
zurückkehren. Später erzählt er, dass ein Freund es ihm vor vielen Jahren gegeben hat, als beide noch jung waren
und zur See fuhren.
"""


@pytest.fixture
def table(tmp_path):
    def write(text: str) -> CorpusOptions:
        path = tmp_path / f"languages-{len(list(tmp_path.iterdir()))}.toml"
        path.write_text(text, encoding="utf-8")
        return replace(OPTIONS, language_rules=path)

    return write


def test_each_language_has_its_own_rules(table):
    options = table('[de]\nlanguage_threshold = 0.8\nstop_words = ["der", "und"]\nmin_words = 7\n[fr]\nrules = "none"\n')
    check_languages(options)
    german = rules_for(options, "de")
    assert (german.language_threshold, german.stop_words, german.min_words, german.rules) == (
        0.8,
        ("der", "und"),
        7,
        "gopher",
    )
    assert rules_for(options, "en") == options and rules_for(options, "fr").rules == "none"
    assert rules_for(options, "it").stop_words == ()


def test_stop_words_of_a_language_are_asked(table):
    assert apply_rules(GERMAN, "de", OPTIONS)[1] is None
    assert apply_rules(GERMAN, "de", table('[de]\nstop_words = ["und", "das"]'))[1] is None
    failure = apply_rules(GERMAN, "de", table('[de]\nstop_words = ["the", "und"]'))[1]
    assert failure is not None and (failure.rule, failure.value, failure.threshold) == ("gopher_stop_words", 1, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[de", "cannot be read as TOML"),
        ("de = 1", "de is no table"),
        ("[de]\npages = 'x'", r"\[de\]: 'pages' is no rule"),
        ("[de]\nmin_words = 'few'", r"\[de\]: option 'min_words' is 'few'"),
    ],
)
def test_a_bad_table_is_refused(table, text, said):
    with pytest.raises((InputError, OptionError), match=said):
        check_languages(table(text))


def test_languages_without_spaces_are_refused_unless_freed(table):
    named = ("en", "zh")
    with pytest.raises(OptionError, match="zh is written without spaces"):
        check_languages(replace(OPTIONS, languages=named))
    check_languages(replace(OPTIONS, languages=named, rules="none"))
    check_languages(replace(table('[zh]\nrules = "none"'), languages=named))
    check_languages(replace(OPTIONS, languages=()))
