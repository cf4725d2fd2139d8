"""Importance: tables decomposed by hand, and what must hold for any table."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.report.rows import trial
from tuner.experiment.objective import Objective
from tuner.report.importance import (
    GRID,
    TOP,
    Importance,
    anova_shares,
    importance,
)


def grid(score, *levels, replicates: int = 1):
    """One trial per combination of x0, x1, … and seed; `score` takes the values and the seed."""
    return [
        trial(number, score(*values, seed), {f"x{i}": v for i, v in enumerate(values)}, seed)
        for number, (*values, seed) in enumerate(
            itertools.product(*levels, range(replicates)), start=1
        )
    ]


def shares(found: Importance) -> dict[str, float]:
    return {"×".join(effect.names): effect.share for effect in found.effects}


def test_two_by_two_by_hand():
    # Means of rows 1 and 5 (grand mean 3, variance 4); of columns 2 and 4 (variance 1); cell
    # variance (3² + 1² + 1² + 3²) / 4 = 5: nothing is left for the interaction.
    table = anova_shares(np.array([[0.0, 2.0], [4.0, 6.0]]))
    assert table == pytest.approx({(0,): 0.8, (1,): 0.2, (0, 1): 0.0})
    # A pure interaction.
    assert anova_shares(np.array([[1.0, -1.0], [-1.0, 1.0]])) == {(0,): 0, (1,): 0, (0, 1): 1}


@pytest.mark.parametrize("shape", [(3,), (2, 5), (3, 4)])
def test_shares_of_one_and_two_axes_sum_to_one(shape):
    table = np.random.default_rng(0).normal(size=shape)
    assert sum(anova_shares(table).values()) == pytest.approx(1)


X = ("x0", "x1", "x2", "x3")


def test_shares_of_a_grid_sum_to_one_with_the_higher_interactions():
    noise = np.random.default_rng(0).normal(size=100)
    rows = grid(lambda *v: noise[hash(v) % 97], (1, 2), (1, 2, 3), (1, 2))
    found = importance(rows, X, Objective())
    assert (found.method, len(found.effects)) == (GRID, 6)
    assert sum(shares(found).values()) + found.higher == pytest.approx(1)
    assert importance(rows[:-1], X, Objective()).method != GRID  # a combination is missing


def test_what_does_not_matter_on_a_grid_has_no_share():
    rows = grid(lambda a, b, c, seed: a + c, (1, 2), (1, 2, 3), (0, 1))
    found = importance(rows, X, Objective())
    assert shares(found)["x1"] == pytest.approx(0)
    assert shares(found)["x0"] == pytest.approx(0.5)
    assert [effect.low for effect in found.effects][:2] == pytest.approx([0.5, 0.5])
    flat = importance(grid(lambda a, b, seed: 0.1, (1, 2), (1, 2)), X, Objective())
    assert set(shares(flat).values()) == {flat.higher} == {0.0}


def test_shares_do_not_depend_on_the_scale_of_the_score_or_its_direction():
    one = importance(grid(lambda a, b, seed: a * b + a, (1, 2, 4), (1, 3)), X, Objective())
    other = importance(
        grid(lambda a, b, seed: 7 - 3 * (a * b + a), (1, 2, 4), (1, 3)),
        X,
        Objective(direction="min"),
    )
    assert shares(one) == pytest.approx(shares(other))
    assert "no interval" in one.uncertainty


def test_seeds_of_a_grid_give_an_interval():
    noise = np.random.default_rng(3).normal(0, 0.2, (2, 2, 4))
    found = importance(
        grid(lambda a, b, s: a + noise[a, b, s], (0, 1), (0, 1), replicates=4), X, "max"
    )
    by_name = {"×".join(effect.names): effect for effect in found.effects}
    assert found.n == 16
    assert 0.5 < by_name["x0"].low < by_name["x0"].share <= by_name["x0"].high <= 1
    assert by_name["x1"].high < by_name["x0"].low


@pytest.mark.parametrize("replicates", [1, 2])
def test_an_interval_of_a_noisy_grid_holds_its_estimate(replicates):
    """Drawing again adds noise, which takes from large shares: the draws alone lie below."""
    noise = np.random.default_rng(1).normal(0, 0.3, (6, 4, 3, replicates))
    rows = grid(
        lambda a, b, c, s: a / 5 + 0.3 * b / 3 + noise[a, b, c, s],
        *map(range, (6, 4, 3)),
        replicates=replicates,
    )
    for effect in importance(rows, X, Objective()).effects:
        assert 0 <= effect.low <= effect.share <= effect.high <= 1


def random_search(score, n: int = 200, seed: int = 0):
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(1, n + 1):
        values = {"rate": 10 ** generator.uniform(-4, 0), "depth": int(generator.choice([20, 32]))}
        values["unused"] = float(generator.uniform())
        rows.append(trial(number, score(**values), values))
    return rows


def test_among_random_trials_what_does_not_matter_has_almost_no_share():
    rows = random_search(lambda rate, depth, unused: -abs(np.log10(rate) + 2) + 0.01 * depth)
    found = importance(rows, ("rate", "depth", "unused"), Objective())
    by_name = {effect.names[0]: effect for effect in found.effects}
    assert found.method == TOP
    assert sum(shares(found).values()) == pytest.approx(1)
    assert by_name["rate"].share > 0.9
    assert by_name["unused"].share < 0.05
    assert by_name["unused"].low == 0
    assert by_name["rate"].low > by_name["unused"].high


def test_conditional_hyperparameters_count_within_their_branch():
    """`a` sets nothing apart where it exists; that it exists at all is what `kind` says."""
    rows = [
        trial(i, float(i % 2), {"kind": i % 2, **({"a": i % 3} if i % 2 else {"b": i % 5})})
        for i in range(1, 81)
    ]
    found = importance(rows, ("kind", "a", "b"), Objective())
    assert shares(found) == pytest.approx({"kind": 1, "a": 0, "b": 0})
    better = [trial(r.number, r.score + (r.values.get("a") == 2), r.values) for r in rows]
    assert shares(importance(better, ("a",), Objective())) == {"a": 1}


def test_a_default_of_a_family_that_nobody_searched_does_not_matter():
    rows = [
        trial(i, i / 50, {"family": i % 2}, fixed={"activation": "relu" if i % 2 else "tanh"})
        for i in range(1, 41)
    ]
    assert shares(importance(rows, ("family", "activation"), Objective())).keys() == {"family"}


def test_chance_alone_tells_nothing():
    noise = np.random.default_rng(5)
    rows = random_search(lambda **values: float(noise.uniform()), n=16)
    assert not importance(rows, ("rate", "depth", "unused"), Objective()).is_telling
    rows = random_search(lambda rate, depth, unused: np.log10(rate), n=32)
    assert importance(rows, ("rate", "depth", "unused"), Objective()).is_telling
    flat = importance(grid(lambda a, b, seed: 0.1, (1, 2), (1, 2)), X, Objective())
    four = importance(grid(lambda a, b, seed: a + b, (1, 2), (1, 2)), X, Objective())
    assert not flat.is_telling and not four.is_telling


def test_too_few_trials_or_nothing_that_varies_give_no_importance():
    assert importance([], X, Objective()) == Importance("", "", 0, ())
    few = random_search(lambda **values: values["rate"], n=8)
    assert importance(few, ("rate", "depth"), Objective()).effects == ()
    same = [trial(i, i / 10, {"a": 1}) for i in range(1, 30)]
    assert importance(same, ("a",), Objective()).effects == ()


def test_true_is_not_one_but_one_point_zero_is():
    rows = [trial(1, 0.1, {"a": True}), trial(2, 0.2, {"a": 1}), trial(3, 0.3, {"a": 1.0})]
    found = importance(rows, ("a",), Objective())
    assert (found.method, found.n) == (GRID, 3)
    assert shares(found) == pytest.approx({"a": 1})


@pytest.mark.parametrize("levels", [((1, 2), (1, 2)), ((1, 2), (1, 2), (1, 2))])
def test_a_grid_of_which_some_combinations_have_more_seeds_than_others_is_decomposed(levels):
    rows = grid(lambda *v: v[0] + 0.1 * v[1] + 0.01 * v[-1], *levels, replicates=2)
    found = importance(rows[1:], X, Objective())
    assert found.method == GRID
    assert found.uncertainty.startswith("one seed of some combinations")
    assert shares(found)["x0"] > 0.9
