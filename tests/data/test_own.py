"""A person's own arrays: what is taken, what is refused, and hostile or damaged .npz files."""

from __future__ import annotations

import io
import os
import sys
import zipfile

import numpy as np
import pytest

from tuner.data import own
from tuner.data.config import DataConfig
from tuner.data.images import load_images, same_content
from tuner.data.own import FunctionDataset, NpzDataset, read_npz
from tuner.errors import InputError

LABELS = np.arange(12) % 3
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 5, 4, 3), dtype=np.uint8)


@pytest.fixture
def save(tmp_path):
    def save(**arrays):
        np.savez(tmp_path / "mine.npz", **arrays)
        return NpzDataset(str(tmp_path / "mine.npz"))

    return save


def test_uint8_images_are_kept(save):
    dataset = save(x_train=IMAGES, y_train=LABELS)
    np.testing.assert_array_equal(dataset.train(None).images, IMAGES)
    info = dataset.info(None)
    assert (info.image_shape, info.num_classes) == ((5, 4, 3), 3)
    assert (info.num_train, info.num_test) == (12, 0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_of_0_to_1_and_of_0_to_255_become_bytes(save, dtype):
    for images in (IMAGES.astype(dtype) / dtype(255), IMAGES.astype(dtype)):
        dataset = save(x_train=images, y_train=LABELS)
        np.testing.assert_array_equal(dataset.train(None).images, IMAGES)


def test_test_images_are_scaled_as_the_training_images_are(save):
    dark = np.full((12, 5, 4, 3), 1.9)
    bright = np.full((12, 5, 4, 3), 200.0)
    bright_data = save(x_train=bright, y_train=LABELS, x_test=dark, y_test=LABELS)
    assert bright_data.test(None).images.max() == 2
    with pytest.raises(InputError, match=r"x_test: pixels out of range"):
        save(x_train=dark, y_train=LABELS, x_test=bright, y_test=LABELS).test(None)


def test_grey_images_get_their_channel_and_column_labels_lose_theirs(save):
    data = save(x_train=IMAGES[..., 0], y_train=LABELS[:, None].astype(np.uint16)).train(None)
    assert data.images.shape == (12, 5, 4, 1)
    assert data.labels.shape == (12,)


def test_the_fingerprint_follows_the_content(save):
    one = save(x_train=IMAGES, y_train=LABELS).info(None).fingerprint
    other = save(x_train=IMAGES ^ 1, y_train=LABELS).info(None).fingerprint
    assert one.startswith("npz:sha256:")
    assert one != other


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_train": IMAGES}, "an array is missing"),
        ({"images": IMAGES, "labels": LABELS}, "an array is missing"),
        ({"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES}, "an array is missing"),
        ({"x_train": IMAGES[0, 0], "y_train": LABELS}, "x_train: these are not images"),
        ({"x_train": IMAGES[None], "y_train": LABELS}, "x_train: these are not images"),
        ({"x_train": IMAGES[:0], "y_train": LABELS[:0]}, "x_train: these are not images"),
        ({"x_train": IMAGES.astype(np.int64) * 2, "y_train": LABELS}, "pixels out of range"),
        ({"x_train": IMAGES.astype(str), "y_train": LABELS}, "of this type"),
        ({"x_train": IMAGES - 128.0, "y_train": LABELS}, "pixels out of range"),
        ({"x_train": IMAGES * 2.0, "y_train": LABELS}, "pixels out of range"),
        ({"x_train": np.where(IMAGES > 250, np.nan, IMAGES), "y_train": LABELS}, "NaN or infinite"),
        ({"x_train": IMAGES, "y_train": LABELS[:-1]}, "don't match"),
        ({"x_train": IMAGES, "y_train": LABELS.astype(float)}, "not class numbers"),
        ({"x_train": IMAGES, "y_train": np.eye(3)[LABELS] * 0.9 + 1 / 30}, "argmax"),
        ({"x_train": IMAGES, "y_train": LABELS - 1}, "out of range"),
        ({"x_train": IMAGES, "y_train": LABELS + 1}, "class 0 has no images"),
        ({"x_train": IMAGES, "y_train": LABELS * 2}, "class 1 has no images"),
        ({"x_train": IMAGES, "y_train": LABELS * 0}, "one class"),
        (
            {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:, 1:], "y_test": LABELS},
            "another shape",
        ),
        (
            {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS + 1},
            "never trained",
        ),
    ],
)
def test_arrays_of_another_kind_are_one_clear_error(save, arrays, message):
    dataset = save(**arrays)
    for ask in (dataset.info, dataset.train):
        with pytest.raises(InputError, match=message) as caught:
            ask(None)
        assert "mine.npz" in str(caught.value)


