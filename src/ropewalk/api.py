"""Every verb of the command line as a function: the same options, artifacts, and sentences when something is wrong.

    import ropewalk

    corpus = ropewalk.api.corpus("runs/mine/corpus", pages=Path("runs/mine/pages"), rules="fineweb")
    print(corpus.facts["documents"])

A function is named as its verb, with `_` for a space (and `import_`: `import` is a word of Python's). Its keywords are the
verb's flags with `_` for `-`, the fields of the options class given below: editors and pyright know them, `ropewalk VERB
--help` explains them. What makes an artifact takes its folder first and returns it; it skips, carries on and refuses
as the command line does; a room's own `run` has `force` too. Verbs that look at something print it. Text will do for a path,
though its type is Path.

What a user can mend is raised as a `RopewalkError`; its subclasses are in `ropewalk.runtime.errors`. The functions are no
names of the package itself because `ropewalk.corpus` and others are rooms. `corpus` and `ablate` start processes, which
import the script that calls them: let it do its work under `if __name__ == "__main__":`.
"""

from __future__ import annotations

from ropewalk.artifact import Artifact, open_artifact
from ropewalk.atlas import AtlasOptions
from ropewalk.cli.completion import CompletionOptions
from ropewalk.cli.functions import stage_function, verb_function
from ropewalk.cli.init import InitOptions
from ropewalk.cli.lineage import LineageOptions
from ropewalk.cli.run import RunOptions
from ropewalk.cli.show import ShowOptions, VerifyOptions
from ropewalk.corpus import ClassifierOptions, CorpusOptions
from ropewalk.corpus.plan import PlanOptions
from ropewalk.corpus.why import WhyOptions
from ropewalk.crawl import CrawlOptions
from ropewalk.engine import GenerateOptions
from ropewalk.evaluate import (
    AblateOptions,
    BenchmarkOptions,
    ConductOptions,
    EvalOptions,
    ReportOptions,
    SweepOptions,
    TasksOptions,
)
from ropewalk.model import ImportOptions
from ropewalk.model.gguf_out import ExportOptions
from ropewalk.posttrain import (
    DpoOptions,
    GateOptions,
    GrpoOptions,
    IdentityOptions,
    KtoOptions,
    PpoOptions,
    ProbeOptions,
    RewardOptions,
    SftOptions,
)
from ropewalk.pretrain import PretrainOptions
from ropewalk.pretrain.size import SizeOptions
from ropewalk.runtime.doctor import DoctorOptions
from ropewalk.runtime.errors import RopewalkError
from ropewalk.serve import (
    AddKeyOptions,
    ChatOptions,
    ExportFeedbackOptions,
    LeaderboardOptions,
    ListKeysOptions,
    RemoveKeyOptions,
    ServeOptions,
)
from ropewalk.tokenizer import TokenizeOptions, TokenizerOptions
from ropewalk.trace import IndexOptions
from ropewalk.trace.trace import TraceOptions

__all__ = [
    "Artifact",
    "RopewalkError",
    "ablate",
    "atlas",
    "benchmark",
    "chat",
    "classifier",
    "completion",
    "conduct",
    "corpus",
    "crawl",
    "doctor",
    "dpo",
    "eval",
    "export",
    "feedback_export",
    "feedback_leaderboard",
    "gate",
    "generate",
    "grpo",
    "identity",
    "import_",
    "index",
    "init",
    "keys_add",
    "keys_list",
    "keys_remove",
    "kto",
    "lineage",
    "open_artifact",
    "plan",
    "ppo",
    "pretrain",
    "probe",
    "report",
    "reward",
    "run",
    "serve",
    "sft",
    "show",
    "size",
    "sweep",
    "tasks",
    "tokenize",
    "tokenizer",
    "trace",
    "verify",
    "why",
]

atlas = stage_function("atlas", AtlasOptions)
crawl = stage_function("crawl", CrawlOptions)
classifier = stage_function("classifier", ClassifierOptions)
corpus = stage_function("corpus", CorpusOptions)
tokenizer = stage_function("tokenizer", TokenizerOptions)
tokenize = stage_function("tokenize", TokenizeOptions)
tasks = stage_function("tasks", TasksOptions)
pretrain = stage_function("pretrain", PretrainOptions)
sft = stage_function("sft", SftOptions)
grpo = stage_function("grpo", GrpoOptions)
ppo = stage_function("ppo", PpoOptions)
dpo = stage_function("dpo", DpoOptions)
kto = stage_function("kto", KtoOptions)
reward = stage_function("reward", RewardOptions)
probe = stage_function("probe", ProbeOptions)
gate = stage_function("gate", GateOptions)
identity = stage_function("identity", IdentityOptions)
index = stage_function("index", IndexOptions)
eval = stage_function("eval", EvalOptions)  # noqa: A001
benchmark = stage_function("benchmark", BenchmarkOptions)
conduct = stage_function("conduct", ConductOptions)
report = stage_function("report", ReportOptions)
ablate = stage_function("ablate", AblateOptions)
sweep = stage_function("sweep", SweepOptions)
import_ = stage_function("import", ImportOptions)
export = verb_function("export", ExportOptions)
generate = verb_function("generate", GenerateOptions)
chat = verb_function("chat", ChatOptions)
serve = verb_function("serve", ServeOptions)
keys_add = verb_function("keys add", AddKeyOptions)
keys_list = verb_function("keys list", ListKeysOptions)
keys_remove = verb_function("keys remove", RemoveKeyOptions)
feedback_export = stage_function("feedback export", ExportFeedbackOptions)
feedback_leaderboard = verb_function("feedback leaderboard", LeaderboardOptions)
init = verb_function("init", InitOptions)
run = verb_function("run", RunOptions)
show = verb_function("show", ShowOptions)
verify = verb_function("verify", VerifyOptions)
why = verb_function("why", WhyOptions)
plan = verb_function("plan", PlanOptions)
size = verb_function("size", SizeOptions)
trace = verb_function("trace", TraceOptions)
lineage = verb_function("lineage", LineageOptions)
completion = verb_function("completion", CompletionOptions)
doctor = verb_function("doctor", DoctorOptions)
