"""The stopping rules: hand-computed verdicts, references, and runs that were interrupted."""

from __future__ import annotations

import json
import random
import re
import statistics
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.search.surface import Simulation, Surface, experiment_of
from tuner.experiment import parse_experiment
from tuner.experiment.objective import Objective
from tuner.experiment.schema import AshaStop, SearchConfig
from tuner.search import RULES, make_rule, stopping
from tuner.search.replay import RecordedCurve, epochs_trained
from tuner.search.stopping import SortedValues, StoppingRule, least_epochs

VALUES = st.integers(0, 6).map(lambda number: number / 8)


def rule_of(stop: str, objective: str = "{metric: val_accuracy}") -> StoppingRule:
    text = f"model: {{family: resnet}}\nobjective: {objective}\nsearch: {{stop: {stop}}}\n"
    rule = make_rule(parse_experiment(text, "x.yaml"))
    assert rule is not None
    return rule


def course(
    rule: StoppingRule, trial: int, values: Sequence[float], metric: str = "val_accuracy"
) -> str:
    """Note epoch after epoch until the rule stops the trial; why it did."""
    for epoch, value in enumerate(values, 1):
        rule.note(trial, epoch, {metric: value, "loss": value})
        if reason := rule.verdict(trial, epoch):
            rule.stop(trial, reason)
            return reason
    rule.end(trial)
    return ""


def test_there_is_a_rule_for_every_name_of_the_schema() -> None:
    schema = SearchConfig.model_json_schema()
    names = set(re.findall(r"#/\$defs/(\w+)", json.dumps(schema["properties"]["stop"])))
    rules = {schema["$defs"][name]["properties"]["rule"]["const"] for name in names}
    assert rules == set(RULES)
    assert make_rule(parse_experiment("model: {family: resnet}", "x.yaml")) is None


# ------------------------------------------------------------------------------- asha


def test_asha_lets_one_in_three_pass_and_the_first_two_only_if_they_lead() -> None:
    rule = rule_of("{rule: asha}")
    reasons = [course(rule, n, [v]) for n, v in enumerate([0.5, 0.4, 0.6, 0.55, 0.58, 0.59])]
    assert reasons == [
        "",
        "asha: 0.4 by epoch 1 is not among the best third",
        "",
        "asha: 0.55 by epoch 1 is not among the best third",
        "asha: 0.58 by epoch 1 is not among the best third",
        "",  # 2nd of 6, of which two go on
    ]


def test_asha_says_what_part_goes_on() -> None:
    for reduction, part in ((2, "half"), (4, "quarter"), (7, "1 in 7")):
        rule = rule_of(f"{{rule: asha, min_epochs: 9, reduction: {reduction}}}")
        course(rule, 0, [0.5] * 9)
        assert course(rule, 1, [0.045] * 9) == (
            f"asha: 0.045 by epoch 9 is not among the best {part}"
        )


def test_asha_takes_up_who_is_among_the_best_after_all() -> None:
    rule = rule_of("{rule: asha, reduction: 2}")
    for trial, value in enumerate([0.5, 0.4, 0.1]):
        course(rule, trial, [value])
        assert rule.next_up() is None
    course(rule, 3, [0.2])  # two of four go on: the second is that of 0.4
    assert rule.next_up() == rule.next_up() == 1
    rule.take_up(1)
    assert not rule.verdict(1, 1)
    assert rule.next_up() is None
    rule.note(1, 2, {"val_accuracy": 0.3})  # its best so far is that of epoch 1
    assert not rule.verdict(1, 2)  # the first there


def test_asha_takes_up_from_the_highest_rung_first_and_the_best_of_it() -> None:
    rule = rule_of("{rule: asha, reduction: 2}")
    for trial, values in enumerate([[0.5, 0.9], [0.6, 0.8], [0.7, 0.7], [0.8, 0.6]]):
        course(rule, trial, values)
    for trial in range(4, 8):
        course(rule, trial, [0.55])
    # Of 4 at the second rung two go on: the best began there. Of 8 at the first 4 go on, of which
    # three have, and of equal trials it is the earliest.
    for trial in (1, 4):
        assert rule.next_up() == trial
        rule.take_up(trial)
    assert rule.next_up() is None


