"""Whether two branches of a space admit the same configuration, which would then run twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tuner.experiment.domain import Choice, Domain, identity
from tuner.experiment.space import Branch

Domains = dict[tuple[str, ...], Domain]


def find_overlap(branches: Sequence[Branch]) -> Branch | None:
    """The first branch that shares a configuration with an earlier one, constraints aside."""
    for group in _groups(branches):
        for index, (branch, domains) in enumerate(group):
            if any(_overlap(domains, earlier) for _, earlier in group[:index]):
                return branch
    return None


def _groups(branches: Sequence[Branch]) -> Iterator[list[tuple[Branch, Domains]]]:
    """Branches that could overlap: of one family, with the same names, and equal where all are
    fixed."""
    alike: dict[Any, list[tuple[Branch, Domains]]] = {}
    for branch in branches:
        domains = _domains(branch)
        key = (branch.model["family"], frozenset(domains))
        alike.setdefault(key, []).append((branch, domains))
    for group in alike.values():
        fixed = [p for p in group[0][1] if all(_is_fixed(domains[p]) for _, domains in group)]
        equal: dict[Any, list[tuple[Branch, Domains]]] = {}
        for branch, domains in group:
            key = tuple(identity(domains[path].points()[0]) for path in fixed)
            equal.setdefault(key, []).append((branch, domains))
        yield from equal.values()


def _is_fixed(domain: Domain) -> bool:
    return isinstance(domain, Choice) and len(domain.options) == 1


def _overlap(one: Domains, other: Domains) -> bool:
    return all(_meet(domain, other[path]) for path, domain in one.items())


def _domains(branch: Branch) -> Domains:
    """What each used field may be; a fixed one is a choice of one."""
    fixed = branch.close({axis.name: axis.domain.sample(0.0) for axis in branch.axes}).flat()
    axes: Domains = {axis.path: axis.domain for axis in branch.axes}
    opened = {path[:2] for path in axes}
    for name, value in fixed.items():
        path = tuple(name.split("."))
        if path not in opened:
            axes[path] = Choice((value,))
    return axes


def _meet(one: Domain, other: Domain) -> bool:
    """Whether two domains share a value."""
    if isinstance(one, Choice) or one.is_finite:
        return _any_in(one.points(), other)
    if isinstance(other, Choice) or other.is_finite:
        return _any_in(other.points(), one)
    return one.minimum <= other.maximum and other.minimum <= one.maximum


def _any_in(values: Any, domain: Domain) -> bool:
    return any(domain.contains(value) for value in values)
