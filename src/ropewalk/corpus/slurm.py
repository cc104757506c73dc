"""The engine "slurm": an array of jobs judges the shards; a job that waits for all of them finishes the corpus.

Everything happens in the folder of the artifact under construction, which the machines must share. The plan in it says what
was handed over and as which jobs. That a rank is done is told by its shards, which have ended, and not by Slurm's accounts:
those may not be kept. One that is not done and has no job is one that failed: it alone is submitted again.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NoReturn

from ropewalk.artifact import Part
from ropewalk.artifact.build import write_atomically
from ropewalk.config import options_from
from ropewalk.config.options import plain
from ropewalk.corpus import CorpusOptions
from ropewalk.corpus.contamination import Evaluation, EvaluationFile
from ropewalk.corpus.machines import versions
from ropewalk.corpus.shards import Shard, Shelf
from ropewalk.runtime.errors import MachineError, OptionError, UnfinishedError
from ropewalk.runtime.progress import say

COMMANDS = ("sbatch", "squeue", "scancel")
COMMAND_SECONDS = 120
LOG_LINES = 12
SHOWN_RANKS = 5  # of the failed ones, with the end of their logs

State = Literal["finished", "running", "waiting", "failed", "new"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What was handed over to Slurm.

    options, evaluation: as JSON values, paths absolute. versions: of what decides the bytes. force: how the stage was
    called. ranks: a rank takes every so-many-th shard. jobs: by rank the job that last took it, such as 12_3. last: the job
    that finishes.
    """

    options: dict[str, Any]
    evaluation: dict[str, Any] | None
    versions: dict[str, str]
    force: bool
    ranks: int
    jobs: dict[str, str]
    last: str = ""

    def load_options(self) -> CorpusOptions:
        return options_from(CorpusOptions, self.options, where="ropewalk corpus")

    def load_evaluation(self) -> Evaluation | None:
        if self.evaluation is None:
            return None
        return Evaluation(Path(self.evaluation["runs"]), tuple(EvaluationFile(**file) for file in self.evaluation["files"]))

    def shards(self, rank: int, shards: Sequence[Shard]) -> Sequence[Shard]:
        return shards[rank :: self.ranks]


def check_slurm(options: CorpusOptions) -> None:
    """Refuse what cannot work, before any work.

    Raises:
        MachineError: Slurm's commands are not here. OptionError: `slurm_options` is no line of options.
    """
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing:
        raise MachineError(f"engine slurm needs {', '.join(missing)}: run this on a machine from which jobs are submitted")
    try:
        shlex.split(options.slurm_options)
    except ValueError as error:
        raise OptionError(f"slurm_options is {options.slurm_options!r} ({error}): quote it as for a shell") from None


def hand_over(
    part: Part, shards: Sequence[Shard], options: CorpusOptions, evaluation: Evaluation | None, *, force: bool
) -> NoReturn:
    """Submit what is not done and not under way, and say how far all is.

    Raises:
        UnfinishedError: always; the last job finishes the corpus. MachineError: Slurm does not answer, or refuses the jobs.
    """
    folder = slurm_folder(part.folder)
    folder.mkdir(parents=True, exist_ok=True)
    plan = load_plan(part.folder) if (folder / "plan.json").is_file() else new_plan(shards, options, evaluation, force=force)
    live = _live_jobs()
    states = _states(plan, shards, Shelf(part.scratch), live)
    _tell(part.folder, states, live.get(plan.last, "none"))
    again = [rank for rank, state in states.items() if state in ("failed", "new")]
    if again:
        plan = _submit_ranks(part.folder, plan, options, again)
    if again or plan.last not in live:
        if plan.last in live:
            _asked(["scancel", plan.last])  # it waits for a job that has failed
        elif plan.last and not again:
            log = _last_log(part.folder)
            say(f"corpus: the job that finishes has ended, and nothing is finished; the end of {log}:\n{_end(log)}")
        awaited = [plan.jobs[str(rank)] for rank, state in states.items() if state != "finished"]
        plan = _submit_last(part.folder, plan, options, awaited)
    said = f"the corpus is in Slurm's hands, and job {plan.last} finishes it"
    raise UnfinishedError(f"{said}: the same command says how far it is")


def _submit_ranks(part: Path, plan: Plan, options: CorpusOptions, ranks: Sequence[int]) -> Plan:
    log = slurm_folder(part) / "rank-%a.log"
    words = ["--job-name=ropewalk-corpus", f"--array={','.join(map(str, ranks))}", f"--output={log}"]
    array = _submit(options, words, _command("judge", part, '--rank "$SLURM_ARRAY_TASK_ID"'))
    plan = replace(plan, jobs=plan.jobs | {str(rank): f"{array}_{rank}" for rank in ranks})
    save_plan(part, plan)
    say(f"corpus: submitted {f'rank {ranks[0]}' if len(ranks) == 1 else f'{len(ranks)} ranks'} as job {array}")
    return plan


