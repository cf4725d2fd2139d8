"""The search space: a disjoint union of products, which can be counted, numbered and drawn from.

A `SearchSpace` has branches, each a product of axes over fixed values. Nothing is listed: what
constraints exclude is known by masks over only the axes that a constraint names, with the number
of admitted points below every prefix.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, Protocol

from tuner.data.config import Augment, in_order
from tuner.errors import InputError, Problem
from tuner.experiment.constraints import SIZES, Constraint, Exclusion, SizedConstraint, as_array
from tuner.experiment.document import Path, holds, value_at
from tuner.experiment.domain import Choice, Domain, identity, same
from tuner.experiment.trial import Configuration, sections_of
from tuner.experiment.yaml import to_text

MAX_MASKED = 1_000_000
"""Most combinations of the axes that constraints tie together."""

MAX_OPERATIONS = 20_000_000
"""Most operations on single values for which the constraints of tied axes are computed."""

_MAX_TRIES = 10_000
_MAX_INTEGERS = 1_000
_ROUNDING = 1e-9  # of weights, which are products of fractions

AnyConstraint = Constraint | Exclusion | SizedConstraint
"""What excludes configurations of a branch."""


class Uniform(Protocol):
    """What draws: numpy's Generator and `random.Random` both do."""

    def random(self) -> float:
        """The next number of [0, 1)."""


