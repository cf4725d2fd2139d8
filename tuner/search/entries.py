"""The entries of keras-tuner programs in our search spaces, and the other way round."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tuner.experiment.document import value_at
from tuner.experiment.domain import Choice, Domain, Range
from tuner.experiment.space import Axis, Branch, SearchSpace
from tuner.experiment.yaml import to_text

_MAX_LISTED = 1_000  # points of a range that a summary lists
_SCALARS = (bool, int, float, str)


def extended(
    space: SearchSpace, entries: Sequence[Any], dotted: Callable[[str], str]
) -> SearchSpace:
    """The space with one more open value for each entry (a `HyperParameter` of keras-tuner's).

    An entry stands where its conditions hold; branches that leave a condition open are split.
    `dotted` gives the dotted name of an entry, also of one that the space has already.
    """
    branches = space.branches
    for entry in entries:
        branches = tuple(
            larger for branch in branches for larger in _extended(branch, entry, dotted)
        )
    return SearchSpace(branches)


def _extended(branch: Branch, entry: Any, dotted: Callable[[str], str]) -> Iterator[Branch]:
    inside = [branch]
    for condition in entry.conditions:
        parent = _path(dotted(condition.name))
        halves = [_split(part, parent, condition.values) for part in inside]
        yield from (part for _, without in halves for part in without)
        inside = [part for within, _ in halves for part in within]
    axis = Axis(_path(dotted(entry.name)), domain_of(entry), structural=True)
    for part in inside:
        yield _with_axis(part, axis)


def _path(name: str) -> tuple[str, ...]:
    return tuple(name.split("."))


def _with_axis(branch: Branch, axis: Axis) -> Branch:
    """A value that the branch has under other conditions stays."""
    if any(known.path == axis.path for known in branch.axes):
        return branch
    names = (*branch.names, axis.name)
    return dataclasses.replace(branch, axes=(*branch.axes, axis), names=names)


def _split(
    branch: Branch, path: tuple[str, ...], allowed: Sequence[Any]
) -> tuple[list[Branch], list[Branch]]:
    """The parts in which the value at `path` is one of these, and in which it is not."""
    axis = next((axis for axis in branch.axes if axis.path == path), None)
    if axis is None:
        value = value_at({"model": branch.model, "training": branch.training}, path)
        return ([branch], []) if value in allowed else ([], [branch])
    if not axis.domain.is_finite:
        return [branch], []
    points = list(axis.points)
    sides = ([p for p in points if p in allowed], [p for p in points if p not in allowed])
    within, without = ([_only(branch, axis, side)] if side else [] for side in sides)
    return within, without


def _only(branch: Branch, axis: Axis, points: list[Any]) -> Branch:
    narrow = dataclasses.replace(axis, domain=Choice(tuple(points)))
    axes = tuple(narrow if known is axis else known for known in branch.axes)
    share = len(points) / len(axis.points)
    return dataclasses.replace(branch, axes=axes, weight=branch.weight * share)


def domain_of(entry: Any) -> Domain:
    """The domain of a `HyperParameter` of keras-tuner's."""
    kind = type(entry).__name__
    if kind == "Fixed":
        return Choice((entry.value,))
    if kind in ("Boolean", "Choice"):
        return Choice(tuple(dict.fromkeys([False, True] if kind == "Boolean" else entry.values)))
    number = int if kind == "Int" else float
    low, high = number(entry.min_value), number(entry.max_value)
    if low == high:
        return Choice((low,))
    if entry.step is not None and not (kind == "Int" and entry.step == 1):
        return Choice(tuple(dict.fromkeys(map(number, entry.values))))
    # keras-tuner's reverse_log mirrors log; ours, in 1 - x, is for what ends below 1.
    is_ours = entry.sampling != "reverse_log" or (kind == "Float" and high < 1)
    return Range(low, high, entry.sampling if is_ours else "linear", integer=kind == "Int")


# ---------------------------------------------------------------------- what is searched


def entries_of(space: SearchSpace, shown: Mapping[str, str]) -> Any:
    """The open values as `keras_tuner.HyperParameters`, as a summary shows them.

    `shown` has the names to show for dotted ones. A value that only some branches have is
    conditional on what tells those branches apart. Nothing can be drawn from these: options of
    mixed kinds stand as texts.
    """
    import keras_tuner

    hp = keras_tuner.HyperParameters()
    differing = _differing(space)
    for name in space.names:
        for domain, numbers in _domains(space, name, differing).items():
            entry = _entry(shown[name], domain)
            parents = _parents(differing, numbers)
            parents.pop(name, None)
            entry.conditions = [_condition(shown[parent], parents[parent]) for parent in parents]
            hp.merge([entry])
    return hp


def _differing(space: SearchSpace) -> dict[str, dict[int, Any]]:
    """The values that are fixed in a branch but differ between them, by the branch's number."""
    values: dict[str, dict[int, Any]] = {}
    for number, branch in enumerate(space.branches):
        first = branch.first.values
        for name in branch.fixed_names:
            values.setdefault(name, {})[number] = first[name]
    return values


def _domains(
    space: SearchSpace, name: str, differing: Mapping[str, dict[int, Any]]
) -> dict[Domain, set[int]]:
    """The domains that a name has, each with the numbers of its branches."""
    domains: dict[Domain, set[int]] = {}
    for number, branch in enumerate(space.branches):
        for axis in branch.axes:
            if axis.name == name:
                domains.setdefault(_hashable(axis.domain), set()).add(number)
    if fixed := differing.get(name):  # One choice of all.
        options = {to_text(value): value for value in fixed.values()}
        domains.setdefault(_hashable(Choice(tuple(options.values()))), set()).update(fixed)
    return domains


def _hashable(domain: Domain) -> Domain:
    """Options of one kind as they are, others as texts."""
    if isinstance(domain, Range):
        return domain
    kinds = {type(option) for option in domain.options}
    if len(kinds) == 1 and kinds <= set(_SCALARS):
        return domain
    return Choice(tuple(map(to_text, domain.options)))


def _parents(differing: Mapping[str, dict[int, Any]], numbers: set[int]) -> dict[str, list[Any]]:
    """What tells these branches from the others: other names, with the values they have there."""
    parents = {}
    for parent, values in differing.items():
        within = [values[number] for number in numbers if number in values]
        kinds = set(map(type, within))
        is_known = len(within) == len(numbers) and len(kinds) == 1 and kinds <= set(_SCALARS)
        if is_known and not set(map(to_text, values.values())) <= set(map(to_text, within)):
            parents[parent] = list(dict.fromkeys(within))
    return parents


def _condition(parent: str, values: list[Any]) -> Any:
    """keras-tuner's object, which its public names do not reach."""
    import keras_tuner

    hp = keras_tuner.HyperParameters()
    hp.Choice(parent, values)
    with hp.conditional_scope(parent, values):
        hp.Boolean("conditional")
    return hp.space[-1].conditions[0]


def _entry(name: str, domain: Domain) -> Any:
    import keras_tuner

    kinds = keras_tuner.engine.hyperparameters
    points = domain.points() if domain.is_finite else ()
    if points and not isinstance(points, range) and len(points) <= _MAX_LISTED:
        is_number = isinstance(points[0], int | float) and not isinstance(points[0], bool)
        return kinds.Choice(name, list(points), ordered=is_number)
    assert isinstance(domain, Range)
    kind = kinds.Int if domain.integer else kinds.Float
    scale = domain.scale if domain.minimum > 0 else "linear"
    return kind(name, domain.minimum, domain.maximum, domain.step, scale)
