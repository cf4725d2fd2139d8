"""Successive halving: the brackets of Hyperband, and what happens in one of them.

Source: Li et al. 2018 (Hyperband, JMLR 18), Algorithm 1.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.experiment.objective import Objective, standing
from tuner.experiment.trial import Configuration
from tuner.search.method import Result


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
        epochs, bracket = 0, 0
        while configurations > 0:
            size = min(configurations, self.size(bracket))
            before = 0
            for rung in self.rungs(bracket, size):
                epochs += rung.size * (rung.epochs - before)
                before = rung.epochs
            configurations -= size
            bracket += 1
        return epochs

    def _level(self, bracket: int) -> int:
        return self.highest - bracket % (self.highest + 1)


@dataclass
class Member:
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
        self, members: Sequence[Member], rungs: Sequence[Rung], objective: Objective
    ) -> None:
        self._rungs = rungs
        self._objective = objective
        self._level = 0
        self._members = list(members)
        self._due: deque[Member] = deque()
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

    def propose(self) -> Member:
        """The next member to train, up to `until`."""
        return self._due.popleft()

    @property
    def until(self) -> int | None:
        """The epoch at which members of the present rung wait; None for the last rung."""
        return None if self._is_last else self._rungs[self._level].epochs

    def tell(self, member: Member, result: Result) -> None:
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

    def _is_through(self, member: Member) -> bool:
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

    def _may_go_on(self, member: Member) -> bool:
        """Not one that ended here or before; one that ended later was promoted, then ended."""
        epochs = self._rungs[self._level].epochs
        return len(member.curve) >= epochs + member.ended

    def _order(self, member: Member) -> tuple[float, int]:
        return -self._gain(member), member.number

    def _gain(self, member: Member) -> float:
        values = member.curve[: self._rungs[self._level].epochs]
        return max(map(self._objective.gain, values))
