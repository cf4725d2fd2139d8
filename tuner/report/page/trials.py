"""The trials as the page's table and its tooltips read them: columns of texts and of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.ledger.records import TrialRow
from tuner.report import words
from tuner.report.page.axes import ABSENT
from tuner.report.page.source import Source
from tuner.report.page.text import clean, number

_LONGEST_REASON = 2_000


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


def trial_columns(source: Source) -> list[TrialColumn]:
    """Every column, ranked trials first and best first, then the others by their numbers."""
    rows = ordered(source)
    ranks = {row.number: place for place, row in enumerate(source.ranked, start=1)}
    facts = _Columns(rows)
    return [
        facts.numeric("trial", "trial", "trial", lambda row: row.number, str),
        facts.numeric("rank", "rank", "fact", lambda row: ranks.get(row.number), _plain, False),
        facts.text("state", "state", "state", lambda row: words.state_word(row.state)),
        facts.numeric("score", "score", "score", lambda row: row.score, words.score_text),
        *value_columns(rows, source.record.value_names),
        facts.numeric("epochs", "epochs", "fact", lambda row: row.epochs, str),
        facts.numeric("best_epoch", "best epoch", "fact", lambda r: r.best_epoch, _plain, False),
        *_metric_columns(source, facts),
        facts.numeric("parameters", "params", "fact", lambda r: r.parameters, words.count_text),
        facts.numeric("macs", "MACs", "fact", lambda row: row.macs, words.count_text),
        facts.numeric("train", "train", "fact", lambda r: r.train_seconds, words.seconds_text),
        facts.numeric(
            "compile", "compile", "fact", lambda r: r.compile_seconds, words.seconds_text, False
        ),
        facts.numeric("replicate", "replicate", "fact", lambda row: row.replicate, str),
        facts.numeric("seed", "seed", "fact", lambda row: row.seed, str, False),
        facts.text(
            "from", "taken over from", "fact", lambda row: clean(source.origins.get(row.number, ""))
        ),
        facts.text("reason", "reason", "reason", lambda row: clean(row.reason)[:_LONGEST_REASON]),
    ]


def ordered(source: Source) -> list[TrialRow]:
    """Ranked trials, then all others."""
    ranked = {row.number for row in source.ranked}
    return [*source.ranked, *(row for row in source.rows if row.number not in ranked)]


@dataclass(frozen=True)
class _Columns:
    """Makes columns of some rows; one that never varies is not shown unless it must be."""

    rows: Sequence[TrialRow]

    def numeric(
        self,
        name: str,
        title: str,
        kind: str,
        value: Callable[[TrialRow], Any],
        text: Callable[[Any], str],
        shown: bool = True,
    ) -> TrialColumn:
        values = [value(row) for row in self.rows]
        texts = tuple(words.NOTHING if v is None else text(v) for v in values)
        varies = kind in ("trial", "score") or len(set(texts)) > 1
        return TrialColumn(name, title, kind, texts, sortable(values), shown and varies)

    def text(
        self, name: str, title: str, kind: str, value: Callable[[TrialRow], str]
    ) -> TrialColumn:
        texts = tuple(value(row) for row in self.rows)
        return TrialColumn(name, title, kind, texts, None, kind == "state" or any(texts))


def value_columns(rows: Sequence[TrialRow], names: Sequence[str]) -> list[TrialColumn]:
    """A column for each hyperparameter; one that never varies is there, but not shown."""
    short = words.short_names(names)
    found = []
    for name in names:
        values = [row.value(name, ABSENT) for row in rows]
        texts = tuple("" if v is ABSENT else clean(words.value_text(v)) for v in values)
        numeric = all(v is ABSENT or _is_number(v) for v in values)
        sort = sortable([None if v is ABSENT else v for v in values]) if numeric else None
        shown = len(set(texts)) > 1 or len(rows) == 1
        found.append(TrialColumn(name, short[name], "value", texts, sort, shown))
    return found


def _metric_columns(source: Source, facts: _Columns) -> list[TrialColumn]:
    """The last epoch's metrics; those of validation are shown."""
    return [
        TrialColumn(
            f"metrics.{name}",
            f"last {name}",
            "metric",
            tuple(words.score_text(row.metrics.get(name)) for row in facts.rows),
            sortable([row.metrics.get(name) for row in facts.rows]),
            name == "val_loss",
        )
        for name in source.record.metric_names
    ]


def sortable(values: Sequence[Any]) -> tuple[float | int | None, ...]:
    """Numbers in as many digits as tell trials apart; infinities and NaN have no place."""
    return tuple(number(value, 10) if _is_number(value) else None for value in values)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and abs(value) < 1e300


def _plain(value: Any) -> str:
    return str(value)
