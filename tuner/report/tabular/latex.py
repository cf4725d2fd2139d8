"""Tables for papers: LaTeX with booktabs and siunitx, which set the rules and align the numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.report import words
from tuner.report.tabular.alike import NOISE, UNDECIDABLE
from tuner.report.tabular.columns import Column, is_number
from tuner.report.tabular.groups import Group
from tuner.report.tabular.notes import left_out_text, score_line, title, untied
from tuner.report.tabular.tables import Table

_SPECIAL = {
    **{character: f"\\{character}" for character in "{}$&#%_"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "`": r"\textasciigrave{}",
    '"': r"\char34{}",  # a shorthand of babel in some languages
    "[": "{[}", "]": "{]}", "*": "{*}",  # after a line's end they would belong to it
    "–": "--", "—": "---", "±": r"$\pm$", "≤": r"$\leq$", "≥": r"$\geq$", "≈": r"$\approx$",
    "×": r"$\times$", "…": r"\ldots{}", "\N{REPLACEMENT CHARACTER}": "?",
}  # fmt: skip
_LIGATURES = re.compile("(?<=-)-|(?<=,),|(?<=')'")  # two hyphens would become a dash
_NUMBER = re.compile(r"(-?)(\d+)(?:\.(\d+))?(?: \+- (\d+)(?:\.(\d+))?)?(?:e(-?\d+))?")
_DAGGER = r"$^{\dagger}$"
_SCALES = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))

HEAD = """\
% Needs \\usepackage{booktabs} and \\usepackage{siunitx} in the preamble.
\\begin{table}
  \\centering
  \\sisetup{separate-uncertainty = true, detect-weight = true, mode = text}"""


def latex_text(text: str) -> str:
    """Text that stays text in LaTeX, on one line."""
    separated = _LIGATURES.sub(lambda found: "\x00" + found[0], words.printable(text))
    return "".join("{}" if c == "\x00" else _SPECIAL.get(c, c) for c in separated)


def to_latex(table: Table) -> str:
    """A `table` environment: the best score bold, a dagger where it cannot be told from the best.

    Spread is the standard deviation. Counts and seconds are scaled by the unit in their head.
    """
    parts = [_part(column, table) for column in table.columns if column.name != "against_best"]
    lines = [
        HEAD,
        f"  \\caption{{{latex_text(_caption(table))}}}",
        f"  \\label{{tab:{_label(table.record.name)}}}",
        f"  \\begin{{tabular}}{{{''.join(part.format for part in parts)}}}",
        r"    \toprule",
        _row([part.head for part in parts]),
        r"    \midrule",
        *(_row([part.cells[place] for part in parts]) for place in range(len(table.rows))),
        r"    \bottomrule",
        r"  \end{tabular}",
    ]
    for note in _notes(table):
        lines.append(f"  \\par\\smallskip\\footnotesize {note}")
    return "\n".join([*lines, r"\end{table}"]) + "\n"


@dataclass(frozen=True)
class _Part:
    """One column: its letter in the preamble, its head and its cells."""

    format: str
    head: str
    cells: Sequence[str]


def _part(column: Column, table: Table) -> _Part:
    values = [column.value(row) for row in table.rows]
    if not column.numeric:
        cells = [latex_text(column.text(value)) for value in values]
        return _Part("l", latex_text(column.title), cells)
    unit, texts = _written(column, values)
    head = f"{{{latex_text(column.title + unit)}}}"
    cells = [text if _NUMBER.fullmatch(text) else f"{{{latex_text(text)}}}" for text in texts]
    if column.name != "score":
        return _Part(_format(texts), head, cells)
    marked = [_marked(cell, row, table) for cell, row in zip(cells, table.rows, strict=True)]
    if not any(_is_alike(row, table) for row in table.rows):
        return _Part(_format(texts), head, marked)
    # The dagger has a column of its own, so that the numbers stay aligned.
    daggers = [_DAGGER if _is_alike(row, table) else "" for row in table.rows]
    both = [f"{cell} & {dagger}".rstrip() for cell, dagger in zip(marked, daggers, strict=True)]
    return _Part(f"{_format(texts)}@{{\\,}}l", f"{head} &", both)


def _marked(cell: str, row: Any, table: Table) -> str:
    return rf"\bfseries {cell}" if row is table.best else cell


def _is_alike(row: Any, table: Table) -> bool:
    return table.verdict(row) in (NOISE, UNDECIDABLE)


# ---------------------------------------------------------------------- numbers


def _written(column: Column, values: Sequence[Any]) -> tuple[str, list[str]]:
    """The unit for the head, and every value as siunitx reads it."""
    numbers = [abs(value) for value in values if is_number(value) and math.isfinite(value)]
    largest = max(numbers, default=0.0)
    if column.name in ("parameters", "macs"):
        unit, scale = next((s for s in _SCALES if largest >= s[1]), ("", 1.0))
        least = min((n for n in numbers if n), default=1.0) / scale
        digits = min(4, max(0, 2 - math.floor(math.log10(least)))) if unit else 0
        unit = f" ({unit})" if unit else ""
        return unit, [_plain(v, lambda x: f"{x / scale:.{digits}f}") for v in values]
    if column.name.endswith("_seconds"):
        return " (s)", [_plain(value, lambda x: f"{x:.1f}") for value in values]
    return "", [_written_as(column, value) for value in values]


def _written_as(column: Column, value: Any) -> str:
    if not isinstance(value, Group):
        return _plain(value, lambda x: column.text(x))
    mean = _plain(value.mean, words.score_text)
    spread = _plain(value.spread, words.score_text)
    # Uncertainties have no exponent of their own: a far smaller or larger one is written out.
    if "e" in mean or not _NUMBER.fullmatch(spread):
        return mean
    return f"{mean} +- {value.spread:.4f}"


def _plain(value: Any, text: Callable[[float], str]) -> str:
    """A number's text with a plain exponent; anything else as it stands in other tables."""
    if value is None:
        return words.NOTHING
    if not is_number(value) or not math.isfinite(value):
        return words.value_text(value)
    mantissa, mark, exponent = text(value).partition("e")
    return f"{mantissa}e{int(exponent)}" if mark else mantissa


