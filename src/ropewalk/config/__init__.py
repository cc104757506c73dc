"""Typed options: a stage's dataclass filled from its defaults, then a recipe, then flags; checked before any work.

Input             marks an option that names another artifact (or a user's folder)
NotContent        marks an option that must not change the result: workers, device
Leading           marks an option that may stand on the command line without its flag
Stage             what a room's verb is called, what it makes, which libraries decide its content
build_stage       run a stage through `ropewalk.artifact.build`
look_at_stage     what build_stage would find there
check_kind        whether an input is of the kind that its option asks for
marked            the options that have a mark
load_recipe       a TOML recipe as checked options, in order
"""

from ropewalk.config.options import Input, Leading, NotContent, checked, options_from
from ropewalk.config.recipe import Recipe, Step, load_recipe
from ropewalk.config.stage import Estimate, Stage, build_stage, check_kind, given_inputs, input_fields, look_at_stage, marked

__all__ = [
    "Estimate",
    "Input",
    "Leading",
    "NotContent",
    "Recipe",
    "Stage",
    "Step",
    "build_stage",
    "check_kind",
    "checked",
    "given_inputs",
    "input_fields",
    "load_recipe",
    "look_at_stage",
    "marked",
    "options_from",
]
