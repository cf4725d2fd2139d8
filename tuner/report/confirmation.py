"""What `tuner confirm` found: test figures of the leaders with intervals, and what holds."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.report import words
from tuner.report.stats.intervals import Interval, mean_interval
from tuner.report.stats.statistics import Difference, Verdict, judged, paired
from tuner.report.tabular.render import Style, plain


@dataclass(frozen=True)
class Searched:
    """A leader as the search saw it: open values, mean score over so many replicates."""

    values: Mapping[str, Any]
    score: float
    n: int


@dataclass(frozen=True)
class Line:
    """A leader, best of the search first: its test figures by seed, and against the first.

    `missing` counts seeds under which it diverged, failed or has not been trained yet.
    """

    searched: Searched
    test: Mapping[int, float]
    missing: int
    difference: Difference | None = None

    @property
    def interval(self) -> Interval | None:
        """Mean over the seeds with its t interval; None without a figure."""
        return mean_interval(list(self.test.values())) if self.test else None


@dataclass(frozen=True)
class Confirmation:
    """All leaders, in the order of the search. `trials` is how many the search ranked."""

    name: str
    metric: str
    searched_metric: str
    direction: str
    trials: int
    lines: tuple[Line, ...]


def confirmation(
    name: str,
    leaders: Sequence[Searched],
    test: Sequence[Mapping[int, float]],
    *,
    seeds: int,
    metric: str,
    searched_metric: str,
    direction: str,
    trials: int,
) -> Confirmation:
    """Compares each leader with the search's first one, pair by pair over the seeds.

    The first one was chosen before the test set was read, so comparing with it favours nobody.
    p-values are Holm-corrected over all comparisons.
    """
    differences = [_difference(found, test[0], direction) for found in test[1:]]
    told = iter(judged([d for d in differences if d is not None]))
    lines = [Line(leaders[0], test[0], seeds - len(test[0]))]
    for searched, found, difference in zip(leaders[1:], test[1:], differences, strict=True):
        verdict = next(told) if difference is not None else None
        lines.append(Line(searched, found, seeds - len(found), verdict))
    return Confirmation(name, metric, searched_metric, direction, trials, tuple(lines))


def sentences(found: Confirmation) -> list[str]:
    """What a person wants to know of it, with numbers."""
    first = found.lines[0]
    interval = first.interval
    if interval is None:
        return ["The search's best configuration has no test figure."]
    score = words.score_text
    around = f" ± {score(_half(interval))}" if interval.n > 1 else ""
    said = [
        f"The search's best scored {score(first.searched.score)} {found.searched_metric}, the best "
        f"of {words.counted(found.trials, 'trial')}; on the test set it reaches "
        f"{score(interval.mean)}{around} {found.metric} over {words.counted(interval.n, 'seed')}.",
        _optimism(found, first, interval),
    ]
    compared = [line.difference for line in found.lines[1:] if line.difference is not None]
    if compared:
        said.append(_what_holds(found, compared))
    missing = sum(line.missing for line in found.lines)
    if missing:
        said.append(f"{words.counted(missing, 'trial')} of these diverged, failed or are not run.")
    return said


def to_text(found: Confirmation, width: int, style: Style = plain) -> str:
    """A line per leader, then what holds, at most `width` wide."""
    short = words.short_names(
        dict.fromkeys(n for line in found.lines for n in line.searched.values)
    )
    names = [n for n in short if len({_value(line, n) for line in found.lines}) > 1]
    shown = names
    while len(shown) > 1 and max(map(len, _rows(found, shown, short))) > width:
        shown = shown[:-1]
    lines = [
        style(f"{words.printable(found.name)}: the search's best on the test set", "title"),
        "",
    ]
    head, *rows = _rows(found, shown, short)
    lines += [style(head[:width], "head"), *(row[:width] for row in rows)]
    if hidden := [short[name] for name in names[len(shown) :]]:
        told = f"Not shown at this width: {', '.join(hidden)} (see --json)."
        lines += ["", *textwrap.wrap(told, width)]
    same = {short[n]: _value(found.lines[0], n) for n in short if n not in names}
    if same:
        told = ", ".join(f"{name} {value}" for name, value in same.items())
        lines += ["", *textwrap.wrap(f"The same in all: {told}", width)]
    for sentence in sentences(found):
        lines += ["", *textwrap.wrap(sentence, width)]
    return "\n".join(lines) + "\n"


def _rows(found: Confirmation, names: Sequence[str], short: Mapping[str, str]) -> list[str]:
    """The head and a line per leader, aligned, however wide."""
    head = ["", *(short[n] for n in names), "search", "n", found.metric, "n", "against the best"]
    cells = [_cells(place, line, names) for place, line in enumerate(found.lines, start=1)]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    lines = []
    for row in (head, *cells):
        aligned = [cell.rjust(wide) for cell, wide in zip(row, widths, strict=True)]
        lines.append("  ".join([*aligned[:-1], row[-1]]))
    return lines


def to_json(found: Confirmation) -> dict[str, Any]:
    """Plain values with stable keys."""
    return {
        "experiment": found.name,
        "metric": found.metric,
        "searched_metric": found.searched_metric,
        "direction": found.direction,
        "trials": found.trials,
        "leaders": [_line_to_json(line) for line in found.lines],
        "sentences": sentences(found),
    }


def _value(line: Line, name: str) -> str:
    values = line.searched.values
    return words.value_text(values[name]) if name in values else words.NOTHING


def _cells(place: int, line: Line, names: Sequence[str]) -> list[str]:
    interval, difference = line.interval, line.difference
    test = words.NOTHING if interval is None else words.score_text(interval.mean)
    if interval is not None and interval.is_bounded:
        test += f" ± {words.score_text(_half(interval))}"
    against = "the search's best" if place == 1 else words.NOTHING
    if difference is not None:
        open_ = difference.verdict is Verdict.UNDECIDABLE
        told = "too few seeds" if open_ else difference.told()
        against = f"{difference.mean:+.4f}  {told}"
    return [
        str(place),
        *(_value(line, name) for name in names),
        words.score_text(line.searched.score),
        str(line.searched.n),
        test,
        str(len(line.test)),
        against,
    ]


def _ends(interval: Interval) -> list[float] | None:
    return [interval.low, interval.high] if interval.is_bounded else None


def _half(interval: Interval) -> float:
    return (interval.high - interval.low) / 2


def _difference(
    one: Mapping[int, float], first: Mapping[int, float], direction: str
) -> Difference | None:
    common = sorted(one.keys() & first.keys())
    if not common:
        return None
    pairs = [one[seed] for seed in common], [first[seed] for seed in common]
    return paired(*pairs, direction=direction)


def _optimism(found: Confirmation, first: Line, interval: Interval) -> str:
    sign = 1.0 if found.direction == "max" else -1.0
    gap = sign * (first.searched.score - interval.mean)
    size = words.score_text(abs(gap))
    if interval.n < 2:
        return f"That is {size} {'less good' if gap > 0 else 'better'}, under a single seed."
    within = abs(gap) <= _half(interval)
    if within:
        return f"The search's figure was about right: {size} lies within the interval."
    word = "too optimistic" if gap > 0 else "too modest: it trained on fewer images, or held back"
    return f"The search's figure was {size} {word}."


def _what_holds(found: Confirmation, compared: Sequence[Difference]) -> str:
    better = sum(d.verdict is Verdict.BETTER for d in compared)
    worse = sum(d.verdict is Verdict.WORSE for d in compared)
    open_ = sum(d.verdict is Verdict.UNDECIDABLE for d in compared)
    noise = len(compared) - better - worse - open_
    parts = [
        (worse, "worse than it"),
        (better, "better than it"),
        (noise, "not to be told from it"),
        (open_, f"not decidable with {compared[0].n} seeds"),
    ]
    told = words.joined([f"{count} {text}" for count, text in parts if count])
    more = f"; {_enough(len(compared))} seeds could decide" if open_ else ""
    return f"Of the other {len(compared)}: {told} (paired by seed, Holm-corrected){more}."


def _enough(comparisons: int) -> int:
    """The fewest seeds with which the sign-flip test can reach 0.05 in so many comparisons."""
    return math.ceil(math.log2(2 * comparisons / 0.05))


def _line_to_json(line: Line) -> dict[str, Any]:
    interval, difference = line.interval, line.difference
    return {
        "values": dict(line.searched.values),
        "searched_score": line.searched.score,
        "searched_n": line.searched.n,
        "test": {str(seed): value for seed, value in line.test.items()},
        "test_mean": interval.mean if interval else None,
        "test_interval": _ends(interval) if interval else None,
        "missing": line.missing,
        "difference": None
        if difference is None
        else {
            "n": difference.n,
            "mean": difference.mean,
            "interval": _ends(difference.interval),
            "p": difference.p_adjusted,
            "verdict": difference.told(),
        },
    }
