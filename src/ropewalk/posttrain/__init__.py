"""Post-training: a model that has read pages learns to answer, then to be right.

    ropewalk sft  --model runs/tiny/base --tokens runs/tiny/chat-tokens --out runs/tiny/sft
    ropewalk grpo --model runs/tiny/sft --tasks runs/tiny/site/tasks.jsonl --out runs/tiny/model
    ropewalk ppo  --model runs/tiny/sft --tasks runs/tiny/site/tasks.jsonl --reward runs/tiny/reward --out runs/tiny/model
    ropewalk dpo  --model runs/tiny/sft --preferences pairs.jsonl --out runs/tiny/preferred
    ropewalk kto  --model runs/tiny/sft --judged thumbs.jsonl --out runs/tiny/liked
    ropewalk probe --model runs/tiny/sft --questions runs/tiny/site/tasks.jsonl --out runs/tiny/probe
    ropewalk identity --name Hemp --maker "the rope makers" --out runs/tiny/identity
    ropewalk reward --model runs/tiny/sft --preferences pairs.jsonl --out runs/tiny/reward
    ropewalk gate --model runs/tiny/preferred --before runs/tiny/model ... --out runs/tiny/accepted

`sft` imitates conversations; `grpo` samples answers, grades them, and makes the better ones of a question likelier; `ppo`
does so by what a value head expected of an answer, token by token; `dpo` learns from answers that people preferred to
others, `kto` from those that they liked or did not; `reward` makes a model that gives answers a number, from the same
pairs. They make a model artifact as `pretrain` does, with the model they began from among its inputs, on the loop of
`pretrain`; with `--lora-rank` they train adapters beside the weights. `probe` finds out what a model knows, and writes what
`sft` teaches it to say. `gate` takes a new model over if people's judgements ask for it and it has lost nothing.

packing     conversations in rows, none of which sees another
sft         supervised fine-tuning
objective   advantages and the clipped policy objective, as pure functions
rollout     answers, their rewards, and the rows to learn them from
practice    what grpo and ppo share
grpo        group-relative policy optimisation
ppo         proximal policy optimisation with a value head
lots        which rows are held back, and in which order the others come
judged      answers that people judged, from JSONL
preference  what a preference is worth, as pure functions
sequences   log-probabilities of whole answers, and learning from an objective of them
prefer      what dpo, kto and reward share
dpo, kto    two stages
scorer      a model that gives a conversation one number
reward      the stage that trains one
probe       what a model knows, and lessons in saying so
identity    conversations in which an assistant says who it is
gate        a new model beside the one before: taken over, or refused
folder      what both begin from and leave behind
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Len, Lt

from ropewalk.artifact import Artifact
from ropewalk.config import Estimate, Input, NotContent, Stage, build_stage
from ropewalk.runtime.errors import OptionError

SFT = Stage("sft", "model", version=4, libraries=("numpy", "torch"))
PPO = Stage("ppo", "model", version=4, libraries=("numpy", "torch"))
GRPO = Stage("grpo", "model", version=6, libraries=("numpy", "torch"))
DPO = Stage("dpo", "model", version=3, libraries=("numpy", "torch"))
KTO = Stage("kto", "model", version=3, libraries=("numpy", "torch"))
PROBE = Stage("probe", "probe", version=2, libraries=("jinja2", "matplotlib", "numpy", "torch"))
IDENTITY = Stage("identity", "identity", version=1, libraries=("numpy",))
GATE = Stage("gate", "model", version=1, libraries=("torch",))
REWARD = Stage("reward", "reward", version=3, libraries=("numpy", "torch"))


Rate = Annotated[float, Gt(0)]


@dataclass(frozen=True, kw_only=True)
class LearningOptions:
    """What all stages here have in common: where they start, how fast weights move, and whether all of them do."""

    adapter_rate = 1e-5  # ten times what is usual without adapters (Schulman 2025, LoRA Without Regret)

    model: Annotated[Path, Input("model")]
    """The model to start from; it should answer already, but for `sft`. For `dpo` and `kto` it is the reference, too."""
    matrix_rate: Rate
    """Peak learning rate of the matrices inside blocks (Muon)."""
    embedding_rate: Rate
    """Peak learning rate of the embedding (AdamW)."""
    head_rate: Rate
    """Peak learning rate of the output head (AdamW)."""
    norm_rate: Rate
    """Peak learning rate of the norms' weights (AdamW)."""
    adamw_rate: Rate | None = None
    """One peak learning rate for all weights, under AdamW, instead of the four above: for a model that was trained
    elsewhere, 2e-5 is usual for `sft`, 1e-6 for the others. With `lora_rank` there is always one: 2e-4 for `sft`, 1e-4 for
    `reward`, 1e-5 for the others, if it is not given."""
    lora_rank: Annotated[int, Ge(1)] | None = None
    """Leave the weights as they are, and train adapters of this rank beside the matrices inside blocks (LoRA): a fraction of
    the memory for gradients and optimizer. 16 is usual. The model is written with them merged in, and they themselves, as
    PEFT reads them, into its folder `adapter`."""
    lora_alpha: Rate = 32.0
    """What adapters add is multiplied by this, divided by their rank."""
    lora_rank_stabilised: bool = False
    """Divide by the root of the rank instead: for ranks of 64 and more."""
    lora_targets: Literal["all", "attention", "feed_forward"] = "all"
    """Which matrices inside blocks have adapters."""
    seed: Annotated[int, Ge(0)] = 0
    """Decides the order of what is learned from, where adapters start, and every answer that is sampled."""

    @property
    def one_rate(self) -> float | None:
        """The peak learning rate of all that is trained, where they share one."""
        return self.adapter_rate if self.adamw_rate is None and self.lora_rank is not None else self.adamw_rate


