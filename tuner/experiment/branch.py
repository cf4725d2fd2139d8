"""A product of axes over fixed values: one branch of a search space."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from tuner.errors import InputError, Problem
from tuner.experiment.constraints import Constraint, as_array
from tuner.experiment.domain import Choice, Domain, identity, same
from tuner.experiment.grid import Grid, Mask
from tuner.experiment.trial import Configuration
from tuner.experiment.yaml import Path, to_text

MAX_MASKED = 1_000_000
"""Most combinations of the axes that constraints tie together."""

MAX_OPERATIONS = 20_000_000
"""Most operations on single values for which the constraints of tied axes are computed."""

_MAX_INTEGERS = 1_000


class Uniform(Protocol):
    """What draws: numpy's Generator and `random.Random` both do."""

    def random(self) -> float:
        """The next number of [0, 1)."""


@dataclass(frozen=True)
class Axis:
    """An open value of a branch: dotted `name`, and `path` from the section down.

    `structural` says that its values shape the compiled program.
    """

    path: tuple[str, ...]
    domain: Domain
    structural: bool

    @property
    def name(self) -> str:
        """The dotted name."""
        return ".".join(self.path)

    @cached_property
    def points(self) -> Sequence[Any]:
        """The values of a finite axis."""
        return self.domain.points()

    def digit(self, value: Any) -> int | None:
        """Which point the value is."""
        if isinstance(self.points, range):
            whole = isinstance(value, int) and not isinstance(value, bool)
            return self.points.index(value) if whole and value in self.points else None
        return self._digits.get(identity(value))

    @cached_property
    def _digits(self) -> dict[Any, int]:
        return {identity(value): index for index, value in enumerate(self.points)}

    @property
    def support(self) -> Sequence[Any]:
        """The values that stand for the axis where a list is needed; a continuum's two ends."""
        if self.domain.is_finite:
            return self.points
        if isinstance(self.domain, Choice):
            return self.domain.options
        low, high = self.domain.minimum, self.domain.maximum
        if self.domain.integer and high - low < _MAX_INTEGERS:
            return range(int(low), int(high) + 1)
        return (low, high)


