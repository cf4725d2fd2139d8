"""A comparison in words: its tables and notes for people, its values for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tuner.report import words
from tuner.report.comparing import sheet
from tuner.report.comparing.compare import Comparison, SideDifference, SideSummary
from tuner.report.comparing.reach import COSTS
from tuner.report.comparing.sheet import Section
from tuner.report.stats.statistics import ALPHA, Interval, Verdict
from tuner.report.tabular.render import finite

_CSV = (
    "side", "baseline", "trials", "configurations", "mean", "mean_low", "mean_high",
    "best", "best_trial", "best_parameters", "best_macs", "target", "reached", "median_epochs",
    "median_seconds", *COSTS, *(f"{name}_ratio" for name in COSTS), "pairing", "difference",
    "difference_low", "difference_high", "difference_n", "p", "p_holm", "verdict", "left_out",
)  # fmt: skip


def sections(found: Comparison) -> list[Section]:
    """Tables and notes: scores, costs of the target, differences, fronts."""
    parts = [_scores(found), _target(found), _ratios(found), _differences(found), _fronts(found)]
    return [part for part in parts if part is not None]


def to_json(found: Comparison) -> dict[str, Any]:
    """Plain values with stable keys; what is unknown or infinite is null."""
    differences = {difference.side: difference for difference in found.differences}
    document: dict[str, Any] = finite(
        {
            "objective": {"metric": found.metric, "direction": found.direction},
            "by": found.by or None,
            "baseline": found.baseline,
            "target": found.target,
            "target_is_given": found.target_is_given,
            "sides": [_side_json(side, differences.get(side.name)) for side in found.sides],
            "left_out": dict(found.left_out),
            "notes": list(found.notes),
        }
    )
    return document


def to_csv(found: Comparison) -> str:
    """One row a side."""
    differences = {difference.side: difference for difference in found.differences}
    rows = []
    for side in found.sides:
        values = finite(_side_json(side, differences.get(side.name)))
        mean, best = values["mean"] or {}, values["best"] or {}
        costs, factors = values["costs"], values["ratios"]
        to_target, against = values["to_target"] or {}, values["difference"] or {}
        rows.append(
            [
                side.name, found.baseline, side.num_trials, side.num_configurations,
                mean.get("mean"), mean.get("low"), mean.get("high"), best.get("score"),
                best.get("trial"), best.get("parameters"), best.get("macs"), found.target,
                to_target.get("reached"), to_target.get("median_epochs"),
                to_target.get("median_seconds"), *(costs[name] for name in COSTS),
                *(factors[name] for name in COSTS), against.get("pairing"),
                against.get("mean"), against.get("low"), against.get("high"), against.get("n"),
                against.get("p"), against.get("p_holm"), against.get("verdict"),
                _left_out(side.left_out),
            ]
        )  # fmt: skip
    return sheet.to_csv(_CSV, rows)


# ---------------------------------------------------------------------- tables


def _scores(found: Comparison) -> Section:
    better = "higher is better" if found.direction == "max" else "lower is better"
    by = f" by {words.printable(found.by)}" if found.by else ""
    rows = tuple(_score_row(side) for side in found.sides)
    best = [side.best.score for side in found.sides if side.best]
    top = (max if found.direction == "max" else min)(best) if best else None
    winners = [i for i, side in enumerate(found.sides) if side.best and side.best.score == top]
    return Section(
        f"Comparison{by}: {words.printable(found.metric)} in a trial's best epoch; {better}; "
        f"baseline {_named(found, found.baseline)}",
        (_head(found), "trials", "configs", "mean ± 95 %", "best", "in trial", "params", "MACs"),
        rows,
        tuple(_score_notes(found)),
        frozenset(winners[:1]),
    )


def _score_row(side: SideSummary) -> tuple[str, ...]:
    counts = (side.name, f"{side.num_trials:,}", f"{side.num_configurations:,}")
    if side.best is None or side.mean is None:
        return (*counts, *[words.NOTHING] * 5)
    row = side.best.row
    return (
        *counts,
        _mean_text(side.mean),
        words.score_text(side.best.score),
        str(row.number),
        words.count_text(row.parameters),
        words.count_text(row.macs),
    )


def _score_notes(found: Comparison) -> list[str]:
    notes = ["The best of many trials is optimistic; means are over all of a side's trials."]
    for side in found.sides:
        name = _named(found, side.name)
        if side.left_out:
            notes.append(f"Left out of {name}: {_left_out(side.left_out)}.")
        if side.stopped:
            was = "was" if side.stopped == 1 else "were"
            stopped = words.counted(side.stopped, "trial")
            notes.append(f"{stopped} of {name} {was} stopped early by a rule.")
    if found.left_out:
        notes.append(f"On no side: {_left_out(found.left_out)}.")
    return [*notes, *found.notes]


def _target(found: Comparison) -> Section | None:
    if found.target is None:
        return None
    why = "" if found.target_is_given else ", the best mean over seeds that every side reaches"
    rows = []
    for side in found.sides:
        to = side.reached
        rows.append(
            (
                side.name,
                f"{to.count:,}/{to.n:,}" if to else words.NOTHING,
                _number(to.epochs if to else None),
                words.seconds_text(to.seconds if to else None),
                words.count_text(side.costs["parameters"]),
                words.count_text(side.costs["macs"]),
                _number(side.costs["epochs"]),
                words.seconds_text(side.costs["seconds"]),
            )
        )
    return Section(
        f"To {words.printable(found.metric)} {words.score_text(found.target)}{why}",
        (_head(found), "reached", "epochs", "seconds", "params", "MACs", "least epochs", "least s"),
        tuple(rows),
        (
            "Epochs and seconds: medians over the trials that reach it. The rest: what the side's "
            "best configurations need for it, interpolated along their front.",
        ),
    )


def _ratios(found: Comparison) -> Section | None:
    """Costs at equal score as multiples; nothing where no side reaches the target."""
    others = [side for side in found.sides if side.name != found.baseline]
    if found.target is None or not any(any(side.ratios.values()) for side in others):
        return None
    return Section(
        f"At that score, relative to {_named(found, found.baseline)}",
        (_head(found), "params", "MACs", "epochs", "steps", "seconds"),
        tuple((s.name, *(_times(s.ratios[name]) for name in COSTS)) for s in others),
        ("Steps are epochs over batch size: the same number of training images is assumed.",),
    )


def _differences(found: Comparison) -> Section:
    rows = tuple(_difference_row(one) for one in found.differences)
    notes = [f"{_named(found, one.side)}: {_how(one)}." for one in found.differences]
    notes.append(
        "A difference is claimed only where interval and permutation test agree at 0.05"
        + ("; p is Holm's over all rows." if len(rows) > 1 else ".")
    )
    if any(_is_undecidable_pair(one) for one in found.differences):
        notes.append(_needed_text(sum(one.difference is not None for one in found.differences)))
    return Section(
        f"Difference in mean score from {_named(found, found.baseline)}",
        (_head(found), "difference [95 %]", "n", "p", "verdict"),
        rows,
        tuple(notes),
        frozenset(i for i, one in enumerate(found.differences) if _is_claim(one)),
        num_numeric=3,
    )


def _difference_row(one: SideDifference) -> tuple[str, ...]:
    d = one.difference
    if d is None:
        return (one.side, *[words.NOTHING] * 4)
    return (one.side, _difference_text(d.interval), str(d.n), _p(d.p_adjusted), _told(one))


def _how(one: SideDifference) -> str:
    if not one.without_partner:
        return one.how
    alone = words.counted(one.without_partner, "trial")
    return f"{one.how}; {alone} without a partner left out"


def _needed_text(comparisons: int) -> str:
    """How many pairs give p ≤ 0.05 at best: n pairs give 2 / 2^n, Holm multiplies the first."""
    needed = 1 + math.ceil(math.log2(comparisons / ALPHA))
    among = f" in {comparisons} comparisons" if comparisons > 1 else ""
    return f"Fewer than {needed} pairs decide nothing{among}: their p is never below 0.05."


def _is_claim(one: SideDifference) -> bool:
    return one.difference is not None and one.difference.is_claim


def _is_undecidable_pair(one: SideDifference) -> bool:
    d = one.difference
    return d is not None and d.is_paired and d.verdict is Verdict.UNDECIDABLE


def _fronts(found: Comparison) -> Section | None:
    rows = [
        (
            side.name if place == 0 else "",
            words.count_text(point.parameters),
            words.score_text(point.score),
            str(len(point.trials)),
            _trials(point.trials),
        )
        for side in found.sides
        for place, point in enumerate(side.front)
    ]
    if not rows:
        return None
    heads = (_head(found), "params", "score", "n", "trials")
    title = "Pareto front of each side: mean score over seeds against parameters"
    return Section(title, heads, tuple(rows), num_numeric=3)


def _head(found: Comparison) -> str:
    return words.printable(found.by.rpartition(".")[2]) if found.by else "side"


def _named(found: Comparison, side: str) -> str:
    return f"{_head(found)} {side}" if found.by else side


# ---------------------------------------------------------------------- values


def _side_json(side: SideSummary, against: SideDifference | None) -> dict[str, Any]:
    best, to = side.best, side.reached
    return {
        "side": side.name,
        "trials": side.num_trials,
        "configurations": side.num_configurations,
        "mean": vars(side.mean) if side.mean else None,
        "best": {
            "experiment": best.experiment,
            "trial": best.row.number,
            "score": best.score,
            "parameters": best.row.parameters,
            "macs": best.row.macs,
        }
        if best
        else None,
        "to_target": {
            "reached": to.count,
            "median_epochs": to.epochs,
            "median_seconds": to.seconds,
        }
        if to
        else None,
        "costs": dict(side.costs),
        "ratios": dict(side.ratios),
        "front": [vars(point) for point in side.front],
        "stopped": side.stopped,
        "left_out": dict(side.left_out),
        "difference": _difference_json(against),
    }


def _difference_json(one: SideDifference | None) -> dict[str, Any] | None:
    if one is None:
        return None
    if one.difference is None:
        return {"pairing": one.how, "n": 0, "verdict": None}
    d = one.difference
    return {
        "pairing": one.how,
        "unit": one.unit,
        "without_partner": one.without_partner,
        "n": d.n,
        "mean": d.mean,
        "low": d.interval.low,
        "high": d.interval.high,
        "p": d.p,
        "p_holm": d.p_adjusted,
        "comparisons": d.num_comparisons,
        "smallest_p": d.smallest_p,
        "verdict": d.verdict.value,
        "told": _told(one),
    }


def _told(one: SideDifference) -> str:
    return one.difference.told(one.unit) if one.difference else words.NOTHING


def _mean_text(interval: Interval) -> str:
    if not interval.is_bounded:
        return words.score_text(interval.mean)
    half = interval.high - interval.mean
    return f"{words.score_text(interval.mean)} ± {words.score_text(half)}"


def _difference_text(interval: Interval) -> str:
    mean = _signed(interval.mean)
    if not interval.is_bounded:
        return mean
    return f"{mean} [{_signed(interval.low)}, {_signed(interval.high)}]"


def _signed(value: float) -> str:
    return f"+{words.score_text(value)}" if value > 0 else words.score_text(value)


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"


def _number(value: float | None) -> str:
    return words.NOTHING if value is None else f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _times(value: float | None) -> str:
    return words.NOTHING if value is None else f"{value:.3g}×"


def _left_out(counts: Mapping[str, int]) -> str:
    return words.joined([f"{count:,} {reason}" for reason, count in counts.items()])


def _trials(names: tuple[str, ...]) -> str:
    numbers = [name.rpartition("/")[2] for name in names]
    return ", ".join(numbers[:6]) + (", …" if len(numbers) > 6 else "")
