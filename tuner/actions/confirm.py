"""The leaders of a search trained again: which ones, by which experiment, and what it found.

Fresh seeds, all training images, and the test set.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.data.config import DataConfig, FinalDataConfig, final_data
from tuner.data.images import load_test_images
from tuner.errors import InputError, Problem, TunerError
from tuner.execution.checks import check_same_code
from tuner.execution.queue import name_of
from tuner.experiment.experiment import Experiment, load_experiment
from tuner.experiment.schema import SearchConfig
from tuner.experiment.space import Branch, SearchSpace
from tuner.experiment.trial import Configuration
from tuner.ledger.folder import CONFIRMATION, RunFolder, write_atomically
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import RANKED_STATES
from tuner.ledger.threads import mixed_threads
from tuner.report.confirmation import Confirmation, SearchedLeader, confirmation, to_json
from tuner.report.page.confirmed import CONFIRMED
from tuner.report.prediction_document import (
    PredictionDocument,
    keep_document,
    read_document,
)
from tuner.report.prediction_tables import write_tables
from tuner.report.predictions import KeptPredictions, document_of, read_predictions
from tuner.report.record import TEST_SET_READ, num_images, read_record
from tuner.report.render import finite

if TYPE_CHECKING:
    from numpy.typing import NDArray

_READING = (
    ("data", "dataset"),
    ("data", "train_images"),
    ("search", "configurations"),
    ("objective", "metric"),
)

_MOST_PIXELS = 96  # of a side of an image that is shown

SEEDS_APART = 1_000_000
"""Added to the seed of the search: no replicate of it ever has one of these seeds."""


@dataclass(frozen=True)
class Leader:
    """A configuration that the search found good: its scores there, and under which numbers."""

    configuration: Configuration
    scores: tuple[float, ...]
    trials: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Over its replicates."""
        return math.fsum(self.scores) / len(self.scores)


def leaders(
    experiment: Experiment, ledger: Ledger, top: int, epochs: int | None = None
) -> list[Leader]:
    """The best configurations of a search by their mean scores; ties go to the earlier one.

    Where all are to be confirmed with the same number of `epochs`, of those that differ in it alone
    the best counts.
    """
    scores: dict[str, list[float]] = defaultdict(list)
    trials: dict[str, list[int]] = defaultdict(list)
    configurations: dict[str, Configuration] = {}
    for row in ledger.rows(RANKED_STATES):
        configuration = experiment.space.find(row.configuration)
        if configuration is None or row.score is None:
            continue
        name = name_of(configuration)
        configurations.setdefault(name, configuration)
        scores[name].append(row.score)
        trials[name].append(row.number)
    found = [Leader(c, tuple(scores[n]), tuple(trials[n])) for n, c in configurations.items()]
    unique: dict[str, Leader] = {}
    for leader in sorted(found, key=lambda leader: -experiment.objective.gain(leader.mean)):
        if len(unique) == top:
            break  # the warm-up of who does not lead need not fit
        unique.setdefault(name_of(_with_epochs(leader.configuration, epochs)), leader)
    return list(unique.values())


def confirming(
    experiment: Experiment,
    chosen: Sequence[Leader],
    *,
    seeds: int,
    epochs: int | None = None,
    train_images: int | None = None,
) -> Experiment:
    """An experiment over the leaders alone, each under so many fresh seeds.

    It trains on all training images (or `train_images` of them) without holding any out, for
    `epochs` or as long as the search did, and its objective is that of the search on the test set.

    Raises:
        InputError: there is no leader, or its warm-up takes more epochs.
    """
    if not chosen:
        what = f"{experiment.name}: no trial has a score, so there is nothing to confirm"
        raise InputError(Problem(what, mend="tuner run EXPERIMENT"))
    configurations = [_with_epochs(leader.configuration, epochs) for leader in chosen]
    data = final_data(experiment.data, train_images)
    search = SearchConfig.model_construct(
        method="list", seed=experiment.search.seed + SEEDS_APART, replicates=seeds
    )
    metric = f"test_{experiment.objective.metric.removeprefix('val_')}"
    objective = replace(experiment.objective, metric=metric)
    return replace(
        experiment,
        name=CONFIRMATION,
        data=data,
        objective=objective,
        search=search,
        start=(),
        space=SearchSpace(tuple(map(_closed_branch, configurations))),
        document=experiment.document
        | {
            "name": CONFIRMATION,
            "data": data.model_dump(mode="json"),
            "objective": {"metric": objective.metric, "direction": objective.direction},
            "search": {
                "method": "list",
                "configurations": [configuration.flat() for configuration in configurations],
                "seed": search.seed,
                "replicates": seeds,
            },
        },
    )


