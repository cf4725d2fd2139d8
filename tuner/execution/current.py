"""Which trials of a ledger are of an experiment as it stands: an edit supersedes others.

A run works it out once and writes it into the ledger (`mark_current`), where everybody reads it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from importlib import metadata
from itertools import islice
from typing import Any

from tuner.experiment.trial import OUTCOME_VERSION, Trial, TrialState, canonical
from tuner.ledger.ledger import Ledger
from tuner.ledger.reader import LedgerReader
from tuner.ledger.records import TrialRow
from tuner.models import family_of
from tuner.search import Search
from tuner.search.planned import StartedPlan
from tuner.version import __version__

# Up to so many trials are looked at one by one where a shortcut would not be exact.
FEW = 20_000

# Raise it when a search proposes other trials than before for the same experiment.
PLANS = 2


def mark_current(search: Search, ledger: Ledger) -> None:
    """Which trials of the ledger are of the experiment as it stands: said once, when a run begins.

    What the run adds from then on is its own. Where nothing was edited since, nothing is looked at.
    """
    key = plan_key(search)
    if ledger.plan != key:
        planned = planned_among(search, ledger.rows(all_versions=True))
        numbers = [row.number for row, _ in planned]
        # Equal keys mean an equal context: a trial of an older ledger, which kept none, gets it.
        contexts = {row.number: trial.context for row, trial in planned if not row.context}
        searched = {
            row.number: trial.configuration.values
            for row, trial in planned
            if row.values != trial.configuration.values
        }
        ledger.mark_current(key, numbers, contexts, searched)


def count_current(search: Search, ledger: LedgerReader) -> dict[TrialState, int]:
    """The experiment's trials in the ledger by state, also after an edit that was not run yet.

    Nothing is written.
    """
    if ledger.plan == plan_key(search):
        return ledger.counts()
    planned = planned_among(search, ledger.rows(all_versions=True))
    return dict.fromkeys(TrialState, 0) | Counter(row.state for row, _ in planned)


def count_current_epochs(search: Search, ledger: LedgerReader) -> int:
    """Epochs that the trials of `count_current` have together."""
    if ledger.plan == plan_key(search):
        return ledger.trained_epochs()
    return sum(row.epochs for row, _ in planned_among(search, ledger.rows(all_versions=True)))


def plan_key(search: Search) -> str:
    """A hash of all that decides which trials a search proposes; the same in every process."""
    experiment = search.experiment
    families = sorted({branch.model["family"] for branch in experiment.space.branches})
    content: dict[str, Any] = {
        "version": (OUTCOME_VERSION, PLANS, __version__),
        "experiment": {n: v for n, v in experiment.document.items() if n != "resources"},
        "data": (search.fingerprint, search.num_train_images),
        "code": [family_of(name).fingerprint for name in families],
    }
    if experiment.search.method == "sobol":  # its points depend on how they are scrambled
        content["packages"] = [metadata.version(name) for name in ("scipy", "numpy")]
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def planned_among(search: Search, rows: Sequence[TrialRow]) -> list[tuple[TrialRow, Trial]]:
    """Those that the search would propose, and as what; of one that learns, that it could.

    A grid is asked where each row lies in it; other plans are listed.
    """
    if not rows:
        return []
    if search.is_adaptive:
        return [(row, trial) for row in rows if (trial := trial_of(search, row))]
    total = search.total_trials or 0
    method = search.experiment.search.method
    if method not in ("grid", "list") or total <= max(FEW, 2 * len(rows)):
        by_key = {row.key: row for row in rows}
        among = ((by_key[t.key], t) for t in search.trials() if t.key in by_key)
        return list(islice(among, len(by_key)))
    limit = total // search.experiment.search.replicates
    return [(row, trial) for row in rows if (trial := _in_grid(search, row, limit))]


def trial_of(search: Search, row: TrialRow) -> Trial | None:
    """The experiment's trial that a row of a ledger is, whatever search would propose it."""
    experiment = search.experiment
    replicate = row.seed - experiment.search.seed
    if not 0 <= replicate < experiment.search.replicates:
        return None
    configuration = experiment.space.find(row.configuration)
    if configuration is None or not search.admits(configuration):
        return None
    trial = search.trial(configuration, replicate)
    return trial if trial.key == row.key else None


def _in_grid(search: Search, row: TrialRow, limit: int) -> Trial | None:
    index = search.experiment.space.index(row.configuration)
    if index is None:
        return None
    method, trial = search.method, trial_of(search, row)
    if not isinstance(method, StartedPlan):
        return trial if index < limit else None
    return trial if method.has_rank(index) else None
