"""What a Python program or a notebook has of the package."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from rich.console import Console

import tuner
from tests.cli import recorded_run
from tests.report import fixed_ledger
from tuner.actions.page import LivePage
from tuner.cli import in_python, view
from tuner.cli.progress import RunProgress
from tuner.errors import InputError
from tuner.execution.events import TrialEnded
from tuner.experiment.experiment import parse_experiment
from tuner.experiment.objective import Objective
from tuner.experiment.schema import Resources

SPEC = {
    "name": "grid",
    "data": {"dataset": "synthetic", "train_images": 200, "validation": 100},
    "model": {"family": "mlp", "hidden_units": {"choice": (8, 16)}},
    "training": {
        "epochs": np.int64(2),
        "learning_rate": {"choice": np.array([0.1, 0.01])},
        "class_weight": {0: 1, 1: 5.0},
    },
}
TEXT = """\
name: grid
data: {dataset: synthetic, train_images: 200, validation: 100}
model: {family: mlp, hidden_units: {choice: [8, 16]}}
training: {epochs: 2, learning_rate: {choice: [0.1, 0.01]}, class_weight: {0: 1, 1: 5.0}}
"""


def test_a_mapping_is_the_same_experiment_as_its_file():
    experiment = tuner.load_experiment(SPEC)
    assert experiment == parse_experiment(TEXT, "grid.yaml")
    assert tuner.load_experiment(SPEC, ["training.epochs=3"]).document["training"]["epochs"] == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": None}, "the mapping: name: is missing"),
        ({"modle": {}}, "the mapping: modle: is not known"),
        ({"model": {"family": "restnet"}}, "resnet"),
        ({"training": {"learning_rate": float("nan")}}, "training.learning_rate: an experiment"),
        ({"training": {"learning_rate": object()}}, "a object"),
        ({3.5: 1}, "the key 3.5"),
        ({"model": {True: 1}}, "the key True"),
        ({"training": {"epochs": 2**70}}, "64 bits"),
    ],
)
def test_what_is_wrong_with_a_mapping_is_told_without_lines(changes, message):
    with pytest.raises(InputError) as error:
        tuner.load_experiment({**SPEC, **changes})
    assert message in str(error.value)
    assert ":1:1" not in str(error.value)


def test_a_mapping_that_holds_itself_is_refused():
    endless: dict = {**SPEC}
    endless["data"] = endless
    with pytest.raises(InputError, match="nested deeper"):
        tuner.load_experiment(endless)


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """What a call of `tuner.run` asks for, while a recorded run takes its place."""
    given: dict = {}

    def run_experiment(experiment, *, results_dir, listener, **others):
        given.update(others, experiment=experiment)
        fixed_ledger.make(results_dir)
        for event in recorded_run.events(recorded_run.Clock()):
            listener(event)

    given["pages"] = []
    monkeypatch.setattr(in_python, "run_experiment", run_experiment)
    monkeypatch.setattr(in_python, "write_run_page", lambda folder: given["pages"].append(folder))
    monkeypatch.chdir(tmp_path)
    return given


def test_a_run_tells_how_it_goes_in_lines_and_calls_back(asked, capsys):
    heard = []
    workers = {"cpus_per_worker": np.int64(2), "gpus_per_worker": 0.5}
    results = tuner.run(
        SPEC, max_trials=3, budget="1h30m", on_event=heard.append, profile=True, **workers
    )
    assert asked["profile"]
    assert results.profile().empty  # the recorded run has none
    assert asked["experiment"].resources == Resources(cpu=2, gpu=0.5)
    assert results.best().number == 2
    assert asked["experiment"].search.max_trials == 3
    assert asked["budget_seconds"] == 5400
    assert [event.number for event in heard if isinstance(event, TrialEnded)] == [2, 3, 4, 5]
    assert isinstance(heard[0], tuner.events.RunStarted)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("grid: 4 trials to run")
    assert "[2/5] trial 2: val_accuracy 0.3000" in said.err


def test_a_run_can_be_silent_and_a_callback_ends_it(asked, capsys):
    def stop(event):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        tuner.run(tuner.load_experiment(SPEC), budget=90, on_event=stop, progress=False)
    assert asked["budget_seconds"] == 90
    assert capsys.readouterr().err == ""


def test_a_run_keeps_its_page_while_it_is_on_and_also_if_it_is_ended(asked, monkeypatch):
    """The page would otherwise say for ever that the run is on."""
    pages: list[LivePage] = []
    taken = []

    class Page(LivePage):
        def __enter__(self):
            pages.append(self)
            return super().__enter__()

        def listen(self, event):
            taken.append(event)

    def interrupt(event):
        if isinstance(event, TrialEnded):
            raise KeyboardInterrupt

    monkeypatch.setattr(in_python, "LivePage", Page)
    tuner.run(SPEC, progress=False)
    assert any(isinstance(event, TrialEnded) for event in taken)
    with pytest.raises(KeyboardInterrupt):
        tuner.run(SPEC, results_dir="others", progress=False, on_event=interrupt)
    assert len(pages) == 2
    assert [folder.name for folder in asked["pages"]] == ["grid", "grid"]


def test_what_is_refused_before_a_run_leaves_its_page_alone(asked, monkeypatch):
    monkeypatch.setattr(in_python, "run_experiment", lambda experiment, **others: {}["data"])
    with pytest.raises(KeyError):
        tuner.run(SPEC, progress=False)
    assert not asked["pages"]


@pytest.mark.parametrize(
    "options",
    [
        {"budget": "2 hours"}, {"budget": True}, {"budget": -1}, {"max_trials": 0},
        {"cpus_per_worker": 0}, {"cpus_per_worker": 1.5}, {"gpus_per_worker": 2},
        {"gpus_per_worker": float("nan")}, {"workers": 0}, {"workers": -1}, {"workers": 1.5},
        {"workers": 1, "gpus": (0, 1)},
    ],
)  # fmt: skip
def test_wrong_limits_are_refused_before_anything_runs(asked, options):
    with pytest.raises(InputError):
        tuner.run(SPEC, **options)
    assert asked == {"pages": []}


@pytest.mark.parametrize("gpus", [(0, 1), ["0", "1"], "0, 1"])
def test_each_gpu_that_is_named_has_a_worker(asked, gpus):
    tuner.run(SPEC, gpus=gpus, progress=False)
    assert (asked["workers"], asked["gpus"]) == (2, ("0", "1"))


@pytest.mark.parametrize("workers", [0, -1, 1.5])
@pytest.mark.parametrize("call", [tuner.plan, tuner.run])
def test_a_number_of_workers_that_is_none_is_refused(tmp_path, call, workers):
    with pytest.raises(InputError, match="workers: is no such number"):
        call(SPEC, results_dir=tmp_path, workers=workers)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{"top": 0}, {"seeds": True}, {"epochs": 2.5}])
def test_confirming_refuses_what_are_no_numbers_of_anything(tmp_path, options):
    folder = fixed_ledger.make(tmp_path)
    with pytest.raises(InputError, match=f"{next(iter(options))}: is no"):
        tuner.confirm(folder.path, **options)


def test_a_plan_prints_what_the_command_prints_and_a_notebook_shows_it(tmp_path, capsys):
    plan = tuner.plan(SPEC, results_dir=tmp_path)
    assert repr(plan).startswith("grid: 4 trials to run\n")
    assert "2 structures to compile, once each" in str(plan)
    html = plan._repr_html_()
    assert "4 trials to run" in html and html.count("<tr>") == 3
    assert "A structure is what shapes the compiled program" in html


@pytest.mark.parametrize("has_widgets", [True, False])
def test_a_notebook_draws_the_panel_where_it_can(monkeypatch, has_widgets):
    monkeypatch.setattr(view, "Console", lambda: Console(force_jupyter=True))
    if has_widgets:
        module = ModuleType("ipywidgets")
        module.__spec__ = object()
        monkeypatch.setitem(sys.modules, "ipywidgets", module)
    else:
        monkeypatch.setattr(view, "find_spec", lambda name: None)
    shown = view.view_in_python(RunProgress(Objective("val_accuracy", "max")), quiet=False)
    assert isinstance(shown._view, view.LiveView if has_widgets else view.PlainLines)


def test_the_best_trial_prints_in_three_lines(tmp_path):
    best = tuner.open_results(fixed_ledger.make(tmp_path).path).best()
    assert str(best).splitlines() == [
        "Trial 2 of grid: completed, val_accuracy 0.3000 in epoch 3 of 3",
        "  depth 20, learning_rate 0.01",
        "  seed 0, 272k parameters, trained in 6.00s",
    ]


def test_a_failed_trial_says_why(tmp_path):
    results = tuner.open_results(fixed_ledger.make(tmp_path).path)
    assert repr(results.trial(8)).startswith("Trial 8 of grid: failed: MemoryError: too large\n")


def test_notebooks_show_results_trials_and_comparisons_as_text_alone(tmp_path):
    results = tuner.open_results(fixed_ledger.make(tmp_path, "<b>grid").path)
    comparison = tuner.compare(results, by="depth")
    assert "Comparison by model.depth" in repr(comparison) == str(comparison)
    for shown in (results, results.best(), comparison):
        html = shown._repr_html_()
        assert "<b>grid" not in html.replace("&lt;b&gt;grid", "")
        assert html.count("<table>") == html.count("</table>")
        assert "\N{NO-BREAK SPACE}" not in html
    assert "<td" in results._repr_html_()
    assert "0.3000" in results.best()._repr_html_()


def test_comparing_nothing_is_refused():
    with pytest.raises(InputError, match="nothing to compare"):
        tuner.compare()
