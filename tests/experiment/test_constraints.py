"""Constraints: plain arithmetic, safely, and the same on one value as on a grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.experiment.constraints import ConstraintError, as_array, parse_constraint

KNOWN = ["model.depth", "model.growth_rate", "model.dropout", "model.l2", "training.l2",
         "training.optimizer", "training.nesterov", "training.schedule.step.factor",
         "data.augment"]  # fmt: skip

VALUES = {"model.depth": 40, "model.growth_rate": 12, "model.dropout": None, "model.l2": 1,
          "training.l2": 0.5, "training.optimizer": "adam", "training.nesterov": False,
          "training.schedule.step.factor": 0.1, "data.augment": ["crop", "flip"]}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("depth * growth_rate <= 1200", True),
        ("depth*growth_rate > 1200 or depth == 40", True),
        ("10 < depth < 40", False),
        ("10 < depth <= 40 < 41", True),
        ("not nesterov and optimizer == 'adam'", True),
        ("optimizer in ['sgd', 'adamw']", False),
        ("optimizer not in ('sgd', 'adamw')", True),
        ("depth in [20, 40]", True),
        ("dropout is null", True),
        ("dropout != None and depth > 1", False),
        ("nesterov == false", True),
        ("model.l2 > training.l2", True),
        ("training.schedule.step.factor < 0.2", True),
        ("factor < 0.2", True),
        ("depth % 6 == 4 and depth // 6 == 6 and -depth < 0 and depth ** 2 == 1600", True),
        ("depth / 0 == depth / 0 - 1", True),  # infinities
        ("0 * depth / 0 > 0", False),  # a result that does not exist
        ("1 < 2", True),
        ("nesterov", False),
        ("depth + nesterov == 40", True),
        ("'crop' in augment", True),
        ("'cutout' in data.augment or 'flip' not in augment", False),
        ("augment == ['crop', 'flip'] and augment != []", True),
        ("augment in [[], ['flip']]", False),
        ("('crop' in augment) == (depth > 3)", True),
    ],
)
def test_a_constraint_holds_or_not(text: str, held: bool) -> None:
    assert parse_constraint(text, KNOWN)(VALUES) is held


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dpth > 3", "dpth does not exist"),
        ("l2 > 3", "l2 is ambiguous"),
        ("model.dpth > 3", "model.dpth does not exist"),
        ("depth = 3", "is not readable"),
        ("depth >", "is not readable"),
        ("", "is not readable"),
        ("((((" * 200, "is not readable"),
        ("depth > 1" + " + 1" * 300, "too long"),
        ("-" * 900 + "1 > 0", "too long"),
        ("__import__('os').system('true')", "holds a function call"),
        ("depth.__class__ > 1", "does not exist"),
        ("(lambda: 1)() > 0", "holds a function call"),
        ("[x for x in [1]] == 1", "holds"),
        ("depth[0] > 1", "holds Subscript"),
        ("f'{depth}' == '1'", "holds"),
        ("(depth := 3) > 1", "holds"),
        ("1j > depth", "another kind"),
        ("'\\d' == optimizer", "is not readable"),
    ],
)
def test_what_is_no_arithmetic_comparison_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConstraintError, match=words.replace("(", r"\(")):
        parse_constraint(text, KNOWN)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("depth * 2", "is no comparison"),
        ("optimizer > 3", "cannot be computed"),
        ("optimizer + 3 > 3", "cannot be computed"),
        ("depth and growth_rate", "cannot be computed"),
        ("depth in growth_rate", "cannot be computed"),
        ("'ada' in optimizer", "in needs a list"),
        ("'crop' in dropout", "in needs a list"),
        ("augment > 3", "cannot be computed"),
        ("'%1000000000d' % depth == 'a'", "arithmetic needs numbers"),
        ("optimizer * 1000000000 == 'a'", "arithmetic needs numbers"),
        ("optimizer + optimizer == 'a'", "arithmetic needs numbers"),
        ("-optimizer == 'a'", "arithmetic needs numbers"),
        ("null * 2 > 1", "arithmetic needs numbers"),
        ("depth > " + "9" * 400, "cannot be computed"),
    ],
)
def test_what_cannot_be_computed_says_so(text: str, words: str) -> None:
    with pytest.raises(ConstraintError, match=words):
        parse_constraint(text, KNOWN)(VALUES)


def test_the_mend_names_the_nearest_name() -> None:
    with pytest.raises(ConstraintError) as caught:
        parse_constraint("grwth_rate > 3", KNOWN)
    assert caught.value.problem.mend == "growth_rate?"


def test_a_huge_power_is_a_float_and_answers_at_once() -> None:
    assert parse_constraint("9**9**9**9 > depth", KNOWN)(VALUES) is True


EXPRESSIONS = st.sampled_from(
    ["a * b <= 6", "a == b", "a != 2 and b > 1", "a in [1, 'x'] or b == 2", "not a == b",
     "a is null or b > 2", "b / b > 0", "b % 2 == 1"]
)  # fmt: skip


@given(
    EXPRESSIONS,
    st.lists(st.sampled_from([0, 1, 2, 3.0, 4]), min_size=1, max_size=4),
    st.lists(st.sampled_from([0, 1, 2.0, 5]), min_size=1, max_size=4),
)
def test_a_grid_is_judged_like_each_of_its_points(text: str, a: list, b: list) -> None:
    constraint = parse_constraint(text, ["model.a", "model.b"])
    held = constraint(
        {"model.a": as_array(a).reshape(-1, 1), "model.b": as_array(b).reshape(1, -1)}
    )
    one_by_one = [[constraint({"model.a": x, "model.b": y}) for y in b] for x in a]
    assert np.broadcast_to(held, (len(a), len(b))).tolist() == one_by_one


def test_options_of_mixed_kinds_are_judged_too() -> None:
    constraint = parse_constraint("a == null or a == 'x' or a == 2", ["m.a"])
    assert constraint({"m.a": as_array([None, "x", "y", 2, 3, True, [1, 2], [2, 1]])}).tolist() == [
        True, True, False, True, False, False, False, False,
    ]  # fmt: skip
    lists = parse_constraint("'x' in a or a == [1, 2]", ["m.a"])
    assert lists({"m.a": as_array([["x", "y"], [], [1, 2], ["z"]])}).tolist() == [
        True, False, True, False,
    ]  # fmt: skip
    numbers = parse_constraint("a * 2 > 2", ["m.a"])
    assert numbers({"m.a": as_array([True, 2, 0.5])}).tolist() == [False, True, False]
