"""A heat map of a dense block as lines of text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tuner.report.feature_reuse import BlockReuse

# (text, place on the scale in 0..1) → text
Paint = Callable[[str, float], str]

_SHADES = "·░▒▓█"
_WIDEST_CELL = 3


def unpainted(text: str, place: float) -> str:
    """No colours: the shades alone."""
    return text


def least_share(blocks: Sequence[BlockReuse]) -> float:
    """Where the scale of their maps begins: the smallest weight relative to its target's largest.

    Weights of a network that was trained for a short time are all alike. A scale from 0 would show
    one shade; this one shows what differences there are, and the legend how large they are.
    """
    shares = [v for block in blocks for row in block.relative() for v in row if v is not None]
    return min(shares, default=0.0)


def heat_map(
    block: BlockReuse, width: int, *, least: float = 0.0, paint: Paint = unpainted
) -> list[str]:
    """Sources from top to bottom, targets from left to right, at most `width` columns.

    A cell is the weight relative to the largest of its target, on a scale from `least` to 1. Where
    there are more targets than columns, neighbours share a cell and their mean is shown. Targets
    are numbered by where they stand.
    """
    margin = max(len(name) for name in block.sources) + 1
    room = max(1, width - margin)
    step = -(-len(block.targets) // room)
    cells = _pooled(block.relative(), step)
    cell = min(_WIDEST_CELL, max(1, room // len(cells[0])))
    lines = [" " * margin + _header(len(cells[0]), cell, step)]
    for place, row in enumerate(cells):
        name = block.sources[place * step]
        drawn = "".join(_cell(share, cell, least, paint) for share in row)
        lines.append(f"{name:>{margin - 1}} {drawn.rstrip()}")
    return [line.rstrip() for line in lines]


def legend(*, least: float = 0.0, paint: Paint = unpainted) -> str:
    """From which share of the largest on each shade stands."""
    starts = [least + (1 - least) * n / len(_SHADES) for n in range(len(_SHADES))]
    half = (1 - least) / len(_SHADES) / 2
    keys = (f"{_cell(start + half, 2, least, paint)} {start:.2f}" for start in starts)
    return "  ".join(keys) + " to 1 × the largest in the column"


def _cell(share: float | None, width: int, least: float, paint: Paint) -> str:
    if share is None:
        return " " * width
    place = (share - least) / (1 - least) if least < 1 else 1.0
    shade = _SHADES[max(0, min(len(_SHADES) - 1, int(place * len(_SHADES))))]
    return paint(shade * width, place)


def _header(count: int, cell: int, step: int) -> str:
    """Every fifth target's number, where it fits."""
    text = ""
    for place in range(0, count, 1 if cell > 2 else 5):
        text = text.ljust(place * cell) + f"{place * step + 1:<{cell}}"
    return text


def _pooled(rows: Sequence[Sequence[float | None]], step: int) -> list[list[float | None]]:
    """Means of step × step cells, of those that there are."""
    if step == 1:
        return [list(row) for row in rows]
    return [
        [
            _mean([v for row in rows[top : top + step] for v in row[left : left + step]])
            for left in range(0, len(rows[0]), step)
        ]
        for top in range(0, len(rows), step)
    ]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
