"""Ledgers with what few runs keep: a DenseNet's checkpoint, gradient norms, a confirmation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.report import page_ledgers
from tests.report.page_ledgers import Plan
from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState
from tuner.ledger import checkpoint
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import GRADIENTS
from tuner.models.dense_kernels import dense_kernels
from tuner.report.confirmation import Confirmation, SearchedLeader, confirmation, to_json
from tuner.report.record import TEST_SET_READ

DENSENET = {"model.family": "densenet", "model.depth": 13, "model.growth_rate": 4}
RESNET = {"model.family": "resnet", "model.depth": 8}
IMAGE, CLASSES = (8, 8, 3), 10
LAYERS = (("stem", 100), ("block 1/layer 1", 400), ("<b>head", 25))


def write(results: Path, name: str = "inside") -> RunFolder:
    """A DenseNet (trial 1, the best), a ResNet, and one that diverged; all of them watched."""
    plans = [
        Plan(DENSENET, [0.1, 0.2, 0.4], parameters=9_000, macs=1_000_000),
        Plan(RESNET, [0.1, 0.2, 0.3], parameters=5_000, structure="resnet"),
        Plan({"model.family": "resnet", "model.depth": 14}, [0.1], TrialState.DIVERGED, "nan"),
    ]
    folder = page_ledgers.write(results, name, plans)
    keep_checkpoint(folder, 1, 3, 0.4)
    with Ledger.create_or_open(folder.ledger, name) as ledger:
        watch(ledger, 1, {0: [1e-4, 1e-3, 1e-1], 3: [0.0, 2e-2, 5e-1]})
        watch(ledger, 2, {0: [1e-2, 1e-2, 1e-1], 3: [1e-1, 2e-1, 3e-1]})
        watch(ledger, 3, {0: [1e2, 1e1, 1e0], 1: [1e9, 1e5, 1e1]})
    return folder


def keep_checkpoint(
    folder: RunFolder, number: int, epoch: int, accuracy: float, *, trained: bool = True
) -> Path:
    """The weights of a network of that configuration; gives the file.

    Random ones, and if it was trained, smaller by half for each further source of a layer.
    """
    model = {name.removeprefix("model."): value for name, value in DENSENET.items()}
    layout = dense_kernels(model, IMAGE, CLASSES)
    assert layout is not None
    weights = np.random.default_rng(0).normal(size=layout.num_weights).astype(np.float32)
    readers = [reader for block in layout.blocks for reader in block.readers if trained]
    for reader in readers:
        kernel = weights[reader.start : reader.stop].reshape(reader.shape)
        sources = np.repeat(np.arange(len(reader.sources)), reader.sources)
        kernel *= 0.5 ** sources[:, np.newaxis].astype(np.float32)
    notes = {"image_shape": IMAGE, "num_classes": CLASSES, "key": "key0", "epoch": epoch}
    saved = checkpoint.save(folder.checkpoints, "t1.ckpt", {"weights": weights}, notes)
    with Ledger.create_or_open(folder.ledger, folder.name) as ledger:
        metrics = page_ledgers.metrics_of(accuracy, epoch)
        ledger.record_epoch(number, epoch, metrics, 8.0, saved)
    return folder.checkpoints / saved.file


def watch(ledger: Ledger, number: int, norms: dict[int, Sequence[float]]) -> None:
    """One event an epoch, as the scheduler writes them."""
    for epoch, values in norms.items():
        detail = {"trial": number, "epoch": epoch, "norms": list(values)}
        layers = {"layers": [list(layer) for layer in LAYERS]} if epoch == 0 else {}
        ledger.event(GRADIENTS, {**detail, **layers})


def found(name: str = "inside", seeds: int = 6) -> Confirmation:
    """Three leaders on the test set: the second is worse, the third has a single seed."""
    searched = [
        SearchedLeader({"model.depth": 13, "training.learning_rate": 0.001}, 0.42, 1),
        SearchedLeader({"model.depth": 8, "training.learning_rate": 0.001}, 0.41, 1),
        SearchedLeader({"model.depth": 14, "training.learning_rate": 0.1}, 0.40, 2),
    ]
    test = [
        {seed: 0.38 + 0.002 * seed for seed in range(seeds)},
        {seed: 0.35 + 0.002 * seed + 0.001 * (seed % 2) for seed in range(seeds)},
        {0: 0.37},
    ]
    return confirmation(
        name,
        searched,
        test,
        seeds=seeds,
        metric="test_accuracy",
        objective=Objective(),
        trials=12,
    )


def confirm(folder: RunFolder) -> Path:
    """What `tuner confirm` leaves behind; gives the file."""
    path = folder.path / "confirm" / "confirmation.json"
    path.parent.mkdir()
    with Ledger.create_or_open(folder.ledger, folder.name) as ledger:
        ledger.event(TEST_SET_READ, {"settings": {}, "trials": [1]})
    path.write_text(json.dumps({**to_json(found(folder.name)), "ending": "done"}))
    return path
