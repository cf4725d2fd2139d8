from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
from rich.console import Console

from tests.cli import recorded_run
from tests.report.rows import trial
from tuner.cli.progress import Best, RunProgress
from tuner.cli.view import LiveView, PlainLines, panel
from tuner.execution.events import (
    EpochEnded,
    Notice,
    RunEnded,
    RunStarted,
    TrialCompiled,
    TrialEnded,
    TrialProgress,
    TrialStarted,
    TrialWaits,
    WorkerLost,
    WorkerReady,
)
from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState
from tuner.ledger.estimate import Estimate, StructureTime

GOLDEN = Path(__file__).parent / "golden"


def check(name: str, found: str) -> None:
    """Compares with a file that was looked at and found good; delete it to write it anew."""
    path = GOLDEN / name
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(found)
        pytest.fail(f"{path} was written: look at it")
    assert found == path.read_text()


def drawn(progress: RunProgress, width: int = 78, height: int = 24) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    console.print(panel(progress, width, height))
    text = console.file.getvalue()
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def started(**changes: object) -> tuple[RunProgress, recorded_run.Clock]:
    clock = recorded_run.Clock()
    return RunProgress(Objective(), clock), clock


def test_frames_of_the_recorded_run() -> None:
    progress, clock = started()
    frames = [drawn(progress)]
    for event in recorded_run.events(clock):
        progress.take(event)
        frames.append(drawn(progress))
    check("frames.txt", "\n".join(dict.fromkeys(frames)))


@pytest.mark.parametrize("width", [60, 78, 100])
def test_no_frame_is_wider_than_the_terminal(width: int) -> None:
    progress, clock = started()
    for event in recorded_run.events(clock):
        progress.take(event)
        assert max(len(line) for line in drawn(progress, width).splitlines()) <= width


def test_plain_lines_of_the_recorded_run() -> None:
    progress, clock = started()
    lines: list[str] = []
    with PlainLines(progress, lines.append) as view:
        for event in recorded_run.events(clock):
            view(event)
    check("plain.txt", "\n".join(lines) + "\n")


def test_the_live_view_leaves_a_line_for_every_ended_trial() -> None:
    progress, clock = started()
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    with LiveView(progress, console) as view:
        for event in recorded_run.events(clock):
            view(event)
    text = console.file.getvalue()
    assert "★ trial 2: val_accuracy 0.3000" in text
    assert "✓ trial 3: val_accuracy 0.2000" in text
    assert "✗ trial 4: diverged: loss is nan in epoch 2" in text
    assert "✗ trial 5: failed: MemoryError: no" in text
    assert "worker 1 was lost with trial 5: killed by signal 9" in text


def test_time_left_counts_the_running_trial() -> None:
    progress, clock = started()
    progress.take(recorded_run.run_started("grid", 4, 2))
    progress.take(TrialStarted(1, 1, {}, 0, 2, "s", False))
    assert progress.seconds_left is None
    clock.now += 10
    progress.take(TrialProgress(1, 1, 1, 2, 10, 20, 1.0))
    # A quarter of a trial in 10 s: 3.75 trials are left.
    assert progress.share == pytest.approx(0.0625)
    assert progress.seconds_left == pytest.approx(150)
    progress.take(EpochEnded(1, 1, 1, 2, {"val_accuracy": 0.1}, 10.0))
    assert progress.seconds_left == pytest.approx(70)
    progress.take(TrialEnded(1, 1, TrialState.COMPLETED, 0.1, "", {}, 2))
    assert progress.seconds_left == pytest.approx(60)


def test_the_best_follows_direction_ties_and_nan() -> None:
    progress = RunProgress(Objective("val_loss", "min"), recorded_run.Clock())
    earlier = trial(1, 0.5, {})
    progress.take(recorded_run.run_started("grid", 6, 3, done=1, best=earlier))
    for number, score in ((2, 0.6), (3, 0.5), (4, math.nan)):
        progress.take(TrialEnded(number, 1, TrialState.COMPLETED, score, "", {}, 1))
        assert progress.best is not None
        assert progress.best.number == 1
    progress.take(TrialEnded(5, 1, TrialState.COMPLETED, 0.4, "", {}, 1))
    assert progress.best.number == 5
    progress.take(TrialEnded(6, 1, TrialState.FAILED, 0.1, "x", {}, 1))
    assert progress.best.number == 5
    assert len(progress.failures) == 1


