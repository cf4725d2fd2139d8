"""The estimate of a run's time: hand-computed, from a handful of speeds."""

from __future__ import annotations

import pytest

from tests.execution.test_speeds import speed
from tuner.execution.estimate.forecast import Forecast, fit
from tuner.execution.estimate.timing import basis_text, estimate, rough_text
from tuner.execution.estimate.workload import Job, Network, Workload
from tuner.experiment.trial import Configuration

NOWHERE = Configuration({}, {}, {})


def network(**changed) -> Network:
    """100 steps and 500 validation images: an epoch of `SPEED` takes 10 + 0.5 + 0.02 seconds."""
    values = {
        "structure": "aa",
        "family": "resnet",
        "image_shape": (32, 32, 3),
        "num_classes": 10,
        "batch_size": 50,
        "parameters": 1000,
        "macs": 10_000,
        "activations": 1,
        "steps": 100,
        "validation_images": 500,
    }
    return Network(**(values | changed))


def work(*jobs: Job, scale: float = 1.0, is_listed: bool = True) -> Workload:
    configurations = {job.structure: (NOWHERE, 1) for job in jobs}
    return Workload(configurations, jobs, scale, is_listed=is_listed)


def estimated(speeds, *jobs, networks=None, workers=1, sharing=1, **options):
    networks = networks or [network()]
    return estimate(
        work(*jobs, **options),
        {each.structure: each for each in networks},
        Forecast(speeds, sharing),
        workers=workers,
        start_seconds=4.0,
        is_most=False,
    )


# ---------------------------------------------------------------------- the fit


def test_a_line_is_found():
    line = fit([(x, 0.5 + 2e-3 * x) for x in (10, 100, 1000)])
    assert (line.constant, line.slope) == (pytest.approx(0.5), pytest.approx(2e-3))
    assert line.scatter == pytest.approx(0, abs=1e-9)


def test_one_point_is_proportional():
    line = fit([(10, 2.0)])
    assert (line.constant, line.at(30)) == (0.0, pytest.approx(6.0))


def test_neither_part_is_negative():
    steep = fit([(1, 0.1), (2, 1.0)])
    assert (steep.constant, steep.slope > 0) == (0.0, True)
    falling = fit([(1, 1.0), (2, 0.5)])
    assert (falling.slope, falling.constant > 0) == (0.0, True)


def test_relative_errors_count():
    """A thousandfold point does not drown the small ones."""
    line = fit([(1, 1.0), (2, 2.0), (3, 3.0), (1000, 2000.0)])
    assert line.at(2) == pytest.approx(2.0, rel=0.6)


def test_equal_points_with_nothing_to_count_are_their_mean():
    assert fit([(0, 1.0), (0, 1.0)]).at(5) == pytest.approx(1.0)


def test_nothing_is_no_line():
    with pytest.raises(ValueError, match="positive"):
        fit([(1, 0.0)])


def test_the_range_grows_outside_of_what_was_seen():
    line = fit([(10, 1.0), (20, 2.0)])
    assert line.factor(15) < line.factor(40) < line.factor(400)
    assert line.factor(1) > line.factor(10)


# ---------------------------------------------------------------------- one network


def test_what_was_measured_is_taken_as_it_was():
    """4 start + 5 compile + 2 trials of 0.3 + 3 epochs of 10.52 seconds."""
    found = estimated([speed()], Job("aa", 3), Job("aa", 3))
    assert found.seconds == pytest.approx(4 + 5 + 2 * (0.3 + 3 * 10.52))
    assert found.basis == "measured: the structure"
    assert found.low_seconds < found.seconds < found.high_seconds < 1.4 * found.seconds


def test_other_networks_of_the_family_are_scaled_by_multiply_adds():
    speeds = [speed(), speed(structure="bb", macs=20_000, step_seconds=0.2, compile_seconds=9.0)]
    other = network(structure="cc", macs=30_000)
    found = estimated(speeds, Job("cc", 1), networks=[other])
    # Both image times are equal, so that the fit is flat: 0.001 each.
    assert found.seconds == pytest.approx(4 + 13 + 0.3 + 100 * 0.3 + 0.5 + 0.02)
    assert (found.measured, found.scaled, found.guessed) == (0, 1, 0)


