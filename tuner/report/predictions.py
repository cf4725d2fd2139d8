"""What the predictions on the test images say of each leader that `tuner confirm` has trained.

How well each class is known and for what it is taken instead, whether probabilities can be relied
on, and which images are wrong most confidently. A pure function computes it from what the
ledger has kept; the document that it makes is what the page and the terminal show.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.data.class_names import CLASS_GROUPS, CLASS_NAMES
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.predictions import PREDICTIONS, ImagePredictions
from tuner.ledger.records import RANKED_STATES
from tuner.report.open_values import experiment_tree
from tuner.report.prediction_document import (
    CALIBRATION_BINS,
    NUM_WORST,
    Calibration,
    ClassFigures,
    Confusion,
    ConfusionMatrix,
    PredictionDocument,
    PredictionFigures,
    ReliabilityBin,
    WithinGroups,
    WorstImage,
    sentences,
)
from tuner.report.statistics import score_interval, share_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MOST_SHOWN = 5  # leaders whose figures are kept; the tables have all
MOST_CLASSES = 30  # of a matrix that can be read
_NUM_CONFUSIONS = 20

# ---------------------------------------------------------------------- what was predicted


@dataclass(frozen=True, eq=False)
class TrialPredictions:
    """What one confirming trial says of the test images.

    `place` is that of its configuration among the leaders, from 1 for the search's best.
    """

    place: int
    trial: int
    seed: int
    images: ImagePredictions


@dataclass(frozen=True)
class TestClasses:
    """The classes by their numbers: what they are called, and the groups that they are part of.

    Without names they are called by their numbers; without groups there are none.
    """

    names: tuple[str, ...]
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class KeptPredictions:
    """All that is kept of the test images: by trial, best leader first, then by seed."""

    trials: Sequence[TrialPredictions]
    classes: TestClasses

    @cached_property
    def leaders(self) -> dict[int, list[TrialPredictions]]:
        """The trials of each leader, by its place."""
        leaders: dict[int, list[TrialPredictions]] = {}
        for one in self.trials:
            leaders.setdefault(one.place, []).append(one)
        return leaders


def read_predictions(folder: RunFolder) -> KeptPredictions:
    """Of all ranked trials of a confirming experiment; none where an older tuner trained them.

    Raises:
        InputError: there is no ledger, or it is damaged.
        TunerError: what it holds are no predictions.
    """
    with Ledger.open_read_only(folder.ledger) as ledger:
        # Of a trial whose last epoch was trained twice, the last one is the one that is scored.
        kept = {event.detail["trial"]: event.detail for event in ledger.events_of(PREDICTIONS)}
        rows = [row for row in ledger.rows(RANKED_STATES) if row.number in kept]
        tree, environment = experiment_tree(ledger.experiment_yaml), ledger.environment
    configurations = list(_section(tree, "search").get("configurations") or ())
    found = [
        TrialPredictions(
            configurations.index(dict(row.configuration)) + 1,
            row.number,
            row.seed,
            ImagePredictions.from_detail(kept[row.number]),
        )
        for row in rows
        if dict(row.configuration) in configurations
    ]
    found = [one for one in found if len(one.images)]
    found.sort(key=lambda one: (one.place, one.seed))
    return KeptPredictions(found, _classes_of(found, tree, environment))


def _section(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = tree.get(name)
    return section if isinstance(section, Mapping) else {}


def _classes_of(
    trials: Sequence[TrialPredictions], tree: Mapping[str, Any], environment: Mapping[str, Any]
) -> TestClasses:
    """For all classes: the test set may lack some."""
    dataset = str(_section(tree, "data").get("dataset"))
    own = tuple(map(str, _section(environment, "images").get("class_names") or ()))
    names, groups = own or CLASS_NAMES.get(dataset, ()), CLASS_GROUPS.get(dataset, ())
    parts = [part for one in trials for part in (one.images.labels, one.images.predicted)]
    recorded = _section(environment, "data").get("num_classes")
    known = recorded if isinstance(recorded, int) else 0
    total = max([known, len(names), *(int(part.max()) + 1 for part in parts)])
    called = names if len(names) == total else tuple(map(str, range(total)))
    return TestClasses(called, groups if len(groups) == total else ())


# ---------------------------------------------------------------------- figures


def document_of(kept: KeptPredictions) -> PredictionDocument | None:
    """What is kept for the page and the terminal; None without predictions.

    The worst images are those of the first leader, which the search chose.
    """
    shown = [
        figures_of(place, trials, kept.classes, num_worst=NUM_WORST if order == 0 else 0)
        for order, (place, trials) in enumerate(list(kept.leaders.items())[:MOST_SHOWN])
    ]
    return PredictionDocument(leaders=shown, sentences=sentences(shown[0])) if shown else None


def figures_of(
    place: int, trials: Sequence[TrialPredictions], classes: TestClasses, num_worst: int
) -> PredictionFigures:
    """Means over the seeds of a leader, with their intervals."""
    seeds = [trial.images for trial in trials]
    counts = confusion_counts(seeds, len(classes.names))
    return PredictionFigures(
        place=place,
        seeds=len(seeds),
        images=len(seeds[0]),
        accuracy=float(np.mean([one.correct for one in seeds])),
        classes=class_figures(counts, classes),
        confusions=confusions(np.mean(counts, axis=0), classes)[:_NUM_CONFUSIONS],
        matrix=_matrix(np.mean(counts, axis=0), classes),
        within_groups=_within_groups(np.mean(counts, axis=0), classes),
        calibration=_calibration(seeds),
        worst=worst_images(seeds, classes, num_worst),
    )


def confusion_counts(seeds: Sequence[ImagePredictions], num_classes: int) -> NDArray[np.int64]:
    """How many images of each class were predicted as each: (seeds, true, predicted)."""
    pairs = (one.labels.astype(np.int64) * num_classes + one.predicted for one in seeds)
    counted = [np.bincount(pair, minlength=num_classes**2) for pair in pairs]
    return np.reshape(counted, (len(seeds), num_classes, num_classes))


def class_figures(counts: NDArray[np.int64], classes: TestClasses) -> list[ClassFigures]:
    """Of each class, in the order of their numbers."""
    means = np.mean(counts, axis=0)
    right, images = np.diagonal(counts, axis1=1, axis2=2), counts[0].sum(axis=1)
    figures = []
    for number, (name, n) in enumerate(zip(classes.names, images.tolist(), strict=True)):
        if not n:
            figures.append(ClassFigures(name=name, images=0))
            continue
        interval = share_interval((right[:, number] / n).tolist(), n)
        others = means[number].copy()
        others[number] = 0
        other = int(np.argmax(others))
        figures.append(
            ClassFigures(
                name=name,
                images=n,
                accuracy=interval.mean,
                low=interval.low,
                high=interval.high,
                taken_for=classes.names[other] if others[other] else "",
                taken_share=float(others[other]) / n if others[other] else None,
            )
        )
    return figures


def confusions(means: Floats, classes: TestClasses) -> list[Confusion]:
    """Every pair of classes that is confused, most often first; of equals the lower numbers."""
    wrong = means * (1 - np.eye(len(means)))
    order = np.argsort(-wrong, axis=None, kind="stable")
    images = means.sum(axis=1)
    pairs = [divmod(int(place), len(means)) for place in order[: np.count_nonzero(wrong)]]
    return [
        Confusion(
            true=classes.names[true],
            predicted=classes.names[predicted],
            taken=float(wrong[true, predicted]),
            images=round(images[true]),
        )
        for true, predicted in pairs
    ]


def _matrix(means: Floats, classes: TestClasses) -> ConfusionMatrix | None:
    """Of the groups where there are any; None for more classes than can be read."""
    names = list(classes.names)
    if classes.groups:
        names = sorted(set(classes.groups))
        member = np.array([[group == name for group in classes.groups] for name in names], float)
        means = member @ means @ member.T
    if len(names) > MOST_CLASSES:
        return None
    images = means.sum(axis=1)
    shares = [
        [round(float(count) / n, 4) if n else None for count in row]
        for row, n in zip(means, images, strict=True)
    ]
    whole = [round(n) for n in images]
    return ConfusionMatrix(names=names, images=whole, shares=shares, of_groups=bool(classes.groups))


def _within_groups(means: Floats, classes: TestClasses) -> WithinGroups | None:
    others = 1 - np.eye(len(means))
    wrong = means * others
    if not classes.groups or not wrong.sum():
        return None
    groups = np.array(classes.groups)
    is_same = groups[:, None] == groups
    evenly = others * wrong.sum(axis=1, keepdims=True)
    return WithinGroups(
        share=float(wrong[is_same].sum() / wrong.sum()),
        by_chance=float(evenly[is_same].sum() / evenly.sum()),
    )


def _calibration(seeds: Sequence[ImagePredictions]) -> Calibration:
    errors = [calibration_error(calibration_bins(one.probability, one.correct)) for one in seeds]
    interval = score_interval(errors, "accuracy")  # as that, it never leaves 0..1
    is_known = interval.is_bounded and not interval.says_nothing("accuracy")
    together = np.concatenate([one.probability for one in seeds])
    bins = calibration_bins(together, np.concatenate([one.correct for one in seeds]))
    return Calibration(
        error=interval.mean,
        low=interval.low if is_known else None,
        high=interval.high if is_known else None,
        confidence=float(np.mean(together)),
        bins=bins,
    )


def calibration_bins(probabilities: Floats, correct: NDArray[np.bool_]) -> list[ReliabilityBin]:
    """The fifteen equal parts of 0..1 that hold any prediction, from the least sure one on.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, section 2.
    """
    places = np.minimum((probabilities * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    counts, sure, right = (
        np.bincount(places, weights, CALIBRATION_BINS) for weights in (None, probabilities, correct)
    )
    return [
        ReliabilityBin(n=int(n), confidence=float(p / n), accuracy=float(r / n))
        for n, p, r in zip(counts, sure, right, strict=True)
        if n
    ]


def calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Expected calibration error: Σ n_b/n · |accuracy_b − confidence_b| over the bins.

    0 where of all predictions made with probability p the share p is right (Guo et al. 2017,
    equation 3).
    """
    total = sum(part.n for part in bins)
    return math.fsum(part.n / total * abs(part.accuracy - part.confidence) for part in bins)


def worst_images(
    seeds: Sequence[ImagePredictions], classes: TestClasses, most: int
) -> list[WorstImage]:
    """By the probability of what is wrong, as the mean over the seeds; of equals the earlier."""
    blame = np.stack([np.where(one.correct, 0.0, one.probability) for one in seeds])
    means, true = blame.mean(axis=0), np.mean([one.true_probability for one in seeds], axis=0)
    order = np.argsort(-means, kind="stable")[: min(most, np.count_nonzero(means))]
    return [
        WorstImage(
            index=index,
            true=classes.names[seeds[0].labels[index]],
            predicted=classes.names[_blamed(seeds, blame, index)],
            probability=float(means[index]),
            true_probability=float(true[index]),
            wrong=int(np.count_nonzero(blame[:, index])),
        )
        for index in order.tolist()
    ]


def _blamed(seeds: Sequence[ImagePredictions], blame: Floats, index: int) -> int:
    """The wrong class that got most over the seeds, which need not agree."""
    given: dict[int, float] = {}
    for one, probability in zip(seeds, blame[:, index].tolist(), strict=True):
        number = int(one.predicted[index])
        given[number] = given.get(number, 0.0) + probability
    return max(given, key=lambda number: given[number])
