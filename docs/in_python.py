"""The page of what a Python program calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import tuner
from docs.docstrings import Docstring, cell, parse
from docs.layers import call_text
from tuner.report.results import Results, TrialResult

_INTRODUCTION = """\
# Python

`import tuner` loads no framework. Each function does what the command of its name does.
`tuner.layers` ([reference](layers.md)) and `tuner.models` stand on their own in any Keras program;
`tuner.models.hyper_model("densenet", (32, 32, 3), 100, depth={"choice": [40, 100]})` is a
`keras_tuner.HyperModel`. Wrong input raises `tuner.errors.InputError`, a `tuner.errors.TunerError`.
"""
# What these give, in the words of the page.
_CLASSES = {
    Results: "What `run` and `open_results` give.",
    TrialResult: "What `results.best()` and `results.trial(12)` give: the columns of `trials.csv` "
    "as attributes (`score`, `state`, `values`, `seed`, …).",
}


def page() -> str:
    """Markdown of python.md."""
    functions = [name for name in tuner.__all__ if inspect.isfunction(vars(tuner).get(name))]
    parts = [_entry("##", f"tuner.{name}", vars(tuner)[name]) for name in functions]
    return "\n".join([_INTRODUCTION, *parts, *map(_of_class, _CLASSES)])


def _of_class(kind: type) -> str:
    head = f"## {kind.__name__}\n\n{parse(kind.__doc__).text} {_CLASSES[kind]}\n"
    members = {name: part for name, part in vars(kind).items() if not name.startswith("_")}
    rows = [
        f"| `{name}` | {cell(parse(part.__doc__).text)} |"
        for name, part in members.items()
        if isinstance(part, property)
    ]
    table = "\n".join(["| attribute | is |", "|---|---|", *rows, ""])
    methods = [
        _entry("###", f"{kind.__name__}.{name}", part)
        for name, part in members.items()
        if inspect.isfunction(part)
    ]
    return "\n".join([head, table, *methods])


def _entry(level: str, name: str, function: Callable[..., Any]) -> str:
    doc = parse(function.__doc__)
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    code = f"```python\n{call_text(name, parameters)}\n```\n"
    parts = [f"{level} {name}\n", code, doc.text + "\n", *_sections(doc)]
    return "\n".join(parts)


def _sections(doc: Docstring) -> Iterator[str]:
    if items := doc.sections.get("Args"):
        rows = [f"| `{name}` | {cell(text)} |" for name, text in items]
        yield "\n".join(["| argument | meaning |", "|---|---|", *rows, ""])
    for name, text in doc.sections.get("Raises", ()):
        yield f"- Raises `{name}`: {text}"
    if "Raises" in doc.sections:
        yield ""
