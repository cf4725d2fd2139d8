"""Hyperparameter tuning for Keras image networks.

    import tuner
    experiment = tuner.load_experiment("experiments/quickstart.yaml")
    results = tuner.run(experiment, results_dir="results")
    results.trials()     # pandas DataFrame, one row a trial

`tuner.layers` and `tuner.models` stand on their own in any Keras program. Importing `tuner` loads
no framework.
"""

from __future__ import annotations

from tuner.version import __version__

# That of typing, which is not imported here, nor is anything of Python's library: for
# `python -m tuner` the present folder comes first, and a typing.py there must not be run.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from tuner.experiment.experiment import Experiment
    from tuner.report.results import Results

__all__ = ["__version__", "layers", "load_experiment", "models", "open_results", "run"]


def __getattr__(name: str) -> Any:
    """`tuner.layers` and `tuner.models`, imported when they are first used."""
    if name in ("layers", "models"):
        import importlib

        return importlib.import_module(f"tuner.{name}")
    raise AttributeError(f"module 'tuner' has no attribute {name!r}")


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment in a YAML file, with overrides such as `training.epochs=3` applied.

    Raises:
        tuner.errors.InputError: everything that is wrong with it.
    """
    from tuner.experiment.experiment import load_experiment

    return load_experiment(path, overrides)


def run(
    experiment: Experiment,
    *,
    results_dir: str | Path = "results",
    data_dir: str | Path | None = None,
    workers: int = 1,
    gpus: Sequence[str] = (),
    budget_seconds: float | None = None,
    fail_fast: bool = False,
    reuse: Sequence[str | Path] = (),
) -> Results:
    """Run what is missing of an experiment, as `tuner run` does, and open its results.

    `reuse` are folders of other experiments whose finished trials are taken over where they are
    the same.

    Raises:
        tuner.errors.InputError: the experiment, its data or its folder is wrong.
        KeyboardInterrupt: Ctrl-C; everything finished is kept, and another call goes on.
    """
    import os
    import warnings
    from pathlib import Path

    from tuner.actions.page import write_run_page
    from tuner.execution.run import run_experiment
    from tuner.ledger.folder import RunFolder

    given = data_dir or os.environ.get("TUNER_DATA_DIR")
    run_experiment(
        experiment,
        results_dir=Path(results_dir),
        data_dir=Path(given) if given else None,
        workers=workers,
        gpus=gpus,
        budget_seconds=budget_seconds,
        fail_fast=fail_fast,
        reuse=[RunFolder.open(str(path), Path(results_dir)) for path in reuse],
    )
    folder = RunFolder(Path(results_dir), experiment.name)
    if unwritten := write_run_page(folder):
        warnings.warn(unwritten, RuntimeWarning, stacklevel=2)
    return open_results(folder.path)


def open_results(path: str | Path) -> Results:
    """The results in a folder such as `results/quickstart`.

    Raises:
        tuner.errors.InputError: there are none.
    """
    from tuner.report.results import open_results

    return open_results(path, build_model=_build_model)


def _build_model(model: Any, arrays: Any, notes: Any, backend: str) -> Any:
    """A Keras model of a checkpoint; on the backend that trained it, unless one is chosen."""
    import os

    if backend:
        os.environ.setdefault("KERAS_BACKEND", backend)
    from tuner.training.trial import restored_model

    return restored_model(model, arrays, notes)
