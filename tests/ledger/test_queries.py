"""Whole columns of many trials: the same as record by record, and never of a harmed row."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tuner.errors import InputError
from tuner.experiment.trial import TrialState
from tuner.ledger.ledger import Ledger
from tuner.ledger.queries import Rows, by_number, field_of, picked, value_of
from tuner.ledger.records import NewTrial, Outcome

RATES = (0.1, 0.01, float("nan"), 1e-3)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("queries") / "ledger.sqlite"
    with Ledger.create_or_open(path, "grid") as ledger:
        ledger.add([_trial(place) for place in range(4)])
        ledger.finish(2, Outcome(TrialState.COMPLETED, 0.5, 1, {"loss": float("inf")}, 3.0))
    return path


def _trial(place: int) -> NewTrial:
    """An edit has fixed the depth of the later two."""
    depth = {"model.depth": 20 + place}
    values = {"training.learning_rate": RATES[place], **(depth if place < 2 else {})}
    configuration = {"training.learning_rate": RATES[place], **depth}
    return NewTrial(f"key{place}", configuration, values, place % 2, place, "s")


@pytest.fixture
def rows(path: Path) -> Rows:
    with Ledger.open_read_only(path) as ledger:
        found = ledger.all_rows()
    assert isinstance(found, Rows)
    return found


def test_records_are_those_of_the_ledger(path: Path, rows: Rows) -> None:
    with Ledger.open_read_only(path) as ledger:
        assert [repr(row) for row in rows] == [repr(row) for row in ledger.rows()]
    assert len(rows) == 4
    assert rows[-1].number == 4
    assert [row.number for row in rows[1:3]] == [2, 3]


def test_a_record_is_always_the_same_object(rows: Rows) -> None:
    assert rows[1] is rows[1]
    assert rows.picked([1])[0] is rows[1]


@pytest.mark.parametrize("places", [[0, 1, 2, 3], [3, 1], [], [2]])
def test_columns_are_those_of_the_records(rows: Rows, places: list[int]) -> None:
    some = picked(rows, places)
    for name in ("number", "state", "score", "seed", "train_seconds"):
        assert field_of(some, name) == [getattr(row, name) for row in some]
    for name in ("training.learning_rate", "model.depth", "absent"):
        wanted = [row.value(name, "none") for row in some]
        assert str(value_of(some, name, "none")) == str(wanted)
    plain = tuple(some)
    assert field_of(plain, "state") == list(field_of(some, "state"))
    assert str(value_of(plain, "model.depth")) == str(value_of(some, "model.depth"))


def test_rows_go_back_to_the_order_of_their_numbers(rows: Rows) -> None:
    turned = picked(rows, [2, 0, 3])
    assert field_of(by_number(turned), "number") == [1, 3, 4]
    assert field_of(by_number(tuple(turned)), "number") == [1, 3, 4]


def test_no_column_comes_from_a_harmed_row(path: Path, tmp_path: Path) -> None:
    harmed = tmp_path / "ledger.sqlite"
    harmed.write_bytes(path.read_bytes())
    connection = sqlite3.connect(harmed)
    connection.execute("UPDATE trials SET score = 0.9 WHERE number = 2")
    connection.commit()
    connection.close()
    with Ledger.open_read_only(harmed) as ledger, pytest.raises(InputError, match="damaged"):
        ledger.all_rows()
