"""`ropewalk generate --from`: answers to a file of prompts, in a file that a killed run carries on.

Answers are noted as they come in OUT.part, whose first line says what is asked. When all are there, the rows with their
answers are written in order and OUT.part goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ropewalk.artifact import source_digest
from ropewalk.config.options import plain
from ropewalk.engine import GenerateOptions
from ropewalk.engine.engine import Engine
from ropewalk.engine.generate import document_prompt, sampling_of
from ropewalk.engine.load import load_engine
from ropewalk.engine.sampling import Sampling
from ropewalk.runtime.errors import InputError, OptionError
from ropewalk.runtime.lines import read_objects
from ropewalk.runtime.progress import progress, say
from ropewalk.runtime.seeds import derive_seed
from ropewalk.tokenizer.chat import Message, check_messages, render_prompt

if TYPE_CHECKING:
    import pyarrow as pa

ADDED = ("sample", "answer", "finish", "answer_tokens", "error")  # columns of ours
ELSEWHERE = ("out", "slots", "prompt", "guess_tokens")  # options that change nothing in an answer


@dataclass(frozen=True)
class Work:
    """One answer to make: to a text or a conversation, of a row of the file."""

    row: int
    sample: int
    prompt: str | list[Message]
    sampling: Sampling


@dataclass(frozen=True)
class Answer:
    """finish: as a `Token`'s, or a server's word for it. error: why there is none."""

    answer: str
    finish: str
    answer_tokens: int
    error: str | None = None


def run_batch(options: GenerateOptions) -> None:
    """Answer every row of `options.from_` into `options.out`.

    Raises:
        OptionError: no place for the answers, or one where something stands already or was begun otherwise.
        InputError: the file cannot be read, or a row has neither a prompt nor messages.
    """
    source, out = options.from_, options.out
    assert source is not None
    if out is None or out.suffix not in (".jsonl", ".parquet"):
        raise OptionError("ropewalk generate --from: give an --out that ends in .jsonl or .parquet")
    if out.exists():
        raise OptionError(f"{out} is there already: give another --out, or delete it")
    rows = read_rows(source)
    if out.suffix == ".parquet":
        _table(rows)  # refuse now what could not be written in the end
    part = out.with_name(out.name + ".part")
    done = _carried_on(part, _asked(options, source))
    sampling = sampling_of(options)
    work = [
        Work(row, sample, prompt_of(value, where=f"{source}, row {row + 1}"), _seeded(sampling, options.seed, row, sample))
        for row, value in enumerate(rows)
        for sample in range(options.samples)
        if (row, sample) not in done
    ]
    with (
        part.open("a", encoding="utf-8") as file,
        progress("generate", total=len(rows) * options.samples, unit="answers", done=len(done)) as bar,
    ):
        try:
            for piece, answer in _answers(options, work):
                done[piece.row, piece.sample] = answer
                file.write(json.dumps({"row": piece.row, "sample": piece.sample, **asdict(answer)}) + "\n")
                file.flush()
                bar.advance()
        except BaseException:
            say(f"{len(done)} answers stand in {part}: the same command carries on")
            raise
    _write(out, [{**rows[row], "sample": sample, **asdict(done[row, sample])} for row, sample in sorted(done)])
    part.unlink()
    failed = sum(answer.error is not None for answer in done.values())
    say(f"{out}: {len(done)} answers" + (f", {failed} of them failed: see their 'error'" if failed else ""))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL or Parquet file.

    Raises:
        InputError: it cannot be read, is empty, or has a column of ours.
    """
    rows = [row for _, row in read_objects(path)]
    if not rows:
        raise InputError(f"{path} has no rows: give one for each prompt")
    taken = [name for name in ADDED if name in rows[0]]
    if taken:
        raise InputError(f"{path} has a column {taken[0]!r}, which the answers need: rename it")
    return rows


def prompt_of(row: Mapping[str, Any], *, where: str) -> str | list[Message]:
    """What a row asks: its `messages`, else its `prompt`, a text or a list of messages.

    Raises:
        InputError: it has neither, or they are wrong.
    """
    asked = row.get("messages") or row.get("prompt")
    if isinstance(asked, str):
        return asked
    if not isinstance(asked, list):
        raise InputError(f'{where} has no "prompt" and no "messages": give a text or a conversation')
    return check_messages(asked, where=where)


