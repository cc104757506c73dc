"""The models that are served: what they are, and whether their answers can be followed back to an index's pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ropewalk.artifact import Artifact, is_artifact, open_artifact, source_digest
from ropewalk.artifact.manifest import sha256_text
from ropewalk.engine.engine import Engine
from ropewalk.engine.load import load_engine
from ropewalk.evaluate.lineage import ancestors
from ropewalk.model import Compile, Precision
from ropewalk.model.adapter_file import ADAPTER_WEIGHTS
from ropewalk.model.checkpoint import WEIGHTS
from ropewalk.runtime.errors import OptionError
from ropewalk.trace.index import Index

NO_INDEX = "tracing unavailable: the server was started without an index"
OTHER_PAGES = "tracing unavailable: this model was not trained on these pages"
LOST_PAGES = "tracing unavailable: some of what this model was made from is gone, or has been rebuilt since"


@dataclass(frozen=True)
class ServedModel:
    """A model and what people and programs want to know of it.

    id: its name in the API. third_party: no pages of ours are behind it. converses: it was taught to hold a conversation,
    one that was not continues text. digest: of its files. created: Unix time of its weights.
    index: the pages it was trained on, if they are at hand; where not, `untraceable` says why.
    adapter_of: the model that it is an adapter of; what the two have in common is held once.
    """

    id: str
    third_party: bool
    converses: bool
    parameters: int
    folder: Path
    digest: str
    created: int
    engine: Engine
    index: Index | None
    untraceable: str
    adapter_of: str | None = None

    @property
    def label(self) -> str:
        """Its name for people."""
        return f"{self.id} (third-party)" if self.third_party else self.id

    def described(self) -> dict[str, object]:
        """Its entry in /v1/models: OpenAI's fields, then ours."""
        return {
            "id": self.id,
            "object": "model",
            "created": self.created,
            "owned_by": "third-party" if self.third_party else "ropewalk",
            "label": self.label,
            "third_party": self.third_party,
            "parameters": self.parameters,
            "digest": self.digest,
            "adapter_of": self.adapter_of,
            "context_tokens": self.engine.model.config.context_tokens,
            "converses": self.converses,
            "traceable": self.index is not None,
            "untraceable": self.untraceable or None,
        }


def load_models(
    folders: Sequence[Path],
    index: Index | None,
    *,
    slots: int,
    precision: Precision = "auto",
    guess_tokens: int = 0,
    compiling: Compile = "off",
    adapters: Mapping[str, Path] | None = None,
    standing: Mapping[str, ServedModel] | None = None,
) -> dict[str, ServedModel]:
    """Load all models, by id. Of those `standing`, which are served already, what has not changed is taken as it is.

    adapters: of the first model, each by the name that it is served under.

    Raises:
        InputError, ArtifactError: no model there, or a damaged one; an adapter that cannot be read or does not fit.
        OptionError: two of them have one name.
    """
    models: dict[str, ServedModel] = {}
    known = {(model.folder, model.digest): model for model in (standing or {}).values()}
    load = partial(load_engine, slots=slots, precision=precision, guess_tokens=guess_tokens, compiling=compiling)

    def take(model: ServedModel) -> None:
        if model.id in models:
            raise OptionError(f"two models are called {model.id!r}: give each its own folder's name")
        models[model.id] = model

    for folder in folders:
        digest = source_digest(folder)[1]
        take(known.get((folder, digest)) or _served(folder, load(folder), index, digest=digest))
    for name, adapter in (adapters or {}).items():
        base = next(iter(models.values()))
        digest = sha256_text(f"{base.digest} {source_digest(adapter)[1]}")
        model = (standing or {}).get(name)
        take(model if model and model.digest == digest else _with_adapter(base, name, adapter, load, digest=digest))
    return models


def named_folders(pairs: Sequence[str]) -> dict[str, Path]:
    """Folders by name, of NAME=FOLDER.

    Raises:
        OptionError: one is written otherwise, or two have one name.
    """
    folders: dict[str, Path] = {}
    for pair in pairs:
        name, _, folder = pair.partition("=")
        if not name or not folder:
            raise OptionError(f"ropewalk serve: --adapters {pair!r}: write NAME=FOLDER, as poet=runs/poet/adapter")
        if name in folders:
            raise OptionError(f"ropewalk serve: two of --adapters are called {name!r}: give each its own name")
        folders[name] = Path(folder)
    return folders


def _with_adapter(base: ServedModel, name: str, adapter: Path, load: Callable[..., Engine], *, digest: str) -> ServedModel:
    """A model that speaks through an adapter. Its pages are the base's: what the adapter has learned from is not asked."""
    engine = load(base.folder, adapter=adapter, beside=base.engine.model)
    converses = base.converses or (is_artifact(adapter.parent) and learned_conversations(engine, adapter.parent))
    created = int((adapter / ADAPTER_WEIGHTS).stat().st_mtime)
    return replace(base, id=name, converses=converses, digest=digest, created=created, engine=engine, adapter_of=base.id)


def learned_conversations(engine: Engine, folder: Path) -> bool:
    """Whether a model was taught to hold a conversation; one made elsewhere was if it brings a chat template."""
    if engine.tokenizer.chat_template is None:
        return False
    artifact = open_artifact(folder, "model") if is_artifact(folder) else None
    if artifact is None or "model" in artifact.inputs:  # post-training makes a model from a model
        return True
    return bool(artifact.facts.get("conversations", "tokens" not in artifact.inputs))


@dataclass(frozen=True)
class _Family:
    """A model and all that it was made from, as far as it is still there."""

    members: tuple[Artifact, ...]
    lost: bool

    @property
    def digests(self) -> set[str]:
        """What was read, by digest: named in the manifests, so whether it is still there does not matter."""
        return {entry["digest"] for member in self.members for entry in member.inputs.values()}

    @property
    def read_pages(self) -> bool:
        """Whether one of them was trained on tokens of ours."""
        return any("tokens" in member.inputs for member in self.members)


def _family(folder: Path) -> _Family | None:
    """The family of an artifact; None for a folder made elsewhere."""
    if not is_artifact(folder):
        return None
    model = open_artifact(folder, "model")
    found, missing = ancestors(model)
    return _Family((model, *found), lost=bool(missing))


@dataclass(frozen=True)
class Origin:
    """Whether pages of ours are behind a model, and the index of them; where there is none, `untraceable` says why."""

    third_party: bool
    index: Index | None
    untraceable: str


def origin_of(folder: Path, index: Index | None) -> Origin:
    """What a folder's lineage says of its pages, and whether `index` is an index of them."""
    family = _family(folder)
    third_party = family is None or not (family.read_pages or family.lost)
    if index is not None and family is not None and index.corpus_digest in family.digests:
        return Origin(third_party, index, "")
    untraceable = NO_INDEX if index is None else LOST_PAGES if family is not None and family.lost else OTHER_PAGES
    return Origin(third_party, None, untraceable)


def _served(folder: Path, engine: Engine, index: Index | None, *, digest: str) -> ServedModel:
    origin = origin_of(folder, index)
    whole = folder.resolve()
    return ServedModel(
        id=whole.name if origin.third_party else f"{whole.parent.name}/{whole.name}",
        third_party=origin.third_party,
        converses=learned_conversations(engine, folder),
        parameters=engine.model.config.parameters,
        folder=folder,
        digest=digest,
        created=int((folder / WEIGHTS).stat().st_mtime),
        engine=engine,
        index=origin.index,
        untraceable=origin.untraceable,
    )
