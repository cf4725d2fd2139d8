"""A table in each format: for a terminal, for Markdown, LaTeX and CSV."""

from __future__ import annotations

import math
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tuner.ledger.table import to_csv as csv_text
from tuner.report import format
from tuner.report.table import COUNT, SECONDS, TIED, Column, MeanScore, Table, is_number

Style = Callable[[str, str], str]  # (text, role) → text; roles: title, head, best, dim, bad

_GAP = "  "
_UNLIMITED = 1_000_000
_SHORTEST = 8  # of a column that has to give way
_COMPARED = 100  # rows by which columns of one rank are told from each other


def plain(text: str, role: str) -> str:
    """No colours: for pipes, files and tests."""
    return text


def finite(value: Any) -> Any:
    """A tree of plain values in which NaN and infinities, unknown to JSON, are None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


# ---------------------------------------------------------------------- terminal


def to_text(*tables: Table, width: int, style: Style = plain) -> str:
    """Tables one below the other with title and notes, at most `width` wide."""
    return "\n\n".join("\n".join(_text_lines(t, width, style)).rstrip() for t in tables) + "\n"


def grid_lines(
    table: Table,
    *,
    width: int = _UNLIMITED,
    style: Style = plain,
    indent: str = "",
    rule: bool = True,
) -> list[str]:
    """Head and rows only, for a text that has its own words around them."""
    layout = laid_out(table, width - len(indent))
    return [indent + line for line in _grid(table, layout, width - len(indent), style, rule)]


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """A paragraph in lines; tied words and commands between backticks stay in one piece."""
    tied = re.sub("`[^`]*`", lambda command: command[0].replace(" ", TIED), text)
    lines = textwrap.wrap(
        format.printable(tied, keep=TIED), width, subsequent_indent=indent, break_on_hyphens=False
    )
    return [untied(line) for line in lines] or [""]


def clipped(text: str, width: int) -> str:
    """The text in at most so many columns of a terminal."""
    if format.width(text) <= width:
        return text
    while format.width(text) >= width and text:
        text = text[:-1]
    return text + "…"


def _text_lines(table: Table, width: int, style: Style) -> list[str]:
    layout = laid_out(table, width)
    space = [""] if table.stands_alone else []
    lines = [style(line, "title") for line in wrapped(table.title, width, "  ")]
    if table.rows:
        lines += [style(line, "dim") for line in wrapped(table.about, width) if line]
        lines += [*space, *_grid(table, layout, width, style), *space]
    else:
        lines += space
    notes = list(table.all_notes)
    if table.rows and (gone := hidden_titles(table, width)):
        see = f" (see {table.has_all})" if table.stands_alone else ""
        notes.insert(len(table.notes), f"Not shown at this width: {gone}{see}.")
    indent = "" if table.stands_alone else "  "
    for note in notes:
        lines += [style(line, "dim") for line in wrapped(note, width, indent)]
    if table.unranked:
        lines += ["", style("Not ranked", "head")]
        lines += [style(clipped(line, width), "bad") for line in table.unranked]
    return lines


def laid_out(table: Table, width: int) -> dict[int, int]:
    """How wide each column is that fits into a width, by its place.

    Titles are broken where that makes room. Then columns with the highest rank go, of equal ones
    that without which the others tell most rows apart; of those without a rank names are cut, and
    at last numbers go from the right.
    """
    rows = table.texts()
    texts = [[row[place] for row in rows] for place in range(len(table.columns))]
    cells = [max(map(format.width, column), default=0) for column in texts]
    whole = {i: max(cells[i], format.width(c.title)) for i, c in enumerate(table.columns)}
    widths = {i: max(cells[i], _least_width(c.title)) for i, c in enumerate(table.columns)}

    def over() -> int:
        return sum(widths.values()) + len(_GAP) * (len(widths) - 1) - width

    while widths and over() > 0:
        highest = max(table.columns[place].rank for place in widths)
        if not highest:
            break
        worst = [place for place in reversed(widths) if table.columns[place].rank == highest]
        del widths[min(worst, key=lambda place: _loss(texts, place, worst))]
    for place, wide in widths.items():
        if over() + whole[place] - wide <= 0:
            widths[place] = whole[place]
        elif table.columns[place].shrinks and over() > 0:
            widths[place] = max(min(wide, _SHORTEST), wide - over())
    numbers = [place for place in widths if place > 1 and table.columns[place].numeric]
    while numbers and over() > 0:  # the rest of a number would be another number
        del widths[numbers.pop()]
    return widths


def hidden_titles(table: Table, width: int) -> str:
    """The titles of the columns for which a width has no room, in one text."""
    layout = laid_out(table, width)
    return ", ".join(c.title for i, c in enumerate(table.columns) if i not in layout)


def _loss(texts: Sequence[Sequence[str]], place: int, equal: Sequence[int]) -> tuple[int, float]:
    """What goes with a column: how few rows its equals then tell apart, and what it told itself."""
    rest = [texts[other][:_COMPARED] for other in equal if other != place]
    return -len(set(zip(*rest, strict=True))), _told_apart(texts[place])


def _told_apart(texts: Sequence[str]) -> float:
    """The share of pairs of rows that a column tells apart; one that few rows have tells less."""
    known = Counter(text for text in texts if text not in ("", format.NOTHING))
    total = known.total()
    alike = sum(count * count for count in known.values())
    return (total - alike / total) / len(texts) if total else 0.0


def _parts(title: str) -> list[str]:
    """Where a title may be broken: behind a mark or a space, and not into single letters."""
    return re.findall(r"[^_.\s]+[_.]*(?:[^_.\s]{1,2}(?![^_.\s]))?", title) or [title]


def _least_width(title: str) -> int:
    """Of a title in about two lines."""
    return max(-(-format.width(title) // 2), *map(format.width, _parts(title)))


def _head_lines(title: str, width: int) -> list[str]:
    """A title in lines of that width, where it is broken at all."""
    lines = [""]
    for part in _parts(title):
        joint = " " if lines[-1] and title[len(" ".join(lines)) :].startswith(" ") else ""
        if format.width(lines[-1] + joint + part) <= width:
            lines[-1] += joint + part
        else:
            lines.append(part)
    return lines


def _grid(
    table: Table, layout: Mapping[int, int], width: int, style: Style, rule: bool = True
) -> list[str]:
    columns = [(place, table.columns[place], wide) for place, wide in layout.items()]

    def line(texts: Sequence[str], row: Sequence[Any] = (), role: str = "") -> str:
        cells = [_padded(texts[place], wide, column) for place, column, wide in columns]
        roles = [c.role(row[place]) if row and c.role else "" for place, c, _ in columns]
        whole = clipped(_GAP.join(cells).rstrip(), width)
        if any(roles) and format.width(_GAP.join(cells)) <= width:
            return _GAP.join(map(style, cells, roles)).rstrip()
        return style(whole, role) if role else whole

    lines = []
    if any(column.title for column in table.columns):
        heads = {place: _head_lines(column.title, wide) for place, column, wide in columns}
        height = max(map(len, heads.values()), default=1)
        for row in range(-height, 0):
            parts = {i: head[row] if -row <= len(head) else "" for i, head in heads.items()}
            titles = [parts.get(i, "") for i in range(len(table.columns))]
            lines.append(line(titles, role="head"))
        if rule:
            lines.append(style(_GAP.join("─" * wide for wide in layout.values())[:width], "dim"))
    for place, texts in enumerate(table.texts()):
        role = "best" if place in table.marked else ""
        lines.append(line(texts, table.rows[place], role))
    return lines


def _padded(text: str, width: int, column: Column) -> str:
    text = clipped(text, width)
    blank = " " * (width - format.width(text))
    return blank + text if column.numeric else text + blank


def untied(text: str) -> str:
    """The text with plain spaces."""
    return text.replace(TIED, " ")


# ---------------------------------------------------------------------- Markdown


def to_markdown(*tables: Table) -> str:
    """Tables for a document, with every column."""
    return "\n\n".join(_markdown(table).rstrip() for table in tables) + "\n"


def _markdown(table: Table) -> str:
    escaped = format.markdown_text
    lines = [f"**{escaped(table.title)}**", ""]
    if table.about:
        lines += [escaped(table.about), ""]
    if table.rows or table.about:
        lines.append(_piped([escaped(column.title) for column in table.columns]))
        lines.append(_piped(["---:" if column.numeric else "---" for column in table.columns]))
        for place, texts in enumerate(table.texts()):
            strong = "**" if table.stands_alone and place in table.marked else ""
            lines.append(_piped([f"{strong}{escaped(t)}{strong}" if t else "" for t in texts]))
        lines.append("")
    mark = "" if table.stands_alone else "- "
    lines += [mark + escaped(untied(note)) for note in table.all_notes]
    lines += [f"- {escaped(line)}" for line in table.unranked]
    return "\n".join(lines)


def _piped(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


# ---------------------------------------------------------------------- CSV

# Beside those that every CSV file of ours guards: full-width ones are formulas in some countries.
_MORE_FORMULA_STARTS = ("\n", "＝", "＋", "－", "＠")


def to_csv(*tables: Table) -> str:
    """One header and one line per row; several experiments get a column of their own."""
    names = list(dict.fromkeys(column.name for table in tables for column in table.columns))
    lines: list[list[Any]] = []
    for table in tables:
        first = [] if len(tables) == 1 else [table.name]
        for row in table.rows:
            cells = {column.name: value for column, value in zip(table.columns, row, strict=True)}
            lines.append([*first, *(cells.get(name) for name in names)])
    heads = names if len(tables) == 1 else ["experiment", *names]
    return csv_text([_clean(h) for h in heads], ([_clean(cell) for cell in line] for line in lines))


def _clean(cell: Any) -> Any:
    """A cell whose text is only text: a spreadsheet shows it, and runs or turns round nothing."""
    if not isinstance(cell, str):
        return cell
    text = format.printable(cell, keep="\n\t\r")
    return f"'{text}" if text.startswith(_MORE_FORMULA_STARTS) else text


# ---------------------------------------------------------------------- LaTeX

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

_FLOAT = """\
% Needs \\usepackage{booktabs} and \\usepackage{siunitx} in the preamble.
\\begin{table}
  \\centering
  \\sisetup{separate-uncertainty = true, detect-weight = true, mode = text}"""


def latex_text(text: str) -> str:
    """Text that stays text in LaTeX, on one line."""
    separated = _LIGATURES.sub(lambda pair: "\x00" + pair[0], format.printable(text))
    return "".join("{}" if c == "\x00" else _SPECIAL.get(c, c) for c in separated)


def to_latex(*tables: Table) -> str:
    """For papers, with booktabs rules; a table that stands alone is a `table` environment.

    In that siunitx aligns the numbers; the best score is bold, and has a dagger where it cannot be
    told from the best. Spread is the standard deviation. Counts and seconds are scaled by the unit
    in their head.
    """
    blocks = [_float(table) if table.stands_alone else _paragraph(table) for table in tables]
    needs = [] if all(table.stands_alone for table in tables) else ["% \\usepackage{booktabs}"]
    return "\n\n".join([*needs, *blocks]) + "\n"


def _float(table: Table) -> str:
    about = table.about.replace("score is", "The score is", 1)
    label = re.sub(r"[^A-Za-z0-9.-]", "-", table.name)
    begin, *inside, end = _tabular(table)
    notes = [latex_text(untied(note)) for note in table.all_notes]
    if table.unsure:
        told = "too close to the best to tell (interval and permutation test)."
        notes.insert(0, f"{_DAGGER} {told}")
    lines = [
        _FLOAT,
        f"  \\caption{{{latex_text(f'{table.title}. {about}.')}}}",
        f"  \\label{{tab:{label}}}",
        f"  {begin}",
        *(f"    {line}" for line in inside),
        f"  {end}",
        *(f"  \\par\\smallskip\\footnotesize {note}" for note in notes),
        r"\end{table}",
    ]
    return "\n".join(lines)


def _paragraph(table: Table) -> str:
    lines = [f"\\paragraph{{{latex_text(table.title)}}}", *(_tabular(table) if table.rows else [])]
    lines += [f"\\par {latex_text(untied(note))}" for note in table.all_notes]
    return "\n".join(lines)


def _tabular(table: Table) -> list[str]:
    parts = [_latex_column(column, place, table) for place, column in enumerate(table.columns)]
    rows = zip(*(cells for _, cells in parts), strict=True)
    head, *lines = [f"{' & '.join(row)} \\\\" for row in rows]
    return [
        f"\\begin{{tabular}}{{{''.join(letters for letters, _ in parts)}}}",
        *(r"\toprule", head, r"\midrule", *lines, r"\bottomrule", r"\end{tabular}"),
    ]


def _latex_column(column: Column, place: int, table: Table) -> tuple[str, list[str]]:
    """Its letters in the preamble; its head and its cells."""
    values = [row[place] for row in table.rows]
    if not column.numeric or not table.stands_alone:
        texts = [latex_text(column.title), *(latex_text(column.text(value)) for value in values)]
        return "r" if column.numeric else "l", [texts[0], *map(_minus, texts[1:])]
    unit, texts = _written(column, values)
    letters, head = _format(texts), f"{{{latex_text(column.title + unit)}}}"
    cells = [text if _NUMBER.fullmatch(text) else f"{{{latex_text(text)}}}" for text in texts]
    if column.name == "score":
        cells = [rf"\bfseries {c}" if i in table.marked else c for i, c in enumerate(cells)]
        if table.unsure:
            # The dagger has a column of its own, so that the numbers stay aligned.
            letters, head = rf"{letters}@{{\,}}l", f"{head} &"
            daggers = (_DAGGER if i in table.unsure else "" for i in range(len(cells)))
            cells = [f"{c} & {dagger}".rstrip() for c, dagger in zip(cells, daggers, strict=True)]
    return letters, [head, *cells]


def _minus(cell: str) -> str:
    """A number's sign as a minus, not as a hyphen."""
    return re.sub(r"(^|\{\[\}|, )-(?=\d)", r"\1$-$", cell)


