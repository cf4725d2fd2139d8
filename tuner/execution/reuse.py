"""Finished trials of other experiments, taken over where they are this experiment's, too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from tuner.execution.current import planned_among
from tuner.execution.recorder import new_trial
from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import EpochRow, Outcome, TrialRow, best_of
from tuner.search import Search

# A stopped trial was stopped by a rule of the other experiment, and a failed one may fail no more.
_TAKEN = (TrialState.COMPLETED, TrialState.DIVERGED)


def take_over(search: Search, ledger: Ledger, other: RunFolder) -> int:
    """Copies finished trials of `other` into the ledger, in one commit; returns how many.

    Completed and diverged trials of any version are taken that the experiment would run and has
    not: equal keys mean equal outcomes, since configuration, data, precision, seed and code are in
    them. Of a search that learns, every trial in its space is taken, as knowledge. The score is
    computed again under this experiment's objective. Checkpoints stay where they are.

    Raises:
        InputError: the other ledger is missing or damaged.
    """
    known = ledger.by_key(all_versions=True)
    with Ledger.open_read_only(other.ledger) as source:
        rows = source.rows(_TAKEN, all_versions=True)
        planned = planned_among(search, [row for row in rows if row.key not in known])
        curves = defaultdict(list)
        for epoch in source.epochs(all_versions=True) if planned else ():
            curves[epoch.number].append(epoch)
    copies = []
    for row, trial in planned:
        epochs = curves[row.number]
        outcome = _outcome(search.experiment.objective, row, epochs)
        copies.append((new_trial(trial, row.parameters, row.macs), epochs, outcome))
    if copies:
        ledger.take_over(copies, str(other.path))
    return len(copies)


def _outcome(objective: Objective, row: TrialRow, epochs: Sequence[EpochRow]) -> Outcome:
    epoch, score = best_of(epochs, objective)
    return Outcome(
        state=row.state,
        score=score if row.state is TrialState.COMPLETED else None,
        best_epoch=epoch,
        metrics=row.metrics,
        train_seconds=row.train_seconds,
        compile_seconds=row.compile_seconds,
        reason=row.reason,
        threads=row.threads,
    )
