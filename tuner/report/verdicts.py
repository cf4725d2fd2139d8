"""What won, by how much, and whether that is real, in sentences."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.experiment.trial import TrialState
from tuner.ledger.queries import field_of
from tuner.ledger.records import TrialRow
from tuner.report import words
from tuner.report.record import RunRecord
from tuner.report.tabular.alike import difference
from tuner.report.tabular.columns import columns_named, columns_of
from tuner.report.tabular.groups import Line, lines_of, mean_text

if TYPE_CHECKING:
    from tuner.report.stats.statistics import Difference


_MISSING = object()


@dataclass(frozen=True)
class Verdicts:
    """The sentences, and the winner: its best trial, where several share a configuration.

    `is_settled` where the winner can be told from the next.
    """

    sentences: list[str]
    winner: TrialRow | None = None
    is_settled: bool = False


def verdicts(record: RunRecord) -> Verdicts:
    """Over configurations where any has several seeds, else over trials."""
    ranked = record.ranking.ranked
    if not ranked:
        waits = "" if record.ranking.unranked else " yet"
        return Verdicts([f"No trial has a score{waits}."])
    if any(field_of(ranked, "replicate")):
        return _over_seeds(record)
    sentences = [_winner(record, ranked[0])]
    if len(ranked) > 1:
        sentences += [_runner_up(*ranked[:2]), _median(ranked), _one_seed(record, *ranked[:2])]
    return Verdicts(sentences, ranked[0])


def failures(record: RunRecord) -> list[str]:
    """How many trials have failed or diverged."""
    parts = [
        f"{record.counts.get(state, 0):,} {words.state_word(state)}"
        for state in (TrialState.FAILED, TrialState.DIVERGED)
        if record.counts.get(state, 0)
    ]
    if not parts:
        return []
    total = words.counted(sum(record.counts.values()), "trial")
    return [f"Of {total}, {words.joined(parts)}; they are not ranked."]


def unfinished(record: RunRecord) -> list[str]:
    """How many trials are still to come."""
    still_open = record.counts.get(TrialState.RUNNING, 0) + record.missing
    if not still_open:
        return []
    word = "has" if still_open == 1 else "have"
    return [f"{words.counted(still_open, 'trial')} {word} not ended yet; all this may change."]


# ---------------------------------------------------------------------- one seed each


def _winner(record: RunRecord, best: TrialRow) -> str:
    at = f" in epoch {best.best_epoch} of {best.epochs}" if best.best_epoch else ""
    stopped = ", where a rule stopped it" if best.state is TrialState.STOPPED else ""
    values = f": {words.values_text(best.values)}" if best.values else ""
    score = f"{words.printable(record.metric)} {words.score_text(best.score)}"
    chance = _times_chance(record, best.score)
    return f"Best: trial {best.number} with {score}{at}{stopped}{chance}{values}.{_size(best)}"


def _runner_up(best: TrialRow, second: TrialRow) -> str:
    behind = _distance(best.score, second.score)
    distance = f"{words.score_text(behind)} behind" if behind else "with the same score"
    values = f": {words.values_text(second.values)}" if second.values else ""
    return f"Runner-up: trial {second.number}, {distance}{values}."


def _median(ranked: Sequence[TrialRow]) -> str:
    scores = field_of(ranked, "score")
    return (
        f"The median of {words.counted(len(scores), 'ranked trial')} is "
        f"{words.score_text(statistics.median(scores))}, the worst {words.score_text(scores[-1])}."
    )


def _one_seed(record: RunRecord, best: TrialRow, second: TrialRow) -> str:
    lead = _distance(best.score, second.score)
    what = f"this lead of {words.score_text(lead)}" if lead else "such a tie"
    return (
        f"Is it real? One seed each cannot tell {what} from luck, and the best of many trials is "
        f"lucky on average; {_confirm(record)} would tell."
    )


# ---------------------------------------------------------------------- several seeds


def _over_seeds(record: RunRecord) -> Verdicts:
    by = columns_named(columns_of(record), record.value_names, "")
    lines = lines_of(record, by)
    sentences, winner = [_best_line(record, lines[0])], lines[0].trials[0]
    if len(lines) < 2:
        return Verdicts(sentences, winner)
    best, second = lines[:2]
    behind = _distance(best.score.mean, second.score.mean)
    distance = f"{words.score_text(behind)} behind" if behind else "with the same mean"
    sentences.append(
        f"Next: {_described(second)} with {mean_text(second.score)} (n={second.score.n}), "
        f"{distance}."
    )
    scores = field_of((*best.trials, *second.trials), "score")
    if not all(map(math.isfinite, scores)):
        return Verdicts(sentences, winner)
    found = difference(best, second, record.direction, record.value_names)
    return Verdicts([*sentences, _reality(record, found, behind)], winner, found.is_claim)


def _best_line(record: RunRecord, line: Line) -> str:
    score = line.score
    parts = [f"± {words.score_text(score.spread)}"] if score.spread is not None else []
    text = " ".join([words.printable(record.metric), words.score_text(score.mean), *parts])
    chance = _times_chance(record, score.mean)
    size = _size(line.trials[0])
    return (
        f"Best: {_described(line)} with {text} over {words.counted(score.n, 'seed')}"
        f"{_interval(line)}{chance}.{size}"
    )


def _interval(line: Line) -> str:
    if line.score.n < 2 or not math.isfinite(line.score.mean):
        return ""
    from tuner.report.stats.intervals import mean_interval

    found = mean_interval(field_of(line.trials, "score"))
    low, high = words.score_text(found.low), words.score_text(found.high)
    return f" (95 % interval of the mean: {low} to {high})"


def _reality(record: RunRecord, found: Difference, lead: float) -> str:
    text = words.score_text(lead)
    seeds = words.counted(found.n, "seed")
    if found.verdict.value == "not decidable":
        return f"Is it real? {seeds} cannot decide a lead of {text}; {_confirm(record)} would."
    low, high = sorted((abs(found.interval.low), abs(found.interval.high)))
    if found.is_claim:
        ends = f"{words.score_text(low)} to {words.score_text(high)}"
        return f"Is it real? Yes: the lead is {ends} (95 %, {seeds}, p = {found.p_adjusted:.2g})."
    return (
        f"Is it real? Not shown: a lead of {text} is within noise ({seeds}, "
        f"p = {found.p_adjusted:.2g})."
    )


def _described(line: Line) -> str:
    one = line.trials[0]
    has = {
        name: value
        for name, value in line.values.items()
        if one.value(name, _MISSING) is not _MISSING
    }
    return words.values_text(has) or f"the configuration of trial {one.number}"


# ---------------------------------------------------------------------- parts


def _times_chance(record: RunRecord, score: float | None) -> str:
    if record.metric not in ("accuracy", "val_accuracy") or not record.num_classes:
        return ""
    times = (score or 0.0) * record.num_classes
    return f", {times:.1f} times chance (1/{record.num_classes})"


def _size(row: TrialRow) -> str:
    return f" It has {words.count_text(row.parameters)} parameters." if row.parameters else ""


def _distance(one: float | None, other: float | None) -> float:
    if one == other:
        return 0.0  # two infinities too
    return abs((one or 0.0) - (other or 0.0))


def _confirm(record: RunRecord) -> str:
    return words.command_text("confirm", record.name)
