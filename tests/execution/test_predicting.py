"""Predictions on their way into the ledger, from workers that play a script."""

from __future__ import annotations

from tests.execution.conftest import Bench, good
from tests.report.predicted import random_predictions
from tuner.execution.protocol import Epoch, Predicted, TrainTrial
from tuner.ledger.ledger import Ledger
from tuner.ledger.predictions import PREDICTIONS, ImagePredictions


def predicting(task: TrainTrial):
    """As a worker does: before the report of the last epoch."""
    reports = []
    for report in good(task):
        if isinstance(report, Epoch) and report.epoch == task.until:
            reports.append(Predicted(task.number, report.epoch, random_predictions(20, 3, 0)))
        reports.append(report)
    return reports


def test_what_a_worker_has_predicted_is_kept_for_every_trial(bench: Bench) -> None:
    rows = bench.run(predicting)
    with Ledger.open_read_only(bench.folder / "ledger.sqlite") as ledger:
        details = [event.detail for event in ledger.events_of(PREDICTIONS)]
    assert {detail["trial"] for detail in details} == {row.number for row in rows}
    for detail in details:
        assert len(ImagePredictions.from_detail(detail)) == 20
