"""Folders of images: the same files, order, classes and pixels as Keras reads."""

from __future__ import annotations

import os
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from tuner.data import folder as folder_module
from tuner.data import with_whole_path
from tuner.data.config import FinalDataConfig
from tuner.data.folder import FolderDataset, list_images, resized
from tuner.data.images import check
from tuner.errors import InputError

RNG = np.random.default_rng(0)


def picture(path, size=(6, 5), mode="RGB", **options):
    channels = {"RGB": 3, "RGBA": 4, "L": 1, "LA": 2, "CMYK": 4}[mode]
    pixels = RNG.integers(0, 256, (*size, channels), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels, mode)
    image.save(path, **options)
    return pixels


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNER_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def pets(tmp_path):
    root = tmp_path / "pets"
    for name in ("dog", "cat", "owl"):
        for n in (10, 2, 1):
            picture(root / name / f"{n}.png")
    picture(root / "cat" / "deep" / "a.PNG")
    return root


def test_a_folder_without_test_images_is_told_where_they_go(pets):
    config = FinalDataConfig.model_validate(
        {"dataset": str(pets), "image_size": (6, 5), "validation": "test"}
    )
    with pytest.raises(InputError, match="no test images") as caught:
        check(config, None, backend="tensorflow")
    assert "folders train/ and test/" in str(caught.value)
    assert "x_test" not in str(caught.value)


def test_a_reading_that_takes_long_is_told_and_one_from_the_cache_is_not(pets, monkeypatch):
    monkeypatch.setattr(folder_module, "_UNTOLD_SECONDS", 0)
    monkeypatch.setattr(folder_module, "_BLOCK", 4)
    monkeypatch.setattr(folder_module, "_TICK_NANOSECONDS", -(10**12))
    told = []
    for _ in range(2):
        FolderDataset(str(pets)).info(None, progress=lambda *words: told.append(words))
    whole = sum(path.stat().st_size for path in pets.rglob("*") if path.is_file())
    assert [what for what, _, _ in told] == ["looking at the images"] * 3 + [
        "decoding the images"
    ] * 3
    assert [done for _, done, _ in told[3:]] == sorted(done for _, done, _ in told[:3])
    assert {told[2][1:], told[5][1:]} == {(whole, whole)}


def test_a_reading_can_be_interrupted(pets, monkeypatch):
    monkeypatch.setattr(folder_module, "_UNTOLD_SECONDS", 0)

    def interrupt(*words):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FolderDataset(str(pets)).info(None, progress=interrupt)


def test_a_short_reading_is_not_told(pets):
    FolderDataset(str(pets)).info(None, progress=lambda *words: pytest.fail("told"))


def test_classes_and_files_come_in_keras_order_and_hidden_ones_not(pets):
    (pets / ".git").mkdir()
    (pets / "cat" / "._1.png").write_bytes(b"macOS")
    (pets / "cat" / ".DS_Store").write_bytes(b"")
    (pets / "cat" / ".thumbnails" / "deep").mkdir(parents=True)
    for place in ("1.png", "deep/1.png"):
        shutil.copy(pets / "cat" / "1.png", pets / "cat" / ".thumbnails" / place)
    listing = list_images(pets)
    assert listing.class_names == ("cat", "dog", "owl")
    assert [file.path for file in listing.train[:5]] == [
        "cat/1.png", "cat/10.png", "cat/2.png", "cat/deep/a.PNG", "dog/1.png",
    ]  # fmt: skip
    assert listing.notes == ()
    (pets / "cat" / "notes.txt").write_text("")
    (pets / "1.png").write_bytes(b"")
    assert list_images(pets).notes == (
        "2 files that are no images of a class are not read (.png, .txt)",
    )


def test_pixels_are_those_of_the_files(pets):
    info = FolderDataset(str(pets)).info(None)
    assert (info.image_shape, info.num_train, info.num_test) == ((6, 5, 3), 10, 0)
    assert (info.class_names, info.class_counts) == (("cat", "dog", "owl"), (4, 3, 3))
    assert info.source == str(pets)
    data = FolderDataset(str(pets)).train(None)
    np.testing.assert_array_equal(data.images[0], np.asarray(Image.open(pets / "cat" / "1.png")))
    assert data.labels.tolist() == [0] * 4 + [1] * 3 + [2] * 3


