"""What to do next, in sentences that name the command."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tuner.experiment.trial import TrialState
from tuner.ledger.queries import by_number, value_of
from tuner.ledger.records import TrialRow
from tuner.report import words
from tuner.report.marginals import Marginal
from tuner.report.record import RunRecord
from tuner.report.tabular.columns import is_number
from tuner.report.verdicts import Verdicts

_FEWEST_FOR_AN_EDGE = 3  # of two values, one is always at an end
_MOST_EDGES = 2


def next_steps(record: RunRecord, means: Sequence[Marginal], found: Verdicts) -> str:
    """One sentence with the steps that are worth taking; empty where there is none."""
    steps = list(_steps(record, means, found))
    return f"What next: {'; '.join(steps)}." if steps else ""


def _steps(record: RunRecord, means: Sequence[Marginal], found: Verdicts) -> Iterator[str]:
    if record.missing:
        yield f"run it again for the {words.counted(record.missing, 'missing trial')}"
    if record.counts.get(TrialState.FAILED, 0):
        yield f"{words.command_text('retry', record.name)} tries the failed ones again"
    if found.winner is None:
        return
    ranked = by_number(record.ranking.ranked)
    if not record.missing and not record.counts.get(TrialState.RUNNING, 0):
        edges = (_edge(ranked, found.winner, marginal) for marginal in means)
        yield from itertools.islice(filter(None, edges), _MOST_EDGES)
    if not found.is_settled and len(ranked) > 1:
        yield f"{words.command_text('confirm', record.name)} retrains the leaders on fresh seeds"


def _edge(ranked: Sequence[TrialRow], winner: TrialRow, marginal: Marginal) -> str:
    """Where the winner has the last value that was tried: better ones may lie beyond."""
    best = winner.value(marginal.name)
    if not is_number(best) or best == 0:  # below zero there is rarely anything
        return ""
    tried = set(filter(is_number, _different(value_of(ranked, marginal.name))))
    if len(tried) < _FEWEST_FOR_AN_EDGE or best not in (min(tried), max(tried)):
        return ""
    end, beyond = ("smallest", "below") if best == min(tried) else ("largest", "above")
    text = words.value_text(best)
    return f"{marginal.title} is best at {text}, the {end} tried: look {beyond} it"


def _different(values: Sequence[Any]) -> Iterable[Any]:
    """Each value once, where that can be told; a list has no hash."""
    try:
        return set(values)
    except TypeError:
        return values