def test_objects_are_not_unpickled(save):
    dataset = save(x_train=np.array([{}], dtype=object), y_train=LABELS)
    with pytest.raises(InputError, match="cannot be read"):
        dataset.info(None)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"not a zip"])
def test_a_file_that_is_no_npz_is_one_clear_error(tmp_path, content):
    path = tmp_path / "mine.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        NpzDataset(str(path)).train(None)


def test_a_single_array_is_no_npz(tmp_path):
    path = tmp_path / "mine.npz"
    with path.open("wb") as file:
        np.save(file, IMAGES)
    with pytest.raises(InputError, match="single array"):
        NpzDataset(str(path)).train(None)


def test_a_missing_file_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        NpzDataset("mine.npz").fetch(tmp_path / "data")
    assert str(tmp_path / "mine.npz") in str(caught.value)
    assert str(tmp_path / "data" / "mine.npz") in str(caught.value)


def test_a_file_without_test_images_has_none_to_give(save):
    with pytest.raises(InputError, match="no test images") as caught:
        save(x_train=IMAGES, y_train=LABELS).test(None)
    assert "fix:      x_test and y_test beside x_train" in str(caught.value)


@pytest.fixture
def module(tmp_path, monkeypatch):
    def module(name, text):
        (tmp_path / f"{name}.py").write_text(f"import numpy as np\n{text}")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, name, raising=False)

    return module


def test_a_function_gives_the_arrays(module):
    module("their_data", "def load():\n    return np.eye(4)[[0, 1, 2]].reshape(3, 2, 2), [0, 1, 1]")
    dataset = FunctionDataset("their_data:load")
    info = dataset.info(None)
    assert (info.image_shape, info.num_classes, info.num_train) == ((2, 2, 1), 2, 3)
    assert info.fingerprint.startswith("function:sha256:")
    assert dataset.train(None).images.max() == 255


def test_pixels_in_another_range_that_are_not_normalized_are_other_data(module):
    text = "def load():\n    return np.arange(80).reshape(20, 2, 2) * {}, [0, 1] * 10"
    for name, factor in {"bytes_data": "np.uint8(3)", "unit_data": "np.uint8(3) / 255"}.items():
        module(name, text.format(factor))
    config = {"validation": 4, "normalize": False}
    one, other = (
        load_images(DataConfig(dataset=f"{name}:load", **config), None)
        for name in ("bytes_data", "unit_data")
    )
    np.testing.assert_array_equal(one.x_train, other.x_train)
    assert one.hashes["dataset"] != other.hashes["dataset"]
    assert same_content(one.hashes["dataset"], other.hashes["dataset"])


@pytest.mark.parametrize(
    ("name", "what"),
    [("no_such_module:load", "no such module"), ("json:no_such_function", "no such function")],
)
def test_a_function_that_is_not_there_is_one_clear_error(name, what):
    with pytest.raises(InputError, match=what):
        FunctionDataset(name).info(None)


def test_a_function_that_returns_something_else_is_one_clear_error(module):
    text = "def one(): return np.eye(3)\ndef three(): return 1, 2, 3\n"
    text += "def named(): return {'X': 1, 'y': 2}\ndef pairs(): return [(np.eye(3), [0, 1, 1])] * 3"
    module("their_odd", text)
    for name, received in (
        ("one", "ndarray"),
        ("three", "tuple of 3: int"),
        ("named", "dict of 2: X, y"),
        ("pairs", "leave the validation images out"),
    ):
        with pytest.raises(InputError, match=received):
            FunctionDataset(f"their_odd:{name}").info(None)


X_Y = "np.zeros((6, 4, 4)), np.arange(6) % 3"
TENSORFLOW = """
class Spec: shape = (None, 4, 4, 1)
class Batches: element_spec, unbatch = (Spec, Spec), None
Batches.__module__ = "tensorflow.python.data"
"""


@pytest.mark.parametrize(
    ("returned", "mend"),
    [
        ("dict(zip('Xy', (X, Y)))", "return dict(x_train=d['X'], y_train=d['y'])"),
        ("list(zip(X, Y))", "x_train, y_train = map(numpy.stack, zip(*pairs))"),
        ("X, X, Y, Y", "in this order: x_train, y_train, x_test, y_test"),
        ("Batches()", "zip(*dataset.unbatch().as_numpy_iterator()))"),
        ("Batches(), Batches()", "for each: x_train, y_train = map(numpy.stack"),
        ("['a.png', 'b.png'], [0, 1]", "dataset: FOLDER/ reads files"),
        ("X, Y % 2, X, Y", "keep = y_test <= 1; x_test, y_test = x_test[keep], y_test[keep]"),
    ],
)
def test_the_forms_that_people_have_most_are_told_what_becomes_of_them(module, returned, mend):
    module("their_mends", f"{TENSORFLOW}X, Y = {X_Y}\ndef load(): return {returned}")
    with pytest.raises(InputError) as caught:
        FunctionDataset("their_mends:load").info(None)
    assert mend in caught.value.problems[0].mend


