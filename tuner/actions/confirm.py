"""The leaders of a search trained again: which ones, by which experiment, and what it found."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tuner.execution.confirm import Leader, confirming, leaders, test_scores
from tuner.experiment.experiment import Experiment, load_experiment
from tuner.ledger.folder import RunFolder, write_atomically
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import RANKED_STATES
from tuner.report.confirmation import Confirmation, SearchedLeader, confirmation
from tuner.report.page.confirmed import CONFIRMED
from tuner.report.render import finite


@dataclass(frozen=True)
class PlannedConfirmation:
    """A search, those of its configurations that lead, and the experiment that confirms them.

    `num_trials` is how many the search has ranked.
    """

    searched: Experiment
    leaders: tuple[Leader, ...]
    experiment: Experiment
    num_trials: int


def plan_confirmation(
    folder: RunFolder, *, top: int, seeds: int, epochs: int | None, train_images: int | None
) -> PlannedConfirmation:
    """What confirms the `top` leaders of a search under so many fresh seeds.

    Raises:
        InputError: there is no leader.
    """
    searched = load_experiment(folder.experiment_file())
    with Ledger.open_read_only(folder.ledger) as ledger:
        chosen = leaders(searched, ledger, top, epochs)
        num_trials = sum(ledger.counts()[state] for state in RANKED_STATES)
    experiment = confirming(searched, chosen, seeds=seeds, epochs=epochs, train_images=train_images)
    return PlannedConfirmation(searched, tuple(chosen), experiment, num_trials)


def read_confirmation(planned: PlannedConfirmation, folder: RunFolder) -> Confirmation:
    """What the trials of the confirming experiment have found, as far as they have ended."""
    searched, experiment = planned.searched, planned.experiment
    with Ledger.open_read_only(RunFolder(folder.path, experiment.name).ledger) as ledger:
        test = test_scores(experiment, ledger)
    return confirmation(
        searched.name,
        [SearchedLeader(c.configuration.values, c.mean, len(c.scores)) for c in planned.leaders],
        test,
        seeds=experiment.search.replicates,
        metric=experiment.objective.metric,
        objective=searched.objective,
        trials=planned.num_trials,
    )


def keep_confirmation(document: dict[str, Any], folder: RunFolder) -> str:
    """Write what the search's page shows of it; what went wrong, which must hide nothing."""
    path = folder.path / CONFIRMED
    try:
        write_atomically(path, json.dumps(finite(document), indent=2) + "\n")
    except OSError as error:
        return f"{path} could not be written: {error.strerror or error}"
    return ""
