"""One search: which trials there are, in which order they come, and which share a structure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tuner.data.dataset import DatasetInfo
from tuner.data.splits import train_size
from tuner.errors import InputError, Problem
from tuner.experiment.experiment import Experiment
from tuner.experiment.schema import NoGainEnough
from tuner.experiment.space import Branch
from tuner.experiment.trial import Configuration, Trial
from tuner.search.bayesian import make_bayesian
from tuner.search.hyperband import Hyperband, make_hyperband
from tuner.search.learning import LearningSearch
from tuner.search.method import Proposal, SearchMethod
from tuner.search.planned import (
    DrawnPlan,
    GridPlan,
    Planned,
    PossiblePlan,
    RandomPlan,
    SobolPlan,
    StartedPlan,
    started,
)
from tuner.search.tpe import make_tpe

# So many proposals of a plan are sorted by structure at a time, and so far a queue looks for a
# trial whose structure a worker has compiled already.
LOOK_AHEAD = 64

MAX_LOOKED_AT = 100
"""Networks of a person's own that are built to know what is to come."""

MAX_STRUCTURES = 2_000
"""Of a space; no more are counted."""


CanBuild = Callable[[Configuration], bool]
"""Whether the network of a configuration can be built."""

# A plan asks for so many more of an endless space as may turn out impossible.
_SPARE = 10_000


def _grid(experiment: Experiment, can_build: CanBuild | None) -> Planned:
    plan = _planned(experiment, can_build, lambda most: GridPlan(experiment.space, most))
    return started(plan, experiment.start)


def _random(experiment: Experiment, can_build: CanBuild | None) -> Planned:
    space, seed = experiment.space, experiment.search.seed

    def plan(most: int | None) -> Planned:
        if space.is_finite or most is None:
            return RandomPlan(space, most, seed)
        return DrawnPlan(space, most, seed)

    return started(_planned(experiment, can_build, plan), experiment.start)


def _sobol(experiment: Experiment, can_build: CanBuild | None) -> Planned:
    space, seed = experiment.space, experiment.search.seed
    plan = _planned(experiment, can_build, lambda most: SobolPlan(space, most or 1, seed))
    return started(plan, experiment.start)


def _planned(
    experiment: Experiment,
    can_build: CanBuild | None,
    plan: Callable[[int | None], Planned],
) -> Planned:
    """A plan of so many configurations, which can be built if that is asked for each."""
    most = experiment.search.max_trials
    if can_build is None:
        return plan(most)
    if experiment.space.is_finite:
        return PossiblePlan(plan(experiment.space.size), most, can_build)
    return PossiblePlan(plan(most and most + _SPARE), most, can_build)


def _hyperband(experiment: Experiment, can_build: CanBuild | None) -> SearchMethod:
    return make_hyperband(experiment, _random(experiment, can_build))


METHODS: dict[str, Callable[[Experiment, CanBuild | None], SearchMethod]] = {
    "grid": _grid,
    "random": _random,
    "sobol": _sobol,
    "list": _grid,  # a space of closed branches, in the list's order
    "bayesian": make_bayesian,
    "tpe": make_tpe,
    "hyperband": _hyperband,
}


def make_method(experiment: Experiment, can_build: CanBuild | None = None) -> SearchMethod:
    """The method that the experiment names.

    `can_build` is asked before a configuration is proposed, where the space may hold networks that
    cannot be built; otherwise it is left out.

    Raises:
        InputError: the method is not available in this version, or unfit for the experiment.
    """
    name = experiment.search.method
    if name not in METHODS:
        what = f"search.method: {name} is not available in this version"
        where = experiment.where("search.method")
        raise InputError(Problem(what, where, name, ", ".join(METHODS)))
    return METHODS[name](experiment, can_build)


@dataclass(frozen=True)
class SharedStructure:
    """A structure of the space: one configuration of it, and how many share it (None: unknown).

    `epochs` is the mean where they are left open.
    """

    configuration: Configuration
    count: int | None
    epochs: float