def test_a_search_without_a_known_total_is_drawn() -> None:
    progress, _ = started()
    progress.take(RunStarted("adaptive", None, 3, None, 1, "r"))
    assert "3 trials" in drawn(progress)
    assert progress.seconds_left is None


def test_a_download_is_shown_and_told_in_tenths() -> None:
    progress, _ = started()
    lines: list[str] = []
    view = PlainLines(progress, lines.append)
    for done in range(0, 170_000_000, 1_000_000):
        view.data_progress("downloading the data set", done, 169_000_000)
    assert "downloading the data set" in drawn(progress)
    assert len(lines) == 11
    assert lines[5] == "downloading the data set: 85 MB of 169 MB"


def trained(progress: RunProgress, number: int, epochs: list[float], *, worker: int = 1) -> None:
    """A trial of up to nine epochs begins and gets as far as that."""
    progress.take(TrialStarted(number, worker, {"rate": number}, 0, 9, "s", False))
    for epoch, value in enumerate(epochs, start=1):
        progress.take(EpochEnded(number, worker, epoch, 9, {"val_accuracy": value}, 1.0))


def stopped(number: int, score: float, epochs: int, worker: int | None = None) -> TrialEnded:
    values = {"rate": number}
    return TrialEnded(number, worker, TrialState.STOPPED, score, "asha: too low", values, epochs)


def test_trials_that_are_stopped_shorten_the_time_left() -> None:
    progress, _ = started()
    progress.take(recorded_run.run_started("asha", 10, 9))
    for number in (1, 2, 3, 4):
        trained(progress, number, [0.1])
        progress.take(stopped(number, 0.1, 1, worker=1))
    # Four epochs of 1 s, a mean of one epoch a trial, six trials left.
    assert progress.seconds_left == pytest.approx(6)
    assert progress.num_stopped == 4


def test_a_trial_that_is_taken_up_again_has_not_ended() -> None:
    progress, _ = started()
    lines: list[str] = []
    view = PlainLines(progress, lines.append)
    view(recorded_run.run_started("asha", 10, 9))
    for number in (1, 2, 3, 4):
        trained(progress, number, [0.1])
        progress.take(stopped(number, 0.1, 1, worker=1))
    view(TrialStarted(3, 1, {"rate": 3}, 0, 9, "s", False, epochs_done=1, up_again=True))
    assert lines[-1] == "trial 3: among the best after all, going on after epoch 1"
    assert (progress.ended, progress.num_stopped) == (3, 3)
    # Eight epochs of this one, which counts in full: 12 of 36 epochs, so 18 of the 54 to come.
    assert progress.seconds_left == pytest.approx(8 + 18)
    progress.take(EpochEnded(3, 1, 2, 9, {"val_accuracy": 0.2}, 1.0))
    progress.take(stopped(3, 0.2, 2, worker=1))
    assert progress.seconds_left == pytest.approx(6 * 5 / 4)
    assert progress.num_stopped == 4


def test_time_left_of_hyperband_is_that_of_its_planned_epochs() -> None:
    progress, _ = started()
    start = recorded_run.run_started("hb", 12, 9, epochs_to_run=36, epochs_trained=4)
    progress.take(start)
    for number in (1, 2, 3):
        trained(progress, number, [0.1 * number])
        progress.take(TrialWaits(number, 1, 1, 9, {"rate": number}))
    assert progress.seconds_left == pytest.approx(33)
    assert progress.share == pytest.approx(7 / 40)
    progress.take(stopped(1, 0.1, 1))
    assert progress.seconds_left == pytest.approx(33)