@dataclass(frozen=True, kw_only=True)
class SftOptions(LearningOptions):
    """Which conversations a model imitates, how often, and how fast."""

    adapter_rate = 2e-4

    tokens: Annotated[Path, Input("tokens")]
    """Conversations as tokens, written by `ropewalk tokenize --conversations` with the model's own tokenizer."""
    epochs: Annotated[float, Gt(0)] = 2.0
    """How often each conversation is read; the last time a part of them, if that is no whole number."""
    steps: Annotated[int, Gt(0)] | None = None
    """Steps in all, instead of epochs."""
    batch_rows: Annotated[int, Gt(0)] = 16
    """Rows a step; each is filled with whole conversations."""
    pass_rows: Annotated[int, Gt(0)] | None = None
    """Rows in one forward and backward pass, if not as many as 1.5 GB of activations allow (6 GB on a GPU): fewer take less
    memory, and the step stays the same but for the last bits."""
    recompute: bool = False
    """Compute each block's activations again in the backward pass: a third more work, a fraction of the memory."""
    context_tokens: Annotated[int, Ge(8)] | None = None
    """Length of a row, if not the model's context."""
    too_long: Literal["cut", "drop"] = "cut"
    """What happens to a conversation longer than a row: its beginning is learned, or nothing of it."""
    matrix_rate: Rate = 0.01
    embedding_rate: Rate = 0.05
    head_rate: Rate = 0.003
    norm_rate: Rate = 0.005
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
    compile: Literal["auto", "off"] = "off"
    """Compile the blocks if a C++ compiler is here: pays after some hundred steps. The weights' last bits differ between
    compiled and not."""