def test_scores(experiment: Experiment, ledger: Ledger) -> list[dict[int, float]]:
    """Score on the test set by seed, for each configuration of a confirming experiment."""
    scores: dict[str, dict[int, float]] = {name_of(c): {} for c in experiment.space}
    for row in ledger.rows(RANKED_STATES):
        configuration = experiment.space.find(row.configuration)
        if configuration is not None and row.score is not None:
            scores[name_of(configuration)][row.seed] = row.score
    return list(scores.values())


def _with_epochs(configuration: Configuration, epochs: int | None) -> Configuration:
    if epochs is None:
        return configuration
    warmup = configuration.training["warmup_epochs"]
    if warmup > epochs:
        what = f"{warmup:g} epochs of warm-up do not fit"
        raise InputError(Problem(what, "--epochs", str(epochs), f"at least {warmup:g}"))
    changed: dict[str, Any] = {"training.epochs": epochs}
    values = {n: changed.get(n, value) for n, value in configuration.values.items()}
    training = configuration.training | {"epochs": epochs}
    return replace(configuration, training=training, values=values)


def _closed_branch(configuration: Configuration) -> Branch:
    return Branch(
        model=configuration.model,
        training=configuration.training,
        axes=(),
        names=tuple(configuration.values),
        switches=configuration.switches,
        data=configuration.data,
    )


# ---------------------------------------------------------------------- the use case


@dataclass(frozen=True)
class PlannedConfirmation:
    """A search, those of its configurations that lead, and the experiment that confirms them.

    `num_trials` is how many the search has ranked, `environment` where and on what it trained.
    """

    searched: Experiment
    leaders: tuple[Leader, ...]
    experiment: Experiment
    num_trials: int
    environment: Mapping[str, Any]


def plan_confirmation(
    folder: RunFolder, *, top: int, seeds: int, epochs: int | None, train_images: int | None
) -> PlannedConfirmation:
    """What confirms the `top` leaders of a search under so many fresh seeds.

    Raises:
        InputError: there is no leader, or its code has changed.
    """
    searched = load_experiment(folder.experiment_file())
    with Ledger.open_read_only(folder.ledger) as ledger:
        chosen = leaders(searched, ledger, top, epochs)
        numbers = {number for leader in chosen for number in leader.trials}
        check_same_code(row for row in ledger.rows(RANKED_STATES) if row.number in numbers)
        num_trials = sum(ledger.counts()[state] for state in RANKED_STATES)
        environment = ledger.environment
    experiment = confirming(searched, chosen, seeds=seeds, epochs=epochs, train_images=train_images)
    return PlannedConfirmation(searched, tuple(chosen), experiment, num_trials, environment)


def read_confirmation(planned: PlannedConfirmation, folder: RunFolder) -> Confirmation:
    """What the trials of the confirming experiment have found, as far as they have ended."""
    searched, experiment = planned.searched, planned.experiment
    with Ledger.open_read_only(RunFolder(folder.path, experiment.name).ledger) as ledger:
        test, environment = test_scores(experiment, ledger), ledger.environment
        mixed = mixed_threads(row.threads for row in ledger.rows(RANKED_STATES))
    readings = _record_reading(planned, folder) if any(test) else 0
    return confirmation(
        searched.name,
        [
            SearchedLeader(c.configuration.values, c.mean, len(c.scores), c.trials)
            for c in planned.leaders
        ],
        test,
        seeds=experiment.search.replicates,
        metric=experiment.objective.metric,
        objective=searched.objective,
        trials=planned.num_trials,
        images=num_images(environment, "test_images"),
        less_training=_less_training(planned, environment),
        readings=readings,
        mixed_threads=mixed,
    )


def _record_reading(planned: PlannedConfirmation, folder: RunFolder) -> int:
    """Notes in the ledger of the search that the test set was read; how often it has been so far.

    Going on, also with more seeds, is no second reading; other leaders or other training are.
    """
    document = planned.experiment.document
    settings = {n: document[section][n] for section, n in _READING}
    trials = sorted({number for leader in planned.leaders for number in leader.trials})
    # Without the lock of the run: nothing of it is changed, and SQLite keeps two commits apart.
    with Ledger.create_or_open(folder.ledger, planned.searched.name) as ledger:
        known = [event.detail["settings"] for event in ledger.events_of(TEST_SET_READ)]
        if settings not in known:
            ledger.event(TEST_SET_READ, {"settings": settings, "trials": trials})
        return len(known) + (settings not in known)


