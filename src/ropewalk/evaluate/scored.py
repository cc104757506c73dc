"""Score a model on a benchmark: items.jsonl, written as they are judged, and benchmark.json, every figure of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

from ropewalk.artifact import Part, open_artifact, source_digest
from ropewalk.engine.engine import Engine
from ropewalk.engine.load import load_engine
from ropewalk.evaluate import BENCHMARK, BenchmarkOptions
from ropewalk.evaluate.benchmarks import BENCHMARKS, Benchmark, Item, read_item
from ropewalk.evaluate.likelihood import Likelihood, answer_behind, cut, likelihoods, within
from ropewalk.evaluate.shares import Z_95_PERCENT, share
from ropewalk.model.sequences import Answered
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.lines import read_objects
from ropewalk.runtime.progress import progress, say
from ropewalk.runtime.seeds import generator
from ropewalk.tokenizer.chat import Message, render_prompt
from ropewalk.tokenizer.special import BOUNDARY

ITEMS, FIGURES = "items.jsonl", "benchmark.json"
TOGETHER = 128  # items between two savings
NATS_DIGITS = 4  # the last ones of float32 depend on what else is read: equal choices would not be equal


@dataclass(frozen=True)
class Scored:
    """What a model made of an item: a line of items.jsonl.

    item: its place in the file. nats: each choice's log-probability. text_bytes: its UTF-8 bytes. cut: whether the model's
    context was too short for all of the examples.

    acc: the most probable choice is right; where there is one continuation alone, each token of it was the most probable.
    acc_norm: the same by log-probability a byte. acc_token: by log-probability a token, which is what CORE counts.
    """

    item: int
    gold: int
    nats: tuple[float, ...]
    tokens: tuple[int, ...]
    text_bytes: tuple[int, ...]
    greedy: tuple[bool, ...]
    cut: bool
    acc: bool
    acc_norm: bool
    acc_token: bool


def make_benchmark(options: BenchmarkOptions, part: Part) -> dict[str, Any]:
    """Judge all items that have not been judged before, write the files, and return the main figures as facts."""
    benchmark = BENCHMARKS[options.task]
    items = _items(benchmark, options.source)
    examples = _items(benchmark, options.examples) if options.examples else items
    shots = benchmark.shots if options.shots is None else options.shots
    if len(examples) - (options.examples is None) < shots:
        raise InputError(f"there are only {len(examples)} items to draw {shots} examples from: give fewer --shots")
    chosen = _chosen(len(items), options)
    if options.other is not None:
        _check_same(options.other, options, [(place, items[place].gold) for place in chosen])
    path = part.folder / ITEMS
    done = _carried_on(path)
    engine = load_engine(options.model, slots=1)
    with path.open("a", encoding="utf-8") as file, progress(options.task, total=len(chosen), unit="items", done=done) as bar:
        for start in range(done, len(chosen), TOGETHER):
            some = chosen[start : start + TOGETHER]
            shown = [_shots(place, examples, shots, options) for place in some]
            scored = score(engine, [items[place] for place in some], shown, options, numbers=some)
            file.write("".join(json.dumps(asdict(one)) + "\n" for one in scored))
            file.flush()
            bar.advance(len(some))
    figures = {"task": options.task, "form": benchmark.form, "shots": shots, "items_in_file": len(items)}
    figures |= _figures(path, [items[place] for place in chosen])
    if options.other is not None:
        figures["difference"] = difference(read_scored(path), read_scored(options.other / ITEMS))
    (part.folder / FIGURES).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    for line in _headlines(figures):
        say(line)
    return {name: figures[name] for name in ("task", "shots", "items", "acc", "acc_norm", "acc_token", "centered")}


def score(
    engine: Engine,
    items: Sequence[Item],
    shown: Sequence[Sequence[Item]],
    options: BenchmarkOptions,
    *,
    numbers: Sequence[int],
) -> list[Scored]:
    """Judge items, each behind the solved ones that are shown before it. numbers: what the items are called.

    Raises:
        InputError: an item that the model cannot read, or a chat with a model that was taught none.
    """
    ids = _chat_ids if options.format == "chat" else _document_ids
    whole = [ids(engine, item, before, options) for item, before in zip(items, shown, strict=True)]
    room = engine.model.config.context_tokens
    fitting = [[within(one, room) for one in pairs] for pairs in whole]
    judged = likelihoods(engine.model, fitting)
    return [
        _scored(number, item, some, cut=any(len(one.ids) > room + 1 for one in pairs))
        for number, item, some, pairs in zip(numbers, items, judged, whole, strict=True)
    ]


def _scored(number: int, item: Item, judged: Sequence[Likelihood], *, cut: bool) -> Scored:
    nats = np.round([one.nats for one in judged], NATS_DIGITS)
    text_bytes = np.array([len(choice.encode()) for choice in item.choices])
    tokens = np.array([one.tokens for one in judged])
    if len(judged) == 1:
        right = (judged[0].greedy,) * 3
    else:
        right = tuple(bool(values.argmax() == item.gold) for values in (nats, nats / text_bytes, nats / tokens))
    return Scored(
        item=number,
        gold=item.gold,
        nats=tuple(nats.tolist()),
        tokens=tuple(tokens.tolist()),
        text_bytes=tuple(text_bytes.tolist()),
        greedy=tuple(one.greedy for one in judged),
        cut=cut,
        acc=right[0],
        acc_norm=right[1],
        acc_token=right[2],
    )


def _document_ids(engine: Engine, item: Item, shown: Sequence[Item], options: BenchmarkOptions) -> list[Answered]:
    """An item as the text of a document."""
    special = engine.tokenizer.special
    boundary = special.get(BOUNDARY, min(engine.stop_ids))
    opening = [boundary] if options.boundary and BOUNDARY in special else []
    before = "".join("".join(one.pairs[one.gold]) + "\n\n" for one in shown)
    pairs = [(before + context, ending) for context, ending in item.pairs]
    return cut(engine.tokenizer, pairs, opening=opening, without_context=boundary)


def _chat_ids(engine: Engine, item: Item, shown: Sequence[Item], options: BenchmarkOptions) -> list[Answered]:
    """An item as a conversation, in which what is judged is said by the assistant."""
    turns = [message for one in shown for message in _turns(*one.pairs[one.gold])]
    found = []
    for context, ending in item.pairs:
        asks, says = _turns(context, ending)
        prompt = render_prompt(engine.tokenizer, [*turns, asks])
        found.append(answer_behind(prompt, engine.tokenizer.encode(says["content"]), said=ending))
    return found


def _turns(context: str, ending: str) -> tuple[Message, Message]:
    return {"role": "user", "content": context.rstrip()}, {"role": "assistant", "content": ending.lstrip()}


def _items(benchmark: Benchmark, path: Path) -> list[Item]:
    items = [read_item(benchmark, row, where) for where, row in read_objects(path)]
    if not items:
        raise InputError(f"{path} holds no item: write one object a line")
    return items


def _chosen(count: int, options: BenchmarkOptions) -> list[int]:
    """The places of the items to judge, in their order: all, or as many as are asked for, by lot."""
    if options.items is None or options.items >= count:
        return list(range(count))
    return sorted(generator("benchmark items", options.seed).permutation(count)[: options.items].tolist())


def _shots(place: int, examples: Sequence[Item], count: int, options: BenchmarkOptions) -> list[Item]:
    """The solved items before the one at `place`: drawn for it alone, and never itself."""
    if count == 0:
        return []
    drawn = min(count + 1, len(examples))  # one more, in case the item itself is among them
    order = generator("benchmark shots", options.seed, place).choice(len(examples), drawn, replace=False).tolist()
    return [examples[one] for one in order if options.examples is not None or one != place][:count]


def _carried_on(path: Path) -> int:
    """How many items have been judged in whole lots; what a kill left of another is cut off.

    Lots are judged as they would have been, because the company an item is in decides its last digits.
    """
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    whole = sum(line.endswith(b"\n") for line in lines)
    kept = whole - whole % TOGETHER
    if lines:
        with path.open("rb+") as file:
            file.truncate(sum(map(len, lines[:kept])))
    return kept


def _check_same(other: Path, options: BenchmarkOptions, chosen: Sequence[tuple[int, int]]) -> None:
    """Refuse another model's scores on other items, before anything is scored."""
    same_file = open_artifact(other, BENCHMARK.kind).inputs["source"]["digest"] == source_digest(options.source)[1]
    if not same_file or [(one.item, one.gold) for one in read_scored(other / ITEMS)] != list(chosen):
        raise InputError(f"{other} was scored on other items: score both on the same file, with the same --items and --seed")


