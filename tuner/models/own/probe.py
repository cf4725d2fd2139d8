"""Finds out what a person's `build(hp)` leaves open, by running it (imported when it is run).

keras-tuner's hyperparameters exist only while `build` runs, and which there are may depend on
their values: through `conditional_scope`, or because Python went another way. So `build` is run
with the defaults, then with other values of what turned up: `own_conditions` says with which.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import keras

from tuner.code.loading import raised
from tuner.errors import InputError, Problem
from tuner.models.own.build import Built, run_undrawn
from tuner.models.own.conditions import MAX_POINTS, MAX_VALUES, UsageRules, UsedNames
from tuner.models.own.effects import (
    BuildRun,
    handed_of,
    is_structural,
    reaches_of,
    read_run,
    refusals_of,
)
from tuner.models.own.family import NETWORK, Declaration, Declared, Refusal
from tuner.models.own.fit import FitArguments, follow_fit, own_fit
from tuner.models.own.input import first_rescaling
from tuner.models.own.seeds import note_of_draws

MAX_SECONDS = 60.0
MAX_LISTED = 1_000  # points of a stepped range that become a choice
MAX_FIRST = 32  # other values that are tried where build cannot be run with its defaults
MAX_FIRST_SECONDS = 10.0
MIXED_RUNS = 16  # pairs of runs with all else mixed, for a hyperparameter that changed nothing

_TYPES: dict[str, type] = {"Boolean": bool, "Int": int, "Float": float}
# Names that mean something else under `model:`.
_TAKEN = {
    "": "a name",
    "family": "another name: model.family is the function itself",
    "model_config": "another name: pydantic, which checks values, has this one for itself",
}


@dataclass(frozen=True)
class _Attempt:
    """One run of `build`: what it asked for, and what it showed, unless it ended in an error."""

    used: UsedNames
    run: BuildRun | None = None


class _TimeIsUp(Exception):
    """`build` takes long."""


class Probe:
    """The runs of one function; `declaration` puts together what they showed."""

    def __init__(self, build: Callable[[Any], Any]) -> None:
        self._build = build
        self._fit = own_fit(build)
        self._deadline = time.monotonic() + MAX_SECONDS
        self._found: dict[str, Any] = {}  # keras-tuner's object by name
        self._instead: dict[str, Any] = {}  # of defaults with which nothing can be built
        self._runs: dict[tuple[Any, ...], _Attempt] = {}  # by the values that are no defaults
        self._notes: list[str] = []
        self._usage = UsageRules(
            run=lambda values: self._run(values).used,
            points=lambda name: _points(self._found[name]),
            default=self._default,
            is_listed=lambda name: _is_listed(self._found[name]),
        )
        self._rescaling: set[str] = set()  # what the runs' networks do first

    def declaration(self) -> Declaration:
        """All hyperparameters with their domains and conditions.

        Raises:
            InputError: build cannot be run, or declares what cannot be had.
        """
        self._runs[()] = self._first()
        try:
            self._usage.learn()
        except _TimeIsUp:
            self._note_all(["build takes long: not all of its branches were looked into"])
        for name, other in self._usage.blurred.items():
            what = f"{name} is varied for every {other}, on some of which alone it depends"
            self._note_all([f"{what}: a step, or a choice, for {other} tells them apart"])
        names = dict.fromkeys([*self._usage.names(), *self._found])
        hyperparameters = tuple(self._declared(name) for name in names)
        runs = [attempt.run for attempt in self._runs.values() if attempt.run is not None]
        compiled = [run.compiled for run in runs if run.compiled]
        compiled.sort(key=lambda arguments: bool(arguments.refused))
        varied = {name: self._varied(name) for name in names}
        handed, unexplained = handed_of(runs, varied, self._is_complete)
        refusals = refusals_of(runs, varied, self._attempt)
        return Declaration(
            hyperparameters=hyperparameters,
            optimizer=compiled[0].optimizer if compiled else None,
            notes=tuple(self._notes),
            rescales=", ".join(sorted(self._rescaling - {""})),
            refusals=(*refusals, *(Refusal(problem, unless) for problem, unless in unexplained)),
            handed=tuple(handed),
        )

    def _first(self) -> _Attempt:
        """The run with the defaults, or with other values where those cannot be built."""
        asked: list[Any] = []
        fits: list[FitArguments] = []
        try:
            built = self._built({}, asked, fits)
        except Exception as error:
            if not asked or not self._find_others(asked[0]):
                raise _as_input_error(error) from error
            built = self._built({}, asked, fits)
        if note := note_of_draws(built, lambda seed: self._built({}, [], [], seed)):
            self._note_all([note])
        return self._shown(built, asked[-1], fits)

    def _find_others(self, hp: Any) -> bool:
        """Whether there are values with which build can be run: they take the defaults' place."""
        until = min(self._deadline, time.monotonic() + MAX_FIRST_SECONDS)
        asked = [hp]  # what a run asks for further on is varied from then on
        for self._instead in itertools.islice(_other_values(asked), MAX_FIRST):
            if time.monotonic() > until:
                break
            with suppress(Exception):
                self._built({}, asked, [])
                return True
        return False

    def _default(self, name: str) -> Any:
        return self._instead.get(name, self._found[name].default)

    def _run(self, values: Mapping[str, Any]) -> _Attempt:
        """One run, or what is known of it; an error is no obstacle: such a network cannot be."""
        key = self._key(values)
        if key not in self._runs:
            if self._is_late():
                raise _TimeIsUp
            asked: list[Any] = []
            fits: list[FitArguments] = []
            try:
                built = self._built(values, asked, fits)
                self._runs[key] = self._shown(built, asked[-1], fits)
            except Exception:
                self._runs[key] = _Attempt(self._used(asked[0], is_whole=False))
        return self._runs[key]

    def _is_late(self) -> bool:
        return time.monotonic() > self._deadline

    def _key(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        others = ((n, v) for n, v in values.items() if v != self._default(n))
        return tuple(sorted(others, key=lambda item: item[0]))

    def _built(
        self, values: Mapping[str, Any], asked: list[Any], fits: list[FitArguments], seed: int = 0
    ) -> Built:
        """Build, and then fit as far as that goes without training; `asked` gets what asks."""

        def build(hp: Any) -> Any:
            asked.append(hp)
            model = self._build(hp)
            if self._fit is not None and isinstance(model, keras.Model):
                fits.append(follow_fit(self._fit, hp, model))
            return model

        return run_undrawn(build, {**self._instead, **values}, None, seed)

    def _shown(self, built: Built, hp: Any, fits: list[FitArguments]) -> _Attempt:
        run = read_run(built, hp.values, fits[-1] if fits else None)
        self._rescaling.add(first_rescaling(built.model))
        self._note_all(run.notes)
        return _Attempt(self._used(hp), run)

    def _used(self, hp: Any, *, is_whole: bool = True) -> UsedNames:
        """The names in use; what turned up is kept."""
        for one in hp.space:
            known = self._found.get(one.name)
            if known is None:
                _check_name(one.name)
                self._found[one.name] = one
                if getattr(one, "sampling", None) == "reverse_log" and one.step is None:
                    what = "keras-tuner's reverse_log is searched as linear"
                    self._note_all([f"{one.name}: {what}; write its range for another scale"])
            elif _domain(known) != _domain(one):
                raise InputError(_ambiguous(one.name))
        names = dict.fromkeys(one.name for one in hp.space if hp.is_active(one))
        return UsedNames(tuple(names), is_whole)

    def _declared(self, name: str) -> Declared:
        hp = self._found[name]
        kind = _kind(hp)
        scope = [tuple((c.name, tuple(c.values)) for c in hp.conditions)] if hp.conditions else []
        is_known = self._usage.knows(name)
        compared = self._compared(name)
        is_unknown = compared is None
        return Declared(
            name=name,
            kind=kind.__name__,
            default=kind(self._default(name)),
            node=_domain(hp),
            structural=is_unknown or is_structural(compared or ()),
            conditions=self._usage.conditions(name) if is_known else tuple(scope),
            reaches=(NETWORK,) if is_unknown else reaches_of(compared or ()),
        )

    def _varied(self, name: str) -> dict[Any, BuildRun]:
        """Runs that differ in this value alone, those that could be built."""
        attempts = self._attempts(name).items()
        runs = {value: attempt.run for value, attempt in attempts if attempt.run is not None}
        return {value: run for value, run in runs.items() if name in run.used}

    def _attempts(self, name: str) -> dict[Any, _Attempt]:
        """Runs that differ in this value alone."""
        base = self._usage.base(name) if self._usage.knows(name) else {}
        keys = {v: self._key({**base, name: v}) for v in _points(self._found[name])}
        return {v: self._runs[key] for v, key in keys.items() if key in self._runs}

    def _compared(self, name: str) -> list[BuildRun] | None:
        """Runs that differ in this hyperparameter alone, and in something else if they can.

        What changes nothing beside the defaults of all others may do so beside other values. None
        if there was no time to find out, or if a value cannot be built: that shapes the network.
        """
        varied = self._varied(name)
        if any(attempt.run is None for attempt in self._attempts(name).values()):
            return None
        alone = list(varied.values())
        if reaches_of(alone):
            return alone
        ends = list(varied)[:: max(1, len(varied) - 1)]
        for others in self._surroundings(name):
            if self._is_late():
                return None
            runs = [self._attempt({**others, name: value}) for value in ends]
            pair = [run for run in runs if run is not None and name in run.used]
            if len(pair) > 1 and reaches_of(pair):
                return pair
        return alone

    def _attempt(self, values: Mapping[str, Any]) -> BuildRun | None:
        """What a run has shown; None for a combination that cannot be, or if time is up."""
        try:
            return self._run(values).run
        except _TimeIsUp:
            return None

    def _surroundings(self, name: str) -> Iterator[dict[str, Any]]:
        """Each value of each other hyperparameter, then all of them mixed."""
        others = {n: list(self._varied(n)) for n in self._found if n != name}
        others = {n: values for n, values in others.items() if len(values) > 1}
        for other, values in others.items():
            for value in values[:MAX_VALUES]:
                yield {**self._usage.base(other), other: value, **self._usage.base(name)}
        rng = random.Random(0)
        for _ in range(MIXED_RUNS if len(others) > 1 else 0):
            mixed = {other: rng.choice(values) for other, values in others.items()}
            yield {**mixed, **self._usage.base(name)}

    def _is_complete(self, name: str) -> bool:
        """Whether every value of its domain was tried."""
        points = _points(self._found[name])
        return _is_listed(self._found[name]) and len(self._varied(name)) == len(points)

    def _note_all(self, notes: Any) -> None:
        self._notes += [note for note in notes if note not in self._notes][: 10 - len(self._notes)]


def _as_input_error(error: Exception) -> InputError:
    if isinstance(error, InputError):
        return error
    what = "build raised an error with its default values"
    return InputError(Problem(what, "model.family", raised(error)))


def _other_values(asked: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """The ends of what the first run asked for, one by one, then drawn values of all."""
    for hp in asked[0].space:
        points = _points(hp)
        yield from ({hp.name: value} for value in (points[0], points[-1]))
    rng = random.Random(0)
    while any(len(_points(hp)) > 1 for hp in asked[0].space):
        space = {hp.name: hp for each in asked for hp in each.space}
        yield {name: rng.choice(_points(hp)) for name, hp in space.items()}


def _kind(hp: Any) -> type:
    """Of its values; the default of floats may be written as an integer."""
    if type(hp).__name__ == "Choice":
        return type(hp.values[0])
    return _TYPES.get(type(hp).__name__) or type(hp.default)


def _points(hp: Any) -> list[Any]:
    """All values of a domain, or the ends of one that has too many of them."""
    node = _domain(hp)
    if not isinstance(node, dict):
        return [node]
    if "choice" in node:
        return list(node["choice"])
    low, high = node["min"], node["max"]
    return list(range(low, high + 1)) if _is_listed(hp) else [low, high]


def _is_listed(hp: Any) -> bool:
    """Whether others may depend on each single value."""
    node = _domain(hp)
    if not isinstance(node, dict) or "choice" in node:
        return True
    low, high = node["min"], node["max"]
    return isinstance(low, int) and high - low < MAX_POINTS


def _domain(hp: Any) -> Any:
    """The domain as an experiment writes it."""
    kind = type(hp).__name__
    if kind == "Fixed":
        return hp.value
    if kind == "Boolean":
        return {"choice": [False, True]}
    if kind == "Choice":
        return _choice(list(dict.fromkeys(hp.values)))
    return _range(hp)


def _range(hp: Any) -> Any:
    whole = type(hp).__name__ == "Int"
    if hp.min_value == hp.max_value:
        return hp.min_value if whole else float(hp.min_value)
    if hp.step is not None and not (whole and hp.step == 1 and hp.sampling == "linear"):
        values = list(hp.values) if hp._get_n_values() <= MAX_LISTED else []
        if values:
            return _choice([int(v) for v in values] if whole else _stepped(hp, len(values)))
    kind = int if whole else float
    node = {"min": kind(hp.min_value), "max": kind(hp.max_value)}
    # What keras-tuner calls reverse_log, a logarithm of max + min - x, no scale of ours is.
    return node | {"scale": "log"} if hp.sampling == "log" else node


def _stepped(hp: Any, count: int) -> list[float]:
    """Exact points: 0.1 + 0.1 + 0.1 is 0.3, and a maximum that is on the grid is among them."""
    from fractions import Fraction

    if hp.sampling != "linear":
        return [float(v) for v in hp.values]
    low, high, step = (Fraction(str(v)) for v in (hp.min_value, hp.max_value, hp.step))
    return [float(low + n * step) for n in range(int((high - low) / step) + 1)]


def _choice(values: list[Any]) -> Any:
    return {"choice": values} if len(values) > 1 else values[0]


def _check_name(name: str) -> None:
    """Any name will do that can stand in an experiment."""
    plain = name.replace(".", "_").lstrip("_")
    if name == plain and name not in _TAKEN:
        return
    what = f"a hyperparameter cannot be named {name!r} here"
    expected = "a name without dots, which part sections" if "." in name else "a name"
    if name.startswith("_"):
        expected = "a name that does not begin with _"
    if name in _TAKEN:
        expected, plain = _TAKEN[name], f"network_{name}"
    raise InputError(Problem(what, "model.family", name, expected, mend=plain))


def _ambiguous(name: str) -> Problem:
    what = f"build declares {name!r} twice with different domains"
    return Problem(what, "model.family", received=name, mend="give them different names")
