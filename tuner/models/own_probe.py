"""Finds out what a person's `build(hp)` leaves open, by running it (imported when it is run).

keras-tuner's hyperparameters exist only while `build` runs, and which there are may depend on
their values: through `conditional_scope`, or because Python went another way. So `build` is run
with the defaults, then with other values of each hyperparameter that turned up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tuner.errors import InputError, Problem
from tuner.models.family import FamilyConfig
from tuner.models.own import Conditions, Declaration, Declared
from tuner.models.own_build import Built, digest_of, run_uninitialized, source_of
from tuner.models.own_compile import read_compiled
from tuner.models.own_input import first_rescaling

MAX_VALUES = 32  # of one hyperparameter that are tried
MAX_SECONDS = 60.0
MAX_LISTED = 1_000  # points of a stepped range that become a choice

_KINDS = {bool: "bool", int: "int", float: "float", str: "str"}


@dataclass(frozen=True)
class _BuildRun:
    """What one run of `build` showed."""

    used: frozenset[str]
    digest: str | None
    space: tuple[Any, ...]
    rescales: str


class Probe:
    """The runs of one function; `declaration` puts together what they showed."""

    def __init__(self, build: Callable[[Any], Any]) -> None:
        self._build = build
        self._deadline = time.monotonic() + MAX_SECONDS
        self._found: dict[str, Any] = {}  # keras-tuner's object by name, parents first
        self._under: dict[str, dict[str, Any]] = {}  # the values under which it was found
        self._runs: dict[str, dict[Any, _BuildRun]] = {}  # by name and value tried
        self._notes: list[str] = []
        self._rescaling: set[str] = set()  # what the runs' networks do first

    def declaration(self) -> Declaration:
        """All hyperparameters with their domains and conditions.

        Raises:
            InputError: build cannot be run with its own defaults, or declares what cannot be had.
        """
        built = self._first()
        compiled = read_compiled(built.model)
        self._note_all(compiled.notes if compiled else ())
        queue = list(self._add(_seen(built), {}))
        while queue:
            name = queue.pop(0)
            if time.monotonic() > self._deadline:
                self._note_all(["build takes long: not all of its branches were looked into"])
                break
            queue += self._explore(name)
        path, digest = source_of(self._build)
        return Declaration(
            hyperparameters=tuple(self._declared(name) for name in self._found),
            optimizer=compiled.optimizer if compiled else None,
            path=path,
            fingerprint=digest,
            notes=tuple(self._notes),
            rescales=", ".join(sorted(self._rescaling - {""})),
        )

    def _first(self) -> Built:
        try:
            return run_uninitialized(self._build, {}, None)
        except InputError:
            raise
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            what = "build raised an error with its default values"
            raise InputError(Problem(what, "model.family", received=text)) from error

    def _explore(self, name: str) -> Iterator[str]:
        """Run with each value of this hyperparameter; gives names that turned up."""
        runs = self._runs.setdefault(name, {})
        for value in _tried(self._found[name]):
            under = {**self._under[name], name: value}
            try:
                runs[value] = seen = _seen(run_uninitialized(self._build, under, None))
            except Exception as error:  # a combination that cannot be is no obstacle
                lines = str(error).splitlines() or [""]
                note = f"build raised with {name}={value!r}: {type(error).__name__}: {lines[0]}"
                self._note_all([note])
                continue
            yield from self._add(seen, under)

    def _add(self, seen: _BuildRun, under: Mapping[str, Any]) -> Iterator[str]:
        self._rescaling.add(seen.rescales)
        for hp in seen.space:
            known = self._found.get(hp.name)
            if known is None:
                _check_name(hp.name)
                self._found[hp.name] = hp
            elif _domain(known) != _domain(hp):
                raise InputError(_ambiguous(hp.name))
            if hp.name in seen.used and hp.name not in self._under:
                self._under[hp.name] = dict(under)
                yield hp.name

    def _declared(self, name: str) -> Declared:
        hp = self._found[name]
        digests = {seen.digest for seen in self._runs.get(name, {}).values()}
        kind = _KINDS[type(hp.default)]
        return Declared(
            name=name,
            kind=kind,
            default=hp.default,
            node=_domain(hp),
            structural=None in digests or len(digests) != 1,
            conditions=self._conditions(hp),
        )

    def _conditions(self, hp: Any) -> Conditions:
        """Those of `conditional_scope`; otherwise what the runs showed."""
        if hp.conditions:
            return tuple((c.name, tuple(c.values)) for c in hp.conditions)
        conditions = []
        for parent, runs in self._runs.items():
            using = tuple(value for value, seen in runs.items() if hp.name in seen.used)
            if parent != hp.name and using and len(using) < len(runs):
                conditions.append((parent, using))
        return tuple(conditions)

    def _note_all(self, notes: Any) -> None:
        self._notes += [note for note in notes if note not in self._notes][: 10 - len(self._notes)]


def _seen(built: Built) -> _BuildRun:
    rescales = first_rescaling(built.model)
    return _BuildRun(built.used, digest_of(built.model), built.space, rescales)


def _tried(hp: Any) -> list[Any]:
    """The values that stand for the whole domain."""
    node = _domain(hp)
    if not isinstance(node, dict):
        return []
    if "choice" in node:
        return list(node["choice"])[:MAX_VALUES]
    low, high = node["min"], node["max"]
    if isinstance(low, int) and high - low < MAX_VALUES:
        return list(range(low, high + 1))
    return [low, high]


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
    return node if hp.sampling == "linear" else node | {"scale": hp.sampling}


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
    if "." in name or name.startswith("_") or hasattr(FamilyConfig, name) or name == "family":
        what = f"a hyperparameter cannot be named {name!r} here"
        raise InputError(Problem(what, "model.family", expected="a name without dots", mend=""))


def _ambiguous(name: str) -> Problem:
    what = f"build declares {name!r} twice with different domains"
    return Problem(what, "model.family", received=name, mend="give them different names")