@dataclass(frozen=True)
class Branch:
    """A product of axes over fixed values. Structural axes come first and vary slowest.

    `model` and `training` are closed: fixed values, defaults, and some value for each axis.
    `names` are the axes and what differs between branches, in file order. `constraints` are those
    that speak of this branch; `sources` are the places in the document, for messages.
    """

    model: dict[str, Any]
    training: dict[str, Any]
    axes: tuple[Axis, ...]
    names: tuple[str, ...]
    switches: frozenset[str]
    weight: float = 1.0
    constraints: tuple[Constraint, ...] = ()
    sources: Mapping[str, Path] = field(default_factory=dict, compare=False, repr=False)

    @property
    def is_finite(self) -> bool:
        """Whether every axis has points."""
        return all(axis.domain.is_finite for axis in self.axes)

    @property
    def fixed_names(self) -> tuple[str, ...]:
        """The names that are no axes: values of an option that opens this branch."""
        open_names = {axis.name for axis in self.axes}
        return tuple(name for name in self.names if name not in open_names)

    @cached_property
    def grid(self) -> Grid:
        """Counts and numbers the points.

        Raises:
            InputError: the constraints tie too many combinations together.
            ConstraintError: a constraint cannot be computed.
        """
        sizes = tuple(len(axis.points) for axis in self.axes)
        return Grid(sizes, tuple(self._mask(axes) for axes in self._tied()))

    def at(self, rank: int) -> Configuration:
        """Admitted point number `rank`."""
        digits = self.grid.at(rank)
        return self.close({a.name: a.points[d] for a, d in zip(self.axes, digits, strict=True)})

    def close(self, values: Mapping[str, Any]) -> Configuration:
        """The configuration with this value for each axis, by dotted name."""
        tree = {"model": self.model, "training": self.training}
        for axis in self.axes:
            tree = _with(tree, axis.path, values[axis.name])
        named = {name: _dig(tree, tuple(name.split("."))) for name in self.names}
        return Configuration(tree["model"], tree["training"], named, self.switches)

    def find(self, flat: Mapping[str, Any]) -> dict[str, Any] | None:
        """The axis values of a flat configuration that belongs to this branch."""
        tree = _tree(flat)
        values = {axis.name: _dig(tree, axis.path) for axis in self.axes}
        if not all(axis.domain.contains(values[axis.name]) for axis in self.axes):
            return None
        closed = self.close(values).flat()
        if all(name in closed and same(value, closed[name]) for name, value in flat.items()):
            return values
        return None

    def rank(self, values: Mapping[str, Any]) -> int | None:
        """The number of the point with these axis values."""
        digits = [axis.digit(values[axis.name]) for axis in self.axes]
        known = [digit for digit in digits if digit is not None]
        return self.grid.rank(known) if len(known) == len(digits) else None

    def draw(self, rng: Uniform) -> dict[str, Any] | None:
        """Axis values at random, or None if a constraint excludes them."""
        values = {axis.name: axis.domain.sample(rng.random()) for axis in self.axes}
        return values if self.admits(values) else None

    def admits(self, values: Mapping[str, Any]) -> bool:
        """Whether no constraint excludes these axis values."""
        if not self.constraints:
            return True
        known = {**self._fixed, **values}
        return all(constraint(known) for constraint in self.constraints)

    def probe(self) -> None:
        """Computes every constraint once for each kind of value that its names can have.

        Raises:
            ConstraintError: one cannot be computed.
        """
        for constraint in self.constraints:
            axes = [axis for axis in self.axes if axis.name in constraint.dotted]
            for values in itertools.product(*(_one_of_each_kind(axis) for axis in axes)):
                named = zip((axis.name for axis in axes), values, strict=True)
                constraint({**self._fixed, **dict(named)})

    def structures(self) -> Iterator[tuple[Configuration, int | None]]:
        """A configuration of each structure, and how many points share it if they can be counted.

        Of a structural range without points, the ends (of integers: every one) stand for it.
        """
        structural = [axis for axis in self.axes if axis.structural]
        if not self.is_finite:
            yield from ((self.close(values), None) for values in self._structural(structural))
            return
        rank = 0
        while rank < self.grid.size:
            count = self.grid.below(self.grid.at(rank)[: len(structural)])
            yield self.at(rank), count
            rank += count

    def _structural(self, axes: list[Axis]) -> Iterator[dict[str, Any]]:
        """Every combination of structural values, less what no runtime value can save."""
        drawn = {axis.name: axis.domain.sample(0.0) for axis in self.axes}
        runtime = {axis.name for axis in self.axes if not axis.structural}
        decided = [c for c in self.constraints if runtime.isdisjoint(c.dotted)]
        for combination in itertools.product(*(axis.support for axis in axes)):
            values = drawn | {a.name: v for a, v in zip(axes, combination, strict=True)}
            if all(constraint(self._fixed | values) for constraint in decided):
                yield values

    @cached_property
    def _fixed(self) -> dict[str, Any]:
        """What constraints may name: every value by dotted name."""
        flat = Configuration(self.model, self.training, {}).flat()
        return flat | {name: _dig(_tree(flat), tuple(name.split("."))) for name in self.names}

    def _tied(self) -> list[tuple[int, ...]]:
        """Positions of the axes that constraints tie together, group by group.

        A constraint over fixed values alone makes a group without axes.
        """
        positions = {axis.name: index for index, axis in enumerate(self.axes)}
        groups: list[set[int]] = []
        for constraint in self.constraints:
            tied = {positions[name] for name in constraint.dotted if name in positions}
            for group in [group for group in groups if group & tied or (not group and not tied)]:
                tied |= group
                groups.remove(group)
            groups.append(tied)
        return [tuple(sorted(group)) for group in groups]

    def _mask(self, positions: tuple[int, ...]) -> Mask:
        import numpy as np

        axes = [self.axes[position] for position in positions]
        shape = tuple(len(axis.points) for axis in axes)
        about = self._about(axes)
        _check_effort(math.prod(shape), sum(c.num_nodes for c in about), axes)
        known = dict(self._fixed)
        for index, axis in enumerate(axes):
            known[axis.name] = as_array(axis.points).reshape(
                [-1 if index == other else 1 for other in range(len(axes))]
            )
        admitted = np.ones(shape, dtype=bool)
        for constraint in about:
            admitted &= constraint(known)
        return Mask(positions, admitted)

    def _about(self, axes: list[Axis]) -> list[Constraint]:
        """The constraints of one group of tied axes."""
        inside = {axis.name for axis in axes}
        outside = {axis.name for axis in self.axes} - inside
        if inside:
            return [c for c in self.constraints if not inside.isdisjoint(c.dotted)]
        return [c for c in self.constraints if outside.isdisjoint(c.dotted)]


def _tree(flat: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {"model": {}, "training": {}}
    for name, value in flat.items():
        section, _, field_name = name.partition(".")
        tree.setdefault(section, {})[field_name] = value
    return tree


def _with(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """The tree with another value at `path`; only what lies on the way is copied."""
    below = value if len(path) == 1 else _with(tree[path[0]], path[1:], value)
    return {**tree, path[0]: below}


def _dig(tree: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def _one_of_each_kind(axis: Axis) -> list[Any]:
    values = axis.support[:1] if isinstance(axis.support, range) else axis.support
    return list({type(value): value for value in values}.values())


def _check_effort(combinations: int, operations: int, axes: list[Axis]) -> None:
    most = min(MAX_MASKED, MAX_OPERATIONS // max(1, operations))
    if combinations <= most:
        return
    names = to_text([axis.name for axis in axes])
    many = f"{combinations:,}" if combinations < 10**15 else "more than 10^15"
    what = f"search.constraints: {names} make {many} combinations to check"
    mend = "coarser ranges, or fewer and shorter constraints"
    raise InputError(Problem(what, expected=f"at most {most:,}", mend=mend))
