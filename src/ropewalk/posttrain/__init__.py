"""Post-training: a model that has read pages learns to answer, then to be right.

    ropewalk sft  --model runs/tiny/base --tokens runs/tiny/chat-tokens --out runs/tiny/sft
    ropewalk grpo --model runs/tiny/sft --tasks runs/tiny/site/tasks.jsonl --out runs/tiny/model
    ropewalk dpo  --model runs/tiny/sft --preferences pairs.jsonl --out runs/tiny/preferred
    ropewalk kto  --model runs/tiny/sft --judged thumbs.jsonl --out runs/tiny/liked
    ropewalk reward --model runs/tiny/sft --preferences pairs.jsonl --out runs/tiny/reward

`sft` imitates conversations; `grpo` samples answers, grades them, and makes the better ones of a question likelier; `dpo`
learns from answers that people preferred to others, `kto` from those that they liked or did not; `reward` makes a model that
gives answers a number, from the same pairs. The others make a model artifact as `pretrain` does, with the model they began
from among its inputs, on the loop of `pretrain`.

packing     conversations in rows, none of which sees another
sft         supervised fine-tuning
objective   advantages and the clipped policy objective, as pure functions
rollout     answers, their rewards, and the rows to learn them from
grpo        group-relative policy optimisation
lots        which rows are held back, and in which order the others come
judged      answers that people judged, from JSONL
preference  what a preference is worth, as pure functions
sequences   log-probabilities of whole answers, and learning from an objective of them
prefer      what dpo, kto and reward share
dpo, kto    two stages
scorer      a model that gives a conversation one number
reward      the stage that trains one
folder      what both begin from and leave behind
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from ropewalk.artifact import Artifact
from ropewalk.config import Estimate, Input, Stage, build_stage

SFT = Stage("sft", "model", version=2, libraries=("numpy", "torch"))
GRPO = Stage("grpo", "model", version=2, libraries=("numpy", "torch"))
DPO = Stage("dpo", "model", version=1, libraries=("numpy", "torch"))
KTO = Stage("kto", "model", version=1, libraries=("numpy", "torch"))
REWARD = Stage("reward", "reward", version=1, libraries=("numpy", "torch"))


@dataclass(frozen=True)
class SftOptions:
    """Which conversations a model imitates, how often, and how fast."""

    model: Annotated[Path, Input("model")]
    """The model to start from."""
    tokens: Annotated[Path, Input("tokens")]
    """Conversations as tokens, written by `ropewalk tokenize --conversations` with the model's own tokenizer."""
    epochs: Annotated[float, Gt(0)] = 2.0
    """How often each conversation is read; the last time a part of them, if that is no whole number."""
    steps: Annotated[int, Gt(0)] | None = None
    """Steps in all, instead of epochs."""
    batch_rows: Annotated[int, Gt(0)] = 16
    """Rows a step; each is filled with whole conversations."""
    pass_rows: Annotated[int, Gt(0)] | None = None
    """Rows in one forward and backward pass, if not all of a step's: less memory, and the step stays the same but for the
    last bits."""
    recompute: bool = False
    """Compute each block's activations again in the backward pass: a third more work, a fraction of the memory."""
    context_tokens: Annotated[int, Ge(8)] | None = None
    """Length of a row, if not the model's context."""
    too_long: Literal["cut", "drop"] = "cut"
    """What happens to a conversation longer than a row: its beginning is learned, or nothing of it."""
    matrix_rate: Annotated[float, Gt(0)] = 0.01
    """Peak learning rate of the matrices inside blocks (Muon)."""
    embedding_rate: Annotated[float, Gt(0)] = 0.05
    """Peak learning rate of the embedding (AdamW)."""
    head_rate: Annotated[float, Gt(0)] = 0.003
    """Peak learning rate of the output head (AdamW)."""
    norm_rate: Annotated[float, Gt(0)] = 0.005
    """Peak learning rate of the norms' weights (AdamW)."""
    adamw_rate: Annotated[float, Gt(0)] | None = None
    """One peak learning rate for all weights, under AdamW, instead of the four above: for a model that was trained
    elsewhere, 2e-5 is usual."""
    weight_decay: Annotated[float, Ge(0)] = 0.0
    """Decay of the matrices, as a share of their learning rate."""
    warm_up_steps: Annotated[int, Ge(0)] = 10
    """Steps in which the learning rate rises from 0."""
    warm_down_fraction: Annotated[float, Ge(0), Le(1)] = 0.65
    """Last part of the run, in which the learning rate falls to a twentieth."""
    members: Annotated[int, Ge(1)] = 1
    """Train so many times from the same start, each time on with the conversations, and end with the mean of the weights
    (a model soup): less hangs on chance. `epochs` and `steps` are of each."""
    average_decay: Annotated[float, Gt(0), Lt(1)] | None = None
    """End, each time, with an exponential moving average of the weights that decays by this a step."""
    evaluate_every_steps: Annotated[int, Gt(0)] = 50
    """Steps between looks at the held-out conversations."""
    evaluate_conversations: Annotated[int, Ge(0)] = 256
    """Held-out conversations looked at, at most."""
    seed: Annotated[int, Ge(0)] = 0
    """Decides the order of the conversations."""
    compile: Literal["auto", "off"] = "off"
    """Compile the blocks if a C++ compiler is here: pays after some hundred steps. The weights' last bits differ between
    compiled and not."""


