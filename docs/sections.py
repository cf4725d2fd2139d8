"""The page of the experiment file's other sections and of `training:`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from docs.docstrings import cell, escape
from tuner.data.config import DataConfig
from tuner.experiment.schema import (
    COMPILED,
    OPTIMIZER_FIELDS,
    STRUCTURAL,
    Head,
    ObjectiveConfig,
    Resources,
    SearchConfig,
    TrainingConfig,
)
from tuner.experiment.validation import describe, json_schema_of, plain
from tuner.experiment.yaml import to_text

# Name of a field → whether it shapes the structure or is a runtime value.
Kind = Callable[[str], str]

_SECTIONS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("At the top", "Never searched: one value for all trials.", Head),
    ("data:", "Never searched: all trials see the same images.", DataConfig),
    ("objective:", "Never searched.", ObjectiveConfig),
    ("search:", "Never searched.", SearchConfig),
    ("resources:", "Never searched; of one worker, and no part of a trial's key.", Resources),
)


def page() -> str:
    """Markdown of sections.md."""
    parts = [
        "# Sections of an experiment\n\n"
        "All but `model:`, whose fields belong to [the families](families.md).\n",
        _training(),
        *(f"## {title}\n\n{note}\n\n{field_table(c)}" for title, note, c in _SECTIONS),
    ]
    return "\n".join(parts)


def field_table(
    config: type[BaseModel], kind: Kind | None = None, leave_out: Iterable[str] = ()
) -> str:
    """A table of a section's fields; with `kind`, a column that says what a value is to a program.

    Where values depend on one another, the descriptions say how.
    """
    heads = ["field", "values", "default", *(["kind"] if kind else []), "meaning"]
    rows = [heads, ["---"] * len(heads)]
    for name, field in config.model_fields.items():
        if name in leave_out:
            continue
        what = [kind(name)] if kind else []
        values = _values(config, name)
        text = escape(field.description or "")
        rows.append([f"`{name}`", values, _default(field), *what, text])
    return "".join("| " + " | ".join(cell(text) for text in row) + " |\n" for row in rows)


def _training() -> str:
    uses = "\n".join(
        f"- `{name}` uses {', '.join(f'`{field}`' for field in _in_order(fields))}."
        for name, fields in OPTIMIZER_FIELDS.items()
        if fields
    )
    return (
        "## training:\n\nEvery value may be left open. A *runtime* value is an argument of the "
        "compiled program:\ntrials that differ in nothing else share one. A value of the "
        "*structure* makes a new program.\n\n"
        f"{field_table(TrainingConfig, _training_kind)}\n{uses}\n"
        f"- `{COMPILED}` uses none of them: its values are written in the `build(hp)`.\n\n"
        "A value that the optimizer does not use is an error.\n"
    )


def _training_kind(name: str) -> str:
    return "structure" if name in STRUCTURAL else "runtime"


def _in_order(names: Iterable[str]) -> list[str]:
    return [name for name in TrainingConfig.model_fields if name in set(names)]


def _values(config: type[BaseModel], name: str) -> str:
    root = json_schema_of(config)
    return escape(describe(root["properties"][name], root))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        value = plain(value)
    return f"`{to_text(value)}`"