@dataclass(frozen=True)
class SearchSpace:
    """All configurations that an experiment leaves open.

    A finite space is an indexable sequence of its admitted points; none of its operations lists
    them. Axes vary in file order, the last one fastest, structural ones before all others. A list
    of thousands of closed branches is searched by bisection and by hash.
    """

    branches: tuple[Branch, ...]

    @cached_property
    def is_finite(self) -> bool:
        """Whether every open value has points: choices, integers, ranges with count or step."""
        return all(branch.is_finite for branch in self.branches)

    @cached_property
    def size(self) -> int:
        """Number of admitted points.

        Raises:
            InputError: there is a continuum among the open values.
        """
        if not self.is_finite:
            axes = (axis for branch in self.branches for axis in branch.axes)
            endless = next(axis.name for axis in axes if not axis.domain.is_finite)
            what = f"{endless}: a range without count or step has no end of points"
            raise InputError(Problem(what, mend="add count: 5"))
        return self._ends[-1] if self._ends else 0

    @cached_property
    def excluded(self) -> int:
        """Number of points that constraints exclude; of a space without end, of its finite part."""
        finite = [branch for branch in self.branches if branch.is_finite]
        return sum(branch.grid.total - branch.grid.size for branch in finite)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The open dotted names in file order."""
        names = (name for branch in self.branches for name in branch.names)
        return tuple(dict.fromkeys(names))

    @cached_property
    def augment(self) -> tuple[Augment, ...] | None:
        """All that any trial does to its images, if that is searched."""
        values = [list(branch.augment) for branch in self.branches if branch.data]
        return in_order(set(itertools.chain(*itertools.chain(*values)))) if values else None

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Configuration]:
        return (self[rank] for rank in range(self.size))

    def __getitem__(self, rank: int) -> Configuration:
        if not 0 <= rank < self.size:
            raise IndexError(f"point {rank} of a space of {self.size}")
        position = bisect_right(self._ends, rank)
        return self.branches[position].at(rank - self.start(position))

    def index(self, flat: Mapping[str, Any]) -> int | None:
        """The number of the point with these dotted values; None if it is no admitted point."""
        ranks = (self.number(position, values) for position, values in self._located(flat))
        return next((rank for rank in ranks if rank is not None), None)

    def find(self, flat: Mapping[str, Any]) -> Configuration | None:
        """The configuration of the space with these dotted values, finite or not."""
        located = self.locate(flat)
        return self.branches[located[0]].close(located[1]) if located else None

    def locate(self, flat: Mapping[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """The number of its branch and the value of each axis; None if it is not of the space."""
        found = (at for at in self._located(flat) if self.branches[at[0]].admits(at[1]))
        return next(found, None)

    def number(self, position: int, values: Mapping[str, Any]) -> int | None:
        """The number of the point of branch number `position` with these axis values.

        None if it is no admitted point; only for a finite space.
        """
        rank = self.branches[position].rank(values)
        return None if rank is None else self.start(position) + rank

    def draw(self, rng: Uniform) -> tuple[int, dict[str, Any]]:
        """Number of a branch, and a value for each of its axes; constraints may exclude them.

        `rng` is asked once for the branch, then once for each axis in turn: whoever gives it the
        coordinates of a point gets the values at that point.
        """
        position = self._position(rng.random())
        return position, self.branches[position].draw(rng)

    def sample(self, rng: Uniform) -> Configuration:
        """A configuration at random, from the top down: every option of a choice is equally likely,
        and under it every value on its scale.

        Raises:
            InputError: the constraints admit nothing in many tries.
        """
        if self.is_finite:
            ends = list(itertools.accumulate(self.masses))
            branch = self.branches[_place_at(rng.random(), ends)]
            return branch.at(int(rng.random() * branch.grid.size))
        for _ in range(_MAX_TRIES):
            branch = self.branches[self._position(rng.random())]
            values = branch.draw(rng)
            if branch.admits(values):
                return branch.close(values)
        what = f"search.constraints: nothing was allowed in {_MAX_TRIES:,} tries"
        raise InputError(Problem(what, mend="loosen the constraints"))

    def structures(self) -> Iterator[tuple[Configuration, int | None]]:
        """A configuration of each structure, and how many points share it; see `Branch`."""
        for branch in self.branches:
            yield from branch.structures()

    @cached_property
    def masses(self) -> tuple[float, ...]:
        """How likely a draw falls into each branch of a finite space: its weight, less what
        constraints exclude, where one draws again."""
        return tuple(b.weight * (b.grid.size / b.grid.total) for b in self.branches)

    @cached_property
    def is_even(self) -> bool:
        """Whether a draw gives every point of a finite space with the same probability."""
        each = [Fraction(branch.weight) / branch.grid.total for branch in self.branches]
        return max(each) <= min(each) * (1 + Fraction(_ROUNDING))

    def start(self, position: int) -> int:
        """How many points lie in the branches before this one."""
        return self._ends[position - 1] if position else 0

    def _position(self, u: float) -> int:
        """The branch at `u` of [0, 1), by weight."""
        return _place_at(u, self._weights)

    @cached_property
    def _ends(self) -> list[int]:
        return list(itertools.accumulate(branch.grid.size for branch in self.branches))

    @cached_property
    def _weights(self) -> list[float]:
        return list(itertools.accumulate(branch.weight for branch in self.branches))

    def _located(self, flat: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
        """The branches that hold a flat configuration, each with the values of its axes."""
        for position in self._candidates(flat):
            if (values := self.branches[position].find(flat)) is not None:
                yield position, values

    def _candidates(self, flat: Mapping[str, Any]) -> Iterable[int]:
        """The branches that may hold a flat configuration, in order.

        Of closed branches with exactly its names, only the one with its values.
        """
        if frozenset(flat) not in self._closed_names:
            return range(len(self.branches))
        return sorted([*self._open, *self._closed.get(_values_of(flat), ())])

    @cached_property
    def _open(self) -> list[int]:
        return [position for position, branch in enumerate(self.branches) if branch.axes]

    @cached_property
    def _closed(self) -> dict[Any, list[int]]:
        """Closed branches by their values."""
        positions: dict[Any, list[int]] = {}
        for position, branch in enumerate(self.branches):
            if not branch.axes:
                positions.setdefault(_values_of(branch.close({}).flat()), []).append(position)
        return positions

    @cached_property
    def _closed_names(self) -> frozenset[frozenset[str]]:
        return frozenset(frozenset(name for name, _ in values) for values in self._closed)


def _place_at(u: float, ends: Sequence[float]) -> int:
    """The part at `u` of [0, 1), where the parts end at these sums."""
    return min(bisect_right(ends, u * ends[-1]), len(ends) - 1)


def _values_of(flat: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    """What can be hashed, and is equal for flat configurations that are the same."""
    return frozenset((name, identity(value)) for name, value in flat.items())


@dataclass(frozen=True)
class Branch:
    """A product of axes over fixed values. Structural axes come first and vary slowest.

    `model` and `training` are closed: fixed values, defaults, and some value for each axis; `data`
    has what is searched of it.
    `names` are the axes and what differs between branches, in file order. `constraints` are those
    that speak of this branch; those over sizes, whose networks nobody has looked at, are `sized`,
    and exclude nothing yet. `sources` are the places in the document, for messages; `notes` what
    a person should know before it runs, `refused` what speaks against it, by its place.
    """

    model: dict[str, Any]
    training: dict[str, Any]
    axes: tuple[Axis, ...]
    names: tuple[str, ...]
    switches: frozenset[str]
    weight: float = 1.0
    data: dict[str, Any] = field(default_factory=dict)
    constraints: tuple[AnyConstraint, ...] = ()
    sized: tuple[Constraint, ...] = ()
    sources: Mapping[str, Path] = field(default_factory=dict, compare=False, repr=False)
    notes: tuple[str, ...] = field(default=(), compare=False, repr=False)
    refused: tuple[tuple[Path, Problem], ...] = field(default=(), compare=False, repr=False)

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
        return Grid(sizes, tuple(self._mask(*tied) for tied in self._tied()))

    def at(self, rank: int) -> Configuration:
        """Admitted point number `rank`."""
        digits = self.grid.at(rank)
        return self.close({a.name: a.points[d] for a, d in zip(self.axes, digits, strict=True)})

    @property
    def first(self) -> Configuration:
        """The configuration with the first value of every axis, admitted or not."""
        return self.close(self._lowest)

    @cached_property
    def _lowest(self) -> dict[str, Any]:
        return {axis.name: axis.domain.sample(0.0) for axis in self.axes}

    def close(self, values: Mapping[str, Any]) -> Configuration:
        """The configuration with this value for each axis, by dotted name."""
        tree = {"model": self.model, "training": self.training, "data": self.data}
        for axis in self.axes:
            tree = _with(tree, axis.path, values[axis.name])
        named = {name: _named_value(tree, name) for name in self.names}
        return Configuration(tree["model"], tree["training"], named, self.switches, tree["data"])

    def find(self, flat: Mapping[str, Any]) -> dict[str, Any] | None:
        """The axis values of a flat configuration that belongs to this branch."""
        tree = sections_of(flat)
        values = {axis.name: value_at(tree, axis.path) for axis in self.axes}
        if not all(axis.domain.contains(values[axis.name]) for axis in self.axes):
            return None
        closed = self.close(values).flat()
        # A network of one's own has no value for what it does not ask for; older ledgers hold null.
        if all(same(value, closed.get(name)) for name, value in flat.items()):
            return values
        return None

    def rank(self, values: Mapping[str, Any]) -> int | None:
        """The number of the point with these axis values."""
        digits = [axis.digit(values[axis.name]) for axis in self.axes]
        known = [digit for digit in digits if digit is not None]
        return self.grid.rank(known) if len(known) == len(digits) else None

    def draw(self, rng: Uniform) -> dict[str, Any]:
        """Axis values at random; constraints may exclude them."""
        return {axis.name: axis.domain.sample(rng.random()) for axis in self.axes}

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
        sizes = dict.fromkeys(SIZES, 1.0)
        for constraint in (*self.constraints, *self.sized):
            axes = [axis for axis in self.axes if axis.name in constraint.dotted]
            for values in itertools.product(*(_one_of_each_kind(axis) for axis in axes)):
                named = zip((axis.name for axis in axes), values, strict=True)
                constraint({**self._fixed, **sizes, **dict(named)})

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
        runtime = {axis.name for axis in self.axes if not axis.structural}
        decided = [c for c in self.constraints if runtime.isdisjoint(c.dotted)]
        for combination in itertools.product(*(axis.support for axis in axes)):
            values = self._lowest | {a.name: v for a, v in zip(axes, combination, strict=True)}
            if all(constraint(self._fixed | values) for constraint in decided):
                yield values

    @property
    def augment(self) -> Sequence[Sequence[Augment]]:
        """The lists of augmentations that are searched."""
        for axis in self.axes:
            if axis.name == "data.augment":
                return axis.points
        return [self.data["augment"]]

    @cached_property
    def _fixed(self) -> dict[str, Any]:
        """What constraints may name: every value by dotted name."""
        flat = Configuration(self.model, self.training, {}, data=self.data).flat()
        tree = sections_of(flat)
        return flat | {name: _named_value(tree, name) for name in self.names}

    def _tied(self) -> list[tuple[tuple[int, ...], list[AnyConstraint]]]:
        """Positions of the axes that constraints tie together, group by group, with these.

        Constraints over fixed values alone make a group without axes.
        """
        positions = {axis.name: index for index, axis in enumerate(self.axes)}
        groups: list[tuple[set[int], list[AnyConstraint]]] = []
        for constraint in self.constraints:
            tied = {positions[name] for name in constraint.dotted if name in positions}
            about = [constraint]
            for group in [g for g in groups if g[0] & tied or (not g[0] and not tied)]:
                tied, about = tied | group[0], [*group[1], *about]
                groups.remove(group)
            groups.append((tied, about))
        return [(tuple(sorted(tied)), about) for tied, about in groups]

    def _mask(self, positions: tuple[int, ...], about: list[AnyConstraint]) -> Mask:
        import numpy as np

        axes = [self.axes[position] for position in positions]
        shape = tuple(len(axis.points) for axis in axes)
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


def _named_value(tree: Any, name: str) -> Any:
    """The value of a dotted name; the last part, as of a class with a weight, may have dots."""
    section, field, *rest = name.split(".", 2)
    value = value_at(tree, (section, field))
    if not rest:
        return value
    return value[rest[0]] if holds(value, rest[0]) else value_at(value, tuple(rest[0].split(".")))


def _with(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """The tree with another value at `path`; only what lies on the way is copied."""
    below = value if len(path) == 1 else _with(tree[path[0]], path[1:], value)
    return {**tree, path[0]: below}


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
    def lists_all(self) -> bool:
        """Whether `support` holds every value."""
        domain = self.domain
        return domain.is_finite or bool(domain.values(_MAX_INTEGERS))

    @property
    def support(self) -> Sequence[Any]:
        """The values that stand for the axis where a list is needed; a continuum's two ends."""
        if self.domain.is_finite:
            return self.points
        if isinstance(self.domain, Choice):
            return self.domain.options
        values = self.domain.values(_MAX_INTEGERS)
        return values or (self.domain.minimum, self.domain.maximum)


