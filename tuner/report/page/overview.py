"""The head of an experiment's page: its facts, the big numbers, and what several have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tuner.experiment.trial import TrialState
from tuner.ledger.records import TrialRow
from tuner.report import words
from tuner.report.page.clock import moment, stretches
from tuner.report.page.source import Source
from tuner.report.page.text import clean

_STATES = (
    TrialState.COMPLETED,
    TrialState.STOPPED,
    TrialState.DIVERGED,
    TrialState.FAILED,
    TrialState.RUNNING,
    TrialState.WAITING,
)


@dataclass(frozen=True)
class Tile:
    """One big number, what it is, and a line about it. `role` picks the colour."""

    title: str
    text: str
    detail: str
    role: str = ""


@dataclass(frozen=True)
class StateCount:
    """How many trials are in a state; `percent` is their share of the bar."""

    state: str
    count: int
    percent: float


@dataclass(frozen=True)
class Failure:
    """A trial without a place: what it tried, and why it ended."""

    trial: int
    state: str
    values: str
    epochs: int
    reason: str


def tiles(source: Source) -> list[Tile]:
    """Score, trials, time and size."""
    return [_best_tile(source), _trials_tile(source), _time_tile(source), *_size_tile(source)]


def facts(source: Source) -> list[str]:
    """Data, models, backend, machine and date on one line, each where it is known."""
    document, environment = source.document, source.record.environment
    data = document.get("data")
    dataset = data.get("dataset") if isinstance(data, dict) else None
    families = sorted({str(row.value("model.family", "")) for row in source.rows} - {""})
    ended = max((stretch.row.finished_at or "" for stretch in stretches(source)), default="")
    found = [
        str(dataset or ""),
        words.joined(families) if len(families) <= 4 else f"{len(families)} model families",
        str(document.get("backend") or environment.get("backend") or ""),
        str(environment.get("device") or ""),
        ended[:10],
    ]
    return [clean(text) for text in found if text]


def state_counts(source: Source) -> list[StateCount]:
    """States that trials are in, and those that are still to run."""
    counts = {words.state_word(s): source.record.counts.get(s, 0) for s in _STATES}
    counts["waiting"] = source.record.missing or counts["waiting"]
    total = sum(counts.values())
    return [StateCount(s, n, round(100 * n / total, 2)) for s, n in counts.items() if n]


def failures(source: Source) -> list[Failure]:
    """Every trial that failed or diverged, or has no score for another reason."""
    ranked = {row.number for row in source.ranked}
    ended = (TrialState.FAILED, TrialState.DIVERGED, TrialState.COMPLETED, TrialState.STOPPED)
    return [_failure(r) for r in source.rows if r.number not in ranked and r.state in ended]


def best_values(source: Source) -> list[tuple[str, str]]:
    """Names and values of the winning configuration."""
    best = source.best
    if best is None:
        return []
    short = words.short_names(best.values)
    found = [(short[name], words.value_text(value)) for name, value in best.values.items()]
    return [(clean(name), clean(text)) for name, text in found]


def environment_rows(environment: Any, prefix: str = "") -> list[tuple[str, str]]:
    """A tree of facts as dotted names and texts."""
    if isinstance(environment, dict):
        return [
            row
            for key, value in environment.items()
            for row in environment_rows(value, f"{prefix}.{key}" if prefix else str(key))
        ]
    if isinstance(environment, list) and any(isinstance(item, dict) for item in environment):
        return [
            row
            for place, item in enumerate(environment)
            for row in environment_rows(item, f"{prefix}[{place}]")
        ]
    if environment in (None, "", []):
        return []
    text = words.bytes_text(environment) if prefix.endswith("_bytes") else str(environment)
    return [(clean(prefix), clean(text))]


def better_text(source: Source) -> str:
    """Which scores are better."""
    return "higher is better" if source.is_max else "lower is better"


def wall_seconds(source: Source) -> float | None:
    """From the first start to the last end, pauses included."""
    ended = stretches(source)
    starts = [moment(row.started_at) for row in source.rows]
    begin = min((start for start in starts if start is not None), default=None)
    return max(s.end for s in ended) - begin if ended and begin is not None else None


def _best_tile(source: Source) -> Tile:
    best = source.best
    title = f"best {words.printable(source.record.metric)}"
    if best is None:
        return Tile(title, words.NOTHING, "no trial has a score")
    at = f"trial {best.number}"
    if best.best_epoch:
        at += f", epoch {best.best_epoch} of {best.epochs}"
    return Tile(title, words.score_text(best.score), at, "best")


def _trials_tile(source: Source) -> Tile:
    counts = source.record.counts
    ended = len(source.ranked) + len(failures(source))
    total = max(sum(counts.values()), ended + source.record.missing)
    detail = f"{len(source.ranked):,} ranked" if ended else "none has ended yet"
    return Tile("trials", f"{ended:,}" + (f" / {total:,}" if total > ended else ""), detail)


def _time_tile(source: Source) -> Tile:
    trained = sum(row.train_seconds or 0.0 for row in source.rows)
    compiled = sum(row.compile_seconds or 0.0 for row in source.rows)
    details = [f"{words.seconds_text(compiled)} of compiling"] if compiled else []
    wall = wall_seconds(source)
    if wall:
        details.append(f"{words.seconds_text(wall)} on the clock")
    return Tile("training", words.seconds_text(trained or None), ", ".join(details))


def _size_tile(source: Source) -> list[Tile]:
    best = source.best
    if best is None or not best.parameters:
        return []
    macs = f"{words.count_text(best.macs)} multiply-adds per image" if best.macs else ""
    return [Tile("parameters of the best", words.count_text(best.parameters), macs)]


def _failure(row: TrialRow) -> Failure:
    reason = clean(row.reason).strip() or "ended without a score"
    values = clean(words.values_text(row.values))
    return Failure(row.number, words.state_word(row.state), values, row.epochs, reason)


def shared_objective(sources: Sequence[Source]) -> tuple[str, str] | None:
    """Metric and direction, where all experiments have the same."""
    found = {(source.record.metric, source.record.direction) for source in sources}
    return found.pop() if len(found) == 1 else None
