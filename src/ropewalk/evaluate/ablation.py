"""`ropewalk ablate`: the same small model trained on a corpus, on its pages raw, and on it without each of its rules.

Each variant is a corpus, tokens and models of its own, made by the rooms' own doors in the part's scratch folder: what an
interruption leaves there stands, and is not made again. All read the same number of tokens of one tokenizer and are measured
on the same documents, those that the corpus holds out. These are kept from every variant by the corpus room's own
decontamination: a page goes that has a run of words in common with them, so their copies in the raw variant do too.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ropewalk.artifact import Artifact, Part, open_artifact
from ropewalk.corpus import CorpusOptions
from ropewalk.corpus import run as run_corpus
from ropewalk.corpus.reading import read_documents
from ropewalk.evaluate import AblateOptions
from ropewalk.evaluate.differences import bits_per_byte_difference
from ropewalk.evaluate.page import environment
from ropewalk.evaluate.plots import interval_plot
from ropewalk.evaluate.variants import FILTERED, RAW, Variant, read_options, variants
from ropewalk.model.checkpoint import load_model
from ropewalk.model.placing import settle
from ropewalk.pretrain import PretrainOptions
from ropewalk.pretrain import run as run_pretrain
from ropewalk.pretrain.held_out import document_losses
from ropewalk.runtime.errors import InputError, OptionError
from ropewalk.runtime.progress import say
from ropewalk.tokenizer import TokenizeOptions, TokenizerOptions, run_tokenize, run_tokenizer
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.shards import TokenReader

ABLATION = "ablation.json"
HEAD_WIDTH = 32
MATRIX_RATE, EMBEDDING_RATE, HEAD_RATE = 0.04, 0.3, 0.02  # those of the demo's model, which has this size


@dataclass(frozen=True)
class _Trained:
    """A variant with its models' losses on the held-out documents. nats_SD: seeds by documents."""

    variant: Variant
    corpus: Artifact
    tokens: int
    epochs: float
    nats_SD: np.ndarray


def check(options: AblateOptions) -> None:
    """Refuse what the corpus does not have, before any work.

    Raises:
        OptionError: a rule that the corpus does not have, or a width that heads do not fit in. ArtifactError: its inputs
            have changed. InputError: it holds out fewer than two documents.
    """
    if options.width % HEAD_WIDTH:
        raise OptionError(f"width is {options.width}: give a multiple of {HEAD_WIDTH}")
    corpus = open_artifact(options.corpus, "corpus")
    _chosen(options, corpus)
    if corpus.facts["held_out_documents"] < 2:
        raise InputError(f"{options.corpus} holds out fewer than 2 documents to measure on: raise its held_out_fraction")


def make_ablation(options: AblateOptions, part: Part) -> dict[str, Any]:
    """Make what is missing, measure, and write ablation.json and index.html; returns the main figures."""
    scratch = part.scratch
    base = open_artifact(options.corpus, "corpus")
    wanted = _chosen(options, base)
    avoid = _write_avoided(options, base, scratch / "avoid")
    say(f"{len(wanted)} variants, {options.seeds} models each: {', '.join(variant.name for variant in wanted)}")
    corpora = {one.name: _corpus(one, avoid, options, scratch) for one in wanted}
    tokenizer = scratch / "tokenizer"
    run_tokenizer(TokenizerOptions(corpus=corpora[FILTERED].path, vocabulary=options.vocabulary), out=tokenizer)
    test = run_tokenize(TokenizeOptions(corpus=options.corpus, tokenizer=tokenizer), out=scratch / "measured")
    reader = TokenReader(test.path)
    rows = np.sort(reader.rows_of(_measured_ids(options)))
    bytes_D = _text_bytes(reader, rows, Tokenizer.load(tokenizer).bytes_per_token)
    measure = partial(_nats, reader=reader, rows=rows, tokenizer=tokenizer)
    trained: list[_Trained] = []
    for one in wanted:
        corpus = corpora[one.name]
        same = next((other for other in trained if other.corpus.digest == corpus.digest), None)
        trained.append(replace(same, variant=one) if same else _trained(one, corpus, options, scratch, measure))
    figures = _figures(options, trained, bytes_D, parameters=_parameters(scratch))
    (part.folder / ABLATION).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    (part.folder / "index.html").write_text(_page(base, figures), encoding="utf-8")
    for row in figures["variants"][1:]:
        say(_sentence(row))
    return {
        name: figures[name] for name in ("documents", "parameters", "train_tokens", "bits_per_byte", "not_shown", "hurt")
    }


