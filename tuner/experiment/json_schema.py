"""JSON Schema of an experiment file: what an editor completes and checks while one types."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from tuner.data.config import DataConfig, SearchedData
from tuner.experiment.schema import (
    OBSERVING,
    Head,
    ObjectiveConfig,
    Resources,
    SearchConfig,
    TrainingConfig,
)
from tuner.models import FAMILIES

Schema = dict[str, Any]

_RANGE: Schema = {
    "type": "object",
    "description": "Every number from min to max; count or step makes points, both ends included.",
    "properties": {
        "min": {"type": "number", "description": "Lower end, included."},
        "max": {"type": "number", "description": "Upper end, included."},
        "scale": {
            "enum": ["linear", "log", "reverse_log"],
            "default": "linear",
            "description": "Even spacing in x, in log x, or in log(1 - x) (for betas).",
        },
        "count": {"type": "integer", "minimum": 2, "description": "So many points."},
        "step": {"type": "number", "exclusiveMinimum": 0, "description": "A point every so far."},
    },
    "required": ["min", "max"],
    "additionalProperties": False,
    "not": {"required": ["count", "step"]},
    "examples": [{"min": 1e-4, "max": 1e-1, "scale": "log", "count": 4}],
}


def json_schema() -> Schema:
    """JSON Schema (2020-12) of the whole file, open values included."""
    definitions: Schema = {"range": _RANGE}
    sections = {
        "data": _data(definitions),
        "model": {"$ref": "#/$defs/model", "description": "The network; any value may be open."},
        "training": {"$ref": "#/$defs/training", "description": "How one trial is trained."},
        "objective": _section(ObjectiveConfig, definitions),
        "search": _section(SearchConfig, definitions),
        "resources": _section(Resources, definitions),
    }
    definitions["training"] = _training(definitions)
    definitions["model"] = _model(definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tuner experiment",
        "description": "A configuration with some values left open.",
        "type": "object",
        "properties": _section(Head, definitions)["properties"] | sections,
        "required": ["model"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def _section(config: type[BaseModel], definitions: Schema) -> Schema:
    """Schema of a closed section; what it refers to goes to the common definitions."""
    schema: Schema = _clean(config.model_json_schema())
    definitions.update(schema.pop("$defs", {}))
    return schema


def _data(definitions: Schema) -> Schema:
    section = _section(DataConfig, definitions)
    opened = _opened(section)["properties"]
    section["properties"] |= {name: opened[name] for name in SearchedData.model_fields}
    return section


def _training(definitions: Schema) -> Schema:
    own: Schema = {}
    section = _section(TrainingConfig, own)
    definitions.update({name: _opened(schema) for name, schema in own.items()})
    closed = {name: section["properties"][name] for name in OBSERVING}
    opened = _opened(section)
    opened["properties"] |= closed
    return _or_choice(opened, "training")


def _model(definitions: Schema) -> Schema:
    """One variant per family, one for several families that share fields, and choices."""
    variants = []
    every: Schema = {}
    for name, family in FAMILIES.items():
        section = _opened(_section(family.config, definitions))
        section["title"] = name
        section["properties"]["family"] = {"const": name, "description": "Kind of network."}
        section["required"] = ["family"]
        every = section["properties"] | every
        variants.append(section)
    own: Schema = {"type": "string", "pattern": r"^[\w.]+:\w+$"}
    variants.append(
        {
            "title": "a function of your own",
            "description": "package.module:build; what it declares is open unless it is written.",
            "type": "object",
            "properties": {"family": own},
            "required": ["family"],
        }
    )
    families: Schema = _choice({"anyOf": [{"enum": list(FAMILIES)}, own]})
    several = {
        "title": "several families",
        "type": "object",
        "properties": {n: {} for n in every} | {"family": families},
        "required": ["family"],
        "additionalProperties": False,
    }
    return _or_choice({"anyOf": [*variants, several]}, "model")


def _or_choice(section: Schema, name: str) -> Schema:
    """A section, or a choice of whole sections, which may hold open values of their own."""
    return {"anyOf": [section, _choice({"$ref": f"#/$defs/{name}"})]}


def _opened(section: Schema) -> Schema:
    """The schema of a mapping in which each value may be left open."""
    opened = copy.deepcopy(section)
    opened["properties"] = {n: _open(s) for n, s in opened.get("properties", {}).items()}
    return opened


def _open(closed: Schema) -> Schema:
    notes = {key: closed[key] for key in ("description", "default", "examples") if key in closed}
    value = _with_open_items({key: item for key, item in closed.items() if key not in notes})
    forms = [value, _choice(value)]
    if _is_numeric(value):
        forms.append({"$ref": "#/$defs/range"})
    return notes | {"anyOf": forms}


def _with_open_items(schema: Schema) -> Schema:
    """Each value of a mapping whose names are the person's own may be open, too."""
    if "anyOf" in schema:
        return schema | {"anyOf": [_with_open_items(option) for option in schema["anyOf"]]}
    items = schema.get("additionalProperties")
    return schema | {"additionalProperties": _open(items)} if isinstance(items, dict) else schema


def _choice(item: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {"choice": {"type": "array", "minItems": 1, "items": item}},
        "required": ["choice"],
        "additionalProperties": False,
    }


def _is_numeric(schema: Mapping[str, Any]) -> bool:
    options = schema.get("anyOf", [schema])
    return any(option.get("type") in ("integer", "number") for option in options)


def _clean(node: Any) -> Any:
    """Without what pydantic adds for programs: titles, and marks of our own."""
    if isinstance(node, list):
        return [_clean(item) for item in node]
    if not isinstance(node, dict):
        return node
    dropped = {"title", "runtime", "words"}
    return {
        key: _clean(value)
        for key, value in node.items()
        if not (key in dropped and not isinstance(value, dict))
    }