class Search:
    """The search of an experiment on one data set; built once for a run, and passed on.

    `method` is where the search stands. All else but `next_block` and `go_to` leaves that alone,
    so that a plan can be looked at while it is walked. `can_build` is as in `make_method`.

    Raises:
        InputError: the method is not available in this version, or unfit for the experiment.
    """

    def __init__(
        self,
        experiment: Experiment,
        fingerprint: str = "",
        num_train_images: int = 0,
        can_build: CanBuild | None = None,
    ) -> None:
        self.experiment = experiment
        self.fingerprint = fingerprint
        self.num_train_images = num_train_images
        self.method = make_method(experiment, can_build)
        self._can_build = can_build
        self.is_quick_to_list = can_build is None
        """Whether no network has to be built to know the next trial."""

    @classmethod
    def on(
        cls, experiment: Experiment, info: DatasetInfo, can_build: CanBuild | None = None
    ) -> Search:
        """On the data set of which `info` is known."""
        data = experiment.data
        count = train_size(data.validation, data.train_images, info.num_train)
        return cls(experiment, info.fingerprint, count, can_build)

    @property
    def is_adaptive(self) -> bool:
        """Whether results decide what comes next."""
        return self.method.is_adaptive

    @property
    def total_trials(self) -> int | None:
        """Configurations that will be proposed times replicates; None: it cannot know."""
        configurations = self.method.total
        return (
            None if configurations is None else configurations * self.experiment.search.replicates
        )

    @property
    def planned_epochs(self) -> int | None:
        """Of all trials together, if the search itself shares epochs out; otherwise None."""
        if not isinstance(self.method, Hyperband):
            return None
        return self.method.planned_epochs * self.experiment.search.replicates

    def admits(self, configuration: Configuration) -> bool:
        """Whether it may be proposed: a constraint over sizes may exclude what the space has."""
        is_asked = self._can_build is not None and bool(self.experiment.sized)
        return not is_asked or self._can_build is None or self._can_build(configuration)

    def think_aside(self) -> None:
        """Work out in a thread what takes longer than a moment, for whoever has more to do."""
        if isinstance(self.method, LearningSearch):
            self.method.think_aside()

    # ------------------------------------------------------------ trials

    def replicates(self, configuration: Configuration) -> list[Trial]:
        """A configuration under each of the experiment's seeds."""
        each = range(self.experiment.search.replicates)
        return [self.trial(configuration, replicate) for replicate in each]

    def trial(self, configuration: Configuration, replicate: int) -> Trial:
        """A configuration under one of the experiment's seeds."""
        data = self.fingerprint, self.num_train_images
        return self.experiment.trial(configuration, replicate, *data)

    def trials(self) -> Iterator[Trial]:
        """Every trial in the order of the search; none of one that learns."""
        for configuration in self._plan():
            yield from self.replicates(configuration)

    def _plan(self) -> Iterator[Configuration]:
        return iter(self.method) if isinstance(self.method, Planned) else iter(())

    def planned(self) -> Iterator[Configuration]:
        """What is known to come; of one that learns, what would if nothing were learnt."""
        return iter(self.method.plan)

    # ------------------------------------------------------------ giving out

    @property
    def num_start(self) -> int:
        """How many configurations of a plan a person has picked to come first."""
        if not self.experiment.start or not isinstance(self.method, StartedPlan):
            return 0
        return min(len(self.experiment.start), self.method.total)

    @property
    def block_size(self) -> int:
        """How many proposals are asked for at a time.

        One, where a search learns; and where trials without a gain end it: those of a structure
        together would be a long stretch of one network, which says nothing of the others.
        """
        ends_early = isinstance(self.experiment.search.enough, NoGainEnough)
        return 1 if self.is_adaptive or ends_early else LOOK_AHEAD

    def next_block(self) -> list[Proposal]:
        """The next proposals, those of a structure together; empty: none now.

        The order depends on the plan alone, not on where a run was interrupted.
        """
        if (self.position or 0) < self.num_start:  # in the order in which they were picked
            return list(self._asked(self.num_start))
        return self._by_structure(self._asked(self.block_size))

    @property
    def position(self) -> int | None:
        """How much of its plan was asked for; None without a plan."""
        return self.method.position if isinstance(self.method, Planned) else None

    def go_to(self, position: int) -> None:
        """Ask from the block on in which this place of the plan lies."""
        if isinstance(self.method, Planned):
            begun = max(0, position - self.num_start) // self.block_size * self.block_size
            self.method.go_to(0 if position < self.num_start else self.num_start + begun)

    def _asked(self, count: int) -> Iterator[Proposal]:
        for _ in range(count):
            proposal = None if self.method.exhausted else self.method.ask()
            if proposal is None:
                return
            yield proposal

    def _by_structure(self, proposals: Iterable[Proposal]) -> list[Proposal]:
        together: dict[str, list[Proposal]] = {}
        for proposal in proposals:
            key = self.experiment.trial(proposal.configuration).structure.key
            together.setdefault(key, []).append(proposal)
        return [proposal for alike in together.values() for proposal in alike]

    # ------------------------------------------------------------ structures

    def structures(self) -> tuple[dict[str, SharedStructure], bool]:
        """The structures of the space by their keys; whether these are all."""
        found: dict[str, SharedStructure] = {}
        each = itertools.chain.from_iterable(map(_structures_of, self.experiment.space.branches))
        for structure in itertools.islice(each, MAX_STRUCTURES):
            key = self.experiment.trial(structure.configuration).structure.key
            before = found.get(key)
            if before is not None:
                counts = (before.count, structure.count)
                both = None if None in counts else sum(count or 0 for count in counts)
                structure = SharedStructure(before.configuration, both, before.epochs)
            found[key] = structure
        return found, next(each, None) is None


def _structures_of(branch: Branch) -> Iterator[SharedStructure]:
    opened = [axis.support for axis in branch.axes if axis.name == "training.epochs"]
    for configuration, count in branch.structures():
        support = opened[0] if opened else (configuration.training["epochs"],)
        yield SharedStructure(configuration, count, sum(map(float, support)) / len(support))
