"""Hyperparameter tuning for Keras image networks.

    import tuner
    experiment = tuner.load_experiment("experiments/quickstart.yaml")   # or a mapping
    results = tuner.run(experiment, results_dir="results")
    results.trials()     # pandas DataFrame, one row for each trial

`tuner.layers` and `tuner.models` stand on their own in any Keras program. Importing `tuner` loads
no framework.
"""

from __future__ import annotations

from tuner.version import __version__

# That of typing, which is not imported here, nor is anything of Python's library: for
# `python -m tuner` the present folder comes first, and a typing.py there must not be run.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from tuner.execution.events import Event
    from tuner.experiment.experiment import Experiment
    from tuner.report.comparison import Comparison
    from tuner.report.results import Results

__all__ = [
    "__version__",
    "compare",
    "events",
    "layers",
    "load_experiment",
    "models",
    "open_results",
    "run",
]

_PARTS = {
    "layers": "tuner.layers",
    "models": "tuner.models",
    "events": "tuner.execution.events",
}


def __getattr__(name: str) -> Any:
    """`tuner.layers`, `tuner.models` and `tuner.events`, imported when they are first used."""
    if name in _PARTS:
        import importlib

        return importlib.import_module(_PARTS[name])
    raise AttributeError(f"module 'tuner' has no attribute {name!r}")


def load_experiment(
    experiment: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()
) -> Experiment:
    """The experiment in a YAML file, or in a mapping with the same names.

    `overrides` such as `training.epochs=3` are applied. A mapping says its `name`, which of a file
    is that of the file.

    Raises:
        tuner.errors.InputError: everything that is wrong with it.
    """
    from tuner.experiment.experiment import load_experiment

    return load_experiment(experiment, overrides)


def run(
    experiment: Experiment | str | Path | Mapping[str, Any],
    *,
    results_dir: str | Path = "results",
    data_dir: str | Path | None = None,
    workers: int = 1,
    gpus: Sequence[str] = (),
    max_trials: int | None = None,
    budget: str | float | None = None,
    fail_fast: bool = False,
    reuse: Sequence[str | Path] = (),
    on_event: Callable[[Event], object] | None = None,
    progress: bool = True,
) -> Results:
    """Run what is missing of an experiment, as `tuner run` does, and open its results.

    Lines on stderr say how it goes; a notebook that has ipywidgets shows what `tuner run` shows on
    a terminal. `progress=False` is silent.

    Args:
        experiment: what `load_experiment` gives, or what it takes.
        results_dir: the results are written to its folder NAME.
        data_dir: the folder of data sets; by default $TUNER_DATA_DIR, else Keras' own cache.
        workers: processes that train.
        gpus: which GPUs they share, by index among the visible ones; by default all.
        max_trials: try at most so many configurations (`search.max_trials`).
        budget: no new trial starts after it: "2h", "90m", or seconds.
        fail_fast: stop at the first failed trial.
        reuse: folders of other experiments whose finished trials are taken over where they are the
            same.
        on_event: is called with everything that happens, one of the classes of `tuner.events`:
            TrialStarted, EpochEnded, TrialEnded, …, in the thread that runs the search. What it
            raises ends the run; everything finished is kept.
        progress: whether to say how it goes.

    Raises:
        tuner.errors.InputError: the experiment, its data or its folder is wrong.
        KeyboardInterrupt: Ctrl-C; everything finished is kept, and another call goes on.
    """
    import os
    import warnings
    from pathlib import Path

    from tuner.actions.page import write_run_page
    from tuner.cli.progress import RunProgress
    from tuner.cli.view import view_in_python
    from tuner.execution.run import run_experiment
    from tuner.experiment.duration import seconds_of
    from tuner.experiment.experiment import Experiment
    from tuner.ledger.folder import RunFolder

    loaded = experiment if isinstance(experiment, Experiment) else load_experiment(experiment)
    if max_trials is not None:
        loaded = loaded.with_values([f"search.max_trials={max_trials}"])
    given = data_dir or os.environ.get("TUNER_DATA_DIR")
    with view_in_python(RunProgress(loaded.objective), quiet=not progress) as view:

        def listener(event: Event) -> None:
            view(event)
            if on_event is not None:
                on_event(event)

        run_experiment(
            loaded,
            results_dir=Path(results_dir),
            data_dir=Path(given) if given else None,
            workers=workers,
            gpus=gpus,
            budget_seconds=seconds_of(budget, "budget"),
            fail_fast=fail_fast,
            reuse=[RunFolder.open(str(path), Path(results_dir)) for path in reuse],
            listener=listener,
            data_progress=view.data_progress,
        )
    folder = RunFolder(Path(results_dir), loaded.name)
    if unwritten := write_run_page(folder):
        warnings.warn(unwritten, RuntimeWarning, stacklevel=2)
    return open_results(folder.path)


def compare(
    *results: Results | str | Path,
    by: str = "",
    baseline: str = "",
    target: float | None = None,
    results_dir: str | Path = "results",
) -> Comparison:
    """Experiments side by side, or with `by` groups of their trials, as `tuner compare` does.

    The first is the baseline unless `baseline` names another side. Print it, or let a notebook
    show it; `differences` holds what may be claimed.

    Raises:
        tuner.errors.InputError: a name is unknown, or the objectives differ.
    """
    from pathlib import Path

    from tuner.actions.compare import read_sources
    from tuner.errors import InputError, Problem
    from tuner.report.comparison import CompareOptions, compare
    from tuner.report.results import Results

    if not results:
        raise InputError(Problem("nothing to compare", "results", expected="names or Results"))
    names = [str(r.folder.path) if isinstance(r, Results) else str(r) for r in results]
    sources = read_sources(names, Path(results_dir))
    return compare(sources, CompareOptions(by, baseline, target))


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
