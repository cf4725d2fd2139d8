"""Configurations whose network cannot be built, or is of another size, are left out of the search.

They are never proposed, others take their place, and a plan and a run count and name them. Where
there are few networks, each is looked at before anything starts, and the space is what is left.
Where there are many, each is looked at when its turn comes.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuner.data.dataset import DatasetInfo, Progress
from tuner.data.images import check
from tuner.data.splits import train_size
from tuner.errors import InputError, Problem
from tuner.execution.checks import check_objective, check_own, check_precision, check_sizes
from tuner.experiment.constraints import SIZES, Constraint, Exclusion, SizedConstraint
from tuner.experiment.document import value_at
from tuner.experiment.domain import identity
from tuner.experiment.experiment import Experiment
from tuner.experiment.sizes import Sizes, network_key
from tuner.experiment.space import Axis, Branch, SearchSpace
from tuner.experiment.start import START
from tuner.experiment.trial import Configuration, sections_of
from tuner.models import family_of, is_own, runtime_fields
from tuner.search.search import MAX_LOOKED_AT, Search

# Networks of an experiment that are all looked at before it starts; a person's own is built.
MAX_NETWORKS = 1_000
MAX_SIZED_NETWORKS = 20_000  # some seconds, where a constraint asks for their sizes
MAX_OWN_NETWORKS = MAX_LOOKED_AT

_REPEATED = 20  # structures with the same network, which are passed over to find the next one
_EXAMPLES = 3
_FEW = 64  # of many networks, in which one that can be built is looked for
_MANY = 2_000  # where each is counted without a framework, in which one of the right size is


@dataclass(frozen=True)
class LeftOut:
    """What cannot be built: how many configurations (None: of an endless number), and networks.

    Each network is named by the open values that shape it, with the reason. `is_all` is False
    where others may turn up as their turn comes.
    """

    configurations: int | None = 0
    networks: tuple[tuple[Mapping[str, Any], str], ...] = ()
    is_all: bool = True

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        named = [{"values": dict(values), "reason": reason} for values, reason in self.networks]
        return {"configurations": self.configurations, "networks": named, "is_all": self.is_all}

    def notes(self) -> Iterator[str]:
        """How many there are, and the first few with their reasons."""
        if not self.networks:
            return
        many, networks = self.configurations, len(self.networks)
        count = f"{networks:,} network{'s' * (networks > 1)}"
        if many is not None and many != networks:
            count = f"{many:,} configurations ({count})"
        are = "is" if networks == 1 and many in (None, 1) else "are"
        far = "" if self.is_all else ", so far"
        yield f"{count} cannot be built and {are} left out{far}"
        by_reason: dict[str, list[str]] = {}
        for values, reason in self.networks:
            named = ", ".join(f"{n.rpartition('.')[2]}={value}" for n, value in values.items())
            by_reason.setdefault(reason, []).append(named or "the network")
        for reason, named_all in itertools.islice(by_reason.items(), _EXAMPLES):
            more = "; …" if len(named_all) > _EXAMPLES else ""
            yield f"{'; '.join(named_all[:_EXAMPLES])}{more}: {reason}"


def _exact(name: str, size: int) -> str:
    return f"{size:,} {name}"


@dataclass(frozen=True)
class SizedNetwork:
    """A network by the open values that shape it, and its sizes by name."""

    values: Mapping[str, Any]
    sizes: Mapping[str, int]

    def text(self, names: Sequence[str], shown: Callable[[str, int], str]) -> str:
        """`858,868 parameters (depth=56)`."""
        sizes = ", ".join(shown(name, self.sizes[name]) for name in names)
        values = {n: f"{v:.5g}" if isinstance(v, float) else v for n, v in self.values.items()}
        named = ", ".join(f"{n.rpartition('.')[2]}={value}" for n, value in values.items())
        return f"{sizes} ({named})" if named else sizes


@dataclass(frozen=True)
class SizeLimit:
    """What a constraint over sizes does to the networks of an experiment.

    Of `networks` that it speaks of it leaves out so many (None: that depends on values that shape
    no network); `kept` and `left_out` are those nearest to its edge. `is_all` is False where
    others may turn up as their turn comes.
    """

    constraint: str
    sizes: tuple[str, ...]
    networks: int
    num_left_out: int | None
    kept: SizedNetwork | None
    left_out: SizedNetwork | None
    is_all: bool = True

    def text(self, shown: Callable[[str, int], str] = _exact) -> str:
        """In a line; `shown` writes a size of some name."""
        if self.num_left_out is None:
            return f"{self.constraint} leaves out configurations of {self.networks:,} networks"
        far = "" if self.is_all else " so far"
        of = f"{self.networks:,} network{'s' * (self.networks != 1)}"
        text = f"{self.constraint} leaves out {self.num_left_out:,} of {of}{far}"
        nearest = [
            f"{network.text(self.sizes, shown)} {is_}"
            for network, is_ in ((self.kept, "is in"), (self.left_out, "is out"))
            if network is not None
        ]
        return f"{text}: {', '.join(nearest)}" if nearest else text


class Networks:
    """The networks of an experiment on its images; each is looked at once."""

    def __init__(self, info: DatasetInfo, experiment: Experiment) -> None:
        data = experiment.data
        num_train = train_size(data.validation, data.train_images, info.num_train)
        self.sizes = Sizes(info, experiment.precision, num_train)
        self.sized = experiment.sized
        self._errors: dict[str, InputError | None] = {}
        self._impossible: list[tuple[Mapping[str, Any], str]] = []
        self._counted: dict[str, tuple[Configuration, Mapping[str, float]]] = {}

    def passes(self, configuration: Configuration) -> bool:
        """Whether the network of a configuration takes the images, and is of the size asked for."""
        return self.can_build(configuration) and self.broken(configuration) is None

    def can_build(self, configuration: Configuration) -> bool:
        """Whether the network of a configuration takes the images."""
        return self.error(configuration) is None

    def error(self, configuration: Configuration) -> InputError | None:
        """Why the network of a configuration cannot be built."""
        key = network_key(configuration.model)
        if key not in self._errors:
            self._errors[key] = error = self._looked_at(configuration)
            if error is not None:
                self._impossible.append((_shaping(configuration), _reason(error.problems[0])))
        return self._errors[key]

    def broken(self, configuration: Configuration) -> Constraint | None:
        """The constraint over sizes that a configuration breaks, if any."""
        if not self.sized or not self.can_build(configuration):
            return None
        return self.sizes.broken(configuration, self.sized, self.count(configuration))

    def count(self, configuration: Configuration) -> Mapping[str, float]:
        """The sizes of a configuration whose network can be built."""
        key = _sized_key(configuration)
        if key not in self._counted:
            self.sizes.check_countable(configuration, self.sized)
            self._counted[key] = configuration, self.sizes.of(configuration)
        return self._counted[key][1]

    def trust(self, flat: Mapping[str, Any]) -> None:
        """What was trained can be built; `flat` are its dotted values."""
        self._errors.setdefault(network_key(sections_of(flat)["model"]), None)

    @property
    def impossible(self) -> tuple[tuple[Mapping[str, Any], str], ...]:
        """Those that cannot be built, by their values, with the reason."""
        return tuple(self._impossible)

    def limits(self, branches: Iterable[Branch], *, is_all: bool) -> tuple[SizeLimit, ...]:
        """What the constraints over sizes do to the networks that were counted."""
        runtime = {axis.name for b in branches for axis in b.axes if not axis.structural}
        each = (self._limit(constraint, runtime, is_all) for constraint in self.sized)
        return tuple(limit for limit in each if limit is not None)

    def _limit(self, constraint: Constraint, runtime: set[str], is_all: bool) -> SizeLimit | None:
        with_memory = "size.memory_bytes" in constraint.sizes
        distinct: dict[str, tuple[Configuration, Mapping[str, float]]] = {}
        verdicts: dict[str, set[bool]] = {}
        for key, (one, sizes) in self._counted.items():
            values = _values_of(one)
            if not constraint.dotted or values.keys() >= set(constraint.dotted):
                network = key if with_memory else network_key(one.model)
                distinct[network] = one, sizes
                verdicts.setdefault(network, set()).add(bool(constraint({**values, **sizes})))
        counted = sorted(distinct.values(), key=lambda pair: pair[1][constraint.sizes[0]])
        names = tuple(size.removeprefix("size.") for size in constraint.sizes)
        # A batch size or an optimizer may let a network in that others leave out.
        is_mixed = any(len(both) > 1 for both in verdicts.values())
        if not counted or is_mixed or not runtime.isdisjoint(constraint.dotted):
            few = (len(counted), None, None, None, is_all)
            return SizeLimit(constraint.text, names, *few) if counted else None
        holds = [bool(constraint({**_values_of(one), **sizes})) for one, sizes in counted]
        edge = next((i for i in range(1, len(holds)) if holds[i] != holds[i - 1]), None)
        beside = (_end(constraint, counted, holds[0]),) if edge is None else (edge - 1, edge)
        nearest = {holds[i]: _sized_network(*counted[i], with_memory) for i in beside}
        return SizeLimit(
            constraint.text,
            names,
            len(counted),
            holds.count(False),
            nearest.get(True),
            nearest.get(False),
            is_all,
        )

    def _looked_at(self, configuration: Configuration) -> InputError | None:
        try:
            self.sizes.cost(configuration)
        except InputError as error:
            return error
        return None


@dataclass(frozen=True)
class CheckedExperiment:
    """An experiment without what cannot be built on its data; `left_out` says what that is.

    `excluded` counts what constraints exclude, sizes included. Where there are too many networks
    to look at, `is_whole` is False, and its search asks for each as its turn comes.
    """

    experiment: Experiment
    info: DatasetInfo
    networks: Networks = field(repr=False)
    left_out: LeftOut = LeftOut()
    is_whole: bool = True
    excluded: int = 0

    def search(self) -> Search:
        """Its search, which passes over what cannot be built, or is of another size."""
        can_build = None if self.is_whole else self.networks.passes
        return Search.on(self.experiment, self.info, can_build)

    def looked_ahead(self, search: Search) -> LeftOut:
        """What is left out, as far as the first proposals show."""
        if not self.is_whole:
            ahead = itertools.islice(search.planned(), MAX_OWN_NETWORKS)
            possible = filter(self.networks.passes, ahead)
            for _ in itertools.islice(possible, search.method.total):
                pass
        return self.left_out_so_far()

    def left_out_so_far(self) -> LeftOut:
        """What is known to be left out by now."""
        if self.is_whole:
            return self.left_out
        return LeftOut(None, self.networks.impossible, is_all=False)

    def notes(self) -> Iterator[str]:
        """What a person should know where networks are counted as their turn comes."""
        if self.experiment.sized and not self.is_whole and self.experiment.space.is_finite:
            yield "too many networks to count all: constraints may leave fewer than stand here"

    def limits(self) -> tuple[SizeLimit, ...]:
        """What constraints over sizes do, as far as networks were counted by now."""
        return self.networks.limits(self.experiment.space.branches, is_all=self.is_whole)


def check_experiment(
    experiment: Experiment, data_dir: Path | None, progress: Progress | None = None
) -> CheckedExperiment:
    """The experiment as it can be run on its data; no framework is needed.

    Raises:
        InputError: the data are not there, sizes do not fit them, or no network can take them.
    """
    check_own(experiment)
    info = check(experiment.data, data_dir, progress, backend=experiment.backend)
    check_objective(experiment, info)
    check_sizes(experiment, info)
    checked = check_networks(experiment, info)
    check_precision(experiment)
    return checked


def check_networks(experiment: Experiment, info: DatasetInfo) -> CheckedExperiment:
    """The experiment without what cannot be built on these images.

    Raises:
        InputError: nothing can be, with what is wrong with the first network.
    """
    networks, branches = Networks(info, experiment), experiment.space.branches
    excluded = experiment.space.excluded
    _check_start(experiment, networks)
    each = _all_networks(branches, bool(experiment.sized))
    if each is None:
        samples = itertools.chain(_firsts(branches), _samples(experiment.space))
        _check_any(experiment, networks, samples)
        _check_any_sized(experiment, networks)
        return CheckedExperiment(experiment, info, networks, is_whole=False, excluded=excluded)
    _check_any(experiment, networks, itertools.chain.from_iterable(each))
    if experiment.sized:
        pairs = zip(branches, each, strict=True)
        branches = tuple(_bound(branch, of, networks) for branch, of in pairs)
        excluded = SearchSpace(branches).excluded
    left = [_possible(branch, of, networks) for branch, of in zip(branches, each, strict=True)]
    space = SearchSpace(tuple(branch for branch in left if branch is not None))
    _check_sized(experiment, space, networks)
    if not networks.impossible and not experiment.sized:
        return CheckedExperiment(experiment, info, networks, excluded=excluded)
    less = None
    if experiment.space.is_finite:
        less = SearchSpace(branches).size - space.size
    experiment = dataclasses.replace(experiment, space=space)
    left_out = LeftOut(less if networks.impossible else 0, networks.impossible)
    return CheckedExperiment(experiment, info, networks, left_out, excluded=excluded)


def _check_start(experiment: Experiment, networks: Networks) -> None:
    """What a person has picked is not left out in silence."""
    for index, configuration in enumerate(experiment.start):
        name, where = f"search.start[{index}]", experiment.written.where((*START, index))
        if (broken := networks.broken(configuration)) is not None:
            sizes = networks.count(configuration)
            received = ", ".join(f"{n.removeprefix('size.')} {sizes[n]:,.0f}" for n in broken.sizes)
            what = f"{name}: a constraint excludes it"
            raise InputError(Problem(what, where, received, broken.text))
        if (error := networks.error(configuration)) is not None:
            problems = [
                dataclasses.replace(p, what=f"{name}: {p.what}", where=where)
                for p in error.problems
            ]
            raise InputError(problems) from error


def _check_any(
    experiment: Experiment, networks: Networks, configurations: Iterable[Configuration]
) -> None:
    first = None
    for configuration in configurations:
        error = networks.error(configuration)
        if error is None:
            return
        first = first or error
    if first is not None:
        raise InputError([_located(p, experiment) for p in first.problems]) from first


def _check_sized(experiment: Experiment, space: SearchSpace, networks: Networks) -> None:
    """The sizes that are asked for must leave something."""
    if not experiment.sized:
        return
    if space.branches and (not space.is_finite or space.size):
        space.sample(random.Random(0))  # of a space without end, it says so if nothing comes
        return
    limits = networks.limits(experiment.space.branches, is_all=True)
    nearest = "; ".join(limit.text() for limit in limits)
    raise InputError(_nothing_left(experiment, nearest))


def _check_any_sized(experiment: Experiment, networks: Networks) -> None:
    """Of many networks, some that are drawn must be of the size that is asked for."""
    own = any(is_own(branch.model["family"]) for branch in experiment.space.branches)
    many = _FEW if own else _MANY
    drawn = (experiment.space.sample(random.Random(number)) for number in range(many))
    if not experiment.sized or any(map(networks.passes, drawn)):
        return
    limits = networks.limits(experiment.space.branches, is_all=False)
    nearest = "; ".join(limit.text() for limit in limits)
    raise InputError(_nothing_left(experiment, f"of {many:,} at random, {nearest}"))


def _nothing_left(experiment: Experiment, nearest: str) -> Problem:
    what, where = "search.constraints: no configuration is left", "search.constraints"
    mend = "loosen or remove a constraint"
    return Problem(what, experiment.where(where), nearest, mend=mend)


def _located(problem: Problem, experiment: Experiment) -> Problem:
    """With file and line of the value that the problem is about."""
    name = problem.where
    if not name.startswith("model"):
        return problem
    what = f"{name}: {problem.what}"
    return dataclasses.replace(problem, what=what, where=experiment.where(name))


# ---------------------------------------------------------------------- the networks of a space


_SIZING = ("training.batch_size", "training.optimizer")  # what else decides the memory


def _sized_key(configuration: Configuration) -> str:
    training = configuration.training
    return f"{network_key(configuration.model)} {training['batch_size']} {training['optimizer']}"


def _values_of(configuration: Configuration) -> dict[str, Any]:
    """What a constraint may name."""
    return configuration.flat() | configuration.values


def _end(
    constraint: Constraint,
    counted: Sequence[tuple[Configuration, Mapping[str, float]]],
    holds: bool,
) -> int:
    """Of networks that all keep it or all break it, the one nearest to its edge."""
    is_for_small = constraint(_values_of(counted[0][0]) | dict.fromkeys(SIZES, 0.0))
    return len(counted) - 1 if is_for_small == holds else 0


def _sized_network(
    configuration: Configuration, sizes: Mapping[str, float], with_memory: bool
) -> SizedNetwork:
    shaping, opened = _shaping(configuration), configuration.values
    shaping |= {n: opened[n] for n in _SIZING if n in opened and with_memory}
    return SizedNetwork(shaping, {n.removeprefix("size."): int(v) for n, v in sizes.items()})


def _all_networks(branches: Iterable[Branch], is_sized: bool) -> list[list[Configuration]] | None:
    """A configuration of each network, branch by branch; None if there are too many.

    Where sizes are asked for, one of each batch size and optimizer, too.
    """
    most = {True: MAX_OWN_NETWORKS, False: MAX_SIZED_NETWORKS if is_sized else MAX_NETWORKS}
    known: set[str] = set()
    each = []
    for branch in branches:
        own = is_own(branch.model["family"])
        if not all(axis.lists_all for axis in _shaping_axes(branch)):
            return None
        found: dict[str, Configuration] = {}
        shapes: set[str] = set()
        structures = branch.structures()
        for configuration, _ in itertools.islice(structures, _REPEATED * most[own]):
            shapes.add(shape := network_key(configuration.model))
            key = _sized_key(configuration) if is_sized else shape
            found.setdefault(key, configuration)
            if len(shapes) > most[own]:
                return None
        if next(structures, None) is not None:
            return None
        most[own] -= len(shapes - known)
        known |= shapes
        each.append(list(found.values()))
    return each if min(most.values()) >= 0 else None


def _shaping_axes(branch: Branch) -> list[Axis]:
    return [axis for axis in branch.axes if axis.structural and axis.path[0] == "model"]


def _bound(branch: Branch, configurations: Sequence[Configuration], networks: Networks) -> Branch:
    """The branch whose constraints over sizes know the networks, and exclude."""
    if not branch.sized:
        return branch
    axes = _shaping_axes(branch)
    names = tuple(axis.name for axis in axes)
    others = tuple(axis.name for axis in branch.axes if axis.name in _SIZING)
    by_values = {}
    for configuration in configurations:
        if networks.can_build(configuration):
            networks.count(configuration)
            by_values[_values_at(configuration, axes)] = configuration
    known: dict[Any, Mapping[str, float]] = {}

    def sizes_of(values: Mapping[str, Any]) -> Mapping[str, float] | None:
        key = tuple(map(identity, values.values()))
        if key not in known:
            configuration = by_values.get(key[: len(axes)])
            if configuration is None:
                return None
            training = {n.partition(".")[2]: v for n, v in values.items() if n in _SIZING}
            training = configuration.training | training
            known[key] = networks.sizes.of(dataclasses.replace(configuration, training=training))
        return known[key]

    def sized(constraint: Constraint) -> SizedConstraint:
        memory = "size.memory_bytes" in constraint.sizes
        return SizedConstraint(constraint, (*names, *(others if memory else ())), sizes_of)

    constraints = (*branch.constraints, *map(sized, branch.sized))
    return dataclasses.replace(branch, constraints=constraints)


def _values_at(configuration: Configuration, axes: Iterable[Axis]) -> Any:
    """What a configuration has on some axes of the model."""
    tree = {"model": configuration.model}
    return tuple(identity(value_at(tree, axis.path)) for axis in axes)


def _possible(
    branch: Branch, configurations: Iterable[Configuration], networks: Networks
) -> Branch | None:
    """The branch without what cannot be built; None if nothing is left."""
    axes = _shaping_axes(branch)
    bad, good = set(), False
    for configuration in configurations:
        if networks.can_build(configuration):
            good = True
        else:
            bad.add(_values_at(configuration, axes))
    if branch.sized and next(branch.structures(), None) is None:
        return None
    if bad and good:
        exclusion = Exclusion(tuple(axis.name for axis in axes), frozenset(bad))
        return dataclasses.replace(branch, constraints=(*branch.constraints, exclusion))
    return branch if good else None


def _firsts(branches: Iterable[Branch]) -> Iterator[Configuration]:
    """The first structure of each branch."""
    for branch in itertools.islice(branches, _FEW):
        yield from (configuration for configuration, _ in itertools.islice(branch.structures(), 1))


def _samples(space: SearchSpace) -> Iterator[Configuration]:
    return (space.sample(random.Random(number)) for number in range(_FEW))


# ---------------------------------------------------------------------- in words


def _shaping(configuration: Configuration) -> dict[str, Any]:
    """The open values that shape the network."""
    runtime = runtime_fields(family_of(configuration.model["family"]).config)
    names = [name for name in configuration.values if name.startswith("model.")]
    shaping = [name for name in names if name.split(".")[1] not in runtime]
    return {name: configuration.values[name] for name in shaping}


def _reason(problem: Problem) -> str:
    """In one line."""
    return ": ".join([problem.what, *problem.received.splitlines()[:1]])
