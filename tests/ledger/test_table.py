from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from tuner.experiment.trial import TrialState
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import NewTrial, Outcome
from tuner.ledger.table import TrialsCsv, csv_cell, csv_columns, csv_text, to_csv


@pytest.mark.parametrize("text", ["=1+1", "+a", "-a", "@x", "\tx", "=cmd|' /C calc'!A0"])
def test_text_is_never_a_formula(text: str) -> None:
    assert csv_cell(text) == "'" + text


@pytest.mark.parametrize("value", [-1, -0.5, -1e-9, 3, 0.1])
def test_numbers_stay_numbers_in_full(value: float) -> None:
    assert float(csv_cell(value)) == value


def test_other_values_have_a_plain_form() -> None:
    cells = [csv_cell(value) for value in (None, True, [1, 0.5], float("nan"), float("-inf"))]
    assert cells == ["", "true", "[1, 0.5]", "nan", "-inf"]


def test_the_table_has_the_promised_columns_and_a_row_for_every_trial(ledger, tmp_path):
    values = {"model.depth": 20, "training.optimizer": "-sgd"}
    ledger.add([NewTrial(f"k{i}", values, values, i, 5 + i, "s", 100, 200) for i in range(2)])
    outcome = Outcome(
        TrialState.COMPLETED, 0.5, 1, {"loss": 1.5, "val_accuracy": 0.5}, 2.5, 1.0, 'a "b",\nc'
    )
    ledger.finish(1, outcome)
    path = tmp_path / "trials.csv"
    TrialsCsv(path, ledger).write()
    with path.open(newline="") as file:
        head, first, second = csv.reader(file)
    assert " ".join(head) == (
        "trial state score epochs model.depth training.optimizer replicate seed loss "
        "val_accuracy parameters macs train_seconds compile_seconds reason"
    )
    assert first[:6] == ["1", "completed", "0.5", "0", "20", "'-sgd"]
    assert first[6:] == ["0", "5", "1.5", "0.5", "100", "200", "2.5", "1.0", 'a "b",\nc']
    assert second[:6] == ["2", "waiting", "", "0", "20", "'-sgd"]


def test_refreshing_costs_a_bounded_share_of_the_time(ledger: Ledger, tmp_path: Path) -> None:
    now = [100.0]
    path = tmp_path / "trials.csv"
    table = TrialsCsv(path, ledger, clock=lambda: now[0])
    table.refresh()
    assert path.exists()
    path.unlink()
    now[0] += 0.5
    table.refresh()
    assert not path.exists()
    now[0] += 1.0
    table.refresh()
    assert path.exists()


def test_a_long_table_is_written_piece_by_piece(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.add([NewTrial(f"k{i}", {}, {}, i, i, "s") for i in range(10)])
    monkeypatch.setattr("tuner.ledger.table._PIECE", 3)
    now = [100.0]

    def clock() -> float:
        now[0] += 0.03  # so long takes a piece
        return now[0]

    path = tmp_path / "trials.csv"
    table = TrialsCsv(path, ledger, clock=clock)
    pieces = 0
    while not path.exists():
        pieces += 1
        table.refresh()
        before = now[0]
        table.refresh()  # too early
        assert now[0] - before < 0.04
        now[0] += 10.0
    assert pieces == 2
    assert path.read_text() == csv_text(ledger)
    table.refresh()
    table.write()  # what was begun is dropped
    assert not list(tmp_path.glob(".trials.csv*"))
    assert path.read_text() == csv_text(ledger)


def test_an_empty_ledger_has_a_head(ledger: Ledger) -> None:
    (line,) = csv.reader(io.StringIO(to_csv(csv_columns(ledger), [])))
    assert line[0] == "trial"
