"""Benchmarks that are scored by likelihood: the three forms of their items, and the fields in which each is published.

choices   one context, several endings, of which the right one should be the most probable
schema    several contexts, one of which makes their common ending the most probable
language  one context and its ending, each token of which should be the most probable

Those of CORE (Li et al. 2024, DataComp-LM) are declared with its number of examples and its delimiters. Its own files have
fields by form, and are read whichever the benchmark:

choices   query, choices, gold
schema    context_options, continuation, gold
language  context, continuation

Files as the benchmarks' makers publish them have fields of their own; most are worded here as lm-evaluation-harness does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ropewalk.evaluate.datasets import list_in, text_in
from ropewalk.runtime.errors import InputError

Form = Literal["choices", "schema", "language"]
Row = Mapping[str, Any]
ANSWER = "\nAnswer: "


@dataclass(frozen=True)
class Item:
    """What is judged: `endings` behind `contexts`, where one may serve all of the others. gold: the right pair's place."""

    contexts: tuple[str, ...]
    endings: tuple[str, ...]
    gold: int

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Each context with its ending."""
        count = max(len(self.contexts), len(self.endings))
        contexts = self.contexts * (count if len(self.contexts) == 1 else 1)
        return list(zip(contexts, self.endings * (count if len(self.endings) == 1 else 1), strict=True))

    @property
    def choices(self) -> tuple[str, ...]:
        """What is chosen from."""
        return self.contexts if len(self.contexts) > 1 else self.endings


@dataclass(frozen=True)
class Benchmark:
    """What is known of one.

    shots: solved examples before every item. delimiter: what CORE puts between a context and its ending. published: reads
    the fields of the makers' files; None where only CORE's own files are read.
    """

    form: Form
    shots: int
    delimiter: str = " "
    published: Callable[[Row, str], Item] | None = None


def read_item(benchmark: Benchmark, row: Row, where: str) -> Item:
    """A row of either kind of file as an item.

    Raises:
        InputError: it is neither; `where` begins the sentence.
    """
    if all(name in row for name in _CORE_FIELDS[benchmark.form]):
        return _CORE_ROWS[benchmark.form](row, where, benchmark.delimiter)
    if benchmark.published is None:
        fields = ", ".join(_CORE_FIELDS[benchmark.form])
        raise InputError(f"{where} lacks one of the fields {fields}: this benchmark is read from CORE's own files")
    return benchmark.published(row, where)


def _core_choices(row: Row, where: str, delimiter: str) -> Item:
    choices = _texts(list_in(row, "choices", where), where)
    return Item((text_in(row, "query", where) + delimiter,), choices, _place(row["gold"], choices, where))


def _core_schema(row: Row, where: str, delimiter: str) -> Item:
    contexts = _texts(list_in(row, "context_options", where), where)
    gold = _place(row["gold"], contexts, where)
    return Item(tuple(context + delimiter for context in contexts), (text_in(row, "continuation", where),), gold)


def _core_language(row: Row, where: str, delimiter: str) -> Item:
    return _language(text_in(row, "context", where).strip() + delimiter, text_in(row, "continuation", where))


_CORE_FIELDS: dict[Form, tuple[str, ...]] = {
    "choices": ("query", "choices", "gold"),
    "schema": ("context_options", "continuation", "gold"),
    "language": ("context", "continuation"),
}
_CORE_ROWS: dict[Form, Callable[[Row, str, str], Item]] = {
    "choices": _core_choices,
    "schema": _core_schema,
    "language": _core_language,
}


def _language(context: str, ending: str) -> Item:
    return Item((context,), (ending,), 0)


def _arc(row: Row, where: str) -> Item:
    choices, gold = _labelled(row, where)
    return Item((f"Question: {text_in(row, 'question', where)}{ANSWER}",), choices, gold)


def _openbook_qa(row: Row, where: str) -> Item:
    choices, gold = _labelled(row, where)
    return Item((text_in(row, "question_stem", where) + " ",), choices, gold)


def _commonsense_qa(row: Row, where: str) -> Item:
    choices, gold = _labelled(row, where)
    return _lettered(f"Question: {text_in(row, 'question', where).strip()}", choices, gold)


def _mmlu(row: Row, where: str) -> Item:
    choices = _texts(list_in(row, "choices", where), where)
    return _lettered(text_in(row, "question", where).strip(), choices, _place(row.get("answer"), choices, where))


def _hellaswag(row: Row, where: str) -> Item:
    before, after = text_in(row, "ctx_a", where), str(row.get("ctx_b") or "")
    context = _plain(f"{text_in(row, 'activity_label', where)}: {before} {after.capitalize()}")
    choices = tuple(map(_plain, _texts(list_in(row, "endings", where), where)))
    return Item((context + " ",), choices, _place(row.get("label"), choices, where))


def _plain(text: str) -> str:
    """Without the headings and brackets that WikiHow's pages left in HellaSwag."""
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def _piqa(row: Row, where: str) -> Item:
    choices = (text_in(row, "sol1", where), text_in(row, "sol2", where))
    return Item((f"Question: {text_in(row, 'goal', where)}{ANSWER}",), choices, _place(row.get("label"), choices, where))


