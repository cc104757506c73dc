"""The models that are served: what they are, and whether their answers can be followed back to an index's pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ropewalk.artifact import Artifact, is_artifact, open_artifact, source_digest
from ropewalk.engine.engine import Engine
from ropewalk.engine.load import load_engine
from ropewalk.evaluate.lineage import ancestors
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
    """

    id: str
    third_party: bool
    converses: bool
    parameters: int
    digest: str
    created: int
    engine: Engine
    index: Index | None
    untraceable: str

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
            "context_tokens": self.engine.model.config.context_tokens,
            "converses": self.converses,
            "traceable": self.index is not None,
            "untraceable": self.untraceable or None,
        }


def load_models(folders: Sequence[Path], index: Index | None, *, slots: int) -> dict[str, ServedModel]:
    """Load all models, by id.

    Raises:
        InputError, ArtifactError: no model there, or a damaged one.
        OptionError: two of them have one name.
    """
    models: dict[str, ServedModel] = {}
    for folder in folders:
        model = _load(folder, index, slots=slots)
        if model.id in models:
            raise OptionError(f"two models are called {model.id!r}: give each its own folder's name")
        models[model.id] = model
    return models


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


def _load(folder: Path, index: Index | None, *, slots: int) -> ServedModel:
    engine = load_engine(folder, slots=slots)
    family = _family(folder)
    third_party = family is None or not (family.read_pages or family.lost)
    own = index if index is not None and family is not None and index.corpus_digest in family.digests else None
    untraceable = ""
    if own is None:
        untraceable = NO_INDEX if index is None else LOST_PAGES if family is not None and family.lost else OTHER_PAGES
    whole = folder.resolve()
    return ServedModel(
        id=whole.name if third_party else f"{whole.parent.name}/{whole.name}",
        third_party=third_party,
        converses=learned_conversations(engine, folder),
        parameters=sum(weight.numel() for weight in engine.model.parameters()),
        digest=source_digest(folder)[1],
        created=int((folder / WEIGHTS).stat().st_mtime),
        engine=engine,
        index=own,
        untraceable=untraceable,
    )