def test_train_and_test_are_told_apart_and_other_folders_named(tmp_path, pets):
    root = tmp_path / "parted"
    shutil.copytree(pets, root / "train")
    shutil.copytree(pets / "owl", root / "test" / "owl")
    shutil.copytree(pets, root / "val")
    dataset = FolderDataset(str(root))
    info = dataset.info(None)
    assert (info.num_train, info.num_test) == (10, 3)
    assert dataset.test(None).labels.tolist() == [2, 2, 2]
    assert "val/ is not read: images are held out of train/" in info.notes[0]
    picture(root / "test" / "emu" / "1.png")
    with pytest.raises(InputError, match="never trained") as caught:
        dataset.info(None)
    assert "emu" in str(caught.value)


def test_a_class_may_be_called_train(tmp_path):
    for name in ("bus", "train"):
        picture(tmp_path / name / "1.png")
    assert list_images(tmp_path).class_names == ("bus", "train")


def test_images_are_grey_only_if_all_are(tmp_path):
    grey = picture(tmp_path / "a" / "1.png", mode="L")
    with_alpha = picture(tmp_path / "b" / "1.png", mode="LA")
    data = FolderDataset(str(tmp_path)).train(None)
    np.testing.assert_array_equal(data.images[0], grey)
    np.testing.assert_array_equal(data.images[1], with_alpha[..., :1])
    picture(tmp_path / "b" / "2.jpg")
    data = FolderDataset(str(tmp_path)).train(None)
    np.testing.assert_array_equal(data.images[0], np.repeat(grey, 3, axis=-1))


@pytest.mark.filterwarnings("error")
def test_every_kind_of_file_is_read(tmp_path):
    colour = picture(tmp_path / "a" / "alpha.png", mode="RGBA")
    picture(tmp_path / "a" / "cmyk.jpg", mode="CMYK")
    picture(tmp_path / "a" / "3.bmp")
    deep = RNG.integers(0, 2**16, (6, 5), dtype=np.uint16)
    (tmp_path / "b").mkdir()
    Image.fromarray(deep).save(tmp_path / "b" / "16.png")
    palette = Image.fromarray(colour[..., :3]).quantize(7)
    palette.save(tmp_path / "b" / "palette.png", transparency=bytes([0, 100, 255]))
    palette.save(tmp_path / "b" / "p.gif", save_all=True, append_images=[palette.rotate(180)])
    Image.fromarray(colour[..., 0] > 99).save(tmp_path / "b" / "one.png")
    rotated = Image.Exif()
    rotated[0x0112] = 6
    picture(tmp_path / "b" / "turned.jpeg", exif=rotated)
    images = FolderDataset(str(tmp_path)).train(None).images
    assert images.shape == (8, 6, 5, 3)
    np.testing.assert_array_equal(images[1], colour[..., :3])
    np.testing.assert_array_equal(images[3], np.repeat((deep >> 8)[..., None], 3, axis=-1))
    np.testing.assert_array_equal(images[4], np.repeat((colour[..., :1] > 99) * 255, 3, axis=-1))
    np.testing.assert_array_equal(images[5], np.asarray(palette.convert("RGB")))
    np.testing.assert_array_equal(images[6], images[5])


def test_resizing_is_bilinear_between_centres():
    image = np.array([[0, 100], [200, 40]], np.uint8)[..., None]
    np.testing.assert_array_equal(resized(image, (1, 1))[0, 0], 85)
    wanted = [[0, 25, 75, 100], [50, 59, 76, 85], [150, 126, 79, 55], [200, 160, 80, 40]]
    np.testing.assert_array_equal(resized(image, (4, 4))[..., 0], wanted)
    np.testing.assert_array_equal(resized(image, (2, 2)), image)


def test_images_of_several_sizes_want_one(tmp_path):
    picture(tmp_path / "a" / "1.png", (6, 5))
    picture(tmp_path / "b" / "2.png", (9, 7))
    with pytest.raises(InputError, match="different sizes") as caught:
        FolderDataset(str(tmp_path)).info(None)
    (problem,) = caught.value.problems
    assert "a/1.png of 6x5; b/2.png of 9x7" in problem.received
    assert problem.mend.startswith("image_size: 5")
    assert FolderDataset(str(tmp_path), (4, 8)).info(None).image_shape == (4, 8, 3)


def test_broken_files_are_named_all_at_once(pets):
    (pets / "cat" / "1.png").write_bytes(b"")
    (pets / "cat" / "2.png").write_bytes(b"<html>404</html>")
    whole = picture(pets / "dog" / "big.jpg", (64, 64)) is not None and pets / "dog" / "big.jpg"
    whole.write_bytes(whole.read_bytes()[:700])
    with pytest.raises(InputError, match="3 files are no images") as caught:
        FolderDataset(str(pets), (6, 5)).info(None)
    (problem,) = caught.value.problems
    assert "cat/1.png: not a PNG, JPEG, BMP or GIF image" in problem.received
    assert "dog/big.jpg: " in problem.received
    (pets / "cat" / "1.png").unlink()
    (pets / "cat" / "2.png").unlink()
    with pytest.raises(InputError, match="a file that is no image"):
        FolderDataset(str(pets), (6, 5)).info(None)


