"""What predictions on test images say, as the page and the terminal show it: a kept document.

`predictions` computes it from what the ledger keeps; it is read back with care, for a page is
made of it.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
)

from tuner.ledger.folder import RunFolder, write_atomically
from tuner.report import format
from tuner.report.render import Style, plain, wrapped
from tuner.report.statistics import Interval

DOCUMENT = "predictions.json"
"""Its name in the folder of the confirming trials."""

CALIBRATION_BINS = 15
NUM_WORST = 24
_MOST_BYTES = 8_000_000  # of a document; a real one has some hundred thousand
_NUM_NAMED = 3  # classes and confusions in a sentence
_SURE_ENOUGH = 0.01  # that far apart, confidence and accuracy are called equal

_STRICT = ConfigDict(frozen=True, strict=True)
PlainText = Annotated[str, AfterValidator(format.printable)]
Picture = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$")]


class ClassFigures(BaseModel):
    """How often a class is predicted right, and for what it is taken most often instead.

    `images` are those of the test set; without any there is no accuracy. `taken_share` is of them.
    """

    model_config = _STRICT

    name: PlainText
    images: int
    accuracy: FiniteFloat | None = None
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None
    taken_for: PlainText = ""
    taken_share: FiniteFloat | None = None

    @property
    def text(self) -> str:
        """Accuracy with its interval."""
        if self.accuracy is None or self.low is None or self.high is None:
            return format.NOTHING
        return f"{self.accuracy:.2f} [{self.low:.2f}, {self.high:.2f}]"


class Confusion(BaseModel):
    """Images of one class that are taken for another: how many, as the mean over the seeds."""

    model_config = _STRICT

    true: PlainText
    predicted: PlainText
    taken: FiniteFloat
    images: int

    @property
    def share(self) -> float:
        """Of the images of the class."""
        return self.taken / self.images


class ConfusionMatrix(BaseModel):
    """Of the images of each class (a row), the shares predicted as each class (a column).

    None in rows of classes that have no test image.
    """

    model_config = _STRICT

    names: list[PlainText]
    images: list[int]
    shares: list[list[FiniteFloat | None]]
    of_groups: bool = False


class ReliabilityBin(BaseModel):
    """Predictions, over all seeds, whose probability lies in one of the equal parts of 0..1.

    `confidence` is the mean of these probabilities, `accuracy` the share that is right.
    """

    model_config = _STRICT

    n: int
    confidence: FiniteFloat
    accuracy: FiniteFloat


class Calibration(BaseModel):
    """Whether probabilities can be relied on: the expected calibration error, mean over seeds."""

    model_config = _STRICT

    error: FiniteFloat
    low: FiniteFloat | None
    high: FiniteFloat | None
    confidence: FiniteFloat
    bins: list[ReliabilityBin]


class WorstImage(BaseModel):
    """An image that is wrong most confidently; `index` is its place in the test set, from 0.

    `probability` is what its wrong class gets, as the mean over all seeds, 0 where one is right.
    `picture` is a PNG in base64, empty where it is not known; `file` is where it comes from, if
    each image has a file.
    """

    model_config = _STRICT

    index: int
    true: PlainText
    predicted: PlainText
    probability: FiniteFloat
    true_probability: FiniteFloat
    wrong: int
    picture: Picture = ""
    file: PlainText = ""


class WithinGroups(BaseModel):
    """The share of all mistakes that stay within a group of classes.

    `by_chance` is that of mistakes which fall on all other classes alike.
    """

    model_config = _STRICT

    share: FiniteFloat
    by_chance: FiniteFloat


class PredictionFigures(BaseModel):
    """All figures of one leader: means over its seeds."""

    model_config = _STRICT

    place: int
    seeds: int
    images: int
    accuracy: FiniteFloat
    classes: list[ClassFigures]
    confusions: list[Confusion]
    matrix: ConfusionMatrix | None
    within_groups: WithinGroups | None
    calibration: Calibration
    worst: list[WorstImage]


class PredictionDocument(BaseModel):
    """The leaders whose predictions are kept, best of the search first, and what they say."""

    model_config = _STRICT

    leaders: list[PredictionFigures]
    sentences: list[PlainText]


# ---------------------------------------------------------------------- kept for the views


def keep_document(document: PredictionDocument | None, folder: RunFolder) -> None:
    """Write what the page and the terminal show beside the confirming trials; none removes it.

    Raises:
        OSError: it cannot be written.
    """
    path = folder.path / DOCUMENT
    if document is None:
        path.unlink(missing_ok=True)
    else:
        write_atomically(path, document.model_dump_json() + "\n")


def read_document(folder: RunFolder) -> PredictionDocument | None:
    """What was written; None where it is missing, damaged or something else."""
    path = folder.path / DOCUMENT
    try:
        text = path.read_text(encoding="utf-8") if path.stat().st_size <= _MOST_BYTES else ""
        return PredictionDocument.model_validate_json(text)
    except (OSError, UnicodeDecodeError, ValidationError):
        return None


# ---------------------------------------------------------------------- sentences


def heading(figures: PredictionFigures) -> str:
    """Of what the sentences are."""
    which = "the search's best" if figures.place == 1 else f"number {figures.place} of the search"
    seeds = f"mean over {figures.seeds} seeds" if figures.seeds > 1 else "under one seed"
    return f"What {which} says of {format.counted(figures.images, 'test image')}, {seeds}"


def to_text(document: PredictionDocument, width: int, style: Style = plain) -> str:
    """A few lines for the terminal: what the search's best says of the test images."""
    title = heading(document.leaders[0])
    lines = [style(line, "title") for line in wrapped(title, width)]
    for sentence in document.sentences:
        lines += wrapped(sentence, width, "  ")
    return "\n".join(lines) + "\n"