def read_scored(path: Path) -> Iterator[Scored]:
    """The lines of items.jsonl."""
    for _, row in read_objects(path):
        values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
        yield Scored(**values)


def _figures(path: Path, items: Sequence[Item]) -> dict[str, Any]:
    """Shares with their intervals, beside what needs no model."""
    right, cut_items, nats, tokens, greedy = Counter[str](), 0, 0.0, 0, 0
    for one in read_scored(path):
        right.update(name for name in ("acc", "acc_norm", "acc_token") if getattr(one, name))
        cut_items += one.cut
        nats, tokens = nats + one.nats[one.gold], tokens + one.tokens[one.gold]
        greedy += one.greedy[one.gold]
    chance = sum(1 / len(item.choices) for item in items if len(item.choices) > 1) / len(items)
    accuracy = right["acc_token"] / len(items)
    return {
        "items": len(items),
        **{name: share(right[name], len(items)) for name in ("acc", "acc_norm", "acc_token")},
        "centered": round((accuracy - chance) / (1 - chance), 4),
        "nats_per_token": round(nats / tokens, 4),
        "greedy": share(greedy, len(items)),
        "cut": cut_items,
        "baselines": {"chance": round(chance, 4), **_baselines(items)},
    }


def _baselines(items: Sequence[Item]) -> dict[str, Any]:
    """What simple rules get right: the choice that is right most often elsewhere, and the longest and shortest."""
    golds = Counter(item.choices[item.gold] for item in items)
    places = Counter(item.gold for item in items)
    if all(len(item.choices) == 1 for item in items):
        return {"most_frequent": share(max(golds.values()), len(items))}
    rules = {
        "most_frequent": lambda item: [golds[choice] - (n == item.gold) for n, choice in enumerate(item.choices)],
        "most_frequent_place": lambda item: [places[n] for n in range(len(item.choices))],
        "longest": lambda item: [len(choice.encode()) for choice in item.choices],
        "shortest": lambda item: [-len(choice.encode()) for choice in item.choices],
    }
    return {
        name: share(sum(int(np.argmax(rule(item))) == item.gold for item in items), len(items))
        for name, rule in rules.items()
    }


