"""All trials of an experiment, and all workers of a run, must see the same images.

The keys of trials hold the data set's fingerprint. Without this guard a file that was replaced
would make every finished trial look as if it had never run, and half of a search would be compared
with the other half over other images.
"""

from __future__ import annotations

from collections.abc import Mapping

from tuner.data.config import DataConfig
from tuner.data.dataset import DatasetInfo
from tuner.errors import InputError, Problem, TunerError

DataRecord = Mapping[str, str]
"""Name of each data set that an experiment has used → its fingerprint; kept by the ledger."""


def check_same_data(
    recorded: DataRecord | None, config: DataConfig, info: DatasetInfo, where: str = "data.dataset"
) -> dict[str, str]:
    """The record to keep from now on; `recorded` is None for an experiment that begins.

    An experiment that is edited to name another data set goes on with it; going back is allowed.
    Raises:
        InputError: a data set of the same name had another content before.
    """
    before = dict(recorded or {})
    known = before.setdefault(config.dataset, info.fingerprint)
    if known == info.fingerprint:
        return before
    raise InputError(
        Problem(
            f"the data set has changed since this experiment began: {config.dataset}",
            where=where,
            received=info.fingerprint,
            expected=known,
            mend="restore it, or give the experiment another name (-S name=NAME); "
            "finished trials are kept as they are",
        )
    )


def check_worker_data(
    info: DatasetInfo, first: Mapping[str, str] | None, reported: Mapping[str, str]
) -> None:
    """Refuses a worker that has read other images than were checked, or than the `first` worker.

    `first` and `reported` are the hashes of `Ready`; `first` is None for the first worker of a run.
    Raises:
        TunerError: they differ; the run must end, and nothing that it has finished is lost.
    """
    expected = {"dataset": info.fingerprint} if first is None else first
    differs = [name for name in expected if reported.get(name) != expected[name]]
    if not differs:
        return
    name = differs[0]
    raise TunerError(
        str(
            Problem(
                f"the data changed while the experiment ran: a worker has read another {name}",
                received=str(reported.get(name, "nothing")),
                expected=expected[name],
                mend="restore the data and run again: finished trials are kept. "
                "Data from a function must be the same at every call",
            )
        )
    )
