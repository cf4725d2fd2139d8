"""Hyperband: many configurations for a few epochs, the best of them for more, in several mixtures.

Source: Li et al. 2018 (Hyperband, JMLR 18), Algorithm 1.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tuner.errors import InputError, Problem
from tuner.experiment.experiment import Experiment
from tuner.experiment.objective import Objective, standing
from tuner.experiment.trial import Configuration, canonical
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
        self._places: dict[str, tuple[Bracket, BracketMember]] = {}
        self._known: dict[str, Result] = {}
        self._dropped: list[tuple[Configuration, str]] = []

    @property
    def is_adaptive(self) -> bool:
        """Results decide who goes on."""
        return True

    @property
    def plan(self) -> Planned:
        """All configurations that begin."""
        return self._plan

    @property
    def total(self) -> int:
        """Configurations in all; each is proposed once for every rung that it reaches."""
        return self._plan.total

    @property
    def planned_epochs(self) -> int:
        """Epochs that all proposals take under one seed, if none fails."""
        return self._halving.planned_epochs(self.total)

    @property
    def planned_proposals(self) -> int:
        """How often it proposes something, if none fails."""
        brackets = self._halving.brackets(self.total)
        return sum(rung.size for rungs in brackets for rung in rungs)

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
        return bracket.propose()

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

    def _begin(self, members: Mapping[str, BracketMember]) -> None:
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

    def _next_members(self) -> dict[str, BracketMember]:
        """The configurations of the next bracket; none after the last."""
        end = min(self._taken + self._halving.size(self._num_brackets), self.total)
        members = {}
        for index in range(self._taken, end):
            try:
                configuration = self._plan[index]
            except IndexError:  # A space without end turned out to have one.
                break
            members[_key(configuration)] = BracketMember(index, configuration)
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


# ---------------------------------------------------------------------- successive halving


@dataclass(frozen=True)
class Rung:
    """So many configurations of a bracket reach epoch `epochs`."""

    size: int
    epochs: int


@dataclass(frozen=True)
class Halving:
    """What makes the brackets: R is `epochs`, r the least of a rung, η `reduction`."""

    epochs: int
    min_epochs: int
    reduction: int

    @property
    def highest(self) -> int:
        """s_max = ⌊log_η(R / r)⌋: rungs below the last one of the first bracket."""
        highest = 0
        while self.min_epochs * self.reduction ** (highest + 1) <= self.epochs:
            highest += 1
        return highest

    def size(self, bracket: int) -> int:
        """Configurations of a bracket: n = ⌈(s_max + 1) · η^s / (s + 1)⌉, s falling from s_max."""
        level = self._level(bracket)
        parts: int = (self.highest + 1) * self.reduction**level
        return -(-parts // (level + 1))

    def rungs(self, bracket: int, size: int) -> tuple[Rung, ...]:
        """The rungs of a bracket that starts with `size` configurations: n / η^i for R · η^(i-s).

        Epochs are rounded down. Unlike in the paper somebody always goes on, so that a bracket
        that is cut short ends with a trained network, too.
        """
        level = self._level(bracket)
        return tuple(
            Rung(max(1, size // self.reduction**i), self.epochs // self.reduction ** (level - i))
            for i in range(level + 1)
        )

    def planned_epochs(self, configurations: int) -> int:
        """Epochs of all brackets until so many configurations were taken; weights are kept."""
        epochs = 0
        for rungs in self.brackets(configurations):
            before = 0
            for rung in rungs:
                epochs += rung.size * (rung.epochs - before)
                before = rung.epochs
        return epochs

    def brackets(self, configurations: int) -> Iterator[tuple[Rung, ...]]:
        """The brackets, one after the other, until so many configurations were taken."""
        for bracket in itertools.count():
            if configurations <= 0:
                return
            size = min(configurations, self.size(bracket))
            yield self.rungs(bracket, size)
            configurations -= size

    def _level(self, bracket: int) -> int:
        return self.highest - bracket % (self.highest + 1)


@dataclass
class BracketMember:
    """A configuration in its bracket, with what is known of it."""

    number: int
    configuration: Configuration
    curve: tuple[float, ...] = ()
    ended: bool = False

    def told(self, result: Result) -> None:
        """Takes note of what became of it."""
        self.curve, self.ended = result.curve, result.ended


class Bracket:
    """Successive halving of its members, rung by rung.

    A rung is decided when every member in it has reached it or ended. Who goes on depends on the
    curves alone, not on the order of their arrival; a tie goes to the earlier configuration.
    """

    def __init__(
        self, members: Sequence[BracketMember], rungs: Sequence[Rung], objective: Objective
    ) -> None:
        self._rungs = rungs
        self._objective = objective
        self._level = 0
        self._members = list(members)
        self._due: deque[BracketMember] = deque()
        self._dropped: list[tuple[Configuration, str]] = []
        self._missing: set[int] = set()
        self._begin()

    @property
    def has_due(self) -> bool:
        """Whether there is something to propose now."""
        return bool(self._due)

    @property
    def is_over(self) -> bool:
        """Whether nothing of it will be proposed any more."""
        return self._is_last and not self._due

    @property
    def is_settled(self) -> bool:
        """Whether nothing will be told of it any more, either."""
        return self._is_last and not self._missing

    def propose(self) -> Proposal:
        """The next member, up to the epoch at which those of its rung wait; the last one waits
        for none."""
        until = None if self._is_last else self._rungs[self._level].epochs
        configuration = self._due.popleft().configuration
        return Proposal(configuration, until, bracket=len(self._rungs) - 1, round=self._level)

    def tell(self, member: BracketMember, result: Result) -> None:
        """What became of a member; one that was interrupted is due again."""
        member.told(result)
        if not self._is_through(member):
            self._due.appendleft(member)
            return
        self._missing.discard(member.number)
        self._decide()

    def take_dropped(self) -> list[tuple[Configuration, str]]:
        """Those that do not go on, with the reason, once."""
        dropped, self._dropped = self._dropped, []
        return dropped

    @property
    def _is_last(self) -> bool:
        return self._level == len(self._rungs) - 1

    def _is_through(self, member: BracketMember) -> bool:
        """At the last rung an end must be told: a crash may come between an epoch and the end."""
        reached = len(member.curve) >= self._rungs[self._level].epochs
        return member.ended or (reached and not self._is_last)

    def _begin(self) -> None:
        """Starts a rung, with what is known of its members from before."""
        self._due.extend(member for member in self._members if not self._is_through(member))
        self._missing = {member.number for member in self._due}
        self._decide()

    def _decide(self) -> None:
        """Ends the rung if all of it is known: the best begin the next one, the rest is dropped."""
        if self._missing or self._is_last:
            return
        rung, following = self._rungs[self._level], self._rungs[self._level + 1]
        ranked = sorted(filter(self._may_go_on, self._members), key=self._order)
        for rank, member in enumerate(ranked[following.size :], following.size + 1):
            if not member.ended:
                place = standing(rank, f"{len(self._members)} in its bracket", following.size)
                value = self._objective.shown(self._gain(member))
                reason = f"hyperband: {value} by epoch {rung.epochs} is {place}"
                self._dropped.append((member.configuration, reason))
        self._members = ranked[: following.size]
        self._level += 1
        self._begin()

    def _may_go_on(self, member: BracketMember) -> bool:
        """Not one that ended here or before; one that ended later was promoted, then ended."""
        epochs = self._rungs[self._level].epochs
        return len(member.curve) >= epochs + member.ended

    def _order(self, member: BracketMember) -> tuple[float, int]:
        return -self._gain(member), member.number

    def _gain(self, member: BracketMember) -> float:
        values = member.curve[: self._rungs[self._level].epochs]
        return max(map(self._objective.gain, values))
