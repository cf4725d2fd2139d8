"""Which trials of a ledger are of an experiment as it stands: an edit supersedes others.

A run works it out once and writes it into the ledger (`mark_current`), where everybody reads it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import tuner
from tuner.experiment.experiment import Experiment
from tuner.experiment.trial import OUTCOME_VERSION, Trial, TrialState, canonical
from tuner.ledger.ledger import Ledger
from tuner.ledger.reader import LedgerReader
from tuner.ledger.records import TrialRow
from tuner.models import family_of
from tuner.search import Search, make_method

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
    return Search(experiment).total_trials


def all_trials(experiment: Experiment, fingerprint: str) -> Iterator[Trial]:
    """Every trial of the experiment in the order of the search; of one that learns, none."""
    return Search(experiment, fingerprint).trials()


def count_planned(
    experiment: Experiment, fingerprint: str, ledger: LedgerReader
) -> dict[TrialState, int]:
    """The experiment's trials in the ledger by state; nothing is written.

    Of the plan that a run has marked the ledger knows them; of an edit that was not run yet they
    are worked out.
    """
    if ledger.plan == plan_key(experiment, fingerprint):
        return ledger.counts()
    rows = ledger.rows(all_versions=True)
    states = {row.number: row.state for row in rows}
    planned = planned_among(experiment, fingerprint, candidates_of(rows))
    return dict.fromkeys(TrialState, 0) | Counter(states[c.number] for c in planned)


def mark_current(experiment: Experiment, fingerprint: str, ledger: Ledger) -> None:
    """Which trials of the ledger are of the experiment as it stands: said once, when a run begins.

    What the run adds from then on is its own. Where nothing was edited since, nothing is looked at.
    """
    key = plan_key(experiment, fingerprint)
    if ledger.plan != key:
        candidates = candidates_of(ledger.rows(all_versions=True))
        planned = planned_among(experiment, fingerprint, candidates)
        ledger.mark_current(key, [candidate.number for candidate in planned])


def plan_key(experiment: Experiment, fingerprint: str) -> str:
    """A hash of all that decides which trials a search proposes; the same in every process."""
    families = sorted({branch.model["family"] for branch in experiment.space.branches})
    content: dict[str, Any] = {
        "version": (OUTCOME_VERSION, tuner.__version__),
        "experiment": experiment.document,
        "data": fingerprint,
        "code": [family_of(name).fingerprint for name in families],
    }
    if experiment.search.method == "sobol":  # its points depend on how scipy scrambles them
        content["scipy"] = metadata.version("scipy")
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


def _is_in_grid(experiment: Experiment, found: Candidate, fingerprint: str, limit: int) -> bool:
    index = experiment.space.index(found.configuration)
    if index is None or index >= limit:
        return False
    return trial_of(experiment, found, fingerprint) is not None