def _boolq(row: Row, where: str) -> Item:
    passage, question = (text_in(row, key, where) for key in ("passage", "question"))
    right = row.get("answer", row.get("label"))
    if right not in (True, False):
        raise InputError(f'{where}: its "answer" is {right!r}, it must be true or false')
    return Item((f"{passage}\nQuestion: {question}?{ANSWER}",), ("no", "yes"), int(right))


def _copa(row: Row, where: str) -> Item:
    joined = {"cause": "because", "effect": "therefore"}.get(str(row.get("question")))
    if joined is None:
        raise InputError(f'{where}: its "question" must be cause or effect')
    choices = tuple(text[0].lower() + text[1:] for text in (text_in(row, key, where) for key in ("choice1", "choice2")))
    premise = text_in(row, "premise", where).strip().removesuffix(".")
    return Item((f"{premise} {joined} ",), choices, _place(row.get("label"), choices, where))


def _winogrande(row: Row, where: str) -> Item:
    before, gap, after = text_in(row, "sentence", where).partition("_")
    if not gap or not after.strip() or row.get("answer") not in ("1", "2"):
        raise InputError(f'{where}: it needs a "sentence" with a gap "_" before its end, and "1" or "2" as its "answer"')
    options = (text_in(row, "option1", where), text_in(row, "option2", where))
    return Item(tuple(f"{before}{option} " for option in options), (after.strip(),), int(row["answer"]) - 1)


def _winograd(row: Row, where: str) -> Item:
    text, pronoun, place = text_in(row, "text", where), text_in(row, "pronoun", where), row.get("pronoun_loc")
    options = _texts(list_in(row, "options", where), where)
    if not isinstance(place, int) or text[place : place + len(pronoun)] != pronoun:
        raise InputError(f'{where}: its "pronoun" does not stand at its "pronoun_loc"')
    if pronoun.lower() in ("my", "his", "her", "our", "their"):
        options = tuple(option + "'s" for option in options)
    if place and text[:place].rstrip()[-1:] != ".":
        options = tuple(re.sub(r"^(An?|The|She|He|It|They|My|His|Her|Their)\b", _lower, option) for option in options)
    ending = text[place + len(pronoun) :]
    return Item(tuple(text[:place] + option for option in options), (ending,), _place(row.get("label"), options, where))


def _lower(found: re.Match[str]) -> str:
    return found[0].lower()


def _lambada(row: Row, where: str) -> Item:
    context, space, last = text_in(row, "text", where).rpartition(" ")
    if not context or not last:
        raise InputError(f'{where}: its "text" must have words before the last one')
    return _language(context + space, last)


def _squad(row: Row, where: str) -> Item:
    answers = row.get("answers")
    texts = answers.get("text") if isinstance(answers, Mapping) else None
    if not isinstance(texts, Sequence) or not texts:
        raise InputError(f'{where}: its "answers" hold no "text", so nothing would be right: leave it out')
    context, question = text_in(row, "context", where).strip(), text_in(row, "question", where).strip()
    return _language(f"Context: {context}\nQuestion: {question}{ANSWER}", str(texts[0]))


def _agi_eval(row: Row, where: str) -> Item:
    options = _texts(list_in(row, "options", where), where)
    asked = "\n".join([str(row.get("passage") or ""), text_in(row, "question", where), *options]).strip()
    letters = tuple(chr(ord("A") + place) for place in range(len(options)))
    return Item((asked + ANSWER,), letters, _label(row.get("label"), letters, where))