def _submit_last(part: Path, plan: Plan, options: CorpusOptions, awaited: Sequence[str]) -> Plan:
    words = ["--job-name=ropewalk-corpus-end", f"--output={_last_log(part)}"]
    if awaited:
        words += [f"--dependency=afterok:{':'.join(awaited)}", "--kill-on-invalid-dep=yes"]
    plan = replace(plan, last=_submit(options, words, _command("finish", part)))
    save_plan(part, plan)
    return plan


def slurm_folder(part: Path) -> Path:
    """Where plan and logs lie."""
    return part / "scratch" / "slurm"


def load_plan(part: Path) -> Plan:
    """The plan that was handed over."""
    return Plan(**json.loads((slurm_folder(part) / "plan.json").read_text(encoding="utf-8")))


def save_plan(part: Path, plan: Plan) -> None:
    """Put the plan where the jobs look for it."""
    write_atomically(slurm_folder(part) / "plan.json", json.dumps(asdict(plan), indent=2))


def new_plan(shards: Sequence[Shard], options: CorpusOptions, evaluation: Evaluation | None, *, force: bool) -> Plan:
    """What is to be handed over, before any job is."""
    searched = None
    if evaluation is not None:
        searched = {"runs": str(evaluation.runs), "files": [asdict(file) for file in evaluation.files]}
    ranks = min(options.slurm_ranks, len(shards))
    return Plan(options=plain(options), evaluation=searched, versions=versions(options), force=force, ranks=ranks, jobs={})


def _live_jobs() -> dict[str, str]:
    """The state of each of this user's jobs that has not ended, such as {"12_3": "RUNNING"}."""
    return parse_jobs(_asked(["squeue", "--me", "--noheader", "--array", "--format=%i|%T"]))


def parse_jobs(listing: str) -> dict[str, str]:
    """Jobs and their states, of a listing with a line such as 12_3|RUNNING for each."""
    return dict(line.split("|", 1) for line in listing.splitlines())


def _states(plan: Plan, shards: Sequence[Shard], shelf: Shelf, live: Mapping[str, str]) -> dict[int, State]:
    ended = shelf.ended(shards)

    def state(rank: int) -> State:
        if all(shard.number in ended for shard in plan.shards(rank, shards)):
            return "finished"
        job = plan.jobs.get(str(rank))
        if job is None:
            return "new"
        if job not in live:
            return "failed"
        return "waiting" if live[job] == "PENDING" else "running"

    return {rank: state(rank) for rank in range(plan.ranks)}


def _tell(part: Path, states: Mapping[int, State], last: str) -> None:
    counts = Counter(states.values())
    names: tuple[State, ...] = ("finished", "running", "waiting", "failed", "new")
    shown = ", ".join(f"{counts[name]} {name}" for name in names if counts[name])
    say(f"corpus: Slurm has {len(states)} ranks: {shown}; the job that finishes: {last.lower()}")
    failed = [rank for rank, state in states.items() if state == "failed"]
    for rank in failed[:SHOWN_RANKS]:
        log = slurm_folder(part) / f"rank-{rank}.log"
        say(f"corpus: rank {rank} failed; the end of {log}:\n{_end(log)}")


def _end(log: Path) -> str:
    if not log.is_file():
        return "    (nothing: it never began)"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
    return "\n".join(f"    {line}" for line in lines) or "    (empty)"


def _last_log(part: Path) -> Path:
    """Outside the part, which is renamed while this log is open."""
    return part.with_name(part.name.removesuffix(".part") + ".slurm.log")


def _command(what: str, part: Path, *shell_words: str) -> str:
    """A line of shell. Slurm gives cores to a job, and not the machine's."""
    words = shlex.join([sys.executable, "-m", "ropewalk.corpus.rank", what, str(part)])
    return " ".join(["exec", words, '--workers "${SLURM_CPUS_PER_TASK:-1}"', *shell_words])


def _submit(options: CorpusOptions, words: Iterable[str], command: str) -> str:
    """Submit a job. Returns its number."""
    asked = [
        "sbatch",
        "--parsable",
        "--open-mode=truncate",
        *words,
        *shlex.split(options.slurm_options),
        f"--wrap={command}",
    ]
    return _asked(asked).strip().partition(";")[0]  # the name of the cluster may stand behind


def _asked(command: Sequence[str]) -> str:
    """What a command of Slurm's answers."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise MachineError(f"{command[0]} gave no answer in {COMMAND_SECONDS} s: look after Slurm, then try again") from None
    if done.returncode:
        why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise MachineError(f"{command[0]} failed ({why}): mend that, or --slurm-options, and give the same command again")
    return done.stdout
