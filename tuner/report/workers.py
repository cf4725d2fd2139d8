"""The workers of a run as a table: each, or where there are many, those of each node together."""

from __future__ import annotations

from collections.abc import Sequence

from tuner.ledger.workers import NodeRecord, WorkerRecord, is_told, nodes_of
from tuner.report import format
from tuner.report.table import Column, Table

MAX_WORKERS = 16  # that are shown one by one


def workers_table(workers: Sequence[WorkerRecord], *, is_running: bool) -> Table | None:
    """None where there is nothing to tell: one worker of this machine, or none."""
    if not is_told(workers):
        return None
    if len(workers) > MAX_WORKERS:
        return _by_node(nodes_of(workers), is_running=is_running)
    return _one_by_one(workers, is_running=is_running)


def _one_by_one(workers: Sequence[WorkerRecord], *, is_running: bool) -> Table:
    texts = {
        "node": [worker.node for worker in workers],
        "device": [worker.device for worker in workers],
        "does": [_does(worker) for worker in workers] if is_running else [],
    }
    shown = {name: column for name, column in texts.items() if any(column)}
    columns = [
        Column("worker", "worker"),
        *(Column(n, n, format.printable, numeric=False, shrinks=n == "device") for n in shown),
        *_BUSY,
    ]
    rows = [
        (w.worker, *told, NodeRecord(w.node, [w]).utilization, w.idle_seconds, w.trials, w.losses)
        for w, *told in zip(workers, *shown.values(), strict=True)
    ]
    return _table(columns, rows)


def _does(worker: WorkerRecord) -> str:
    if worker.trial is None:
        return worker.does
    return f"trial {worker.trial}, epoch {worker.epoch}/{worker.epochs}"


def _by_node(nodes: Sequence[NodeRecord], *, is_running: bool) -> Table:
    now = [Column(name, name) for name in ("training", "idle", "starting")] if is_running else []
    columns = [
        Column("node", "node", lambda node: node or "this machine", numeric=False, shrinks=True),
        Column("workers", "workers"),
        *(*now, *_BUSY),
    ]
    rows = [
        [
            *(node.node, len(node.workers)),
            *([node.training, node.idle, node.starting] if is_running else []),
            *(node.utilization, node.idle_seconds),
            *(sum(w.trials for w in node.workers), sum(w.losses for w in node.workers)),
        ]
        for node in nodes
    ]
    return _table(columns, rows)


def _table(columns: Sequence[Column], rows: Sequence[Sequence[object]]) -> Table:
    about = (
        "Busy is the share of the time since a worker was last ready in which it trained or "
        "compiled; idle is the rest."
    )
    return Table("Workers", tuple(columns), tuple(map(tuple, rows)), about=about)


def busy_text(share: float | None) -> str:
    """`97%`."""
    return format.NOTHING if share is None else f"{share:.0%}"


_BUSY = (
    Column("busy", "busy", busy_text),
    Column("idle_seconds", "idle for", format.seconds_text),
    Column("trials", "trials"),
    Column("losses", "lost", lambda count: str(count or format.NOTHING)),
)
