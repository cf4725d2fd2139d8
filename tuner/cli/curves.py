"""The curves of a trial in a terminal: training and validation side by side."""

from __future__ import annotations

from collections.abc import Sequence

from tuner.ledger.records import EpochRow
from tuner.report import curves, words

_PANEL_HEIGHT = 6


def curve_lines(
    epochs: Sequence[EpochRow], wide: int, *, most_pairs: int | None = None
) -> list[str]:
    """A chart for every metric, in pairs that share their axis, the most telling pairs first."""
    lines = []
    for pair in _pairs(list(epochs[-1].metrics))[:most_pairs]:
        series = [[row.metrics.get(name, float("nan")) for row in epochs] for name in pair]
        bounds = curves.bounds_of(*series)
        panels = [
            curves.panel(
                _panel_title(name, values),
                values,
                width=(min(wide, 100) - 3) // 2,
                height=_PANEL_HEIGHT,
                bounds=bounds,
            )
            for name, values in zip(pair, series, strict=True)
        ]
        lines += ["   ".join(parts).rstrip() for parts in zip(*panels, strict=True)]
    return lines


def _pairs(names: list[str]) -> list[tuple[str, ...]]:
    """Training and validation side by side, accuracy first; every metric once."""
    wanted = [name for name in ("accuracy", "loss", "top5_accuracy") if name in names]
    plain = wanted + [n for n in names if not n.startswith("val_") and n not in wanted]
    pairs = [tuple(n for n in (name, f"val_{name}") if n in names) for name in plain]
    alone = [(n,) for n in names if n.startswith("val_") and n.removeprefix("val_") not in names]
    return [*pairs, *alone]


def _panel_title(name: str, values: Sequence[float]) -> str:
    return f"{name} {words.score_text(values[0])} → {words.score_text(values[-1])}"
