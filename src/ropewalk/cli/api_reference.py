"""Write docs/api.md, what a program may call: `python -m ropewalk.cli.api_reference > docs/api.md`.

Sources are read as text, so that nothing slow is imported, and nothing but signatures and docstrings is taken.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent

import ropewalk
from ropewalk import api
from ropewalk.cli.functions import function_name
from ropewalk.cli.verbs import GROUPS

# What the chapters show, in the order of the line.
NAMES = {
    "artifact.manifest": ("open_artifact", "verify", "Artifact"),
    "config.recipe": ("load_recipe",),
    "sandbox.run": ("run_code",),
    "crawl.warc": ("read_pages",),
    "corpus.reading": ("read_documents", "read_ledger", "read_records"),
    "tokenizer.encoding": ("Tokenizer",),
    "tokenizer.chat": ("render", "render_prompt"),
    "tokenizer.shards": ("TokenReader",),
    "trace.index": ("Index",),
    "model.checkpoint": ("load_model",),
    "model.loss": ("linear_cross_entropy", "bits_per_byte"),
    "engine.load": ("load_engine",),
    "engine.engine": ("Engine",),
    "engine.sampling": ("Sampling",),
    "pretrain.replay": ("pages_read",),
    "evaluate.questions": ("graded",),
    "evaluate.harness": ("harness_model",),
    "runtime.metrics": ("read_metrics",),
}
HEAD = """# From Python

Written by `make docs` from signatures and docstrings; a test fails when it drifts.

```text
{about}
```

## Examples

One script a room, each a few lines, in `examples/`; a test runs them all.

{examples}

## Verbs as functions

The fields of a function are the flags of [its verb](cli.md); what has no default must be given.
"""


def api_reference() -> str:
    """The whole page."""
    verbs = [verb for verbs in GROUPS.values() for verb in verbs]
    functions = (_function(verb.name, verb.summary) for verb in verbs)
    return HEAD.format(about=(api.__doc__ or "").strip(), examples=_examples()) + "".join([*functions, *_rooms()])


def _function(verb_name: str, summary: str) -> str:
    name = function_name(verb_name)
    signature = inspect.signature(getattr(api, name))
    fields = [_field(one) for one in signature.parameters.values()]
    call = f"{name}({', '.join(fields)})"
    if len(call) > 110:
        call = f"{name}(\n" + "".join(f"    {field},\n" for field in fields) + ")"
    return f"\n### {name}\n\n{summary[0].upper()}{summary[1:]}.\n\n```python\n{call} -> {signature.return_annotation}\n```\n"


def _field(parameter: inspect.Parameter) -> str:
    if parameter.kind is parameter.POSITIONAL_ONLY:
        return f"{parameter.name}, /"
    if parameter.default is parameter.empty:
        return parameter.name
    value = repr(parameter.default)
    return f"{parameter.name}={'{}' if value == '<factory>' else value}"  # the only defaults that are made are empty tables


def _examples() -> str:
    folder = Path(ropewalk.__file__).parents[2] / "examples"
    rows = ((path.name, ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))) for path in folder.glob("[0-9]*.py"))
    return "\n".join(f"- `{name}`: {text}" for name, text in sorted(rows))


def _rooms() -> Iterator[str]:
    yield "\n## Functions and classes of the rooms\n\nThose that the chapters show.\n"
    for module, names in NAMES.items():
        path = Path(ropewalk.__file__).parent / f"{module.replace('.', '/')}.py"
        found = {
            node.name: node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, Documented)
        }
        for name in names:
            yield f"\n### ropewalk.{module}.{name}\n\n```python\n{_described(found[name])}\n```\n"


Documented = ast.FunctionDef | ast.ClassDef


def _described(node: Documented) -> str:
    """The head of a function or a class, its docstring, and a class' public fields and methods."""
    text = (
        f'"""{ast.get_docstring(node)}\n"""'
        if "\n" in (ast.get_docstring(node) or "")
        else f'"""{ast.get_docstring(node)}"""'
    )
    if isinstance(node, ast.FunctionDef):
        return f"{_head(node)}\n{indent(text, '    ')}"
    lines = [f"class {node.name}:", indent(text, "    ")]
    for inner in node.body:
        if isinstance(inner, ast.AnnAssign):
            lines.append(f"    {ast.unparse(inner)}")
        elif isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
            lines += ["", indent(_described(inner), "    ")]
    return "\n".join(lines)


def _head(node: ast.FunctionDef) -> str:
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    decorators = "".join(f"@{ast.unparse(one)}\n" for one in node.decorator_list)
    return f"{decorators}def {node.name}({ast.unparse(node.args)}){returns}:"


if __name__ == "__main__":
    sys.stdout.write(api_reference())