def test_other_families_are_trusted_less():
    near = estimated([speed()], Job("cc", 1), networks=[network(structure="cc")])
    far = estimated([speed(family="densenet")], Job("cc", 1), networks=[network(structure="cc")])
    assert far.seconds == pytest.approx(near.seconds)
    assert far.high_seconds > near.high_seconds
    assert far.guessed == 1


def test_workers_that_share_cores_are_slower():
    """Each of two takes longer than alone, but less than twice as long."""
    alone = Forecast([speed()], 1).of(network())
    shared = Forecast([speed()], 2).of(network())
    assert shared.epoch_seconds == pytest.approx(2**0.75 * 10.5 + 0.02)
    assert (alone.known, shared.known) == ("measured", "scaled")


def test_a_measurement_of_steps_takes_the_rest_from_whole_epochs():
    few = speed(epochs=0, epoch_seconds=0.0, trial_seconds=0.01)
    found = Forecast([few, speed(structure="bb")], 1).of(network())
    assert (found.epoch_seconds, found.trial_seconds) == (pytest.approx(10.52), 0.3)
    assert found.factor > Forecast([speed()], 1).of(network()).factor


def test_nothing_measured_is_no_estimate():
    assert estimated([], Job("aa", 3)) is None
    assert estimated([speed()], networks=[network()]) is None  # nothing to do


# ---------------------------------------------------------------------- the whole run


def test_each_worker_compiles_for_itself_and_trials_are_shared_out():
    one = estimated([speed(sharing=2)], *[Job("aa", 1)] * 4, workers=1, sharing=2)
    two = estimated([speed(sharing=2)], *[Job("aa", 1)] * 4, workers=2, sharing=2)
    assert one.seconds == pytest.approx(4 + 5 + 4 * 10.82)
    assert two.seconds == pytest.approx(4 + 5 + 2 * 10.82)


def test_the_last_trial_keeps_one_worker_waiting():
    found = estimated([speed(sharing=2)], *[Job("aa", 1)] * 3, workers=2, sharing=2)
    assert found.seconds == pytest.approx(4 + 5 + 2 * 10.82)


def test_programs_that_a_worker_gave_up_are_compiled_again():
    """Of nine structures in turn a worker with room for eight has never the next one."""
    names = [f"s{n}" for n in range(9)]
    networks = [network(structure=name) for name in names]
    speeds = [speed(structure=name) for name in names]
    found = estimated(speeds, *[Job(name, 1) for name in names] * 2, networks=networks)
    assert found.seconds == pytest.approx(4 + 18 * (5 + 10.82))


def test_a_sample_stands_for_all_and_compiles_once():
    found = estimated([speed()], *[Job("aa", 1)] * 10, scale=100.0, is_listed=False)
    assert found.seconds == pytest.approx(4 + 5 + 1000 * 10.82)


def test_structures_that_were_not_looked_at_are_like_the_others():
    found = estimated([speed()], Job("aa", 1), Job("zz", 1))
    assert found.seconds == pytest.approx(4 + 5 + 2 * 10.82)


# ---------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ((1, 0, 0), "measured: the structure"),
        ((4, 0, 0), "measured: all 4 structures"),
        ((3, 1, 0), "measured: 3 of 4 structures; 1 scaled by multiply-adds"),
        ((0, 2, 0), "scaled by multiply-adds: all 2 structures"),
        ((0, 2, 1), "scaled by multiply-adds: 2 of 3 structures; 1 scaled from other families"),
    ],
)
def test_the_basis_is_said(counts, text):
    assert basis_text(**dict(zip(("measured", "scaled", "guessed"), counts, strict=True))) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.42, "0.4s"),
        (7.4, "7s"),
        (52, "50s"),
        (59, "1m"),
        (92, "1m 30s"),
        (725, "12m"),
        (7_900, "2h 10m"),
        (50_000, "14h"),
        (273_600, "3d 4h"),
        (1e8, "1,157 days"),
    ],
)
def test_no_more_digits_than_are_known(seconds, text):
    assert rough_text(seconds) == text
