"""Predictions of the best trained networks on the validation images; nothing is trained."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.actions.export import load_framework
from tuner.code.keras_globals import keras_defaults
from tuner.data.config import FinalDataConfig
from tuner.data.images import check, fetch, load_images
from tuner.errors import InputError, Problem
from tuner.execution.checks import check_same_code, check_same_data
from tuner.experiment.experiment import Experiment
from tuner.ledger.checkpoint import best_checkpoints, model_section, read_checkpoint
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import RANKED_STATES, CheckpointRow, TrialRow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BATCH = 250  # images at a time


@dataclass(frozen=True)
class Member:
    """A trial with the checkpoint of its best epoch."""

    row: TrialRow
    checkpoint: CheckpointRow


@dataclass(frozen=True, eq=False)
class Predictions:
    """Probabilities (images, classes) of each member, in the members' order, and the labels."""

    members: tuple[Member, ...]
    probabilities: tuple[NDArray[np.float64], ...]
    labels: NDArray[np.int32]


# number of the trial, how many are done, how many there are
OnMember = Callable[[int, int, int], None]


def predictions(
    experiment: Experiment,
    folder: RunFolder,
    *,
    top: int,
    data_dir: Path | None,
    on_member: OnMember,
) -> Predictions:
    """Of the `top` best trials whose network is kept, on the images that the search validated on.

    Raises:
        InputError: fewer than two networks are kept, or the data set has changed.
        TunerError: a checkpoint is damaged, or does not fit the network any more.
    """
    if isinstance(experiment.data, FinalDataConfig):
        what = "nothing is averaged on the test images: they would choose"
        raise InputError(Problem(what, folder.name, mend="name the search"))
    info = check(experiment.data, data_dir, backend=experiment.backend)
    with Ledger.open_read_only(folder.ledger) as ledger:
        where = experiment.where("data.dataset")
        check_same_data(ledger.data_record, experiment.data, info, where)
        found = _members(experiment, ledger)
    if len(found) < 2:
        raise InputError(_too_few(folder, len(found)))
    members = tuple(found[:top])
    check_same_code(member.row for member in members)
    fetch(experiment.data, data_dir)
    images = load_images(experiment.data, data_dir)
    load_framework(experiment.backend)
    probabilities = []
    for done, member in enumerate(members):
        on_member(member.row.number, done, len(members))
        probabilities.append(_probabilities(folder, member, images.x_validation))
    return Predictions(members, tuple(probabilities), images.y_validation)


def _members(experiment: Experiment, ledger: Ledger) -> list[Member]:
    """Best first; ties go to the earlier trial. Superseded ones may have seen these very images."""
    rows = [row for row in ledger.rows(RANKED_STATES) if row.score is not None]
    kept = best_checkpoints(ledger, rows)
    own = [Member(row, kept[row.number]) for row in rows if row.number in kept]
    rank_key = experiment.objective.rank_key
    return sorted(own, key=lambda member: rank_key(member.row.score or 0.0, member.row.number))


def _too_few(folder: RunFolder, count: int) -> Problem:
    return Problem(
        "an ensemble needs two trained networks or more",
        where=folder.name,
        received=f"{count} with a checkpoint, of the trials of the experiment as it stands",
        mend="tuner run EXPERIMENT keeps those of the best trials",
    )


def _probabilities(
    folder: RunFolder, member: Member, images: NDArray[np.uint8]
) -> NDArray[np.float64]:
    import numpy as np

    from tuner.training.trial import output_reading, restored_model

    arrays, notes = read_checkpoint(folder, member.checkpoint)
    section = model_section(member.row)
    model = restored_model(section, arrays, notes)
    _, scale = notes.get("pixels", (255.0, 1.0))
    pixels: Any = images if scale == 1 else images / np.float32(scale)
    with keras_defaults():
        outputs = np.asarray(model.predict(pixels, batch_size=_BATCH, verbose=0), np.float64)
    gives = output_reading(section, tuple(notes["image_shape"])).gives
    del model
    gc.collect()  # a model is full of cycles, and the next one takes as much memory
    shares: NDArray[np.float64] = outputs / np.sum(outputs, axis=-1, keepdims=True)
    return softmax(outputs) if gives == "logits" else shares


def softmax(logits: Any) -> Any:
    """Probabilities of logits (images, classes)."""
    import numpy as np

    powers = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    return powers / np.sum(powers, axis=-1, keepdims=True)
