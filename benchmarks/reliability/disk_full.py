"""A disk that fills up: what was recorded stays, the run says so, and goes on once there is room.

python -m benchmarks.reliability.disk_full [--quick] [-o FILE.md]

results/ is a tmpfs of 1, 2, 4 or 8 MB. It fills in three ways: by the checkpoints of the run; by a
neighbour who takes all that is free at a random moment; by one who leaves a few kilobytes.
Then the disk is made larger and the same command typed again. Also: one file may not grow beyond a
limit (RLIMIT_FSIZE), as under a quota.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.reliability.disk import (
    can_mount,
    free_bytes,
    in_namespace,
    limiting_files,
    small_disk,
)
from benchmarks.reliability.preload import preloaded
from benchmarks.reliability.report import publish, verdict
from benchmarks.reliability.search import FINISHED, Search, environment, look, write_data
from benchmarks.reliability.witness import Witness

EXPERIMENT = """
name: experiment
data: {{dataset: {data}, validation: 40}}
model: {{family: mlp, hidden_units: {units}, num_layers: 1}}
training: {{epochs: 4, batch_size: 8, learning_rate: {{choice: {rates}}}}}
"""
MEGABYTE = 2**20
ROOM = 256 * MEGABYTE
PATIENCE_SECONDS = 120.0  # a run on a full disk ends, or it finishes


@dataclass
class Filling:
    """How the disk fills up."""

    name: str
    units: Callable[[int], int]  # of the hidden layer, for a disk of so many megabytes
    leave: int | None  # bytes that a neighbour leaves; None: there is no neighbour


def _few(megabytes: int) -> int:
    return 16


def _filling(megabytes: int) -> int:
    """A checkpoint of Adam has 3 · 4 bytes · 197 · units; about four of them fill the disk."""
    return megabytes * MEGABYTE // 4 // (12 * 197)


FILLINGS = (
    Filling("its checkpoints", _filling, None),
    Filling("a neighbour, 0 left", _few, 0),
    Filling("a neighbour, 12 kB left", _few, 12_288),
)


def fill(results: Path, leave: int) -> Path:
    """A neighbour's file that takes what is free."""
    path = results / "neighbour"
    size = max(0, free_bytes(results) - leave)
    with path.open("wb") as file:
        try:
            file.write(b"\0" * size)
            file.flush()
        except OSError:
            pass
    return path


def attempt(
    folder: Path, environ: dict[str, str], filling: Filling, megabytes: int, trials: int
) -> list[Any]:
    """One row: a run on a small disk, and the same command on a large one."""
    write_experiment(folder, filling.units(megabytes), trials)
    search = Search(folder, environ)
    witness = Witness(search.results)
    rng = random.Random(f"{filling.name}{megabytes}")
    try:
        with small_disk(folder / "results", megabytes * MEGABYTE) as resize:
            status, seconds = on_small_disk(search, witness, filling, rng)
            kept = witness.look()
            said = search.text
            (folder / "results" / "neighbour").unlink(missing_ok=True)
            resize(ROOM)
            again = search.run(PATIENCE_SECONDS)
            view = witness.look()
            witness.check_files(view)
            found = view.outcome()
    finally:
        search.close()
    expected = undisturbed(folder, environ)
    return [
        filling.name,
        megabytes,
        status,
        seconds,
        f"{len(kept.in_state(*FINISHED))} trials, {len(kept.epochs)} epochs",
        verdict(is_helpful(status, said)),
        verdict(not witness.broken),
        verdict(again == 0 and found == expected),
        " / ".join([*witness.broken, *complaint(status, said)]),
    ]


def on_small_disk(
    search: Search, witness: Witness, filling: Filling, rng: random.Random
) -> tuple[int | str, float]:
    """The exit status, and how long the run went on once the disk was full."""
    search.start()
    filled = time.monotonic() if filling.leave is None else 0.0
    after = rng.randrange(2, 10)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while search.is_running and time.monotonic() < deadline:
        view = witness.look()
        if not filled and len(view.epochs) >= after and filling.leave is not None:
            fill(search.folder / "results", filling.leave)
            filled = time.monotonic()
        time.sleep(0.02)
    seconds = time.monotonic() - filled
    if search.is_running:
        search.close()
        return "hangs", seconds
    return search.wait(), seconds


