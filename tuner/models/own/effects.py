"""What the runs of a person's `build` and `fit` have shown, put together.

Which hyperparameter changes what is seen by comparing runs that differ in it alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tuner.errors import InputError, Problem
from tuner.models.own.build import Built, digest_of
from tuner.models.own.compile import CompileArguments, read_compiled
from tuner.models.own.family import NETWORK, OPTIMIZER, Handed, Refusal
from tuner.models.own.fit import TRAINING, FitArguments

SMOOTHING = "label_smoothing"

Refused = tuple[Problem, str | None]
"""What cannot be had, and the name of `training:` that takes its place if it is written."""


@dataclass(frozen=True)
class BuildRun:
    """What one run of `build`, and of `fit` after it, has shown.

    `digest` is that of the network, None for an unknown one, and `network` has all else that it
    hangs on; `handed` are values of `training:`.
    """

    used: frozenset[str]
    values: Mapping[str, Any]
    digest: str | None
    network: tuple[Any, ...]
    is_compiled: bool
    compiled: CompileArguments | None
    handed: Mapping[str, Any]
    refused: tuple[Refused, ...]
    notes: tuple[str, ...]

    @property
    def structure(self) -> tuple[Any, ...]:
        """What shapes the compiled program."""
        compiled = self.compiled
        return self.digest, compiled and (compiled.optimizer, compiled.from_logits)

    @property
    def optimizer(self) -> Any:
        """All that `compile()` says of the optimizer."""
        return self.compiled and (self.compiled.optimizer, dict(self.compiled.values))


def read_run(built: Built, values: Mapping[str, Any], fit: FitArguments | None) -> BuildRun:
    """What a run has shown; `values` are those that were asked for, and those that it took."""
    refused = list(fit.refused) if fit else []
    compiled, handed = None, dict(fit.values) if fit else {}
    try:
        compiled = read_compiled(built.model)
    except InputError as error:
        refused += [(problem, None) for problem in error.problems]
    notes = list(fit.notes) if fit else []
    if compiled is not None:
        refused += [(problem, OPTIMIZER) for problem in compiled.refused]
        notes += compiled.notes
        handed[SMOOTHING] = compiled.label_smoothing
    return BuildRun(
        used=built.used,
        values=dict(values),
        digest=(digest := digest_of(built.model)),
        network=(digest, built.rates, compiled and compiled.from_logits),
        is_compiled=bool(getattr(built.model, "compiled", False)),
        compiled=compiled,
        handed=handed,
        refused=tuple(refused),
        notes=tuple(notes),
    )


# ---------------------------------------------------------------------- which changes what


def reaches_of(runs: Sequence[BuildRun]) -> tuple[str, ...]:
    """What differs between runs that differ in one hyperparameter alone."""
    reached = [NETWORK] if _may_differ(runs) or _differ(run.network for run in runs) else []
    if _differ(run.optimizer for run in runs):
        reached.append(OPTIMIZER)
    reached += [n for n in (*TRAINING, SMOOTHING) if _differ(run.handed.get(n) for run in runs)]
    for refused in _all_refused(runs):
        if _differ(_is_met(refused, run) for run in runs):
            reached.append(refused[1] or NETWORK)
    return tuple(dict.fromkeys(reached))


def is_structural(runs: Sequence[BuildRun]) -> bool:
    """Whether runs that differ in one hyperparameter need several compiled programs."""
    return _may_differ(runs) or _differ(run.structure for run in runs)


def _may_differ(runs: Sequence[BuildRun]) -> bool:
    """Whether there is nothing to compare, or networks that cannot be."""
    return len(runs) < 2 or any(run.digest is None for run in runs)


def _differ(values: Iterable[Any]) -> bool:
    return len({repr(value) for value in values}) > 1


def _all_refused(runs: Iterable[BuildRun]) -> list[Refused]:
    """One of each kind, with all that was received."""
    kinds: dict[tuple[str, str | None], list[Problem]] = {}
    for run in runs:
        for problem, unless in run.refused:
            kinds.setdefault((problem.what, unless), []).append(problem)
    return [
        (replace(problems[0], received=", ".join(dict.fromkeys(p.received for p in problems))), u)
        for (_, u), problems in kinds.items()
    ]


def _is_met(refused: Refused, run: BuildRun) -> bool:
    problem, unless = refused
    return any(p.what == problem.what and u == unless for p, u in run.refused)


# ---------------------------------------------------------------------- what cannot be had

Runs = Mapping[str, Mapping[Any, BuildRun]]
"""By hyperparameter and its value, the runs that differ in it alone."""

Attempt = Callable[[Mapping[str, Any]], BuildRun | None]
"""A run with these values, and the defaults of others; None where that cannot be built."""


def refusals_of(runs: Sequence[BuildRun], varied: Runs, attempt: Attempt) -> list[Refusal]:
    """What cannot be had and where; the first of the runs has all defaults."""
    check = _compile_check(runs)
    runs = [check(run) for run in runs]
    causes = _Causes(runs[0], varied, lambda values: (run := attempt(values)) and check(run))
    refusals: list[Refusal] = []
    for refused in _all_refused(runs):
        known: list[Refusal] = []
        for run in (run for run in runs if _is_met(refused, run)):
            if not any(causes.explains(refusal, run) for refusal in known):
                known.append(causes.refusal(refused, run))
        refusals += known
    return refusals


class _Causes:
    """Which values bring what cannot be had, by exchanging them one by one."""

    def __init__(self, first: BuildRun, varied: Runs, attempt: Attempt) -> None:
        self._first = first
        self._varied = varied
        self._attempt = attempt

    def explains(self, refusal: Refusal, run: BuildRun) -> bool:
        """Whether the refusal says that it is met in this run."""
        values = {**self._first.values, **run.values}
        return all(values.get(name) not in fine for name, fine in refusal.conditions)

    def refusal(self, refused: Refused, run: BuildRun) -> Refusal:
        """With the values that bring it, and those that do not, in words.

        Where it is met with all defaults, every other value that cures it is a condition.
        """
        needed = self._needed(refused, run)
        names = needed or [name for name, runs in self._varied.items() if len(runs) > 1]
        fine = {name: self._fine(refused, needed, name) for name in names}
        conditions = tuple((name, values) for name, values in fine.items() if values)
        problem, unless = refused
        if not conditions:
            return Refusal(problem, unless)
        name, values = conditions[0]
        bad = [value for value in self._varied[name] if value not in values]
        causes = " or ".join(f"{name}={value!r}" for value in bad[:3])
        others = "".join(f" and {n}={v!r}" for n, v in needed.items() if n != name)
        mend = f"model: {{{name}: {_node(values)}}} in the file; {problem.mend}"
        problem = replace(problem, what=f"with {causes}{others}, {problem.what}", mend=mend)
        return Refusal(problem, unless, conditions)

    def _needed(self, refused: Refused, run: BuildRun) -> dict[str, Any]:
        """Those values of the run without which, at their defaults, it is not met."""
        needed = {name: value for name, value in run.values.items() if name in self._varied}
        for name in list(needed):
            without = {n: v for n, v in needed.items() if n != name}
            other = self._attempt(without)
            if other is not None and _is_met(refused, other):
                needed = without
        return needed

    def _fine(self, refused: Refused, needed: Mapping[str, Any], name: str) -> tuple[Any, ...]:
        """Values of one name that do not bring it beside the others that do; none if all do."""
        tried = {value: self._attempt({**needed, name: value}) for value in self._varied[name]}
        return tuple(
            value
            for value, run in tried.items()
            if run is not None and name in run.used and not _is_met(refused, run)
        )


def _node(values: tuple[Any, ...]) -> str:
    """As the file writes it."""
    texts = [json.dumps(value).replace('"', "") for value in values]
    return f"{{choice: [{', '.join(texts)}]}}" if len(texts) > 1 else texts[0]


def _compile_check(runs: Sequence[BuildRun]) -> Callable[[BuildRun], BuildRun]:
    """What refuses a run without an optimizer where others have one."""
    return _checked if any(run.is_compiled for run in runs) else lambda run: run


def _checked(run: BuildRun) -> BuildRun:
    if run.is_compiled:
        return run
    what = "the model is not compiled, where with other values it is"
    problem = Problem(what, "model.family", mend="compile() in every case, or training.optimizer")
    return replace(run, refused=(*run.refused, (problem, OPTIMIZER)))


# ---------------------------------------------------------------------- what fit() gives


def handed_of(
    runs: Sequence[BuildRun], varied: Runs, is_complete: Callable[[str], bool]
) -> tuple[list[Handed], list[Refused]]:
    """How each value of `training:` comes about, and those that no rule here explains.

    `is_complete` says whether every value of a hyperparameter was tried.
    """
    handed: list[Handed] = []
    refused: list[Refused] = []
    for name in (*TRAINING, SMOOTHING):
        given = [run.handed[name] for run in runs if name in run.handed]
        if not given or (name == SMOOTHING and not any(given)):
            continue
        rules = list(_rules(name, varied, runs))
        explained = all(_given(rules, run) == run.handed.get(name) for run in runs)
        if explained and all(_is_closed(rule, varied, is_complete) for rule in rules):
            handed += rules
        else:
            refused.append((_unexplained(name, runs), name))
    return handed, refused


def _rules(name: str, varied: Runs, runs: Sequence[BuildRun]) -> Iterator[Handed]:
    """The innermost hyperparameter on which the value depends first; at last, the constant."""
    deciding = []
    for by, by_value in reversed(list(varied.items())):
        if _differ(run.handed.get(name) for run in by_value.values()):
            deciding.append(by)
            table = tuple((value, run.handed.get(name)) for value, run in by_value.items())
            yield Handed(name, by, table)
    others = [run for run in runs if not run.used.intersection(deciding)]
    if others:
        yield Handed(name, None, ((None, others[0].handed.get(name)),))


def _is_closed(rule: Handed, varied: Runs, is_complete: Callable[[str], bool]) -> bool:
    """Whether it holds for values that were not tried: if the hyperparameter is nothing else."""
    if rule.by is None or is_complete(rule.by):
        return True
    return rule.is_identity and reaches_of(list(varied[rule.by].values())) == (rule.name,)


def _given(rules: Sequence[Handed], run: BuildRun) -> Any:
    for rule in rules:
        if rule.by is None:
            return rule.table[0][1]
        if rule.by in run.used:
            value = run.values[rule.by]
            return value if rule.is_identity else dict(rule.table).get(value)
    return None


def _unexplained(name: str, runs: Sequence[BuildRun]) -> Problem:
    source = "compile()" if name == SMOOTHING else "HyperModel.fit"
    given = list(dict.fromkeys(str(run.handed.get(name)) for run in runs))
    return Problem(
        f"{source}: {name} depends on hyperparameters in a way that is not supported",
        "model.family",
        received=", ".join(given[:5]),
        expected=f"a constant, or one hyperparameter of few values: {name}=hp.Choice(...)",
        mend=f"training.{name} in the file",
    )
