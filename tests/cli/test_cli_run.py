from __future__ import annotations

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import click
import pytest
from rich.console import Console

import tuner as package
from tests.cli import recorded_run
from tuner.actions import confirm as actions_confirm
from tuner.cli import confirm, main, run
from tuner.cli.options import command_line
from tuner.cli.progress import RunProgress
from tuner.cli.view import LiveView, PlainLines, SafeView
from tuner.execution.events import RunEnded
from tuner.experiment.experiment import load_experiment
from tuner.experiment.objective import Objective
from tuner.experiment.schema import Resources
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder

EXPERIMENT = """\
name: grid
data: {dataset: synthetic, train_images: 500}
model: {family: resnet, depth: {choice: [20, 32]}}
training: {epochs: 3, learning_rate: {choice: [0.1, 0.01]}}
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    path = tmp_path / "grid.yaml"
    path.write_text(EXPERIMENT)
    return path


class Scheduler:
    """Stands in for `run_experiment`: sends the recorded events, ends as told."""

    def __init__(self) -> None:
        self.ending = "done"
        self.counts: dict[TrialState, int] = {TrialState.COMPLETED: 3}
        self.seen: dict[str, Any] = {}

    def __call__(self, experiment: Any, *, listener: Any, **others: Any) -> RunEnded:
        self.seen = {"experiment": experiment, **others}
        others["data_progress"]("reading", 1, 2)
        clock = recorded_run.Clock()
        for event in recorded_run.events(clock):
            listener(event)
        return RunEnded(self.ending, self.counts, None, 12.0, 4)


@pytest.fixture
def scheduler(monkeypatch: pytest.MonkeyPatch) -> Scheduler:
    import tuner.execution.run

    stand_in = Scheduler()
    monkeypatch.setattr(tuner.execution.run, "run_experiment", stand_in)
    return stand_in


@pytest.fixture
def run_grid(tuner_of_grid, experiment: Path, scheduler: Scheduler):
    """`tuner run` of the experiment, by the scheduler that stands in."""
    return lambda *options: tuner_of_grid("run", experiment, *options)


def test_progress_goes_to_stderr_and_the_table_to_stdout(run_grid, results) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    said = run_grid()
    assert said.status == 0
    assert said.out.startswith("grid: 6 ranked trials, best first\n")
    assert "Mean val_accuracy at each value" in said.out
    assert "[2/5] trial 2: val_accuracy 0.3000" in said.err
    assert f"done in 12.0s\nresults in {results / 'grid'}" in said.err
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_quiet_says_nothing_but_the_result_and_json_is_one_document(run_grid) -> None:
    said = run_grid("-q")
    assert said.err == ""
    assert said.out.startswith("grid: 6 ranked trials")
    document = json.loads(run_grid("-q", "--json").out)
    assert (document["ending"], document["status"]) == ("done", 0)
    assert len(document["experiments"][0]["trials"]) == 9


def test_options_reach_the_scheduler(run_grid, results, scheduler, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    run_grid(
        *("-S", "training.epochs=7", "-m", "2", "--budget", "1h30m", "-j", "2", "--gpus", "0,1"),
        *("--fail-fast", "--data-dir", tmp_path),
        *("--cpus-per-worker", "3", "--gpus-per-worker", "0.5", "--profile"),
    )
    seen = scheduler.seen
    assert seen["experiment"].resources == Resources(cpu=3, gpu=0.5)
    assert seen["experiment"].where("resources.cpu") == "--cpus-per-worker"
    assert seen["experiment"].document["training"]["epochs"] == 7
    assert seen["experiment"].search.max_trials == 2
    assert (seen["budget_seconds"], seen["workers"], seen["gpus"]) == (5400.0, 2, ("0", "1"))
    assert seen["profile"]
    assert (seen["fail_fast"], seen["results_dir"], seen["data_dir"]) == (True, results, tmp_path)
    monkeypatch.setenv("TUNER_DATA_DIR", str(tmp_path / "of the environment"))
    run_grid()
    assert scheduler.seen["data_dir"] == tmp_path / "of the environment"
    assert not scheduler.seen["profile"]


@pytest.mark.parametrize(
    ("ending", "failed", "status"),
    [("done", 0, 0), ("done", 1, 3), ("budget", 0, 0), ("interrupted", 1, 130), ("failed", 0, 3)],
)
def test_exit_statuses(run_grid, scheduler, ending: str, failed: int, status: int) -> None:
    scheduler.ending = ending
    scheduler.counts = {TrialState.COMPLETED: 3, TrialState.DIVERGED: failed}
    assert run_grid().status == status


RUNNING = [
    *("-j", "2", "--gpus", "0,1", "--budget", "12d", "--results", "other place"),
    *("--cpus-per-worker", "3", "--gpus-per-worker", "0.5"),
    *("--engine", "ray", "--ray-address", "auto", "--shared-from", "2GB"),
    *("--data-dir", "data", "--fail-fast", "--hang-timeout", "1h30m", "-q", "--json"),
]
SEARCH = [
    *("grid.yaml", "-S", "model.depth={choice: [20, 32]}", "-S", "training.epochs=3", "-m", "2"),
    *("--reuse", "a", "--reuse", "b", "--tensorboard", "--profile", "--dry-run", *RUNNING),
]
LEADERS = ["grid", "--top", "2", "--seeds", "9", "--epochs", "3", "--train-images", "7", *RUNNING]


def parsed(command: click.Command, arguments: list[str]) -> dict[str, Any]:
    settings = main.command.context_settings
    return command.make_context(command.name, list(arguments), **settings).params


@pytest.mark.parametrize("folder_of_the_environment", [None, "data", "elsewhere"])
@pytest.mark.parametrize(("command", "typed"), [(run.command, SEARCH), (confirm.command, LEADERS)])
def test_the_line_to_continue_gives_the_same_options_back(
    command, typed, folder_of_the_environment, monkeypatch
) -> None:
    if folder_of_the_environment:
        monkeypatch.setenv("TUNER_DATA_DIR", folder_of_the_environment)
    values, defaults = parsed(command, typed), parsed(command, typed[:1])
    same = {name for name, value in values.items() if value == defaults[name]}
    assert same <= {"experiment", "name", "data_dir"}  # every option is tried
    for expected in (values, defaults):
        start, name, *arguments = shlex.split(command_line(command, expected))
        assert (start, name) == ("tuner", command.name)
        assert parsed(command, arguments) == expected


def test_what_was_typed_is_what_is_printed(tuner, experiment, results, scheduler) -> None:
    scheduler.ending = "interrupted"
    override = "model.depth={choice: [20, 32]}"
    options = ["-S", override, "-m", "2", "--budget", "1h30m", "--results", str(results), "-q"]
    said = tuner("run", experiment, *options)
    line = said.err.partition("to continue: ")[2].strip()
    assert shlex.split(line) == ["tuner", "run", str(experiment), *options]


def test_an_interrupted_retry_goes_on_as_a_run(tuner, results, scheduler) -> None:
    kept = results / "grid" / "experiment.yaml"
    kept.write_text(EXPERIMENT)
    scheduler.ending = "interrupted"
    said = tuner("retry", results / "grid", "--stopped", "--budget", "36h", "--fail-fast", "-q")
    line = said.err.partition("to continue: ")[2].strip()
    options = ["--budget", "1d12h", "--results", str(results), "--fail-fast", "-q"]
    assert shlex.split(line) == ["tuner", "run", str(kept), *options]


def test_a_retry_works_on_the_folder_that_was_named(tuner, results, scheduler) -> None:
    (results / "grid" / "experiment.yaml").write_text(EXPERIMENT)
    (results / "grid").rename(results / "old-grid")
    scheduler.ending = "interrupted"
    said = tuner("retry", "old-grid", "--results", results, "-q")
    assert shlex.split(said.err.partition("to continue: ")[2])[3:5] == ["-S", 'name="old-grid"']
    assert [folder.name for folder in results.iterdir()] == ["old-grid"]


def test_a_confirmation_is_continued_with_all_its_options(tuner, results, monkeypatch) -> None:
    monkeypatch.setattr(confirm, "run_shown", mock.Mock(side_effect=KeyboardInterrupt))
    monkeypatch.setattr(actions_confirm, "plan_confirmation", lambda *_, **__: mock.Mock())
    typed = ["grid", "--top", "2", "--budget", "12d", "--results", str(results), "--fail-fast"]
    said = tuner("confirm", *typed)
    assert said.status == 130
    line = said.err.partition("stopped at once; to continue: ")[2].strip()
    assert shlex.split(line) == ["tuner", "confirm", *typed]
    assert confirm.run_shown.call_args.kwargs["retry"] == (TrialState.FAILED,)


# ---------------------------------------------------------------------- faults in what is shown


def broken(*arguments: object, **options: object) -> None:
    raise ZeroDivisionError("oh")


@pytest.fixture
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where tracebacks go."""
    folder = tmp_path / "traces"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_a_page_that_cannot_be_drawn_hides_no_run(run_grid, monkeypatch, traces) -> None:
    monkeypatch.setattr("tuner.report.page.write_page", broken)
    said = run_grid("-q")
    assert said.status == 0
    assert said.out.startswith("grid: 6 ranked trials, best first\n")
    (file,) = traces.iterdir()
    (line,) = said.err.splitlines()
    assert line.startswith(
        "report.html could not be written: ZeroDivisionError: oh; tuner report -f html writes it"
    )
    assert str(file) in line


