"""An experiment's recorded curves, and stopping rules over them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from pydantic import BaseModel

from tuner.errors import InputError, Problem
from tuner.experiment.document import dotted
from tuner.experiment.experiment import unreachable
from tuner.experiment.schema import SearchConfig
from tuner.experiment.validation import validate
from tuner.experiment.yaml import read_yaml
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import EpochRow
from tuner.report.replay import ReplayedRule, Replays, replays_of, whole_curves


def replay_rules(
    folder: RunFolder, rules: Sequence[ReplayedRule], *, workers: int = 1, seed: int = 0
) -> Replays:
    """What these rules would have done to the trials of an experiment.

    Raises:
        InputError: there is no ledger, or too few whole curves in it; or a rule that a run refuses.
    """
    epochs: dict[int, list[EpochRow]] = defaultdict(list)
    with Ledger.open_read_only(folder.ledger) as ledger:
        objective, rows = ledger.objective, ledger.rows()
        found = [unreachable(stop, objective.metric) for rule in rules for stop in rule.stops]
        if problems := [replace(problem, where="--stop") for problem in found if problem]:
            raise InputError(problems)
        for epoch in ledger.epochs():
            epochs[epoch.number].append(epoch)
    curves, left_out = whole_curves(rows, dict(epochs), objective)
    return replays_of(
        folder.name, curves, rules, objective, left_out=left_out, workers=workers, seed=seed
    )


def read_rule(text: str) -> ReplayedRule:
    """The rule that `search.stop` would have as this text; several in a list are asked together.

    Raises:
        InputError: everything that is wrong with it.
    """
    where = "--stop"
    node = read_yaml(text, where).value
    checked = validate(SearchConfig, {"stop": node})
    if isinstance(checked, SearchConfig) and checked.stops:
        return ReplayedRule(checked.stops)
    if isinstance(checked, BaseModel):
        raise InputError(Problem("says no rule", where, text, "{rule: asha, min_epochs: 4}"))
    problems = []
    for fault in checked:
        name, problem = dotted(fault.path), fault.problem
        what = f"{name.removeprefix('stop').lstrip('.') or text}: {problem.what}"
        problems.append(Problem(what, where, problem.received, problem.expected, problem.mend))
    raise InputError(problems)
