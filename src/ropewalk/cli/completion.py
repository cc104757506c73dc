"""`ropewalk completion`: let the shell complete verbs, flags and paths.

tyro writes completions of one parser with its subcommands. Ours are read one verb at a time, so that no room is opened for
another one's help; a parser of all of them takes a second to build, and knows no verb of two words.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

from tyro.conf import Positional

from ropewalk.cli.flags import flags_class
from ropewalk.cli.verbs import VERBS, Verb

SCRIPT = """# Completion of ropewalk's verbs and flags; all else is completed as a path.
_ropewalk() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" words=""
    case "${{COMP_WORDS[1]}} ${{COMP_WORDS[2]}}" in
{cases}
    esac
    if [ "$COMP_CWORD" -eq 1 ]; then words="{verbs} --help --version"; fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _ropewalk ropewalk
"""


@dataclass(frozen=True)
class CompletionOptions:
    """Print a script that lets the shell complete verbs and flags."""

    shell: Positional[Literal["bash", "zsh"]] = "bash"
    """Which shell: `ropewalk completion bash >> ~/.bashrc`, or `ropewalk completion zsh >> ~/.zshrc`."""


def run_completion(options: CompletionOptions) -> None:
    """Print the script."""
    if options.shell == "zsh":
        print("autoload -Uz compinit bashcompinit && compinit && bashcompinit")
    print(script(), end="")


def script() -> str:
    """The completion for bash; zsh runs it too."""
    second = {name.partition(" ")[0]: [] for name in VERBS if " " in name}
    for name in VERBS:
        if " " in name:
            second[name.partition(" ")[0]].append(name.partition(" ")[2])
    cases = [(f'"{name}"' if " " in name else f'"{name} "*', flags(verb)) for name, verb in VERBS.items()]
    cases += [(f'"{name} "*', words) for name, words in second.items()]
    lines = [f'        {pattern}) words="{" ".join(words)}" ;;' for pattern, words in cases]
    return SCRIPT.format(cases="\n".join(lines), verbs=" ".join(dict.fromkeys(name.partition(" ")[0] for name in VERBS)))


def flags(verb: Verb) -> list[str]:
    """A verb's flags; of a switch that is on by default, what turns it off as well."""
    fields_class = flags_class(verb)
    hints = get_type_hints(fields_class, include_extras=True)
    named = [field for field in dataclasses.fields(fields_class) if not _is_positional(hints[field.name])]
    shown = [field.name.rstrip("_").replace("_", "-") for field in named]
    negated = [f"no-{name}" for name, field in zip(shown, named, strict=True) if field.default is True]
    return [f"--{name}" for name in [*shown, *negated, "help"]]


def _is_positional(hint: object) -> bool:
    return get_args(Positional[int])[1] in get_args(hint)[1:]
