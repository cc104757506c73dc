"""Where people and programs meet the model: the terminal, an API as OpenAI's, and a chat page.

    ropewalk chat --model runs/docs/model
    ropewalk serve --models runs/docs/model --index runs/docs/index

terminal        `ropewalk chat`
conversation    messages to a prompt, for both; what is left out when the context is full
conversations   the file in which the page's conversations are kept, as trees of messages
chats           their routes
chat_export     one of them as JSONL and as Markdown
markdown        an answer's Markdown as a tree of elements
doing           programs and calls of tools that a person lets happen
sqlite_file     how that file and the one of feedback are opened and written
server          `ropewalk serve`: the port, the models, the end
models          what is served, and whether an index belongs to it
runner          the thread that owns an engine
metrics         what Prometheus may know
app             the routes
bodies          what clients may send
replies         tokens in OpenAI's words
feedback        the file in which judgements of answers are kept
judging         which answers may be judged, and their way into that file
exporting       `ropewalk feedback export`: that file as pairs and judged answers to train on
leaderboard     `ropewalk feedback leaderboard`: how strong the models are, from that file's choices
tools           functions of the client's that a model may ask for
tokenizing      texts to ids and back, in vLLM's words
tracing         an answer's passages and evidence
training_page   a page as it was read
looking         the routes of the pages that look inside
inside          lineage, funnel, training and reports, from the artifacts behind a model
branches        the tokens that may come next
lab             facts changed, and the model trained anew
upstream        models that another server runs
waiting         work for a client, for as long as it is there
templates       pages that are filled in
keys            `ropewalk keys`: who may ask, and how often
guard           hosts, keys, roles, rates, sizes, security headers
administration  the routes for admins
faults          errors in OpenAI's form
page/           the chat page: our own HTML, CSS and JavaScript
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt
from tyro.conf import FlagCreatePairsOff

from ropewalk.artifact import Artifact
from ropewalk.config import Estimate, Input, Stage
from ropewalk.model import Compile, Precision

Role = Literal["admin", "user"]

FEEDBACK = Stage("feedback export", "feedback", version=1)


@dataclass(frozen=True)
class ChatOptions:
    """Talk to a model in the terminal."""

    model: Path
    """The model: an artifact or a Hugging Face folder."""
    adapter: Path | None = None
    """A LoRA adapter to speak through, as `runs/tiny/sft/adapter`: a folder in PEFT's format."""
    precision: Precision = "auto"
    """In what the model computes: float32, or bfloat16 on a GPU; bfloat16 and int8 (CPU) are faster and nearly the same."""
    compile: Compile = "auto"
    """auto takes tokens through compiled loops on a CPU (float32 and int8; 20 s to compile, once on a machine), and through
    CUDA graphs on a GPU; off goes operation by operation. The last bits differ."""
    guess_tokens: Annotated[int, Ge(0)] = 0
    """Tokens to guess from what a text repeats, checked in one pass; no text changes, and few at once come faster."""
    system: str = ""
    """A system message for the model to follow, if it was taught to."""
    max_tokens: Annotated[int, Gt(0)] = 300
    """Most tokens an answer may have."""
    temperature: Annotated[float, Ge(0)] = 0.7
    """0 always takes the most probable token; 1 samples the model's own distribution."""
    top_k: Annotated[int, Ge(0)] = 0
    """Sample among the k most probable tokens only; 0 for all."""
    top_p: Annotated[float, Gt(0), Le(1)] = 0.95
    """Sample among the most probable tokens that together reach this probability."""
    seed: Annotated[int, Ge(0)] = 0
    """The same seed and the same words give the same answers."""
    tools: tuple[Literal["calculator", "python", "search"], ...] = ()
    """Tools that the model is told of and may call; each call is shown with what came of it."""
    tool_rounds: Annotated[int, Gt(0)] = 3
    """How often an answer may go on after results of tools."""
    index: Path | None = None
    """The index that the tool `search` looks into."""


@dataclass(frozen=True)
class ServeOptions:
    """Serve models over HTTP: OpenAI's API, and a chat page that leads from answers to training pages."""

    models: tuple[Path, ...] = ()
    """The models: artifacts or Hugging Face folders. The first is the page's choice."""
    adapters: tuple[str, ...] = ()
    """LoRA adapters of the first model, each as NAME=FOLDER, a folder in PEFT's format: a model of that name in the API."""
    upstream: str = ""
    """A server of OpenAI's API whose models to serve too, as in http://127.0.0.1:8001/v1; OPENAI_API_KEY is its key."""
    upstream_folders: dict[str, Path] = field(default_factory=dict)
    """Which of its models are models of ours, by name and folder, so that their answers can be traced: you are believed."""
    upstream_seconds: Annotated[int, Gt(0)] = 120
    """Longest silence of that server before its answer is given up."""
    index: Path | None = None
    """The index of their training pages; models that were not trained on these pages cannot be traced."""
    host: str = "127.0.0.1"
    """Address to listen on. One that other machines can reach needs keys."""
    port: Annotated[int, Ge(0), Le(65_535)] = 8000
    """Port to listen on; 0 takes any that is free."""
    keys: Path | None = None
    """A file of `ropewalk keys add`: clients must send one of its keys as 'Authorization: Bearer KEY'. Without it nothing is
    asked for, and only this machine can be served."""
    starters: tuple[str, ...] = ()
    """Questions that the chat page offers to begin with."""
    runs: tuple[Path, ...] = ()
    """Folders of artifacts to look into, as recipes make them: training that goes on in one can be watched, reports read."""
    lab: Path | None = None
    """A folder in which people may retrain the first model from the page, with changed facts: minutes of both cores each."""
    lab_recipe: Path | None = None
    """The recipe that made this model, from its Atlas on: what is run anew."""
    chats: Path | None = None
    """A file (SQLite) to keep the page's conversations in; without it the server's memory has them until it ends."""
    feedback: Path | None = None
    """A file (SQLite) to keep what people say of answers in, with the conversations; without it nothing is kept."""
    run_code: FlagCreatePairsOff[bool] = False
    """Let people run the Python programs of answers, in the sandbox; the page asks before each."""
    slots: Annotated[int, Gt(0)] = 8
    """Texts that a model writes at once."""
    precision: Precision = "auto"
    """In what the model computes: float32, or bfloat16 on a GPU; bfloat16 and int8 (CPU) are faster and nearly the same."""
    compile: Compile = "auto"
    """auto takes tokens through compiled loops on a CPU (float32 and int8; 20 s to compile, once on a machine), and through
    CUDA graphs on a GPU; off goes operation by operation. The last bits differ."""
    guess_tokens: Annotated[int, Ge(0)] = 0
    """Tokens to guess from what a text repeats, checked in one pass; no text changes, and few at once come faster."""
    queue: Annotated[int, Ge(0)] = 32
    """Texts that may wait for a slot of a model; more are refused with status 429."""
    most_tokens: Annotated[int, Ge(0)] = 0
    """Most tokens that one text may have; 0 for what the model's context leaves."""
    drain_seconds: Annotated[int, Ge(0)] = 30
    """How long answers under way may take after Ctrl-C or SIGTERM; a second Ctrl-C ends them."""


