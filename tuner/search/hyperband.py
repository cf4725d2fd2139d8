"""Hyperband: many configurations for a few epochs, the best of them for more, in several mixtures.

Source: Li et al. 2018 (Hyperband, JMLR 18), Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tuner.errors import InputError, Problem
from tuner.experiment.experiment import Experiment
from tuner.experiment.objective import Objective
from tuner.experiment.trial import Configuration, canonical
from tuner.search.halving import Bracket, Halving, Member
from tuner.search.method import Proposal, Result, SearchMethod
from tuner.search.planned import Planned


class Hyperband(SearchMethod):
    """Brackets of successive halving over a random plan.

    While a rung waits for results, the next bracket begins, so that no worker idles; what is due
    of an earlier bracket always comes first. With one worker, bracket follows bracket.
    """

    def __init__(self, plan: Planned, halving: Halving, objective: Objective) -> None:
        self._plan = plan
        self._halving = halving
        self._objective = objective
        self._brackets: list[Bracket] = []
        self._num_brackets = 0
        self._taken = 0
        self._places: dict[str, tuple[Bracket, Member]] = {}
        self._known: dict[str, Result] = {}
        self._dropped: list[tuple[Configuration, str]] = []

    @property
    def is_adaptive(self) -> bool:
        """Results decide who goes on."""
        return True

    @property
    def total(self) -> int:
        """Configurations in all; each is proposed once for every rung that it reaches."""
        return self._plan.total

    @property
    def planned_epochs(self) -> int:
        """Epochs that all proposals take under one seed, if none fails."""
        return self._halving.planned_epochs(self.total)

    @property
    def exhausted(self) -> bool:
        """Whether everything has been proposed up to its last rung."""
        return self._taken >= self.total and all(bracket.is_over for bracket in self._brackets)

    def ask(self) -> Proposal | None:
        """What is due of the earliest bracket; otherwise the next bracket begins."""
        while (bracket := self._due()) is None:
            members = self._next_members()
            if not members:
                return None
            self._begin(members)
        return Proposal(bracket.propose().configuration, bracket.until)

    def tell(self, result: Result) -> None:
        """What became of a proposal; the last of a rung decides who goes on."""
        key = _key(result.configuration)
        if key not in self._places:
            return  # of a configuration that it has done with
        bracket, member = self._places[key]
        bracket.tell(member, result)
        if member.ended:
            del self._places[key]
        self._tidy(bracket)

    def dropped(self) -> Sequence[tuple[Configuration, str]]:
        """Those of decided rungs that do not go on, each once."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def restore(self, results: Sequence[Result]) -> None:
        """Opens every bracket of which something is known, and decides what can be decided."""
        self._known = {_key(result.configuration): result for result in results}
        members = self._next_members()
        while not self._known.keys().isdisjoint(members):
            self._begin(members)
            members = self._next_members()

    def _due(self) -> Bracket | None:
        return next((bracket for bracket in self._brackets if bracket.has_due), None)

    def _begin(self, members: Mapping[str, Member]) -> None:
        """The next bracket, of these configurations by their keys."""
        for key, member in members.items():
            if key in self._known:
                member.told(self._known.pop(key))
        rungs = self._halving.rungs(self._num_brackets, len(members))
        bracket = Bracket(list(members.values()), rungs, self._objective)
        self._places |= {k: (bracket, m) for k, m in members.items() if not m.ended}
        self._brackets.append(bracket)
        self._num_brackets += 1
        self._taken += len(members)
        self._tidy(bracket)

    def _tidy(self, bracket: Bracket) -> None:
        """Collects whom the bracket dropped, and forgets what is done with."""
        dropped = bracket.take_dropped()
        for configuration, _ in dropped:
            del self._places[_key(configuration)]
        self._dropped += dropped
        if bracket.is_settled:
            self._brackets.remove(bracket)

    def _next_members(self) -> dict[str, Member]:
        """The configurations of the next bracket; none after the last."""
        end = min(self._taken + self._halving.size(self._num_brackets), self.total)
        members = {}
        for index in range(self._taken, end):
            try:
                configuration = self._plan[index]
            except IndexError:  # A space without end turned out to have one.
                break
            members[_key(configuration)] = Member(index, configuration)
        return members


def make_hyperband(experiment: Experiment, plan: Planned) -> Hyperband:
    """The method as the experiment describes it, over a random plan of its space.

    Raises:
        InputError: the trials have no common number of epochs, or too few for two rungs.
    """
    search = experiment.search
    least, reduction = search.min_epochs or 1, search.reduction or 3
    epochs = _common_epochs(experiment)
    if epochs < least * reduction:
        what = f"training.epochs: {epochs} leave hyperband no epoch at which to compare"
        expected = f"at least min_epochs * reduction = {least} * {reduction}"
        mend = f"epochs: {least * reduction**3}, or method: random"
        where = experiment.where("training.epochs")
        raise InputError(Problem(what, where, str(epochs), expected, mend))
    return Hyperband(plan, Halving(epochs, least, reduction), experiment.objective)


def _common_epochs(experiment: Experiment) -> int:
    branches = experiment.space.branches
    found = {branch.training["epochs"] for branch in branches}
    is_open = any(axis.name == "training.epochs" for branch in branches for axis in branch.axes)
    if len(found) == 1 and not is_open:
        return int(found.pop())
    what = "training.epochs: is left open, and hyperband decides itself who gets how many"
    where = experiment.where("training.epochs")
    raise InputError(
        Problem(what, where, expected="one number, the most that a trial gets", mend="epochs: 81")
    )


def _key(configuration: Configuration) -> str:
    return canonical(configuration.flat())
