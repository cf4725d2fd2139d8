"""A folder of images gives what `keras.utils.image_dataset_from_directory` gives."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from PIL import Image

from tuner.data.folder import FolderDataset


@pytest.mark.parametrize("size", [(8, 12), (40, 31)])
def test_files_classes_and_pixels_are_those_of_keras(tmp_path, monkeypatch, size):
    monkeypatch.setenv("TUNER_CACHE_DIR", str(tmp_path / "cache"))
    rng, root = np.random.default_rng(0), tmp_path / "pets"
    for name in ("dog", "cat", "Owl", "cat/deep"):
        (root / name).mkdir(parents=True)
        for n in range(3):
            shape = (int(rng.integers(10, 40)), int(rng.integers(10, 40)), 4 if n == 1 else 3)
            image = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
            image.save(root / name / f"{n}.{'png' if n < 2 else 'bmp'}")
    theirs = keras.utils.image_dataset_from_directory(
        str(root), image_size=size, shuffle=False, batch_size=None, verbose=False
    )
    ours = FolderDataset(str(root), size)
    images, labels = zip(*theirs, strict=True)
    assert list(ours.info(None).class_names) == theirs.class_names
    data = ours.train(None)
    np.testing.assert_array_equal(data.labels, [int(label) for label in labels])
    np.testing.assert_allclose(data.images, np.stack(images), atol=0.501)
