"""What constraints compare values with: a text or a list that no value can be decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tuner.experiment.constraints import SIZES, Constraint
from tuner.experiment.document import Findings, mend_name
from tuner.experiment.shapes import Classes, Shape
from tuner.experiment.space import Branch
from tuner.experiment.yaml import to_text


def report_texts(
    constraints: Sequence[Constraint], pairs: Sequence[tuple[Shape, Classes]], findings: Findings
) -> None:
    """Texts that a name can never be, or that are in none of its lists."""
    for index, constraint in enumerate(constraints):
        for name, text in constraint.texts:
            options = dict.fromkeys(o for shape, cls in pairs for o in shape.texts(name, cls))
            members = [o for shape, _ in pairs for o in shape.members(name)]
            if name in SIZES:
                options = {"a number": None}
            if options and text not in options:
                what, mend = f"{text!r} is no value of {name}", mend_name(text, options)
                _report(findings, index, constraint, what, options, mend)
            elif members and not options:
                what, mend = f"{name} is a list, and {text!r} is none", f"{text!r} in {name}"
                _report(findings, index, constraint, what, members, mend)
        for name, text in constraint.members:
            options = dict.fromkeys(o for shape, _ in pairs for o in shape.members(name))
            if options and text not in options:
                what, mend = f"{text!r} is in no list of {name}", mend_name(text, options)
                _report(findings, index, constraint, what, options, mend)


def report_lists(
    constraints: Sequence[Constraint], branches: Sequence[Branch], findings: Findings
) -> None:
    """Lists that are none of a name's options, or one of them in another order."""
    axes = [axis for branch in branches for axis in branch.axes if axis.domain.is_finite]
    for index, constraint in enumerate(constraints):
        for name, items in constraint.lists:
            points = [point for axis in axes if axis.name == name for point in axis.points]
            points = [point for point in points if isinstance(point, list)]
            if points and items not in points:
                what = f"{to_text(items)} is no value of {name}"
                alike = [p for p in points if sorted(map(repr, p)) == sorted(map(repr, items))]
                mend = f"the order in which it is read: {to_text(alike[0])}" if alike else ""
                _report(findings, index, constraint, what, map(to_text, points), mend)


def _report(
    findings: Findings,
    index: int,
    constraint: Constraint,
    what: str,
    options: Iterable[str],
    mend: str,
) -> None:
    findings.report(
        ("search", "constraints", index),
        f"search.constraints[{index}]",
        what,
        received=constraint.text,
        expected=", ".join(dict.fromkeys(options)),
        mend=mend,
    )
