"""Configurations whose network cannot be built on the data are left out of the search.

Like those that a constraint excludes: they are never proposed, others take their place, and a plan
and a run count and name them. Where there are few networks, each is looked at before anything
starts, and the space is what is left. Where there are many, each is looked at when its turn comes.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuner.data.dataset import DatasetInfo, Progress
from tuner.data.images import check
from tuner.errors import InputError, Problem
from tuner.execution.checks import check_objective, check_own, check_precision, check_sizes, cost_of
from tuner.experiment.constraints import Exclusion
from tuner.experiment.domain import identity
from tuner.experiment.experiment import Experiment
from tuner.experiment.space import Axis, Branch, SearchSpace
from tuner.experiment.start import START
from tuner.experiment.trial import Configuration, canonical, sections_of
from tuner.models import family_of, is_own, runtime_fields
from tuner.search.search import MAX_LOOKED_AT, Search

# Networks of an experiment that are all looked at before it starts; a person's own is built.
MAX_NETWORKS = 1_000
MAX_OWN_NETWORKS = MAX_LOOKED_AT

_REPEATED = 20  # structures with the same network, which are passed over to find the next one
_EXAMPLES = 3
_FEW = 64  # of many networks, in which one that can be built is looked for


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


class Networks:
    """The networks of an experiment on its images; each is looked at once."""

    def __init__(self, info: DatasetInfo) -> None:
        self._info = info
        self._errors: dict[str, InputError | None] = {}
        self._impossible: list[tuple[Mapping[str, Any], str]] = []

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

    def trust(self, flat: Mapping[str, Any]) -> None:
        """What was trained can be built; `flat` are its dotted values."""
        self._errors.setdefault(network_key(sections_of(flat)["model"]), None)

    @property
    def impossible(self) -> tuple[tuple[Mapping[str, Any], str], ...]:
        """Those that cannot be built, by their values, with the reason."""
        return tuple(self._impossible)

    def _looked_at(self, configuration: Configuration) -> InputError | None:
        try:
            cost_of(configuration, self._info)
        except InputError as error:
            return error
        return None


@dataclass(frozen=True)
class CheckedExperiment:
    """An experiment without what cannot be built on its data; `left_out` says what that is.

    Where there are too many networks to look at, `is_whole` is False, and its search asks for each
    as its turn comes.
    """

    experiment: Experiment
    info: DatasetInfo
    networks: Networks = field(repr=False)
    left_out: LeftOut = LeftOut()
    is_whole: bool = True

    def search(self) -> Search:
        """Its search, which passes over what cannot be built."""
        can_build = None if self.is_whole else self.networks.can_build
        return Search.on(self.experiment, self.info, can_build)

    def looked_ahead(self, search: Search) -> LeftOut:
        """What is left out, as far as the first proposals show."""
        if not self.is_whole:
            ahead = itertools.islice(search.planned(), MAX_OWN_NETWORKS)
            possible = filter(self.networks.can_build, ahead)
            for _ in itertools.islice(possible, search.method.total):
                pass
        return self.left_out_so_far()

    def left_out_so_far(self) -> LeftOut:
        """What is known to be left out by now."""
        if self.is_whole:
            return self.left_out
        return LeftOut(None, self.networks.impossible, is_all=False)


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
    networks, branches = Networks(info), experiment.space.branches
    _check_start(experiment, networks)
    each = _all_networks(branches)
    if each is None:
        samples = itertools.chain(_firsts(branches), _samples(experiment.space))
        _check_any(experiment, networks, samples)
        return CheckedExperiment(experiment, info, networks, is_whole=False)
    _check_any(experiment, networks, itertools.chain.from_iterable(each))
    left = [_possible(branch, of, networks) for branch, of in zip(branches, each, strict=True)]
    if not networks.impossible:
        return CheckedExperiment(experiment, info, networks)
    space = SearchSpace(tuple(branch for branch in left if branch is not None))
    less = experiment.space.size - space.size if experiment.space.is_finite else None
    experiment = dataclasses.replace(experiment, space=space)
    return CheckedExperiment(experiment, info, networks, LeftOut(less, networks.impossible))


def _check_start(experiment: Experiment, networks: Networks) -> None:
    """What a person has picked is not left out in silence."""
    for index, configuration in enumerate(experiment.start):
        if (error := networks.error(configuration)) is not None:
            name, where = f"search.start[{index}]", experiment.written.where((*START, index))
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


def _located(problem: Problem, experiment: Experiment) -> Problem:
    """With file and line of the value that the problem is about."""
    name = problem.where
    if not name.startswith("model"):
        return problem
    what = f"{name}: {problem.what}"
    return dataclasses.replace(problem, what=what, where=experiment.where(name))


# ---------------------------------------------------------------------- the networks of a space


def network_key(model: Mapping[str, Any]) -> str:
    """What tells a network from others: the values of its model that shape it."""
    runtime = runtime_fields(family_of(model["family"]).config)
    return canonical({n: v for n, v in model.items() if n not in runtime and v is not None})


def _all_networks(branches: Iterable[Branch]) -> list[list[Configuration]] | None:
    """A configuration of each network, branch by branch; None if there are too many."""
    most = {True: MAX_OWN_NETWORKS, False: MAX_NETWORKS}
    known: set[str] = set()
    each = []
    for branch in branches:
        own = is_own(branch.model["family"])
        if not all(axis.lists_all for axis in _shaping_axes(branch)):
            return None
        found: dict[str, Configuration] = {}
        structures = branch.structures()
        for configuration, _ in itertools.islice(structures, _REPEATED * most[own]):
            found.setdefault(network_key(configuration.model), configuration)
            if len(found) > most[own]:
                return None
        if next(structures, None) is not None:
            return None
        most[own] -= len(found.keys() - known)
        known |= found.keys()
        each.append(list(found.values()))
    return each if min(most.values()) >= 0 else None


def _shaping_axes(branch: Branch) -> list[Axis]:
    return [axis for axis in branch.axes if axis.structural and axis.path[0] == "model"]


def _possible(
    branch: Branch, configurations: Iterable[Configuration], networks: Networks
) -> Branch | None:
    """The branch without what cannot be built; None if nothing is left."""
    axes = _shaping_axes(branch)
    names = tuple(axis.name for axis in axes)
    bad, good = set(), False
    for configuration in configurations:
        if networks.can_build(configuration):
            good = True
        else:
            values = branch.find(configuration.flat())
            assert values is not None, "it is of the branch"
            bad.add(tuple(identity(values[name]) for name in names))
    if bad and good:
        exclusion = Exclusion(names, frozenset(bad))
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
