"""`tuner run --engine ray` as people type it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.execution.tiny import EXPERIMENT, write_experiment
from tuner.cli.main import main
from tuner.errors import InputError
from tuner.execution import ray_cluster
from tuner.ledger.ledger import Ledger
from tuner.ledger.logs import log_lines

THREADS = dict.fromkeys(
    ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1"
)


def run(folder: Path, environ: Mapping[str, str], *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tuner", "run", "tiny.yaml", *options]
    environment = {**environ, **THREADS}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def curves(folder: Path) -> dict[tuple[str, int], Mapping[str, float]]:
    with Ledger.open_read_only(folder / "tiny" / "ledger.sqlite") as ledger:
        keys = {row.number: row.key for row in ledger.rows()}
        return {(keys[e.number], e.epoch): e.metrics for e in ledger.epochs()}


def test_a_ray_of_this_machine_trains_the_same_and_the_terminal_stays_as_it_is(tmp_path, environ):
    write_experiment(tmp_path, EXPERIMENT.replace("0.001, 3.0e+38", "0.001, 0.01"))
    told = run(tmp_path, environ, "--engine", "ray", "--results", "on-ray")
    assert told.returncode == 0, told.stderr
    assert "ray" not in told.stdout.lower()
    begun, *lines = told.stderr.splitlines()
    assert begun.startswith("tiny: 4 trials to run")
    known = ("note", "worker", "trial", "[", "2 workers: ", "done", "results")
    assert [line for line in lines if line and not line.startswith(known)] == []
    logs = tmp_path / "on-ray" / "tiny" / "logs"
    assert {line.trial for line in log_lines(logs)} == {None, 1, 2, 3, 4}
    assert run(tmp_path, environ, "--results", "here", "-q").returncode == 0
    assert curves(tmp_path / "on-ray") == curves(tmp_path / "here")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--engine", "ray", "--ray-address", "head"], "not an address"),
        (["--engine", "ray", "--ray-address", "ray://head:10001"], "--ray-address auto"),
        (["--engine", "ray", "--ray-address", "127.0.0.1:1"], "no Ray cluster answers"),
    ],
)
def test_what_cannot_be_reached_is_refused_before_anything_is_done(
    tmp_path, monkeypatch, capsys, options, told
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["run", "no-such.yaml", *options])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'convtuner\[ray\]'"):
        ray_cluster.check_installed()
