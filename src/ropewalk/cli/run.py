"""`ropewalk run`: the stages of a recipe, one after another, each skipped, carried on or made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, Positional, UseAppendAction, arg

from ropewalk.artifact import Artifact, is_artifact, is_remote, open_artifact
from ropewalk.cli.pages import expected_pages
from ropewalk.cli.show import stored_bytes
from ropewalk.cli.verbs import STAGE_VERBS
from ropewalk.config import Estimate, Recipe, Step, check_kind, given_inputs, load_recipe, look_at_stage
from ropewalk.runtime.errors import OptionError
from ropewalk.runtime.machine import disk_free_bytes
from ropewalk.runtime.progress import clock, say, size


@dataclass(frozen=True)
class RunOptions:
    """Make all artifacts of a recipe, in order. What stands is skipped, what was interrupted carries on."""

    recipe: Positional[Path]
    """The recipe, a TOML file."""
    dry_run: FlagCreatePairsOff[bool] = False
    """Make nothing: print the stages with their state, expected time and disk."""
    from_: Annotated[UseAppendAction[tuple[str, ...]], arg(name="from", metavar="STAGE")] = ()
    """Rebuild this stage of the recipe, by its section's name, and all after it that depend on it."""
    set: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME.KEY=VALUE")] = ()
    """Another value than the recipe's for an option, as in --set tokenizer.vocabulary=8192. May be repeated."""
    into: Path | None = None
    """Another folder for the artifacts than the recipe says."""


@dataclass(frozen=True)
class Plan:
    """A step, what lies at its path, and what it is expected to take."""

    step: Step
    state: str
    estimate: Estimate


def run_recipe(options: RunOptions) -> None:
    """Check the whole recipe, then make its artifacts and print a table of them.

    Raises:
        InputError, OptionError, ArtifactError: before anything is made, where that can be known.
    """
    classes = {name: verb.load_options() for name, verb in STAGE_VERBS.items()}
    recipe = load_recipe(options.recipe, options_classes=classes, overrides=options.set, into=options.into)
    rebuilt = rebuilt_steps(recipe, options.from_)
    _check_kinds(recipe)
    plans = _plan(recipe, rebuilt)
    if options.dry_run:
        _print_plans(plans, recipe.into)
        return
    _warn_of_disk(plans, recipe.into)
    made: list[tuple[Step, Artifact]] = []
    try:
        for number, step in enumerate(recipe.steps, start=1):
            say(f"[{number}/{len(recipe.steps)}] {step.name}: ropewalk {step.verb}")
            artifact = STAGE_VERBS[step.verb].load_run()(step.options, out=step.out, force=step.name in rebuilt)
            made.append((step, artifact))
    except BaseException:
        _say_how_to_carry_on(recipe, rebuilt, done={step.name for step, _ in made})
        raise
    _print_made(made)


def rebuilt_steps(recipe: Recipe, named: Sequence[str]) -> frozenset[str]:
    """The steps that `--from` names, and all that read what those make.

    Raises:
        OptionError: the recipe has no such step.
    """
    names = [step.name for step in recipe.steps]
    for name in named:
        if name not in names:
            raise OptionError(f"--from {name}: the recipe {recipe.path} has no such stage; it has {', '.join(names)}")
    rebuilt = set(named)
    for step in recipe.steps:
        if rebuilt.intersection(step.reads):
            rebuilt.add(step.name)
    return frozenset(rebuilt)


def _check_kinds(recipe: Recipe) -> None:
    """Refuse a step that reads another kind than it can, before hours are spent on what comes first."""
    makes = {step.name: STAGE_VERBS[step.verb].load_stage().kind for step in recipe.steps}
    for step in recipe.steps:
        for field, (mark, path) in given_inputs(step.options).items():
            if mark.kind is None:
                continue
            source = maker(recipe, path)
            if source is None:
                check_kind(path, mark)
            elif not mark.takes(makes[source]):
                raise OptionError(
                    f"{recipe.path} [{step.name}]: {field} = {source!r} is {makes[source]}, but {mark.kind} is needed there"
                )


