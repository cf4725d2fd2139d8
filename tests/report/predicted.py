"""Predictions on test images as `tuner confirm` leaves them, without training anything."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.predictions import PREDICTIONS, ImagePredictions
from tuner.ledger.records import NewTrial, Outcome


def said(
    labels: Sequence[int],
    predicted: Sequence[int],
    probability: Sequence[float],
    true: Sequence[float] | None = None,
) -> ImagePredictions:
    """What one network says; where it is right the two probabilities are one."""
    own = np.asarray(probability, float)
    other = own if true is None else np.asarray(true, float)
    right = np.asarray(labels) == np.asarray(predicted)
    return ImagePredictions(
        np.asarray(labels, np.int32),
        np.asarray(predicted, np.int32),
        np.log(own),
        np.log(np.where(right, own, other)),
    )


def random_predictions(
    images: int, classes: int, seed: int, accuracy: float = 0.7
) -> ImagePredictions:
    """Right as often as that; the labels are the same for every seed."""
    labels = np.random.default_rng(0).integers(0, classes, images)
    rng = np.random.default_rng(seed + 1)
    wrong = (labels + rng.integers(1, classes, images)) % classes
    predicted = np.where(rng.random(images) < accuracy, labels, wrong)
    probability = rng.uniform(1 / classes, 1, images)
    return said(labels, predicted, probability, probability * (1 - probability) + 1e-6)


def write_confirming(
    search: RunFolder,
    leaders: Sequence[Mapping[int, ImagePredictions]],
    *,
    dataset: str = "mine.npz",
    environment: Mapping[str, Any] | None = None,
) -> RunFolder:
    """The folder of confirming trials: of each leader what it says under each seed."""
    folder = RunFolder(search.path, "confirm")
    folder.path.mkdir(parents=True, exist_ok=True)
    configurations = [{"model.family": "lenet", "model.n": n} for n in range(len(leaders))]
    text = json.dumps({"data": {"dataset": dataset}, "search": {"configurations": configurations}})
    with Ledger.create_or_open(folder.ledger, "confirm") as ledger:
        ledger._connection.execute("PRAGMA synchronous = OFF")  # nobody pulls the plug of a test
        ledger.set_objective(Objective("test_accuracy", "max"))
        ledger.keep_experiment(text)
        ledger.event("environment", environment or {"data": {}})
        for place, seeds in enumerate(leaders):
            for seed, images in seeds.items():
                key, values = f"{place}-{seed}", {"model.n": place}
                new = NewTrial(key, configurations[place], values, seed, seed, "s")
                number = ledger.add([new])[0]
                ledger.start(number, 1)
                ledger.event(PREDICTIONS, images.to_detail(number, 1))
                score = float(np.mean(images.correct))
                metrics = {"test_accuracy": score}
                ledger.record_epoch(number, 1, metrics, 1.0)
                ledger.finish(number, Outcome(TrialState.COMPLETED, score, 1, metrics, 1.0))
    return folder