@dataclass(frozen=True)
class GrpoOptions:
    """Which questions a model answers, what an answer earns, and how fast it learns from that."""

    model: Annotated[Path, Input("model")]
    """The model to start from; it should answer already."""
    tasks: Annotated[Path, Input()]
    """A JSONL file of questions with their right answers, in the form that `ropewalk eval` reads."""
    steps: Annotated[int, Gt(0)] = 50
    """Updates of the weights."""
    prompts: Annotated[int, Gt(0)] = 16
    """Questions a step."""
    samples: Annotated[int, Ge(2)] = 8
    """Answers to each question; they are compared with each other."""
    max_tokens: Annotated[int, Gt(0)] = 64
    """Most tokens an answer may have."""
    wrong_reward: Annotated[float, Le(0)] = -1.0
    """What a wrong answer earns. A right one earns 1; not to know earns 1 where that is right, and else 0: at -c the
    reward asks for an answer where it is right with a probability over c / (1 + c)."""
    reward: Annotated[Path | None, Input("reward")] = None
    """A reward model that says what answers earn, instead of the tasks' right answers: these then only tell how it goes."""
    kl_weight: Annotated[float, Ge(0)] = 0.0
    """What each nat costs by which an answer is likelier than it was to the model as it came. A reward model needs it (0.05
    is usual), or answers become what it overrates; with right answers it is not needed."""
    mask_truncated: bool = False
    """Learn nothing from answers that were cut at max_tokens; they count as answers of their group all the same."""
    scale_advantages: bool = False
    """Divide advantages by the standard deviation of their group's rewards, as the first GRPO did."""
    clip_low: Annotated[float, Gt(0), Le(1)] = 0.2
    """An answer's token is not pushed down further once its probability has fallen by this share in one step."""
    clip_high: Annotated[float, Gt(0)] = 0.28
    """The same upwards."""
    importance_cap: Annotated[float, Ge(1)] = 2.0
    """Largest weight that makes up for the difference between the engine's and the trainer's probabilities."""
    updates: Annotated[int, Gt(0)] = 1
    """Steps that learn from the same answers before new ones are sampled."""
    matrix_rate: Annotated[float, Gt(0)] = 0.002
    """Peak learning rate of the matrices inside blocks (Muon)."""
    embedding_rate: Annotated[float, Gt(0)] = 0.01
    """Peak learning rate of the embedding (AdamW)."""
    head_rate: Annotated[float, Gt(0)] = 0.0006
    """Peak learning rate of the output head (AdamW)."""
    norm_rate: Annotated[float, Gt(0)] = 0.001
    """Peak learning rate of the norms' weights (AdamW)."""
    adamw_rate: Annotated[float, Gt(0)] | None = None
    """One peak learning rate for all weights, under AdamW, instead of the four above: for a model that was trained
    elsewhere, 1e-6 is usual."""
    warm_up_steps: Annotated[int, Ge(0)] = 5
    """Steps in which the learning rate rises from 0."""
    warm_down_fraction: Annotated[float, Ge(0), Le(1)] = 0.0
    """Last part of the run, in which the learning rate falls to a twentieth."""
    average_decay: Annotated[float, Gt(0), Lt(1)] | None = None
    """End with an exponential moving average of the weights that decays by this a step."""
    held_back_tasks: Annotated[int, Ge(0)] = 64
    """Tasks that are never trained on, half of them all at most: the model answers them greedily before, while and after."""
    evaluate_every_steps: Annotated[int, Gt(0)] = 10
    """Steps between looks at these."""
    seed: Annotated[int, Ge(0)] = 0
    """Decides the order of the questions and every answer that is sampled."""