def _seeded(sampling: Sampling, seed: int, row: int, sample: int) -> Sampling:
    """A seed for each answer, so that none depends on which others were made before."""
    return replace(sampling, seed=derive_seed("batch", seed, row, sample))


def _asked(options: GenerateOptions, source: Path) -> dict[str, Any]:
    """All that decides the answers."""
    asked = {name: value for name, value in plain(options).items() if name not in ELSEWHERE}
    asked["from_"] = source_digest(source)[1]
    if not options.address:
        asked["model"] = source_digest(options.model)[1]
        asked["adapter"] = source_digest(options.adapter)[1] if options.adapter else None
    return asked


def _carried_on(part: Path, asked: Mapping[str, Any]) -> dict[tuple[int, int], Answer]:
    """The answers that stand, by row and sample; a line that a kill tore is cut off. Begins the file if there is none.

    Raises:
        OptionError: it was begun with other options.
    """
    lines = part.read_bytes().split(b"\n") if part.exists() else [b""]
    if not lines[0] or len(lines) == 1:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(asked) + "\n", encoding="utf-8")
        return {}
    before = json.loads(lines[0])
    for name in asked:
        if before.get(name) != asked[name]:
            flag = "--" + name.rstrip("_").replace("_", "-")
            raise OptionError(f"{part} was begun with another {flag}: give that one, or delete the file to start over")
    with part.open("rb+") as file:
        file.truncate(sum(len(line) + 1 for line in lines[:-1]))
    entries = [json.loads(line) for line in lines[1:-1]]
    return {(entry.pop("row"), entry.pop("sample")): Answer(**entry) for entry in entries}


def _answers(options: GenerateOptions, work: list[Work]) -> Iterator[tuple[Work, Answer]]:
    if not work:
        return iter(())
    if options.address:
        from ropewalk.engine.remote import answers_from

        return answers_from(options.address, str(options.model), work, at_once=options.slots)
    engine = load_engine(
        options.model,
        slots=options.slots,
        adapter=options.adapter,
        precision=options.precision,
        guess_tokens=options.guess_tokens,
        compiling=options.compile,
    )
    return answers_here(engine, work)


def answers_here(engine: Engine, work: Iterable[Work]) -> Iterator[tuple[Work, Answer]]:
    """Answer each piece of work with an engine, in the order in which they end. What cannot be run says why.

    Twice as many as there are slots are submitted at a time, so that no slot is free for a step.
    """
    waiting, running = enumerate(work), dict[int, tuple[Work, list[str], list[int]]]()
    while True:
        while len(running) < 2 * engine.slots and (following := next(waiting, None)) is not None:
            number, piece = following
            try:
                engine.submit(number, _ids(engine, piece.prompt), piece.sampling)
                running[number] = piece, [], []
            except InputError as error:
                yield piece, Answer("", "error", 0, str(error))
        if not running:
            return
        for token in engine.step():
            piece, texts, ids = running[token.request]
            texts.append(token.text)
            ids.append(token.id)
            if token.finish is not None:
                del running[token.request]
                yield piece, Answer("".join(texts), token.finish, len(ids))


def _ids(engine: Engine, prompt: str | list[Message]) -> list[int]:
    return document_prompt(engine, prompt) if isinstance(prompt, str) else render_prompt(engine.tokenizer, prompt)


def _write(out: Path, rows: list[dict[str, Any]]) -> None:
    """Write the rows beside their place, then put them there: what stands is whole."""
    draft = out.with_name(out.name + ".draft")
    if out.suffix == ".parquet":
        import pyarrow.parquet as pq

        pq.write_table(_table(rows), draft)
    else:
        draft.write_text("".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows), encoding="utf-8")
    draft.replace(out)


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    """The rows as a table with the columns of all of them.

    Raises:
        OptionError: a column has values of several types.
    """
    import pyarrow as pa

    names = dict.fromkeys(name for row in rows for name in row)
    try:
        return pa.table({name: [row.get(name) for row in rows] for name in names})
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise OptionError(f"the rows do not make a table ({reason}): give an --out that ends in .jsonl") from None
