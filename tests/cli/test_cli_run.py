from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli import recorded_run
from tuner.execution.messages import RunEnded
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


def test_progress_goes_to_stderr_and_the_table_to_stdout(
    tuner, experiment: Path, results: Path, scheduler: Scheduler
) -> None:
    said = tuner("run", experiment, "--results", results)
    assert said.status == 0
    assert said.out.startswith("grid: 6 ranked trials, best first\n")
    assert "What mattered" in said.out
    assert "[2/5] trial 2: val_accuracy 0.3000" in said.err
    assert f"done in 12.0s; results in {results / 'grid'}" in said.err


def test_quiet_says_nothing_but_the_result(
    tuner, experiment: Path, results: Path, scheduler: Scheduler
) -> None:
    said = tuner("run", experiment, "-q", "--results", results)
    assert said.err == ""
    assert said.out.startswith("grid: 6 ranked trials")


def test_json_is_one_document(tuner, experiment: Path, results: Path, scheduler: Scheduler) -> None:
    said = tuner("run", experiment, "-q", "--json", "--results", results)
    document = json.loads(said.out)
    assert (document["ending"], document["status"]) == ("done", 0)
    assert len(document["experiments"][0]["trials"]) == 9


def test_options_reach_the_scheduler(
    tuner, experiment: Path, results: Path, scheduler: Scheduler, tmp_path: Path
) -> None:
    tuner(
        *("run", experiment, "-S", "training.epochs=7", "-m", "2", "--budget", "1h30m"),
        *("-j", "2", "--gpus", "0,1", "--fail-fast"),
        *("--results", results, "--data-dir", tmp_path),
    )
    seen = scheduler.seen
    assert seen["experiment"].document["training"]["epochs"] == 7
    assert seen["experiment"].search.max_trials == 2
    assert (seen["budget_seconds"], seen["workers"], seen["gpus"]) == (5400.0, 2, ("0", "1"))
    assert (seen["fail_fast"], seen["results_dir"], seen["data_dir"]) == (True, results, tmp_path)


def test_the_data_folder_comes_from_the_environment(
    tuner,
    experiment: Path,
    results: Path,
    scheduler: Scheduler,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("TUNER_DATA_DIR", str(tmp_path))
    tuner("run", experiment, "--results", results)
    assert scheduler.seen["data_dir"] == tmp_path


@pytest.mark.parametrize(
    ("ending", "failed", "status"),
    [("done", 0, 0), ("done", 1, 3), ("budget", 0, 0), ("interrupted", 1, 130), ("failed", 0, 3)],
)
def test_exit_statuses(
    tuner,
    experiment: Path,
    results: Path,
    scheduler: Scheduler,
    ending: str,
    failed: int,
    status: int,
) -> None:
    scheduler.ending = ending
    scheduler.counts = {TrialState.COMPLETED: 3, TrialState.DIVERGED: failed}
    assert tuner("run", experiment, "--results", results).status == status


def test_an_interrupted_run_prints_the_line_to_continue(
    tuner, experiment: Path, results: Path, scheduler: Scheduler
) -> None:
    scheduler.ending = "interrupted"
    override = "model.depth={choice: [20, 32]}"
    options = ["-S", override, "-m", "2", "--budget", "5400s", "--results", str(results), "-q"]
    said = tuner("run", experiment, *options)
    line = said.err.partition("to continue: ")[2].strip()
    assert shlex.split(line) == ["tuner", "run", str(experiment), *options]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engine", "ray"], "--engine: not available in this version"),
        (["--engine", "cloud"], "there is no such engine"),
        (["--reuse", "other"], "other"),
        (["--gpus", "a,b"], "not a list of GPUs"),
        (["--budget", "2"], "is not a time"),
        (["--budget", "h"], "is not a time"),
        (["-m", "0"], "0 is not in the range"),
        (["-j", "0"], "0 is not in the range"),
        (["-S", "training.epochs=0"], "training.epochs"),
        (["-S", "nonsense"], "nonsense"),
    ],
)
def test_what_cannot_be_done_is_said_and_not_ignored(
    tuner, experiment: Path, tmp_path: Path, scheduler: Scheduler, options: list[str], message: str
) -> None:
    said = tuner("run", experiment, *options, "--results", tmp_path / "none")
    assert said.status == 2
    assert message in said.err
    assert scheduler.seen == {}
    assert not (tmp_path / "none").exists()


_WAITING = """\
import sys, tuner.execution.run as module
from tuner.execution.messages import RunEnded
from tuner.cli.main import main

def wait(experiment, *, stop, **others):
    print("running", flush=True)
    while not stop.wait(0.05):
        pass
    if "stubborn" in sys.argv[0]:
        print("stopping", flush=True)
        import time
        time.sleep(60)
    return RunEnded("interrupted", {}, None, 1.0, 4)

module.run_experiment = wait
main(sys.argv[1:])
"""


def interrupted(name: str, experiment: Path, results: Path, signals: int) -> tuple[int, str]:
    """Exit status and stderr of a run that is sent SIGINT so many times."""
    path = experiment.with_name(f"{name}.py")
    path.write_text(_WAITING)
    command = [sys.executable, str(path), "run", str(experiment), "--results", str(results)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        for expected in ("running\n", "stopping\n")[:signals]:
            assert process.stdout.readline() == expected
            process.send_signal(signal.SIGINT)
        begun = time.monotonic()
        _, said = process.communicate(timeout=30)
        assert time.monotonic() - begun < 10
    return process.returncode, said


def test_the_first_ctrl_c_ends_cleanly_with_the_line_to_continue(
    experiment: Path, results: Path
) -> None:
    status, said = interrupted("patient", experiment, results, 1)
    assert status == 130
    assert "press Ctrl-C again to stop at once" in said
    assert f"to continue: tuner run {experiment} --results {results}" in said
    assert "Traceback" not in said


def test_the_second_ctrl_c_ends_at_once(experiment: Path, results: Path) -> None:
    status, said = interrupted("stubborn", experiment, results, 2)
    assert status == 130
    assert "stopped at once; to continue: tuner run" in said
    assert "Traceback" not in said


def test_signal_handlers_are_put_back(
    tuner, experiment: Path, results: Path, scheduler: Scheduler
) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    tuner("run", experiment, "--results", results)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_results_folder_in_use_is_refused(tuner, experiment: Path, results: Path) -> None:
    with RunFolder(results, "grid").lock():
        said = tuner("run", experiment, "--results", results)
    assert said.status == 1
    assert f"process {os.getpid()} has been running this experiment" in said.err