@dataclass(frozen=True, kw_only=True)
class PreferenceOptions:
    """What `dpo`, `kto` and `reward` have in common."""

    model: Annotated[Path, Input("model")]
    """The model to start from; it should answer already. For `dpo` and `kto` it is the reference, too."""
    epochs: Annotated[float, Gt(0)] = 1.0
    """How often each judged answer is learned from."""
    steps: Annotated[int, Gt(0)] | None = None
    """Steps in all, instead of epochs."""
    batch: Annotated[int, Gt(0)] = 16
    """Pairs, or lone answers, a step."""
    recompute: bool = False
    """Compute each block's activations again in the backward pass: a third more work, a fraction of the memory."""
    matrix_rate: Annotated[float, Gt(0)] = 0.0005
    """Peak learning rate of the matrices inside blocks (Muon)."""
    embedding_rate: Annotated[float, Gt(0)] = 0.0025
    """Peak learning rate of the embedding (AdamW)."""
    head_rate: Annotated[float, Gt(0)] = 0.00015
    """Peak learning rate of the output head (AdamW)."""
    norm_rate: Annotated[float, Gt(0)] = 0.00025
    """Peak learning rate of the norms' weights (AdamW)."""
    adamw_rate: Annotated[float, Gt(0)] | None = None
    """One peak learning rate for all weights, under AdamW, instead of the four above: for a model that was trained
    elsewhere, 1e-6 is usual."""
    weight_decay: Annotated[float, Ge(0)] = 0.0
    """Decay of the matrices, as a share of their learning rate."""
    warm_up_steps: Annotated[int, Ge(0)] = 5
    """Steps in which the learning rate rises from 0."""
    warm_down_fraction: Annotated[float, Ge(0), Le(1)] = 0.65
    """Last part of the run, in which the learning rate falls to a twentieth."""
    held_back: Annotated[int, Ge(0)] = 128
    """Judged answers that are never trained on, half of them all at most: looked at while training and at its end."""
    evaluate_every_steps: Annotated[int, Gt(0)] = 50
    """Steps between looks at these."""
    seed: Annotated[int, Ge(0)] = 0
    """Decides the order."""


@dataclass(frozen=True, kw_only=True)
class DpoOptions(PreferenceOptions):
    """Which pairs of answers a model learns from, and how."""

    preferences: Annotated[Path, Input()]
    """A JSONL file of pairs: {"prompt": [messages], "chosen": [messages], "rejected": [messages]}, as trl reads them."""
    loss: Literal["sigmoid", "sigmoid_norm", "ipo"] = "sigmoid_norm"
    """The objective: DPO's own, the same per token (long answers have no head start), or IPO."""
    beta: Annotated[float, Gt(0)] | None = None
    """How much a change of log-probability counts; large values keep close to the model as it came. 0.1, per token 5."""
    label_smoothing: Annotated[float, Ge(0), Lt(0.5)] = 0.0
    """Probability that a pair is the wrong way round."""


@dataclass(frozen=True, kw_only=True)
class RewardOptions(PreferenceOptions):
    """Which pairs of answers a reward model learns from, and how."""

    preferences: Annotated[Path, Input()]
    """A JSONL file of pairs as for `dpo`; a pair's "margin" says by how much more the preferred answer is to be given."""
    centering: Annotated[float, Ge(0)] = 0.01
    """Weight of what keeps the scores of a pair around 0."""


@dataclass(frozen=True, kw_only=True)
class KtoOptions(PreferenceOptions):
    """Which judged answers a model learns from, and how."""

    judged: Annotated[Path, Input()]
    """A JSONL file of answers: {"prompt": [messages], "completion": [messages], "label": true}, as trl reads them."""
    beta: Annotated[float, Gt(0)] = 0.1
    """How much a change of log-probability counts; large values keep close to the model as it came."""
    good_weight: Annotated[float, Gt(0)] = 1.0
    """Weight of answers that were liked; raise it where they are few."""
    bad_weight: Annotated[float, Gt(0)] = 1.0
    """Weight of answers that were not."""


