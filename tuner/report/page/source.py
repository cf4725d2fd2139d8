"""What one experiment's page is made from, read once: `read_source` is the page's only reader.

The record that all views share says which trials there are; everything else here (learning curves,
what networks look like inside, a confirmation) belongs to trials of that record.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from tuner.experiment.objective import Objective
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import EpochRow, TrialRow
from tuner.report.open_values import Spread, experiment_tree, spreads_of
from tuner.report.page.confirmed import CONFIRMED, Confirmed, read_confirmed
from tuner.report.page.networks import Inside, read_inside
from tuner.report.prediction_document import PredictionDocument, read_document
from tuner.report.record import RunRecord, read_record


@dataclass(frozen=True)
class PageSource:
    """A record, its epochs by trial, and the experiment as it was written.

    `spreads` tells of each open value from what it was drawn,
    `origins` of trials that were taken over from which experiment.
    """

    record: RunRecord
    epochs: Mapping[int, Sequence[EpochRow]] = field(default_factory=dict)
    yaml: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)
    spreads: Mapping[str, Spread] = field(default_factory=dict)
    origins: Mapping[int, str] = field(default_factory=dict)
    inside: Inside = field(default_factory=Inside)
    confirmed: Confirmed | None = None
    predicted: PredictionDocument | None = None

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
    # A page goes to others, for whom the way to this folder is another one.
    record = replace(read_record(folder, all_versions=all_versions), typed="")
    epochs: dict[int, list[EpochRow]] = defaultdict(list)
    with Ledger.open_read_only(folder.ledger) as ledger:
        for epoch in ledger.epochs():
            epochs[epoch.number].append(epoch)
        text = ledger.experiment_yaml or _read_text(folder)
        document = experiment_tree(text)
        confirmed = confirmed_of(folder, record)
        return PageSource(
            record,
            dict(epochs),
            text,
            document,
            spreads_of(document),
            _origins(ledger),
            read_inside(folder, ledger, record),
            confirmed,
            predicted_of(folder, confirmed),
        )


def confirmed_of(folder: RunFolder, record: RunRecord) -> Confirmed | None:
    """What confirmed the search as it stands; nothing of what confirmed an earlier version."""
    if not (folder.path / CONFIRMED).is_file():
        return None
    with Ledger.open_read_only(folder.ledger) as ledger:
        names = {ledger.experiment_name, folder.name}
        confirmed = read_confirmed(folder.path / CONFIRMED, names)
    current = {row.number for row in record.rows}
    return confirmed if confirmed and confirmed.still_holds(record.metric, current) else None


def predicted_of(folder: RunFolder, confirmed: Confirmed | None) -> PredictionDocument | None:
    """What these leaders have predicted of the test images, as far as it is kept."""
    if confirmed is None:
        return None
    found = read_document(RunFolder(folder.path, CONFIRMED.parent.name))
    places = {one.place for one in found.leaders} if found else set()
    known = places and places <= set(range(1, len(confirmed.leaders) + 1))
    return found if known else None


def moment(text: str | None) -> float | None:
    """Seconds since 1970 of a time in ISO 8601; None where it is missing or unreadable."""
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None


def _origins(ledger: Ledger) -> dict[int, str]:
    """Where trials that this experiment did not train itself come from."""
    return {
        number: str(event.detail.get("from", ""))
        for event in ledger.events_of("reused")
        for number in event.detail.get("trials", ())
    }


def _read_text(folder: RunFolder) -> str:
    try:
        return folder.experiment.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
