"""From a branch as it was written to a checked one: every value that a trial could have is valid.

A few closed configurations in which each open value occurs are validated; then the combinations
of what fields could depend on each other by, so that `depth: 42` is found where it meets
`bottleneck: true`, and forgiven where a constraint keeps them apart. No two branches may admit the
same configuration, which would then run twice.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from tuner.data.config import DataConfig
from tuner.errors import Problem
from tuner.experiment.constraints import Constraint, ConstraintError
from tuner.experiment.document import MAX_PROBLEMS, Findings, Path, value_at
from tuner.experiment.domain import Choice, Domain, identity, parse_range
from tuner.experiment.schema import (
    STRUCTURAL,
    Head,
    ObjectiveConfig,
    Resources,
    SearchConfig,
    TrainingConfig,
)
from tuner.experiment.shapes import Classes, Leaf, Shape
from tuner.experiment.space import Axis, Branch
from tuner.experiment.validation import Fault, is_integer, plain, unknown_name, validate
from tuner.experiment.yaml import to_text
from tuner.models import FAMILIES
from tuner.models.family import runtime_fields
from tuner.synonyms import our_names

MAX_COVERING = 12_000
MAX_COMBINATIONS = 6_000
"""Most validations, faults and constraints that one experiment may cost: about a second."""

_MAX_POINTS = 1_000
# Training fields that are checked against each other.
_COUPLED = ("training.epochs", "training.warmup_epochs")

Domains = dict[tuple[str, ...], Domain]
"""What each field of a branch may be."""


@dataclass(frozen=True)
class OpenLeaf:
    """An open leaf with the values that are checked, and where each was written."""

    leaf: Leaf
    domain: Domain
    values: Sequence[Any]
    sources: Sequence[Path]


@dataclass
class Efforts:
    """How much may still be checked, in validations and constraints.

    `covering` is what all branches have together to check every value once, and the experiment is
    refused when it does not suffice; `combinations` is what each has for values against each other.
    """

    covering: int
    combinations: int

    @classmethod
    def shared_by(cls, num_branches: int) -> Efforts:
        """What there is at the start."""
        return cls(MAX_COVERING, MAX_COMBINATIONS // max(1, num_branches))


class BranchCheck:
    """Checks one branch; reports to `findings` by place."""

    def __init__(
        self,
        shape: Shape,
        classes: Classes,
        constraints: Sequence[Constraint],
        findings: Findings,
        efforts: Efforts,
    ) -> None:
        self._shape = shape.used()
        self._classes = classes
        names = shape.names(classes)
        about = [c for c in constraints if names.issuperset(c.dotted)]
        self._constraints = [c for c in about if not c.sizes]
        self._sized = [c for c in about if c.sizes]
        self._findings = findings
        self._efforts = efforts
        self._spent = 0
        self._opens: list[OpenLeaf] = []
        self._dumps: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
        self._memo: dict[Any, list[Fault]] = {}
        self._interior: set[Path] = set()

    def branch(self, grid: bool) -> Branch | None:
        """The checked branch; None after something was reported that leaves no valid values."""
        if self._efforts.covering < 0:
            return None
        self._drop_unknown()
        self._open_leaves(grid)
        self._check_covering()
        self._check_combinations()
        if "model" not in self._classes or not all(self._dumps.get(s) for s in self._classes):
            return None
        return self._build()

    def _drop_unknown(self) -> None:
        """Names that no field has are reported once, and not for every combination of values."""
        fields = {name: config.model_fields for name, config in self._classes.items()}
        leaves = [leaf for leaf in self._shape.leaves if leaf.path[0] in fields]
        unknown = [leaf for leaf in leaves if leaf.path[1] not in fields[leaf.path[0]]]
        for leaf in unknown[:MAX_PROBLEMS]:
            section, name = leaf.path[:2]
            fault = Fault((name,), unknown_name(self._classes[section], (name,)), unknown=True)
            self._findings.add(leaf.source, f"{section}.{name}", self._explained(section, fault))
        dropped = {leaf.path for leaf in unknown}
        kept = tuple(leaf for leaf in self._shape.leaves if leaf.path not in dropped)
        self._shape = dataclasses.replace(self._shape, leaves=kept)

    def _open_leaves(self, grid: bool) -> None:
        for leaf in self._shape.leaves:
            if not leaf.is_axis:
                continue
            opened = self._open_range(leaf) if leaf.is_range else self._open_choice(leaf)
            if opened is None:
                continue
            self._opens.append(opened)
            if grid and not opened.domain.is_finite:
                what = "a range without count or step has no end of points for a grid"
                mend = f"{to_text({**leaf.node, 'count': 5})}, or search.method: random"
                received = to_text(leaf.node)
                self._findings.report(leaf.source, leaf.name, what, received=received, mend=mend)

    def _open_choice(self, leaf: Leaf) -> OpenLeaf:
        indices = leaf.options or ()
        values = [leaf.node["choice"][index] for index in indices]
        sources = [(*leaf.source, "choice", index) for index in indices]
        seen = set()
        for value, source in zip(values, sources, strict=True):
            if identity(value) in seen:
                what, mend = f"{to_text(value)} is listed twice", "keep one of them"
                self._findings.report(source, leaf.name, what, mend=mend)
            seen.add(identity(value))
        return OpenLeaf(leaf, Choice(tuple(values)), values, sources)

    def _open_range(self, leaf: Leaf) -> OpenLeaf | None:
        config = self._classes.get(leaf.path[0])
        parsed = parse_range(leaf.node, is_integer(config, leaf.path[1:]) if config else None)
        if isinstance(parsed, Problem):
            self._findings.add(leaf.source, leaf.name, parsed)
            return None
        values: Sequence[Any] = (parsed.minimum, parsed.maximum)
        if parsed.is_finite:
            values = [parsed.minimum, *parsed.points()[1:-1][:_MAX_POINTS], parsed.maximum]
        elif parsed.integer and parsed.maximum - parsed.minimum < _MAX_POINTS:
            values = range(int(parsed.minimum), int(parsed.maximum) + 1)
        inside = [leaf.source] * (len(values) - 2)
        return OpenLeaf(
            leaf, parsed, values, [(*leaf.source, "min"), *inside, (*leaf.source, "max")]
        )

    def _check_covering(self) -> None:
        """Each open value at least once."""
        for index in range(max([1, *(len(open_.values) for open_ in self._opens)])):
            digits = [min(index, len(open_.values) - 1) for open_ in self._opens]
            before = self._spent
            self._check(digits, certain=False)
            self._efforts.covering -= self._spent - before
            if self._efforts.covering < 0:
                what = "has more values in more branches than can be checked"
                mend = "fewer options, or several experiments"
                self._findings.report((), "the search space", what, mend=mend)
                return

    def _check_combinations(self) -> None:
        """All combinations of what could depend on each other, one value for everything else."""
        choices = [range(len(o.values)) if self._is_coupled(o) else (0,) for o in self._opens]
        before = self._spent
        for digits in itertools.product(*choices):
            if self._spent - before > self._efforts.combinations:
                return
            self._check(digits, certain=True)

    def _is_coupled(self, open_: OpenLeaf) -> bool:
        name = open_.leaf.name
        if not open_.domain.is_finite:
            return self._is_structural(open_.leaf)
        constrained = any(name in constraint.dotted for constraint in self._constraints)
        return constrained or name in _COUPLED or self._is_structural(open_.leaf)

    def _is_structural(self, leaf: Leaf) -> bool:
        section, name = leaf.path[:2]
        if section != "model":
            return name in STRUCTURAL
        return "model" not in self._classes or name not in runtime_fields(self._classes["model"])  # type: ignore[arg-type]

    def _check(self, digits: Sequence[int], certain: bool) -> None:
        self._spent += 1
        for section in self._classes:
            faults = self._faults(section, digits)
            self._spent += len(faults)
            excluded = bool(faults) and self._is_excluded(digits)
            for fault in faults:
                leaf = self._leaf(section, fault)
                # Of structural values, the combinations that trials can have are checked later.
                later = leaf is None or (section == "model" and self._is_structural(leaf))
                if not excluded or not (certain or later):
                    self._report(section, fault, leaf, digits)

    def _faults(self, section: str, digits: Sequence[int]) -> list[Fault]:
        opens = zip(self._opens, digits, strict=True)
        key = section, tuple(digit for open_, digit in opens if open_.leaf.path[0] == section)
        if key not in self._memo:
            data = self._data(section, digits)
            checked = validate(self._classes[section], data)
            if isinstance(checked, BaseModel):
                self._dumps.setdefault(section, []).append((data, plain(checked)))
            self._memo[key] = [] if isinstance(checked, BaseModel) else checked
        return self._memo[key]

    def _data(self, section: str, digits: Sequence[int]) -> dict[str, Any]:
        data: dict[str, Any] = {}
        values = {o.leaf.path: o.values[d] for o, d in zip(self._opens, digits, strict=True)}
        for leaf in self._shape.leaves:
            if leaf.path[0] == section and (leaf.path in values or not leaf.is_axis):
                mapping = data
                for part in leaf.path[1:-1]:
                    mapping = mapping.setdefault(part, {})
                mapping[leaf.path[-1]] = values.get(leaf.path, leaf.node)
        return data

    def _is_excluded(self, digits: Sequence[int]) -> bool:
        """Whether a constraint keeps trials from having this combination."""
        known = {leaf.name: leaf.node for leaf in self._shape.leaves if not leaf.is_axis}
        known |= {o.leaf.name: o.values[d] for o, d in zip(self._opens, digits, strict=True)}
        endless = {o.leaf.name for o in self._opens if not o.domain.is_finite}
        for constraint in self._constraints:
            if endless.isdisjoint(constraint.dotted):
                defaults = {
                    name: self._default(name) for name in constraint.dotted if name not in known
                }
                self._spent += 1
                try:
                    if not constraint(known | defaults):
                        return True
                except ConstraintError:
                    continue  # Values that are wrong anyway; otherwise it is reported later.
        return False

    def _default(self, name: str) -> Any:
        section, field_name = name.split(".", 1)
        return self._classes[section].model_fields[field_name].get_default()

    def _leaf(self, section: str, fault: Fault) -> Leaf | None:
        """The written value that a fault is about."""
        path = (section, *fault.path)
        for leaf in self._shape.leaves:
            shorter = min(len(path), len(leaf.path))
            if len(path) > 1 and path[:shorter] == leaf.path[:shorter]:
                return leaf
        return None

    def _report(self, section: str, fault: Fault, leaf: Leaf | None, digits: Sequence[int]) -> None:
        name = ".".join(str(part) for part in (section, *fault.path))
        if leaf is None:
            written = (leaf for leaf in self._shape.leaves if leaf.path[0] == section)
            source = next((leaf.source[:-1] for leaf in written), (section,))
            self._findings.add(source, name, fault.problem)
            return
        source = leaf.source
        for open_, digit in zip(self._opens, digits, strict=True):
            if open_.leaf is leaf:
                source = open_.sources[digit]
        if leaf.is_range and source == leaf.source:
            if source in self._interior:
                return
            self._interior.add(source)
        below = fault.path[len(leaf.path) - 1 :]
        self._findings.add((*source, *below), name, self._explained(section, fault))

    def _explained(self, section: str, fault: Fault) -> Problem:
        """An unknown name may be known to another section, or to another family."""
        problem = fault.problem
        if not fault.unknown:
            return problem
        if elsewhere := _elsewhere(section, str(fault.path[-1])):
            return dataclasses.replace(problem, mend=elsewhere)
        if section != "model":
            return problem
        name, own = str(fault.path[-1]), str(self._shape.closed("model", "family"))
        others = [f for f in FAMILIES if name in FAMILIES[f].config.model_fields]
        mend = problem.mend
        if others and own not in others:
            option = f"{{family: {others[0]}, {name}: …}}"
            mend = f"give each family its own names: model: {{choice: [{option}, …]}}"
        return Problem(f"is not known to {own}", "", problem.received, problem.expected, mend)

    def _build(self) -> Branch:
        base = {section: self._dumps[section][0][1] for section in self._classes}
        axes = [self._axis(open_) for open_ in self._opens]
        listed = [leaf for leaf in self._shape.leaves if leaf.is_axis or leaf.chosen]
        return Branch(
            model=base["model"],
            training=base["training"],
            data=base.get("data", {}),
            axes=tuple(sorted(axes, key=lambda axis: not axis.structural)),
            names=tuple(leaf.name for leaf in listed),
            switches=frozenset(self._switches(base["model"])),
            weight=self._shape.weight,
            constraints=tuple(self._constraints),
            sized=tuple(self._sized),
            sources={leaf.name: leaf.source for leaf in self._shape.leaves},
            notes=self._shape.notes,
            refused=self._shape.refused,
        )

    def _axis(self, open_: OpenLeaf) -> Axis:
        domain = open_.domain
        if isinstance(domain, Choice):
            path = open_.leaf.path[1:]
            # Values as written to values as the field holds them: 0 is 0.0 for a rate.
            held = {
                identity(value_at(data, path)): value_at(dump, path)
                for data, dump in self._dumps[open_.leaf.path[0]]
            }
            domain = Choice(tuple(held.get(identity(value), value) for value in domain.options))
            self._check_same(open_, domain.options)
        return Axis(open_.leaf.path, domain, self._is_structural(open_.leaf))

    def _check_same(self, open_: OpenLeaf, options: Sequence[Any]) -> None:
        """Values that are written otherwise may still be the same: augmentations have no order."""
        seen: dict[Any, Any] = {}
        for written, source, held in zip(open_.values, open_.sources, options, strict=True):
            first = seen.setdefault(identity(held), written)
            if identity(first) != identity(written):
                what = f"{to_text(written)} is the same as {to_text(first)}"
                self._findings.report(source, open_.leaf.name, what, mend="keep one of them")

    def _switches(self, model: Mapping[str, Any]) -> Iterator[str]:
        """The runtime fields of the model that are on anywhere in the branch."""
        opens = {open_.leaf.name: open_.values for open_ in self._opens}
        for name in runtime_fields(self._classes["model"]):  # type: ignore[arg-type]
            if any(opens.get(f"model.{name}", [model[name]])):
                yield name


def _elsewhere(section: str, name: str) -> str:
    """The place of a name, or of what it is called here, that this section does not have."""
    if name in Head.model_fields:
        return f"{name}: at the top, beside {section}:"
    places = list(places_of(name))
    is_here = any(place.startswith(f"{section}.") for place in places)
    return places[0] if places and not is_here else ""


def places_of(name: str) -> Iterator[str]:
    """The sections that a name belongs to, also by what other tools call it."""
    classes: dict[str, list[type[BaseModel]]] = {
        "training": [TrainingConfig],
        "model": [family.config for family in FAMILIES.values()],
        "search": [SearchConfig],
        "data": [DataConfig],
        "objective": [ObjectiveConfig],
        "resources": [Resources],
    }
    for ours in (name, *our_names(name)):
        for section, configs in classes.items():
            if any(ours.removeprefix(f"{section}.") in c.model_fields for c in configs):
                yield f"{section}.{ours.removeprefix(f'{section}.')}"


def find_overlap(branches: Sequence[Branch]) -> Branch | None:
    """The first branch that shares a configuration with an earlier one, constraints aside."""
    for group in _groups(branches):
        for index, (branch, domains) in enumerate(group):
            for _, earlier in group[:index]:
                if all(_meet(domain, earlier[path]) for path, domain in domains.items()):
                    return branch
    return None


def _groups(branches: Sequence[Branch]) -> Iterator[list[tuple[Branch, Domains]]]:
    """Branches that could overlap: of one family, same names, and equal where all are fixed."""
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


def _domains(branch: Branch) -> Domains:
    """What each used field may be; a fixed one is a choice of one."""
    fixed = branch.first.flat()
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
        return any(map(other.contains, one.points()))
    if isinstance(other, Choice) or other.is_finite:
        return any(map(one.contains, other.points()))
    return one.minimum <= other.maximum and other.minimum <= one.maximum
