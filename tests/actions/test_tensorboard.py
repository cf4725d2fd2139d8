"""TensorBoard's own readers see what the ledger has, once."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.execution.conftest import GRID, Bench, diverging, good
from tuner.errors import InputError
from tuner.execution.events import TrialEnded
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger

pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
from tuner.actions.tensorboard import write_tensorboard


class Shown:
    """A bench whose trials go to TensorBoard's files as they end."""

    def __init__(self, folder: Path) -> None:
        self.folder = RunFolder(folder.parent, folder.name)
        self.bench = Bench(folder)

    def run(self, script=good, **options):
        def listener(event):
            if isinstance(event, TrialEnded):
                write_tensorboard(self.folder, event.number)

        return self.bench.run(script, listener=listener, **options)

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


def test_a_trial_that_has_not_ended_is_not_shown(shown: Shown) -> None:
    shown.bench.run(good, budget_seconds=0)
    write_tensorboard(shown.folder)
    write_tensorboard(shown.folder, 1)
    assert not (shown.folder.path / "tensorboard").exists()


def test_trials_of_a_run_without_it_are_caught_up_and_written_once(shown: Shown) -> None:
    shown.bench.run(good)
    write_tensorboard(shown.folder)
    check_against_ledger(shown)
    files = {path: path.stat().st_mtime_ns for path in shown.folder.path.rglob("*tfevents*")}
    write_tensorboard(shown.folder)
    assert files == {p: p.stat().st_mtime_ns for p in shown.folder.path.rglob("*tfevents*")}


def test_a_trial_that_has_ended_anew_is_written_anew(shown: Shown) -> None:
    shown.run(lambda task: diverging(task) if task.number == 1 else good(task))
    shown.run(retry=[TrialState.DIVERGED])
    check_against_ledger(shown)
    assert shown.scalars(1)["score"]


def test_what_an_edit_has_superseded_is_shown_no_more_until_it_is_current_again(
    shown: Shown,
) -> None:
    before = {row.number for row in shown.run(good)}
    edited = GRID.replace("epochs: 2", "epochs: 3")
    for text in (edited, GRID):
        shown.bench.run(good, text)
        write_tensorboard(shown.folder)
        check_against_ledger(shown)
        with Ledger.open_read_only(shown.folder.ledger) as ledger:
            current = {row.number for row in ledger.rows()}
        places = (shown.folder.path / "tensorboard").iterdir()
        assert {int(place.name.removeprefix("trial-")) for place in places} == current
    assert current == before


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


def test_tensorflow_is_not_imported() -> None:
    program = (
        "import sys; import tuner.actions.tensorboard; "
        "sys.exit(any(name.partition('.')[0] in ('tensorflow', 'keras') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_without_tensorboard_the_error_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    monkeypatch.delitem(sys.modules, "tuner.actions.tensorboard")
    with pytest.raises(InputError, match=r"pip install 'convtuner\[tensorboard\]'"):
        importlib.import_module("tuner.actions.tensorboard")