def _less_training(planned: PlannedConfirmation, environment: Mapping[str, Any]) -> str:
    """By how much less the first leader was trained than in the search, or on what else, in words.

    `environment` is that of the confirming trials.
    """
    searched, confirmed = planned.leaders[0].configuration, next(iter(planned.experiment.space))
    epochs = confirmed.training["epochs"], searched.training["epochs"]
    parts = [f"{epochs[0]} of {epochs[1]} epochs"] if epochs[0] < epochs[1] else []
    here, before = (num_images(e, "train_images") for e in (environment, planned.environment))
    if here and before and here < before:
        parts.append(f"on {here:,} of {before:,} images")
    # Not by the fingerprint: who adds test images to confirm with changes that, too.
    contents = [
        dict(e.get("data") or {}).get("content") for e in (planned.environment, environment)
    ]
    if all(contents) and contents[0] != contents[1]:
        parts.append("on images or labels that have changed since the search")
    return ", ".join(parts)


@dataclass(frozen=True)
class Concluded:
    """What a confirmation found, and what is kept of it.

    `lost` says what went wrong with the predictions, `unwritten` with the document.
    """

    confirmation: Confirmation
    predictions: PredictionDocument | None
    document: dict[str, Any]
    lost: str
    unwritten: str


def conclude(
    planned: PlannedConfirmation, folder: RunFolder, data_dir: Path | None, ending: str
) -> Concluded:
    """Read what the run that ended so has found, and keep it for the views of the search."""
    found = read_confirmation(planned, folder)
    is_over = ending != "interrupted"
    said, lost = keep_predictions(planned, folder, data_dir, is_over=is_over)
    document = {
        **to_json(found),
        "predictions": said.sentences if said else [],
        "ending": ending,
    }
    return Concluded(found, said, document, lost, keep_confirmation(document, folder))


def keep_predictions(
    planned: PlannedConfirmation, folder: RunFolder, data_dir: Path | None, *, is_over: bool
) -> tuple[PredictionDocument | None, str]:
    """Write the tables of what was predicted, and what the views show of it.

    Gives that, and what went wrong, which must hide nothing. Nothing is evaluated for it; when the
    run `is_over`, the few images that are shown are taken from the data, unless they are kept.
    """
    own = RunFolder(folder.path, planned.experiment.name)
    try:
        kept = read_predictions(own)
        document, problem = document_of(kept), ""
        if document is not None:
            known = _known_pictures(own)
            if is_over and any(one.index not in known for one in document.leaders[0].worst):
                known, problem = _read_pictures(planned.experiment.data, data_dir, document, kept)
            document = _with_pictures(document, known)
        keep_document(document, own)
        write_tables(kept, own)
    except (OSError, TunerError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return None, f"the predictions on the test images could not be written: {reason}"
    if document is None and read_record(own).ranking.ranked:
        problem = "of these trials no predictions are kept: an older tuner has trained them"
    return document, problem


def _known_pictures(own: RunFolder) -> dict[int, dict[str, str]]:
    """Those of an earlier confirmation, by their places in the test set, which never change."""
    before = read_document(own)
    worst = before.leaders[0].worst if before and before.leaders else []
    return {one.index: {"picture": one.picture, "file": one.file} for one in worst if one.picture}


def _read_pictures(
    data: DataConfig, data_dir: Path | None, document: PredictionDocument, kept: KeptPredictions
) -> tuple[dict[int, dict[str, str]], str]:
    """The worst images by their places, with their files; and why there are none."""
    assert isinstance(data, FinalDataConfig)
    try:
        test, files = load_test_images(data, data_dir)
    except (OSError, TunerError) as error:
        return {}, f"the worst test images cannot be shown: {error}"
    if not np.array_equal(test.labels, kept.trials[0].images.labels):
        return {}, "the worst test images cannot be shown: the data have changed"
    indices = [one.index for one in document.leaders[0].worst]
    return {
        index: {"picture": _picture(test.images[index]), "file": files[index] if files else ""}
        for index in indices
    }, ""


def _picture(pixels: NDArray[np.uint8]) -> str:
    """A PNG in base64, small enough for a page; of other than one or three channels their mean."""
    from PIL import Image

    channels = pixels.shape[-1]
    plane = pixels if channels == 3 else pixels.mean(axis=-1).round().astype(np.uint8)
    image = Image.fromarray(plane)
    image.thumbnail((_MOST_PIXELS, _MOST_PIXELS))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def _with_pictures(
    document: PredictionDocument, known: Mapping[int, Mapping[str, str]]
) -> PredictionDocument:
    first, *others = document.leaders
    worst = [one.model_copy(update=known.get(one.index, {})) for one in first.worst]
    shown = first.model_copy(update={"worst": worst})
    return document.model_copy(update={"leaders": [shown, *others]})


def keep_confirmation(document: dict[str, Any], folder: RunFolder) -> str:
    """Write what the search's page shows of it; what went wrong, which must hide nothing."""
    path = folder.path / CONFIRMED
    try:
        write_atomically(path, json.dumps(finite(document), indent=2) + "\n")
    except OSError as error:
        return f"{path} could not be written: {error.strerror or error}"
    return ""