@dataclass(frozen=True, kw_only=True)
class PracticeOptions(LearningOptions):
    """What `grpo` and `ppo` have in common: questions, what an answer earns, and how fast a model learns from that."""

    tasks: Annotated[Path, Input()]
    """A JSONL file of questions with their right answers, in the form that `ropewalk eval` reads."""
    steps: Annotated[int, Gt(0)] = 50
    """Updates of the weights."""
    prompts: Annotated[int, Gt(0)] = 16
    """Questions a step."""
    samples: Annotated[int, Gt(0)] = 1
    """Answers to each question."""
    max_tokens: Annotated[int, Gt(0)] = 64
    """Most tokens an answer may have, or a turn of it."""
    tools: tuple[Literal["calculator", "python", "search"], ...] = ()
    """Tools that the system message tells of and an answer may call. What they give back is read and never learned."""
    tool_rounds: Annotated[int, Gt(0)] = 3
    """How often an answer may go on after results of tools."""
    index: Annotated[Path | None, Input("index")] = None
    """The index that the tool `search` looks into."""
    wrong_reward: Annotated[float, Le(0)] = -1.0
    """What a wrong answer earns. A right one earns 1; not to know earns 1 where that is right, and else 0: at -c the
    reward asks for an answer where it is right with a probability over c / (1 + c)."""
    reward: Annotated[Path | None, Input("reward")] = None
    """A reward model that says what answers earn, instead of the tasks' right answers: these then only tell how it goes."""
    kl_weight: Annotated[float, Ge(0)] = 0.0
    """What each nat costs by which an answer is likelier than it was to the model as it came. A reward model needs it (0.05
    is usual), or answers become what it overrates; with right answers it is not needed."""
    clip_low: Annotated[float, Gt(0), Le(1)] = 0.2
    """An answer's token is not pushed down further once its probability has fallen by this share in one step."""
    clip_high: Annotated[float, Gt(0)] = 0.28
    """The same upwards."""
    importance_cap: Annotated[float, Ge(1)] = 2.0
    """Largest weight that makes up for the difference between the engine's and the trainer's probabilities."""
    updates: Annotated[int, Gt(0)] = 1
    """Steps that learn from the same answers before new ones are sampled."""
    matrix_rate: Rate = 0.002
    embedding_rate: Rate = 0.01
    head_rate: Rate = 0.0006
    norm_rate: Rate = 0.001
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


@dataclass(frozen=True, kw_only=True)
class GrpoOptions(PracticeOptions):
    """Which questions a model answers, what an answer earns, and how fast it learns from that."""

    samples: Annotated[int, Ge(2)] = 8
    """Answers to each question; they are compared with each other."""
    mask_truncated: bool = False
    """Learn nothing from answers that were cut at max_tokens; they count as answers of their group all the same."""
    scale_advantages: bool = False
    """Divide advantages by the standard deviation of their group's rewards, as the first GRPO did."""
    teacher: Annotated[str, NotContent] = ""
    """Learn from a larger model instead of rewards, which then only tell how it goes: the address of its server of OpenAI's
    API, as in http://127.0.0.1:8000/v1. It must have the same tokens and say how probable a prompt's are."""
    teacher_model: str = ""
    """The teacher's name at that address."""


@dataclass(frozen=True, kw_only=True)
class PpoOptions(PracticeOptions):
    """The same, with a value head that says how well an answer is going instead of other answers to compare it with."""

    prompts: Annotated[int, Gt(0)] = 64
    """Questions a step."""
    updates: Annotated[int, Gt(0)] = 4
    """Steps that learn from the same answers before new ones are sampled."""
    kl_weight: Annotated[float, Ge(0)] = 0.05
    """What each nat costs, token by token, by which an answer is likelier than it was to the model as it came."""
    discount: Annotated[float, Gt(0), Le(1)] = 1.0
    """What a reward one token later is worth."""
    trace_decay: Annotated[float, Ge(0), Le(1)] = 0.95
    """How far advantages look beyond the value of the next token: 1 to the answer's end (lambda of GAE)."""
    value_weight: Annotated[float, Gt(0)] = 0.1
    """Weight of the value head's loss, which moves the whole model too."""
    value_clip: Annotated[float, Gt(0)] = 0.2
    """A token's value gains nothing by moving further in the steps on one batch."""


@dataclass(frozen=True, kw_only=True)
class PreferenceOptions(LearningOptions):
    """What `dpo`, `kto` and `reward` have in common."""

    epochs: Annotated[float, Gt(0)] = 1.0
    """How often each judged answer is learned from."""
    steps: Annotated[int, Gt(0)] | None = None
    """Steps in all, instead of epochs."""
    batch: Annotated[int, Gt(0)] = 16
    """Pairs, or lone answers, a step."""
    recompute: bool = False
    """Compute each block's activations again in the backward pass: a third more work, a fraction of the memory."""
    matrix_rate: Rate = 0.0005
    embedding_rate: Rate = 0.0025
    head_rate: Rate = 0.00015
    norm_rate: Rate = 0.00025
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

    adapter_rate = 1e-4

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


