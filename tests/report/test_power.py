"""How many seeds decide: the promise against the rule itself, and where the spread comes from."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.execution.conftest import GRID
from tests.report.rows import in_context, trial
from tests.report.test_summary import replicated
from tuner.actions.plan import make_plan
from tuner.experiment.experiment import parse_experiment
from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import NewTrial, Outcome
from tuner.report import statistics
from tuner.report.power import least_difference, power_of, seeds_to_decide
from tuner.report.record import RunRecord, read_record
from tuner.report.seed_spread import SAME_DATA, SeedSpread, spread_elsewhere, spread_of
from tuner.report.statistics import Verdict, paired
from tuner.report.summary import summarize

DATA = {"data.fingerprint": "f10", "data.validation": 5000, "data.train_images": None}


@pytest.mark.parametrize(
    ("difference", "spread", "n"), [(2.5, 1.0, 6), (0.0169, 0.01, 8), (1.0, 1.0, 14)]
)
def test_the_promised_power_is_that_of_the_rule(difference, spread, n, monkeypatch):
    """200 runs of the rule itself: within 5 points and the simulation's own error."""
    monkeypatch.setattr(statistics, "RESAMPLES", 499)
    rng = np.random.default_rng(n)
    claims = sum(
        paired(rng.normal(difference, spread, n), rng.normal(0, spread, n)).verdict
        is Verdict.BETTER
        for _ in range(200)
    )
    promised = power_of(difference, spread, n)
    assert abs(claims / 200 - promised) < 0.05 + 2 * (promised * (1 - promised) / 200) ** 0.5


def test_by_hand():
    """Six pairs decide only where all have one sign: P = Φ(d / (√2 σ))^6 at the most."""
    from statistics import NormalDist

    for effect in (1.0, 2.0, 3.0):
        most = NormalDist().cdf(effect / 2**0.5) ** 6
        assert power_of(effect, 1.0, 6) <= most + 0.02
    assert power_of(5.0, 1.0, 6) > 0.97
    # Of very many pairs it is the normal's: Φ(√n d / (√2 σ) - 1.96).
    normal = NormalDist().cdf((150 / 2) ** 0.5 * 0.3 - 1.96)
    assert power_of(0.3, 1.0, 150) == pytest.approx(normal, abs=0.03)


def test_fewer_than_six_seeds_decide_nothing():
    assert power_of(100.0, 1.0, 5) == 0
    assert power_of(0.0, 1.0, 50) == 0
    assert power_of(0.1, 0.0, 6) == 1
    assert seeds_to_decide(100.0, 1.0) == 6
    assert least_difference(1.0, 5) is None


def test_seeds_and_least_difference_are_two_sides_of_one_thing():
    assert seeds_to_decide(0.01, 1.0) is None
    for n in (6, 8, 30):
        least = least_difference(0.004, n)
        assert power_of(least, 0.004, n) >= 0.8 > power_of(0.97 * least, 0.004, n)
        assert seeds_to_decide(least, 0.004) <= n
    needed = [seeds_to_decide(difference, 1.0) for difference in (3, 1.5, 0.5)]
    assert needed == sorted(needed)


def test_the_spread_is_pooled_over_configurations():
    rates = {0.1: (0.50, 0.52, 0.54), 0.01: (0.40, 0.41)}
    rows = [
        trial(10 * place + seed, score, {"rate": rate}, seed)
        for place, (rate, scores) in enumerate(rates.items())
        for seed, score in enumerate(scores)
    ]
    # Squares: 0.0004 + 0 + 0.0004, and 2 * 0.005² = 0.00005; degrees 2 + 1.
    spread = spread_of(rows)
    assert spread.degrees == 3
    assert spread.spread == pytest.approx((0.00085 / 3) ** 0.5)
    stopped = [dataclasses.replace(row, state=TrialState.STOPPED) for row in rows]
    assert spread_of(stopped) is None
    assert spread_of(rows[:2]) is None  # one degree


