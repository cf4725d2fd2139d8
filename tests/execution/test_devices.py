"""Nobody gets a card that was not made visible to them."""

from __future__ import annotations

import pytest

from tuner.errors import InputError
from tuner.execution import devices
from tuner.execution.devices import check_shares, chosen_gpus, used_gpus, visible_gpus
from tuner.execution.run import run_experiment
from tuner.experiment.experiment import load_experiment, parse_experiment
from tuner.experiment.schema import Resources
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


@pytest.fixture
def eight_cores(monkeypatch):
    monkeypatch.setattr(devices, "available_cores", lambda: 8)
    monkeypatch.setattr(devices, "gpu_memory_bytes", {"0": 2**30, "1": 2**30}.get)


def refused(resources, workers, gpus=(), backend="tensorflow"):
    text = f"backend: {backend}\nmodel: {{family: resnet}}\nresources: {resources}"
    check_shares(parse_experiment(text, "x.yaml"), workers, gpus, {})


@pytest.mark.parametrize(
    ("resources", "workers", "gpus"),
    [
        ("{}", 99, ()), ("{cpu: 8}", 1, ()), ("{cpu: 2}", 4, ()), ("{gpu: 0}", 9, ()),
        ("{gpu: 0.5}", 4, "01"), ("{gpu: 0.3333333333333333}", 3, "0"), ("{gpu: 1}", 2, "01"),
    ],
)  # fmt: skip
def test_workers_that_fit_are_let_through(eight_cores, resources, workers, gpus):
    refused(resources, workers, gpus)


@pytest.mark.parametrize(
    ("resources", "workers", "gpus", "told"),
    [
        ("{cpu: 3}", 3, (), r"x.yaml:3:13: 3 workers with 3 threads each, and 8 cores.*"
         "received: 9 threads.*at most 8, one a core.*fix: +-j 2, or --cpus-per-worker 2"),
        ("{cpu: 9}", 1, (), r"1 worker with 9 threads each.*fix: +--cpus-per-worker 8"),
        ("{cpu: 9}", 9, (), r"fix: +-j 8 --cpus-per-worker 1"),
        ("{gpu: 0.5}", 1, (), r"1 worker with 0.5 of a GPU each, and 0 GPUs to be used.*"
         "fix: +--gpus-per-worker 0; where the driver is silent, CUDA_VISIBLE_DEVICES=0"),
        ("{gpu: 1}", 3, "01", r"expected: at most 2 workers.*fix: +-j 2, or --gpus-per-worker 0.5"),
        ("{gpu: 0.4}", 3, "0", r"expected: at most 2 workers.*-j 2, or --gpus-per-worker 0.33"),
        ("{cpu: 9, gpu: 1}", 2, "0", r"threads each.*of a GPU each"),
        ("{gpu: 0.5}", 2, ["MIG-a"], r"x.yaml:3:13: the driver does not say how much memory"),
    ],
)  # fmt: skip
def test_more_workers_than_cores_or_gpus_hold_are_refused(
    eight_cores, resources, workers, gpus, told
):
    with pytest.raises(InputError, match=f"(?s){told}"):
        refused(resources, workers, gpus)


def test_jax_takes_a_part_of_memory_of_which_nobody_knows_how_much_it_is(eight_cores):
    refused("{gpu: 0.5}", 2, ["MIG-a"], backend="jax")


def test_a_part_of_a_gpu_pins_even_a_single_worker_and_no_gpu_pins_none(installed):
    installed += [Gpu(number, "H100", 0, "") for number in (0, 1)]
    assert used_gpus(Resources(), 1, [], {}) == []
    assert used_gpus(Resources(), 2, [], {}) == ["0", "1"]
    assert used_gpus(Resources(gpu=0.5), 1, [], {}) == ["0", "1"]
    assert used_gpus(Resources(gpu=0.5), 1, ["1"], {}) == ["1"]
    assert used_gpus(Resources(gpu=0), 2, [], {}) == []
    with pytest.raises(InputError, match=r"no worker uses a GPU: resources.gpu is 0"):
        used_gpus(Resources(gpu=0), 2, ["1"], {})


def test_a_run_that_does_not_fit_writes_nothing(tmp_path, eight_cores):
    text = "name: e\ndata: {dataset: synthetic}\nmodel: {family: resnet}\nresources: {cpu: 5}\n"
    with pytest.raises(InputError, match="2 workers with 5 threads each"):
        run_experiment(parse_experiment(text, "e.yaml"), results_dir=tmp_path / "r", workers=2)
    assert not (tmp_path / "r").exists()
