"""`ropewalk lineage`: follow an artifact back to its pages, and check that each strand still is what it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import FlagCreatePairsOff, Positional

from ropewalk.artifact import REMOTE, Artifact, open_artifact, source_digest
from ropewalk.cli.readers import print_readers, shown_path
from ropewalk.runtime.errors import OptionError, RopewalkError
from ropewalk.runtime.terminal import one_line


@dataclass(frozen=True)
class LineageOptions:
    """Follow an artifact back to its pages, or a page forward to its readers."""

    paths: Positional[tuple[Path, ...]]
    """The artifacts to begin with, a model for example; for --page also folders of them."""
    page: str | None = None
    """An address: list the artifacts there, and behind them, that read this page, and at which step a model first did."""
    pages: FlagCreatePairsOff[bool] = False
    """List the pages that the model had read by --step, a line each: page_id, a tab, the address."""
    step: int | None = None
    """The step of pretraining up to which --pages lists; if not given, the last."""


def run_lineage(options: LineageOptions) -> int:
    """Print the trees, or the pages, or a page's readers. Returns 1 where something is gone or no longer what it was."""
    if options.step is not None and not options.pages:
        raise OptionError("ropewalk lineage: --step goes with --pages")
    if not options.paths:
        raise OptionError("ropewalk lineage: give the path of at least one artifact")
    if options.page is not None:
        if options.pages:
            raise OptionError("ropewalk lineage: give either --page or --pages")
        return print_readers(options.page, options.paths)
    artifacts = [open_artifact(path) for path in options.paths]
    if options.pages:
        for artifact in artifacts:
            _print_pages(artifact, options.step)
        return 0
    seen: set[str] = set()
    whole = [_print_tree(artifact, shown=str(artifact.path), name="", indent="", seen=seen) for artifact in artifacts]
    return 0 if all(whole) else 1


def _print_pages(model: Artifact, step: int | None) -> None:
    from ropewalk.pretrain import pages_read

    if model.kind != "model":
        raise OptionError(f"ropewalk lineage: --pages needs a model, but {model.path} holds {model.kind}")
    for page_id, url in pages_read(model.path, step):
        print(f"{page_id}\t{one_line(url)}")


def _print_tree(artifact: Artifact, *, shown: str, name: str, indent: str, seen: set[str]) -> bool:
    """Print `artifact` and what it was made from; an input that stood above already is named, not repeated."""
    label = f"{name}: " if name else ""
    if artifact.digest in seen:
        print(f"{indent}{label}{shown}  {artifact.kind} {artifact.digest[:12]}  (as above)")
        return True
    seen.add(artifact.digest)
    print(f"{indent}{label}{shown}  {artifact.kind} {artifact.digest[:12]}  {key_facts(artifact)}".rstrip())
    deeper = indent + "    "
    whole = True
    for input_name, entry in artifact.inputs.items():
        path = entry["path"] if entry["kind"] == REMOTE else artifact.input_path(input_name)
        whole &= _print_input(path, input_name, entry, deeper, seen)
    for line in _sources(artifact):
        print(f"{deeper}{one_line(line)}")
    return whole


def _print_input(path: Path | str, name: str, entry: Mapping[str, str], indent: str, seen: set[str]) -> bool:
    was = f"{entry['kind']} {entry['digest'][:12]}"
    shown = shown_path(path)
    try:
        kind, digest = source_digest(path)
    except RopewalkError as error:
        gone = "is gone" if isinstance(path, Path) and not path.exists() else f"cannot be read: {error}"
        print(f"{indent}{name}: {shown}  {gone}; {was} was read")
        return False
    if digest != entry["digest"]:
        print(f"{indent}{name}: {shown}  is another now, {kind} {digest[:12]}; {was} was read")
        return False
    if kind in ("file", "folder", REMOTE):
        print(f"{indent}{name}: {shown}  {was}")
        return True
    return _print_tree(open_artifact(path), shown=shown, name=name, indent=indent, seen=seen)


def _sources(artifact: Artifact) -> list[str]:
    """Where a crawl's pages came from."""
    if artifact.kind != "pages":
        return []
    sites = [f"site: {site}" for site in artifact.options.get("sites", ())]
    if name := artifact.options.get("common_crawl"):
        sites.append(f"common crawl: {name}, {artifact.facts['warcs']} WARC files")
    return sites + [f"served: {name} = {folder}" for name, folder in artifact.options.get("serve", {}).items()]


def key_facts(artifact: Artifact) -> str:
    """The plain numbers among an artifact's facts, for one line."""
    numbers = [(name, value) for name, value in artifact.facts.items() if _is_number(value)]
    return ", ".join(f"{name} {value:,}" if isinstance(value, int) else f"{name} {value:.4g}" for name, value in numbers[:4])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
