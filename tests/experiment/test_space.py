"""The search space: counted, numbered and drawn from, without being listed."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.errors import InputError
from tuner.experiment.experiment import parse_experiment
from tuner.experiment.space import Grid, Mask

GRID = """
    model: {family: densenet, depth: {choice: [40, 100]}, growth_rate: {choice: [12, 24]},
            dropout: {choice: [0, 0.2]}, bottleneck: true}
    training: {batch_size: {choice: [32, 64]}, l2: {choice: [0, 1e-4]},
               learning_rate: {min: 1e-4, max: 1e-1, scale: log, count: 4}}
"""
FAMILIES = """
    model: {choice: [{family: resnet, depth: {choice: [20, 56]}},
                     {family: densenet, growth_rate: {choice: [12, 24, 36]}, dropout: 0.2}]}
    training: {optimizer: {choice: [adam, sgd]}, momentum: {choice: [0, 0.9]}, epochs: 3}
"""
CONSTRAINED = (
    GRID
    + """
    search: {constraints: ["depth * growth_rate <= 1200", "batch_size > 32 or l2 == 0",
                           "learning_rate < 0.05"]}
"""
)
SPACES = [GRID, FAMILIES, CONSTRAINED]


def dumped(configuration) -> str:
    return json.dumps(configuration.flat(), sort_keys=True)


@pytest.mark.parametrize("text", SPACES)
def test_points_are_unique_as_many_as_the_length_says_and_know_their_number(parse, text) -> None:
    space = parse(text).space
    points = list(space)
    assert len(points) == len(space) == space.size
    assert len({dumped(point) for point in points}) == len(points)
    assert [space.index(point.flat()) for point in points] == list(range(len(points)))
    for number in (-1, len(space)):
        with pytest.raises(IndexError):
            space[number]


def test_a_plain_grid_is_the_product_in_file_order_structure_slowest(parse) -> None:
    space = parse(GRID).space
    expected = itertools.product(
        [40, 100], [12, 24], [32, 64], [0.0, 0.2], [0.0, 1e-4], [1e-4, 1e-3, 1e-2, 1e-1]
    )
    names = ("model.depth", "model.growth_rate", "training.batch_size", "model.dropout",
             "training.l2", "training.learning_rate")  # fmt: skip
    found = [tuple(point.values[name] for name in names) for point in space]
    assert found == list(expected)
    assert space.names == ("model.depth", "model.growth_rate", "model.dropout",
                           "training.batch_size", "training.l2",
                           "training.learning_rate")  # fmt: skip


def test_constraints_leave_exactly_the_points_that_satisfy_them_in_the_same_order(parse) -> None:
    def admitted(flat: dict) -> bool:
        return (
            flat["model.depth"] * flat["model.growth_rate"] <= 1200
            and (flat["training.batch_size"] > 32 or flat["training.l2"] == 0)
            and flat["training.learning_rate"] < 0.05
        )

    whole, some = parse(GRID).space, parse(CONSTRAINED).space
    expected = [dumped(point) for point in whole if admitted(point.flat())]
    assert [dumped(point) for point in some] == expected
    assert some.excluded == len(whole) - len(expected)
    assert whole.excluded == 0
    refused = next(point for point in whole if not admitted(point.flat()))
    assert some.index(refused.flat()) is None
    assert some.find(refused.flat()) is None


def test_options_that_are_mappings_make_a_union_with_names_of_their_own(parse) -> None:
    space = parse(FAMILIES).space
    # (2 depths + 3 growth rates) times (adam + sgd with 2 momentums)
    assert len(space) == 5 * 3
    seen = Counter((p.values["model.family"], p.values["training.optimizer"]) for p in space)
    assert seen == {("resnet", "adam"): 2, ("resnet", "sgd"): 4,
                    ("densenet", "adam"): 3, ("densenet", "sgd"): 6}  # fmt: skip
    for point in space:
        assert ("training.momentum" in point.flat()) == (point.training["optimizer"] == "sgd")
        assert ("model.growth_rate" in point.values) == (point.model["family"] == "densenet")
        assert point.values.get("model.dropout", 0.2) == point.model["dropout"] or (
            point.model["family"] == "resnet"
        )


def test_choices_nest_as_deep_as_one_likes(parse) -> None:
    space = parse("""
        model:
          choice:
            - choice: [{family: resnet, depth: 20}, {family: resnet, depth: {choice: [32, 44]}}]
            - {family: plain}
        training:
          schedule: {choice: [constant, cosine, {step: {at: [0.5], factor: {choice: [0.1, 0.2]}}},
                              {step: {at: [0.3, 0.6], factor: 0.1}}]}
    """).space
    assert len(space) == 4 * 5
    schedules = {json.dumps(point.training["schedule"]) for point in space}
    assert '{"step": {"at": [0.5], "factor": 0.2}}' in schedules
    assert len(schedules) == 5
    assert [space.index(point.flat()) for point in space] == list(range(20))


def test_what_is_the_same_in_all_options_is_no_searched_name(parse) -> None:
    space = parse("""
        model: {choice: [{family: resnet, depth: 20, dropout: 0.1},
                         {family: resnet, depth: 32, dropout: 0.1}]}
    """).space
    assert space.names == ("model.depth",)


def test_a_constraint_leaves_configurations_alone_that_lack_its_names(parse) -> None:
    space = parse(
        FAMILIES + '\n    search: {constraints: ["growth_rate < 20", "momentum > 0"]}'
    ).space
    left = Counter((p.model["family"], p.training["optimizer"]) for p in space)
    assert left == {("resnet", "adam"): 2, ("resnet", "sgd"): 2,
                    ("densenet", "adam"): 1, ("densenet", "sgd"): 1}  # fmt: skip
    assert space.excluded == 15 - 6


def test_a_constraint_over_fixed_values_keeps_or_drops_a_whole_branch(parse) -> None:
    space = parse(FAMILIES + "\n    search: {constraints: [\"family != 'resnet'\"]}").space
    assert {point.model["family"] for point in space} == {"densenet"}
    assert len(space) == 9


def test_switches_are_the_rates_that_are_on_anywhere_in_the_branch(parse) -> None:
    assert {p.switches for p in parse(GRID).space} == {frozenset({"dropout"})}
    fixed = "model: {family: resnet, dropout: %s}"
    assert parse(fixed % "0").space[0].switches == frozenset()
    assert parse(fixed % "0.1").space[0].switches == {"dropout"}
    families = {p.model["family"]: p.switches for p in parse(FAMILIES).space}
    assert families == {"resnet": frozenset(), "densenet": {"dropout"}}


@pytest.mark.parametrize("text", SPACES)
def test_structures_count_every_point_once(parse, text) -> None:
    experiment = parse(text)
    counted = {}
    for configuration, count in experiment.space.structures():
        key = experiment.trial(configuration).structure.key
        counted[key] = counted.get(key, 0) + count
    listed = Counter(experiment.trial(point).structure.key for point in experiment.space)
    assert counted == listed


def test_structures_of_an_endless_space_have_no_count(parse) -> None:
    space = parse("""
        model: {family: resnet, depth: {choice: [20, 32]}}
        training: {learning_rate: {min: 1e-4, max: 0.1, scale: log},
                   batch_size: {min: 2, max: 4, scale: log}}
        search: {method: random, max_trials: 3, constraints: ["depth * batch_size < 100"]}
    """).space
    assert not space.is_finite
    found = [(c.model["depth"], c.training["batch_size"], n) for c, n in space.structures()]
    assert found == [(20, 2, None), (20, 3, None), (20, 4, None), (32, 2, None), (32, 3, None)]
    with pytest.raises(InputError, match="count"):
        len(space)


def test_an_endless_random_search_gives_every_option_its_share(parse) -> None:
    space = parse("""
        model: {choice: [{family: resnet, depth: {choice: [20, 32, 44]}}, {family: plain},
                         {choice: [{family: densenet}, {family: densenet, growth_rate: 24}]}]}
        training: {l2: {min: 0, max: 1}}
        search: {method: random, max_trials: 1}
    """).space
    rng = random.Random(3)
    drawn = [space.sample(rng).flat() for _ in range(3000)]
    seen = Counter((flat["model.family"], flat.get("model.growth_rate")) for flat in drawn)
    assert 900 < seen["resnet", None] < 1100
    assert 900 < seen["plain", None] < 1100
    assert 400 < seen["densenet", 12] < 600
    assert 400 < seen["densenet", 24] < 600


def test_a_space_draws_from_numpys_generators_too(parse) -> None:
    space = parse(GRID).space
    assert space.index(space.sample(np.random.default_rng(0)).flat()) is not None


def test_flat_values_find_their_configuration_whatever_was_left_out(parse) -> None:
    space = parse(GRID).space
    flat = space[17].flat()
    without_defaults = {
        n: v for n, v in flat.items() if n not in ("model.num_blocks", "training.epochs")
    }
    assert space.index(without_defaults) == 17
    assert space.find(flat) == space[17]
    assert space.index(flat | {"training.epochs": 41}) is None
    assert space.index(flat | {"model.unheard_of": 1}) is None
    assert space.index(flat | {"model.depth": 52}) is None


@pytest.mark.parametrize("constraint", ["", "beta_1 + beta_2 < 1.5 and l2 < 0.9"])
def test_a_million_points_cost_nothing(parse, constraint) -> None:
    search = f'search: {{constraints: ["{constraint}"]}}' if constraint else ""
    experiment = parse(f"""
        model: {{family: resnet, depth: {{choice: [20, 32]}}, dropout: 0.1}}
        training:
          batch_size: {{min: 1, max: 50}}
          l2: {{min: 0, max: 1, count: 100}}
          beta_1: {{min: 0, max: 0.9, count: 10}}
          beta_2: {{min: 0, max: 0.9, count: 10}}
        {search}
    """)
    start = time.perf_counter()
    size = len(experiment.space)
    last = experiment.space[size - 1]
    structures = list(experiment.space.structures())
    seconds = time.perf_counter() - start
    assert size == 1_000_000 if not constraint else 500_000 < size < 1_000_000
    assert last.training["batch_size"] == 50
    assert sum(count for _, count in structures) == size
    assert len(structures) == 100
    assert seconds < 0.2


def test_constraints_that_tie_too_much_together_are_refused(refuse) -> None:
    problems = refuse("""
        model: {family: resnet}
        training: {l2: {min: 0, max: 1, count: 3000}, beta_1: {min: 0, max: 0.9, count: 3000}}
        search: {constraints: ["l2 < beta_1"]}
    """)
    assert "9,000,000 combinations" in problems[0].what


@st.composite
def grids(draw: st.DrawFn) -> tuple[Grid, list[tuple[int, ...]]]:
    sizes = tuple(draw(st.lists(st.integers(1, 3), max_size=4)))
    axes = list(range(len(sizes)))
    groups: dict[int, list[int]] = {}
    for axis in axes:
        groups.setdefault(draw(st.integers(0, 3)), []).append(axis)
    masks = []
    for group, members in groups.items():
        if group:
            shape = tuple(sizes[axis] for axis in members)
            bits = draw(st.lists(st.booleans(), min_size=(n := int(np.prod(shape))), max_size=n))
            masks.append(Mask(tuple(members), np.array(bits, dtype=bool).reshape(shape)))
    listed = [
        point
        for point in itertools.product(*map(range, sizes))
        if all(mask.count(tuple(point[a] for a in mask.axes)) for mask in masks)
    ]
    return Grid(sizes, tuple(masks)), listed


@given(grids())
def test_size_points_and_ranks_are_those_of_the_list(case: tuple[Grid, list]) -> None:
    grid, listed = case
    assert grid.size == len(listed)
    assert [grid.at(rank) for rank in range(grid.size)] == listed
    assert [grid.rank(point) for point in listed] == list(range(len(listed)))


@given(grids())
def test_excluded_points_have_no_rank_and_prefixes_count_what_lies_below(
    case: tuple[Grid, list],
) -> None:
    grid, listed = case
    for point in itertools.product(*map(range, grid.sizes)):
        assert (grid.rank(point) is None) == (point not in listed)
        for length in range(len(point) + 1):
            below = sum(other[:length] == point[:length] for other in listed)
            assert grid.below(point[:length]) == below


def test_a_grid_beyond_machine_integers_is_exact() -> None:
    grid = Grid((10**9, 10**9, 10**9))
    last = (10**9 - 1,) * 3
    assert grid.at(10**27 - 1) == last
    assert grid.rank(last) == 10**27 - 1


def test_draws_never_break_a_constraint(parse) -> None:
    space = parse("""
        model: {family: densenet, growth_rate: {choice: [12, 24, 36]}}
        training: {learning_rate: {min: 1e-4, max: 0.1, scale: log}, l2: {min: 0, max: 0.01}}
        search: {method: random, max_trials: 1, constraints: ["growth_rate * l2 < 0.12"]}
    """).space
    rng = random.Random(0)
    drawn = [space.sample(rng) for _ in range(2_000)]
    assert all(point.model["growth_rate"] * point.training["l2"] < 0.12 for point in drawn)


def test_a_class_whose_name_has_dots_keeps_its_weight_in_every_view():
    text = """
model: {family: lenet}
training: {class_weight: {001.gull: {min: 1, max: 10}, St. Bernard: 2}}
search: {method: random, max_trials: 5}
"""
    space = parse_experiment(text, "x.yaml").space
    drawn = [space.sample(random.Random(seed)) for seed in range(5)]
    shown = [one.values["training.class_weight.001.gull"] for one in drawn]
    assert shown == [one.training["class_weight"]["001.gull"] for one in drawn]
    assert len(set(shown)) == 5
