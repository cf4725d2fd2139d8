"""Hyperparameter tuning for Keras image networks.

    import tuner
    experiment = tuner.load_experiment("experiments/quickstart.yaml")   # or a mapping
    print(tuner.plan(experiment))
    results = tuner.run(experiment)
    results.trials()     # pandas DataFrame, one row for each trial
    print(tuner.confirm(results, top=3))

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

    from tuner.actions.plan import Plan
    from tuner.execution.events import Event
    from tuner.experiment.experiment import Experiment
    from tuner.report.comparison import Comparison
    from tuner.report.confirmation import Confirmation
    from tuner.report.results import Results

__all__ = [
    "__version__",
    "compare",
    "confirm",
    "events",
    "layers",
    "load_experiment",
    "models",
    "open_results",
    "plan",
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


def plan(
    experiment: Experiment | str | Path | Mapping[str, Any],
    *,
    results_dir: str | Path = "results",
    data_dir: str | Path | None = None,
    workers: int = 1,
    cpus_per_worker: int | None = None,
    gpus_per_worker: float | None = None,
) -> Plan:
    """What `run` would do, as `tuner plan` says it: trials, networks, time; trains nothing.

    Print it, or let a notebook show it.

    Args:
        experiment: what `load_experiment` gives, or what it takes.
        results_dir: where its results are, if it has run before.
        data_dir: the folder of data sets; by default $TUNER_DATA_DIR, else Keras' own cache.
        workers: worker processes that the time is estimated for.
        cpus_per_worker: these two are as those of `run`.
        gpus_per_worker: see there.

    Raises:
        tuner.errors.InputError: the experiment or its data is wrong.
    """
    import os
    from pathlib import Path

    from tuner.actions.plan import make_plan
    from tuner.cli.in_python import check_counts, data_folder
    from tuner.execution.estimate import Here

    check_counts(workers=workers)
    loaded = _loaded(experiment).with_resources(cpus_per_worker, gpus_per_worker)
    return make_plan(
        loaded,
        results_dir=Path(results_dir).expanduser(),
        data_dir=data_folder(data_dir),
        here=Here.of(loaded, workers, (), os.environ),
    )


def run(
    experiment: Experiment | str | Path | Mapping[str, Any],
    *,
    results_dir: str | Path = "results",
    data_dir: str | Path | None = None,
    workers: int | None = None,
    gpus: Sequence[str | int] = (),
    engine: str = "local",
    ray_address: str | None = None,
    cpus_per_worker: int | None = None,
    gpus_per_worker: float | None = None,
    max_trials: int | None = None,
    budget: str | float | None = None,
    fail_fast: bool = False,
    reuse: Sequence[str | Path] = (),
    profile: bool = False,
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
        workers: processes that train; by default one, or one for each of `gpus`; on a cluster as
            many as it has room for.
        gpus: which GPUs they share, by index among the visible ones; by default all.
        engine: "local", or "ray" for workers on a Ray cluster.
        ray_address: of the cluster, HOST:PORT or "auto"; by default $RAY_ADDRESS, else a Ray that
            is started here.
        cpus_per_worker: threads of each; by default `resources.cpu`, else its part of the cores.
        gpus_per_worker: the part of a GPU that each gets (0.5 puts two on one, 0 trains without);
            by default `resources.gpu`, else they share out what there is.
        max_trials: try at most so many configurations (`search.max_trials`).
        budget: no new trial starts after it: "2h", "90m", or seconds.
        fail_fast: stop at the first failed trial.
        reuse: folders of other experiments whose finished trials are taken over where they are the
            same.
        profile: measure where the time of each worker goes, and how fast it trains:
            `results.profile()`, and a part of the page.
        on_event: is called with everything that happens, one of the classes of `tuner.events`:
            TrialStarted, EpochEnded, TrialEnded, …, in the thread that runs the search. What it
            raises ends the run; everything finished is kept.
        progress: whether to say how it goes.

    Raises:
        tuner.errors.InputError: the experiment, its data or its folder is wrong.
        KeyboardInterrupt: Ctrl-C; everything finished is kept, and another call goes on.
    """
    from pathlib import Path

    from tuner.cli.in_python import CalledRun
    from tuner.ledger.folder import RunFolder

    loaded, results = _loaded(experiment), Path(results_dir).expanduser()
    if max_trials is not None:
        loaded = loaded.with_values([f"search.max_trials={max_trials}"])
    loaded = loaded.with_resources(cpus_per_worker, gpus_per_worker)
    options = (budget, fail_fast, on_event, progress, engine, ray_address, profile)
    called = CalledRun(data_dir, workers, gpus, *options)
    called.run(loaded, results, [RunFolder.open(str(path), results) for path in reuse])
    return open_results(RunFolder(results, loaded.name).path)


