"""How a worker reads its data: meanwhile, unless the person's own code gives them."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from tuner.data.config import DataConfig
from tuner.execution import worker
from tuner.execution.protocol import WorkerSetup
from tuner.ledger.profile import Stopwatch


@pytest.mark.parametrize(
    ("dataset", "in_main_thread"), [("synthetic", False), ("json:dumps", True), ("a/", False)]
)
def test_a_function_is_called_where_no_framework_is_being_imported(
    tmp_path, monkeypatch, dataset, in_main_thread
):
    called = []

    def load_images(config, data_dir, loaded=None):
        called.append((threading.current_thread() is threading.main_thread(), len(called)))
        return SimpleNamespace(hashes={"dataset": "a"})

    def program_class(backend):
        called.append(("program", len(called)))
        return SimpleNamespace(place=lambda data, augment, **options: "placed")

    monkeypatch.setattr("tuner.data.images.load_images", load_images)
    monkeypatch.setattr("tuner.training.trial.program_class", program_class)
    setup = WorkerSetup("jax", DataConfig(dataset=dataset), None, tmp_path)
    assert worker._prepare(setup, Stopwatch())[1:] == ("placed", {"dataset": "a"})
    assert [entry[0] for entry in called if entry[0] != "program"] == [in_main_thread]
    if in_main_thread:
        assert called[0][0] == "program"