def test_what_is_no_folder_of_classes_says_what_it_is(tmp_path, pets):
    for path, told in (
        (tmp_path / "none", "no such folder"),
        (pets / "cat", "received: one folder, deep"),
        (pets / "owl", "no folders in it"),
        (pets / "owl" / "1.png", "this is no plain folder"),
        (tmp_path / "wrapped", f"dataset: {tmp_path}/wrapped/pets"),
    ):
        if path.name == "wrapped":
            shutil.copytree(pets, path / "pets")
        with pytest.raises(InputError) as caught:
            FolderDataset(str(path)).info(None)
        assert told in str(caught.value)
    (pets / "ant").mkdir()
    with pytest.raises(InputError, match="no images in ant"):
        FolderDataset(str(pets)).info(None)


def test_what_does_not_fit_is_refused_before_it_is_decoded(pets, monkeypatch):
    monkeypatch.setattr("tuner.data.own.available_bytes", lambda: 800)
    with pytest.raises(InputError, match="do not fit into memory"):
        FolderDataset(str(pets)).info(None)


def test_images_are_decoded_once_and_again_when_a_file_changes(pets, monkeypatch):
    decoded = []
    pixels = folder_module._pixels
    monkeypatch.setattr(folder_module, "_pixels", lambda *a: decoded.append(a) or pixels(*a))
    monkeypatch.setattr(folder_module, "_TICK_NANOSECONDS", 0)
    dataset = FolderDataset(str(pets))
    first = dataset.load(None)
    again = dataset.load(None)
    assert len(decoded) == 10
    assert again.info == first.info
    np.testing.assert_array_equal(again.train.images, first.train.images)
    other = pets / "cat" / "2.png"
    stamp = os.stat(pets / "cat" / "1.png")
    shutil.copyfile(pets / "cat" / "1.png", other)
    os.utime(other, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # as rsync -t would
    changed = dataset.load(None)
    assert changed.info.fingerprint != first.info.fingerprint
    FolderDataset(str(pets), (3, 3)).load(None)
    assert len(decoded) == 30
    assert len(list((pets.parent / "cache" / "images").iterdir())) == 2  # the first one went


def test_a_cache_that_is_damaged_or_cannot_be_written_harms_nothing(pets, tmp_path, monkeypatch):
    monkeypatch.setattr(folder_module, "_TICK_NANOSECONDS", 0)
    dataset = FolderDataset(str(pets))
    first = dataset.load(None)
    (cached,) = (tmp_path / "cache" / "images").iterdir()
    cached.write_bytes(cached.read_bytes()[:900])
    np.testing.assert_array_equal(dataset.load(None).train.images, first.train.images)
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("a file")
    np.testing.assert_array_equal(dataset.load(None).train.images, first.train.images)


def test_files_that_have_just_changed_are_not_cached(pets, tmp_path, monkeypatch):
    now = max(max(file.stamp[1:3]) for file in list_images(pets).files)
    monkeypatch.setattr(time, "time_ns", lambda: now)
    FolderDataset(str(pets)).load(None)
    assert not (tmp_path / "cache").exists()


def test_the_fingerprint_is_of_content_and_classes(pets, tmp_path):
    def fingerprint(path):
        return FolderDataset(str(path)).info(None).fingerprint

    before = fingerprint(pets)
    shutil.copytree(pets, tmp_path / "moved")
    assert fingerprint(tmp_path / "moved") == before
    (tmp_path / "moved" / "owl").rename(tmp_path / "moved" / "zebra")
    assert fingerprint(tmp_path / "moved") != before


def test_a_path_is_looked_for_beside_the_experiment_then_here(tmp_path, monkeypatch):
    here, beside = tmp_path / "here", tmp_path / "beside"
    for place in (here, beside):
        (place / "pets").mkdir(parents=True)
    (here / "mine.npz").write_bytes(b"")
    (here / "plain").write_bytes(b"")
    (beside / "cifar10").mkdir()
    monkeypatch.chdir(here)
    assert with_whole_path("pets", beside) == str(beside / "pets")
    assert with_whole_path("pets/", beside) == str(beside / "pets")
    assert with_whole_path("mine.npz", beside) == str(here / "mine.npz")
    for name in ("cifar10", "none.npz", "none/", "plain", "a.b:c", "", "a\0b", "x" * 5000):
        assert with_whole_path(name, beside) == name