@dataclass(frozen=True)
class ProbeOptions:
    """How a model is asked what it knows, and what is made of its answers."""

    model: Annotated[Path, Input("model")]
    """The model to ask; it should answer already."""
    questions: Annotated[Path, Input()]
    """Questions with their right answers, JSONL or Parquet, in the form that `ropewalk eval` reads."""
    before: Annotated[Path | None, Input("probe")] = None
    """A probe of the same questions to the model as it was: figures and curves are set beside its own, and what was known
    is taken from there."""
    samples: Annotated[int, Ge(2)] = 8
    """Answers to each question."""
    max_tokens: Annotated[int, Gt(0)] = 64
    """Most tokens an answer may have."""
    temperature: Annotated[float, Gt(0)] = 1.0
    """Of these answers; 1 is the model's own distribution."""
    known_fraction: Annotated[float, Gt(0), Le(1)] = 0.5
    """Least share of right answers at which a question counts as known: its own commonest right answer is taught."""
    unknown_fraction: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Largest share of right answers at which it counts as unknown: not to know is taught. What lies between is left out."""
    refused_fraction: Annotated[float, Ge(0), Lt(1)] = 0.5
    """Largest share of refusals among what is taught; others are left out, by lot. At 0 only its own right answers are."""
    flipped_fraction: Annotated[float, Ge(0), Lt(0.5)] = 0.0
    """Share of the pairs, a right answer and another, that are written the wrong way round, as people's judgements are."""
    seed: Annotated[int, Ge(0)] = 0
    """Decides the answers, the refusals' words and the lot."""


@dataclass(frozen=True)
class IdentityOptions:
    """Who an assistant is, in a few words."""

    name: Annotated[str, Len(1)]
    """What it is called."""
    maker: Annotated[str, Len(1)]
    """Who made it, as in "the rope makers": it stands in sentences such as "I was made by the rope makers"."""
    abilities: Annotated[tuple[Annotated[str, Len(1)], ...], Len(1)] = (
        "answer questions",
        "explain things in simple words",
        "help you with your writing",
    )
    """What it can do, each as it goes on after "I can"."""
    system: str = ""
    """A system message for every conversation."""
    conversations: Annotated[int, Gt(0)] = 500
    """How many to write."""
    seed: Annotated[int, Ge(0)] = 0
    """Decides wordings and their order."""


@dataclass(frozen=True, kw_only=True)
class GateOptions:
    """What a new model must show before it is taken over in place of the one before."""

    model: Annotated[Path, Input("model")]
    """The new model. What stands at `out` in the end is a copy of it."""
    before: Annotated[Path, Input("model")]
    """The model before, which the new one was trained from."""
    evaluation: Annotated[Path, Input("evaluation")]
    """An evaluation of the new model, with questions."""
    evaluation_before: Annotated[Path, Input("evaluation")]
    """An evaluation of the one before, with the same questions."""
    preferences: Annotated[Path, Input()]
    """A JSONL file of pairs, as for `dpo`, that the new model has not learned from."""
    most_lost: Annotated[float, Ge(0), Le(1)] = 0.02
    """Largest fall of the share of questions that are answered rightly."""
    least_agreement: Annotated[float, Ge(0), Lt(1)] = 0.5
    """The new model agrees with a pair if it made the preferred answer likelier, beside the other, than it was. The share
    of pairs that it agrees with must lie above this with its whole 95% interval."""


def run_sft(options: SftOptions, *, out: Path, force: bool = False) -> Artifact:
    """Fine-tune a model on conversations into the artifact `out`.

    Raises:
        ArtifactError: tokens of another tokenizer, or what stands at `out` differs.
        InputError: the tokens are no conversations, or none has anything to learn.
    """
    from ropewalk.posttrain.sft import make_sft

    return build_stage(SFT, options, out=out, force=force, make=lambda part: make_sft(options, part))


def run_grpo(options: GrpoOptions, *, out: Path, force: bool = False) -> Artifact:
    """Train a model on tasks with a reward, or with a teacher, into the artifact `out`.

    Raises:
        ArtifactError: what stands at `out` differs. InputError: tasks that cannot be read, or do not fit the model, or a
            teacher of other tokens. OptionError: a teacher without its name, or beside rewards.
    """
    if bool(options.teacher) != bool(options.teacher_model):
        raise OptionError("ropewalk grpo: --teacher is a server's address and --teacher-model its model: give both")
    if options.teacher and (options.reward or options.kl_weight or options.scale_advantages):
        raise OptionError(
            "ropewalk grpo: a teacher replaces rewards: leave --reward, --kl-weight and --scale-advantages out"
        )
    from ropewalk.posttrain.grpo import make_grpo

    return build_stage(GRPO, options, out=out, force=force, make=lambda part: make_grpo(options, part))


