"""What the ledger tells a search that is continued."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from tuner.execution.membership import trial_of
from tuner.execution.messages import not_finite
from tuner.execution.queue import History, LearningCurve
from tuner.experiment.experiment import Experiment
from tuner.experiment.trial import Trial, TrialState
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import FINISHED_STATES, KnownTrial, TrialRow
from tuner.search import Search

_OPEN = (TrialState.WAITING, TrialState.RUNNING)


def read_past(search: Search, ledger: Ledger) -> History:
    """Where the search stands; call it once the ledger knows what is current (`mark_current`).

    A plan that was begun before goes on behind what it has recorded, without looking at it.
    """
    experiment, fingerprint = search.experiment, search.fingerprint
    known = ledger.by_key()
    if search.is_adaptive or experiment.search.racing:
        return _learnt(experiment, fingerprint, ledger, known)
    position = ledger.position
    if not position:
        return History(known, {})
    rows = ledger.rows(_OPEN)
    return History(known, {}, position, tuple(_trials(experiment, fingerprint, rows)))


def _trials(experiment: Experiment, fingerprint: str, rows: Iterable[TrialRow]) -> Iterable[Trial]:
    found = (trial_of(experiment, row, fingerprint) for row in rows)
    return [trial for trial in found if trial is not None]


def _learnt(
    experiment: Experiment, fingerprint: str, ledger: Ledger, known: Mapping[str, KnownTrial]
) -> History:
    """For a search that learns. What a person continues is none of its business any more."""
    courses = _courses(experiment, fingerprint, ledger)
    exempt = ledger.exempt
    continued = [key for key in courses if known[key].number in exempt]
    found = (courses[key] for key in continued)
    interrupted = tuple(trial for trial, course in found if not course.has_ended)
    for key in continued:
        trial, course = courses[key]
        courses[key] = (trial, replace(course, has_ended=True))
    return History(known, courses, interrupted=interrupted)


def _courses(
    experiment: Experiment, fingerprint: str, ledger: Ledger
) -> dict[str, tuple[Trial, LearningCurve]]:
    """The course of every trial that lies in the space, in the order of their numbers."""
    metric = experiment.objective.metric
    curves: dict[int, list[float]] = defaultdict(list)
    for epoch in ledger.epochs():
        if metric in epoch.metrics and not not_finite(epoch.metrics):
            curves[epoch.number].append(epoch.metrics[metric])
    courses = {}
    for row in ledger.rows():
        trial = trial_of(experiment, row, fingerprint)
        if trial is None:
            continue
        curve = tuple(curves[row.number])
        has_ended = row.state in FINISHED_STATES
        score = row.score if has_ended else experiment.objective.best(curve)
        courses[row.key] = (trial, LearningCurve(score, curve, has_ended))
    return courses
