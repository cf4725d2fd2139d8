"""The estimate of an experiment's time on this machine, and what is kept for the next one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tuner.data.dataset import DatasetInfo
from tuner.errors import InputError
from tuner.execution.estimate.forecast import Forecast
from tuner.execution.estimate.speeds import SpeedRecord, this_machine
from tuner.execution.estimate.stopwatch import Setting
from tuner.execution.estimate.timing import TimeEstimate, estimate, rough_text
from tuner.execution.estimate.workload import (
    Network,
    Past,
    Workload,
    network_of,
    past_of,
    workload_of,
)
from tuner.execution.membership import count_planned
from tuner.execution.messages import RunStarted
from tuner.experiment.experiment import Experiment
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import FINISHED_STATES
from tuner.models import is_own

# Structures whose cost is worked out; a person's own network is built for that.
MAX_STRUCTURES = 200
MAX_OWN_STRUCTURES = 20

EVENT = "estimate"
_PACE_FACTOR = 2.0  # trials to come may be of other structures than those that have ended


@dataclass(frozen=True)
class Here:
    """Where a run is to happen: workers, the GPUs that they share out, the environment."""

    workers: int
    num_gpus: int
    environment: Mapping[str, str]

    @property
    def sharing(self) -> int:
        """How many workers share a device."""
        return math.ceil(self.workers / max(1, self.num_gpus))


def past_in(experiment: Experiment, info: DatasetInfo, results_dir: Path) -> Past:
    """What the ledger in a results folder knows of the experiment, if there is one."""
    path = RunFolder(results_dir, experiment.name).ledger
    if not path.is_file():
        return Past()
    with Ledger.open_read_only(path) as ledger:
        outcomes = count_planned(experiment, info.fingerprint, ledger)
        return past_of(ledger, sum(outcomes[state] for state in FINISHED_STATES))


def networks_of(experiment: Experiment, work: Workload, info: DatasetInfo) -> dict[str, Network]:
    """The networks of a workload by structure; of very many, some that are spread over them."""
    own = any(is_own(branch.model["family"]) for branch in experiment.space.branches)
    chosen = _spread_out(list(work.configurations), MAX_OWN_STRUCTURES if own else MAX_STRUCTURES)
    found = {}
    for key in chosen:
        configuration, _ = work.configurations[key]
        try:
            found[key] = network_of(configuration, key, info, experiment.data)
        except InputError:
            continue  # its trials will fail at once, and say why
    return found


def estimate_time(
    experiment: Experiment,
    work: Workload,
    networks: Mapping[str, Network],
    here: Here,
) -> TimeEstimate | None:
    """How long the workload takes; None if nothing like it was measured, or nothing is left."""
    speeds = SpeedRecord.at_home(here.environment).read()
    start = speeds.start(this_machine(here.environment), experiment.backend)
    if start is None:
        return None
    return estimate(
        work,
        networks,
        Forecast(speeds.of(start, experiment.precision), here.sharing),
        workers=here.workers,
        start_seconds=start.seconds,
        is_most=experiment.search.stop is not None or experiment.search.racing,
    )


def estimate_begun(
    experiment: Experiment,
    info: DatasetInfo,
    ledger: Ledger,
    *,
    done: int,
    here: Here,
) -> TimeEstimate | None:
    """The estimate of a run that begins; the ledger keeps it."""
    speeds = SpeedRecord.at_home(here.environment).read()
    if speeds.start(this_machine(here.environment), experiment.backend) is None:
        return None  # before anything is listed for it
    work = workload_of(experiment, info.fingerprint, past_of(ledger, done))
    found = estimate_time(experiment, work, networks_of(experiment, work, info), here)
    if found is not None:
        ledger.event(EVENT, asdict(found))
    return found


def pace_estimate(past: Past, to_run: int | None, workers: int) -> TimeEstimate | None:
    """From the mean time of the ended trials, where nothing else is known."""
    if past.mean_seconds is None or not to_run:
        return None
    seconds = past.mean_seconds * to_run / workers
    return TimeEstimate(
        seconds=seconds,
        low_seconds=seconds / _PACE_FACTOR,
        high_seconds=seconds * _PACE_FACTOR,
        measured=0,
        scaled=0,
        guessed=0,
        workers=workers,
        basis="by the pace of the trials done so far",
    )


def with_estimate(begun: RunStarted, found: TimeEstimate | None) -> RunStarted:
    """Says it beside the other notes."""
    if found is None:
        return begun
    note = f"it takes {estimate_text(found)}; {found.basis}"
    return replace(begun, notes=(*begun.notes, note))


def setting_of(experiment: Experiment, info: DatasetInfo, here: Here) -> Setting:
    """What the measurements of a run have in common."""
    return Setting(
        machine=this_machine(here.environment),
        backend=experiment.backend,
        precision=experiment.precision,
        sharing=here.sharing,
        data=experiment.data,
        info=info,
    )


def estimate_text(found: TimeEstimate) -> str:
    """About how long, and between what: `about 12m (9m to 16m)`."""
    most = "at most " if found.is_most else ""
    low, high = rough_text(found.low_seconds), rough_text(found.high_seconds)
    between = "" if found.is_most or low == high else f" ({low} to {high})"
    return f"{most}about {rough_text(found.seconds)}{between}"


def _spread_out(keys: list[str], most: int) -> Iterable[str]:
    if len(keys) <= most:
        return keys
    return [keys[index * len(keys) // most] for index in range(most)]