@dataclass(frozen=True, kw_only=True)
class ExportFeedbackOptions:
    """Write what people said of answers as the files that `dpo`, `reward` and `kto` read: preferences.jsonl and
    thumbs.jsonl, and beside them preferences-held-out.jsonl and thumbs-held-out.jsonl."""

    store: Annotated[Path, Input()]
    """The file that `ropewalk serve --feedback` writes; a server may go on writing it."""
    held_out_fraction: Annotated[float, Ge(0), Lt(1)] = 0.1
    """Fraction of the conversations to hold out, chosen by the hash of how they begin."""


@dataclass(frozen=True, kw_only=True)
class LeaderboardOptions:
    """Rank models by which of two answers people preferred."""

    store: Path
    """The file that `ropewalk serve --feedback` writes; a server may go on writing it."""
    rounds: Annotated[int, Ge(100)] = 1000
    """Samples of the comparisons that the intervals are made of."""
    seed: Annotated[int, Ge(0)] = 0
    """Decides which samples."""


@dataclass(frozen=True, kw_only=True)
class AddKeyOptions:
    """Make a key for somebody to ask a server with, and print it, this once."""

    keys: Path
    """The file of keys, which is begun if it is not there. It holds hashes, not keys; a server notices that it grew."""
    name: str
    """Whose key it is."""
    role: Role = "user"
    """What it opens: the API and the page, or for an admin also /metrics and /v1/admin/ (reload, feedback)."""
    requests_per_minute: Annotated[int, Ge(0)] = 120
    """How often it may be used; 0 for no limit. A client that is too fast gets status 429 and is told how long to wait."""


@dataclass(frozen=True, kw_only=True)
class ListKeysOptions:
    """Print whose keys a server takes, and what they open."""

    keys: Path
    """The file of keys."""


@dataclass(frozen=True, kw_only=True)
class RemoveKeyOptions:
    """Let a key open nothing any more, in a server that runs too."""

    keys: Path
    """The file of keys."""
    name: str
    """Whose key it is."""


def run_serve(options: ServeOptions) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Raises:
        OptionError: an address that other machines can reach, without keys.
        MachineError: the port is in use.
        InputError, ArtifactError: no model or index there, or a damaged one.
    """
    from ropewalk.serve.server import serve

    serve(options)


def run_chat(options: ChatOptions) -> None:
    """Hold a conversation on stdin and stdout until end of input or `/exit`.

    Raises:
        InputError, ArtifactError: no model or index there, or a damaged one.
        OptionError: tools for a model that was taught no conversations, or `search` without an index.
    """
    from ropewalk.serve.terminal import chat

    chat(options)


def run_export_feedback(options: ExportFeedbackOptions, *, out: Path, force: bool = False) -> Artifact:
    """Write the files into the artifact `out`.

    Raises:
        ArtifactError: what stands at `out` differs. InputError: no store there, or none of ours.
    """
    from ropewalk.serve.exporting import export_feedback

    return export_feedback(options, out=out, force=force)


def estimate_export_feedback(options: ExportFeedbackOptions, amount: float) -> Estimate:
    """Seconds; as if for 5,000 judgements of 200 tokens a side."""
    return Estimate(seconds=2, disk_bytes=1e7)


def run_leaderboard(options: LeaderboardOptions) -> None:
    """Print the models, best first.

    Raises:
        InputError: no store there, or nothing in it that compares two models.
    """
    from ropewalk.serve.leaderboard import print_leaderboard

    print_leaderboard(options)


def run_add_key(options: AddKeyOptions) -> None:
    """Make a key and print it.

    Raises:
        OptionError: the name is taken. InputError: the file is none of keys. MachineError: it cannot be written.
    """
    from ropewalk.serve.keys import print_new_key

    print_new_key(options)


def run_list_keys(options: ListKeysOptions) -> None:
    """Print the keys' names, roles and rates.

    Raises:
        InputError: the file is none of keys.
    """
    from ropewalk.serve.keys import print_keys

    print_keys(options)


def run_remove_key(options: RemoveKeyOptions) -> None:
    """Remove a key.

    Raises:
        OptionError: there is none of that name. InputError: the file is none of keys.
    """
    from ropewalk.serve.keys import remove_key

    remove_key(options)