def _big_bench(row: Row, where: str) -> Item:
    target = row.get("target")
    ending = target[0] if isinstance(target, list) and target else target
    if not isinstance(ending, str) or not ending.strip():
        raise InputError(f'{where}: its "target" must be a text, or a list of them')
    return _language(text_in(row, "input", where).strip() + ANSWER, ending)


def _big_bench_choices(row: Row, where: str) -> Item:
    scores = row.get("target_scores")
    if not isinstance(scores, Mapping) or not scores or any(score is None for score in scores.values()):
        raise InputError(f'{where}: its "target_scores" must give every choice a number')
    choices = _texts(list(scores), where)
    return Item((text_in(row, "input", where) + ANSWER,), choices, choices.index(max(scores, key=scores.__getitem__)))


def _labelled(row: Row, where: str) -> tuple[tuple[str, ...], int]:
    """Choices with labels of their own, and the place of the right one."""
    choices = row.get("choices")
    if not isinstance(choices, Mapping):
        raise InputError(f'{where}: "choices" must hold the lists "text" and "label"')
    texts = _texts(list_in(choices, "text", where), where)
    labels = _texts(list_in(choices, "label", where), where)
    if len(labels) != len(texts):
        raise InputError(f'{where}: "choices" must hold as many labels as texts')
    return texts, _label(row.get("answerKey"), labels, where)


def _label(value: object, labels: Sequence[str], where: str) -> int:
    key = str(value).strip()
    if key not in labels:
        raise InputError(f"{where}: the right answer is {value!r}, which is none of {', '.join(labels)}")
    return labels.index(key)


def _lettered(question: str, choices: Sequence[str], gold: int) -> Item:
    """Choices that stand in the context, of which the letter alone is asked."""
    letters = tuple(chr(ord("A") + place) for place in range(len(choices)))
    lines = [f"{letter}. {choice}" for letter, choice in zip(letters, choices, strict=True)]
    return Item(("\n".join([question, *lines]) + ANSWER,), letters, gold)


def _place(value: object, choices: Sequence[str], where: str) -> int:
    """The right choice's place, from 0; some files have it as text, or in a list."""
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    if isinstance(value, bool) or not (isinstance(value, int | str) and str(value).isdigit() and int(value) < len(choices)):
        raise InputError(f"{where}: the right answer is {value!r}, which is no place among {len(choices)} choices")
    return int(value)


def _texts(values: Sequence[object], where: str) -> tuple[str, ...]:
    if not all(isinstance(value, str) and value for value in values):
        raise InputError(f"{where}: its choices must be texts")
    return tuple(str(value) for value in values)


CORE = {
    "hellaswag_zeroshot": Benchmark("choices", 0, published=_hellaswag),
    "jeopardy": Benchmark("language", 10, ANSWER),
    "bigbench_qa_wikidata": Benchmark("language", 10, published=_big_bench),
    "arc_easy": Benchmark("choices", 10, ANSWER, _arc),
    "arc_challenge": Benchmark("choices", 10, ANSWER, _arc),
    "copa": Benchmark("choices", 0, published=_copa),
    "commonsense_qa": Benchmark("choices", 10, published=_commonsense_qa),
    "piqa": Benchmark("choices", 10, ANSWER, _piqa),
    "openbook_qa": Benchmark("choices", 0, published=_openbook_qa),
    "lambada_openai": Benchmark("language", 0, published=_lambada),
    "hellaswag": Benchmark("choices", 10, published=_hellaswag),
    "winograd": Benchmark("schema", 0, published=_winograd),
    "winogrande": Benchmark("schema", 0, published=_winogrande),
    "bigbench_dyck_languages": Benchmark("language", 10, published=_big_bench),
    "agi_eval_lsat_ar": Benchmark("choices", 3, published=_agi_eval),
    "bigbench_cs_algorithms": Benchmark("language", 10, published=_big_bench),
    "bigbench_operators": Benchmark("language", 10, published=_big_bench),
    "bigbench_repeat_copy_logic": Benchmark("language", 10, published=_big_bench),
    "squad": Benchmark("language", 10, published=_squad),
    "coqa": Benchmark("language", 0),
    "boolq": Benchmark("choices", 10, ANSWER, _boolq),
    "bigbench_language_identification": Benchmark("choices", 10, published=_big_bench_choices),
}
BENCHMARKS = {**CORE, "mmlu": Benchmark("choices", 5, ANSWER, _mmlu)}
