"""What was found, in a few sentences with numbers: what won, by how much, what mattered."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tuner.experiment.trial import TrialState
from tuner.ledger.records import TrialRow
from tuner.report import words
from tuner.report.marginals import Group, Marginal, group_of, marginals
from tuner.report.ranking import Ranking
from tuner.report.record import RunRecord


@dataclass(frozen=True)
class Summary:
    """The sentences, and the means behind the question of what mattered (largest effect first)."""

    sentences: tuple[str, ...]
    marginals: tuple[Marginal, ...]
    metric: str
    ranked: int


def summarize(record: RunRecord) -> Summary:
    """Reads a record for its reader. Works with no trial, with one, and with failures only."""
    ranking = record.ranking
    sentences = [
        *_winner(record, ranking),
        *_runner_up(record, ranking),
        *_replicates(record, ranking),
        *_failures(ranking, record),
        *_unfinished(ranking, record),
    ]
    means = marginals(ranking.ranked, record.value_names)
    return Summary(tuple(sentences), tuple(means), record.metric, len(ranking.ranked))


def to_text(summary: Summary, width: int = 80) -> str:
    """Sentences, then one line per value of each hyperparameter."""
    lines = [line for sentence in summary.sentences for line in _wrapped(sentence, width)]
    if summary.marginals:
        lines += [
            "",
            f"What mattered: mean {summary.metric} over everything else, ± standard deviation",
            *_marginal_lines(summary.marginals),
        ]
    return "\n".join(lines) + "\n"


def to_markdown(summary: Summary) -> str:
    """The same for a document."""
    lines = [f"- {words.markdown_text(sentence)}" for sentence in summary.sentences]
    if summary.marginals:
        head = f"| hyperparameter | value | mean {summary.metric} | standard deviation | n |"
        lines += ["", head, "|---|---|---:|---:|---:|"]
        for marginal in summary.marginals:
            lines += [
                f"| {marginal.title} | {words.markdown_text(group.label)} "
                f"| {words.score_text(group.mean)} | {words.score_text(group.spread)} | {group.n} |"
                for group in marginal.groups
            ]
    return "\n".join(lines) + "\n"


def to_json(summary: Summary) -> dict[str, Any]:
    """Plain values with stable keys."""
    return {
        "sentences": list(summary.sentences),
        "marginals": [
            {
                "name": marginal.name,
                "groups": [vars(group) for group in marginal.groups],
            }
            for marginal in summary.marginals
        ],
    }


# ---------------------------------------------------------------------- sentences


def _winner(record: RunRecord, ranking: Ranking) -> list[str]:
    if not ranking.ranked:
        return ["No trial has a score yet." if not ranking.unranked else "No trial has a score."]
    best = ranking.ranked[0]
    at = f" in epoch {best.best_epoch} of {best.epochs}" if best.best_epoch else ""
    values = _described(best)
    size = f" It has {words.count_text(best.parameters)} parameters." if best.parameters else ""
    return [
        f"Best: trial {best.number} with {record.metric} {words.score_text(best.score)}"
        f"{at}{_times_chance(record, best)}{values}.{size}"
    ]


def _times_chance(record: RunRecord, best: TrialRow) -> str:
    if record.metric not in ("accuracy", "val_accuracy") or not record.num_classes:
        return ""
    times = (best.score or 0.0) * record.num_classes
    return f", {times:.1f} times chance (1/{record.num_classes})"


def _runner_up(record: RunRecord, ranking: Ranking) -> list[str]:
    if len(ranking.ranked) < 2:
        return []
    best, second = ranking.ranked[:2]
    behind = abs((best.score or 0.0) - (second.score or 0.0))
    scores = [row.score for row in ranking.ranked if row.score is not None]
    middle = statistics.median(scores)
    noise = "" if _is_replicated(ranking) else "; with one seed each, the noise is unknown"
    distance = f"{words.score_text(behind)} behind" if behind else "with the same score"
    return [
        f"Runner-up: trial {second.number}, {distance}{_described(second)}{noise}.",
        f"The median of {words.counted(len(scores), 'ranked trial')} is "
        f"{words.score_text(middle)}, the worst {words.score_text(scores[-1])}.",
    ]


def _replicates(record: RunRecord, ranking: Ranking) -> list[str]:
    """Means over seeds, where there is more than one seed: the honest comparison."""
    if not _is_replicated(ranking):
        return []
    sign = -1.0 if record.direction == "max" else 1.0
    groups = sorted(_by_configuration(record, ranking), key=lambda item: sign * item[1].mean)
    first, best = groups[0]
    lines = [f"By mean over seeds, best is{_values_of(first)}: {_mean_text(best)}."]
    if len(groups) > 1:
        second, next_best = groups[1]
        behind = abs(best.mean - next_best.mean)
        spread = max(best.spread or 0.0, next_best.spread or 0.0)
        verdict = "within" if behind <= spread else "more than"
        lines.append(
            f"Next is{_values_of(second)}: {_mean_text(next_best)}; the difference of "
            f"{words.score_text(behind)} is {verdict} the spread between seeds."
        )
    return lines


def _failures(ranking: Ranking, record: RunRecord) -> list[str]:
    counts = record.counts
    parts = [
        f"{counts.get(state, 0):,} {words.state_word(state)}"
        for state in (TrialState.FAILED, TrialState.DIVERGED)
        if counts.get(state, 0)
    ]
    total = sum(counts.values())
    if not parts:
        return []
    return [f"Of {words.counted(total, 'trial')}, {words.joined(parts)}; they are not ranked."]


def _unfinished(ranking: Ranking, record: RunRecord) -> list[str]:
    running = record.counts.get(TrialState.RUNNING, 0)
    open_trials = running + record.missing
    if not open_trials:
        return []
    word = "has" if open_trials == 1 else "have"
    return [f"{words.counted(open_trials, 'trial')} {word} not ended yet; what follows may change."]


def _described(row: TrialRow) -> str:
    return f": {words.values_text(row.values)}" if row.values else ""


# ---------------------------------------------------------------------- numbers


def _by_configuration(record: RunRecord, ranking: Ranking) -> list[tuple[TrialRow, Group]]:
    """Replicates together: what differs between trials at all is among the record's names."""
    found: dict[tuple[str, ...], list[TrialRow]] = defaultdict(list)
    for row in ranking.ranked:
        found[tuple(str(row.value(name)) for name in record.value_names)].append(row)
    return [
        (rows[0], group_of("", [row.score for row in rows if row.score is not None]))
        for rows in found.values()
    ]