def test_a_page_whose_code_cannot_be_loaded_hides_no_run(run_grid, monkeypatch, traces) -> None:
    monkeypatch.setitem(sys.modules, "tuner.report.page", None)
    said = run_grid("-q")
    assert said.status == 0
    assert said.out.startswith("grid: 6 ranked trials, best first\n")
    assert said.err.startswith("report.html could not be written: ModuleNotFoundError")


def test_a_page_that_cannot_be_drawn_hides_no_results(
    experiment, results, scheduler, monkeypatch, traces
) -> None:
    monkeypatch.setattr("tuner.report.page.write_page", broken)

    def run_experiment(experiment, *, listener, **options):
        listener(recorded_run.run_started("grid", 0, 1))

    monkeypatch.setattr("tuner.cli.in_python.run_experiment", run_experiment)
    with pytest.warns(RuntimeWarning, match=r"report.html could not be written: ZeroDivision"):
        found = package.run(load_experiment(experiment), results_dir=results)
    assert found.best().number == 2


@pytest.mark.parametrize("method", ["__enter__", "__call__", "data_progress", "__exit__"])
def test_a_view_that_breaks_is_off_and_the_run_goes_on(
    run_grid, results, monkeypatch, traces, method: str
) -> None:
    monkeypatch.setattr(PlainLines, method, broken)
    said = run_grid()
    assert said.status == 0
    assert said.out.startswith("grid: 6 ranked trials, best first\n")
    assert said.err.count("the progress of this run is no longer shown: ZeroDivisionError") == 1
    assert "Traceback" not in said.err
    assert f"results in {results / 'grid'}" in said.err