def _written(column: Column, values: Sequence[Any]) -> tuple[str, list[str]]:
    """The unit for the head, and every value as siunitx reads it."""
    if column.unit == SECONDS:
        return " (s)", [_plain(value, lambda x: f"{x:.1f}") for value in values]
    if column.unit != COUNT:
        return "", [_written_as(column, value) for value in values]
    numbers = [abs(value) for value in values if is_number(value) and math.isfinite(value)]
    largest = max(numbers, default=0.0)
    unit, scale = next((s for s in _SCALES if largest >= s[1]), ("", 1.0))
    least = min((n for n in numbers if n), default=1.0) / scale
    digits = min(4, max(0, 2 - math.floor(math.log10(least)))) if unit else 0
    head = f" ({unit})" if unit else ""
    return head, [_plain(value, lambda x: f"{x / scale:.{digits}f}") for value in values]


def _written_as(column: Column, value: Any) -> str:
    if not isinstance(value, MeanScore):
        return _plain(value, column.text)
    mean = _plain(value.mean, format.score_text)
    spread = _plain(value.spread, format.score_text)
    # Uncertainties have no exponent of their own: a far smaller or larger one is written out.
    if "e" in mean or not _NUMBER.fullmatch(spread):
        return mean
    return f"{mean} +- {value.spread:.4f}"


