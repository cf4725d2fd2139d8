from __future__ import annotations

import subprocess
import sys

import pytest

from tuner.data import DATASETS, find_dataset, found_datasets
from tuner.data.own import FunctionDataset, NpzDataset
from tuner.errors import InputError


def test_every_name_of_the_contract_is_there():
    assert set(DATASETS) == {
        "cifar100", "cifar100_coarse", "cifar10", "mnist", "fashion_mnist", "synthetic",
    }  # fmt: skip
    for name, dataset in DATASETS.items():
        assert find_dataset(name) is dataset
        assert dataset.name == name
        assert dataset.info(None).fingerprint.startswith(f"{name}:")


def test_a_path_and_a_function_are_known_by_their_form():
    assert isinstance(find_dataset("some/where.npz"), NpzDataset)
    assert isinstance(find_dataset("package.module:load"), FunctionDataset)


@pytest.mark.parametrize("name", ["cifar-100", "", "module:", ":load", "os:system('x')", "x.npy"])
def test_any_other_name_is_refused(name):
    with pytest.raises(InputError, match="no such data set"):
        find_dataset(name)


def test_the_nearest_name_is_suggested():
    with pytest.raises(InputError, match="did you mean cifar100_coarse"):
        find_dataset("cifar100-coarse")


def test_what_is_found_is_told_without_opening_it(tmp_path):
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name in ("train", "test"):
        (folder / name).touch()  # empty: reading it would be an error
    (tmp_path / "cifar-10-python.tar.gz").touch()
    found = {name: (path, state) for name, path, state in found_datasets(tmp_path)}
    assert set(found) == set(DATASETS)
    assert found["cifar100"] == found["cifar100_coarse"] == (folder, "found")
    assert found["cifar10"][0] == tmp_path / "cifar-10-python.tar.gz"
    assert "unpacked" in found["cifar10"][1]
    assert found["mnist"][0] is None
    assert "downloaded" in found["mnist"][1]
    assert found["synthetic"] == (None, "made on the spot")


def test_importing_the_room_loads_no_framework():
    program = (
        "import sys, tuner.data.config, tuner.data.images\n"
        "heavy = {'numpy', 'pandas', 'keras', 'tensorflow', 'jax', 'urllib.request', 'tarfile'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "import tuner.data.augment, tuner.data.splits\n"
        "assert not (heavy - {'numpy'}) & {m.split('.')[0] for m in sys.modules}\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