def maker(recipe: Recipe, path: Path | str | None) -> str | None:
    """The step that makes `path`, or the artifact in which it lies; None where it is the user's own."""
    return next((step.name for step in recipe.steps if path and Path(path).is_relative_to(step.out)), None)


def _plan(recipe: Recipe, rebuilt: frozenset[str]) -> list[Plan]:
    plans: dict[str, Plan] = {}
    for step in recipe.steps:
        unmade = {name for name, plan in plans.items() if plan.state != "standing"}
        inputs = {field: path for field, (_, path) in given_inputs(step.options).items()}
        fields = {field: maker(recipe, path) for field, path in inputs.items()}
        pending = frozenset(field for field, source in fields.items() if source in unmade)
        state = "rebuild"
        if step.name not in rebuilt:
            state = look_at_stage(STAGE_VERBS[step.verb].load_stage(), step.options, out=step.out, pending=pending)
            if state == "standing" and pending:
                state = "stands, if its inputs come out the same"
        amounts = (_amount(inputs[field], plans, source) for field, source in fields.items() if field != "tokenizer")
        amount = next((amount for amount in amounts if amount), 0.0)  # what a stage works on stands first among its inputs
        plans[step.name] = Plan(step, state, STAGE_VERBS[step.verb].load_estimate()(step.options, amount))
    return list(plans.values())


def _amount(path: Path | str, plans: Mapping[str, Plan], source: str | None) -> float:
    """How much an input holds, in its own unit: counted where it stands, expected where it is still to be made."""
    if source is not None and plans[source].state != "standing":
        return plans[source].estimate.amount
    if is_remote(path) or not is_artifact(Path(path)):
        return expected_pages(path)
    facts = open_artifact(path).facts
    return float(next((facts[name] for name in ("parameters", "tokens", "documents", "pages") if name in facts), 0))


def _print_plans(plans: Sequence[Plan], into: Path) -> None:
    rows = [("stage", "verb", "state", "expected time", "expected disk")]
    for plan in plans:
        standing = plan.state == "standing"
        seconds, disk = ("", "") if standing else (clock(plan.estimate.seconds), size(plan.estimate.disk_bytes))
        rows.append((plan.step.name, plan.step.verb, plan.state, seconds, disk))
    all_seconds, all_bytes = _expected(plans)
    rows.append(("together", "", "", clock(all_seconds), size(all_bytes)))
    print_table(rows)
    print(f"\nfree disk at {into}: {size(disk_free_bytes(into))}; times are for two cores, and rough")


def _expected(plans: Sequence[Plan]) -> tuple[float, float]:
    ahead = [plan.estimate for plan in plans if plan.state != "standing"]
    return sum(estimate.seconds for estimate in ahead), sum(estimate.disk_bytes for estimate in ahead)


def _warn_of_disk(plans: Sequence[Plan], into: Path) -> None:
    _, disk_bytes = _expected(plans)
    free_bytes = disk_free_bytes(into)
    if disk_bytes > free_bytes:
        say(f"Warning: about {size(disk_bytes)} will be written, but {into} has only {size(free_bytes)} free.")


def _say_how_to_carry_on(recipe: Recipe, rebuilt: frozenset[str], *, done: set[str]) -> None:
    """After an interrupted `--from`: the same command would rebuild again what it finished, so name the rest."""
    left = rebuilt - done
    if not rebuilt & done or not left:
        return
    first = [step.name for step in recipe.steps if step.name in left and not left.intersection(step.reads)]
    flags = " ".join(f"--from {name}" for name in first)
    say(f"\n{', '.join(sorted(rebuilt & done))} rebuilt already: carry on with {flags} instead of the --from given")


def _print_made(made: Sequence[tuple[Step, Artifact]]) -> None:
    rows = [("stage", "time", "digest", "size")]
    for step, artifact in made:
        seconds = artifact.manifest["made_by"]["seconds"]
        rows.append((step.name, clock(seconds), artifact.digest[:12], size(stored_bytes(artifact))))
    print_table(rows)


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns, the first row as their heads."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
