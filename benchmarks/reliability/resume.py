"""An interrupted trial ends as one that was never interrupted, to the last bit.

python -m benchmarks.reliability.resume [--backend jax ...] [--quick] [-o FILE.md]

A residual network with dropout, stochastic depth, crop, flip and cutout is trained with every
optimizer. Each trial is interrupted after an epoch in its middle: its worker is killed, the run is
asked to stop, or both are killed. Compared with an undisturbed run are the metrics of every epoch
and every array of the last checkpoint: weights, moving statistics, optimizer slots, step count.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.reliability.preload import preloaded
from benchmarks.reliability.report import publish, verdict
from benchmarks.reliability.search import Search, View, environment, kill, look
from benchmarks.reliability.witness import Witness

EXPERIMENT = """
name: experiment
backend: {backend}
data: {{dataset: {data}, validation: 40, augment: [crop, flip, cutout]}}
model: {model}
training:
  epochs: {epochs}
  batch_size: 16
  schedule: cosine
  learning_rate: 0.002
  optimizer: {{choice: {optimizers}}}
"""
MODEL = "{family: resnet, depth: 8, dropout: 0.2, stochastic_depth: 0.3}"
OPTIMIZERS = ("sgd", "adam", "adamw")


def write_images(folder: Path, images: int) -> Path:
    """16x16, so that cutout leaves something over."""
    rng = np.random.default_rng(0)
    labels = np.arange(images) % 4
    pixels = rng.integers(0, 120, (images, 16, 16, 3))
    pixels[..., 0] += (labels * 40)[:, None, None]
    np.savez(folder / "images.npz", x_train=pixels.astype(np.uint8), y_train=labels)
    return folder / "images.npz"


# ---------------------------------------------------------------------- interrupting


def kill_worker(search: Search, worker: int) -> None:
    search.kill_worker(worker)


def ask_to_stop(search: Search, worker: int) -> None:
    assert search.process is not None
    search.process.send_signal(signal.SIGINT)
    search.wait(60)


def kill_both(search: Search, worker: int) -> None:
    pids = [pid for pair in search.workers().values() for pid in pair]
    for pid in pids:
        kill(pid)
    search.kill()


WAYS: dict[str, Callable[[Search, int], None]] = {
    "SIGKILL of the worker": kill_worker,
    "SIGINT of the run": ask_to_stop,
    "SIGKILL of both": kill_both,
}


@dataclass
class Interrupted:
    """A search whose every trial is interrupted once, in the middle."""

    search: Search
    way: Callable[[Search, int], None]
    rng: random.Random
    epochs: int
    wanted: dict[int, int] = field(default_factory=dict)  # trial → the epoch to interrupt it after
    after: dict[int, int] = field(
        default_factory=dict
    )  # trial → the epoch it was interrupted after

    def run(self) -> tuple[View, list[str]]:
        witness = Witness(self.search.results)
        self.search.start()
        while True:
            if not self.search.is_running:
                if self.search.wait() in (0, 1, 2, 3):
                    break
                self.search.start()
            self._interrupt(witness.look())
            time.sleep(0.01)
        view = witness.look()
        witness.check_files(view)
        if view.in_state("completed") != list(view.trials):
            witness.broken.append(self.search.text[-1000:])
        return view, witness.broken

    def _interrupt(self, view: View) -> None:
        for worker, trial in view.running().items():
            done = view.trials[trial]["epochs"]
            wanted = self.wanted.setdefault(trial, self.rng.randrange(1, self.epochs - 2))
            if trial in self.after or not wanted <= done < self.epochs:
                continue
            time.sleep(self.rng.uniform(0, 0.15))
            self.after[trial] = done
            self.way(self.search, worker)


# ---------------------------------------------------------------------- comparing


def last_state(results: Path, view: View, number: int) -> dict[str, Any]:
    """Arrays of the newest checkpoint that is kept of a trial, with its epoch."""
    epochs = [epoch for trial, epoch in view.checkpoints if trial == number]
    if not epochs:
        return {}
    file = view.checkpoints[number, max(epochs)]["file"]
    with np.load(results / "checkpoints" / file, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files if name != "notes.json"}
    return {**arrays, "epoch": np.asarray(max(epochs))}


def same_state(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and one[name].tobytes() == other[name].tobytes()
        for name in one
    )


@dataclass(frozen=True)
class Outcome:
    """What a run left of each trial, by the name of its optimizer."""

    metrics: dict[str, Any]
    states: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, results: Path, view: View) -> Outcome:
        names = {
            number: json.loads(row["configuration"])["training.optimizer"]
            for number, row in view.trials.items()
        }
        by_key = view.outcome()
        return cls(
            {names[n]: by_key[row["key"]] for n, row in view.trials.items()},
            {name: last_state(results, view, n) for n, name in names.items()},
        )


def measure(
    folder: Path, environ: dict[str, str], text: str, epochs: int, ways: list[str]
) -> list[list[Any]]:
    """One row for each way and optimizer."""
    (folder / "experiment.yaml").write_text(text)
    search = Search(folder, environ)
    rows = []
    try:
        assert search.run() == 0, search.text
        usual = Outcome.of(search.results, look(search.results))
        for name in ways:
            shutil.rmtree(folder / "results")
            interrupted = Interrupted(search, WAYS[name], random.Random(name), epochs)
            view, broken = interrupted.run()
            found = Outcome.of(search.results, view)
            at = {view_name(view, n): epoch for n, epoch in interrupted.after.items()}
            rows += [
                [
                    *(name, optimizer, at.get(optimizer, "never")),
                    *judged(found, usual, optimizer),
                    "; ".join(broken) or "nothing",
                ]
                for optimizer in usual.metrics
            ]
    finally:
        search.close()
    return rows


def view_name(view: View, number: int) -> str:
    return str(json.loads(view.trials[number]["configuration"])["training.optimizer"])


def judged(found: Outcome, usual: Outcome, name: str) -> list[str]:
    state, expected = found.states.get(name, {}), usual.states[name]
    arrays = f"{len(expected)} arrays: " + verdict(same_state(state, expected))
    return [
        verdict(found.metrics.get(name) == usual.metrics[name]),
        arrays if expected else "no checkpoint",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", nargs="+", default=["tensorflow", "jax"])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    epochs = 5 if options.quick else 8
    parts, good = [], True
    for backend in options.backend:
        with (
            tempfile.TemporaryDirectory(prefix="resume-") as name,
            preloaded(backend, environment()) as environ,
        ):
            folder = Path(name)
            text = EXPERIMENT.format(
                backend=backend,
                data=write_images(folder, 240 if options.quick else 680),
                model=MODEL,
                epochs=epochs,
                optimizers=json.dumps(OPTIMIZERS[1:2] if options.quick else OPTIMIZERS),
            )
            ways = list(WAYS)[:1] if options.quick else list(WAYS)
            rows = measure(folder, environ, text, epochs, ways)
        good &= all(row[3] == "yes" and "NO" not in row[4] and row[5] == "nothing" for row in rows)
        head = ["interrupted by", "optimizer", "after epoch", "same metrics", "same state", "lost"]
        parts.append(common.table(f"Interrupted against undisturbed, {backend}", head, rows))
        print(parts[-1], flush=True)
    publish(parts, options.output)
    raise SystemExit(not good)


if __name__ == "__main__":
    main()
