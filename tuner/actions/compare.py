"""Experiments that are named to be compared, read in an order that says what is wrong at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tuner.ledger.folder import RunFolder
from tuner.report import sides
from tuner.report.record import read_record
from tuner.report.trial_fields import Setting, only


def read_sources(
    names: Sequence[str], results_dir: Path, settings: Sequence[Setting] = (), metric: str = ""
) -> list[sides.ComparedExperiment]:
    """Records first, so that a wrong name or objective is said before the curves are read.

    `settings` leave out all trials with other values; `metric` takes the place of the objectives.

    Raises:
        InputError: a name, a setting or the metric is unknown, or objectives differ.
    """
    folders = [RunFolder.open(name, results_dir) for name in names]
    records = [read_record(folder) for folder in folders]
    records = [
        replace(record, name=name) if _is_ambiguous(folder, folders) else record
        for name, folder, record in zip(names, folders, records, strict=True)
    ]
    if not metric:
        sides.check_objectives(records)
    records = only(records, settings)
    return [
        sides.read_curves(f, record, metric) for f, record in zip(folders, records, strict=True)
    ]


def _is_ambiguous(folder: RunFolder, folders: Sequence[RunFolder]) -> bool:
    """Whether another folder has its name, so that only the path tells them apart."""
    return any(other.name == folder.name and other != folder for other in folders)