def run_sft(options: SftOptions, *, out: Path, force: bool = False) -> Artifact:
    """Fine-tune a model on conversations into the artifact `out`.

    Raises:
        ArtifactError: tokens of another tokenizer, or what stands at `out` differs.
        InputError: the tokens are no conversations, or none has anything to learn.
    """
    from ropewalk.posttrain.sft import make_sft

    return build_stage(SFT, options, out=out, force=force, make=lambda part: make_sft(options, part))


def run_grpo(options: GrpoOptions, *, out: Path, force: bool = False) -> Artifact:
    """Train a model on tasks with a reward into the artifact `out`.

    Raises:
        ArtifactError: what stands at `out` differs. InputError: tasks that cannot be read, or do not fit the model.
    """
    from ropewalk.posttrain.grpo import make_grpo

    return build_stage(GRPO, options, out=out, force=force, make=lambda part: make_grpo(options, part))


def run_dpo(options: DpoOptions, *, out: Path, force: bool = False) -> Artifact:
    """Train a model on pairs of answers into the artifact `out`.

    Raises:
        ArtifactError: what stands at `out` differs. InputError: pairs that cannot be read, or none that fit the model.
    """
    from ropewalk.posttrain.dpo import make_dpo

    return build_stage(DPO, options, out=out, force=force, make=lambda part: make_dpo(options, part))


def run_kto(options: KtoOptions, *, out: Path, force: bool = False) -> Artifact:
    """Train a model on judged answers into the artifact `out`. Raises as `run_dpo` does."""
    from ropewalk.posttrain.kto import make_kto

    return build_stage(KTO, options, out=out, force=force, make=lambda part: make_kto(options, part))


def run_reward(options: RewardOptions, *, out: Path, force: bool = False) -> Artifact:
    """Train a reward model on pairs of answers into the artifact `out`. Raises as `run_dpo` does."""
    from ropewalk.posttrain.reward import make_reward

    return build_stage(REWARD, options, out=out, force=force, make=lambda part: make_reward(options, part))


def estimate_sft(options: SftOptions, amount: float) -> Estimate:
    """`amount` is the model's parameters; where `steps` is not given, as if for 30,000 conversations of 30 tokens."""
    rows_tokens = options.batch_rows * (options.context_tokens or 256)
    tokens = options.members * (options.steps * rows_tokens if options.steps else options.epochs * 900_000)
    return _trained(6 * tokens * amount, amount)


def estimate_grpo(options: GrpoOptions, amount: float) -> Estimate:
    """`amount` is the model's parameters; an answer ends at a quarter of `max_tokens`, sampled and learned."""
    tokens = options.steps * options.prompts * options.samples * options.max_tokens / 4
    return _trained(8 * tokens * amount, amount)


def estimate_dpo(options: DpoOptions, amount: float) -> Estimate:
    """`amount` is the model's parameters; as if for 5,000 pairs of 200 tokens a side."""
    return _estimate_preference(options, amount)


def estimate_kto(options: KtoOptions, amount: float) -> Estimate:
    """`amount` is the model's parameters; as if for 5,000 answers of 200 tokens, each read behind another prompt too."""
    return _estimate_preference(options, amount)


def estimate_reward(options: RewardOptions, amount: float) -> Estimate:
    """`amount` is the model's parameters; as if for 5,000 pairs of 200 tokens a side."""
    return _estimate_preference(options, amount)


def _estimate_preference(options: PreferenceOptions, amount: float) -> Estimate:
    rows = options.steps * options.batch if options.steps else options.epochs * 5_000
    return _trained(8 * rows * 2 * 200 * amount, amount)


def _trained(operations: float, parameters: float) -> Estimate:
    """At 25 GFLOP/s a core, as measured on packed rows, 20 s to begin and end; weights, optimizer on disk."""
    from ropewalk.runtime.machine import cores

    return Estimate(20 + operations / (25e9 * cores()), disk_bytes=5.0 * 4 * parameters, amount=parameters)
