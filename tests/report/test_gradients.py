from __future__ import annotations

import math
from pathlib import Path

import pytest

from tuner.ledger.ledger import Ledger
from tuner.ledger.records import GRADIENTS, NewTrial
from tuner.report.gradients import (
    Gradients,
    LayerNorm,
    chart_lines,
    gradients_of,
    read_gradients,
    to_json,
)

LAYERS = (("stem", 100), ("block", 400), ("logits", 25))


def detail(epoch: int, *norms: float, layers=(), trial: int = 1):
    return {"trial": trial, "epoch": epoch, "norms": list(norms), "layers": layers}


def test_rows_are_ordered_by_epoch_and_depth() -> None:
    found = Gradients(LAYERS, {1: (1.0, 2.0, 3.0), 0: (4.0, 5.0, 6.0)})
    rows = found.rows()
    assert [(row.epoch, row.depth, row.norm) for row in rows] == [
        *((0, 1, 4.0), (0, 2, 5.0), (0, 3, 6.0)),
        *((1, 1, 1.0), (1, 2, 2.0), (1, 3, 3.0)),
    ]
    assert rows[1] == LayerNorm(0, 2, "block", 400, 5.0)
    assert rows[1].root_mean_square == pytest.approx(5.0 / 20)


def test_reach_is_the_first_layer_over_the_last_hidden_one() -> None:
    assert Gradients(LAYERS, {0: (0.02, 2.0, 9.0)}).reach(0) == pytest.approx(0.01)
    assert math.isnan(Gradients(LAYERS, {0: (1.0, 0.0, 9.0)}).reach(0))


def test_an_epoch_that_was_trained_again_counts_as_it_was_at_last() -> None:
    details = [
        detail(0, 1, 1, 1, layers=LAYERS),
        detail(1, 2, 2, 2),
        detail(2, 9, 9, 9),
        detail(1, 3, 3, 3, layers=LAYERS),
    ]
    found = gradients_of(details, epochs=1)
    assert found is not None
    assert found.layers == LAYERS
    assert found.norms == {0: (1, 1, 1), 1: (3, 3, 3)}


def test_a_trial_that_was_not_watched_has_none() -> None:
    assert gradients_of([], epochs=3) is None


def test_the_ledger_keeps_them_by_trial(tmp_path: Path) -> None:
    with Ledger.create_or_open(tmp_path / "ledger.sqlite", "x") as ledger:
        for number in (1, 2):
            ledger.add([NewTrial(f"k{number}", {}, {}, 0, 0, "s")])
            ledger.event(GRADIENTS, detail(0, number, 2, math.nan, layers=LAYERS, trial=number))
            ledger.event("worker lost", {"worker": 1})
        rows = [ledger.row(1), ledger.row(2)]
        found = [read_gradients(ledger, row) for row in rows if row]
        assert len(ledger.events_of(GRADIENTS)) == 2
    assert [each and each.norms[0][:2] for each in found] == [(1, 2), (2, 2)]
    assert all(each and math.isnan(each.norms[0][2]) for each in found)


def test_json_has_every_epoch() -> None:
    document = to_json(Gradients(LAYERS, {0: (1.0, 2.0, 3.0), 1: (1.0, 4.0, 3.0)}))
    assert document["layers"][0] == {"layer": "stem", "weights": 100}
    assert document["epochs"][1] == {"epoch": 1, "norms": [1.0, 4.0, 3.0], "reach": 0.25}


@pytest.mark.parametrize("wide", [60, 80, 120])
@pytest.mark.parametrize("epochs", [1, 2])
def test_the_chart_fits_and_bears_zeros(wide: int, epochs: int) -> None:
    layers = tuple((f"stage{i}_a_rather_long_name_of_a_layer", 10) for i in range(40))
    norms = {
        epoch: tuple(0.0 if i == 3 else 10.0**-i for i in range(40)) for epoch in range(epochs)
    }
    lines = chart_lines(Gradients(layers, norms), wide)
    assert max(map(len, lines)) <= wide
    assert "before training" in lines[0]
    assert "1e-39" in "\n".join(lines)