def test_a_trial_that_waits_keeps_its_curve_and_may_be_the_best() -> None:
    progress, _ = started()
    progress.take(recorded_run.run_started("hb", 12, 9, epochs_to_run=36))
    trained(progress, 1, [0.2, 0.3])
    progress.take(TrialWaits(1, 1, 2, 9, {"rate": 1}))
    assert "waiting   1 trial" in drawn(progress)
    assert progress.best == Best(1, 0.3, {"rate": 1})
    progress.take(TrialStarted(1, 2, {"rate": 1}, 0, 9, "s", False, epochs_done=2))
    assert progress.running[2].curve == [0.2, 0.3]
    assert progress.running[2].epoch == 3
    assert not progress.waiting


def test_epochs_that_a_lost_worker_had_trained_count_once() -> None:
    progress, _ = started()
    progress.take(recorded_run.run_started("grid", 2, 9))
    for epochs in (2, 3):
        progress.take(TrialStarted(1, 1, {}, 0, 9, "s", False))
        for epoch in range(1, epochs + 1):
            progress.take(EpochEnded(1, 1, epoch, 9, {"val_accuracy": 0.1}, 1.0))
    # An epoch takes 1 s; six of this trial and nine of the other are left.
    assert progress.seconds_left == pytest.approx(15)


def test_time_left_weighs_epochs_by_their_structure() -> None:
    progress, _ = started()
    small, large = StructureTime(1, 9, multiply_adds=10), StructureTime(1, 9, multiply_adds=100)
    estimate = Estimate(1, {"small": small, "large": large})
    progress.take(RunStarted("grid", 2, 0, 2, 1, "r", estimate=estimate))
    progress.take(TrialStarted(1, 1, {}, 0, 9, "small", True))
    progress.take(TrialCompiled(1, 1, 5.0))
    for epoch in (1, 2, 3):
        progress.take(EpochEnded(1, 1, epoch, 9, {}, 1.0))
    # Six epochs of 1 s are left, and nine of 10 s after another 5 s of compiling.
    assert progress.seconds_left == pytest.approx(6 + 90 + 5)


def test_stopped_trials_are_counted_and_their_last_reason_shown() -> None:
    progress, _ = started()
    trained(progress, 7, [0.1])
    progress.take(stopped(7, 0.1, 1, worker=1))
    trained(progress, 8, [0.1])
    progress.take(TrialWaits(8, 1, 1, 9, {}))
    progress.take(stopped(8, 0.1, 1))
    assert "stopped   2 trials; trial 8: asha: too low" in drawn(progress)


def test_plain_lines_of_waiting_and_stopped_trials_and_notices() -> None:
    progress, _ = started()
    lines: list[str] = []
    view = PlainLines(progress, lines.append)
    progress.take(recorded_run.run_started("hb", 12, 9, epochs_to_run=36))
    trained(progress, 8, [0.1])
    view(TrialWaits(8, 1, 1, 9, {"rate": 8}))
    view(stopped(8, 0.1, 1))
    view(Notice("2 finished trials taken over from results/first"))
    assert lines == [
        "trial 8: waits after epoch 1/9, val_accuracy 0.1000  35s left",
        "[1/12] trial 8: val_accuracy 0.1000, stopped after epoch 1  (rate 8); asha: too low",
        "2 finished trials taken over from results/first",
    ]


def test_the_live_view_keeps_notices_above_the_panel() -> None:
    progress, _ = started()
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    with LiveView(progress, console) as view:
        view(Notice("2 finished trials taken over from results/first"))
        view(recorded_run.run_started("grid", 4, 2, notes=("it takes about 5m",)))
    text = console.file.getvalue()
    assert "! 2 finished trials taken over from results/first" in text
    assert "· it takes about 5m" in text


def test_the_live_view_says_notes_to_their_end() -> None:
    progress, _ = started()
    console = Console(file=io.StringIO(), width=60, force_terminal=True, color_system=None)
    note = "the data set has classes of very different sizes, so that class_weight: balanced helps"
    with LiveView(progress, console) as view:
        view(recorded_run.run_started("grid", 4, 2, notes=(note,)))
    assert note in " ".join(console.file.getvalue().replace("\r", "").split())


