"""The head of an experiment's page: facts, big numbers, two small pictures, and findings."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.experiment.trial import TrialState
from tuner.report import format
from tuner.report.importance import Importance
from tuner.report.page.axes import effect_title
from tuner.report.page.html import clean
from tuner.report.page.source import PageSource, moment
from tuner.report.statistics import wilson_interval
from tuner.report.summary import IS_IT_REAL, Marginal, cannot_tell, summarize

_STATES = (
    TrialState.COMPLETED,
    TrialState.STOPPED,
    TrialState.DIVERGED,
    TrialState.FAILED,
    TrialState.RUNNING,
    TrialState.WAITING,
)
_ENDED = _STATES[:4]
_FEWEST_SCORES, _MOST_BINS = 4, 40


# ---------------------------------------------------------------------- facts


def facts(source: PageSource) -> list[str]:
    """Data, models, backend, machine and date on one line, each where it is known."""
    document, environment = source.document, source.record.environment
    data = document.get("data")
    dataset = data.get("dataset") if isinstance(data, dict) else None
    families = sorted({str(row.value("model.family", "")) for row in source.rows} - {""})
    ended = max((stretch.row.finished_at or "" for stretch in source.stretches), default="")
    texts = [
        os.path.basename(str(dataset or "").rstrip("/")),
        format.joined(families) if len(families) <= 4 else f"{len(families)} model families",
        str(document.get("backend") or environment.get("backend") or ""),
        str(environment.get("device") or ""),
        ended[:10],
    ]
    return [clean(text) for text in texts if text]


def best_values(source: PageSource) -> list[tuple[str, str]]:
    """Names and values of the winning configuration."""
    values = source.best.values if source.best else {}
    short = format.short_names(values)
    return [(clean(short[name]), clean(format.value_text(v))) for name, v in values.items()]


def environment_rows(environment: Any, prefix: str = "") -> list[tuple[str, str]]:
    """A tree of facts as dotted names and texts."""
    branches: Iterable[tuple[str, Any]] | None = None
    if isinstance(environment, dict):
        branches = ((f"{prefix}.{k}" if prefix else str(k), v) for k, v in environment.items())
    elif isinstance(environment, list) and any(isinstance(item, dict) for item in environment):
        branches = ((f"{prefix}[{place}]", item) for place, item in enumerate(environment))
    if branches is not None:
        return [row for name, value in branches for row in environment_rows(value, name)]
    if environment in (None, "", []):
        return []
    text = str(environment)
    if prefix.endswith("_bytes"):
        text = format.bytes_text(environment)
    elif isinstance(environment, list):
        text = ", ".join(map(str, environment))
    return [(clean(prefix), clean(text))]


def wall_seconds(source: PageSource) -> float | None:
    """From the first start to the last end, pauses included."""
    starts = [start for row in source.rows if (start := moment(row.started_at)) is not None]
    ends = [stretch.end for stretch in source.stretches]
    return max(ends) - min(starts) if ends and starts else None


# ---------------------------------------------------------------------- big numbers


@dataclass(frozen=True)
class Tile:
    """One big number, what it is, and a line about it. `role` picks the colour."""

    title: str
    text: str
    detail: str
    role: str = ""


@dataclass(frozen=True)
class Failure:
    """A trial without a place: what it tried, and why it ended."""

    trial: int
    state: str
    values: str
    epochs: int
    reason: str


def tiles(source: PageSource) -> list[Tile]:
    """Score, trials, time and size."""
    best, ranked = source.best, len(source.ranked)
    title = f"best {format.printable(source.objective.metric)}"
    score = Tile(title, format.NOTHING, "no trial has a score")
    if best is not None:
        epoch = f", epoch {best.best_epoch} of {best.epochs}" if best.best_epoch else ""
        score = Tile(title, format.score_text(best.score), f"trial {best.number}{epoch}", "best")
    ended = ranked + len(failures(source))
    counts, missing = source.record.counts, source.record.missing
    total = max(sum(counts.values()), ended + counts.get(TrialState.RUNNING, 0) + missing)
    of_total = f" / {total:,}" if total > ended else ""
    detail = f"{ranked:,} ranked" if ended else "none has ended yet"
    trials = Tile("trials", f"{ended:,}{of_total}", detail)
    shown = [score, trials, _time_tile(source)]
    if best is not None and best.parameters:
        macs = f"{format.count_text(best.macs)} multiply-adds per image" if best.macs else ""
        shown.append(Tile("parameters of the best", format.count_text(best.parameters), macs))
    return shown


def _time_tile(source: PageSource) -> Tile:
    trained = sum(row.train_seconds or 0.0 for row in source.rows)
    compiling = sum(row.compile_seconds or 0.0 for row in source.rows)
    parts = ((compiling, "compiling"), (wall_seconds(source), "from start to end"))
    details = [f"{format.seconds_text(seconds)} {part}" for seconds, part in parts if seconds]
    return Tile("training", format.seconds_text(trained or None), ", ".join(details))


def state_counts(source: PageSource) -> list[dict[str, Any]]:
    """States that trials are in, and those that are still to run, with their share of the bar."""
    counts = {format.state_word(s): source.record.counts.get(s, 0) for s in _STATES}
    counts["waiting"] = source.record.missing or counts["waiting"]
    total = sum(counts.values())
    shares = {state: round(100 * n / total, 2) for state, n in counts.items() if n}
    return [{"state": s, "count": counts[s], "percent": share} for s, share in shares.items()]


def failures(source: PageSource) -> list[Failure]:
    """Every trial that failed or diverged, or has no score for another reason, and why."""
    return [
        Failure(
            row.number,
            format.state_word(row.state),
            clean(format.values_text(row.values)),
            row.epochs,
            clean(row.reason).strip() or "ended without a score",
        )
        for row in source.unplaced
        if row.state in _ENDED
    ]


# ---------------------------------------------------------------------- two small pictures


@dataclass(frozen=True)
class Histogram:
    """Heights of equally wide bins as shares of the tallest; `best` is the bin of the best score.

    `middle` is the place of the median, counted in bins from the left.
    """

    shares: tuple[float, ...]
    best: int
    middle: float
    low: str
    median: str
    high: str
    n: int


@dataclass(frozen=True)
class Sparkline:
    """The winner's curve of the objective: places from 0 to 1, up is better."""

    points: tuple[tuple[float, float], ...]
    num_epochs: int


