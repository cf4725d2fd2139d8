"""Finished trials of other experiments, taken over where they are this experiment's, too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from tuner.execution.membership import Candidate, candidates_of, planned_among, trial_of
from tuner.experiment.experiment import Experiment
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import EpochRow, NewTrial, Outcome, TrialRow
from tuner.ledger.scores import best_of

# A stopped trial was stopped by a rule of the other experiment, and a failed one may fail no more.
_TAKEN = (TrialState.COMPLETED, TrialState.DIVERGED)


@dataclass(frozen=True)
class Found:
    """A trial of another experiment that is one of this experiment's."""

    row: TrialRow
    epochs: tuple[EpochRow, ...]


def reusable(
    experiment: Experiment, fingerprint: str, known: Mapping[str, object], other: RunFolder
) -> list[Found]:
    """Completed and diverged trials of `other` that the experiment would run and has not.

    Equal keys mean equal outcomes: configuration, data, precision, seed and code are in them. Of a
    search that learns, every trial in its space is taken, as knowledge.

    Raises:
        InputError: the other ledger is missing or damaged.
    """
    with Ledger.open_read_only(other.ledger) as ledger:
        rows = {
            row.number: row
            for row in ledger.rows(_TAKEN, all_versions=True)
            if row.key not in known
        }
        candidates = candidates_of(rows.values())
        planned = planned_among(experiment, fingerprint, candidates)
        curves = defaultdict(list)
        for epoch in ledger.epochs(all_versions=True) if planned else ():
            curves[epoch.number].append(epoch)
    return [Found(rows[c.number], tuple(curves[c.number])) for c in planned]


def take_over(experiment: Experiment, fingerprint: str, ledger: Ledger, other: RunFolder) -> int:
    """Copies them into the ledger, with their curves, in one commit; returns how many.

    The score is computed again under this experiment's objective. Checkpoints stay where they are.
    """
    found = reusable(experiment, fingerprint, ledger.by_key(all_versions=True), other)
    copies = [
        (new, one.epochs, _outcome(experiment, one))
        for one in found
        if (new := _new_trial(experiment, fingerprint, one.row)) is not None
    ]
    if copies:
        ledger.take_over(copies, str(other.path))
    return len(copies)


def _new_trial(experiment: Experiment, fingerprint: str, row: TrialRow) -> NewTrial | None:
    candidate = Candidate(row.number, row.key, row.configuration, row.seed)
    trial = trial_of(experiment, candidate, fingerprint)
    if trial is None:
        return None
    return NewTrial(
        key=trial.key,
        configuration=trial.configuration.flat(),
        values=trial.configuration.values,
        replicate=trial.replicate,
        seed=trial.seed,
        structure=trial.structure.key,
        parameters=row.parameters,
        macs=row.macs,
        context=trial.context,
    )


def _outcome(experiment: Experiment, found: Found) -> Outcome:
    objective, row = experiment.objective, found.row
    epoch, score = best_of(found.epochs, objective)
    return Outcome(
        state=row.state,
        score=score if row.state is TrialState.COMPLETED else None,
        best_epoch=epoch,
        metrics=row.metrics,
        train_seconds=row.train_seconds,
        compile_seconds=row.compile_seconds,
        reason=row.reason,
    )
