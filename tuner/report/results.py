"""Results in Python: pandas frames of a run's trials and epochs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import TrialRow
from tuner.ledger.table import csv_columns, csv_row
from tuner.report import summary as summaries
from tuner.report.ranking import rank
from tuner.report.record import RunRecord, read_record

if TYPE_CHECKING:
    import pandas


class Results:
    """One experiment's results, read anew at every call: a running search can be watched."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.folder.name

    @property
    def record(self) -> RunRecord:
        """Everything as plain records."""
        return read_record(self.folder)

    @property
    def summary(self) -> str:
        """What was found, in a few sentences."""
        return summaries.to_text(summaries.summarize(self.record))

    def best(self) -> TrialRow | None:
        """The best trial; None while none has a score."""
        record = self.record
        ranked = rank(record.rows, record.direction).ranked
        return ranked[0] if ranked else None

    def trials(self) -> pandas.DataFrame:
        """One row a trial in the order of their numbers, with the columns of trials.csv."""
        import pandas as pd

        with Ledger.open_read_only(self.folder.ledger) as ledger:
            names, metrics = ledger.value_names, ledger.metric_names
            rows = [csv_row(row, names, metrics) for row in ledger.rows()]
            return pd.DataFrame(rows, columns=csv_columns(ledger))

    def epochs(self) -> pandas.DataFrame:
        """One row a trial and epoch: `trial, epoch, <metrics>, seconds`."""
        import pandas as pd

        with Ledger.open_read_only(self.folder.ledger) as ledger:
            rows = [
                {"trial": row.number, "epoch": row.epoch, **row.metrics, "seconds": row.seconds}
                for row in ledger.epochs()
            ]
        frame = pd.DataFrame(rows)
        return frame if rows else pd.DataFrame(columns=["trial", "epoch", "seconds"])

    def __repr__(self) -> str:
        return f"Results({str(self.folder.path)!r})"


def open_results(name_or_path: str | os.PathLike[str], results_dir: Path | None = None) -> Results:
    """Results by the path of their folder, or by their name under a results folder.

    Raises:
        InputError: nothing of that name has a ledger.
    """
    return Results(RunFolder.open(os.fspath(name_or_path), results_dir or Path("results")))
