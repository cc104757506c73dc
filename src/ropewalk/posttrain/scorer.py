"""A model that gives a conversation one number: a decoder whose head has one row, read where the last answer ends.

On disk it is a folder of Hugging Face's sequence classification: a model's, with `score.weight` (1, D) in the head's place.

Shapes: S conversations, D model width.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ropewalk.artifact import open_artifact
from ropewalk.model.checkpoint import CONFIG, WEIGHTS, assemble, copy_but, stored_tensors, stream_weights
from ropewalk.model.families import HEAD, from_hugging_face
from ropewalk.model.lora import merged_weight
from ropewalk.model.placing import settle
from ropewalk.model.rows import states_and_targets
from ropewalk.model.sequences import Answered, packed
from ropewalk.model.transformer import Linear, Transformer
from ropewalk.posttrain.sequences import passes
from ropewalk.runtime.errors import InputError

SCORE = "score.weight"
CAUSAL = re.compile("(ForCausalLM|LMHeadModel)$")


def new_scorer(model: Transformer) -> Transformer:
    """The model with a head that gives every conversation 0; its own head is lost."""
    model.config = replace(model.config, tied_head=False)
    model.lm_head = Linear(model.config.width, 1, bias=False, device=model.lm_head.weight.device)
    torch.nn.init.zeros_(model.lm_head.weight)
    return model


def scores(scorer: Transformer, sequences: Sequence[Answered]) -> Tensor:
    """What each conversation is given (S,), float32, in one pass."""
    rows, owner = packed([_ended(one) for one in sequences])
    hidden_SD, _ = states_and_targets(scorer, rows)
    place_S = torch.from_numpy(np.argsort(owner)).to(hidden_SD.device)
    return scorer.lm_head(hidden_SD)[place_S, 0].float()


def _ended(one: Answered) -> Answered:
    """The same with one target, behind its end: where a score is read, a next token would be."""
    return Answered(np.append(one.ids, 0), np.arange(len(one.ids) + 1) == len(one.ids))


def all_scores(scorer: Transformer, sequences: Sequence[Answered]) -> Tensor:
    """The same in as many passes as it takes, without gradient, on the CPU."""
    with torch.no_grad():
        return torch.cat([scores(scorer, sequences[part]).cpu() for part in passes(scorer, sequences)])


def save_scorer(scorer: Transformer, base: Path, folder: Path) -> None:
    """Write the folder, with everything but weights and head as it is in the model folder `base`."""
    copy_but((WEIGHTS, CONFIG), base, list(open_artifact(base).manifest["files"]), folder)
    described = json.loads((base / CONFIG).read_text(encoding="utf-8"))
    said = [CAUSAL.sub("ForSequenceClassification", name) for name in described["architectures"]]
    described |= {"architectures": said, "num_labels": 1, "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    (folder / CONFIG).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    held, shapes = stored_tensors(scorer.config)
    score_1D, read = scorer.lm_head.weight, partial(merged_weight, scorer)
    shapes = {name: shape for name, shape in shapes.items() if name != HEAD} | {SCORE: tuple(score_1D.shape)}
    stream_weights(folder / WEIGHTS, shapes, lambda name: score_1D if name == SCORE else held[name].join(read))


def load_scorer(folder: Path) -> Transformer:
    """Read such a folder, onto the GPU if there is one.

    Raises:
        InputError: it is none, or damaged.
    """
    try:
        described, weights = json.loads((folder / CONFIG).read_text(encoding="utf-8")), load_file(folder / WEIGHTS)
        score_1D = weights.pop(SCORE)
    except (OSError, ValueError, SafetensorError, KeyError) as error:
        raise InputError(f"{folder} is no reward model ({error}): give one that 'ropewalk reward' made") from None
    config = replace(from_hugging_face(described, where=str(folder / CONFIG)), tied_head=False)
    in_its_place = {HEAD: score_1D.expand(config.vocabulary, -1)}
    scorer = new_scorer(assemble(config, weights | in_its_place, where=str(folder / WEIGHTS)))
    with torch.no_grad():
        scorer.lm_head.weight.copy_(score_1D)
    return settle(scorer).eval()