@dataclass(frozen=True, eq=False)
class Grid:
    """A product of `sizes`, less what the masks exclude, in lexicographic order.

    The masks name disjoint axes.
    """

    sizes: tuple[int, ...]
    masks: tuple[Mask, ...] = ()

    @cached_property
    def total(self) -> int:
        """Points without the masks."""
        return math.prod(self.sizes)

    @cached_property
    def size(self) -> int:
        """Admitted points."""
        return self.below(())

    def at(self, rank: int) -> tuple[int, ...]:
        """The indices of admitted point number `rank` of `range(size)`."""
        digits: tuple[int, ...] = ()
        remaining = self.size
        for axis, size in enumerate(self.sizes):
            mask, prefix = self._mask(axis, digits)
            if mask is None:
                remaining //= size
                digit, rank = divmod(rank, remaining)
            else:
                others = remaining // mask.count(prefix)
                digit, before = mask.find(prefix, rank // others)
                rank -= before * others
                remaining = others * mask.count((*prefix, digit))
            digits = (*digits, digit)
        return digits

    def rank(self, digits: Sequence[int]) -> int | None:
        """The number of a point, or None if it is excluded."""
        rank, remaining = 0, self.size
        for axis, digit in enumerate(digits):
            mask, prefix = self._mask(axis, tuple(digits[:axis]))
            if mask is None:
                remaining //= self.sizes[axis]
                rank += digit * remaining
            else:
                if not mask.count((*prefix, digit)):
                    return None
                others = remaining // mask.count(prefix)
                rank += mask.before(prefix, digit) * others
                remaining = others * mask.count((*prefix, digit))
        return rank

    def below(self, digits: tuple[int, ...]) -> int:
        """Admitted points that begin with these indices."""
        masked = {axis for mask in self.masks for axis in mask.axes}
        free = [
            n for axis, n in enumerate(self.sizes) if axis not in masked and axis >= len(digits)
        ]
        return math.prod(free) * math.prod(m.count(_prefix(m, digits)) for m in self.masks)

    def _mask(self, axis: int, digits: tuple[int, ...]) -> tuple[Mask | None, tuple[int, ...]]:
        for mask in self.masks:
            if axis in mask.axes:
                return mask, _prefix(mask, digits)
        return None, ()


class Mask:
    """Which combinations of some axes are admitted; `axes` are their positions, rising.

    `_levels[k]` counts the admitted combinations below each choice of the first k axes.
    """

    def __init__(self, axes: tuple[int, ...], admitted: Any) -> None:
        import numpy as np

        self.axes = axes
        self._levels = [admitted]
        while self._levels[0].ndim:
            self._levels.insert(0, self._levels[0].sum(axis=-1, dtype=np.int64))

    def count(self, prefix: tuple[int, ...]) -> int:
        """Admitted combinations that begin so."""
        return int(self._levels[len(prefix)][prefix])

    def find(self, prefix: tuple[int, ...], rank: int) -> tuple[int, int]:
        """The next axis' index that holds combination `rank`, and how many lie before it."""
        import numpy as np

        ends = np.cumsum(self._levels[len(prefix) + 1][prefix])
        index = int(np.searchsorted(ends, rank, side="right"))
        return index, int(ends[index - 1]) if index else 0

    def before(self, prefix: tuple[int, ...], index: int) -> int:
        """Admitted combinations that begin so and whose next index is smaller."""
        return int(self._levels[len(prefix) + 1][prefix][:index].sum())


def _prefix(mask: Mask, digits: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(digits[axis] for axis in mask.axes if axis < len(digits))
