"""What the confirmed leaders say of the test images, drawn: classes, confusions, calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tuner.report import format
from tuner.report.page import drawing as draw
from tuner.report.page.drawing import Figure, Layout, Trace, View
from tuner.report.page.html import clean, number, numbers, tick
from tuner.report.prediction_document import (
    CALIBRATION_BINS,
    NUM_WORST,
    ClassFigures,
    ConfusionMatrix,
    PredictionDocument,
    PredictionFigures,
    ReliabilityBin,
    WorstImage,
    error_text,
)

_HARDEST, _EASIEST = 20, 10  # of more classes than have room
_ROOTS = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 1)  # where the colours of the matrix are named


# ---------------------------------------------------------------------- each class


def class_figure(document: PredictionDocument, names: Sequence[str]) -> Figure | None:
    """A line for each class, the hardest on top: its accuracy, and its 95 % interval."""
    known = [(one, _shown_classes(one)) for one in document.leaders]
    if any(len(shown) < 2 for _, shown in known):
        return None
    views = [
        View(name, _class_traces(one, shown), _class_layout(one, shown), _class_note(one, shown))
        for name, (one, shown) in zip(names, known, strict=True)
    ]
    height = 110 + 19 * max(len(shown) for _, shown in known)
    axis = draw.titled("accuracy on its test images", range=[-0.02, 1.02])
    return Figure.of_views(views, {"xaxis": axis}, "", height)


def _shown_classes(figures: PredictionFigures) -> list[ClassFigures]:
    known = [one for one in figures.classes if one.accuracy is not None]
    known.sort(key=lambda one: one.accuracy or 0.0)
    is_few = len(known) <= _HARDEST + _EASIEST
    return known if is_few else [*known[:_HARDEST], *known[-_EASIEST:]]


def _class_traces(figures: PredictionFigures, shown: Sequence[ClassFigures]) -> list[Trace]:
    rows = list(enumerate(reversed(shown)))
    accuracies = [one.accuracy for _, one in rows]
    whiskers = draw.whiskers(
        (draw.arm(one.high, one.accuracy) for _, one in rows),
        (draw.arm(one.accuracy, one.low) for _, one in rows),
        color=draw.MUTED,
        thickness=1.2,
        width=3,
    )
    marker = {"color": draw.TRIAL, "size": 8}
    texts = [_class_text(one) for _, one in rows]
    places = (place for place, _ in rows)
    return [draw.points(accuracies, places, marker, text=texts, error_x=whiskers)]


def _class_text(one: ClassFigures) -> str:
    taken = (
        f"; most often taken for {one.taken_for} ({format.percent_text(one.taken_share or 0.0)})"
        if one.taken_for
        else ""
    )
    return clean(f"{one.name}: {one.text} of {format.counted(one.images, 'image')}{taken}")


def _class_layout(figures: PredictionFigures, shown: Sequence[ClassFigures]) -> Layout:
    axis = draw.names_axis([tick(one.name) for one in reversed(shown)])
    return {"yaxis": axis, "shapes": [draw.line_at(figures.accuracy)]}


def _class_note(figures: PredictionFigures, shown: Sequence[ClassFigures]) -> str:
    known = sum(one.accuracy is not None for one in figures.classes)
    part = ""
    if len(shown) < known:
        part = (
            f" The {_HARDEST} hardest and the {_EASIEST} easiest of {known}; classes.csv has all."
        )
    lacking = [one.name for one in figures.classes if one.accuracy is None]
    lack = f" Without a test image: {format.listed(lacking)}." if lacking else ""
    return (
        f"Share of the test images of a class that is predicted as it, {_over(figures)}, with the "
        f"95 % interval of seeds and images. Dashed: all images, "
        f"{format.score_text(figures.accuracy)}.{part}{lack}"
    )


def _over(figures: PredictionFigures) -> str:
    return f"mean over {figures.seeds} seeds" if figures.seeds > 1 else "under one seed"


# ---------------------------------------------------------------------- confusions


def confusion_figure(document: PredictionDocument, names: Sequence[str]) -> Figure | None:
    """True classes from top to bottom, predicted ones from left to right."""
    matrices = [one.matrix for one in document.leaders]
    if not all(matrices):
        return None
    views = [
        View(name, [_matrix_trace(matrix)], {}, _matrix_note(figures, matrix))
        for name, figures, matrix in zip(names, document.leaders, matrices, strict=True)
        if matrix is not None
    ]
    classes = [tick(name) for name in matrices[0].names] if matrices[0] else []
    layout: Layout = {
        "xaxis": draw.titled("predicted", **_every(classes), tickangle=-60),
        "yaxis": draw.titled("true", **_every(classes), autorange="reversed"),
    }
    return Figure.of_views(views, layout, "", max(340, 180 + 19 * len(classes)))


def _every(classes: Sequence[str]) -> Layout:
    return draw.ticked(enumerate(classes), showgrid=False)


def _matrix_trace(matrix: ConfusionMatrix) -> Trace:
    """Colours are of the root of a share, so that rare confusions are seen beside the diagonal."""
    roots = [[None if s is None else number(math.sqrt(s), 3) for s in row] for row in matrix.shares]
    written = {"texttemplate": "%{text}", "textfont": {"size": 11}} if len(roots) <= 10 else {}
    return draw.heat_map(
        roots,
        "share of the class",
        1,
        zmin=0,
        zmax=1,
        text=[["" if s is None else f"{100 * s:.3g} %" for s in row] for row in matrix.shares],
        colorbar={
            **draw.titled("share of the class"),
            "tickvals": numbers(map(math.sqrt, _ROOTS)),
            "ticktext": [format.percent_text(share) for share in _ROOTS],
        },
        **written,
    )


def _matrix_note(figures: PredictionFigures, matrix: ConfusionMatrix) -> str:
    what = "coarse class" if matrix.of_groups else "class"
    within = ""
    if figures.within_groups is not None:
        within = (
            " Fine classes are joined by coarse class: "
            f"{format.percent_text(figures.within_groups.share)} of all mistakes stay within one, "
            "and are no mistakes here."
        )
    return (
        f"A row holds the test images of one {what}, a cell the share of them that is predicted as "
        f"the column's, {_over(figures)}.{within} confusion.csv has every pair."
    )


CONFUSION_HEADS = ("is", "taken for", "share of its images")


def confusion_rows(figures: PredictionFigures) -> list[tuple[str, ...]]:
    """The most frequent ones, for a table under `CONFUSION_HEADS`."""
    return [
        (clean(one.true), clean(one.predicted), f"{100 * one.share:.1f} % of {one.images:,}")
        for one in figures.confusions
    ]


# ---------------------------------------------------------------------- calibration


def calibration_figure(document: PredictionDocument, names: Sequence[str]) -> Figure:
    """Reliability diagram: how often predictions of some probability are right."""
    views = [
        View(name, _calibration_traces(figures), {}, _calibration_note(figures))
        for name, figures in zip(names, document.leaders, strict=True)
    ]
    layout: Layout = {
        "xaxis": draw.titled("probability of the predicted class", range=[0, 1.02]),
        "yaxis": draw.titled("share that is right", range=[0, 1.02]),
    }
    return Figure.of_views(views, layout, "", 380)


def _calibration_traces(figures: PredictionFigures) -> list[Trace]:
    bins = figures.calibration.bins
    total = sum(part.n for part in bins)
    sure, right = [part.confidence for part in bins], [part.accuracy for part in bins]
    sizes = [number(7 + 30 * math.sqrt(part.n / total), 3) for part in bins]
    perfect = {"color": draw.MUTED, "width": 1.2, "dash": "dash"}
    return [
        draw.lines([0, 1], [0, 1], perfect, hoverinfo="skip"),
        draw.lines(sure, right, {"color": draw.FAINT, "width": 2}, hoverinfo="skip"),
        draw.points(
            sure,
            right,
            {"color": draw.TRIAL, "size": sizes, "opacity": 0.75},
            text=[_bin_text(part, total) for part in bins],
        ),
    ]


def _bin_text(part: ReliabilityBin, total: int) -> str:
    return (
        f"mean probability {part.confidence:.3f}, right {part.accuracy:.3f}: "
        f"{format.counted(part.n, 'prediction')} ({format.percent_text(part.n / total)})"
    )


def _calibration_note(figures: PredictionFigures) -> str:
    together = " of all seeds together" if figures.seeds > 1 else ""
    return (
        f"Expected calibration error {error_text(figures.calibration)}, {_over(figures)}: the mean "
        "distance between probability and share that is right, over the predictions in "
        f"{CALIBRATION_BINS} bins of equal width (Guo et al. 2017). Points are these bins"
        f"{together}, larger ones of more predictions; below the dashed line the network is surer "
        "than it should be."
    )


# ---------------------------------------------------------------------- the worst images


def worst_cards(figures: PredictionFigures) -> list[dict[str, str]]:
    """What the page writes below each picture."""
    return [
        {
            "picture": one.picture,
            "predicted": f"taken for {clean(one.predicted)} {one.probability:.2f}",
            "true": f"is {clean(one.true)} {one.true_probability:.2f}",
            "detail": _card_detail(one, figures.seeds),
        }
        for one in figures.worst
    ]


def _card_detail(one: WorstImage, seeds: int) -> str:
    wrong = f", wrong under {one.wrong} of {seeds} seeds" if seeds > 1 else ""
    return clean(f"{one.file or f'test image {one.index}'}{wrong}")


def worst_note(figures: PredictionFigures, name: str) -> str:
    """Which they are, of which configuration, and what the numbers below them mean."""
    over = ""
    if figures.seeds > 1:
        over = f", as the mean over {figures.seeds} seeds (0 where one is right)"
    images = format.counted(len(figures.worst), "test image")
    which = f"All {images} that {name} predicts wrong"
    if len(figures.worst) == NUM_WORST:
        which = f"The {images} that {name} predicts wrong most confidently"
    return (
        f"{which}, in the order of the probability of the wrong class{over}. Below each: that "
        "probability, and the true class with its own. Images are numbered from 0 in the order "
        "of the data; predictions.csv has them all."
    )
