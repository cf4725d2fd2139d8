"""How much scores were seen to differ between seeds: what `power` is asked with."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuner.errors import InputError, TunerError
from tuner.experiment.trial import TrialState, canonical
from tuner.ledger.folder import RunFolder, run_folders
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import TrialRow
from tuner.report import format
from tuner.report.table import mean_score

MIN_DEGREES = 3
"""Degrees of freedom below which the spread between seeds counts as unknown."""

SAME_DATA = ("data.fingerprint", "data.validation", "data.train_images")
"""What must be equal for the spread of another experiment to say something of this one."""

_MOST_FOLDERS = 20  # the newest of a results folder
_MOST_TRIALS = 5_000  # of an experiment that is only looked at for its spread
_POINT = 0.005


@dataclass(frozen=True)
class SeedSpread:
    """The standard deviation of a configuration's score between seeds, pooled over configurations.

    √(Σ (x − x̄ of its configuration)² / Σ (n − 1)); `degrees` is Σ (n − 1). `source` names the
    experiments that it comes from, where that is not this one.
    """

    spread: float
    degrees: int
    source: str = ""

    @property
    def text(self) -> str:
        """`seeds differ by sd 0.0042, 24 degrees of freedom, in cifar100-small`."""
        source = f", in {format.printable(self.source)}" if self.source else ""
        degrees = format.counted(self.degrees, "degree")
        return f"seeds differ by sd {format.score_text(self.spread)}, {degrees} of freedom{source}"


def spread_of(rows: Iterable[TrialRow]) -> SeedSpread | None:
    """Of trials that were trained to their end; None where too few share a configuration."""
    groups: dict[str, list[float]] = defaultdict(list)
    ended = [row for row in rows if row.state is TrialState.COMPLETED and row.score is not None]
    if not any(row.replicate for row in ended):
        return None
    for row in ended:
        if row.score is not None and math.isfinite(row.score):
            groups[canonical(dict(row.configuration))].append(row.score)
    return _pooled(groups.values())


def spread_elsewhere(folder: RunFolder, metric: str, data: Mapping[str, Any]) -> SeedSpread | None:
    """Of the other experiments of a results folder on the same data, with the same metric.

    `data` are the values of `SAME_DATA`, as a trial's context has them. The newest experiments are
    looked at; one that cannot be read says nothing.
    """
    if not data.get("data.fingerprint"):
        return None
    groups, names = list[list[float]](), list[str]()
    for other in _newest(folder):
        with suppress(TunerError, OSError):  # one that cannot be read
            if found := _groups_in(other, metric, data):
                groups += found
                names.append(other.name)
    pooled = _pooled(groups)
    return replace(pooled, source=format.listed(names)) if pooled else None


def data_of(row: TrialRow) -> dict[str, Any]:
    """What `spread_elsewhere` asks of the data that a trial was trained on."""
    return {name: row.context.get(name) for name in SAME_DATA}


def usual_difference(metric: str, spread: float) -> float:
    """A difference that people ask for: half a point of an accuracy, of others one spread."""
    return _POINT if metric.endswith("accuracy") else spread


def difference_text(metric: str, difference: float) -> str:
    """`0.5 points` of an accuracy."""
    if metric.endswith("accuracy"):
        points = f"{100 * difference:.2g}"
        return f"{points} point{'s' * (points != '1')}"
    return format.score_text(difference)


def _newest(folder: RunFolder) -> list[RunFolder]:
    try:
        others = [other for other in run_folders(folder.results_dir) if other.name != folder.name]
    except InputError:  # whoever may read only this one folder of it
        return []
    return sorted(others, key=_changed_at, reverse=True)[:_MOST_FOLDERS]


def _changed_at(folder: RunFolder) -> float:
    try:
        return Path(folder.ledger).stat().st_mtime
    except OSError:
        return 0.0


def _groups_in(folder: RunFolder, metric: str, data: Mapping[str, Any]) -> list[list[float]]:
    with Ledger.open_read_only(folder.ledger) as ledger:
        few = sum(ledger.counts().values()) <= _MOST_TRIALS
        if not few or ledger.objective.metric != metric:
            return []
        rows = ledger.rows([TrialState.COMPLETED])
    groups: dict[str, list[float]] = defaultdict(list)
    for row in rows if any(row.replicate for row in rows) else ():
        if row.score is not None and math.isfinite(row.score) and data_of(row) == data:
            groups[canonical(dict(row.configuration))].append(row.score)
    return [scores for scores in groups.values() if len(scores) > 1]


def _pooled(groups: Iterable[list[float]]) -> SeedSpread | None:
    squares, degrees = 0.0, 0
    for scores, n in _several(groups):
        squares += (mean_score("", scores).spread or 0.0) ** 2 * (n - 1)
        degrees += n - 1
    return SeedSpread(math.sqrt(squares / degrees), degrees) if degrees >= MIN_DEGREES else None


def _several(groups: Iterable[list[float]]) -> Iterator[tuple[list[float], int]]:
    return ((scores, len(scores)) for scores in groups if len(scores) > 1)
