"""100,000 trials and 1,000,000 epochs in one ledger: how long do views and a new run take?

python -m benchmarks.reliability.large [-o FILE.md] [--quick]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.common import environment, table
from tuner.actions.plan import planned_trials
from tuner.experiment.experiment import load_experiment
from tuner.ledger import connection as files
from tuner.ledger.codec import encode
from tuner.ledger.folder import RunFolder
from tuner.ledger.records import Names
from tuner.ledger.schema import COLUMNS, seal

EXPERIMENT = """
name: large
data: {{dataset: synthetic}}
model: {{family: resnet, depth: {{choice: [20, 32, 44, 56, 110]}}}}
training:
  epochs: 10
  batch_size: 64
  optimizer: adam
  learning_rate: {{min: 1e-4, max: 1e-1, scale: log, count: {rates}}}
  l2: {{choice: [0, 1e-4]}}
  beta_2: {{min: 0.9, max: 0.9995, scale: reverse_log, count: 50}}
search: {{method: grid}}
"""
NUM_EPOCHS = 10
METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")
# What `tuner run` does before its first worker is started.
START = """
import sys, time
from pathlib import Path
from tuner.data.images import check
from tuner.execution.current import mark_current
from tuner.execution.queue import read_history
from tuner.execution.queue import TrialQueue
from tuner.experiment.experiment import load_experiment
from tuner.ledger.ledger import Ledger
from tuner.search import Search
experiment = load_experiment(sys.argv[1])
fingerprint = check(experiment.data, None).fingerprint
with Ledger.create_or_open(Path(sys.argv[2]), "large") as ledger:
    begun = time.perf_counter()
    search = Search(experiment, fingerprint)
    mark_current(search, ledger)
    ledger.counts()
    counted = time.perf_counter()
    queue = TrialQueue(search, read_history(search, ledger))
    assert not queue.is_empty()
    ledger.advance(queue.position)  # as a run does at its end
    print(counted - begun, time.perf_counter() - counted)
"""


def main() -> None:
    """Makes the ledger, times the commands, prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--quick", action="store_true", help="a hundredth of it")
    options = parser.parse_args()
    trials = 1_000 if options.quick else 100_000
    with tempfile.TemporaryDirectory() as scratch:
        text = f"{environment()}\n\n{_report(Path(scratch), trials)}"
    print(text)
    if options.output:
        options.output.write_text(text)


def _report(scratch: Path, trials: int) -> str:
    path = scratch / "large.yaml"
    # Half a per cent of the grid is still to run.
    path.write_text(EXPERIMENT.format(rates=trials // 500 + 1))
    folder = RunFolder(scratch, "large")
    folder.prepare()
    size = _make(path, folder, trials)
    tuner = [sys.executable, "-m", "tuner"]
    results = ["--results", str(scratch)]
    rows: list[list[Any]] = [
        ["tuner status", _least([*tuner, "status", *results]), 1.0],
        ["tuner report --top 20", _least([*tuner, "report", "large", "--top", "20", *results]), 2],
        ["tuner show best", _least([*tuner, "show", "large", "best", *results]), 1.0],
        # ["tuner doctor", _least([*tuner, "doctor", "large", *results], times=1), "–"],
    ]
    start = [sys.executable, "-c", START, str(path), str(folder.ledger)]
    for name in ("first run after an edit", "same experiment again"):
        begun = time.perf_counter()
        counted, queued = _output(start).split()
        whole = time.perf_counter() - begun
        text = f"{name}: until the first proposal (counting {float(counted):.2f} s, "
        rows.append([f"{text}queue {float(queued):.2f} s)", whole, 3.0 if "same" in name else "–"])
    title = f"{trials:,} trials, {trials * NUM_EPOCHS:,} epochs, {size / 1e6:,.0f} MB"
    return table(title, ("command", "seconds, whole process", "goal"), rows)


def _make(path: Path, folder: RunFolder, trials: int) -> int:
    files.create(folder.ledger, "large")
    connection = files.open_for_writing(folder.ledger)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    names = Names({})
    names.note_metrics(METRICS)
    columns = COLUMNS["trials"]
    marks = ", ".join("?" * len(columns))
    insert = f"INSERT INTO trials ({', '.join(columns)}) VALUES ({marks})"
    connection.executemany(insert, _trials(path, trials, names))
    insert = "INSERT INTO epochs (trial, epoch, metrics, seconds) VALUES (?, ?, ?, ?)"
    connection.executemany(insert, _epochs(trials))
    meta = {"objective": ("val_accuracy", "max"), "names": names.to_json()}
    for name, value in meta.items():
        insert = "INSERT INTO meta (name, value) VALUES (?, ?)"
        connection.execute(insert, (name, encode(value)))
    for name in COLUMNS:
        seal(connection, name, "TRUE", ())
    connection.execute("COMMIT")
    connection.close()
    return folder.ledger.stat().st_size


def _trials(path: Path, trials: int, names: Names) -> Iterator[tuple[Any, ...]]:
    rng = random.Random(0)
    planned = planned_trials(load_experiment(path), data_dir=None)
    for number, trial in zip(range(1, trials + 1), planned, strict=False):
        configuration, values = trial.configuration.flat(), trial.configuration.values
        names.note(configuration, values)
        yield (
            *(number, trial.key, "completed", rng.random(), 10, NUM_EPOCHS),
            *(encode(configuration), encode(values), 0, 0, trial.structure.key, _metrics(rng)),
            *(272_474, 40_600_000, 12.0 + rng.random(), 0.0, 1, 1, ""),
            *("2026-01-02T03:04:05.000+00:00", "2026-01-02T03:05:05.000+00:00", 0),
        )


def _epochs(trials: int) -> Iterator[tuple[Any, ...]]:
    rng = random.Random(1)
    for number in range(1, trials + 1):
        for epoch in range(1, NUM_EPOCHS + 1):
            yield number, epoch, _metrics(rng), 1.2


def _metrics(rng: random.Random) -> str:
    return json.dumps({name: rng.random() for name in METRICS}, separators=(",", ":"))


def _least(command: list[str], times: int = 3) -> float:
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        _output(command)
        found.append(time.perf_counter() - begun)
    return min(found)


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        raise SystemExit(f"{command} failed:\n{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