def _plain(value: Any, text: Callable[[float], str]) -> str:
    """A number's text with a plain exponent; anything else as it stands in other tables."""
    if value is None:
        return format.NOTHING
    if not is_number(value) or not math.isfinite(value):
        return format.value_text(value)
    mantissa, mark, exponent = text(value).partition("e")
    return f"{mantissa}e{int(exponent)}" if mark else mantissa


def _format(texts: Sequence[str]) -> str:
    """siunitx' column type with room for the widest of each part of a number."""
    numbers = [match.groups() for text in texts if (match := _NUMBER.fullmatch(text))]
    if not numbers:
        return "c"
    sign = "-" if any(parts[0] for parts in numbers) else ""
    whole = max(len(parts[1]) for parts in numbers)
    decimals = max(len(parts[2] or "") for parts in numbers)
    spreads = [((p[3] or "") + (p[4] or "")).lstrip("0") or "0" for p in numbers if p[3]]
    uncertainty = f"({max(map(len, spreads))})" if spreads else ""
    powers = [parts[5] for parts in numbers if parts[5]]
    minus = "-" if any(power.startswith("-") for power in powers) else ""
    digits = max((len(power.lstrip("-")) for power in powers), default=0)
    exponent = f"e{minus}{digits}" if powers else ""
    return f"S[table-format={sign}{whole}.{decimals}{uncertainty}{exponent}]"
