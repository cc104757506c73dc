"""One of our models as one of lm-evaluation-harness (Gao et al. 2021; `pip install 'ropewalk[harness]'`), in this process.

    from lm_eval import simple_evaluate
    from ropewalk.evaluate.harness import harness_model

    simple_evaluate(harness_model(Path("runs/docs/model")), tasks=["arc_easy"])

Its tasks, prompts and metrics, our engine. Texts begin as they do with its own `hf` model, without a boundary, unless it is
asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ropewalk.engine.engine import Engine
from ropewalk.engine.load import load_engine
from ropewalk.engine.sampling import Sampling
from ropewalk.evaluate.answers import slots_for
from ropewalk.evaluate.likelihood import Likelihood, answer_behind, cut, likelihoods, within
from ropewalk.evaluate.scored import TOGETHER
from ropewalk.model.sequences import Answered
from ropewalk.runtime.errors import MachineError
from ropewalk.runtime.progress import progress
from ropewalk.tokenizer.special import BOUNDARY

DEFAULT_MAX_TOKENS = 256  # where a task does not say how long an answer may be: the harness' own


def harness_model(folder: Path, *, boundary: bool = False) -> Any:
    """The model in `folder`, as `simple_evaluate` takes one. boundary: begin texts with the token that begins documents.

    Raises:
        MachineError: the harness is not installed. InputError, ArtifactError: no model there, or a damaged one.
    """
    try:
        from lm_eval.api.model import LM  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MachineError("this needs lm-evaluation-harness: pip install 'ropewalk[harness]'") from None
    engine = load_engine(folder, slots=1)
    special = engine.tokenizer.special
    start = special.get(BOUNDARY, min(engine.stop_ids))
    opening = [start] if boundary and BOUNDARY in special else []

    class HarnessModel(LM):
        """What the harness calls. A request's `args` are its texts; those of one `doc_id` are choices of one item."""

        def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
            found = judged(engine, _items(requests), opening=opening, start=start, silent=disable_tqdm)
            return [(one.nats, one.greedy) for item in found for one in item]

        def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
            texts = (request.args[0] for request in requests)
            return [sum(one.nats for one in rolled(engine, text, start=start)) for text in texts]

        def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
            return continued(engine, [request.args for request in requests], opening=opening, start=start)

    return HarnessModel()


def _items(requests: Sequence[Any]) -> list[list[tuple[str, str]]]:
    """The pairs of neighbouring requests of one item together."""
    items: list[list[tuple[str, str]]] = []
    before: object = None
    for request in requests:
        item = (request.task_name, request.doc_id)
        if item != before or request.doc_id is None:
            items.append([])
        items[-1].append(request.args)
        before = item
    return items


def judged(
    engine: Engine, items: Sequence[Sequence[tuple[str, str]]], *, opening: Sequence[int], start: int, silent: bool = False
) -> Iterator[list[Likelihood]]:
    """The likelihoods of every item's pairs, as many items at a time as `ropewalk benchmark` takes."""
    room = engine.model.config.context_tokens
    with progress("likelihoods", total=len(items), unit="items", silent=silent) as bar:
        for first in range(0, len(items), TOGETHER):
            some = items[first : first + TOGETHER]
            ids = [cut(engine.tokenizer, pairs, opening=opening, without_context=start) for pairs in some]
            yield from likelihoods(engine.model, [[within(one, room) for one in pairs] for pairs in ids])
            bar.advance(len(some))


def rolled(engine: Engine, text: str, *, start: int) -> list[Likelihood]:
    """A whole text's likelihood in disjoint windows, each of which begins with the last id of the one before it."""
    ids, room = engine.tokenizer.encode(text), engine.model.config.context_tokens
    windows: list[list[Answered]] = []
    for first in range(0, len(ids), room):
        windows.append([answer_behind(ids[first - 1 : first] if first else [start], ids[first : first + room], said=text)])
    return [one for window in likelihoods(engine.model, windows) for one in window]


def continued(
    engine: Engine, asked: Sequence[tuple[str, dict[str, Any]]], *, opening: Sequence[int], start: int
) -> list[str]:
    """What the model writes behind each text, until one of its stop strings."""
    prompts, samplings = [], []
    for text, given in asked:
        stops = given.get("until") or ()
        most = int(given.get("max_gen_toks", DEFAULT_MAX_TOKENS))
        temperature = float(given.get("temperature", 0.0)) if given.get("do_sample") else 0.0
        ids = [*opening, *engine.tokenizer.encode(text)] or [start]
        prompts.append(ids[-max(1, engine.model.config.context_tokens - most) :])
        samplings.append(Sampling(most, temperature=temperature, stop=(stops,) if isinstance(stops, str) else tuple(stops)))
    longest = max((len(ids) + one.max_tokens for ids, one in zip(prompts, samplings, strict=True)), default=1)
    engine = Engine(engine.model, engine.tokenizer, engine.stop_ids, slots=slots_for(engine.model, longest))
    return [one.text for one in engine.generate(prompts, samplings)]
