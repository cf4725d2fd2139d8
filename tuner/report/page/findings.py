"""What a reader wants to know first: what won, whether it is real, what mattered, what next."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.report import words
from tuner.report.marginals import Marginal
from tuner.report.page.source import Source
from tuner.report.page.weights import Weights
from tuner.report.summary import summarize

_NORMAL_95 = 1.96
_REAL, _NEXT = "Is it real?", "What next?"
_CONFIRM = re.compile("(; )?`tuner confirm [^`]+` retrains the leaders on fresh seeds")
_MARKS = {"Is it real? ": _REAL, "What next: ": _NEXT}  # how the summary begins such a sentence


@dataclass(frozen=True)
class Finding:
    """A question, and the sentences that answer it."""

    question: str
    sentences: tuple[str, ...]


def findings(source: Source, weights: Weights) -> list[Finding]:
    """The questions that this experiment can answer: the summary's sentences, and two more."""
    summary = summarize(source.record)
    said = [*summary.sentences, *filter(None, [summary.advice])]
    sorted_out = _sorted_out(said, bool(source.ranked))
    confirmed = source.confirmed.sentences[:1] if source.confirmed else ()
    answers = {
        "What won?": sorted_out["What won?"],
        "By how much?": sorted_out["By how much?"],
        _REAL: [*sorted_out[_REAL], *_within_sampling_error(source), *confirmed],
        "What mattered?": [*_weighed(weights), *_mattered(summary.marginals, source)],
        _NEXT: [*_undone(sorted_out[_NEXT], source), *_still_moving(source)],
    }
    return [Finding(question, tuple(said)) for question, said in answers.items() if said]


def _undone(sentences: Sequence[str], source: Source) -> list[str]:
    """Advice without what has been done."""
    if source.confirmed is None:
        return list(sentences)
    return [left for said in sentences if (left := _CONFIRM.sub("", said)) not in ("", ".")]


def sampling_error(share: float, images: int) -> float:
    """Half the width of the 95 % interval of an accuracy that was measured on so many images."""
    return _NORMAL_95 * math.sqrt(max(0.0, share * (1 - share)) / images)


def validation_images(source: Source) -> int | None:
    """How many images the scores were measured on, where the environment says so."""
    data = source.record.environment.get("data")
    text = str(data.get("validation_images", "")) if isinstance(data, dict) else ""
    found = re.match(r"\d{1,12}", text)
    return int(found[0]) if found and int(found[0]) > 0 else None


def _sorted_out(sentences: Sequence[str], ranked: bool) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"What won?": [], "By how much?": [], _REAL: [], _NEXT: []}
    for place, sentence in enumerate(sentences):
        mark = next((mark for mark in _MARKS if sentence.startswith(mark)), None)
        if mark is not None:
            found[_MARKS[mark]].append(sentence.removeprefix(mark))
        else:
            found["What won?" if place == 0 or not ranked else "By how much?"].append(sentence)
    return found


def _within_sampling_error(source: Source) -> list[str]:
    """What even one seed tells: how sharp a measurement on so many images can be."""
    images = validation_images(source)
    best = source.best.score if source.best else None
    if source.record.metric != "val_accuracy" or images is None or best is None:
        return []
    if len(source.ranked) < 2 or not 0 < best < 1:
        return []
    error = sampling_error(best, images)
    close = sum(best - (row.score or 0.0) <= error for row in source.ranked) - 1
    others = words.counted(close, "other trial is", "other trials are") if close else "no other is"
    return [
        f"On {images:,} validation images an accuracy of {words.score_text(best)} is known to "
        f"± {words.score_text(error)} (95 %): {others} within that of the best."
    ]


def _weighed(weights: Weights) -> list[str]:
    """The largest shares, with their intervals."""
    if not weights.method or not weights.mains:
        return []
    parts = []
    for effect in weights.mains[:3]:
        interval = f" ({effect.low:.0%} to {effect.high:.0%})" if effect.has_interval else ""
        parts.append(f"{effect.title} {effect.share:.0%}{interval}")
    return [f"By {weights.method}: {words.joined(parts)}."]


def _mattered(found: Sequence[Marginal], source: Source) -> list[str]:
    metric, said = words.printable(source.record.metric), []
    for marginal in found[:2]:
        groups = sorted(marginal.groups, key=lambda group: group.mean, reverse=source.is_max)
        best, worst = groups[0], groups[-1]
        said.append(
            f"Mean {metric} is {words.score_text(best.mean)} at {marginal.title} {best.label} "
            f"(n={best.n}), {words.score_text(worst.mean)} at {worst.label} (n={worst.n})."
        )
    return said


def _still_moving(source: Source) -> list[str]:
    best = source.best
    if best is None or not best.best_epoch or best.best_epoch != best.epochs or best.epochs < 2:
        return []
    return [
        f"Trial {best.number} was best in its last epoch, {best.epochs}: it may gain from more."
    ]
