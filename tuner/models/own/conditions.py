"""When each hyperparameter of a `build(hp)` is used: learnt by running it with other values.

`build` is a program that asks for values, and which ones it asks for may hang on those that it got
before: a loop over layers, a kind of network, a name that two kinds share. What holds is learnt as
rules: each says "used where these others have one of these values", and a hyperparameter may have
several. Every run is compared with what the rules say; where they are wrong, the values in which
it differs from a run that is understood are exchanged one by one, which names the one that decides.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuner.models.own.family import Conditions

MAX_VALUES = 32  # of one hyperparameter of which each is tried; of a longer range those that decide
MAX_POINTS = 1_000  # of a range on which others may depend

_FIRST_LOOK = (
    8  # parts of a long range whose ends are tried before it is looked into where they differ
)
_COMBINATIONS = 24  # drawn values of everything, which show what hangs on several values at once
_MAX_REPAIRS = 4  # of the rules after one run


@dataclass(frozen=True)
class UsedNames:
    """The hyperparameters that one run used, in the order in which it asked for them.

    `is_whole` is False for a run that ended in an error: it would have asked for more.
    """

    names: tuple[str, ...]
    is_whole: bool = True


@dataclass
class _Rule:
    """Used where each of `where` has one of its values; `example` are values of such a run."""

    example: dict[str, Any]
    where: dict[str, tuple[Any, ...]] = field(default_factory=dict)


class UsageRules:
    """Rules for all hyperparameters, in the order in which they turned up.

    Args:
        run: what a run with these values used; for others it takes its defaults.
        points: the values that a hyperparameter can have, or the ends of an endless range.
        default: the value that it has if it is given none.
        is_listed: whether `points` are all of its values.
    """

    def __init__(
        self,
        run: Callable[[Mapping[str, Any]], UsedNames],
        points: Callable[[str], Sequence[Any]],
        default: Callable[[str], Any],
        is_listed: Callable[[str], bool],
    ) -> None:
        self._run = run
        self._points = points
        self._default = default
        self._is_listed = is_listed
        self._rules: dict[str, list[_Rule]] = {}
        self.blurred: dict[str, str] = {}  # name → the endless range on which its use depends

    def learn(self) -> None:
        """Run with the defaults, with each value of each name, and with values of all at once."""
        self._compare({})
        explored: set[str] = set()
        rng = random.Random(0)
        for place in range(_COMBINATIONS + 1):
            if place and len(self._rules) > 1:
                self._compare({name: rng.choice(self._points(name)) for name in self._rules})
            while new := [name for name in self._rules if name not in explored]:
                explored.add(new[0])
                self._explore(new[0])

    def knows(self, name: str) -> bool:
        """Whether a run has used it."""
        return name in self._rules

    def base(self, name: str) -> dict[str, Any]:
        """Values with which a run uses this name."""
        return self._rules[name][0].example

    def conditions(self, name: str) -> tuple[Conditions, ...]:
        """One of these must hold; none: it is always used."""
        rules = [tuple(rule.where.items()) for rule in self._rules[name]]
        return () if () in rules else tuple(dict.fromkeys(rules))

    def names(self) -> list[str]:
        """Those on which others depend before these, otherwise as they turned up."""
        ordered: dict[str, None] = {}
        pending: set[str] = set()

        def place(name: str) -> None:
            if name in pending:
                return
            pending.add(name)
            for rule in self._rules[name]:
                for parent in rule.where:
                    place(parent)
            ordered[name] = None

        for name in self._rules:
            place(name)
        return list(ordered)

    # ------------------------------------------------------------ running

    def _explore(self, name: str) -> None:
        """Compare what is used with each of its values, or of a long range where that changes."""
        base = self.base(name)
        _look_along(self._points(name), lambda value: self._compare({**base, name: value}).names)

    def _compare(self, values: dict[str, Any]) -> UsedNames:
        """Make the rules say what this run showed."""
        run = self._run(values)
        for _ in range(_MAX_REPAIRS):
            said = {name for name in self._rules if self._says(name, values)}
            missing = [name for name in run.names if name not in said]
            extra = [name for name in said.difference(run.names) if run.is_whole]
            for name in missing:
                self._widen(name, values, run)
            for name in sorted(extra, key=list(self._rules).index):
                self._narrow(name, values, run)
            if not missing and not extra:
                break
        return run

    def _says(
        self, name: str, values: Mapping[str, Any], pending: frozenset[str] = frozenset()
    ) -> bool:
        """Whether a rule for the name holds, and those on which it hangs are used themselves."""
        pending |= {name}
        return any(
            self._applies(rule, values)
            and pending.isdisjoint(rule.where)
            and all(self._says(other, values, pending) for other in rule.where)
            for rule in self._rules[name]
        )

    def _value(self, values: Mapping[str, Any], name: str) -> Any:
        return values[name] if name in values else self._default(name)

    # ------------------------------------------------------------ rules

    def _widen(self, name: str, values: dict[str, Any], run: UsedNames) -> None:
        """A further rule around a run that used the name: what is not at its default may decide."""
        rule = _Rule({n: v for n, v in values.items() if n in run.names})
        for other in run.names[: run.names.index(name)]:
            if other in values and values[other] != self._default(other):
                without = {n: v for n, v in values.items() if n != other}
                if not self._uses(name, without):
                    self._restrict(name, rule, other, values)
        self._rules.setdefault(name, []).append(rule)

    def _narrow(self, name: str, values: dict[str, Any], run: UsedNames) -> None:
        """Rules that wrongly say that this run used the name get one more condition."""
        for rule in [rule for rule in self._rules[name] if self._applies(rule, values)]:
            between = dict(rule.example)
            for other in run.names:
                if self._value(between, other) == self._value(values, other):
                    continue
                nearer = {**between, other: self._value(values, other)}
                if not self._uses(name, nearer):
                    self._restrict(name, rule, other, between)
                    break
                between = nearer

    def _applies(self, rule: _Rule, values: Mapping[str, Any]) -> bool:
        return all(self._value(values, n) in allowed for n, allowed in rule.where.items())

    def _uses(self, name: str, values: Mapping[str, Any]) -> bool:
        """An error hides what would have been used: then nothing speaks against it."""
        run = self._run(values)
        return name in run.names or not run.is_whole

    def _restrict(self, name: str, rule: _Rule, other: str, values: Mapping[str, Any]) -> None:
        """Let the rule ask for those values of the other with which this one is used."""
        if not self._is_listed(other):
            self.blurred[name] = other
            return
        points = self._points(other)
        using = _look_along(points, lambda value: self._uses(name, {**values, other: value}))
        before = rule.where.get(other, points)
        rule.where[other] = tuple(v for v in points if using[v] and v in before)


def _look_along(points: Sequence[Any], look: Callable[[Any], Any]) -> dict[Any, Any]:
    """What there is to see at each point; of a long range, where its ends look alike, as there."""
    last = len(points) - 1
    numbers = not any(isinstance(point, str) for point in points)
    parts = min(last, _FIRST_LOOK) if len(points) > MAX_VALUES and numbers else last
    places = sorted({last * part // max(1, parts) for part in range(parts + 1)})
    seen = {place: look(points[place]) for place in places}
    gaps = list(itertools.pairwise(places))
    while gaps:
        low, high = gaps.pop()
        middle = (low + high) // 2
        if middle == low:
            continue
        if seen[low] == seen[high]:
            seen |= dict.fromkeys(range(low + 1, high), seen[low])
        else:
            seen[middle] = look(points[middle])
            gaps += [(low, middle), (middle, high)]
    return {point: seen[place] for place, point in enumerate(points)}
