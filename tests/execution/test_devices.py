"""Nobody gets a card that was not made visible to them."""

from __future__ import annotations

import pytest

from tuner.errors import InputError
from tuner.execution import devices
from tuner.execution.devices import chosen_gpus, visible_gpus
from tuner.execution.run import run_experiment
from tuner.experiment.experiment import load_experiment
from tuner.ledger.environment import Gpu

SHARED = {"CUDA_VISIBLE_DEVICES": "2,3"}


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> list[Gpu]:
    """What the driver tells; nothing, as without a driver."""
    found: list[Gpu] = []
    monkeypatch.setattr(devices, "installed_gpus", lambda: found)
    return found


@pytest.mark.parametrize(
    ("given", "expected"), [("4,5", ["4", "5"]), ("", []), ("0,-1,1", ["0"]), ("-1", [])]
)
def test_several_workers_share_out_the_gpus_that_the_person_made_visible(given, expected):
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": given}) == expected


@pytest.mark.parametrize(
    ("visible", "asked", "chosen"),
    [
        ("2,3", ["0", "1"], ["2", "3"]),
        ("2,3", ["1"], ["3"]),
        ("GPU-aa,MIG-bb", ["1", "0"], ["MIG-bb", "GPU-aa"]),
        ("2,3", ["GPU-aa", "MIG-bb"], ["GPU-aa", "MIG-bb"]),
        ("2,3", [], []),
    ],
)
def test_an_index_counts_within_what_is_visible(visible, asked, chosen):
    assert chosen_gpus(asked, {"CUDA_VISIBLE_DEVICES": visible}) == chosen


def test_without_the_variable_an_index_is_that_of_the_driver(installed):
    installed += [Gpu(number, "H100", 0, "") for number in (0, 1)]
    assert chosen_gpus(["1"], {}) == ["1"]
    with pytest.raises(InputError, match=r"received: 2\n    expected: 0 to 1 \(installed\)"):
        chosen_gpus(["2"], {})


def test_where_nothing_can_be_known_an_index_is_taken_as_it_is():
    assert chosen_gpus(["7"], {}) == ["7"]


@pytest.mark.parametrize(
    ("visible", "asked", "told"),
    [
        ("2,3", ["0", "2"], r"received: 2\n.*0 to 1 \(visible: CUDA_VISIBLE_DEVICES=2,3\)"),
        ("", ["0"], r"received: 0\n.*none \(visible: CUDA_VISIBLE_DEVICES=\)"),
        ("2,3", ["a"], "not a list of GPUs"),
    ],
)
def test_what_is_not_visible_is_refused_with_what_is(visible, asked, told):
    with pytest.raises(InputError, match=told):
        chosen_gpus(asked, {"CUDA_VISIBLE_DEVICES": visible})


def test_a_run_on_a_gpu_that_is_not_visible_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    (tmp_path / "e.yaml").write_text("data: {dataset: synthetic}\nmodel: {family: resnet}\n")
    experiment = load_experiment(tmp_path / "e.yaml")
    with pytest.raises(InputError, match="there is no such GPU"):
        run_experiment(experiment, results_dir=tmp_path / "results", gpus=["2"])
    assert not (tmp_path / "results").exists()
