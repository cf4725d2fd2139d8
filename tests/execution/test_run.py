"""Whole runs with real workers: what a person sees from one end to the other."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess

import keras
import pytest

import tuner
from tests.execution.tiny import EXPERIMENT, write_experiment
from tests.on_jax import XLA_FLAGS
from tuner.data.images import load_images
from tuner.errors import InputError, TunerError
from tuner.execution.events import TrialCompiled, TrialStarted, WorkerLost
from tuner.execution.run import run_experiment
from tuner.experiment.experiment import load_experiment
from tuner.experiment.trial import TrialState
from tuner.ledger.ledger import Ledger
from tuner.ledger.profile import PHASES
from tuner.ledger.records import UNRANKED_STATES

pytestmark = pytest.mark.usefixtures("forked_workers")


def workers() -> list[int]:
    """Process numbers of this process's workers."""
    command = ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(os.getpid())]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [int(line.split()[0]) for line in lines if "tuner.execution.worker" in line]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, forked_workers):
    """A run of four trials in one worker, two of which diverge."""
    folder = tmp_path_factory.mktemp("run")
    experiment = load_experiment(write_experiment(folder))
    events = []
    ended = run_experiment(
        experiment, results_dir=folder / "results", profile=True, listener=events.append
    )
    return folder, experiment, events, ended


def test_good_trials_complete_and_diverging_ones_do_not(finished):
    _, _, events, ended = finished
    assert ended.ending == "done"
    assert ended.counts[TrialState.COMPLETED] == 2
    assert ended.counts[TrialState.DIVERGED] == 2
    assert ended.best.values["training.learning_rate"] == 0.001
    # One program serves all trials of a structure.
    assert len([e for e in events if isinstance(e, TrialStarted)]) == 4
    assert len([e for e in events if isinstance(e, TrialCompiled)]) == 1


def test_the_folder_holds_tables_environment_and_the_resolved_experiment(finished):
    folder, experiment, _, _ = finished
    results = folder / "results" / "tiny"
    with (results / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows].count("completed") == 2
    assert list(rows[0])[:6] == [
        "trial",
        "state",
        "score",
        "epochs",
        "model.dropout",
        "training.learning_rate",
    ]
    assert "epoch 1" in next(row["reason"] for row in rows if row["state"] == "diverged")
    environment = json.loads((results / "environment.json").read_text())
    assert environment["data"]["train_images"].startswith("96")
    assert load_experiment(results / "experiment.yaml").space == experiment.space


def test_a_profile_says_where_all_the_time_went_and_how_much_was_computed(finished):
    folder, _, events, ended = finished
    results = tuner.open_results(folder / "results" / "tiny")
    (worker,) = results.record.profile.workers
    spent, trials = worker.seconds, results.trials()
    assert all(spent[phase] > 0 for phase in PHASES)
    # The worker begins after the run and ends before it; how much, is the machine's affair.
    assert 0.5 * ended.seconds < worker.whole_seconds < 1.05 * ended.seconds
    assert spent["other"] < 0.5 * worker.whole_seconds
    made = spent["build"] + spent["trace"] + spent["compile"]
    assert made >= next(e.seconds for e in events if isinstance(e, TrialCompiled))
    # Epochs are 96 images; one that diverges ends where its loss is no number.
    whole = results.epochs()["trial"].isin(trials[trials["state"] == "completed"]["trial"]).sum()
    least = 6 * trials["macs"][0] * 96 * whole
    assert least < worker.training_flop <= least + 6 * trials["macs"][0] * 96 * 2
    assert worker.programs == 1 and worker.matrix_flops > 1e6
    frame = results.profile()
    assert frame.loc[1, "train"] == spent["train"]
    assert frame.loc[1, "whole_seconds"] == pytest.approx(frame.loc[1, list(PHASES)].sum())


def test_running_again_starts_no_worker(finished):
    folder, experiment, _, ended = finished
    again = run_experiment(experiment, results_dir=folder / "results")
    assert again.counts == ended.counts
    assert again.seconds < 2