def is_helpful(status: int | str, said: str) -> bool:
    """Done all the same; or it says what was kept and what to type, and shows no traceback."""
    if "Traceback" in said or "unexpected error" in said:
        return False
    return status == 0 or ("kept" in said and ("tuner run" in said or "same command" in said))


def complaint(status: int | str, said: str) -> list[str]:
    """The last words of a run that did not end well, in one line."""
    if status == 0:
        return []
    at = said.rfind("tuner: ")
    return [" ".join(said[at if at >= 0 else -300 :].split())[:400]]


def write_experiment(folder: Path, units: int, trials: int) -> None:
    rates = [0.001 * (n + 1) for n in range(trials)]
    data = write_data(folder, 240)
    text = EXPERIMENT.format(data=data, units=units, rates=rates)
    (folder / "experiment.yaml").write_text(text)


_known: dict[str, dict[str, Any]] = {}


def undisturbed(folder: Path, environ: dict[str, str]) -> dict[str, Any]:
    """What a run of this experiment gives on a disk with room, worked out once."""
    text = (folder / "experiment.yaml").read_text()
    if text not in _known:
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "experiment.yaml").write_text(text)
            search = Search(Path(name), environ)
            assert search.run() == 0, search.text
            _known[text] = look(search.results).outcome()
    return _known[text]


def limited_file(folder: Path, environ: dict[str, str], trials: int, *, limit: int) -> list[Any]:
    """The ledger, or a checkpoint, may not grow beyond a limit."""
    write_experiment(folder, 4, trials)
    search = Search(folder, environ)
    witness = Witness(search.results)
    try:
        search.start(preexec_fn=limiting_files(limit))
        status = search.wait(PATIENCE_SECONDS)
        kept, said = witness.look(), search.text
        again = search.run(PATIENCE_SECONDS)
        found = witness.look().outcome()
    finally:
        search.close()
    good = again == 0 and found == undisturbed(folder, environ)
    return [
        "a limit on each file",
        limit / MEGABYTE,
        status,
        "",
        f"{len(kept.in_state(*FINISHED))} trials, {len(kept.epochs)} epochs",
        verdict(is_helpful(status, said)),
        verdict(not witness.broken),
        verdict(good),
        " / ".join([*witness.broken, *complaint(status, said)]),
    ]


HEAD = [
    *("filled by", "MB", "exit status", "s until its end", "kept"),
    *("ends helpfully", "nothing lost", "completes with room, same results", "what it said"),
]


def measure(environ: dict[str, str], *, quick: bool) -> list[list[Any]]:
    rows = []
    sizes, trials = ((1,), 6) if quick else ((1, 2, 4, 8), 10)
    for filling in FILLINGS[:2] if quick else FILLINGS:
        for megabytes in sizes:
            with tempfile.TemporaryDirectory(prefix="disk-") as name:
                rows.append(attempt(Path(name), environ, filling, megabytes, trials))
            print(rows[-1], flush=True)
    if not quick:
        with tempfile.TemporaryDirectory(prefix="disk-") as name:
            rows.append(limited_file(Path(name), environ, 60, limit=90_000))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        permitted = can_mount(Path(name))
    if not permitted and os.environ.get("RELIABILITY_NAMESPACE") is None:
        os.environ["RELIABILITY_NAMESPACE"] = "1"
        arguments = ["--quick"] * options.quick
        arguments += ["-o", str(options.output)] if options.output else []
        raise SystemExit(in_namespace("benchmarks.reliability.disk_full", arguments))
    with preloaded("tensorflow", environment()) as environ:
        rows = measure(environ, quick=options.quick)
    publish([common.table("A disk that fills up (tmpfs)", HEAD, rows)], options.output)
    raise SystemExit(any("NO" in row[5:8] for row in rows))


if __name__ == "__main__":
    main()
