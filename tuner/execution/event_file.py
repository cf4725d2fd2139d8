"""One event file of TensorBoard, written with its own protocol buffers and without TensorFlow.

The format: records of length, masked CRC, data, masked CRC; the data is an `Event`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_FLOAT
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
from tensorboard.plugins.hparams.metadata import (
    PLUGIN_NAME,
    SESSION_END_INFO_TAG,
    SESSION_START_INFO_TAG,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)
from tensorboard.summary.writer.record_writer import RecordWriter


class EventFile:
    """A trial's file in a folder of its own, begun anew: what lay there of the trial before goes.

    Times are in seconds since 1970. Everything is on its way to the disk after `flush`.
    """

    def __init__(self, folder: Path, at: float) -> None:
        self.last_step = 0
        folder.mkdir(parents=True, exist_ok=True)
        old = list(folder.glob("*tfevents*"))
        # TensorBoard goes on with the next name in order, which must not be one of the old.
        name = f"events.out.tfevents.{at:017.6f}.{len(old)}.tuner"
        for path in old:
            path.unlink()
        self._records = RecordWriter((folder / name).open("wb"))
        self._write(Event(wall_time=at, file_version="brain.Event:2"))
        # One that has read the old file forgets what it had read.
        restart = SessionLog(status=SessionLog.START)
        self._write(Event(wall_time=at, step=0, session_log=restart))

    def begin(self, values: Mapping[str, Any], group: str, at: float) -> None:
        """The hyperparameters; trials of one `group` differ in their seed alone."""
        info = SessionStartInfo(group_name=group, start_time_secs=at)
        for name, value in values.items():
            field = info.hparams[name]
            if isinstance(value, bool):
                field.bool_value = value
            elif isinstance(value, int | float):
                field.number_value = value
            else:
                field.string_value = value if isinstance(value, str) else json.dumps(value)
        self._hparams(SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=info), at)

    def scalars(self, values: Mapping[str, float], step: int, at: float) -> None:
        """Metrics of an epoch."""
        self.last_step = max(self.last_step, step)
        found = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._write(Event(wall_time=at, step=step, summary=Summary(value=found)))

    def end(self, *, good: bool, at: float) -> None:
        """How the trial ended."""
        info = SessionEndInfo(status=STATUS_SUCCESS if good else STATUS_FAILURE, end_time_secs=at)
        self._hparams(SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=info), at)

    def flush(self) -> None:
        """Lets TensorBoard see it."""
        self._records.flush()

    def close(self) -> None:
        """Nothing more comes."""
        self._records.close()

    def _hparams(self, tag: str, data: HParamsPluginData, at: float) -> None:
        plugin = SummaryMetadata.PluginData(
            plugin_name=PLUGIN_NAME, content=data.SerializeToString()
        )
        nothing = TensorProto(dtype=DT_FLOAT)
        nothing.tensor_shape.dim.add(size=0)
        value = Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin), tensor=nothing)
        self._write(Event(wall_time=at, summary=Summary(value=[value])))

    def _write(self, event: Event) -> None:
        self._records.write(event.SerializeToString())