NAMES = ("x_train", "y_train", "x_test", "y_test")


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def header(shape, descr="|u1") -> bytes:
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.fixture
def write(tmp_path):
    def write(x_train: bytes, method=zipfile.ZIP_DEFLATED):
        path = tmp_path / "mine.npz"
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("x_train.npy", x_train)
            archive.writestr("y_train.npy", npy(LABELS))
        return path

    return write


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (header((10**11,)), "says shape (100000000000,) of uint8, and holds 0 bytes"),
        (header((-1, 5)), "says shape (-1, 5)"),
        (header((2**62, 2**62, 4)), "holds 0 bytes"),
        (header((12,), "|S2000000000"), "holds 0 bytes"),
        (header((1,), "|O"), "Python objects"),
        (header((1,), "garbage"), "not a valid dtype"),
        (npy(IMAGES)[:-10], "holds 710 bytes"),
        (npy(IMAGES) + b"more", "holds 724 bytes"),
        (b"\x93NUMPY\x01\x00" + (9000).to_bytes(2, "little") + b"(" * 9000, ""),  # as Python says
        (b"\x93NUMPY\x02\x00" + (10**8).to_bytes(4, "little"), "expected 100000000 bytes"),
        (b"\x93NUMPY\x01\x00\x1c\x00__import__('os').getcwd()   \n", "malformed"),
        (b"\x93NUMPY\x09\x09", "format 9.9"),
        (b"cos\nsystem\n", "magic string"),
        (b"", "EOF"),
    ],
)
def test_an_array_that_is_not_what_it_says_is_refused(write, content, words):
    path = write(content)
    with pytest.raises(InputError, match="data file cannot be read") as caught:
        read_npz(path, NAMES)
    (problem,) = caught.value.problems
    assert words in problem.received
    assert problem.where == str(path)


@pytest.mark.parametrize(("offset", "value"), [(8, 1), (10, 99)])
def test_encrypted_and_unknown_compression_are_refused(write, offset, value):
    path = write(npy(IMAGES))
    whole = bytearray(path.read_bytes())
    whole[whole.find(b"PK\x01\x02") + offset] = value
    path.write_bytes(whole)
    with pytest.raises(InputError, match="cannot be read"):
        read_npz(path, NAMES)


def test_what_does_not_fit_into_memory_is_refused_before_it_is_read(write, monkeypatch):
    monkeypatch.setattr(own, "available_bytes", lambda: 800)
    with pytest.raises(InputError, match="do not fit into memory"):
        read_npz(write(npy(IMAGES)), NAMES)


def test_random_damage_is_read_or_refused(write):
    path = write(npy(IMAGES))
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(1000):
        damaged = bytearray(whole)
        for index in rng.integers(0, len(whole), 3):
            damaged[index] = rng.integers(0, 256)
        path.write_bytes(damaged[: rng.integers(1, 2 * len(whole))])
        try:
            read_npz(path, NAMES)
        except InputError as error:
            assert error.problems[0].where == str(path)


def test_what_is_no_plain_file_is_said_to_be_none(tmp_path):
    os.mkfifo(tmp_path / "fifo.npz")
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "zero.npz").symlink_to("/dev/zero")
    for name in ("fifo", "folder", "zero"):
        with pytest.raises(InputError, match="this is no plain file"):
            NpzDataset(str(tmp_path / f"{name}.npz")).info(None)


