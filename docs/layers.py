"""The page of the Keras layers."""

from __future__ import annotations

import dataclasses
import inspect
import json
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from docs.docstrings import Docstring, cell, parse

_INTRODUCTION = """# Layers

`tuner.layers` are Keras layers over `keras.ops`: they work in any Keras program, on TensorFlow and
on JAX, with or without `tuner`. Images are `(batch, height, width, channels)`. Every layer also
takes the arguments of `keras.layers.Layer` (`name`, `dtype`, …), and can be saved and loaded with a
model. `BatchNormalization` and `Dropout` take the place of Keras' own.

The tests run Keras' layer tests (`run_layer_test`) on each layer: on TensorFlow and on JAX, and on
PyTorch where that is installed.

A *runtime* rate is a variable of the layer, not a constant of the graph: it may change between
steps, and nothing is traced again. The argument is what it begins with.
"""


_WIDTH = 88


def page() -> str:
    """Markdown of layers.md."""
    from tuner import layers

    names = sorted(layers.__all__)
    lines = {name: parse(getattr(layers, name).__doc__).first_line for name in names}
    contents = "\n".join(f"- [{name}](#{name.lower()}): {lines[name]}" for name in names)
    return "\n".join(
        [_INTRODUCTION, contents, "", *(_section(n, getattr(layers, n)) for n in names)]
    )


def _section(name: str, layer: Any) -> str:
    doc = _with_inherited(layer)
    parts = [
        f"## {name}\n",
        f"```python\n{call_text(name, _all_parameters(layer).values())}\n```\n",
        doc.text + "\n",
    ]
    parts += [_arguments(layer, doc), *_notes(layer, doc)]
    return "\n".join(filter(None, parts)) + "\n"


def _with_inherited(layer: Any) -> Docstring:
    """The docstring, with the arguments and sections that its classes above it alone have."""
    doc = parse(layer.__doc__)
    for base in inspect.getmro(layer)[1:]:
        if base.__module__.startswith("tuner."):
            inherited = parse(base.__doc__).sections
            arguments = [*doc.sections.get("Args", ()), *inherited.get("Args", ())]
            sections = inherited | doc.sections | ({"Args": arguments} if arguments else {})
            doc = dataclasses.replace(doc, sections=sections)
    return doc


def call_text(name: str, parameters: Iterable[inspect.Parameter]) -> str:
    """A call as one writes it, without types."""
    arguments = list(_bare(parameters))
    line = f"{name}({', '.join(arguments)})"
    if len(line) <= _WIDTH:
        return line
    return f"{name}(\n" + "".join(f"    {argument},\n" for argument in arguments) + ")"


def _bare(parameters: Iterable[inspect.Parameter]) -> Iterator[str]:
    """Without types, with quotes as ruff puts them (it formats this page, too)."""
    star = False
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            yield "*"
        star = parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        if parameter.default is parameter.empty:
            yield str(parameter.replace(annotation=parameter.empty))
        else:
            yield f"{parameter.name}={_value(parameter.default)}"


def _value(default: Any) -> str:
    return json.dumps(default) if isinstance(default, str) else repr(default)


def _arguments(layer: Any, doc: Docstring) -> str:
    items = doc.sections.get("Args", [])
    told = {name: text for names, text in reversed(items) for name in names.split(", ")}
    parameters = _own_parameters(layer)
    if not parameters:
        return ""
    hints = {
        name: hint
        for maker in _makers(layer)
        for name, hint in typing.get_type_hints(maker).items()
    }
    rows = ["| argument | type | default | meaning |", "|---|---|---|---|"]
    for name, parameter in parameters.items():
        default = "" if parameter.default is parameter.empty else f"`{_value(parameter.default)}`"
        kind = type_in_words(hints.get(name, Any))
        rows.append(f"| `{name}` | {cell(kind)} | {default} | {cell(told.get(name, ''))} |")
    return "\n".join(rows) + "\n"


def _own_parameters(layer: Any) -> dict[str, inspect.Parameter]:
    parameters = _all_parameters(layer)
    return {n: p for n, p in parameters.items() if p.kind is not p.VAR_KEYWORD}


def _all_parameters(layer: Any) -> dict[str, inspect.Parameter]:
    """Its own, then what it hands on to classes of this package above it; `**kwargs` last."""
    parameters: dict[str, inspect.Parameter] = {}
    for maker in _makers(layer):
        for name, parameter in list(inspect.signature(maker).parameters.items())[1:]:
            parameters.setdefault(name, parameter)
    return dict(sorted(parameters.items(), key=lambda item: item[1].kind is item[1].VAR_KEYWORD))


def _makers(layer: Any) -> list[Any]:
    """The constructors of the class and of those of this package above it."""
    classes = [kind for kind in inspect.getmro(layer) if kind.__module__.startswith("tuner.")]
    return [vars(kind)["__init__"] for kind in classes if "__init__" in vars(kind)]


def _notes(layer: Any, doc: Docstring) -> Iterator[str]:
    shape = getattr(layer, "compute_output_shape", None)
    if shape and shape.__module__.startswith("tuner."):
        yield f"- Output shape: {_lower(parse(shape.__doc__).text)}"
    if rates := _runtime_rates(layer, doc):
        yield f"- Runtime: {rates}"
    for heading, items in doc.sections.items():
        if heading != "Args":
            texts = (f"`{name}`: {text}" if name else text for name, text in items)
            yield f"- {heading}: {' '.join(texts)}"
    if doc.source:
        yield f"- Source: {doc.source}"


def _runtime_rates(layer: Any, doc: Docstring) -> str:
    """Which of its arguments begin a variable; the docstrings of composed layers say it."""
    if "hyperparameter" in _own_parameters(layer):
        return "the variable `rate`."
    told = [name for name, text in doc.sections.get("Args", ()) if "runtime value" in text]
    return ", ".join(f"`{name}`" for name in told) + ", unless None." if told else ""


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def type_in_words(hint: Any) -> str:
    """A type as text: `int`, `float or None`, `"a" or "b"`."""
    origin = typing.get_origin(hint)
    if origin is Literal:
        return " or ".join(f'`"{value}"`' for value in typing.get_args(hint))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_in_words(member) for member in typing.get_args(hint))
    if origin is Sequence:
        element = type_in_words(typing.get_args(hint)[0])
        return f"list of ({element})" if " " in element else f"list of {element}"
    if hint is type(None):
        return "None"
    return hint.__name__ if origin is None and hasattr(hint, "__name__") else str(hint)
