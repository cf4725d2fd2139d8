"""What one experiment's page is made from, read once: `read_source` is the page's only reader.

The record that all views share says which trials there are; everything else here (learning curves,
what networks look like inside, a confirmation) belongs to trials of that record.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from tuner.errors import InputError
from tuner.experiment.objective import Objective
from tuner.experiment.yaml import compose
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import EpochRow, TrialRow
from tuner.report.page.confirmed import CONFIRMED, Confirmed, read_confirmed
from tuner.report.page.networks import Inside, read_inside
from tuner.report.record import RunRecord, read_record

# How an open value was written: as a choice, or as a range on one of the scales.
CHOICE = "choice"


@dataclass(frozen=True)
class PageSource:
    """A record, its epochs by trial, and the experiment as it was written.

    `spreads` tells of each open value whether it is a choice or on which scale it is a range,
    `origins` of trials that were taken over from which experiment.
    """

    record: RunRecord
    epochs: Mapping[int, Sequence[EpochRow]] = field(default_factory=dict)
    yaml: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)
    spreads: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[int, str] = field(default_factory=dict)
    inside: Inside = field(default_factory=Inside)
    confirmed: Confirmed | None = None

    @cached_property
    def rows(self) -> tuple[TrialRow, ...]:
        """All trials in the order of their numbers, each looked up once."""
        return tuple(self.record.rows)

    @cached_property
    def ranked(self) -> tuple[TrialRow, ...]:
        """The trials with a place, best first."""
        return tuple(self.record.ranking.ranked)

    @cached_property
    def unplaced(self) -> tuple[TrialRow, ...]:
        """All others in the order of their numbers."""
        places = {row.number for row in self.ranked}
        return tuple(row for row in self.rows if row.number not in places)

    @property
    def best(self) -> TrialRow | None:
        """The winner."""
        return self.ranked[0] if self.ranked else None

    def is_best(self, row: TrialRow) -> bool:
        """Whether a trial is the winner."""
        return self.best is not None and row.number == self.best.number

    @property
    def objective(self) -> Objective:
        """What the scores are, and which is better."""
        return self.record.objective

    @cached_property
    def stretches(self) -> tuple[Stretch, ...]:
        """Every trial that has begun and ended, in the order in which they ended."""
        times = ((row, moment(row.started_at), moment(row.finished_at)) for row in self.rows)
        known = (
            Stretch(row, start, end)
            for row, start, end in times
            if start is not None and end is not None and end >= start
        )
        return tuple(sorted(known, key=lambda stretch: (stretch.end, stretch.row.number)))


@dataclass(frozen=True)
class Stretch:
    """A trial from its last start to its end, in seconds since 1970."""

    row: TrialRow
    start: float
    end: float


def read_source(folder: RunFolder, *, all_versions: bool = False) -> PageSource:
    """Everything about an experiment, read once.

    Raises:
        InputError: the ledger is missing, damaged, foreign or of a newer version.
    """
    record = read_record(folder, all_versions=all_versions)
    epochs: dict[int, list[EpochRow]] = defaultdict(list)
    with Ledger.open_read_only(folder.ledger) as ledger:
        for epoch in ledger.epochs():
            epochs[epoch.number].append(epoch)
        text = ledger.experiment_yaml or _read_text(folder)
        document = _document(text)
        return PageSource(
            record,
            dict(epochs),
            text,
            document,
            spreads_of(document),
            _origins(ledger),
            read_inside(folder, ledger, record),
            read_confirmed(folder.path / CONFIRMED, ledger.experiment_name),
        )


def moment(text: str | None) -> float | None:
    """Seconds since 1970 of a time in ISO 8601; None where it is missing or unreadable."""
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None


def spreads_of(document: Mapping[str, Any]) -> dict[str, str]:
    """How each open value of an experiment is written, by its dotted name."""
    sections = ((name, document.get(name)) for name in ("model", "training"))
    return dict(spread for name, node in sections for spread in _spreads(node, name))


def _spreads(node: Any, name: str) -> Iterable[tuple[str, str]]:
    if not isinstance(node, Mapping):
        return
    if "choice" in node:
        yield name, CHOICE
        options = node["choice"] if isinstance(node["choice"], list) else []
        for option in options:
            yield from _spreads(option, name)
    elif "min" in node and "max" in node:
        yield name, str(node.get("scale", "linear"))
    else:
        for key, child in node.items():
            yield from _spreads(child, f"{name}.{key}")


def _origins(ledger: Ledger) -> dict[int, str]:
    """Where trials that this experiment did not train itself come from."""
    return {
        number: str(event.detail.get("from", ""))
        for event in ledger.events_of("reused")
        for number in event.detail.get("trials", ())
    }


def _document(text: str) -> dict[str, Any]:
    """The experiment as a tree; empty where it cannot be read, and no figure depends on it."""
    try:
        value = compose(text, "experiment.yaml")[0].value if text else None
    except InputError:
        return {}
    return value if isinstance(value, dict) else {}


def _read_text(folder: RunFolder) -> str:
    try:
        return folder.experiment.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
