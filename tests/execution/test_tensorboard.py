"""TensorBoard's own readers see what the ledger has, once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.execution.conftest import Bench, diverging, good
from tuner.errors import InputError
from tuner.execution.messages import EpochEnded, RunStarted, TrialStarted
from tuner.execution.tensorboard import TensorBoardWriter, check_tensorboard
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger

pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")


class Shown:
    """A bench whose events go to TensorBoard's files."""

    def __init__(self, folder: Path) -> None:
        self.folder = RunFolder(folder.parent, folder.name)
        self.bench = Bench(folder)

    def run(self, script=good, **options):
        writer = TensorBoardWriter(self.folder, clock=lambda: 1_800_000_000.0)
        if self.folder.ledger.exists():
            writer(RunStarted("grid", 6, 0, 6, 1, "grid", 3))
        try:
            return self.bench.run(script, listener=writer, **options)
        finally:
            assert writer.close() == ""

    def scalars(self, number: int) -> dict[str, list[tuple[int, float]]]:
        """As EventAccumulator reads a trial's folder: steps and values by tag."""
        found = self.accumulator(number)
        tags = found.Tags()["scalars"]
        return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in tags}

    def accumulator(self, number: int):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        path = self.folder.path / "tensorboard" / f"trial-{number:05d}"
        return EventAccumulator(str(path)).Reload()


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    return Shown(tmp_path)


def check_against_ledger(shown: Shown) -> None:
    with Ledger.open_read_only(shown.folder.ledger) as ledger:
        for row in ledger.rows():
            scalars = shown.scalars(row.number)
            for tag in ("val_accuracy", "loss"):
                expected = [
                    (e.epoch, pytest.approx(e.metrics[tag])) for e in ledger.epochs(row.number)
                ]
                assert scalars[tag] == expected
            if row.score is not None:
                assert scalars["score"] == [(row.best_epoch, pytest.approx(row.score))]


def test_scalars_are_the_epochs_of_the_ledger(shown: Shown) -> None:
    shown.run()
    check_against_ledger(shown)


def test_a_continued_run_has_every_epoch_once(shown: Shown) -> None:
    class PowerCut(Exception):
        pass

    epochs = 0
    writer = TensorBoardWriter(shown.folder)

    def listener(event):
        nonlocal epochs
        writer(event)
        epochs += isinstance(event, EpochEnded)
        if epochs == 5:
            raise PowerCut

    with pytest.raises(PowerCut):
        shown.bench.run(good, listener=listener)
    writer.close()
    shown.run()
    check_against_ledger(shown)
    shown.run()
    check_against_ledger(shown)


def test_trials_of_a_run_without_it_are_caught_up(shown: Shown) -> None:
    shown.bench.run(good)
    shown.run()
    check_against_ledger(shown)


def test_what_is_shown_already_is_not_written_again(shown: Shown) -> None:
    shown.run()
    files = {path: path.stat().st_mtime_ns for path in shown.folder.path.rglob("*tfevents*")}
    shown.run()
    assert files == {p: p.stat().st_mtime_ns for p in shown.folder.path.rglob("*tfevents*")}


def test_hparams_are_session_groups_with_the_searched_values(shown: Shown) -> None:
    from tensorboard.plugins.hparams import plugin_data_pb2
    from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS

    rows = shown.run(lambda task: diverging(task) if task.number == 1 else good(task))
    for row in rows:
        contents = shown.accumulator(row.number).PluginTagToContent("hparams")
        start = plugin_data_pb2.HParamsPluginData.FromString(
            contents["_hparams_/session_start_info"]
        ).session_start_info
        end = plugin_data_pb2.HParamsPluginData.FromString(
            contents["_hparams_/session_end_info"]
        ).session_end_info
        found = {name: value.number_value for name, value in start.hparams.items()}
        assert found == row.values
        assert end.status == (STATUS_FAILURE if row.number == 1 else STATUS_SUCCESS)


def test_the_hparams_tab_lists_one_session_group_for_each_configuration(shown: Shown) -> None:
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

    rows = shown.run()
    logs = str(shown.folder.path / "tensorboard")
    multiplexer = EventMultiplexer().AddRunsFromDirectory(logs).Reload()
    context = backend_context.Context(
        base_plugin.TBContext(logdir=logs, data_provider=MultiplexerDataProvider(multiplexer, logs))
    )
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0,
        slice_size=100,
        allowed_statuses=[api_pb2.STATUS_SUCCESS],
        include_metrics=True,
    )
    asked = RequestContext()
    experiment = context.experiment_from_metadata(
        asked, "", True, context.hparams_metadata(asked, ""), []
    )
    groups = list_session_groups.Handler(asked, context, "", request).run().session_groups
    assert experiment is not None
    assert len(groups) == len({str(row.configuration) for row in rows})
    assert sum(len(group.sessions) for group in groups) == len(rows)


def test_an_error_ends_the_writing_and_not_the_run(tmp_path: Path) -> None:
    shown = Shown(tmp_path)
    (tmp_path / "tensorboard").write_text("in the way")
    writer = TensorBoardWriter(shown.folder)
    rows = shown.bench.run(good, listener=writer)
    assert all(row.score is not None for row in rows)
    assert "tensorboard" in writer.close()


def test_events_come_back_at_once(tmp_path: Path) -> None:
    writer = TensorBoardWriter(RunFolder(tmp_path, "absent"))
    writer(TrialStarted(1, 1, {}, 0, 3, "s", False))
    assert "absent" in writer.close()


def test_tensorflow_is_not_imported() -> None:
    program = (
        "import sys; import tuner.execution.event_file; "
        "sys.exit(any(name.partition('.')[0] in ('tensorflow', 'keras') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_without_tensorboard_the_error_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(InputError, match=r"pip install 'convtuner\[tensorboard\]'"):
        check_tensorboard()
