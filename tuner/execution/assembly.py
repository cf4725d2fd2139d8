"""Puts a scheduler together, and stands it where the ledger says that the search stands."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tuner.execution.messages import Listener, Ready, not_finite
from tuner.execution.past import read_past
from tuner.execution.pools import Pool
from tuner.execution.queue import TrialQueue
from tuner.execution.recorder import Recorder
from tuner.execution.scheduler import SILENCE_SECONDS, Scheduler
from tuner.experiment.trial import Trial
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import FINISHED_STATES
from tuner.ledger.table import TrialsCsv
from tuner.models import Cost
from tuner.search import Search
from tuner.search.stopping import StoppingRule, make_rule


def make_scheduler(
    search: Search,
    ledger: Ledger,
    pool: Pool,
    *,
    csv: TrialsCsv,
    checkpoints: Path,
    cost: Callable[[Trial], Cost | None],
    listener: Listener,
    on_ready: Callable[[Ready], None],
    silence_seconds: float = SILENCE_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> Scheduler:
    """A scheduler for what is missing of an experiment; settle the plan before.

    `checkpoints` is their folder; see `Recorder` and `Scheduler`.
    """
    experiment = search.experiment
    queue = TrialQueue(search, read_past(search, ledger))
    recorder = Recorder(
        ledger,
        objective=experiment.objective,
        csv=csv,
        cost=cost,
        checkpoints=checkpoints,
        listener=listener,
    )
    return Scheduler(
        queue,
        pool,
        recorder,
        on_ready=on_ready,
        rule=_restored(make_rule(experiment), ledger),
        exempt=ledger.exempt,
        silence_seconds=silence_seconds,
        clock=clock,
    )


def _restored(rule: StoppingRule | None, ledger: Ledger) -> StoppingRule | None:
    """A rule that knows every epoch of the ledger."""
    if rule is None:
        return None
    for row in ledger.epochs():
        if not not_finite(row.metrics):
            rule.note(row.number, row.epoch, row.metrics)
    for known in ledger.by_key().values():
        if known.state in FINISHED_STATES:
            rule.end(known.number)
    return rule