@pytest.mark.parametrize("name", ["x" * 5000, "~no-such-user/x", "a\0b", "a/" * 3000, "\ud800"])
def test_a_path_that_cannot_be_is_no_such_file(name):
    with pytest.raises(InputError, match="no such file"):
        NpzDataset(f"{name}.npz").fetch(None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_that_may_not_be_read_says_so(write):
    path = write(npy(IMAGES))
    path.chmod(0)
    with pytest.raises(InputError, match="Permission denied"):
        NpzDataset(str(path)).info(None)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_counted(tmp_path, bad):
    images = IMAGES.astype(np.float32)
    images[3, 0, 0, 0] = images[7, 1, 1, 1] = bad
    np.savez(tmp_path / "mine.npz", x_train=images, y_train=LABELS)
    with pytest.raises(InputError, match="NaN or infinite") as caught:
        NpzDataset(str(tmp_path / "mine.npz")).info(None)
    assert "2 of 12 images, the first is number 3" in str(caught.value)


# ---------------------------------------------------------------------- functions as people write


PARTS = (
    "np.arange(12 * 60, dtype='uint8').reshape(12, 5, 4, 3), np.arange(12) % 3",
    "np.zeros((4, 5, 4, 3), 'uint8'), np.arange(4) % 3",
)


@pytest.mark.parametrize(
    ("returned", "num_test"),
    [
        (f"{PARTS[0]}", 0),
        (f"[{PARTS[0]}]", 0),
        (f"{PARTS[0]}, {PARTS[1]}", 4),
        (f"({PARTS[0]}), ({PARTS[1]})", 4),
        (f"[[{PARTS[0]}], [{PARTS[1]}]]", 4),
        (f"dict(zip(('x_train', 'y_train'), ({PARTS[0]})))", 0),
        ("[[[1, 2], [3, 4]], [[5, 6], [7, 8]]], [0, 1]", 0),  # two images, and no pairs
        ("[[[[1, 2], [3, 4]], [[5, 6], [7, 8]]], [0, 1]], [[[[1, 2], [3, 4]]], [1]]", 1),
        ("Tensor(np.zeros((3, 4, 4)) + [[[0.5]]]), Tensor(np.array(['a', 'b', 'a']))", 0),
    ],
)
def test_a_function_may_return_pairs_lists_names_and_tensors(module, returned, num_test):
    tensor = "class Tensor:\n  def __init__(self, a): self.a = a\n"
    tensor += "  def __array__(self, dtype=None, copy=None): return self.a\n"
    module("their_forms", f"{tensor}def load():\n    return {returned}")
    info = FunctionDataset("their_forms:load").info(None)
    assert info.num_test == num_test
    assert "their_forms.py" in info.source


FAILING = """
import sys
def raises(): raise FileNotFoundError("no such folder: /data/images")
def leaves(): sys.exit("bye")
def ends():
    class Ends(BaseException): pass
    raise Ends
def deep():
    return np.load("/no/such/file.npz")
def wants(folder): return folder
class Loader:
    def __init__(self, folder): pass
number = 7
"""


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("raises", ["their_errors.py:4", "FileNotFoundError: no such folder: /data/images"]),
        ("leaves", ["their_errors.py:5", "it ended Python: sys.exit('bye')"]),
        ("ends", ["their_errors.py:8", "Ends"]),
        ("deep", ["their_errors.py:10", "FileNotFoundError", "/no/such/file.npz"]),
        ("wants", ["wants arguments", "their_errors:wants(folder)"]),
        ("Loader", ["wants arguments", "(folder)"]),
        ("number", ["number is no function", "int"]),
        ("nothing", ["no such function", "their_errors has raises, leaves, ends, deep, wants"]),
    ],
)
def test_what_goes_wrong_in_a_function_is_the_persons_with_its_line(module, name, told):
    module("their_errors", FAILING)
    with pytest.raises(InputError) as caught:
        FunctionDataset(f"their_errors:{name}").info(None)
    assert [text for text in told if text not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def load(:", ["their_bad.py:2", "SyntaxError"]),
        ("import no_such_package_here", ["their_bad.py:2", "No module named 'no_such_package"]),
        ("np.no_such", ["their_bad.py:2", "AttributeError"]),
        ("raise SystemExit(3)", ["their_bad.py:2", "it ended Python: sys.exit(3)"]),
    ],
)
def test_a_module_that_cannot_be_imported_says_where(module, text, told):
    module("their_bad", text)
    with pytest.raises(InputError) as caught:
        FunctionDataset("their_bad:load").info(None)
    assert [word for word in told if word not in str(caught.value)] == []


def test_images_of_several_sizes_in_pairs_name_two(module):
    pair = "([np.zeros((4, 4)), np.zeros((5, 4))], [0, 1])"
    module("their_ragged", f"def load():\n    return {pair}, {pair}")
    with pytest.raises(InputError, match=r"\(4, 4\) and \(5, 4\)"):
        FunctionDataset("their_ragged:load").info(None)


def test_an_interrupt_that_was_typed_is_no_error_of_the_function(module):
    module("their_wait", "def load():\n    raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        FunctionDataset("their_wait:load").info(None)


def test_a_function_is_called_once_and_prints_to_stderr(module, capsys):
    text = "print('imported')\ndef load():\n    print('called')\n"
    module("their_print", f"{text}    x, y = {PARTS[0]}\n    return x, y, x, y")
    assert FunctionDataset("their_print:load").load(None, test=True).test is not None
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "imported\ncalled\n")