def test_trials_that_a_rule_ended_for_good_are_never_taken_up() -> None:
    rule = rule_of("[{rule: patience, epochs: 1}, {rule: asha, reduction: 2, min_epochs: 2}]")
    assert course(rule, 0, [0.5, 0.6]) == ""
    rule.note(1, 1, {"val_accuracy": 0.5, "loss": 1.0})
    rule.note(1, 2, {"val_accuracy": 0.4, "loss": 1.0})
    assert not rule.stop(1, rule.verdict(1, 2))  # patience
    assert rule.stop(2, _noted(rule, 2, [0.2, 0.55]))
    _noted(rule, 3, [0.1, 0.2])
    assert rule.next_up() == 2 and rule.rungs(9) == (2, 4, 8)
    rule.take_up(2)
    assert rule.verdict(2, 2) == ""
    rule.note(2, 3, {"val_accuracy": 0.3, "loss": 1.0})  # patience remembers its best epoch
    assert rule.verdict(2, 3) == "patience: no better than 0.55 (epoch 2) for 1 epoch"


def _noted(rule: StoppingRule, trial: int, values: Sequence[float]) -> str:
    for epoch, value in enumerate(values, 1):
        rule.note(trial, epoch, {"val_accuracy": value, "loss": value})
    return rule.verdict(trial, len(values))


@pytest.mark.parametrize(
    ("options", "rungs"),
    [
        ("min_epochs: 1, reduction: 3", [1, 3, 9, 27, 81]),
        ("min_epochs: 2, reduction: 4", [2, 8, 32]),
        ("min_epochs: 5, reduction: 2", [5, 10, 20, 40, 80]),
    ],
)
def test_asha_judges_at_its_rungs_only(options: str, rungs: list[int]) -> None:
    rule = rule_of(f"{{rule: asha, {options}}}")
    stops = []
    for epoch in range(1, 101):
        for trial, value in enumerate([0.9, 0.1]):
            rule.note(trial, epoch, {"val_accuracy": value})
        if rule.verdict(1, epoch):
            stops.append(epoch)
        assert not rule.verdict(0, epoch)
    assert stops == rungs


def test_asha_compares_the_best_value_so_far() -> None:
    rule = rule_of("{rule: asha, min_epochs: 3}")
    assert not course(rule, 0, [0.1, 0.1, 0.5])
    assert not course(rule, 1, [0.1, 0.6, 0.2])
    assert course(rule, 2, [0.1, 0.55, 0.2]) == (
        "asha: 0.55 by epoch 3 is not among the best third"
    )


def test_in_a_tie_those_before_go_on() -> None:
    rule = rule_of("{rule: asha, reduction: 2}")
    assert [bool(course(rule, trial, [0.5])) for trial in range(5)] == [False] + [True] * 4


def test_a_loss_is_better_when_it_is_lower() -> None:
    rule = rule_of("{rule: asha}", "{metric: val_loss}")
    assert not course(rule, 0, [2.0], "val_loss")
    assert course(rule, 1, [2.5], "val_loss").startswith("asha: 2.5 by epoch 1 is not")
    assert not course(rule, 2, [1.5], "val_loss")


def test_a_trial_that_ends_after_a_rung_keeps_its_value_there() -> None:
    rule = rule_of("{rule: asha}")
    rule.note(0, 1, {"val_accuracy": 0.9})
    rule.end(0)
    assert course(rule, 1, [0.8])
    assert not course(rule, 2, [0.95])


