from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from tuner.data.unpickle import unpickle_arrays

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


@pytest.mark.parametrize("protocol", range(2, 5))
def test_arrays_that_python_3_wrote_are_read(protocol):
    array = np.arange(300, dtype=np.uint8).reshape(2, 150)
    batch = unpickle_arrays(pickle.dumps({b"data": array, b"n": 1}, protocol))
    np.testing.assert_array_equal(batch[b"data"], array)


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
