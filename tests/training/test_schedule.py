"""Learning-rate schedules: known values at known steps."""

from __future__ import annotations

import numpy as np
import pytest

from tuner.training.schedule import learning_rates


def whole(schedule, epochs=10, steps=10, **options):
    """All rates of a training, epoch after epoch."""
    parts = [
        learning_rates(schedule, highest=0.1, epoch=e, epochs=epochs, steps=steps, **options)
        for e in range(epochs)
    ]
    return np.concatenate(parts)


def test_constant_is_the_learning_rate_throughout():
    assert np.all(whole("constant") == np.float32(0.1))


def test_cosine_starts_high_is_half_in_the_middle_and_ends_near_zero():
    rates = whole("cosine")
    assert rates[0] == np.float32(0.1)
    assert rates[50] == pytest.approx(0.05)
    assert 0 < rates[-1] < 0.0001
    assert np.all(np.diff(rates) < 0)


def test_step_multiplies_at_each_fraction_of_the_steps():
    rates = whole({"step": {"at": [0.5, 0.75], "factor": 0.1}})
    assert rates[49] == pytest.approx(0.1)
    assert rates[50] == pytest.approx(0.01)
    assert rates[74] == pytest.approx(0.01)
    assert rates[75] == pytest.approx(0.001)


def test_one_cycle_peaks_at_thirty_percent_and_ends_far_below_its_start():
    rates = whole("one_cycle")
    assert rates[0] == pytest.approx(0.1 / 25)
    assert np.argmax(rates) == 30
    assert rates[30] == pytest.approx(0.1)
    assert rates[-1] < rates[0] / 10


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_warmup_rises_linearly_to_where_the_schedule_begins(schedule):
    rates = whole(schedule, warmup_epochs=2)
    begin = whole(schedule)[0]
    assert rates[:20] == pytest.approx(begin * np.arange(1, 21) / 20, rel=0.05)
    assert rates[20] == pytest.approx(begin)


def test_an_epochs_rates_do_not_depend_on_how_it_was_reached():
    assert np.array_equal(
        learning_rates("cosine", highest=0.1, epoch=7, epochs=10, steps=10),
        whole("cosine")[70:80],
    )


def test_a_single_step_trains_at_the_full_rate():
    assert learning_rates("cosine", highest=0.1, epoch=0, epochs=1, steps=1) == np.float32(0.1)