def _chosen(options: AblateOptions, corpus: Artifact) -> list[Variant]:
    """The variants to make, the corpus itself first.

    Raises:
        OptionError: see `check`.
    """
    found = list(variants(read_options(corpus)))
    names = [variant.name for variant in found[1:]]
    for name in options.without:
        if name not in names:
            raise OptionError(f"without: {options.corpus} has no {name!r} to leave out; it has {', '.join(names)}")
    return [one for one in found if one.name == FILTERED or not options.without or one.name in options.without]


def _measured_ids(options: AblateOptions) -> list[str]:
    """The page_ids of the documents to measure on."""
    batches = read_documents(options.corpus, columns=("page_id",), split="held_out")
    return sorted(page_id for batch in batches for page_id in batch["page_id"].to_pylist())[: options.documents]


def _write_avoided(options: AblateOptions, base: Artifact, folder: Path) -> Path:
    """A folder of texts that no variant may hold: the documents to measure on, and what the corpus avoided already."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    wanted = set(_measured_ids(options))
    with (folder / "measured.jsonl").open("w", encoding="utf-8") as file:
        for batch in read_documents(options.corpus, columns=("text", "page_id"), split="held_out"):
            for text, page_id in zip(batch["text"].to_pylist(), batch["page_id"].to_pylist(), strict=True):
                if page_id in wanted:
                    file.write(json.dumps({"text": text}) + "\n")
    if "decontaminate" in base.inputs:
        avoided = base.input_path("decontaminate")
        if avoided.is_dir():
            shutil.copytree(avoided, folder / "before")
        else:
            shutil.copy(avoided, folder / f"before-{avoided.name}")
    return folder


def _corpus(variant: Variant, avoid: Path, options: AblateOptions, scratch: Path) -> Artifact:
    before = variant.options
    words = min(options.overlap_words, before.decontaminate_words) if before.decontaminate else options.overlap_words
    changed: CorpusOptions = replace(
        before,
        decontaminate=avoid,
        decontaminate_words=words,
        decontaminate_least_words=min(words, before.decontaminate_least_words),
        decontaminate_by="drop",
        held_out_fraction=0.0,
        workers=options.workers,
    )
    say(f"ablate, {variant.name}: its corpus")
    return run_corpus(changed, out=scratch / variant.name / "corpus")


def _trained(variant: Variant, corpus: Artifact, options: AblateOptions, scratch: Path, measure: partial) -> _Trained:
    """Train the models of a variant and measure each; what was measured before is read."""
    folder, tokenizer = scratch / variant.name, scratch / "tokenizer"
    tokens = run_tokenize(TokenizeOptions(corpus=corpus.path, tokenizer=tokenizer), out=folder / "tokens")
    nats, epochs = [], 0.0
    for seed in range(options.seeds):
        say(f"ablate, {variant.name}: model {seed + 1} of {options.seeds}")
        model = run_pretrain(
            PretrainOptions(
                tokens=tokens.path,
                tokenizer=tokenizer,
                depth=options.depth,
                width=options.width,
                head_width=HEAD_WIDTH,
                context_tokens=options.context_tokens,
                batch_rows=options.batch_rows,
                train_tokens=options.train_tokens,
                seed=seed,
                compile="off",  # some thirty short runs: compiling would cost more than it saves
                matrix_rate=MATRIX_RATE,
                embedding_rate=EMBEDDING_RATE,
                head_rate=HEAD_RATE,
            ),
            out=folder / f"model-{seed}",
        )
        epochs = model.facts["epochs"]
        path = folder / f"losses-{seed}.npy"
        if not path.is_file():
            draft = path.with_suffix(".draft.npy")
            np.save(draft, measure(model.path, context_tokens=options.context_tokens))
            draft.replace(path)
        nats.append(np.load(path))
    return _Trained(variant, corpus, TokenReader(tokens.path).total_tokens, epochs, np.stack(nats))


def _nats(model: Path, *, reader: TokenReader, rows: np.ndarray, tokenizer: Path, context_tokens: int) -> np.ndarray:
    """The loss of each document (D,)."""
    losses = document_losses(
        settle(load_model(model)),
        reader,
        rows,
        Tokenizer.load(tokenizer).bytes_per_token,
        context_tokens=context_tokens,
        stride_tokens=context_tokens // 2,
    )
    return np.array([loss.nats for loss in losses])


def _text_bytes(reader: TokenReader, rows: np.ndarray, token_bytes: np.ndarray) -> np.ndarray:
    """Bytes of each document (D,); its boundary token has none."""
    entries = [reader.documents[row] for row in rows]
    ids = (reader.read(int(entry["first_token"]), int(entry["tokens"])) for entry in entries)
    return np.array([int(token_bytes[some].sum()) for some in ids])


def _parameters(scratch: Path) -> int:
    return open_artifact(scratch / FILTERED / "model-0", "model").facts["parameters"]


def _figures(options: AblateOptions, trained: list[_Trained], bytes_D: np.ndarray, *, parameters: int) -> dict[str, Any]:
    """All that was measured, as JSON values."""
    rows = list(_rows(trained, bytes_D))
    return {
        "documents": len(bytes_D),
        "bytes": int(bytes_D.sum()),
        "parameters": parameters,
        "train_tokens": options.train_tokens,
        "seeds": options.seeds,
        "bits_per_byte": {row["name"]: row["mean"] for row in rows},
        "variants": rows,
        "not_shown": [row["name"] for row in rows if row["verdict"] == "not shown to help"],
        "hurt": [row["name"] for row in rows if row["verdict"] == "hurts"],
    }


def _rows(trained: list[_Trained], bytes_D: np.ndarray) -> Iterator[dict[str, Any]]:
    filtered = trained[0].nats_SD
    for one in trained:
        per_seed = one.nats_SD.sum(axis=1) / np.log(2) / bytes_D.sum()
        difference = bits_per_byte_difference(one.nats_SD, filtered, bytes_D)
        verdict = "helps" if difference.low > 0 else "hurts" if difference.high < 0 else "not shown to help"
        yield {
            "name": one.variant.name,
            "documents": one.corpus.facts["documents"],
            "tokens": one.tokens,
            "epochs": one.epochs,
            "kept_away": one.corpus.facts["dropped"].get("contamination", 0),
            "bits_per_byte": [round(float(value), 5) for value in per_seed],
            "mean": round(float(per_seed.mean()), 5),
            "difference": {name: round(value, 5) for name, value in asdict(difference).items()},
            "verdict": None if one.variant.name == FILTERED else verdict,
        }


def _sentence(row: dict[str, Any]) -> str:
    """What a variant says of the rule it lacks."""
    what = "filtering" if row["name"] == RAW else row["name"].replace("_", " ")
    more, low, high = (f"{row['difference'][name]:+.4f}" for name in ("mean", "low", "high"))
    return f"{what} {row['verdict']}: without it {more} bits per byte ({low} to {high})"


def _page(base: Artifact, figures: dict[str, Any]) -> str:
    left_out = figures["variants"][1:]
    names = ["everything (raw)" if row["name"] == RAW else row["name"].replace("_", " ") for row in left_out]
    ends = [(row["difference"]["mean"], row["difference"]["low"], row["difference"]["high"]) for row in left_out]
    return (
        environment()
        .get_template("ablation.html.jinja")
        .render(
            title=f"{base.path.resolve().parent.name}/{base.path.name}",
            figures=figures,
            rows=[{**row, "title": name, "sentence": _sentence(row)} for row, name in zip(left_out, names, strict=True)],
            filtered=figures["variants"][0],
            plot=interval_plot(names, ends, x_label="bits per byte more than with it: to the right, it helps"),
        )
    )
