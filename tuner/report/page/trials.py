"""The trials as the page's table and its tooltips read them: columns of texts and of numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.ledger.records import TrialRow
from tuner.report import format
from tuner.report.page.axes import ABSENT
from tuner.report.page.html import clean, number
from tuner.report.page.source import PageSource
from tuner.report.table import is_number

_LONGEST_REASON = 2_000
_ALWAYS_SHOWN = ("trial", "score")  # though they be the same everywhere
# What a trial's row holds as a number: where it stands there, its title, and how it is written.
_NUMBERS: dict[str, tuple[str, str, Callable[[Any], str]]] = {
    "trial": ("number", "trial", str),
    "score": ("score", "score", format.score_text),
    "epochs": ("epochs", "epochs", str),
    "best_epoch": ("best_epoch", "best epoch", str),
    "parameters": ("parameters", "params", format.count_text),
    "macs": ("macs", "MACs", format.count_text),
    "train": ("train_seconds", "train", format.seconds_text),
    "compile": ("compile_seconds", "compile", format.seconds_text),
    "replicate": ("replicate", "replicate", str),
    "seed": ("seed", "seed", str),
}
_RARE = ("best_epoch", "compile", "seed")  # of an experiment's table: shown on request only


@dataclass(frozen=True)
class TrialColumn:
    """One column, a text and a number to sort by for each trial.

    `kind` says what it is: `value` for hyperparameters, `metric`, `state`, `score`, `trial` or
    `fact`. `is_shown` is false for columns that are the same everywhere or that few ask for.
    """

    name: str
    title: str
    kind: str
    texts: tuple[str, ...]
    sort: tuple[float | int | None, ...] | None = None
    is_shown: bool = True

    def to_json(self) -> dict[str, Any]:
        """As the page's script reads it."""
        return {
            "name": clean(self.name),
            "title": clean(self.title),
            "kind": self.kind,
            "texts": list(self.texts),
            "sort": list(self.sort) if self.sort is not None else None,
            "shown": self.is_shown,
        }


def trial_columns(source: PageSource) -> list[TrialColumn]:
    """Every column, ranked trials first and best first, then the others by their numbers."""
    rows = [*source.ranked, *source.unplaced]
    ranks = {row.number: place for place, row in enumerate(source.ranked, start=1)}
    ranked = [ranks.get(row.number) for row in rows]
    origins = [source.origins.get(row.number, "") for row in rows]
    facts = {name: row_column(name, rows, is_wanted=name not in _RARE) for name in _NUMBERS}
    return [
        facts["trial"],
        _number_column("rank", "rank", ranked, str, is_wanted=False),
        state_column(rows),
        facts["score"],
        *value_columns(rows, source.record.value_names),
        facts["epochs"],
        facts["best_epoch"],
        *_metric_columns(rows, source.record.metric_names),
        *(facts[n] for n in ("parameters", "macs", "train", "compile", "replicate", "seed")),
        text_column("from", "taken over from", "fact", origins, is_shown=any(origins)),
        reason_column(rows),
    ]


def row_column(name: str, rows: Sequence[TrialRow], is_wanted: bool = True) -> TrialColumn:
    """A number that each row holds; one that never varies is not shown unless it must be."""
    attribute, title, write = _NUMBERS[name]
    return _number_column(name, title, [getattr(r, attribute) for r in rows], write, is_wanted)


def state_column(rows: Sequence[TrialRow]) -> TrialColumn:
    """How each trial stands."""
    return text_column("state", "state", "state", [format.state_word(row.state) for row in rows])


def reason_column(rows: Sequence[TrialRow]) -> TrialColumn:
    """Why trials ended, where any says so."""
    reasons = [row.reason[:_LONGEST_REASON] for row in rows]
    return text_column("reason", "reason", "reason", reasons, is_shown=any(reasons))


def text_column(
    name: str, title: str, kind: str, texts: Sequence[str], is_shown: bool = True
) -> TrialColumn:
    """A column of texts."""
    return TrialColumn(name, title, kind, tuple(map(clean, texts)), None, is_shown)


def _number_column(
    name: str, title: str, values: Sequence[Any], write: Callable[[Any], str], is_wanted: bool
) -> TrialColumn:
    texts = tuple(format.NOTHING if value is None else write(value) for value in values)
    kind = name if name in _ALWAYS_SHOWN else "fact"
    varies = kind != "fact" or len(set(texts)) > 1
    return TrialColumn(name, title, kind, texts, _sortable(values), is_wanted and varies)


def value_columns(rows: Sequence[TrialRow], names: Sequence[str]) -> list[TrialColumn]:
    """A column for each hyperparameter; one that never varies is there, but not shown."""
    short = format.short_names(names)
    columns = []
    for name in names:
        values = [row.value(name, ABSENT) for row in rows]
        texts = tuple("" if v is ABSENT else clean(format.value_text(v)) for v in values)
        numeric = all(v is ABSENT or _is_sortable(v) for v in values)
        shown = len(set(texts)) > 1 or len(rows) == 1
        sort = _sortable(values) if numeric else None
        columns.append(TrialColumn(name, short[name], "value", texts, sort, shown))
    return columns


def _metric_columns(rows: Sequence[TrialRow], names: Sequence[str]) -> list[TrialColumn]:
    """The last epoch's metrics; that of validation's loss is shown."""
    columns = []
    for name in names:
        values = [row.metrics.get(name) for row in rows]
        texts, sort = tuple(map(format.score_text, values)), _sortable(values)
        shown = name == "val_loss"
        columns.append(TrialColumn(f"metrics.{name}", f"last {name}", "metric", texts, sort, shown))
    return columns


def _sortable(values: Sequence[Any]) -> tuple[float | int | None, ...]:
    """Numbers in as many digits as tell trials apart; infinities and NaN have no place."""
    return tuple(number(value, 10) if _is_sortable(value) else None for value in values)


def _is_sortable(value: Any) -> bool:
    return is_number(value) and abs(value) < 1e300
