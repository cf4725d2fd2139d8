"""One experiment's results as every view reads them: taken from the ledger once, then plain."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any

from tuner.code.process import no_garbage_search
from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.profile import RunProfile
from tuner.ledger.records import FINISHED_STATES, RANKED_STATES, TrialRow
from tuner.ledger.workers import WorkerRecord
from tuner.report import format
from tuner.report.seed_spread import SeedSpread, data_of, spread_elsewhere, spread_of

TEST_SET_READ = "test set read"
"""Kind of the events in the ledger of a search that `confirm` leaves, one for each reading."""


@dataclass(frozen=True)
class Ranking:
    """Trials best first, and those that have no place: without a score, or not ended yet."""

    ranked: Sequence[TrialRow]
    unranked: Sequence[TrialRow]
    unfinished: Sequence[TrialRow]


def rank(rows: Iterable[TrialRow], objective: Objective) -> Ranking:
    """The one order that every table, summary and figure uses.

    Only completed and stopped trials with a score that is a number are ranked: NaN is never best,
    nor anywhere. Ties go to the earlier trial.
    """
    scored: list[tuple[tuple[float, int], TrialRow]] = []
    unranked: list[TrialRow] = []
    unfinished: list[TrialRow] = []
    for row in rows:
        if row.state not in FINISHED_STATES:
            unfinished.append(row)
        elif row.state in RANKED_STATES and row.score is not None and not math.isnan(row.score):
            scored.append((objective.rank_key(row.score, row.number), row))
        else:
            unranked.append(row)
    scored.sort(key=itemgetter(0))
    unranked.sort(key=attrgetter("number"))
    return Ranking([row for _, row in scored], unranked, unfinished)


@dataclass(frozen=True)
class RunRecord:
    """Results of one experiment. `rows` come in the order of their numbers.

    `missing` counts planned trials that neither run nor have an outcome; `may_take_up` says that
    stopped ones may go on, though none is missing. `num_classes` is None where the environment
    does not record it. `outside` counts trials that `filtered_by`, in words, has left out of
    everything else here. `superseded` are the trials of earlier versions of the experiment, where
    they were asked for: in no ranking, no mean and no count. `test_readings` counts how often
    `confirm` has read the test set, `confirmed` are the numbers of the trials whose configurations
    it trained again. `is_running` says that a run is on. `spread_elsewhere` is how much seeds
    differed in other experiments on these data, where none is repeated here. `enough` says why
    `search.enough` has ended the search, if it has. `workers` are those of the last run; `profile`
    is of the last one that was run with `--profile`. `typed` names the experiment in commands, as
    far as that is not its name.
    """

    name: str
    objective: Objective
    rows: Sequence[TrialRow]
    value_names: tuple[str, ...]
    metric_names: tuple[str, ...]
    counts: Mapping[TrialState, int]
    missing: int = 0
    may_take_up: bool = False
    num_classes: int | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)
    outside: int = 0
    filtered_by: str = ""
    superseded: Sequence[TrialRow] | None = None
    test_readings: int = 0
    confirmed: frozenset[int] = frozenset()
    is_running: bool = False
    enough: str = ""
    spread_elsewhere: SeedSpread | None = None
    workers: Sequence[WorkerRecord] = ()
    profile: RunProfile | None = None
    typed: str = ""

    @property
    def metric(self) -> str:
        """The objective's metric."""
        return self.objective.metric

    @property
    def direction(self) -> str:
        """The objective's direction, max or min."""
        return self.objective.direction

    @property
    def can_be_confirmed(self) -> bool:
        """Whether there are test images, as far as the environment says so; they are read once."""
        data = self.environment.get("data")
        has_none = isinstance(data, Mapping) and data.get("num_test") == 0
        return not has_none and not self.metric.startswith("test_")

    def command(self, name: str) -> str:
        """A command about these results as it is typed, between marks."""
        return format.command_text(name, self.typed or self.name)

    @cached_property
    def num_images(self) -> int | None:
        """How many images the scores were measured on, where the environment says so."""
        return num_images(self.environment, "validation_images")

    @cached_property
    def seed_spread(self) -> SeedSpread | None:
        """How much a configuration's score differs between seeds, as far as that was seen."""
        return spread_of(self.rows) or self.spread_elsewhere

    @cached_property
    def ranking(self) -> Ranking:
        """The trials in their order; table and summary share it."""
        return rank(self.rows, self.objective)


def read_record(folder: RunFolder, *, all_versions: bool = False) -> RunRecord:
    """Everything that tables and summaries need, in a few short queries.

    Current trials; with `all_versions` the superseded ones, too, apart from them.

    Raises:
        InputError: the ledger is missing, damaged, foreign or of a newer version.
    """
    with Ledger.open_read_only(folder.ledger) as ledger, no_garbage_search():
        rows, counts = ledger.rows(), ledger.counts()
        superseded = None
        if all_versions:
            rows_of_all = ledger.rows(all_versions=True)
            superseded = [row for row in rows_of_all if not row.is_current]
        total = ledger.last_run.get("total")
        missing = _missing(counts, total) if isinstance(total, int) else 0
        environment = ledger.environment or read_environment(folder.environment)
        readings = [event.detail for event in ledger.events_of(TEST_SET_READ)]
        return RunRecord(
            name=folder.name,
            objective=ledger.objective,
            rows=rows,
            value_names=ledger.value_names,
            metric_names=ledger.metric_names,
            counts=counts,
            missing=missing,
            may_take_up=not missing and ledger.may_take_up(counts),
            num_classes=_num_classes(environment),
            environment=environment,
            superseded=superseded,
            test_readings=len(readings),
            confirmed=frozenset(number for reading in readings for number in reading["trials"]),
            is_running=folder.holder() is not None,
            enough=str(ledger.last_run.get("enough", "")),
            spread_elsewhere=_elsewhere(folder, rows, ledger.objective),
            workers=ledger.workers,
            profile=ledger.profile,
            typed=folder.typed,
        )


def _elsewhere(
    folder: RunFolder, rows: Sequence[TrialRow], objective: Objective
) -> SeedSpread | None:
    if not rows or any(row.replicate for row in rows):
        return None
    return spread_elsewhere(folder, objective.metric, data_of(rows[-1]))


def _missing(counts: Mapping[TrialState, int], total: int) -> int:
    begun = sum(counts[state] for state in (*FINISHED_STATES, TrialState.RUNNING))
    return max(0, total - begun)


def read_environment(path: Path) -> dict[str, Any]:
    """environment.json, or nothing: for ledgers that do not keep it, and no view depends on it."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def num_images(environment: Mapping[str, Any], part: str) -> int | None:
    """The number in `5000 (50 per class)`, as the environment has it of a part of the data."""
    data = environment.get("data")
    text = str(data.get(part, "")) if isinstance(data, Mapping) else ""
    match = re.match(r"\d{1,12}", text)
    return (int(match[0]) or None) if match else None


def _num_classes(environment: Mapping[str, Any]) -> int | None:
    data = environment.get("data")
    found = data.get("num_classes") if isinstance(data, dict) else None
    try:
        return int(found) if found is not None else None
    except (TypeError, ValueError):
        return None
