"""Results in Python: pandas frames of a run's trials and epochs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import InputError, Problem, TunerError
from tuner.ledger.checkpoint import best_checkpoints, model_section, read_checkpoint
from tuner.ledger.folder import CONFIRMATION, RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.profile import PHASES
from tuner.ledger.records import TrialRow
from tuner.ledger.table import csv_columns, csv_row
from tuner.report import format, notebook
from tuner.report import summary as summaries
from tuner.report.record import RunRecord, read_environment, read_record
from tuner.report.trials_table import TableOptions, every_trial, trials_table

if TYPE_CHECKING:
    import pandas

_SHOWN_TRIALS = 10  # in a notebook; `trials()` has all

# (closed model section, arrays and notes of a checkpoint, backend) → Keras model
BuildModel = Callable[[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any], str], Any]


@dataclass(frozen=True, kw_only=True)
class TrialResult(TrialRow):
    """A trial, and its network where a checkpoint is kept."""

    folder: RunFolder
    metric: str
    build_model: BuildModel | None = field(repr=False, compare=False)

    @property
    def lines(self) -> tuple[str, str, str]:
        """What it reached, with which values, and at what cost."""
        score = ""
        if self.score is not None:
            epochs = f"epoch {self.best_epoch} of {self.epochs}"
            score = f", {self.metric} {format.score_text(self.score)} in {epochs}"
        reason = f": {format.first_line(self.reason)}" if self.reason else ""
        state = f"{format.state_word(self.state)}{score}{reason}"
        values = format.values_text(self.values) or "no value is searched"
        costs = [f"seed {self.seed}"]
        if self.parameters is not None:
            costs.append(f"{format.count_text(self.parameters)} parameters")
        if self.train_seconds is not None:
            costs.append(f"trained in {format.seconds_text(self.train_seconds)}")
        head = f"Trial {self.number} of {format.printable(self.folder.name)}: {state}"
        return head, values, ", ".join(costs)

    def __repr__(self) -> str:
        return "\n  ".join(self.lines)

    def _repr_html_(self) -> str:
        return notebook.paragraphs(self.lines)

    def load_model(self) -> Any:
        """The Keras model as it was in the trial's best epoch.

        It takes pixels, `(batch, height, width, channels)` as the data have them, which it
        normalizes itself, and gives logits (what it gives, if it is a network of one's own).

        Raises:
            TunerError: no checkpoint of the trial is kept, or it is damaged.
        """
        if self.build_model is None:
            raise TunerError("results opened with tuner.open_results can load models")
        with Ledger.open_read_only(self.folder.ledger) as ledger:
            kept = best_checkpoints(ledger, [self]).get(self.number)
        if kept is None:
            raise TunerError(
                f"no checkpoint of trial {self.number} is kept in {self.folder.checkpoints}\n"
                "    kept:     the best epoch of the best finished trials"
            )
        arrays, notes = read_checkpoint(self.folder, kept)
        backend = str(read_environment(self.folder.environment).get("backend", ""))
        return self.build_model(model_section(self), arrays, notes, backend)


class Results:
    """One experiment's results, read anew at every call: a running search can be watched."""

    def __init__(self, folder: RunFolder, build_model: BuildModel | None = None) -> None:
        self.folder = folder
        self._build_model = build_model

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.folder.name

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the network's outputs, where the data name them."""
        images = read_environment(self.folder.environment).get("images", {})
        return tuple(images.get("class_names", ()))

    @property
    def record(self) -> RunRecord:
        """Everything as plain records."""
        return read_record(self.folder)

    @property
    def summary(self) -> str:
        """What was found, in a few sentences."""
        return summaries.to_text(summaries.summarize(self.record))

    def best(self) -> TrialResult | None:
        """The best trial; None while none has a score."""
        record = self.record
        ranked = record.ranking.ranked
        return self._result(ranked[0], record.objective.metric) if ranked else None

    def trial(self, number: int) -> TrialResult | None:
        """The trial of that number; None for none."""
        with Ledger.open_read_only(self.folder.ledger) as ledger:
            row = ledger.row(number)
            return self._result(row, ledger.objective.metric) if row else None

    def _result(self, row: TrialRow, metric: str) -> TrialResult:
        build = self._build_model
        return TrialResult(**vars(row), folder=self.folder, metric=metric, build_model=build)

    def trials(self, *, all_versions: bool = False) -> pandas.DataFrame:
        """One row for each trial in the order of their numbers, with the columns of trials.csv.

        Trials of the experiment as it stands. With `all_versions` those of earlier versions, too; a
        column `is_current` keeps them apart, for their scores may be of other data, and whatever
        differs between them has a column.
        """
        import pandas as pd

        if all_versions:
            table = every_trial(read_record(self.folder, all_versions=True), TableOptions())
            frame = pd.DataFrame(table.rows, columns=[column.name for column in table.columns])
            return frame.sort_values("trial", ignore_index=True)
        with Ledger.open_read_only(self.folder.ledger) as ledger:
            names, metrics = ledger.value_names, ledger.metric_names
            cells = [csv_row(row, names, metrics) for row in ledger.rows()]
            return pd.DataFrame(cells, columns=csv_columns(ledger))

    def epochs(self, *, all_versions: bool = False) -> pandas.DataFrame:
        """One row for each trial and epoch: `trial, epoch, <metrics>, seconds`; see `trials`."""
        import pandas as pd

        with Ledger.open_read_only(self.folder.ledger) as ledger:
            rows = [
                {"trial": row.number, "epoch": row.epoch, **row.metrics, "seconds": row.seconds}
                for row in ledger.epochs(all_versions=all_versions)
            ]
        frame = pd.DataFrame(rows)
        return frame if rows else pd.DataFrame(columns=["trial", "epoch", "seconds"])

    def profile(self) -> pandas.DataFrame:
        """Where the time of the last run with `profile=True` went: a row for each worker.

        Its seconds in each phase (`import`, `data`, `build`, `trace`, `compile`, `train`, …), which
        add up to `whole_seconds`; operations a second while it trained (`training_flops`) and in a
        matrix product on its device (`matrix_flops`). Empty where no run was profiled.
        """
        import pandas as pd

        with Ledger.open_read_only(self.folder.ledger) as ledger:
            profile = ledger.profile
        rows = profile.document()["workers"] if profile else []
        phases = [{name: row["seconds"].get(name, 0.0) for name in PHASES} for row in rows]
        facts = [{k: v for k, v in row.items() if k not in ("seconds", "worker")} for row in rows]
        numbers = pd.Index([row["worker"] for row in rows], name="worker")
        seconds = pd.DataFrame(phases, index=numbers, columns=list(PHASES))
        return seconds.join(pd.DataFrame(facts, index=numbers))

    def test_predictions(self) -> pandas.DataFrame:
        """What `tuner confirm` has kept: a row for each test image and confirming trial.

        `configuration` is the leader's place (1: the search's best), `trial` and `seed` those of
        the confirming trial (`tuner.open_results("results/NAME/confirm")` has its values), `index`
        the image's place in the test set, from 0; then its class, the class that is predicted, and
        the `probability` of that and the `true_probability` of its own class.

        Raises:
            InputError: nothing has been confirmed, or by an older version that kept none.
        """
        from tuner.report.prediction_tables import frame_of
        from tuner.report.predictions import read_predictions

        own = RunFolder(self.folder.path, CONFIRMATION)
        kept = read_predictions(own) if own.ledger.is_file() else None
        if kept is None or not kept.trials:
            what = "no predictions on test images are kept"
            mend = format.command_text("confirm", self.folder.typed).strip("`")
            raise InputError(Problem(what, self.name, mend=mend))
        return frame_of(kept)

    def _repr_html_(self) -> str:
        """What was found, and the best trials."""
        record = self.record
        found = summaries.summarize(record)
        table = trials_table(record, TableOptions(top=_SHOWN_TRIALS))
        return "\n".join(
            [notebook.paragraphs([*found.sentences, found.advice]), notebook.to_html(table)]
        )

    def __repr__(self) -> str:
        return f"Results({str(self.folder.path)!r})"

    def __str__(self) -> str:
        return self.summary


def open_results(
    name_or_path: str | os.PathLike[str],
    results_dir: Path | None = None,
    build_model: BuildModel | None = None,
) -> Results:
    """Results by the path of their folder, or by their name under a results folder.

    Raises:
        InputError: nothing of that name has a ledger.
    """
    folder = RunFolder.open(os.fspath(name_or_path), results_dir or Path("results"))
    return Results(folder, build_model)