def test_a_live_view_that_cannot_be_drawn_is_off(monkeypatch, capsys, traces: Path) -> None:
    monkeypatch.setattr("tuner.cli.view.panel", broken)
    clock = recorded_run.Clock()
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    with SafeView(LiveView(RunProgress(Objective(), clock), console)) as view:
        for event in recorded_run.events(clock):
            view(event)
        view.data_progress("reading", 1, 2)
    assert capsys.readouterr().err.count("is no longer shown: ZeroDivisionError: oh") == 1


def test_files_for_tensorboard_that_cannot_be_written_end_no_run(run_grid, results) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    (results / "grid" / "tensorboard").write_text("in the way")
    said = run_grid("--tensorboard")
    assert said.status == 0
    assert said.err.count("the files for TensorBoard are not complete: Not a directory") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ray-address", "auto"], "workers of this machine have no address"),
        (["--shared-from", "2GB"], "workers of this machine have the folder anyway"),
        (["--shared-from", "2"], "is not a size"),
        (["--engine", "ray", "--gpus", "0"], "on a cluster Ray chooses the GPUs"),
        (["--engine", "cloud"], "there is no such engine"),
        (["--reuse", "other"], "other"),
        (["--gpus", "a,b"], "not a list of GPUs"),
        (["--gpus", ","], "not a list of GPUs"),
        (["--gpus", "0,1", "-j", "1"], "more GPUs than workers"),
        (["--budget", "2"], "is not a time"),
        (["--budget", "h"], "is not a time"),
        (["--cpus-per-worker", "0"], "0 is not in the range"),
        (["--gpus-per-worker", "1.5"], "1.5 is not in the range"),
        (["--gpus-per-worker", "nan"], "--gpus-per-worker"),
        (["-m", "0"], "0 is not in the range"),
        (["-j", "0"], "0 is not in the range"),
        (["-S", "training.epochs=0"], "training.epochs"),
        (["-S", "nonsense"], "nonsense"),
    ],
)
def test_what_cannot_be_done_is_said_and_not_ignored(
    tuner, experiment, tmp_path, scheduler, options, message
) -> None:
    said = tuner("run", experiment, *options, "--results", tmp_path / "none")
    assert said.status == 2
    assert message in said.err
    assert scheduler.seen == {}
    assert not (tmp_path / "none").exists()


