"""Checks one closed section with pydantic, and says in human words what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import islice
from typing import Any

from pydantic import BaseModel, ValidationError

from tuner.errors import Problem, nearest
from tuner.experiment.document import Path, holds, mend_name, value_at
from tuner.experiment.domain import OPEN_WORDS, is_open
from tuner.experiment.yaml import to_text

_MAX_FAULTS = 50  # of one section; what is left shows when these are mended

# Which of several errors about one value says most.
_RANKS = ("value_error", "greater", "less", "too_", "string_pattern", "literal", "")


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong at `path` below the section; an `unknown` name has no field."""

    path: Path
    problem: Problem
    unknown: bool = False


def validate(config: type[BaseModel], data: Mapping[str, Any]) -> BaseModel | list[Fault]:
    """The section as its class holds it, or all its faults.

    Strict: text is no number, a float is no integer, 1 is not true; an integer is a float.
    """
    try:
        return config.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        return _faults(config, data, error)


def plain(model: BaseModel) -> dict[str, Any]:
    """A validated section as plain JSON values, defaults filled in."""
    return BaseModel.model_dump(model, mode="json")  # a field may have the name of the method


@cache
def json_schema_of(config: type[BaseModel]) -> dict[str, Any]:
    """JSON Schema of the closed section."""
    return config.model_json_schema()