@pytest.mark.parametrize("height", [16, 20, 24, 40])
def test_free_rows_show_the_best_trials(height: int) -> None:
    progress, _ = started()
    progress.take(recorded_run.run_started("grid", 40, 9))
    trained(progress, 1, [0.1])
    for number in range(2, 22):
        values = {"training.learning_rate": number / 100, "model.family": "resnet"}
        ended = TrialEnded(number, 1, TrialState.COMPLETED, (number * 7 % 20) / 20, "", values, 1)
        progress.take(ended)
    lines = drawn(progress, height=height).splitlines()
    assert len(lines) <= max(height - 3, 11)
    table = [line.strip("│ ").split() for line in lines if "resnet" in line and "best" not in line]
    scores = [float(row[1]) for row in table]
    assert scores == sorted(scores, reverse=True)
    assert len(table) == {16: 3, 20: 7, 24: 10, 40: 10}[height]


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 8])
def test_a_frame_fits_24_lines_with_room_for_history(workers: int) -> None:
    progress, _ = started()
    progress.take(recorded_run.run_started("grid", 40, 9, workers))
    for number in (90, 91, 92):
        trained(progress, number, [0.1])
        progress.take(TrialEnded(number, 1, TrialState.FAILED, None, "no", {}, 1))
    trained(progress, 93, [0.1])
    progress.take(stopped(93, 0.1, 1, worker=1))
    for worker in range(1, workers + 1):
        trained(progress, worker, [0.1, 0.2], worker=worker)
    lines = drawn(progress).splitlines()
    assert len(lines) <= 21
    assert sum("trial" in line and "rate" in line for line in lines) >= min(workers, 4)


def several(progress: RunProgress, clock: recorded_run.Clock, nodes: list[str]) -> None:
    """A worker on each of the nodes, all but the last with a trial."""
    begun = recorded_run.run_started("cluster", 40, 3, workers=len(nodes))
    progress.take(begun)
    for worker, node in enumerate(nodes, start=1):
        progress.take(WorkerReady(worker, "GPU", 2.0, node))
    for worker in range(1, len(nodes)):
        progress.take(TrialStarted(worker, worker, recorded_run.values(20, 0.1), 0, 3, "s", False))
    clock.now += 10
    for worker in range(1, len(nodes)):
        metrics = recorded_run.metrics(worker / 100)
        progress.take(EpochEnded(worker, worker, 1, 3, metrics, 9.0))


def test_several_workers_of_this_machine_are_told_apart() -> None:
    progress, clock = started()
    several(progress, clock, ["", "", ""])
    check("workers.txt", drawn(progress))


def test_nodes_are_summed_up_and_the_panel_fits_its_terminal() -> None:
    progress, clock = started()
    several(progress, clock, [f"node-{n % 6}" for n in range(64)])
    progress.take(WorkerLost(7, 7, "killed"))
    frame = drawn(progress)
    check("nodes.txt", frame)
    assert len(frame.splitlines()) <= 24
    assert max(map(len, frame.splitlines())) <= 78


def test_lines_say_where_a_worker_is_and_at_the_end_how_busy_all_were() -> None:
    progress, clock = started()
    lines: list[str] = []
    view = PlainLines(progress, lines.append)
    view(recorded_run.run_started("cluster", 2, 1, workers=2))
    view(WorkerReady(1, "GPU", 2.0, "node-a"))
    view(WorkerReady(2, "GPU", 2.0, "node-b"))
    view(TrialStarted(1, 2, recorded_run.values(20, 0.1), 0, 1, "s", False))
    clock.now += 8
    view(EpochEnded(1, 2, 1, 1, recorded_run.metrics(0.5), 8.0))
    view(TrialEnded(1, 2, TrialState.COMPLETED, 0.5, "", recorded_run.values(20, 0.1), 1))
    clock.now += 2
    view(RunEnded("done", {}, None, 10.0, 2))
    assert lines[1:3] == [
        "worker 1 ready in 2.00s (GPU on node-a)",
        "worker 2 ready in 2.00s (GPU on node-b)",
    ]
    assert "  8.00s on worker 2" in lines[3]
    assert lines[4:] == ["2 workers: 40% busy, idle for 12.0s in all"]