def difference(first: Iterator[Scored], second: Iterator[Scored]) -> dict[str, Any]:
    """By how much the first is right more often on the same items, by log-probability a token, with a 95% interval.

    p_value: of McNemar's exact test (1947), that both are right equally often.
    """
    pairs = list(zip(first, second, strict=True))
    only_first = sum(one.acc_token and not other.acc_token for one, other in pairs)
    only_second = sum(other.acc_token and not one.acc_token for one, other in pairs)
    count, differing = len(pairs), only_first + only_second
    mean = (only_first - only_second) / count
    half = Z_95_PERCENT * ((differing / count - mean**2) / count) ** 0.5
    tail = sum(comb(differing, k) for k in range(min(only_first, only_second) + 1)) / 2**differing
    return {
        "items": count,
        "only_this": only_first,
        "only_other": only_second,
        "difference": round(mean, 4),
        "low": round(mean - half, 4),
        "high": round(mean + half, 4),
        "p_value": round(min(1.0, 2 * tail), 6),
    }


def _headlines(figures: dict[str, Any]) -> Iterator[str]:
    """The main figures in words."""
    shown = ("acc",) if figures["form"] == "language" else ("acc", "acc_norm", "acc_token")
    for name in shown:
        found = figures[name]
        yield f"{figures['task']}, {name}: {found['share']:.1%} ({found['low']:.1%} to {found['high']:.1%})"
    baselines = figures["baselines"]
    simple = [f"{name.replace('_', ' ')} {one['share']:.1%}" for name, one in baselines.items() if name != "chance"]
    yield f"without a model: chance {baselines['chance']:.1%}, {', '.join(simple)}"
    if figures["cut"]:
        yield f"{figures['cut']} items were too long for the model: of these it read the end alone"
    if compared := figures.get("difference"):
        yield (
            f"right more often than the other by {compared['difference']:+.1%} ({compared['low']:+.1%} to "
            f"{compared['high']:+.1%}); p = {compared['p_value']:.3g}"
        )