def test_the_best_trials_model_predicts_what_was_validated(finished):
    folder, experiment, _, _ = finished
    results = tuner.open_results(folder / "results" / "tiny")
    assert len(results.trials()) == 4
    best = results.best()
    images = load_images(experiment.data, None)
    logits = best.load_model().predict(images.x_validation.astype("float32"), verbose=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(images.y_validation, logits)
    epochs = results.epochs().set_index(["trial", "epoch"])
    expected = epochs.loc[(best.number, best.best_epoch), "val_loss"]
    assert float(loss) == pytest.approx(expected, rel=1e-4)
    diverged = next(row for row in results.record.rows if row.state is TrialState.DIVERGED)
    with pytest.raises(TunerError, match="no checkpoint of trial"):
        results.trial(diverged.number).load_model()
    good = [row for row in results.record.rows if row.state is TrialState.COMPLETED]
    kept = sorted(path.name for path in results.folder.checkpoints.iterdir())
    assert kept == sorted(f"{row.number}-{row.best_epoch}-1.npz" for row in good)


def test_a_killed_worker_costs_its_trial_a_second_start_and_nothing_else(tmp_path, finished):
    folder, _, _, _ = finished
    text = EXPERIMENT.replace(", 3.0e+38", "")
    experiment = load_experiment(write_experiment(tmp_path, text))
    events = []

    def listener(event):
        events.append(event)
        if isinstance(event, TrialCompiled) and not any(isinstance(e, WorkerLost) for e in events):
            os.kill(workers()[0], signal.SIGKILL)

    ended = run_experiment(experiment, results_dir=tmp_path / "results", listener=listener)
    assert ended.counts[TrialState.COMPLETED] == 2
    assert [event.number for event in events if isinstance(event, WorkerLost)] == [1]
    assert "SIGKILL" in next(e.reason for e in events if isinstance(e, WorkerLost))
    # The disturbed trial equals the same trial of the undisturbed run, to the last bit.
    undisturbed = tuner.open_results(folder / "results" / "tiny").trials()
    disturbed = tuner.open_results(tmp_path / "results" / "tiny").trials()
    columns = ["loss", "val_loss", "score"]
    usual = undisturbed[undisturbed.state == "completed"].set_index("model.dropout")[columns]
    assert disturbed.set_index("model.dropout")[columns].equals(usual)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (EXPERIMENT.replace("batch_size: 16", "batch_size: 97"), "97 is more than the training"),
        (EXPERIMENT + "search: {{method: hyperband, max_trials: 2}}", "no epoch at which to comp"),
    ],
)
def test_what_is_wrong_is_found_before_anything_is_written(tmp_path, text, told):
    experiment = load_experiment(write_experiment(tmp_path, text))
    with pytest.raises(InputError, match=told):
        run_experiment(experiment, results_dir=tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_a_missing_backend_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("tuner.execution.checks.find_spec", lambda name: None)
    experiment = load_experiment(write_experiment(tmp_path))
    with pytest.raises(InputError, match="package tensorflow is not installed"):
        run_experiment(experiment, results_dir=tmp_path / "results")


def test_a_jax_experiment_never_imports_tensorflow(tmp_path, monkeypatch):
    pytest.importorskip("jax")
    trap = tmp_path / "trap"
    trap.mkdir()
    (trap / "tensorflow.py").write_text("raise ImportError('TensorFlow was imported')")
    monkeypatch.setenv("PYTHONPATH", str(trap))
    monkeypatch.setenv("XLA_FLAGS", XLA_FLAGS)
    text = "backend: jax\n" + EXPERIMENT.replace("[0, 0.2]", "[0.2]")
    experiment = load_experiment(write_experiment(tmp_path, text))
    ended = run_experiment(experiment, results_dir=tmp_path / "results")
    assert ended.counts[TrialState.COMPLETED] == 1
    assert ended.counts[TrialState.DIVERGED] == 1


def test_retry_leaves_alone_what_an_edit_has_left_behind(finished, tmp_path):
    folder, _, _, _ = finished
    shutil.copytree(folder / "results", tmp_path / "results")
    path = folder / "tiny.yaml"
    edited = load_experiment(path, ["training.learning_rate=0.001"])
    ended = run_experiment(edited, results_dir=tmp_path / "results", retry=UNRANKED_STATES)
    with Ledger.open_read_only(tmp_path / "results" / "tiny" / "ledger.sqlite") as ledger:
        diverged = ledger.rows([TrialState.DIVERGED], all_versions=True)
    assert [row.reason for row in diverged] == ["loss is nan in epoch 1"] * 2
    assert not any(row.is_current for row in diverged)
    assert ended.counts[TrialState.DIVERGED] == 0
    assert ended.best is not None


SAME = """
name: same
data: {{dataset: {data}, validation: 24, augment: [crop, flip]}}
model: {{family: lenet, kernel_size: 3, dropout: 0.2}}
training: {{epochs: 2, batch_size: 48, learning_rate: {{choice: [0.01, 0.003, 0.001]}}}}
resources: {{cpu: 1}}
"""


def test_with_threads_of_their_own_two_workers_find_what_one_does_bit_for_bit(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("tuner.execution.devices.available_cores", lambda: 2)
    experiment = load_experiment(write_experiment(tmp_path, SAME))
    found = []
    for workers in (1, 2):
        results = tmp_path / str(workers)
        run_experiment(experiment, results_dir=results, workers=workers)
        with Ledger.open_read_only(results / "same" / "ledger.sqlite") as ledger:
            keys = {row.number: row.key for row in ledger.rows()}
            assert {row.threads for row in ledger.rows()} == {1}
            assert {row.worker for row in ledger.rows()} == set(range(1, workers + 1))
            found.append({(keys[e.number], e.epoch): e.metrics for e in ledger.epochs()})
    assert len(found[0]) == 6
    assert found[0] == found[1]
