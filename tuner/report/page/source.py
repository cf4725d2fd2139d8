"""What one experiment's page is made from: the record that all views share, and its curves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tuner.errors import InputError
from tuner.experiment.yaml import compose
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import EpochRow, TrialRow
from tuner.report.page.confirmed import CONFIRMED, Confirmed, read_confirmed
from tuner.report.page.inside import Inside, read_inside
from tuner.report.record import RunRecord, read_record

# How an open value was written: as a choice, or as a range on one of the scales.
CHOICE = "choice"


@dataclass(frozen=True)
class Source:
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

    def is_best(self, row: TrialRow) -> bool:
        """Whether a trial is the winner."""
        return self.best is not None and row.number == self.best.number

    @property
    def best(self) -> TrialRow | None:
        """The winner."""
        return self.ranked[0] if self.ranked else None

    @property
    def is_max(self) -> bool:
        """Whether a higher score is better."""
        return self.record.direction == "max"


def read_source(folder: RunFolder) -> Source:
    """Everything about an experiment, read once.

    Raises:
        InputError: the ledger is missing, damaged, foreign or of a newer version.
    """
    record = read_record(folder)
    epochs: dict[int, list[EpochRow]] = defaultdict(list)
    with Ledger.open_read_only(folder.ledger) as ledger:
        for row in ledger.epochs():
            epochs[row.number].append(row)
        text = ledger.experiment_yaml or _read(folder)
        document = _document(text)
        return Source(
            record,
            dict(epochs),
            text,
            document,
            spreads_of(document),
            _origins(ledger),
            read_inside(folder, ledger, record),
            read_confirmed(folder.path / CONFIRMED, ledger.experiment_name),
        )


def _origins(ledger: Ledger) -> dict[int, str]:
    """Where trials that this experiment did not train itself come from."""
    found: dict[int, str] = {}
    for event in ledger.events_of("reused"):
        numbers = event.detail.get("trials", ())
        found.update(dict.fromkeys(numbers, str(event.detail.get("from", ""))))
    return found


def spreads_of(document: Mapping[str, Any]) -> dict[str, str]:
    """How each open value of an experiment is written, by its dotted name."""
    found: dict[str, str] = {}
    for section in ("model", "training"):
        _note_spreads(document.get(section), section, found)
    return found


def _note_spreads(node: Any, name: str, found: dict[str, str]) -> None:
    if not isinstance(node, Mapping):
        return
    if "choice" in node:
        found[name] = CHOICE
        options = node["choice"] if isinstance(node["choice"], list) else []
        for option in options:
            _note_spreads(option, name, found)
    elif "min" in node and "max" in node:
        found[name] = str(node.get("scale", "linear"))
    else:
        for key, child in node.items():
            _note_spreads(child, f"{name}.{key}", found)


def _document(text: str) -> dict[str, Any]:
    """The experiment as a tree; empty where it cannot be read, and no figure depends on it."""
    if not text:
        return {}
    try:
        value = compose(text, "experiment.yaml")[0].value
    except InputError:
        return {}
    return value if isinstance(value, dict) else {}


def _read(folder: RunFolder) -> str:
    try:
        return folder.experiment.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