def sentences(figures: PredictionFigures) -> list[str]:
    """What a person wants to know of a leader's predictions, with numbers."""
    return [
        *_about_classes(figures),
        *_about_confusions(figures),
        _about_calibration(figures),
    ]


def _about_classes(figures: PredictionFigures) -> list[str]:
    known = [one for one in figures.classes if one.accuracy is not None]
    known.sort(key=lambda one: one.accuracy or 0.0)
    most = min(_NUM_NAMED, len(known) // 2)
    if not most:
        return []
    hardest, easiest = known[:most], known[: -most - 1 : -1]
    named = [", ".join(f"{one.name} {one.text}" for one in part) for part in (hardest, easiest)]
    missing = len(figures.classes) - len(known)
    lack = (
        f"; {format.counted(missing, 'class', 'classes')} without a test image" if missing else ""
    )
    return [f"Hardest classes: {named[0]}; easiest: {named[1]} (accuracy, 95 % interval){lack}."]


def _about_confusions(figures: PredictionFigures) -> list[str]:
    pairs = [
        f"{one.true} for {one.predicted} ({one.taken:.3g} of {one.images:,})"
        for one in figures.confusions[:_NUM_NAMED]
    ]
    if not pairs:
        return ["No image is taken for another class."]
    said = [f"Most often one class is taken for another: {', '.join(pairs)}."]
    if figures.within_groups is not None:
        share, chance = map(format.percent_text, vars(figures.within_groups).values())
        said.append(f"{share} of all mistakes stay within the coarse class ({chance} by chance).")
    return said


def _about_calibration(figures: PredictionFigures) -> str:
    calibration = figures.calibration
    gap = calibration.confidence - figures.accuracy
    verdict = "too sure of itself" if gap > 0 else "less sure than it could be"
    if abs(gap) < _SURE_ENOUGH:
        verdict = "about as sure as it should be"
    return (
        f"It is {verdict}: mean probability {calibration.confidence:.4f}, accuracy "
        f"{figures.accuracy:.4f}; expected calibration error {error_text(calibration)} "
        f"({CALIBRATION_BINS} bins)."
    )


def error_text(calibration: Calibration) -> str:
    """The expected calibration error with its interval over the seeds."""
    low = -math.inf if calibration.low is None else calibration.low
    high = math.inf if calibration.high is None else calibration.high
    return str(Interval(calibration.error, low, high, 0))
