"""CIFAR from its official files, and pickles that hold more than arrays."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.data import official
from tuner.data.cifar import CIFAR100, CIFAR100_COARSE, unpickle_arrays
from tuner.data.config import DataConfig, final_data
from tuner.data.files import default_data_dir, keras_cache, locate
from tuner.data.images import load_images
from tuner.errors import InputError

CACHE = keras_cache(os.environ)  # of the person who runs the tests


def test_planes_become_channels(tmp_path):
    data = official.small_cifar100(tmp_path).train(tmp_path)
    red, green, blue = official.rows(300, 1)[7].reshape(3, 32, 32)
    np.testing.assert_array_equal(data.images[7], np.stack([red, green, blue], axis=-1))


def test_batches_follow_one_another(tmp_path):
    data = official.small_cifar10(tmp_path).train(tmp_path)
    second = official.rows(20, 2)[0].reshape(3, 32, 32).transpose(1, 2, 0)
    np.testing.assert_array_equal(data.images[20], second)


def test_training_images_are_read_without_the_test_images(tmp_path):
    dataset = official.small_cifar100(tmp_path)
    (tmp_path / "cifar-100-python" / "test").write_bytes(b"never read")
    dataset.train(tmp_path)
    with pytest.raises(InputError, match="damaged"):
        dataset.test(tmp_path)


def test_fine_and_coarse_are_different_data():
    assert CIFAR100.info(None).fingerprint != CIFAR100_COARSE.info(None).fingerprint
    assert CIFAR100.source == CIFAR100_COARSE.source


def real_data_dir() -> Path | None:
    data_dir = default_data_dir(os.environ)
    found = locate(CIFAR100.source, data_dir or CACHE)
    return found.parent if found else None


@pytest.mark.skipif(real_data_dir() is None, reason="CIFAR-100 is not on this machine")
def test_the_real_cifar100_has_its_published_statistics():
    config = DataConfig(dataset="cifar100", validation=5000)
    data = load_images(config, real_data_dir())
    np.testing.assert_allclose(data.mean, [129.3, 124.1, 112.4], atol=0.1)
    np.testing.assert_allclose(data.std, [68.2, 65.4, 70.4], atol=0.1)
    assert np.all(np.bincount(data.y_train) == 450)
    assert np.all(np.bincount(data.y_validation) == 50)
    assert data.hashes["split"] == (
        "7a2865284c37b6909680209f949cf8df7b5e8fa04199e0b607ae1113e8d11659"
    )
    data = load_images(final_data(config), real_data_dir())
    images, labels = data.x_validation, data.y_validation
    assert len(data.x_train) == 50_000
    assert images.shape == (10_000, 32, 32, 3)
    assert np.all(np.bincount(labels) == 100)


# What Python 2 wrote for {"data": array([[97, 98], [99, 100]], dtype=uint8), "labels": [3, 5]}.
PYTHON_2 = (
    b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
    b"K\x00\x85U\x01b\x87R(K\x01K\x02K\x02\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
    b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x04abcdtb"
    b"U\x06labels](K\x03K\x05eu."
)


class Hostile:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_a_batch_of_python_2_is_read():
    batch = unpickle_arrays(PYTHON_2)
    assert batch[b"labels"] == [3, 5]
    np.testing.assert_array_equal(batch[b"data"], np.uint8([[97, 98], [99, 100]]))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_hostile_pickle_runs_nothing(tmp_path, protocol):
    victim = tmp_path / "victim"
    victim.mkdir()
    for function, *arguments in [
        (os.rmdir, str(victim)),
        (os.system, f"rmdir {victim}"),
        (eval, f"__import__('os').rmdir({str(victim)!r})"),
        (np.save, str(tmp_path / "written.npy"), [1]),
    ]:
        data = pickle.dumps({b"data": Hostile(function, *arguments)}, protocol)
        with pytest.raises(pickle.UnpicklingError, match="not admitted"):
            unpickle_arrays(data)
    assert list(tmp_path.iterdir()) == [victim]


@pytest.mark.parametrize(
    "name", [b"os\nsystem", b"builtins\neval", b"numpy\nload", b"numpy.core.multiarray\nfromfile"]
)
def test_a_name_that_is_not_an_array_is_refused(name):
    with pytest.raises(pickle.UnpicklingError, match="not admitted"):
        unpickle_arrays(b"\x80\x02c" + name + b"\n.")


def test_no_codec_but_the_one_of_bytes_is_admitted():
    with pytest.raises(pickle.UnpicklingError, match="codec"):
        unpickle_arrays(b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"abc",
        b"\x80\x02cnumpy\nndarray\n\x8a\x06\x00\x00\x00\x00\x00\x10\x85R.",  # 128 TiB of zeros
        b"\x80\x02cnumpy\nndarray\n)\x81cnumpy\nndarray\nb.",
        b"\x80\x02cnumpy\ndtype\nU\x0bV2147483647\x85R.",
        b"\x80\x02cnumpy\ndtype\nU\x02O8\x85R.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nK\x01K\x00\x85U\x01b\x87R.",
        b"\x80\x02\x82\x01.",
        b"I" + b"9" * 100_000 + b"\n.",
        PYTHON_2.replace(b"K\x02K\x02\x86", b"K\x02J\xff\xff\xff\x7f\x86"),
    ],
)
def test_what_is_no_pickle_of_arrays_is_one_kind_of_error(data):
    with pytest.raises(pickle.UnpicklingError):
        unpickle_arrays(data)


def test_random_damage_reaches_no_code_of_numpy_that_trusts_it():
    """With numpy's own classes admitted, such a file ends the process."""
    rng = np.random.default_rng(1)
    whole = pickle.dumps({b"data": np.zeros(3), b"labels": [1, 2]}, 2)
    for _ in range(5000):
        damaged = bytearray(whole)
        for index in rng.integers(0, len(whole), rng.integers(1, 4)):
            damaged[index] = rng.integers(0, 256)
        try:
            unpickle_arrays(bytes(damaged))
        except pickle.UnpicklingError:
            continue
