"""The predictions on the test images as tables: of each image, of each class, of each confusion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.ledger.folder import RunFolder, write_atomically
from tuner.ledger.table import to_csv
from tuner.report.predictions import (
    KeptPredictions,
    TrialPredictions,
    class_figures,
    confusion_counts,
)

if TYPE_CHECKING:
    import pandas
    from numpy.typing import NDArray

TABLES = ("predictions.csv", "classes.csv", "confusion.csv")
_CLASSES = (
    *("configuration", "class", "images", "seeds", "accuracy", "low", "high"),
    *("taken_for", "taken_share"),
)
_CONFUSIONS = ("configuration", "true_class", "predicted_class", "images", "taken", "share")


def write_tables(kept: KeptPredictions, folder: RunFolder) -> None:
    """Write predictions.csv, classes.csv and confusion.csv beside the trials.csv of the trials.

    Without predictions there are no such files, nor any of other trials.

    Raises:
        OSError: one cannot be written.
    """
    paths = [folder.path / name for name in TABLES]
    if not kept.trials:
        for path in paths:
            path.unlink(missing_ok=True)
        return
    columns = [image_columns(one, kept.classes.names) for one in kept.trials]
    images = (row for part in columns for row in zip(*map(_listed, part.values()), strict=True))
    tables = (
        (tuple(columns[0]), images),
        (_CLASSES, class_rows(kept)),
        (_CONFUSIONS, confusion_rows(kept)),
    )
    for path, (heads, rows) in zip(paths, tables, strict=True):
        write_atomically(path, to_csv(heads, rows))


def image_columns(one: TrialPredictions, names: Sequence[str]) -> Mapping[str, NDArray[Any]]:
    """A row for each test image: its class, what was predicted, and the probability of both."""
    images, called = one.images, np.array(names, dtype=object)
    count = len(images)
    return {
        "configuration": np.full(count, one.place),
        "trial": np.full(count, one.trial),
        "seed": np.full(count, one.seed),
        "index": np.arange(count),
        "true_class": called[images.labels],
        "predicted_class": called[images.predicted],
        "probability": _rounded(images.probability),
        "true_probability": _rounded(images.true_probability),
    }


def frame_of(kept: KeptPredictions) -> pandas.DataFrame:
    """All of them as one DataFrame."""
    import pandas as pd

    frames = [pd.DataFrame(image_columns(one, kept.classes.names)) for one in kept.trials]
    return pd.concat(frames, ignore_index=True)


def class_rows(kept: KeptPredictions) -> Iterator[tuple[Any, ...]]:
    """A row for each leader and class; accuracies are means over the seeds."""
    for place, trials in kept.leaders.items():
        counts = confusion_counts([one.images for one in trials], len(kept.classes.names))
        for one in class_figures(counts, kept.classes):
            ends = (one.accuracy, one.low, one.high)
            yield (place, one.name, one.images, len(trials), *ends, one.taken_for, one.taken_share)


def confusion_rows(kept: KeptPredictions) -> Iterator[tuple[Any, ...]]:
    """A row for each leader and pair of classes that occurs: how many images, mean over seeds."""
    names = kept.classes.names
    for place, trials in kept.leaders.items():
        means = confusion_counts([one.images for one in trials], len(names)).mean(axis=0)
        images = means.sum(axis=1)
        for true, predicted in zip(*map(np.ndarray.tolist, np.nonzero(means)), strict=True):
            taken, n = float(means[true, predicted]), round(images[true])
            yield (place, names[true], names[predicted], n, taken, taken / n)


def _listed(values: NDArray[Any]) -> list[Any]:
    return list(values.tolist())


def _rounded(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """In four digits: a file of many rows."""
    return np.array([float(f"{p:.4g}") for p in probabilities.tolist()])