_WAITING = """\
import sys, tuner.execution.run as module
from tuner.cli.main import main

def wait(experiment, *, stop, **others):
    print("running", flush=True)
    while not stop.wait(0.05):
        pass
    print("stopping", flush=True)
    sys.stdin.readline()
    return module.RunEnded("interrupted", {}, None, 12.0, 4)

module.run_experiment = wait
main(sys.argv[1:])
"""


def start_waiting(experiment, results) -> subprocess.Popen[str]:
    """A run that ends once it was told to, and has read a line after that."""
    command = [sys.executable, "-c", _WAITING, "run", str(experiment), "--results", str(results)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, env=environment, text=True, **pipes)


def test_the_second_ctrl_c_ends_at_once(experiment, results) -> None:
    with start_waiting(experiment, results) as process:
        for expected in ("running\n", "stopping\n"):
            assert process.stdout.readline() == expected
            process.send_signal(signal.SIGINT)
        begun = time.monotonic()
        _, said = process.communicate(timeout=30)
        assert time.monotonic() - begun < 10
    assert process.returncode == 130
    assert "stopped at once; to continue: tuner run" in said
    assert "Traceback" not in said


def test_what_a_batch_system_sends_ends_cleanly_however_often_it_comes(experiment, results) -> None:
    """Slurm: --signal=B:USR1@120, then SIGTERM to all, which a shell may pass on once more."""
    with start_waiting(experiment, results) as process:
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGUSR1)
        assert process.stdout.readline() == "stopping\n"
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGUSR2, signal.SIGUSR1):
            process.send_signal(number)
            time.sleep(0.05)
        _, said = process.communicate("\n", timeout=30)
    assert process.returncode == 130
    assert "interrupted; to continue: tuner run" in said


def test_a_results_folder_in_use_is_refused(tuner_of_grid, experiment, results) -> None:
    with RunFolder(results, "grid").lock():
        said = tuner_of_grid("run", experiment)
    assert said.status == 1
    assert f"process {os.getpid()} has been running this experiment" in said.err
