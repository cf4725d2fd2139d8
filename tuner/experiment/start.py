"""Configurations that a person picks by hand, which a search tries first (`search.start`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tuner.errors import Problem
from tuner.experiment.constraints import ConstraintError
from tuner.experiment.document import Findings, Path, value_at
from tuner.experiment.domain import same
from tuner.experiment.listed import named_path
from tuner.experiment.space import Axis, Branch, SearchSpace
from tuner.experiment.trial import Configuration, canonical
from tuner.experiment.yaml import to_text

START = ("search", "start")

Values = Mapping[tuple[str, ...], Any]
"""What an entry writes, by dotted path."""


def start_configurations(
    entries: Sequence[Mapping[str, Any]], space: SearchSpace, findings: Findings
) -> tuple[Configuration, ...]:
    """The configurations of the space that the entries name; what is wrong goes to `findings`.

    An entry has a value for all that is open, under short or dotted names.
    """
    names = dict.fromkeys(name for branch in space.branches for name in _names(branch))
    first: dict[str, int] = {}
    found = []
    for index, entry in enumerate(entries):
        configuration = _Entry(index, entry, findings).find(space, list(names))
        if configuration is None:
            continue
        other = first.setdefault(canonical(configuration.flat()), index)
        if other != index:
            what = f"is the same configuration as [{other}]"
            _report(findings, index, what, entry, mend="keep one of them")
        found.append(configuration)
    return tuple(found)


class _Entry:
    """One entry, which is to be found in the space."""

    def __init__(self, index: int, written: Mapping[str, Any], findings: Findings) -> None:
        self._index = index
        self._written = written
        self._findings = findings

    def find(self, space: SearchSpace, names: list[str]) -> Configuration | None:
        """Its configuration; None after something was reported."""
        values: dict[tuple[str, ...], Any] = {}
        for name, value in self._written.items():
            try:
                values[named_path(name, names)] = value
            except ConstraintError as error:
                place = (*START, self._index, name)
                self._findings.add(place, f"search.start[{self._index}]", error.problem)
                return None
        fits = [_Fit(branch, values) for branch in space.branches]
        whole = [fit for fit in fits if not fit.problems]
        if len(whole) == 1:
            return whole[0].configuration
        if whole:
            self._report_several(whole)
        else:
            self._report_nearest(fits)
        return None

    def _report_several(self, fits: Sequence[_Fit]) -> None:
        what = f"fits {len(fits)} configurations of the space"
        flats = [fit.configuration.flat() for fit in fits[:2]]
        differing = [n for n in flats[0] if not same(flats[0][n], flats[1].get(n))]
        mend = f"set {differing[0]}, too" if differing else ""
        _report(self._findings, self._index, what, self._written, mend=mend)

    def _report_nearest(self, fits: Sequence[_Fit]) -> None:
        """What keeps it from being of the branch that it is nearest to."""
        nearest = min(fits, key=lambda fit: (fit.is_other_family, len(fit.problems)))
        for name, problem in nearest.problems:
            place: Path = (*START, self._index)
            place = next(((*place, n) for n in self._written if name.endswith(n)), place)
            self._findings.add(place, f"search.start[{self._index}]", problem)


class _Fit:
    """How an entry fits a branch: its configuration there, or what keeps it from being one.

    Problems come with the dotted name that they are about.
    """

    def __init__(self, branch: Branch, values: Values) -> None:
        self._branch = branch
        self._values = values
        family = values.get(("model", "family"), branch.model["family"])
        self.is_other_family = family != branch.model["family"]
        self.problems = list(self._axis_problems())
        if not self.problems:
            self.configuration = branch.close(self._held())
            self.problems = list(self._problems())

    def _given(self, axis: Axis) -> Any:
        """What the entry has for an axis; the file is asked for it by none."""
        for path, value in self._values.items():
            if axis.path[: len(path)] == path:
                return value_at(value, axis.path[len(path) :])
        return None

    def _is_given(self, axis: Axis) -> bool:
        return any(axis.path[: len(path)] == path for path in self._values)

    def _held(self) -> dict[str, Any]:
        """The axis values as trials have them: 1 is 1.0 for a learning rate."""
        return {axis.name: _as_held(axis, self._given(axis)) for axis in self._branch.axes}

    def _axis_problems(self) -> Iterator[tuple[str, Problem]]:
        for axis in self._branch.axes:
            if not self._is_given(axis):
                what = f"{axis.name} is left open, and this configuration does not set it"
                yield axis.name, Problem(what, expected="a value for all that is open")
            elif not axis.domain.contains(given := self._given(axis)):
                what = f"{axis.name}: {to_text(given)} is not in the search space"
                yield axis.name, Problem(what, "", to_text(given), _described(axis))

    def _problems(self) -> Iterator[tuple[str, Problem]]:
        closed = self.configuration
        tree = {"model": closed.model, "training": closed.training, "data": closed.data}
        for path, value in self._values.items():
            if not same(value, held := value_at(tree, path)):
                name = ".".join(path)
                what = f"{name}: {to_text(value)} is not in the search space"
                mend = "leave it out, or open it where it is written"
                yield name, Problem(what, "", to_text(value), to_text(held), mend)
        for constraint in self._branch.constraints:
            one = dataclasses.replace(self._branch, constraints=(constraint,))
            if not one.admits(self._held()):
                text = getattr(constraint, "text", "")
                yield "", Problem("a constraint excludes it", expected=text)


def _names(branch: Branch) -> Iterator[str]:
    """The dotted names that an entry may use in a branch."""
    yield "model.family"
    yield from branch.first.flat()
    yield from (axis.name for axis in branch.axes)


def _as_held(axis: Axis, value: Any) -> Any:
    """The value of an axis as its field holds it."""
    domain = axis.domain
    if domain.is_finite:
        digit = axis.digit(value)
        return value if digit is None else axis.points[digit]
    return value if getattr(domain, "integer", False) else float(value)


def _described(axis: Axis) -> str:
    """What an axis takes, in words."""
    points = axis.points if axis.domain.is_finite else ()
    if points and len(points) <= 20:
        return "one of " + ", ".join(map(to_text, points))
    low, high = axis.support[0], axis.support[-1]
    kind = "a point" if points else "a number"
    return f"{kind} from {to_text(low)} to {to_text(high)}"


def _report(
    findings: Findings, index: int, what: str, entry: Mapping[str, Any], *, mend: str
) -> None:
    received = to_text(dict(entry))
    findings.report((*START, index), f"search.start[{index}]", what, received=received, mend=mend)
