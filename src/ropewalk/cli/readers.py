"""`ropewalk lineage --page`: which artifacts read a page, and at which step a model first did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ropewalk.artifact import Artifact, is_artifact, is_remote, open_artifact
from ropewalk.cli.run import print_table
from ropewalk.runtime.errors import InputError, RopewalkError
from ropewalk.runtime.terminal import one_line


@dataclass
class _Search:
    """What is known of a page so far.

    holders: digests of the artifacts that carry it on to those made from them, with their paths.
    """

    urls: frozenset[str]
    page_ids: set[str] = field(default_factory=set)
    holders: dict[str, str] = field(default_factory=dict)


def print_readers(url: str, folders: Sequence[Path]) -> int:
    """Print the artifacts at, below and behind these folders that read the page. Returns 1 if there are none.

    Raises:
        InputError: there is no artifact.
    """
    from ropewalk.crawl.urls import normalise

    artifacts, faults = _artifacts(folders)
    search = _Search(frozenset([url, normalise(url) or url]))
    rows = [("artifact", "kind", "the page")]
    for artifact in artifacts:
        try:
            found = _found(artifact, search)
        except RopewalkError as error:
            found = f"cannot be told: {error}"
        if found:
            rows.append((shown_path(artifact.path), artifact.kind, one_line(found)))
    if len(rows) > 1:
        print_table(rows)
    else:
        print(f"none of {len(artifacts)} artifacts read {one_line(url)}")
    for fault in faults:
        print(f"not followed: {one_line(fault)}")
    return 0 if len(rows) > 1 else 1


def shown_path(path: Path | str) -> str:
    """A path, or an address, as the user would type it from here."""
    if is_remote(path):
        return str(path)
    try:
        return str(Path(path).resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _artifacts(folders: Sequence[Path]) -> tuple[list[Artifact], list[str]]:
    """The artifacts at and below these folders and all behind them, each after its inputs; and what is wrong with others."""
    from ropewalk.evaluate.lineage import ancestors

    found: dict[Path, Artifact] = {}
    faults: list[str] = []
    for path in [path for folder in folders for path in _below(folder)]:
        try:
            artifact = open_artifact(path)
        except RopewalkError as error:
            faults.append(str(error))
            continue
        behind, missing = ancestors(artifact)
        found |= {one.path.resolve(): one for one in [artifact, *behind]}
        faults += missing
    if not found:
        raise InputError(f"there is no artifact at or below {', '.join(map(str, folders))}: check the path")
    return _inputs_first([found[path] for path in sorted(found)]), list(dict.fromkeys(faults))


def _below(folder: Path) -> list[Path]:
    """The folder itself if it is an artifact, or those below it but for unfinished and replaced ones."""
    if is_artifact(folder):
        return [folder]
    homes = (path.parent for path in sorted(folder.rglob("manifest.json")))
    return [home for home in homes if is_artifact(home) and home.suffix not in (".part", ".replaced")]


def _inputs_first(artifacts: Sequence[Artifact]) -> list[Artifact]:
    depths: dict[str, int] = {}
    by_digest = {artifact.digest: artifact for artifact in artifacts}

    def depth(artifact: Artifact) -> int:
        if artifact.digest not in depths:
            behind = [by_digest[entry["digest"]] for entry in artifact.inputs.values() if entry["digest"] in by_digest]
            depths[artifact.digest] = 1 + max(map(depth, behind), default=0)
        return depths[artifact.digest]

    return sorted(artifacts, key=depth)


def _found(artifact: Artifact, search: _Search) -> str:
    """What this artifact has of the page, in words; empty if nothing. Notes whether it carries the page on."""
    if artifact.kind == "pages":
        return _in_crawl(artifact, search)
    if artifact.kind == "corpus":
        return _in_corpus(artifact, search)
    if artifact.kind == "tokens" and "corpus" in artifact.inputs:
        return _in_tokens(artifact, search)
    if artifact.kind == "model":
        return _in_model(artifact, search)
    source = next((name for entry in artifact.inputs.values() if (name := search.holders.get(entry["digest"]))), None)
    if artifact.kind == "tokenizer":  # a vocabulary does not hold a page: what is made with it has not read one
        return f"learned from {source}" if source else ""
    return _carried_on(artifact, search, f"made from {source}") if source else ""


def _in_crawl(pages: Artifact, search: _Search) -> str:
    from ropewalk.crawl.ledger import FETCHED, LEDGER, read_ledger

    row = next((row for row, _ in read_ledger(pages.path / LEDGER) if row.url in search.urls), None)
    if row is not None and row.page_id:
        search.page_ids.add(row.page_id)
    return "" if row is None else row.outcome if row.outcome == FETCHED else f"not stored: {row.outcome}"


def _in_corpus(corpus: Artifact, search: _Search) -> str:
    from ropewalk.corpus.reading import read_records

    fates = []
    for row in read_records(corpus.path, search.urls):
        if row["stage"] == "kept":
            search.page_ids.add(row["page_id"])
            fates.append(_carried_on(corpus, search, "kept"))
        else:
            fates.append(f"dropped at {row['stage']}" + (f": {row['reason']}" if row["reason"] else ""))
    return ", ".join(dict.fromkeys(fates))


def _in_tokens(tokens: Artifact, search: _Search) -> str:
    from ropewalk.tokenizer.shards import TokenReader

    reader = TokenReader(tokens.path)
    documents = [reader.documents[row] for row in reader.rows_of(search.page_ids)]
    if not documents:
        return ""
    _carried_on(tokens, search, "")
    held_out = all(document["held_out"] for document in documents)
    return f"{sum(int(one['tokens']) for one in documents)} tokens, {'held out' if held_out else 'to train on'}"


def _in_model(model: Artifact, search: _Search) -> str:
    from ropewalk.pretrain import first_read

    digests = {name: entry["digest"] for name, entry in model.inputs.items()}
    base = digests.get("model", digests.get("init"))
    found = [f"trained from {search.holders[base]}"] if base in search.holders else []
    if any(digests.get(name) in search.holders for name in ("tokens", "replay")):
        step, steps = first_read(model.path, search.page_ids), model.facts["steps"]
        found.append(
            f"in its tokens, but not read in {steps} steps" if step is None else f"first read in step {step} of {steps}"
        )
        if step is None and len(found) == 1:
            return found[0]
    return _carried_on(model, search, ", ".join(found)) if found else ""


def _carried_on(artifact: Artifact, search: _Search, found: str) -> str:
    search.holders[artifact.digest] = shown_path(artifact.path)
    return found
