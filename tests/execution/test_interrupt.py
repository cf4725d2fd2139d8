"""Ctrl-C as people use it: the whole command, a real worker, a signal."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks.reliability.preload import forked
from benchmarks.reliability.search import children, environment, send
from tests.execution.tiny import EXPERIMENT, write_experiment
from tuner.experiment.trial import TrialState
from tuner.ledger.ledger import Ledger

LONG = EXPERIMENT.replace("epochs: 2", "epochs: 400").replace("0.001, 3.0e+38", "0.001")


def run(folder: Path, environ: Mapping[str, str], *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tuner", "run", "tiny.yaml", *options]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=dict(environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def workers(process: subprocess.Popen[str], environ: Mapping[str, str]) -> list[int]:
    return [forked(environ, child) for child in children(process.pid)]


def counts(folder: Path) -> dict[TrialState, int]:
    with Ledger.open_read_only(folder / "results" / "tiny" / "ledger.sqlite") as ledger:
        return ledger.counts()


def wait_for_an_epoch(folder: Path) -> None:
    path = folder / "results" / "tiny" / "ledger.sqlite"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if path.exists():
            with Ledger.open_read_only(path) as ledger:
                if ledger.epochs():
                    return
        time.sleep(0.2)
    raise AssertionError("no epoch within a minute")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGUSR1])
def test_the_first_signal_ends_cleanly_within_seconds_and_says_how_to_go_on(
    tmp_path, sent, environ
):
    write_experiment(tmp_path, LONG)
    # Ctrl-C once without anything preloaded, as people use it.
    process = run(tmp_path, environment() if sent is signal.SIGINT else environ)
    wait_for_an_epoch(tmp_path)
    if sent is signal.SIGUSR1:  # a batch system sends it to every process of the run
        for worker in workers(process, environ):
            send(worker, signal.SIGTERM)
            send(worker, sent)
    process.send_signal(sent)
    begun = time.monotonic()
    _, said = process.communicate(timeout=30)
    assert time.monotonic() - begun < 10
    assert process.returncode == 130
    assert "press Ctrl-C again to stop at once" in said
    assert "to continue: tuner run tiny.yaml" in said
    assert "Traceback" not in said
    assert counts(tmp_path)[TrialState.RUNNING] == 0
    if sent is signal.SIGUSR1:
        with Ledger.open_read_only(tmp_path / "results" / "tiny" / "ledger.sqlite") as ledger:
            assert ledger.events_of("worker lost") == []
        return
    # Edited to be short (and to hold diverging trials), the experiment runs to its end.
    write_experiment(tmp_path)
    process = run(tmp_path, environ, "-q")
    process.communicate(timeout=120)
    assert process.returncode == 3  # two of the four diverge, as they should
    assert counts(tmp_path)[TrialState.COMPLETED] == 2