def confirm(
    results: Results | str | Path,
    *,
    top: int = 5,
    seeds: int = 5,
    epochs: int | None = None,
    train_images: int | None = None,
    results_dir: str | Path = "results",
    data_dir: str | Path | None = None,
    workers: int | None = None,
    gpus: Sequence[str | int] = (),
    engine: str = "local",
    ray_address: str | None = None,
    cpus_per_worker: int | None = None,
    gpus_per_worker: float | None = None,
    budget: str | float | None = None,
    fail_fast: bool = False,
    on_event: Callable[[Event], object] | None = None,
    progress: bool = True,
) -> Confirmation:
    """Train the best configurations again and read the test set, as `tuner confirm` does.

    Print what it gives, or let a notebook show it. Call it again to continue. Its trials are the
    results in NAME/confirm.

    Args:
        results: of the search, or its name, or the path of its folder.
        top: number of configurations, the best ones of the search.
        seeds: number of new seeds under which each of them is trained.
        epochs: epochs to train for; by default as in the search.
        train_images: number of images to train on; by default all, with none held out.
        results_dir: where a name is looked for.
        data_dir: these and all others are as those of `run`.

    Raises:
        tuner.errors.InputError: there are no such results, no trial has a score, or there is no
            test set.
        KeyboardInterrupt: Ctrl-C; everything finished is kept, and another call goes on.
    """
    from pathlib import Path

    from tuner.actions.confirm import conclude, plan_confirmation
    from tuner.cli.in_python import CalledRun, check_counts, data_folder, write_page
    from tuner.experiment.trial import TrialState
    from tuner.ledger.folder import RunFolder
    from tuner.report.results import Results

    check_counts(top=top, seeds=seeds, epochs=epochs, train_images=train_images)
    name = results.folder.path if isinstance(results, Results) else results
    folder = RunFolder.open(str(name), Path(results_dir).expanduser())
    planned = plan_confirmation(
        folder, top=top, seeds=seeds, epochs=epochs, train_images=train_images
    )
    called = CalledRun(
        data_dir, workers, gpus, budget, fail_fast, on_event, progress, engine, ray_address
    )
    experiment = planned.experiment.with_resources(cpus_per_worker, gpus_per_worker)
    ended = called.run(experiment, folder.path, retry=(TrialState.FAILED,))
    concluded = conclude(planned, folder, data_folder(data_dir), ended.ending)
    write_page(folder, concluded.lost, concluded.unwritten)
    return concluded.confirmation


def compare(
    *results: Results | str | Path,
    by: str = "",
    baseline: str = "",
    target: float | None = None,
    only: Mapping[str, Any] | None = None,
    metric: str = "",
    results_dir: str | Path = "results",
) -> Comparison:
    """Experiments side by side, or with `by` groups of their trials, as `tuner compare` does.

    The first is the baseline unless `baseline` names another side. `only={"depth": 20}` leaves out
    all other trials; `metric` compares another one than the objective's. Print it, or let a
    notebook show it; `differences` holds what may be claimed.

    Raises:
        tuner.errors.InputError: a name is unknown, or the objectives differ.
    """
    from pathlib import Path

    from tuner.actions.compare import read_sources
    from tuner.errors import InputError, Problem
    from tuner.report.comparison import CompareOptions, compare
    from tuner.report.results import Results
    from tuner.report.trial_fields import Setting

    if not results:
        raise InputError(Problem("nothing to compare", "results", expected="names or Results"))
    names = [str(r.folder.path) if isinstance(r, Results) else str(r) for r in results]
    settings = [Setting(name, value) for name, value in (only or {}).items()]
    sources = read_sources(names, Path(results_dir), settings, metric)
    return compare(sources, CompareOptions(by, baseline, target))


def open_results(path: str | Path) -> Results:
    """The results in a folder such as `results/quickstart`.

    Raises:
        tuner.errors.InputError: there are none.
    """
    from tuner.report.results import open_results

    return open_results(path, build_model=_build_model)


def _loaded(experiment: Experiment | str | Path | Mapping[str, Any]) -> Experiment:
    from tuner.experiment.experiment import Experiment

    return experiment if isinstance(experiment, Experiment) else load_experiment(experiment)


def _build_model(model: Any, arrays: Any, notes: Any, backend: str) -> Any:
    """A Keras model of a checkpoint; on the backend that trained it, unless one is chosen."""
    import os

    if backend:
        os.environ.setdefault("KERAS_BACKEND", backend)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the next run needs memory
    from tuner.training.trial import restored_model

    return restored_model(model, arrays, notes)
