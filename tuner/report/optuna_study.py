"""An experiment as a study of Optuna's, for its dashboard and its own analyses.

Source of the format: `optuna.storages.RDBStorage`, what `optuna.load_study(storage="sqlite:///…")`
and `optuna-dashboard sqlite:///…` read.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tuner.errors import InputError, Problem
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import FINISHED_STATES, EpochRow, TrialRow
from tuner.report.open_values import Spread, experiment_tree, spreads_of
from tuner.report.table import is_number

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

_STATES = {
    TrialState.COMPLETED: "COMPLETE",
    TrialState.STOPPED: "PRUNED",
    TrialState.DIVERGED: "FAIL",
    TrialState.FAILED: "FAIL",
}
_MARK = "exported_by"  # a user attribute of every study of ours


def write_studies(folders: Sequence[RunFolder], path: Path) -> int:
    """Write a study for each experiment into one SQLite file; gives how many trials are left out.

    Those are trials that have not ended. The file is made beside `path` and then put in its place.

    Raises:
        InputError: optuna is not installed, or another kind of file lies there.
        OSError: it cannot be written.
    """
    optuna = _optuna()
    _check_free(path, optuna)
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with TemporaryDirectory(dir=path.resolve().parent, prefix=".optuna-") as scratch:
            made = Path(scratch) / "study.db"
            storage = optuna.storages.RDBStorage(f"sqlite:///{made}")
            _hurry(storage.engine)
            left_out = sum(_write(folder, storage, optuna) for folder in folders)
            storage.remove_session()
            storage.engine.dispose()
            os.replace(made, path)
    finally:
        optuna.logging.set_verbosity(level)
    return left_out


def _hurry(engine: Any) -> None:
    """Commits do not wait for the disk: a file that is not whole is never put in its place."""
    from sqlalchemy import event

    def on_connect(connection: Any, record: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY")

    event.listen(engine, "connect", on_connect)
    engine.dispose()


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        what, mend = "optuna is not installed", "pip install 'convtuner[optuna]'"
        raise InputError(Problem(what, "-f optuna", mend=mend)) from error
    return optuna


def _check_free(path: Path, optuna: Any) -> None:
    """Only what was exported before is overwritten."""
    if not path.exists():
        return
    mend = "name another file, or remove this one"
    try:
        # A look must not make tables in somebody's own database: read-only.
        storage = f"sqlite:///file:{path.resolve()}?mode=ro&uri=true"
        studies = optuna.get_all_study_summaries(storage)
    except Exception as error:
        raise InputError(Problem("this is no study of Optuna's", str(path), mend=mend)) from error
    others = [study.study_name for study in studies if _MARK not in study.user_attrs]
    if others:
        what = "there are studies in it that tuner did not write"
        raise InputError(Problem(what, str(path), ", ".join(others), mend=mend))


def _write(folder: RunFolder, storage: Any, optuna: Any) -> int:
    with Ledger.open_read_only(folder.ledger) as ledger:
        metric, direction = ledger.objective.metric, ledger.objective.direction
        rows, left_out = ledger.rows(FINISHED_STATES), sum(ledger.counts().values())
        distributions = distributions_of(rows, spreads_of(experiment_tree(ledger.experiment_yaml)))
        study = optuna.create_study(
            storage=storage,
            study_name=folder.name,
            direction="maximize" if direction == "max" else "minimize",
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([metric])
        study.set_user_attr(_MARK, "tuner")
        for row in rows:
            study.add_trial(frozen_trial(row, ledger.epochs(row.number), metric, distributions))
    return left_out - len(rows)


def frozen_trial(
    row: TrialRow,
    epochs: Iterable[EpochRow],
    metric: str,
    distributions: Mapping[str, BaseDistribution],
) -> FrozenTrial:
    """One ended trial; intermediate values are the objective's, by epoch."""
    from optuna.trial import FrozenTrial, TrialState

    curve = {row.epoch: row.metrics[metric] for row in epochs if metric in row.metrics}
    params = {name: _value(value) for name, value in row.values.items()}
    return FrozenTrial(
        number=-1,  # the storage counts
        trial_id=-1,
        state=TrialState[_STATES[row.state]],
        value=row.score,
        datetime_start=_time(row.started_at or row.finished_at),
        datetime_complete=_time(row.finished_at),
        params=params,
        distributions={name: distributions[name] for name in params},
        user_attrs=_attributes(row),
        system_attrs={},
        intermediate_values=curve,
    )


def distributions_of(
    rows: Sequence[TrialRow], spreads: Mapping[str, Spread]
) -> dict[str, BaseDistribution]:
    """What each value was drawn from, by its dotted name.

    A range is one of Optuna's; anything else is categorical, with what was tried as well as what
    could have been. `reverse_log` has no counterpart and becomes linear.
    """
    tried: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row.values.items():
            tried.setdefault(name, []).append(value)
    return {name: _distribution(values, spreads.get(name)) for name, values in tried.items()}


def _distribution(tried: Sequence[Any], spread: Spread | None) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    numbers = [value for value in tried if is_number(value)]
    if spread is None or not spread.ranges or spread.options or len(numbers) < len(tried):
        options = [*(spread.options if spread else ()), *tried]
        # Each value once, where 1, 1.0 and true are three.
        once = {(type(value), value): value for value in map(_value, options)}
        return CategoricalDistribution(list(once.values()))
    # An experiment that was edited may have tried what its range does not hold any more.
    low = min(*numbers, *(range_.minimum for range_ in spread.ranges))
    high = max(*numbers, *(range_.maximum for range_ in spread.ranges))
    log = low > 0 and all(range_.scale == "log" for range_ in spread.ranges)
    if all(isinstance(number, int) for number in (*numbers, low, high)):
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(float(low), float(high), log=log)


def _attributes(row: TrialRow) -> dict[str, Any]:
    """What Optuna has no place for, without what is not known."""
    known = {
        "trial": row.number,
        "state": row.state.value,
        "reason": row.reason or None,
        "epochs": row.epochs,
        "best_epoch": row.best_epoch,
        "seed": row.seed,
        "replicate": row.replicate,
        "parameters": row.parameters,
        "macs": row.macs,
        "train_seconds": row.train_seconds,
        "compile_seconds": row.compile_seconds,
        **{n: v if math.isfinite(v) else str(v) for n, v in row.metrics.items()},
    }
    return {name: value for name, value in known.items() if value is not None}


def _value(value: Any) -> Any:
    """As a category: lists and mappings become their JSON text."""
    return json.dumps(value) if isinstance(value, list | tuple | dict) else value


def _time(text: str | None) -> datetime | None:
    """Optuna keeps local times without a zone."""
    return datetime.fromisoformat(text).astimezone().replace(tzinfo=None) if text else None