def ledger_of(results, name, scores, fingerprint="f10", metric="val_accuracy", validation=5000):
    folder = RunFolder(results, name)
    folder.prepare()
    with Ledger.create_or_open(folder.ledger, name) as ledger:
        ledger.set_objective(Objective(metric, "max"))
        ledger.begin_run(total=len(scores), done=0, workers=1)
        context = {**DATA, "data.fingerprint": fingerprint, "data.validation": validation}
        for number, (rate, seed, score) in enumerate(scores, start=1):
            values = {"training.learning_rate": rate}
            new = NewTrial(f"{name}{number}", values, values, seed, seed, "s", 10, 10, context)
            ledger.add([new])
            ledger.start(number, 1)
            ledger.record_epoch(number, 1, {metric: score}, 100.0)
            ledger.finish(number, Outcome(TrialState.COMPLETED, score, 1, {}, 100.0, 1.0))
    return folder


SEEDS = [(rate, seed, 0.5 + rate + 0.004 * (seed % 2)) for rate in (0.1, 0.2) for seed in range(4)]


def test_the_spread_of_other_experiments_on_the_same_data_stands_in(tmp_path):
    single = ledger_of(tmp_path, "single", [(0.1, 0, 0.5), (0.2, 0, 0.6)])
    assert read_record(single).seed_spread is None
    ledger_of(tmp_path, "other-data", SEEDS, fingerprint="f11")
    ledger_of(tmp_path, "other-metric", SEEDS, metric="accuracy")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "ledger.sqlite").write_text("no ledger")
    assert read_record(single).seed_spread is None
    ledger_of(tmp_path, "seeds", SEEDS)
    spread = read_record(single).seed_spread
    assert (spread.source, spread.degrees) == ("seeds", 6)
    assert spread.spread == pytest.approx((8 * 0.002**2 / 6) ** 0.5)
    assert spread_elsewhere(single, "val_accuracy", dict.fromkeys(SAME_DATA)) is None
    advice = summarize(read_record(single)).advice
    assert "the lead of 10 points takes 6 seeds and about 20m 00s to decide" in advice
    assert f"`tuner confirm {single.path} --top 2 --seeds 6`" in advice
    assert "6 degrees of freedom, in seeds" in advice


def test_a_lead_that_cannot_be_decided_says_so(record: RunRecord):
    close = replicated(record, [0.5, 0.52, 0.54, 0.56], [0.52, 0.5, 0.56, 0.53999])
    assert "takes more than 200 seeds to decide" in summarize(close).advice
    settled = replicated(
        record, [0.9 + n / 100 for n in range(6)], [0.1 + n / 100 for n in range(6)]
    )
    assert "to decide" not in summarize(settled).advice


def test_without_test_images_more_replicates_are_the_way(record: RunRecord):
    close = replicated(record, [0.5, 0.52, 0.51, 0.52], [0.49, 0.5, 0.5, 0.5])
    without = dataclasses.replace(close, environment={"data": {"num_test": 0}})
    assert "search.replicates: " in summarize(without).advice


def test_a_plan_says_how_many_seeds_decide_before_anything_runs(tmp_path):
    experiment = parse_experiment(GRID + "search: {replicates: 8}", "x.yaml")

    def planned():
        return make_plan(experiment, results_dir=tmp_path, data_dir=None)

    assert planned().power is None
    data, fingerprint = experiment.data, planned().data.fingerprint
    ledger_of(tmp_path, "seeds", SEEDS, fingerprint, validation=data.validation)
    power = planned().power
    assert (power.seeds, power.replicates, power.spread.source) == (7, 8, "seeds")
    assert power.least == pytest.approx(1.75 * power.spread.spread, rel=0.02)
    assert dataclasses.replace(power, seconds=None).text == (  # this machine may know the time
        "a difference of 0.5 points between two configurations takes 7 seeds to decide, and 8 "
        "decide 0.4 points "
        "(seeds differ by sd 0.0023, 6 degrees of freedom, in seeds)"
    )
    timed = dataclasses.replace(power, seconds=2_400.0, replicates=3, least=None)
    assert "takes 7 seeds and about 40m to decide, and 3 decide nothing" in timed.text


def test_a_row_says_which_data_it_was_trained_on():
    from tuner.report.seed_spread import data_of

    assert data_of(in_context(trial(1, 0.5, {}))) == DATA
    assert SeedSpread(0.0042, 1).text == "seeds differ by sd 0.0042, 1 degree of freedom"
