"""Typed options: a stage's dataclass filled from its defaults, then a recipe, then flags; checked before any work.

Input             marks an option that names another artifact (or a user's folder)
NotContent        marks an option that must not change the result: workers, device
Stage             what a room's verb is called, what it makes, which libraries decide its content
build_stage       run a stage through `ropewalk.artifact.build`
look_at_stage     what build_stage would find there
check_kind        whether an input is of the kind that its option asks for
load_recipe       a TOML recipe as checked options, in order
"""

from ropewalk.config.options import Input, NotContent, checked, options_from
from ropewalk.config.recipe import Recipe, Step, load_recipe
from ropewalk.config.stage import Estimate, Stage, build_stage, check_kind, input_fields, look_at_stage

__all__ = [
    "Estimate",
    "Input",
    "NotContent",
    "Recipe",
    "Stage",
    "Step",
    "build_stage",
    "check_kind",
    "checked",
    "input_fields",
    "load_recipe",
    "look_at_stage",
    "options_from",
]
