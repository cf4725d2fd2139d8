"""Which trials of a ledger belong to an experiment as it stands now: an edit leaves others behind.

That is asked whenever a run is begun, continued, planned or counted, also of a hundred thousand
trials. A run therefore settles it once (`settle_plan`); what it adds from then on is its own.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import tuner
from tuner.experiment.experiment import Experiment
from tuner.experiment.trial import OUTCOME_VERSION, Trial, TrialState, canonical
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import KnownTrial, TrialRow
from tuner.models import family_of
from tuner.search import make_method

# Up to so many trials are looked at one by one where a shortcut would not be exact.
FEW = 20_000


@dataclass(frozen=True)
class Candidate:
    """A trial that may belong to an experiment: all that tells it."""

    number: int
    key: str
    configuration: Mapping[str, Any]
    seed: int


def total_trials(experiment: Experiment) -> int | None:
    """Configurations that the search will propose times replicates; None: it cannot know."""
    configurations = make_method(experiment).total
    return None if configurations is None else configurations * experiment.search.replicates


def all_trials(experiment: Experiment, fingerprint: str) -> Iterator[Trial]:
    """Every trial of the experiment in the order of the search; of one that learns, none."""
    method = make_method(experiment)
    if method.is_adaptive:
        return
    while (proposal := method.ask()) is not None:
        for replicate in range(experiment.search.replicates):
            yield experiment.trial(proposal.configuration, replicate, fingerprint)


def count_planned(
    experiment: Experiment, fingerprint: str, ledger: Ledger
) -> dict[TrialState, int]:
    """The experiment's trials in the ledger by state, without those that an edit has left behind.

    Under the plan that a run has settled nothing is looked at but those that were left behind.
    """
    strangers = ledger.strangers(plan_key(experiment, fingerprint))
    if strangers is None:
        return _counted(experiment, fingerprint, ledger, ledger.by_key())
    return _counts_without(ledger, strangers)


def settle_plan(experiment: Experiment, fingerprint: str, ledger: Ledger) -> dict[TrialState, int]:
    """What `count_planned` gives, and from now on it does so at once: for the ledger's writer."""
    key = plan_key(experiment, fingerprint)
    strangers = ledger.strangers(key)
    if strangers is None:
        known = ledger.by_key()
        planned = set(_planned_numbers(experiment, fingerprint, ledger, known))
        strangers = frozenset(trial.number for trial in known.values()) - planned
        ledger.settle_plan(key, strangers)
    return _counts_without(ledger, strangers)


def plan_key(experiment: Experiment, fingerprint: str) -> str:
    """A hash of all that decides which trials a search proposes; the same in every process."""
    families = sorted({branch.model["family"] for branch in experiment.space.branches})
    content = {
        "version": (OUTCOME_VERSION, tuner.__version__),
        "experiment": experiment.document,
        "data": fingerprint,
        "code": [family_of(name).fingerprint for name in families],
    }
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def planned_among(
    experiment: Experiment, fingerprint: str, candidates: Mapping[str, Candidate]
) -> list[Candidate]:
    """Those, by key, that the experiment would propose; of a search that learns, that it could.

    A grid is asked where each candidate lies in it; other plans are listed.
    """
    if not candidates:
        return []
    method = make_method(experiment)
    if method.is_adaptive:
        return [c for c in candidates.values() if trial_of(experiment, c, fingerprint)]
    total = total_trials(experiment) or 0
    if experiment.search.method not in ("grid", "list") or total <= max(FEW, 2 * len(candidates)):
        keys = (trial.key for trial in all_trials(experiment, fingerprint))
        return [candidates[key] for key in keys if key in candidates]
    limit = total // experiment.search.replicates
    return [c for c in candidates.values() if _is_in_grid(experiment, c, fingerprint, limit)]


def trial_of(experiment: Experiment, found: Candidate | TrialRow, fingerprint: str) -> Trial | None:
    """The experiment's trial that a row of a ledger is, whatever search would propose it."""
    replicate = found.seed - experiment.search.seed
    if not 0 <= replicate < experiment.search.replicates:
        return None
    configuration = experiment.space.find(found.configuration)
    if configuration is None:
        return None
    trial = experiment.trial(configuration, replicate, fingerprint)
    return trial if trial.key == found.key else None


def candidates_of(rows: Iterable[TrialRow]) -> dict[str, Candidate]:
    """The rows of a ledger as candidates, by key."""
    return {r.key: Candidate(r.number, r.key, r.configuration, r.seed) for r in rows}


def _counts_without(ledger: Ledger, strangers: frozenset[int]) -> dict[TrialState, int]:
    counts = ledger.counts()
    if strangers:
        left_behind = Counter(t.state for t in ledger.by_key().values() if t.number in strangers)
        counts = {state: count - left_behind[state] for state, count in counts.items()}
    return counts


def _counted(
    experiment: Experiment, fingerprint: str, ledger: Ledger, known: Mapping[str, KnownTrial]
) -> dict[TrialState, int]:
    states = {trial.number: trial.state for trial in known.values()}
    planned = _planned_numbers(experiment, fingerprint, ledger, known)
    return dict.fromkeys(TrialState, 0) | Counter(states[number] for number in planned)


def _planned_numbers(
    experiment: Experiment, fingerprint: str, ledger: Ledger, known: Mapping[str, KnownTrial]
) -> list[int]:
    """Numbers of the known trials that the experiment plans."""
    if not known:
        return []
    candidates = candidates_of(ledger.rows())
    return [c.number for c in planned_among(experiment, fingerprint, candidates)]


def _is_in_grid(experiment: Experiment, found: Candidate, fingerprint: str, limit: int) -> bool:
    index = experiment.space.index(found.configuration)
    if index is None or index >= limit:
        return False
    return trial_of(experiment, found, fingerprint) is not None
