"""The search space in keras-tuner's words, and back.

Each branch of several stands in a conditional scope. What keras-tuner cannot hold is encoded:
options of mixed kinds by their index, and reverse_log as a logarithmic range of 1 - x (its own
reverse_log mirrors the range instead, which leaves betas nearly linear).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuner.experiment.domain import Range, exact
from tuner.experiment.space import Axis, Branch, SearchSpace
from tuner.experiment.trial import Configuration

_BRANCH = "branch"
_COMPLEMENT = "1 - "


def to_keras_tuner(space: SearchSpace) -> Any:
    """The open values as `keras_tuner.HyperParameters`; constraints have no equivalent there."""
    import keras_tuner

    hp = keras_tuner.HyperParameters()
    if len(space.branches) == 1:
        _register_branch(hp, space, 0)
        return hp
    hp.Choice(_BRANCH, list(range(len(space.branches))), ordered=False)
    for number in range(len(space.branches)):
        with hp.conditional_scope(_BRANCH, [number]):
            _register_branch(hp, space, number)
    return hp


def from_keras_tuner(space: SearchSpace, hp: Any) -> Configuration:
    """The configuration that `hp` (HyperParameters, or its `values`) stands for.

    Constraints are not looked at: `space.find(configuration.flat())` does.
    """
    values = hp if isinstance(hp, Mapping) else hp.values
    number = int(values.get(_BRANCH, 0))
    branch = space.branches[number]
    return branch.close(
        {axis.name: _decode(axis, values[_name(space, number, axis)]) for axis in branch.axes}
    )


def _register_branch(hp: Any, space: SearchSpace, number: int) -> None:
    branch: Branch = space.branches[number]
    for axis in branch.axes:
        name = _name(space, number, axis)
        if not axis.domain.is_finite:
            _register_range(hp, name, axis)
        elif isinstance(axis.points, range):
            points = axis.points
            hp.Int(name, points.start, points[-1], step=points.step)
        elif _is_by_index(axis):
            hp.Choice(name, list(range(len(axis.points))), ordered=False)
        else:
            hp.Choice(name, list(axis.points), ordered=True)


def _register_range(hp: Any, name: str, axis: Axis) -> None:
    domain = axis.domain
    assert isinstance(domain, Range)
    if domain.scale == "reverse_log":
        low, high = float(1 - exact(domain.maximum)), float(1 - exact(domain.minimum))
        hp.Float(name, low, high, sampling="log")
    elif domain.integer:
        hp.Int(name, domain.minimum, domain.maximum, sampling=domain.scale)
    else:
        hp.Float(name, float(domain.minimum), float(domain.maximum), sampling=domain.scale)


def _name(space: SearchSpace, number: int, axis: Axis) -> str:
    """The dotted name, marked with its branch where there are several."""
    name = f"{_COMPLEMENT}{axis.name}" if _is_complement(axis) else axis.name
    return name if len(space.branches) == 1 else f"{name} @{number}"


def _is_complement(axis: Axis) -> bool:
    domain = axis.domain
    return isinstance(domain, Range) and not domain.is_finite and domain.scale == "reverse_log"


def _is_by_index(axis: Axis) -> bool:
    """Whether the points are no numbers of one kind, all that a keras-tuner Choice can order."""
    if not axis.domain.is_finite or isinstance(axis.points, range):
        return False
    return {type(point) for point in axis.points} not in ({int}, {float})


def _decode(axis: Axis, value: Any) -> Any:
    domain = axis.domain
    if domain.is_finite:
        return axis.points[value] if _is_by_index(axis) else value
    assert isinstance(domain, Range)
    number = float(1 - exact(value)) if _is_complement(axis) else value
    number = min(max(number, domain.minimum), domain.maximum)
    return int(number) if domain.integer else float(number)