def _format(texts: Sequence[str]) -> str:
    """siunitx' column type with room for the widest of each part of a number."""
    found = [match.groups() for text in texts if (match := _NUMBER.fullmatch(text))]
    if not found:
        return "c"
    sign = "-" if any(parts[0] for parts in found) else ""
    whole = max(len(parts[1]) for parts in found)
    decimals = max(len(parts[2] or "") for parts in found)
    spreads = [((p[3] or "") + (p[4] or "")).lstrip("0") or "0" for p in found if p[3]]
    uncertainty = f"({max(map(len, spreads))})" if spreads else ""
    powers = [parts[5] for parts in found if parts[5]]
    minus = "-" if any(power.startswith("-") for power in powers) else ""
    digits = max((len(power.lstrip("-")) for power in powers), default=0)
    exponent = f"e{minus}{digits}" if powers else ""
    return f"S[table-format={sign}{whole}.{decimals}{uncertainty}{exponent}]"


# ---------------------------------------------------------------------- around


def _row(cells: Sequence[str]) -> str:
    return f"    {' & '.join(cells)} \\\\"


def _caption(table: Table) -> str:
    line = score_line(table).replace("score is", "The score is", 1)
    return f"{title(table)}. {line}."


def _label(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "-", name)


def _notes(table: Table) -> list[str]:
    found = []
    if any(_is_alike(row, table) for row in table.rows):
        found.append(f"{_DAGGER} cannot be told from the best (interval and permutation test).")
    if table.same:
        same = ", ".join(f"{head} {text}" for head, text in table.same)
        found.append(latex_text(untied(f"The same in all ranked trials: {same}.")))
    if left_out := left_out_text(table):
        found.append(latex_text(f"Left out: {left_out}."))
    return found