def histogram_of(source: PageSource) -> Histogram | None:
    """The spread of all ranked scores; None where too few differ."""
    every = (row.score for row in source.ranked)
    scores = sorted(score for score in every if score is not None and math.isfinite(score))
    if len(scores) < _FEWEST_SCORES or not scores[-1] > scores[0]:
        return None
    count = min(_MOST_BINS, max(8, round(2 * math.sqrt(len(scores)))))
    low, width = scores[0], (scores[-1] - scores[0]) / count
    counts = [0] * count
    for score in scores:
        counts[min(count - 1, int((score - low) / width))] += 1
    median = statistics.median(scores)
    return Histogram(
        tuple(round(number / max(counts), 3) for number in counts),
        count - 1 if source.objective.direction == "max" else 0,
        round((median - low) / width, 3),
        format.score_text(scores[0]),
        format.score_text(median),
        format.score_text(scores[-1]),
        len(scores),
    )


def sparkline_of(source: PageSource) -> Sparkline | None:
    """How the best trial came to its score; None where there is no line to draw."""
    epochs = source.epochs.get(source.best.number, ()) if source.best else ()
    values = [epoch.metrics.get(source.objective.metric, math.nan) for epoch in epochs]
    gains = [(i, source.objective.gain(v)) for i, v in enumerate(values) if math.isfinite(v)]
    if len(gains) < 2:
        return None
    low, high = min(gain for _, gain in gains), max(gain for _, gain in gains)
    last, span = len(values) - 1, high - low
    # A level line lies where the worst would: at the bottom, or the top where lower is better.
    level = 0.0 if source.objective.direction == "max" else 1.0
    points = [(i / last, (gain - low) / span if span else level) for i, gain in gains]
    return Sparkline(tuple((round(x, 4), round(y, 4)) for x, y in points), len(values))


# ---------------------------------------------------------------------- findings


@dataclass(frozen=True)
class Answer:
    """A question, and the sentences that answer it."""

    question: str
    sentences: tuple[str, ...]


def findings(source: PageSource, importance: Importance) -> list[Answer]:
    """The questions that this experiment can answer: the summary's sentences, and two more."""
    summary, confirmed = summarize(source.record), source.confirmed
    answers = {
        "What won?": [summary.won, *(() if source.ranked else summary.rest)],
        "By how much?": [*summary.margin, *(summary.rest if source.ranked else ())],
        IS_IT_REAL: [
            *filter(None, [summary.real]),
            *_within_sampling_error(source),
            *(confirmed.sentences[:1] if confirmed else ()),
        ],
        "What mattered?": _mattered(importance, summary.marginals, source),
        "What next?": [
            *([f"{'; '.join(summary.steps)}."] if summary.steps else ()),
            *_still_moving(source),
        ],
    }
    return [Answer(question, tuple(map(clean, said))) for question, said in answers.items() if said]


def _within_sampling_error(source: PageSource) -> list[str]:
    """What even one seed tells: how sharp a measurement on so many images can be."""
    images = source.record.num_images
    best = source.best.score if source.best else None
    if not source.objective.metric.endswith("accuracy") or images is None or best is None:
        return []
    if len(source.ranked) < 2 or not 0 <= best <= 1:
        return []
    low, high = wilson_interval(best, images)
    close = sum((row.score or 0.0) >= low for row in source.ranked) - 1
    others = format.counted(close, "other trial is", "other trials are") if close else "no other is"
    return [
        f"On {images:,} validation images an accuracy of {format.score_text(best)} may be "
        f"{format.score_text(low)} to {format.score_text(high)} (95 %): {others} within that."
    ]


def _mattered(importance: Importance, means: Sequence[Marginal], source: PageSource) -> list[str]:
    if importance.is_telling:
        return [*_shares(importance, source), *_means(means, source)]
    return list(filter(None, [cannot_tell(source.record)]))


def _shares(importance: Importance, source: PageSource) -> list[str]:
    """The largest shares, with their intervals."""
    parts = []
    for effect in importance.mains[:3]:
        interval = f" ({effect.low:.0%} to {effect.high:.0%})" if effect.has_interval else ""
        parts.append(f"{effect_title(source, effect)} {effect.share:.0%}{interval}")
    return [f"By {importance.method}: {format.joined(parts)}."]


def _means(marginals: Sequence[Marginal], source: PageSource) -> list[str]:
    metric, said = format.printable(source.objective.metric), []
    for marginal in marginals[:2]:
        groups = sorted(marginal.groups, key=lambda group: -source.objective.gain(group.mean))
        best, worst = groups[0], groups[-1]
        said.append(
            f"Mean {metric} is {format.score_text(best.mean)} at {marginal.title} {best.label} "
            f"(n={best.n}), {format.score_text(worst.mean)} at {worst.label} (n={worst.n})."
        )
    return said


def _still_moving(source: PageSource) -> list[str]:
    best = source.best
    if best is None or not best.best_epoch or best.best_epoch != best.epochs or best.epochs < 2:
        return []
    return [f"Trial {best.number} was best in its last epoch, {best.epochs}: more may improve it."]
