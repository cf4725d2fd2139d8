"""What the hyperparameters of a person's own function have an effect on, in one branch.

What `fit` and the loss hand over becomes a value of `training:`, unless one is written there. What
then has no effect is left out. What cannot be had is kept with the branch: a run refuses it, but
not an export of what was trained before, nor a program that trains in its own way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tuner.experiment.document import Findings, Path
from tuner.experiment.domain import same
from tuner.experiment.schema import COMPILED
from tuner.experiment.shapes import Leaf, Shape
from tuner.experiment.yaml import to_text
from tuner.models.own.family import OPTIMIZER, Declaration, Handed, Refusal

_NO_EFFECT = "no value changed anything; write a name under model: to search it all the same"


class OwnEffects:
    """A branch whose family is an own function, before and after it is filled up.

    `declaration` and `shape` are without what has no effect here; `idle` are leaves that were
    opened all the same, each with the reason.
    """

    def __init__(
        self, shape: Shape, family: Leaf, declaration: Declaration, findings: Findings
    ) -> None:
        self._family = family
        self._findings = findings
        self._training = {leaf.path[1] for leaf in shape.leaves if leaf.path[0] == "training"}
        if shape.optimizer == COMPILED:  # Written or not, that is what compile() says.
            self._training -= {OPTIMIZER}
        self._dead = declaration.dead(self._training)
        self._whole = declaration
        self.idle: list[tuple[Leaf, str]] = []
        self.shape = self._without_dead(shape)
        written = {leaf.path[1] for leaf in self.shape.leaves if leaf.path[0] == "model"}
        self.declaration = declaration.without(self._dead.keys() - written)

    def completed(self, shape: Shape) -> Shape:
        """The branch, filled up, with the values that go to `training:`, and what cannot be had."""
        refused = tuple(
            (self._source(refusal, shape), dataclasses.replace(refusal.problem, where=""))
            for refusal in self._whole.refusals
            if refusal.unless not in self._training and self._is_met(refusal, shape)
        )
        moved = tuple(self._moved(leaf) for leaf in shape.leaves)
        leaves = (*moved, *self._handed(shape, moved))
        return dataclasses.replace(shape, leaves=leaves, refused=refused)

    def _without_dead(self, shape: Shape) -> Shape:
        """What was opened without effect is idle; of what was closed, or never named, a note tells.

        What never changed anything is kept where somebody insists on it.
        """
        kept = []
        for leaf in shape.leaves:
            taken = self._dead.get(leaf.path[1]) if leaf.path[0] == "model" else None
            if not taken:
                kept.append(leaf)
            elif leaf.is_axis or leaf.chosen:
                self.idle.append((leaf, _taking(taken)))
        written = {leaf.path[1] for leaf in kept if leaf.path[0] == "model"}
        dead = {name: taken for name, taken in self._dead.items() if name not in written}
        notes = (*shape.notes, *_notes(dead), *self._overridden(shape))
        return dataclasses.replace(shape, leaves=tuple(kept), notes=notes)

    def _overridden(self, shape: Shape) -> Iterator[str]:
        """What fit() gives in vain, where no hyperparameter that is left out tells it."""
        told = {name for taken in self._dead.values() for name in taken}
        for handed in self._whole.handed:
            value = shape.closed("training", handed.name)
            is_equal = all(same(given, value) for _, given in handed.table)
            if handed.name in self._training - told and not is_equal:
                told.add(handed.name)
                source = "the loss" if handed.name == "label_smoothing" else "fit()"
                name = f"training.{handed.name}"
                yield f"{name} of the file counts instead of what {source} gives"

    def _moved(self, leaf: Leaf) -> Leaf:
        """A hyperparameter that is nothing but a value of `training:` goes there."""
        name = self._whole.moved.get(leaf.path[1]) if leaf.path[0] == "model" else None
        return leaf if name is None else dataclasses.replace(leaf, path=("training", name))

    def _handed(self, shape: Shape, moved: Sequence[Leaf]) -> Iterator[Leaf]:
        """The values of `training:` that `compile()` and `fit` bring, where none is written."""
        given = {leaf.path[1] for leaf in moved if leaf.path[0] == "training"}
        if self._whole.optimizer is not None and OPTIMIZER not in given:
            yield self._leaf(OPTIMIZER, COMPILED)
        nodes = {leaf.path[1]: leaf for leaf in shape.leaves if leaf.path[0] == "model"}
        for handed in self._whole.handed:
            if handed.name in given or (handed.by is not None and handed.by not in nodes):
                continue
            given.add(handed.name)
            value = handed.table[0][1] if handed.by is None else self._value(handed, nodes)
            if value is not None:
                yield self._leaf(handed.name, value)

    def _leaf(self, name: str, value: Any) -> Leaf:
        """Not one of the open values, though branches may differ in it: another decides it."""
        return Leaf(("training", name), (*self._family.source[:-1], name), value)

    def _value(self, handed: Handed, nodes: Mapping[str, Leaf]) -> Any:
        """What fit() gives in this branch; None if it gives none, or that is unknown."""
        by = nodes[str(handed.by)]
        if handed.is_identity and not by.is_axis:
            return by.node
        for value, given in handed.table:
            if same(value, by.node):
                return given
        known = to_text([value for value, _ in handed.table])
        what = f"decides training.{handed.name}, and what that is for other values is unknown"
        mend = f"training.{handed.name} in the file, too"
        self._findings.report(
            *(by.source, by.name, what),
            received=to_text(by.node),
            expected=f"one of {known}",
            mend=mend,
        )
        return None

    def _is_met(self, refusal: Refusal, shape: Shape) -> bool:
        """Whether the branch has a configuration with what cannot be had."""
        return all(
            any(not any(same(value, one) for one in fine) for value in self._values(name, shape))
            for name, fine in refusal.conditions
        )

    def _values(self, name: str, shape: Shape) -> list[Any]:
        """Values that stand for all that a hyperparameter has in this branch."""
        leaf = shape.leaf("model", name)
        if leaf is None:
            declared = next(d for d in self._whole.hyperparameters if d.name == name)
            return [] if declared.conditions else [declared.default]
        if leaf.options is not None:
            return [leaf.node["choice"][index] for index in leaf.options]
        return [leaf.node["min"], leaf.node["max"]] if leaf.is_range else [leaf.node]

    def _source(self, refusal: Refusal, shape: Shape) -> Path:
        """The place of the value that brings it, if that is written."""
        written = [shape.leaf("model", name) for name, _ in refusal.conditions]
        known = (leaf for leaf in written if leaf and self._findings.knows(leaf.source))
        return next(known, self._family).source


def report_idle(
    idle: Sequence[tuple[Leaf, str]], shapes: Sequence[Shape], findings: Findings
) -> None:
    """A value that is opened and has an effect in no branch is a mistake."""
    used = {leaf.source for shape in shapes for leaf in shape.leaves}
    for leaf, why in idle:
        if leaf.source not in used:
            what, mend = f"has no effect: {why}", "leave out one of them"
            findings.report(leaf.source, leaf.name, what, mend=mend)


def _notes(dead: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for taken in dict.fromkeys(dead.values()):
        names = [f"model.{name}" for name in dead if dead[name] == taken]
        are = "is" if len(names) == 1 else "are"
        why = _taking(taken) if taken else _NO_EFFECT
        yield f"{', '.join(names)} {are} left out of the search: {why}"


def _taking(taken: Sequence[str]) -> str:
    return f"{' and '.join(f'training.{name}' for name in taken)} of the file counts instead"
