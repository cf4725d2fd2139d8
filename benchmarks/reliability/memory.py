"""Trials that run out of memory between good ones: only they fail, and they say why.

python -m benchmarks.reliability.memory [--backend jax] [--quick] [-o FILE.md]

The bad ones ask for more than an address space holds, which the system refuses at once. In a second
search the address space of the run is limited (RLIMIT_AS), so that a batch of 200 images does not
fit where one of 4 does. The machine itself is never short of memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.reliability.preload import preloaded
from benchmarks.reliability.report import publish, verdict
from benchmarks.reliability.search import Search, View, environment, look, write_data

EXPERIMENT = """
name: experiment
backend: {backend}
data: {{dataset: {data}, validation: 40}}
model: {{family: "tests.execution.fault_nets:hungry", blocks: {{choice: {blocks}}}}}
training:
  epochs: 2
  batch_size: {{choice: {batch_sizes}}}
  learning_rate: 0.002
"""
ABSURD = 2**30
LIMITED_BLOCKS = 8  # 2 MB for each image: 8 MB in a batch of 4, 400 MB in one of 200, twice
ROOM = 2**29  # address space that the limited search has over what the fitting trial used


def between(good: int, bad: int) -> list[int]:
    """Appetites, good and bad in turn."""
    pairs = [(n + 1 if n < good else None, ABSURD + n if n < bad else None) for n in range(100)]
    return [blocks for pair in pairs for blocks in pair if blocks is not None]


def searched(
    folder: Path, environ: dict[str, str], text: str, *, limit: int | None = None
) -> tuple[Search, View, int]:
    """A whole run, its ledger and its exit status."""
    shutil.rmtree(folder / "results", ignore_errors=True)
    (folder / "experiment.yaml").write_text(text)
    search = Search(folder, environ)
    try:
        search.start(preexec_fn=_limiting(limit) if limit else None)
        status = search.wait()
        return search, look(search.results), status
    finally:
        search.close()


def _limiting(limit: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def by_appetite(view: View) -> dict[tuple[int, int], dict[str, Any]]:
    """Rows of trials by blocks and batch size."""
    found = {}
    for row in view.trials.values():
        values = json.loads(row["configuration"])
        found[values["model.blocks"], values["training.batch_size"]] = row
    return found


def absurd(folder: Path, environ: dict[str, str], backend: str, good: int, bad: int) -> list[Any]:
    """Good trials between absurd ones, against the good ones alone."""
    data = write_data(folder, 200)

    def of(blocks: list[int]) -> tuple[Search, View, int]:
        text = EXPERIMENT.format(backend=backend, data=data, blocks=blocks, batch_sizes=[8])
        return searched(folder, environ, text)

    _, alone, status = of([n + 1 for n in range(good)])
    assert status == 0
    started = time.monotonic()
    search, mixed, status = of(between(good, bad))
    seconds = time.monotonic() - started
    failed = [row for (blocks, _), row in by_appetite(mixed).items() if blocks >= ABSURD]
    expected, found = alone.outcome(), mixed.outcome()
    same = sum(found.get(key) == value for key, value in expected.items())
    explained = sum("out of memory" in row["reason"].lower() for row in failed)
    reasons = {row["reason"] for row in failed} or {search.text[-500:]}
    return [
        ["good trials as without the bad ones", f"{same} of {good}", verdict(same == good)],
        [
            "bad trials FAILED",
            f"{sum(row['state'] == 'failed' for row in failed)} of {bad}",
            verdict([row["state"] for row in failed] == ["failed"] * bad),
        ],
        ["reasons that say out of memory", f"{explained} of {bad}", verdict(explained == bad)],
        ["exit status", status, verdict(status == 3)],
        ["seconds", seconds, ""],
        ["a reason", sorted(reasons)[0], ""],
    ]


def limited(folder: Path, backend: str) -> list[list[Any]]:
    """A batch that does not fit where a smaller one does; workers are started cold."""
    data = write_data(folder, 440)

    def of(batch_sizes: list[int]) -> str:
        blocks = f"[{LIMITED_BLOCKS}]"
        return EXPERIMENT.format(backend=backend, data=data, blocks=blocks, batch_sizes=batch_sizes)

    peak = address_space(folder, of([4]))
    search, view, status = searched(folder, environment(), of([4, 200, 5]), limit=peak + ROOM)
    rows = by_appetite(view)
    states = {size: row["state"] for (_, size), row in rows.items()}
    reason = next((row["reason"] for (_, size), row in rows.items() if size == 200), "")
    return [
        ["address space, GB", (peak + ROOM) / 2**30, ""],
        ["batches of 4 and 5", f"{states.get(4)}, {states.get(5)}", _good(states)],
        ["batch of 200", states.get(200, search.text[-500:]), verdict(states.get(200) == "failed")],
        ["says out of memory", reason, verdict("out of memory" in reason.lower())],
        ["hints at a smaller batch", "", verdict("smaller" in reason)],
        ["exit status", status, verdict(status == 3)],
    ]


def _good(states: dict[int, str]) -> str:
    return verdict(states.get(4) == states.get(5) == "completed")


def address_space(folder: Path, text: str) -> int:
    """The most that a worker takes of its address space in a run, in bytes."""
    shutil.rmtree(folder / "results", ignore_errors=True)
    (folder / "experiment.yaml").write_text(text)
    search, most = Search(folder, environment()), 0
    try:
        search.start()
        while search.is_running:
            for pid, _ in search.workers().values():
                most = max(most, _peak(pid))
            time.sleep(0.05)
        assert search.wait() == 0, search.text
    finally:
        search.close()
    return most


def _peak(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    sizes = [int(line.split()[1]) for line in lines if line.startswith("VmPeak")]
    return 1024 * max(sizes, default=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", nargs="+", default=["tensorflow", "jax"])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    good, bad = (3, 2) if options.quick else (20, 20)
    parts = []
    for backend in options.backend:
        with tempfile.TemporaryDirectory(prefix="memory-") as name:
            folder = Path(name)
            with preloaded(backend, environment()) as environ:
                rows = absurd(folder, environ, backend, good, bad)
            head = ["", "seen", "as it should be"]
            parts.append(common.table(f"Absurd tensors, {backend}", head, rows))
            print(parts[-1], flush=True)
            if not options.quick:
                rows = limited(folder, backend)
                parts.append(common.table(f"Limited address space, {backend}", head, rows))
                print(parts[-1], flush=True)
    publish(parts, options.output)
    raise SystemExit(any("| NO |" in part for part in parts))


if __name__ == "__main__":
    main()
