"""What was found, in a few sentences: what won, is it real, what mattered, what to do next."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tuner.report import words
from tuner.report.advice import next_steps
from tuner.report.marginals import Marginal, marginals
from tuner.report.record import RunRecord
from tuner.report.tabular.notes import TIED
from tuner.report.verdicts import failures, unfinished, verdicts


@dataclass(frozen=True)
class Summary:
    """The sentences, the means behind the question of what mattered, and what to do next.

    The hyperparameter with the largest effect comes first.
    """

    sentences: tuple[str, ...]
    marginals: tuple[Marginal, ...]
    metric: str
    ranked: int
    advice: str = ""


def summarize(record: RunRecord) -> Summary:
    """Reads a record for its reader. Works with no trial, with one, and with failures only."""
    ranked = record.ranking.ranked
    means = marginals(ranked, record.value_names)
    found = verdicts(record)
    sentences = [
        *found.sentences,
        *failures(record),
        *unfinished(record),
    ]
    advice = next_steps(record, means, found)
    return Summary(tuple(sentences), tuple(means), record.metric, len(ranked), advice)


def to_text(summary: Summary, width: int = 80) -> str:
    """Sentences, then one line per value of each hyperparameter."""
    lines = [line for sentence in summary.sentences for line in _wrapped(sentence, width)]
    if summary.marginals:
        metric = words.printable(summary.metric)
        lines += [
            "",
            f"What mattered: mean {metric} over everything else, ± standard deviation",
            *_marginal_lines(summary.marginals),
        ]
    if summary.advice:
        lines += ["", *_wrapped(summary.advice, width)]
    return "\n".join(lines) + "\n"


def to_markdown(summary: Summary) -> str:
    """The same for a document."""
    lines = [f"- {words.markdown_text(sentence)}" for sentence in summary.sentences]
    if summary.marginals:
        metric = words.markdown_text(summary.metric)
        head = f"| hyperparameter | value | mean {metric} | standard deviation | n |"
        lines += ["", head, "|---|---|---:|---:|---:|"]
        for marginal in summary.marginals:
            lines += [
                f"| {words.markdown_text(marginal.title)} | {words.markdown_text(group.label)} "
                f"| {words.score_text(group.mean)} | {words.score_text(group.spread)} | {group.n} |"
                for group in marginal.groups
            ]
    if summary.advice:
        lines += ["", words.markdown_text(summary.advice)]
    return "\n".join(lines) + "\n"


def to_json(summary: Summary) -> dict[str, Any]:
    """Plain values with stable keys."""
    return {
        "sentences": list(summary.sentences),
        "advice": summary.advice,
        "marginals": [
            {
                "name": marginal.name,
                "groups": [vars(group) for group in marginal.groups],
            }
            for marginal in summary.marginals
        ],
    }


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
    tied = re.sub("`[^`]*`", lambda found: found[0].replace(" ", TIED), sentence)  # commands
    lines = textwrap.wrap(tied, width, subsequent_indent="  ", break_on_hyphens=False)
    return [line.replace(TIED, " ") for line in lines]
