"""What a host brings to its node: the person's code, the data, and nothing that stays."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.execution.tiny import write_data
from tuner.code.files import CodeFile, hash_of
from tuner.code.process import python_command
from tuner.data.config import DataConfig
from tuner.data.images import load_images
from tuner.data.packed import packed, read_packed
from tuner.errors import InputError
from tuner.execution.protocol import (
    Epoch,
    Finished,
    Lost,
    Predicted,
    Report,
    TrainTrial,
    WorkerSetup,
)
from tuner.execution.ray_host import NodeFolder, Order, WorkerHost
from tuner.ledger.checkpoint import SavedCheckpoint
from tuner.ledger.predictions import ImagePredictions


@pytest.fixture(autouse=True)
def node(tmp_path, monkeypatch) -> Path:
    """The temporary folder of a node."""
    folder = tmp_path / "node"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def files_on(node: Path) -> list[str]:
    return sorted(p.name for p in node.rglob("*") if p.is_file() and not p.name.startswith("."))


def setup_of(host: WorkerHost, order: Order) -> WorkerSetup:
    """What the worker of a host is told, where parts of the order are what they stand for."""
    host._begin(order, "f00d", lambda part: part)
    setup = host._pool._setup
    host._pool.close()
    return setup


def order_of(setup: WorkerSetup, tmp_path: Path, **others) -> Order:
    stub = "tests.execution.stub_worker"
    return Order(1, stub, setup, str(tmp_path), "", "", {}, **others)


def test_the_persons_code_lies_on_the_node_and_is_found_first(tmp_path, node):
    here = tmp_path / "here" / "nets"
    here.mkdir(parents=True)
    (here / "small.py").write_text("def build(hp): ...\n")
    path = str(here / "small.py")
    file = CodeFile("nets.small", path, hash_of(path))
    code = {"nets.small:build": (file,)}
    config = DataConfig(dataset="synthetic")
    setup = WorkerSetup("jax", config, tmp_path, tmp_path / "checkpoints", code)
    content = {"nets/small.py": Path(path).read_bytes()}
    order = order_of(setup, tmp_path, code=content, code_paths={path: "nets/small.py"})
    host = WorkerHost()
    (told,) = setup_of(host, order).code["nets.small:build"]
    assert told.path.startswith(str(node))
    assert told.path.endswith("nets/small.py")
    assert told.is_current
    folder = told.path.removesuffix("/nets/small.py")
    assert host._pool._folders == [folder]
    searched = python_command("a.module", folders=[folder])[3]
    assert searched.startswith(f'["{folder}"')
    host.close()
    assert files_on(node) == []


def test_data_are_written_once_for_all_workers_of_a_node(tmp_path, node):
    config = DataConfig(dataset=str(write_data(tmp_path)), validation=24)
    setup = WorkerSetup("jax", config, tmp_path, tmp_path / "checkpoints")
    with packed(config, None, "jax") as folder:
        parts = {p.name: [np.fromfile(p, np.uint8)] for p in folder.iterdir()}
    order = order_of(setup, tmp_path, data=parts, data_name="data-1")
    hosts = [WorkerHost(), WorkerHost()]
    first, second = (setup_of(host, order).packed for host in hosts)
    assert first == second
    loaded = read_packed(first, test=False)
    assert isinstance(loaded.train.images, np.memmap)
    ours, theirs = load_images(config, None), load_images(config, None, loaded=loaded)
    assert ours.hashes == theirs.hashes
    np.testing.assert_array_equal(ours.x_validation, theirs.x_validation)
    hosts[0].close()
    assert "x_train.npy" in files_on(node)
    hosts[1].close()
    assert files_on(node) == []


def test_what_a_dead_host_has_left_is_removed_by_the_next(node):
    child = os.fork()
    if not child:
        NodeFolder("f00d").own("worker-1").joinpath("left").touch()
        os._exit(0)
    os.waitpid(child, 0)
    assert files_on(node) == ["left"]
    NodeFolder("beef")
    assert files_on(node) == []


def test_a_function_gives_the_data_once_in_a_process_of_its_own(tmp_path, monkeypatch, capfd):
    (tmp_path / "packed_data.py").write_text(
        "import numpy as np\n"
        "def load():\n"
        "    print('asked')\n"
        "    return np.zeros((40, 8, 8, 3), np.uint8), np.arange(40) % 4\n"
    )
    monkeypatch.chdir(tmp_path)
    with packed(DataConfig(dataset="packed_data:load"), None, "jax") as folder:
        assert read_packed(folder, test=False).info.num_train == 40
    assert "packed_data" not in sys.modules
    assert capfd.readouterr().err.count("asked") == 1
    (tmp_path / "packed_data.py").write_text("def load(): raise ValueError('no')\n")
    with (
        pytest.raises(InputError, match="the function failed"),
        packed(DataConfig(dataset="packed_data:load"), None, "jax"),
    ):
        pass


class FewReports:
    """The pool of a host whose worker says this and is gone."""

    def __init__(self, *reports) -> None:
        self.reports, self.tasks, self.killed = [*reports, Lost("exit status 0")], [], ""

    def receive(self, timeout_seconds: float):
        return [(1, self.reports.pop(0))]

    def send(self, worker: int, task) -> None:
        self.tasks.append(task)

    def kill(self, worker: int, reason: str) -> None:
        self.killed = reason

    def close(self) -> None:
        """Nothing is left."""


def host_of(tmp_path: Path, *reports) -> WorkerHost:
    host = WorkerHost()
    host._pool, host._slot = FewReports(*reports), tmp_path
    (tmp_path / "checkpoints").mkdir()
    return host


def said_by(host: WorkerHost) -> list[Report]:
    return [report for _, reports, _, _ in host._listen() for report in reports]


def task_of(number: int, attempt: int = 1) -> TrainTrial:
    return TrainTrial(number, "k", attempt, {}, {}, frozenset(), "float32", 0, "s", 9)


def test_a_trial_that_is_sent_before_the_last_one_has_ended_finds_its_checkpoint(tmp_path):
    for number, attempt in ((2, 1), (1, 2)):  # another, or the same one that goes on after all
        place = tmp_path / f"{number}"
        place.mkdir()
        host = host_of(place, Finished(1, attempt=1))
        host.send(task_of(1), {"1-3-1.npz": b"old"})
        host.send(task_of(number, attempt), {"2-5-1.npz": b"new"})  # a rule has stopped trial 1
        list(host._listen())
        assert [path.name for path in (place / "checkpoints").iterdir()] == ["2-5-1.npz"]


def test_what_a_node_cannot_keep_costs_a_checkpoint_or_its_worker_and_never_silence(tmp_path):
    saved = SavedCheckpoint("1-1-1.npz", "0" * 64, 10)
    host = host_of(tmp_path, Epoch(1, 1, {}, 0.1, saved), Epoch(1, 2, {}, 0.1))
    first, second, _ = said_by(host)
    assert first.checkpoint is None
    assert first.not_saved == "1-1-1.npz: No such file or directory"
    assert second.epoch == 2
    (tmp_path / "checkpoints").rmdir()
    (tmp_path / "checkpoints").touch()  # nothing can be written below it
    host._pool = pool = FewReports()
    host.send(task_of(2), {"2-5-1.npz": b"new"})
    assert pool.tasks == []
    assert pool.killed == "it cannot be sent a checkpoint: File exists"


def test_what_is_said_of_images_passes_in_its_place(tmp_path):
    said = Predicted(1, 2, ImagePredictions(*np.zeros((4, 3))))
    reports = [Epoch(1, 1, {}, 0.1), said, Epoch(1, 2, {}, 0.1), Finished(1)]
    assert said_by(host_of(tmp_path, *reports))[:-1] == reports
