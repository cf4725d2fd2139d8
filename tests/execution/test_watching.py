"""Gradient norms on their way into the ledger, from workers that play a script."""

from __future__ import annotations

from tests.execution.conftest import Bench, good
from tuner.execution.protocol import Epoch, TrainTrial, Watched
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import GRADIENTS
from tuner.report.inside import read_gradients

LAYERS = (("stem", 10), ("logits", 20))


def watched(task: TrainTrial):
    """As a worker does: before the first epoch, and before every epoch's own report."""
    reports = [Watched(task.number, 0, (1.0, 2.0), LAYERS)]
    for report in good(task):
        if isinstance(report, Epoch):
            reports.append(Watched(task.number, report.epoch, (0.5, float(report.epoch))))
        reports.append(report)
    return reports


def test_the_norms_of_every_epoch_are_kept_for_every_trial(bench: Bench) -> None:
    rows = bench.run(watched)
    with Ledger.open_read_only(bench.folder / "ledger.sqlite") as ledger:
        for row in rows:
            found = read_gradients(ledger, row)
            assert found is not None
            assert found.layers == LAYERS
            assert found.epochs == tuple(range(row.epochs + 1))
            assert found.norms[row.epochs] == (0.5, float(row.epochs))
        assert len(ledger.events_of(GRADIENTS)) == sum(row.epochs + 1 for row in rows)
