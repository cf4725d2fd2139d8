"""The page that says what other tools call the same things."""

from __future__ import annotations

from docs.docstrings import cell
from tuner.synonyms import COMING_FROM

_INTRODUCTION = """\
# Coming from another tool

What you know by another name. Where you write one of these in an experiment by habit, the error
names ours. `search.max_trials` means the line `max_trials:` in the section `search:`; `x` stands
for any value of `model:` or `training:`; whatever begins with `tuner` is a command.
"""


def page() -> str:
    """Markdown of coming-from.md."""
    return "\n".join([_INTRODUCTION, *map(_section, COMING_FROM)])


def _section(tool: str) -> str:
    rows = [f"| {tool} | here |", "|---|---|"]
    rows += [f"| {_code(theirs)} | {_code(ours)} |" for theirs, ours in COMING_FROM[tool].items()]
    return f"## Coming from {tool}\n\n" + "\n".join(rows) + "\n"


def _code(text: str) -> str:
    return cell(f"`{text}`")