@given(st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=20), st.integers(2, 4))
def test_asha_is_what_its_definition_says(curves: list[tuple[float, ...]], reduction: int) -> None:
    rule = rule_of(f"{{rule: asha, reduction: {reduction}}}")
    rungs: dict[int, list[float]] = {}
    for trial, curve in enumerate(curves):
        expected = 0  # the epoch at which it stops
        for epoch in range(1, 4):
            if epoch in (1, reduction):
                seen = rungs.setdefault(epoch, [])
                value = max(curve[:epoch])
                seen.append(value)
                kept = max(1, len(seen) // reduction)
                if sum(other >= value for other in seen) > kept:
                    expected = epoch
                    break
        reason = course(rule, trial, curve)
        assert bool(reason) == bool(expected)
        assert f"by epoch {expected} " in reason or not reason


@pytest.mark.parametrize("trials", [1, 2, 7, 30])
def test_asha_takes_the_least_epochs_if_the_best_begin_first(trials: int) -> None:
    stop = AshaStop(rule="asha", min_epochs=2, reduction=3)
    falling = [
        RecordedCurve(n, [{"val_accuracy": 1 / (n + 1)}] * 20, [1.0] * 20) for n in range(trials)
    ]
    trained = epochs_trained(asha_of(stop), falling)
    assert sum(trained) == least_epochs(stop, trials, 20)


def asha_of(stop: AshaStop) -> StoppingRule | None:
    return stopping.rule_of([stop], Objective("val_accuracy", "max"))


# ----------------------------------------------------------------------------- median


def test_median_waits_for_enough_trials_and_epochs() -> None:
    rule = rule_of("{rule: median, min_epochs: 2, min_trials: 3}")
    for trial in range(3):
        assert not course(rule, trial, [0.5, 0.6, 0.7])
    # Running averages of the others: 0.55 at epoch 2.
    assert course(rule, 3, [0.1, 0.3, 0.9]) == (
        "median: 0.3 by epoch 2 is worse than 0.55, the median of 3"
    )
    assert not course(rule, 4, [0.1, 0.55, 0.7])


def test_median_of_a_loss() -> None:
    rule = rule_of("{rule: median, min_trials: 2}", "{metric: val_loss}")
    assert not course(rule, 0, [2.0], "val_loss")
    assert not course(rule, 1, [3.0], "val_loss")
    assert course(rule, 2, [2.6], "val_loss").startswith("median: 2.6 by epoch 1 is worse than 2.5")
    assert not course(rule, 3, [2.4], "val_loss")


@given(st.lists(st.lists(VALUES, min_size=1, max_size=5), min_size=1, max_size=12))
def test_median_is_what_its_definition_says(curves: list[list[float]]) -> None:
    rule = rule_of("{rule: median, min_trials: 2}")
    averages: dict[int, list[float]] = {}
    for trial, curve in enumerate(curves):
        expected = 0
        for epoch in range(1, len(curve) + 1):
            others = averages.setdefault(epoch, [])
            stops = len(others) >= 2 and max(curve[:epoch]) < statistics.median(others)
            others.append(sum(curve[:epoch]) / epoch)
            if stops:
                expected = epoch
                break
        reason = course(rule, trial, curve)
        assert bool(reason) == bool(expected)
        assert f"by epoch {expected} " in reason or not reason


# ---------------------------------------------------- patience, threshold, divergence


def test_patience_counts_epochs_without_improvement() -> None:
    rule = rule_of("{rule: patience, epochs: 3}")
    assert not course(rule, 0, [0.1, 0.2, 0.2, 0.2, 0.3, 0.1, 0.1])
    assert course(rule, 1, [0.1, 0.412, 0.2, 0.412, 0.3, 0.5]) == (
        "patience: no better than 0.412 (epoch 2) for 3 epochs"
    )


def test_patience_does_not_count_small_steps() -> None:
    rule = rule_of("{rule: patience, epochs: 1, min_delta: 0.1}")
    assert not course(rule, 0, [0.1, 0.25, 0.4])
    assert course(rule, 1, [0.1, 0.15]) == (
        "patience: no better than 0.1 (epoch 1) by 0.1 for 1 epoch"
    )
    # Small steps add up to an improvement over the best that counted.
    patient = rule_of("{rule: patience, epochs: 2, min_delta: 0.1}")
    assert not course(patient, 0, [0.1, 0.19, 0.21, 0.30, 0.32])


def test_patience_with_a_loss() -> None:
    rule = rule_of("{rule: patience, epochs: 2}", "{metric: val_loss}")
    assert not course(rule, 0, [3.0, 2.0, 2.5, 1.9], "val_loss")
    assert course(rule, 1, [3.0, 2.0, 2.0, 2.1], "val_loss") == (
        "patience: no better than 2 (epoch 2) for 2 epochs"
    )


def test_threshold_asks_for_a_value_in_time() -> None:
    rule = rule_of("{rule: threshold, value: 0.3, epochs: 3}")
    assert not course(rule, 0, [0.1, 0.3, 0.2, 0.1, 0.1])
    assert course(rule, 1, [0.1, 0.213, 0.2, 0.9]) == (
        "threshold: 0.213 by epoch 3 has not reached 0.3"
    )
    loss = rule_of("{rule: threshold, value: 2}", "{metric: val_loss}")
    assert not course(loss, 0, [2.0], "val_loss")
    assert course(loss, 1, [2.1], "val_loss") == "threshold: 2.1 by epoch 1 has not reached 2"


def test_divergence_looks_at_the_training_loss() -> None:
    rule = rule_of("{rule: divergence, factor: 3}")
    losses = [2.0, 1.0, 5.9, 6.0, 6.5]
    for epoch, loss in enumerate(losses, 1):
        rule.note(0, epoch, {"loss": loss, "val_accuracy": 0.5})
        reason = rule.verdict(0, epoch)
        assert bool(reason) == (epoch == 5)
    assert reason == "divergence: the loss 6.5 at epoch 5 is 3.25 times that of its first epoch"


def test_a_loss_below_zero_has_no_factor() -> None:
    assert not course(rule_of("{rule: divergence}"), 0, [-1.0, -0.5, 3.0])


# -------------------------------------------------------------------- every rule

STOPS = [
    "{rule: asha}",
    "{rule: asha, min_epochs: 2, reduction: 2}",
    "{rule: median, min_trials: 3}",
    "{rule: patience, epochs: 2, min_delta: 0.01}",
    "{rule: threshold, value: 0.4, epochs: 4}",
]
EVERY_STOP = [*STOPS, "{rule: divergence, factor: 1.1}"]  # the surface's loss does not diverge


def test_every_rule_is_here() -> None:
    assert {re.findall(r"rule: (\w+)", stop)[0] for stop in EVERY_STOP} == set(RULES)


@pytest.mark.parametrize("stop", EVERY_STOP)
def test_a_verdict_can_be_asked_again_and_an_epoch_noted_again(stop: str) -> None:
    rule, rng = rule_of(stop), random.Random(0)
    for trial in range(30):
        for epoch in range(1, 10):
            metrics = {"val_accuracy": rng.random(), "loss": rng.random()}
            rule.note(trial, epoch, metrics)
            reason = rule.verdict(trial, epoch)
            assert rule.verdict(trial, epoch) == reason
            rule.note(trial, epoch, metrics)
            assert rule.verdict(trial, epoch) == reason
            if reason:
                break


@pytest.mark.parametrize("stop", EVERY_STOP)
def test_the_order_of_trials_in_a_replay_does_not_matter(stop: str) -> None:
    rng = random.Random(1)
    curves = [[rng.random() / 4 for _ in range(rng.randint(1, 9))] for _ in range(20)]
    verdicts = set()
    for _ in range(5):
        rule = rule_of(stop)
        for trial in rng.sample(range(20), 20):
            for epoch, value in enumerate(curves[trial], 1):
                rule.note(trial, epoch, {"val_accuracy": value, "loss": value})
        verdicts.add(tuple(rule.verdict(t, len(curve)) for t, curve in enumerate(curves)))
    assert len(verdicts) == 1
    assert any(verdicts.pop())


@pytest.mark.parametrize("stop", STOPS)
def test_an_interruption_anywhere_changes_no_verdict(stop: str) -> None:
    experiment = experiment_of(f"{{method: random, max_trials: 12, stop: {stop}}}", epochs=9)
    surface = Surface(seed=0, epochs=9, noise=0.05)
    whole = Simulation(experiment, surface).run()
    assert {"stopped", "completed"} <= {row.state for row in whole.rows.values()}
    for epochs in range(1, whole.trained_epochs):
        for crash in (False, True):
            part = Simulation(experiment, surface).run(epochs, crash_before_verdict=crash)
            rest = Simulation(experiment, surface, rows=list(part.rows.values())).run()
            assert rest.outcome() == whole.outcome()
            assert rest.trained_epochs == whole.trained_epochs - epochs


@pytest.mark.parametrize("stop", ["{rule: asha}", "{rule: median}"])
def test_a_verdict_among_many_thousands_of_trials_costs_little(stop: str) -> None:
    rule, rng = rule_of(stop), random.Random(0)
    for trial in range(30_000):
        rule.note(trial, 1, {"val_accuracy": rng.random()})
        if rule.verdict(trial, 1):
            rule.stop(trial, "asha: it waits")
    start = time.process_time()
    rule.note(100_000, 1, {"val_accuracy": 0.5})
    rule.verdict(100_000, 1)
    assert time.process_time() - start < 0.005


# ------------------------------------------------------------------------------- several rules


def test_of_several_rules_the_first_that_says_so_ends_a_trial_and_is_named() -> None:
    rule = rule_of("[{rule: asha, min_epochs: 2}, {rule: patience, epochs: 2}]")
    assert not course(rule, 0, [0.5, 0.6])
    assert course(rule, 1, [0.5, 0.55]).startswith("asha: 0.55 by epoch 2 is")
    assert course(rule, 2, [0.7, 0.7, 0.7]) == "patience: no better than 0.7 (epoch 1) for 2 epochs"


@given(
    st.lists(st.lists(VALUES, min_size=9, max_size=9), min_size=1, max_size=8),
    st.lists(
        st.sampled_from(
            ["{rule: asha}", "{rule: median, min_trials: 1}", "{rule: patience, epochs: 2}"]
        ),
        min_size=1,
        max_size=3,
        unique=True,
    ),
)
def test_a_list_of_rules_says_what_the_first_of_them_says_by_itself(courses, stops) -> None:
    """Every rule sees every epoch, whichever of them ended a trial."""
    together, alone = rule_of(f"[{', '.join(stops)}]"), [rule_of(stop) for stop in stops]
    for trial, values in enumerate(courses):
        for epoch, value in enumerate(values, 1):
            for rule in (together, *alone):
                rule.note(trial, epoch, {"val_accuracy": value, "loss": value})
            reasons = [rule.verdict(trial, epoch) for rule in alone]
            assert together.verdict(trial, epoch) == next(filter(None, reasons), "")
            if any(reasons):
                break
        for rule in (together, *alone):
            rule.end(trial)


@given(st.lists(st.integers(-3, 30), max_size=80), st.integers(2, 6))
def test_sorted_values_are_what_a_sorted_list_is(numbers: list[int], block_size: int) -> None:
    values, listed = SortedValues(block_size), sorted(map(float, numbers))
    for number in numbers:
        values.add(float(number))
    assert len(values) == len(listed)
    assert [values[place] for place in range(len(values))] == listed
    for number in range(-4, 32):
        assert values.num_below(number) == sum(value < number for value in listed)


def test_one_value_more_costs_the_same_among_many() -> None:
    few, many = SortedValues(), SortedValues()
    rng = random.Random(0)
    for number in range(400_000):
        many.add(number / 7)

    def seconds(values: SortedValues) -> float:
        begun = time.process_time()
        for _ in range(3_000):
            values.num_below(rng.random() * 50_000)
            values.add(rng.random() * 50_000)
        return time.process_time() - begun

    assert seconds(many) < 8 * seconds(few) + 0.1