def _is_replicated(ranking: Ranking) -> bool:
    return any(row.replicate for row in ranking.ranked)


def _mean_text(group: Group) -> str:
    spread = f" ± {words.score_text(group.spread)}" if group.spread is not None else ""
    return f"{words.score_text(group.mean)}{spread} (n={group.n})"


def _values_of(row: TrialRow) -> str:
    return f" {words.values_text(row.values)}" if row.values else f" that of trial {row.number}"


# ---------------------------------------------------------------------- lines


def _marginal_lines(found: Sequence[Marginal]) -> list[str]:
    groups = [group for marginal in found for group in marginal.groups]
    name_width = max(len(marginal.title) for marginal in found)
    label_width = max(len(group.label) for group in groups)
    largest = max((abs(g.mean) for g in groups if math.isfinite(g.mean)), default=0.0)
    lines = []
    for marginal in found:
        for place, group in enumerate(marginal.groups):
            title = marginal.title if place == 0 else ""
            spread = f"± {words.score_text(group.spread)}" if group.spread is not None else ""
            bar = _bar(group.mean, largest)
            lines.append(
                f"  {title:<{name_width}}  {group.label:>{label_width}}  "
                f"{words.score_text(group.mean):>9} {spread:<11} n={group.n:<4} {bar}".rstrip()
            )
    return lines


def _bar(value: float, largest: float, width: int = 16) -> str:
    if not largest or not math.isfinite(value) or value < 0:
        return ""
    eighths = round(value / largest * width * 8)
    full, part = divmod(eighths, 8)
    return "█" * full + ("▏▎▍▌▋▊▉"[part - 1] if part else "")


def _wrapped(sentence: str, width: int) -> list[str]:
    return textwrap.wrap(sentence, width, subsequent_indent="  ", break_on_hyphens=False)
