"""Rules over recorded curves say what they would have said in a run; checked by hand."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.experiment.objective import Objective
from tuner.experiment.schema import AshaStop, DivergenceStop, MedianStop, PatienceStop
from tuner.search.replay import RecordedCurve, epochs_trained, replay_orders
from tuner.search.stopping import rule_of

ASHA = AshaStop(rule="asha", min_epochs=1, reduction=2)
PATIENCE = PatienceStop(rule="patience", epochs=2)


def curve(*values: float, seconds: float = 1.0, number: int = 1) -> RecordedCurve:
    metrics = [{"val_accuracy": value, "loss": 1.0} for value in values]
    return RecordedCurve(number, metrics, [seconds] * len(values))


def rule(*stops, direction="max"):
    return rule_of(stops, Objective("val_accuracy", direction))


WORSE, MIDDLE, BEST = (
    curve(0.1, 0.2, 0.3, 0.4),
    curve(0.2, 0.3, 0.4, 0.5),
    curve(0.3, 0.4, 0.5, 0.6),
)


@pytest.mark.parametrize(
    ("order", "epochs"),
    [
        # Rungs at 1, 2, 4; of n that came to one the best max(1, n // 2) go on.
        ([WORSE, MIDDLE, BEST], [4, 4, 4]),  # each is the best so far
        ([BEST, MIDDLE, WORSE], [4, 1, 1]),
        ([MIDDLE, BEST, WORSE], [4, 4, 1]),
        ([BEST, WORSE, MIDDLE, MIDDLE], [4, 1, 2, 1]),  # a tie goes to those before
        ([BEST, MIDDLE, WORSE, WORSE], [4, 2, 1, 1]),  # the second goes on when two of four do
        ([BEST, WORSE, WORSE, MIDDLE], [4, 1, 1, 2]),  # second of four at 1, of two at 2
    ],
)
def test_halving_one_after_the_other(order, epochs):
    assert epochs_trained(rule(ASHA), order) == epochs


@given(st.lists(st.lists(st.integers(0, 5), min_size=9, max_size=9), max_size=9))
def test_halving_is_what_its_definition_says(values):
    """One worker: whoever may go on does, the highest rung and the best of it first."""
    seen: dict[int, dict[int, int]] = {1: {}, 2: {}, 4: {}, 8: {}}
    waits: dict[int, int] = {}  # the rung of a trial
    epochs = [0] * len(values)

    def is_kept(trial, rung):
        mine, others = seen[rung][trial], seen[rung].items()
        before = [t for t, value in others if value > mine]
        equal = [t for t, value in others if value == mine]
        before += [t for t in equal if waits.get(t) != rung or t < trial]
        return len(set(before) | {trial}) <= max(1, len(seen[rung]) // 2)

    def train(trial):
        while epochs[trial] < 9:
            epochs[trial] += 1
            rung = epochs[trial]
            if rung in seen:
                seen[rung][trial] = max(values[trial][:rung])
                if not is_kept(trial, rung):
                    waits[trial] = rung
                    return

    def best_waiting():
        order = sorted(waits, key=lambda t: (-waits[t], -seen[waits[t]][t], t))
        return next((trial for trial in order if is_kept(trial, waits[trial])), None)

    for new in range(len(values)):
        train(new)
        while (trial := best_waiting()) is not None:
            del waits[trial]
            train(trial)
    assert epochs_trained(rule(ASHA), [curve(*each) for each in values]) == epochs


def test_trials_at_a_time_see_each_other_as_they_come():
    """The slow one comes to the first rung when both others have passed it."""
    slow = curve(0.25, 0.4, 0.5, 0.6, seconds=10.0)
    # At 2 epochs the best has 0.4 as the slow one had before it.
    assert epochs_trained(rule(ASHA), [slow, MIDDLE, BEST], workers=1) == [4, 1, 2]
    # At 1 s: middle and best, the second of which is better; at 10 s slow is second of three.
    assert epochs_trained(rule(ASHA), [slow, MIDDLE, BEST], workers=3) == [1, 4, 4]


def test_a_free_worker_takes_the_next_trial():
    quick, late = curve(0.1, 0.2), curve(0.3, 0.4)
    # Two at a time: the third begins at 2 s, when the first has ended, and sees all others.
    long = curve(0.2, 0.3, 0.4, 0.5, seconds=1.5)
    assert epochs_trained(rule(ASHA), [quick, long, late], workers=2) == [2, 4, 2]


def test_other_rules_and_several_together():
    flat = curve(0.5, 0.4, 0.3, 0.3)
    assert epochs_trained(rule(PATIENCE), [flat, BEST]) == [3, 4]
    assert epochs_trained(rule(ASHA, PATIENCE), [flat, BEST]) == [3, 1]
    median = MedianStop(rule="median", min_epochs=2, min_trials=1)
    assert epochs_trained(rule(median), [BEST, WORSE]) == [4, 2]
    assert epochs_trained(rule(ASHA, direction="min"), [WORSE, BEST]) == [4, 1]
    assert epochs_trained(None, [flat, BEST]) == [4, 4]


def test_the_last_epoch_stops_nothing():
    assert epochs_trained(rule(PATIENCE), [curve(0.5, 0.4, 0.3)]) == [3]


def test_only_rules_that_compare_trials_depend_on_the_order():
    alone = (PATIENCE, DivergenceStop(rule="divergence"))
    assert rule(*alone).is_alone
    assert not rule(*alone, ASHA).is_alone
    rng = random.Random(0)
    curves = [curve(*(rng.random() for _ in range(6)), number=n) for n in range(8)]
    orders = replay_orders(lambda: rule(PATIENCE), curves, orders=5)
    assert orders == [epochs_trained(rule(PATIENCE), curves)] * 5


def test_an_order_is_the_same_every_time_and_begins_no_more_than_asked():
    curves = [curve(n / 10, n / 10 + 0.1, number=n) for n in range(8)]
    one, other = (
        replay_orders(lambda: rule(ASHA), curves, orders=20, max_trials=3) for _ in range(2)
    )
    assert one == other
    assert all(sum(epochs > 0 for epochs in order) == 3 for order in one)
    assert len({tuple(order) for order in one}) > 5