def schema_at(
    config: type[BaseModel], path: Path, data: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """JSON Schema of the value at `path`, or None where there is no such field.

    Where a field's class depends on a tag (the rule of a stop), `data` says which.
    """
    root = json_schema_of(config)
    schema: dict[str, Any] | None = root
    for depth, part in enumerate(path):
        tagged = schema and _tagged(_resolve(schema, root), value_at(data, path[:depth]), root)
        schema = tagged and _below(tagged, part, root)
    return _resolve(schema, root) if schema else None


def describe(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """What a schema admits, in words: `an integer, at least 1`."""
    schema = _resolve(schema, root)
    if "words" in schema:
        return str(schema["words"])
    if "anyOf" in schema or "oneOf" in schema:
        options = schema.get("anyOf") or schema["oneOf"]
        return " or ".join(describe(option, root) for option in options)
    if "enum" in schema:
        return "one of " + ", ".join(to_text(value) for value in schema["enum"])
    if "const" in schema:
        return to_text(schema["const"])
    return _describe_type(schema, root)


def is_integer(config: type[BaseModel], path: Path) -> bool | None:
    """Whether the field holds integers only (True), floats (False), or could be either (None)."""
    schema = schema_at(config, path)
    if schema is None:
        return None
    kinds = {option.get("type") for option in schema.get("anyOf", [schema])}
    if {"integer", "number"} <= kinds:
        return None
    return "number" not in kinds


def _describe_type(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    match schema.get("type"):
        case "integer":
            return "an integer" + _bounds(schema)
        case "number":
            return "a number" + _bounds(schema)
        case "boolean":
            return "true or false"
        case "null":
            return "null"
        case "array":
            items = schema.get("items")
            return "a list, each " + describe(items, root) if items else "a list"
        case "object":
            return "a mapping of " + ", ".join(schema.get("properties", {}))
        case _:
            return "text"


def _bounds(schema: Mapping[str, Any]) -> str:
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    parts = [f"{word} {schema[key]:.10g}" for key, word in words.items() if key in schema]
    return ", " + " and ".join(parts) if parts else ""


def _resolve(schema: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _resolve(root["$defs"][name], root)
    return dict(schema)


def _below(schema: dict[str, Any], part: str | int, root: dict[str, Any]) -> dict[str, Any] | None:
    for option in schema.get("anyOf") or schema.get("oneOf") or ():
        if (below := _below(_resolve(option, root), part, root)) is not None:
            return below
    if isinstance(part, int) and "items" in schema:
        return dict(schema["items"])
    field = schema.get("properties", {}).get(part) or schema.get("additionalProperties")
    return dict(field) if isinstance(field, dict) else None


def _tagged(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> dict[str, Any]:
    """The class that the value's tag names, of a field with such classes; else the field's own."""
    for option in (schema, *schema.get("anyOf", ())):
        tag = option.get("discriminator")
        name = value.get(tag["propertyName"]) if tag and isinstance(value, dict) else None
        if isinstance(name, str) and name in tag["mapping"]:
            return _resolve({"$ref": tag["mapping"][name]}, root)
    return schema


def _faults(
    config: type[BaseModel], data: Mapping[str, Any], error: ValidationError
) -> list[Fault]:
    """One fault per value: of the errors of a union's members, those that lie deepest."""
    details: dict[Path, list[Any]] = {}
    for detail in error.errors(include_url=False):
        details.setdefault(_path_in(data, detail), []).append(detail)
    above = {path[:length] for path in details for length in range(1, len(path))}
    deepest = islice((path for path in details if path not in above), _MAX_FAULTS)
    return [_fault(config, data, path, min(details[path], key=_rank)) for path in deepest]


def _path_in(data: Any, detail: Mapping[str, Any]) -> Path:
    """pydantic's location without the names of union members that it puts in between."""
    path: Path = ()
    loc: Sequence[str | int] = detail["loc"]
    for part in loc:
        if holds(data, part):
            data = data[part]
        elif not (detail["type"] == "missing" and part == loc[-1]) and len(path):
            continue
        path = (*path, part)
    return path


def _rank(detail: Mapping[str, Any]) -> int:
    return next(i for i, word in enumerate(_RANKS) if word in detail["type"])


def _fault(config: type[BaseModel], data: Any, path: Path, detail: Mapping[str, Any]) -> Fault:
    root = json_schema_of(config)
    if detail["type"] == "extra_forbidden":
        parent = schema_at(config, path[:-1], data) or {}
        known = _tagged(parent, value_at(data, path[:-1]), root).get("properties", {})
        return Fault(path, unknown_name(config, path, tuple(known)), unknown=True)
    schema = schema_at(config, path, data)
    expected = describe(schema, root) if schema and path else ""
    if detail["type"] == "missing":
        return Fault(path, Problem("is missing", expected=expected))
    received = value_at(data, path)
    what, specific, mend = _words(detail, received)
    text = to_text(received) if path and received is not None else ""
    told = detail["type"] == "value_error"
    expected = specific if told else specific or expected
    return Fault(path, Problem(what, received=text, expected=expected, mend=mend))


def _words(detail: Mapping[str, Any], received: Any) -> tuple[str, str, str]:
    """What is wrong; what was expected, if the error itself says it; how to mend it."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return _told(str(context["error"]), received)
    if kind.startswith("greater"):
        return f"{to_text(received)} is too small", "", ""
    if kind.startswith("less"):
        return f"{to_text(received)} is too large", "", ""
    if kind.startswith("literal"):
        return _not_one_of(context["expected"], received)
    if kind == "union_tag_invalid":
        return _not_one_of(context["expected_tags"], context["tag"])
    if kind == "union_tag_not_found":
        return f"{str(context['discriminator']).strip(chr(39))} is missing", "", ""
    if kind.startswith("too_"):
        return "has the wrong length", "", ""
    if kind.startswith("string_pattern"):
        return f"{to_text(received)} is not allowed", "", ""
    if kind.endswith(("_type", "_parsing", "int_from_float")):
        return f"{to_text(received)} has the wrong type", "", _mend_type(kind, received)
    return detail["msg"], str(context.get("expected", "")), str(context.get("mend", ""))


def _told(message: str, received: Any) -> tuple[str, str, str]:
    """A validator's own words: `x must be …`, `; expected …`, `; nearest: …`."""
    what, _, mend = message.partition("; nearest: ")
    what, _, expected = what.partition("; expected ")
    if rule := re.fullmatch(r"\w+ must be (.+)", what):
        what, expected = f"{to_text(received)} is not possible here", rule[1]
    return what, expected, mend.replace(" and ", " or ")


def _not_one_of(expected: str, received: Any) -> tuple[str, str, str]:
    names = [name.strip("' ") for name in expected.replace(" or ", ", ").split(",")]
    near = nearest(received, names) if isinstance(received, str) else None
    return f"{to_text(received)} is not known", "", f"{near}?" if near else ""


def _mend_type(kind: str, received: Any) -> str:
    if isinstance(received, dict) and any(":" in name for name in received):
        return "a space after each colon"
    if isinstance(received, list) and not kind.startswith(("tuple", "list", "dict", "model")):
        return to_text({"choice": received}) if len(received) > 1 else ""
    if isinstance(received, dict) and not kind.startswith("string"):
        renamed = {nearest(name, OPEN_WORDS) or name: v for name, v in received.items()}
        if is_open(renamed):
            return to_text(renamed)
        return "an open value is {choice: [a, b]} or {min: a, max: b}"
    if kind.startswith("string") and not isinstance(received, list):
        return f"put it in quotes: {json.dumps(to_text(received).strip('{}'))}"
    if kind.startswith(("tuple", "list")) and isinstance(received, str) and received != "none":
        return to_text([received])
    if kind.startswith("int") and isinstance(received, float) and received.is_integer():
        return str(int(received))
    if isinstance(received, str) and kind.startswith(("int", "float")):
        return "a number without quotes"
    return ""


@lru_cache(maxsize=1024)
def unknown_name(config: type[BaseModel], path: Path, fields: tuple[str, ...] = ()) -> Problem:
    """What is said of a name that no field has, with the nearest that one of `fields` has.

    Without `fields`, those of the class.
    """
    known = fields or tuple(config.model_fields)
    name = str(path[-1])
    expected = ", ".join(known)
    return Problem("is not known", received=name, expected=expected, mend=mend_name(name, known))