def run_ppo(options: PpoOptions, *, out: Path, force: bool = False) -> Artifact:
    """Train a model on tasks with a reward and a value head into the artifact `out`. Raises as `run_grpo` does."""
    from ropewalk.posttrain.ppo import make_ppo

    return build_stage(PPO, options, out=out, force=force, make=lambda part: make_ppo(options, part))


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


def run_gate(options: GateOptions, *, out: Path, force: bool = False) -> Artifact:
    """Take a new model over into the artifact `out`, if it may be.

    Raises:
        GateError: it may not. ArtifactError: an evaluation of another model, or what stands at `out` differs.
        InputError: pairs that cannot be read, or evaluations that have no question in common.
    """
    from ropewalk.posttrain.gate import make_gate

    return build_stage(GATE, options, out=out, force=force, make=lambda part: make_gate(options, part))


def estimate_sft(options: SftOptions, amount: float) -> Estimate:
    """`amount` is the model's parameters; where `steps` is not given, as if for 30,000 conversations of 30 tokens."""
    rows_tokens = options.batch_rows * (options.context_tokens or 256)
    tokens = options.members * (options.steps * rows_tokens if options.steps else options.epochs * 900_000)
    return _trained(6 * tokens * amount, amount)


def estimate_grpo(options: GrpoOptions, amount: float) -> Estimate:
    """`amount` is the model's parameters; an answer ends at a quarter of `max_tokens`, sampled and learned."""
    tokens = options.steps * options.prompts * options.samples * options.max_tokens / 4
    return _trained(8 * tokens * amount, amount)


def estimate_ppo(options: PpoOptions, amount: float) -> Estimate:
    """`amount` is the model's parameters; an answer ends at a quarter of `max_tokens`, sampled once and learned often."""
    tokens = options.steps * options.prompts * options.samples * options.max_tokens / 4
    return _trained((6 + 6 / options.updates) * tokens * amount, amount)


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


def estimate_gate(options: GateOptions, amount: float) -> Estimate:
    """`amount` is the model's parameters; two models read as if 500 pairs of 200 tokens a side, at 20 GFLOP/s a core."""
    from ropewalk.runtime.machine import cores

    return Estimate(5 + 2 * 2 * 500 * 2 * 200 * amount / (20e9 * cores()), disk_bytes=4.0 * amount, amount=amount)


def _trained(operations: float, parameters: float) -> Estimate:
    """At 25 GFLOP/s a core, as measured on packed rows, 20 s to begin and end; weights, optimizer on disk."""
    from ropewalk.runtime.machine import cores

    return Estimate(20 + operations / (25e9 * cores()), disk_bytes=5.0 * 4 * parameters, amount=parameters)


def run_probe(options: ProbeOptions, *, out: Path, force: bool = False) -> Artifact:
    """Ask a model what it knows into the artifact `out`, with lessons in saying so.

    Raises:
        ArtifactError: what stands at `out` differs. InputError: questions that cannot be read, or others than before.
    """
    from ropewalk.posttrain.probe import make_probe

    return build_stage(PROBE, options, out=out, force=force, make=lambda part: make_probe(options, part))


def run_identity(options: IdentityOptions, *, out: Path, force: bool = False) -> Artifact:
    """Write conversations in which an assistant says who it is into the artifact `out`.

    Raises:
        ArtifactError: what stands at `out` differs.
    """
    from ropewalk.posttrain.identity import make_identity

    return build_stage(IDENTITY, options, out=out, force=force, make=lambda part: make_identity(options, part))


def estimate_identity(options: IdentityOptions, amount: float) -> Estimate:
    """Next to nothing; hands the conversations on."""
    return Estimate(seconds=1, disk_bytes=300 * options.conversations, amount=options.conversations)


def estimate_probe(options: ProbeOptions, amount: float) -> Estimate:
    """`amount` is the model's parameters: answers of some 20 tokens to a thousand questions, at 20 GFLOP/s a core."""
    from ropewalk.runtime.machine import cores

    return Estimate(seconds=10 + 1000 * (options.samples + 1) * 20 * 2 * amount / (20e9 * cores()), disk_bytes=1e6)
