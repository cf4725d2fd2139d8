"""A search on 1, 2 and 3 machines of a Ray cluster: each trial once, and the scores of one worker.

python -m benchmarks.cluster [--nodes 1 2 3] [--epochs 12] [-o FILE.md]

The machines are Ray nodes on this one, each with a core and a folder of its own. In the last run
one is killed while it trains, and another one is added.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.reliability.search import environment, write_data

EXPERIMENT = """
name: experiment
data: {{dataset: {data}, validation: 40, augment: [crop, flip]}}
model: {{family: mlp, hidden_units: {{choice: [8, 16]}}, dropout: 0.1}}
training: {{epochs: {epochs}, batch_size: 4, learning_rate: {{choice: [0.001, 0.002, 0.004]}}}}
"""
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


@contextmanager
def machines(count: int) -> Iterator[Any]:
    """A head without room, and so many nodes with room for a worker each."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(count)]
        yield cluster, nodes
    finally:
        cluster.shutdown()


def started(folder: Path, name: str, *options: str) -> subprocess.Popen[bytes]:
    """`tuner run` in the folder; what it says is in NAME.txt."""
    command = [sys.executable, "-m", "tuner", "run", "experiment.yaml", "--results", name]
    environ = {**environment(), **dict.fromkeys(THREADS, "1")}
    with (folder / f"{name}.txt").open("wb") as told:
        return subprocess.Popen(
            [*command, *options], cwd=folder, env=environ, stdout=told, stderr=told
        )


def epochs_of(folder: Path, name: str) -> dict[tuple[str, int], str]:
    """Metrics by key and epoch, as the ledger has them."""
    path = folder / name / "experiment" / "ledger.sqlite"
    if not path.exists():
        return {}
    query = "select t.key, e.epoch, e.metrics from epochs e join trials t on t.number = e.trial"
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30) as ledger:
        return {(key, epoch): metrics for key, epoch, metrics in ledger.execute(query)}


def disturbed(cluster: Any, nodes: list[Any], folder: Path, name: str, run: Any) -> None:
    """Once some epochs are there, a node goes and another one comes."""
    while run.poll() is None and len(epochs_of(folder, name)) < 4:
        time.sleep(0.2)
    cluster.remove_node(nodes[0], allow_graceful=False)
    cluster.add_node(num_cpus=1)


def measured(folder: Path, count: int, reference: dict[tuple[str, int], str], *, harm: bool):
    """One run on so many nodes, as a row of the table."""
    name = f"nodes-{count}{'-disturbed' if harm else ''}"
    with machines(count) as (cluster, nodes):
        begun = time.monotonic()
        run = started(folder, name, "--engine", "ray", "--ray-address", cluster.address)
        if harm:
            disturbed(cluster, nodes, folder, name, run)
        status = run.wait()
        seconds = time.monotonic() - begun
    told = (folder / f"{name}.txt").read_text()
    found = epochs_of(folder, name)
    same = "yes" if found == reference else "NO"
    lost = sum("is gone" in line for line in told.splitlines())
    return [f"{count}{', one killed, one added' if harm else ''}", status, len(found), same, lost,
            f"{seconds:.0f}"]  # fmt: skip


def main() -> None:
    """Print, or write, the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("-o", "--output", type=Path)
    asked = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with tempfile.TemporaryDirectory(prefix="cluster-") as scratch:
        folder = Path(scratch)
        data = write_data(folder, 240)
        (folder / "experiment.yaml").write_text(EXPERIMENT.format(data=data, epochs=asked.epochs))
        started(folder, "reference", "-j", "1").wait()
        reference = epochs_of(folder, "reference")
        rows = [measured(folder, count, reference, harm=False) for count in asked.nodes]
        rows.append(measured(folder, max(asked.nodes), reference, harm=True))
    head = ["nodes", "exit status", "epochs", "metrics of -j 1, bit for bit", "losses", "seconds"]
    text = common.table(f"{len(reference)} epochs on a Ray cluster", head, rows)
    if asked.output:
        asked.output.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
