"""Spans against a brute-force reading of the same pages."""

from __future__ import annotations

import random
import threading
from itertools import pairwise

import pytest

from ropewalk.trace.index import Index, Span, ranked


def brute_force(text: str, pages: list[str], shortest: int) -> list[tuple[int, int, int]]:
    """(start, end, occurrences) of every run of `text` that stands in a page and could not be longer, by `in` alone."""
    found, reached = [], 0
    for start in range(len(text)):
        end = max(start, reached)
        while end < len(text) and any(text[start : end + 1] in page for page in pages):
            end += 1
        if end > reached and end - start >= shortest:
            found.append((start, end, sum(len(places(page, text[start:end])) for page in pages)))
        reached = max(reached, end)
    return found


def places(page: str, run: str) -> list[int]:
    """Every place where `run` begins in `page`, overlapping ones too."""
    found, at = [], page.find(run)
    while at >= 0:
        found.append(at)
        at = page.find(run, at + 1)
    return found


def patchwork(rng: random.Random, texts: list[str]) -> str:
    """Cut-outs that begin and end anywhere, inside words too, with a few characters of something else between them."""
    text = ""
    for _ in range(rng.randrange(1, 5)):
        page = rng.choice(texts)
        start = rng.randrange(len(page))
        text += page[start : start + rng.randrange(20, 200)] + rng.choice(["", " ", "q", "Ω", " zebra ", "!?", "\n\n"])
    return text


def test_every_verbatim_run_is_found_and_counted(index, training):
    texts = [row["text"] for row in training]
    rng = random.Random(7)
    runs = 0
    for _ in range(100):
        text, shortest = patchwork(rng, texts), rng.choice([1, 5, 12, 32])
        spans = index.spans(text, min_tokens=1, min_characters=shortest)
        assert [(span.start, span.end, span.occurrences) for span in spans] == brute_force(text, texts, shortest)
        runs += len(spans)
    assert runs > 200


def test_runs_of_any_script_are_found(facts, facts_texts):
    greetings = next(text for text in facts_texts if "Привет" in text)
    rng = random.Random(11)
    for _ in range(100):
        text, shortest = patchwork(rng, [greetings]), rng.choice([1, 3, 12])
        spans = facts.spans(text, min_tokens=1, min_characters=shortest)
        assert [(span.start, span.end, span.occurrences) for span in spans] == brute_force(text, facts_texts, shortest)


def test_pages_of_a_span_hold_it_where_they_say(index, training):
    by_id = {row["page_id"]: row for row in training}
    order = [row["page_id"] for row in training]
    rng = random.Random(8)
    named = 0
    for _ in range(40):
        text = patchwork(rng, [row["text"] for row in training])
        for span in index.spans(text, min_tokens=1, min_characters=6, max_pages=3):
            run = text[span.start : span.end]
            holding = [row["page_id"] for row in training if run in row["text"]]
            assert [page.page_id for page in span.pages] == sorted(holding, key=order.index)[:3]
            for page in span.pages:
                row = by_id[page.page_id]
                assert (page.url, page.title) == (row["url"], row["title"])
                assert (page.start, page.end) == (row["text"].find(run), row["text"].find(run) + len(run))
                named += 1
    assert named > 100


def test_a_run_that_is_everywhere_is_counted_in_full(index, training):
    (span,) = index.spans("e", min_tokens=1, min_characters=1, max_pages=9)
    assert span.occurrences == sum(row["text"].count("e") for row in training) > 20_000
    order = [row["page_id"] for row in training]
    named = [order.index(page.page_id) for page in span.pages]
    assert len(named) == 9
    assert named == sorted(set(named))
    assert all(index.page(page.page_id).text[page.start : page.end] == "e" for page in span.pages)


def test_the_longest_and_of_these_the_rarest_come_first():
    spans = [Span(0, 40, 8, 3, ()), Span(50, 90, 9, 7, ()), Span(95, 140, 8, 1, ()), Span(150, 190, 8, 3, ())]
    assert [span.start for span in ranked(spans)] == [50, 95, 0, 150]


def test_both_thresholds_hold(index, training):
    text = training[3]["text"][101:400]
    everything = index.spans(text, min_tokens=1, min_characters=1)
    assert [(span.start, span.end) for span in everything] == [(0, len(text))]
    tokens = everything[0].tokens
    assert index.spans(text, min_tokens=tokens, min_characters=len(text)) == everything
    assert index.spans(text, min_tokens=tokens + 1) == []
    assert index.spans(text, min_characters=len(text) + 1) == []


def test_held_out_pages_are_not_in(index, splits):
    texts = [row["text"] for row in splits["train"]]
    assert len(splits["held_out"]) > 3
    for row in splits["held_out"]:
        assert index.page(row["page_id"]) is None
        middle = row["text"][500:560]
        expected = sum(len(places(text, middle)) for text in texts)
        spans = index.spans(middle, min_tokens=1, min_characters=len(middle))
        assert [span.occurrences for span in spans] == [expected] * bool(expected)


def test_no_run_crosses_pages(index, training):
    for left, right in pairwise(training):
        text = left["text"][-40:] + right["text"][:40]
        for joined in (text, left["text"][-40:] + "\n" + right["text"][:40]):
            assert not any(span.end - span.start == len(joined) for span in index.spans(joined, min_tokens=1))


def test_pages_come_back_whole(index, training):
    for row in training:
        page = index.page(row["page_id"])
        assert (page.page_id, page.url, page.title, page.text) == (row["page_id"], row["url"], row["title"], row["text"])
    assert index.page("") is None
    assert index.page("0" * 64) is None


@pytest.mark.parametrize(
    "text", ["", " ", "\x00" * 100, "\ud800" * 100, "ÿ" * 100, "<|endoftext|>" * 9, "\ud83d\ude00" * 40]
)
def test_text_that_stands_nowhere(index, text):
    assert index.spans(text) == []


def test_offsets_count_characters_beside_broken_ones(index, training):
    run = training[0]["text"][:80]
    assert [(span.start, span.end) for span in index.spans("😀\ud800\x00" + run)] == [(3, 83)]


def test_long_text(index, training):
    """A hundred kilobytes: all of one page, again and again, between noise."""
    page = max((row["text"] for row in training), key=len)
    rng = random.Random(9)
    noise = "".join(rng.choices("abcdefghij ", k=20_000))
    text = noise + page * 3 + noise
    spans = index.spans(text)
    whole = [(span.start, span.end) for span in spans if span.end - span.start >= len(page)]
    assert [(start - len(noise)) // len(page) for start, _ in whole] == [0, 1, 2]


def test_threads_share_an_index(folder, training):
    """What eight threads are told at once is what one is told alone."""
    texts = [row["text"][50:300] for row in training[:16]]
    with Index.open(folder) as index:
        expected = [(index.spans(text), index.evidence(text[:80])) for text in texts]
        wrong: list[tuple[list[Span], str]] = []

        def ask(first: int) -> None:
            for number in range(first, first + 40):
                text = texts[number % len(texts)]
                if (index.spans(text), index.evidence(text[:80])) != expected[number % len(texts)]:
                    wrong.append((index.spans(text), text))

        threads = [threading.Thread(target=ask, args=(first,)) for first in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
