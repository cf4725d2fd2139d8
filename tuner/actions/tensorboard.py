"""`tuner run --tensorboard`: ended trials as TensorBoard reads them, made from the ledger.

Each trial is a run of TensorBoard's in results/NAME/tensorboard/: a scalar for each metric and
epoch, and its searched values in the HParams tab. Trials of earlier runs are there, too.

The format of a file: records of length, masked CRC, data, masked CRC; the data is an `Event`.
It is written with TensorBoard's own protocol buffers, and without TensorFlow.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tuner.errors import InputError, Problem
from tuner.experiment.trial import canonical
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import FINISHED_STATES, RANKED_STATES, EpochRow, TrialRow

try:
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.types_pb2 import DT_FLOAT
    from tensorboard.plugins.hparams import metadata as hparams
    from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
    from tensorboard.plugins.hparams.plugin_data_pb2 import (
        HParamsPluginData,
        SessionEndInfo,
        SessionStartInfo,
    )
    from tensorboard.summary.writer.record_writer import RecordWriter
except ImportError as error:
    _what, _mend = "tensorboard is not installed", "pip install 'convtuner[tensorboard]'"
    raise InputError(Problem(_what, "--tensorboard", mend=_mend)) from error

_DONE = "done"  # beside a trial's events: when the trial ended that they show


def write_tensorboard(folder: RunFolder, number: int | None = None) -> None:
    """Write what TensorBoard does not have yet: of all ended current trials, or of one.

    A trial that has ended anew, as after `tuner retry`, is written anew. Where all are written,
    what an edit has superseded goes: TensorBoard ranks whatever lies there in one table.
    """
    with Ledger.open_read_only(folder.ledger) as ledger:
        if number is None:
            _remove_superseded(folder, ledger)
        rows = ledger.rows(FINISHED_STATES) if number is None else [ledger.row(number)]
        for row in rows:
            if row is None or row.state not in FINISHED_STATES:
                continue
            place = _place(folder, row)
            done = place / _DONE
            end = f"{row.state.value} {row.finished_at}"
            if not done.is_file() or done.read_text(encoding="utf-8") != end:
                done.unlink(missing_ok=True)
                _write_trial(place, row, ledger.epochs(row.number))
                done.write_text(end, encoding="utf-8")


def _remove_superseded(folder: RunFolder, ledger: Ledger) -> None:
    for row in ledger.rows(all_versions=True) if ledger.num_superseded() else ():
        if not row.is_current and _place(folder, row).is_dir():
            shutil.rmtree(_place(folder, row))


def _place(folder: RunFolder, row: TrialRow) -> Path:
    return folder.path / "tensorboard" / f"trial-{row.number:05d}"


def _write_trial(place: Path, row: TrialRow, epochs: Sequence[EpochRow]) -> None:
    """A file with the whole trial; what lay there of it before goes.

    Times are in seconds since 1970.
    """
    now = time.time()
    began = at = _seconds(row.started_at or row.finished_at, now)
    place.mkdir(parents=True, exist_ok=True)
    old = list(place.glob("*tfevents*"))
    # TensorBoard goes on with the next name in order, which must not be one of the old.
    name = f"events.out.tfevents.{now:017.6f}.{len(old)}.tuner"
    for path in old:
        path.unlink()
    events = [
        Event(wall_time=now, file_version="brain.Event:2"),
        # A TensorBoard that has read the old file forgets what it had read.
        Event(wall_time=now, step=0, session_log=SessionLog(status=SessionLog.START)),
        _hparams_event(hparams.SESSION_START_INFO_TAG, _start(row, began), began),
    ]
    for epoch in epochs:
        at += epoch.seconds
        events.append(_scalars_event(epoch.metrics, epoch.epoch, at))
    ended = _seconds(row.finished_at, began)
    if row.score is not None:
        events.append(_scalars_event({"score": row.score}, row.best_epoch or row.epochs, ended))
    events.append(_hparams_event(hparams.SESSION_END_INFO_TAG, _end(row, ended), ended))
    with (place / name).open("wb") as file:
        records = RecordWriter(file)
        for event in events:
            records.write(event.SerializeToString())
        records.flush()


def _start(row: TrialRow, at: float) -> HParamsPluginData:
    """The searched values; replicates of a configuration are sessions of one group."""
    group = hashlib.sha256(canonical(dict(row.configuration)).encode()).hexdigest()[:16]
    info = SessionStartInfo(group_name=group, start_time_secs=at)
    for name, value in row.values.items():
        field = info.hparams[name]
        if isinstance(value, bool):
            field.bool_value = value
        elif isinstance(value, int | float):
            field.number_value = value
        else:
            field.string_value = value if isinstance(value, str) else json.dumps(value)
    return HParamsPluginData(session_start_info=info)


def _end(row: TrialRow, at: float) -> HParamsPluginData:
    status = STATUS_SUCCESS if row.state in RANKED_STATES else STATUS_FAILURE
    return HParamsPluginData(session_end_info=SessionEndInfo(status=status, end_time_secs=at))


def _hparams_event(tag: str, data: HParamsPluginData, at: float) -> Event:
    plugin = SummaryMetadata.PluginData(
        plugin_name=hparams.PLUGIN_NAME, content=data.SerializeToString()
    )
    nothing = TensorProto(dtype=DT_FLOAT)
    nothing.tensor_shape.dim.add(size=0)
    value = Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin), tensor=nothing)
    return Event(wall_time=at, summary=Summary(value=[value]))


def _scalars_event(values: dict[str, float], step: int, at: float) -> Event:
    scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
    return Event(wall_time=at, step=step, summary=Summary(value=scalars))


def _seconds(text: str | None, otherwise: float) -> float:
    return datetime.fromisoformat(text).timestamp() if text else otherwise
