"""A comparison as people and programs read it: verdicts, tables, JSON and CSV."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tuner.report import format, render
from tuner.report.cost_at_score import COSTS
from tuner.report.render import finite
from tuner.report.sides import SideDifference
from tuner.report.statistics import ALPHA, Verdict
from tuner.report.table import Table, text_table

if TYPE_CHECKING:
    from tuner.report.comparison import Comparison, SideSummary

_SCORE_HEADS = ("trials", "configs", "mean [95 %]", "best", "in trial", "params", "MACs")
_LEVEL = ", the best mean over seeds that every side reaches"
_TARGET_HEADS = ("reached", "epochs", "seconds", "params", "MACs", "least epochs", "least s")


def verdicts(comparison: Comparison) -> list[str]:
    """What may be claimed, a sentence for each kind of verdict; the claims come first."""
    baseline, metric = comparison.named(comparison.baseline), comparison.metric
    texts = {
        Verdict.BETTER: f"Better than {baseline} in {metric}",
        Verdict.WORSE: f"Worse than {baseline} in {metric}",
        Verdict.NOISE: f"No difference from {baseline} is shown for",
        Verdict.UNDECIDABLE: f"Too few trials to compare with {baseline}",
        None: f"No test against {baseline}",
    }
    kinds: dict[Verdict | None, list[str]] = {verdict: [] for verdict in texts}
    for row in comparison.differences:
        verdict = row.difference.verdict if row.difference else None
        kinds[verdict].append(_claim(comparison, row))
    return [
        f"{texts[kind]}{' ' if kind is Verdict.NOISE else ': '}{'; '.join(rows)}."
        for kind, rows in kinds.items()
        if rows
    ]


def _claim(comparison: Comparison, row: SideDifference) -> str:
    """A side, and what the verdict on it rests on."""
    d, name = row.difference, comparison.named(row.side)
    if d is None:
        return f"{name} ({row.how.removeprefix('no test: ')})"
    if d.verdict is Verdict.UNDECIDABLE:
        return f"{name} ({format.counted(d.n, row.unit)})"
    by = f": {row.difference_text}" if d.verdict is Verdict.NOISE else f" by {row.difference_text}"
    return f"{name}{by} (n = {d.n}, p = {_p_text(d.p_adjusted)})"


def sections(comparison: Comparison) -> list[Table]:
    """The verdict, and what it rests on."""
    said = (*comparison.incomparable, *verdicts(comparison))
    return [*map(text_table, said), *tables(comparison)]


def tables(comparison: Comparison) -> list[Table]:
    """Scores, costs of the target, differences, fronts."""
    return [
        _scores(comparison),
        *_target(comparison),
        *_ratios(comparison),
        _difference_table(comparison),
        *_fronts(comparison),
    ]


def _scores(comparison: Comparison) -> Table:
    by = f" by {format.printable(comparison.by)}" if comparison.by else ""
    top, sides = comparison.top_score, comparison.sides
    winners = [i for i, side in enumerate(sides) if side.best and side.best.score == top]
    return text_table(
        f"Comparison{by}: {comparison.metric} in a trial's best epoch; "
        f"{comparison.objective.better} is better; "
        f"baseline {comparison.named(comparison.baseline)}",
        (comparison.head, *_SCORE_HEADS),
        map(_score_row, sides),
        _score_notes(comparison),
        frozenset(winners[:1]),
    )


def _score_row(side: SideSummary) -> tuple[str, ...]:
    counts = (side.name, f"{len(side.entries):,}", f"{len(side.tried):,}")
    if side.best is None:
        return (*counts, *[format.NOTHING] * 5)
    row = side.best.row
    sizes = (format.count_text(row.parameters), format.count_text(row.macs))
    return (*counts, side.mean_text, format.score_text(side.best.score), str(row.number), *sizes)


def _score_notes(comparison: Comparison) -> list[str]:
    notes = ["The best of many trials was also lucky. A mean is over all trials of its side."]
    for side in comparison.sides:
        name = comparison.named(side.name)
        if side.left_out:
            notes.append(f"Left out of {name}: {counts_text(side.left_out)}.")
        if side.stopped:
            was = "was" if side.stopped == 1 else "were"
            stopped = format.counted(side.stopped, "trial")
            notes.append(f"{stopped} of {name} {was} stopped early by a rule.")
    if comparison.left_out:
        notes.append(f"On no side: {counts_text(comparison.left_out)}.")
    return [*notes, *comparison.notes]


def _target(comparison: Comparison) -> list[Table]:
    if comparison.target is None:
        return []
    why = "" if comparison.target_is_given else _LEVEL
    rows = [
        (
            side.name,
            f"{at.count:,}/{at.n:,}",
            _number(at.epochs),
            format.seconds_text(at.seconds),
            format.count_text(side.costs["parameters"]),
            format.count_text(side.costs["macs"]),
            _number(side.costs["epochs"]),
            format.seconds_text(side.costs["seconds"]),
        )
        for side in comparison.sides
        if (at := side.reached)
    ]
    return [
        text_table(
            f"Reaching {comparison.metric} {format.score_text(comparison.target)}{why}",
            (comparison.head, *_TARGET_HEADS),
            rows,
            (
                "Epochs and seconds: medians over the trials that reach it. The rest: what the "
                "side's best configurations need for it, interpolated along their front.",
            ),
        )
    ]


def _ratios(comparison: Comparison) -> list[Table]:
    """Costs at equal score as multiples; nothing where no side reaches the target."""
    if not any(any(side.ratios.values()) for side in comparison.others):
        return []
    return [
        text_table(
            f"At that score, relative to {comparison.named(comparison.baseline)}",
            (comparison.head, "params", "MACs", "epochs", "steps", "seconds"),
            [(s.name, *(_times(s.ratios[name]) for name in COSTS)) for s in comparison.others],
            ("Steps are epochs over batch size: the same number of training images is assumed.",),
        )
    ]


def _difference_table(comparison: Comparison) -> Table:
    differences = comparison.differences
    notes = [
        f"{comparison.named(row.side)}: {'; '.join(filter(None, (row.how, row.alone_text)))}."
        for row in differences
    ]
    notes.append(
        "A difference is claimed only where interval and permutation test agree at 0.05"
        + ("; p is Holm's over all rows." if len(differences) > 1 else ".")
    )
    tested = [row.difference for row in differences if row.difference is not None]
    if any(d.is_paired and d.verdict is Verdict.UNDECIDABLE for d in tested):
        notes.append(_needed_text(len(tested)))
    claims = (i for i, row in enumerate(differences) if row.difference and row.difference.is_claim)
    return text_table(
        f"Difference in mean score from {comparison.named(comparison.baseline)}",
        (comparison.head, "difference [95 %]", "n", "p", "verdict"),
        map(_difference_row, differences),
        notes,
        frozenset(claims),
        num_numeric=3,
    )


def _difference_row(row: SideDifference) -> tuple[str, ...]:
    d = row.difference
    if d is None:
        return (row.side, *[format.NOTHING] * 4)
    return (row.side, row.difference_text, str(d.n), _p_text(d.p_adjusted), d.told(row.unit))


def _p_text(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def _needed_text(comparisons: int) -> str:
    """How many pairs give p ≤ 0.05 at best: n pairs give 2 / 2^n, Holm multiplies the first."""
    needed = 1 + math.ceil(math.log2(comparisons / ALPHA))
    among = f" in {comparisons} comparisons" if comparisons > 1 else ""
    return f"Fewer than {needed} pairs decide nothing{among}: their p is never below 0.05."


def _fronts(comparison: Comparison) -> list[Table]:
    rows = [
        (
            side.name if place == 0 else "",
            format.count_text(point.parameters),
            format.score_text(point.score),
            str(len(point.trials)),
            _trials(point.trials),
        )
        for side in comparison.sides
        for place, point in enumerate(side.front)
    ]
    heads = (comparison.head, "params", "score", "n", "trials")
    title = "Each side's best mean score for a number of parameters (its Pareto front)"
    return [text_table(title, heads, rows, num_numeric=3)] if rows else []


def _number(value: float | None) -> str:
    return format.NOTHING if value is None else f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _times(value: float | None) -> str:
    return format.NOTHING if value is None else f"{value:.3g}×"


def counts_text(counts: Mapping[str, int]) -> str:
    """How many trials for each reason: `2 diverged and 1 still to run`."""
    return format.joined([f"{count:,} {reason}" for reason, count in counts.items()])


def _trials(names: tuple[str, ...]) -> str:
    numbers = [name.rpartition("/")[2] for name in names]
    return ", ".join(numbers[:6]) + (", …" if len(numbers) > 6 else "")


# ---------------------------------------------------------------------- values


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Plain values with stable keys; what is unknown or infinite is null."""
    differences = {row.side: _difference_json(row) for row in comparison.differences}
    document: dict[str, Any] = finite(
        {
            "objective": asdict(comparison.objective),
            "by": comparison.by or None,
            "baseline": comparison.baseline,
            "target": comparison.target,
            "target_is_given": comparison.target_is_given,
            "sides": [
                {**_side_json(side), "difference": differences.get(side.name)}
                for side in comparison.sides
            ],
            "left_out": dict(comparison.left_out),
            "notes": [*comparison.incomparable, *comparison.notes],
            "verdicts": verdicts(comparison),
        }
    )
    return document


def _side_json(side: SideSummary) -> dict[str, Any]:
    best, at = side.best, side.reached
    return {
        "side": side.name,
        "trials": len(side.entries),
        "configurations": len(side.tried),
        "mean": asdict(side.mean) if side.mean else None,
        "best": best
        and {
            "experiment": best.experiment,
            "trial": best.row.number,
            "score": best.score,
            "parameters": best.row.parameters,
            "macs": best.row.macs,
        },
        "to_target": at
        and {"reached": at.count, "median_epochs": at.epochs, "median_seconds": at.seconds},
        "costs": dict(side.costs),
        "ratios": dict(side.ratios),
        "front": [vars(point) for point in side.front],
        "stopped": side.stopped,
        "left_out": dict(side.left_out),
    }


def _difference_json(row: SideDifference) -> dict[str, Any]:
    d = row.difference
    if d is None:
        return {"pairing": row.how, "n": 0, "verdict": None}
    return {
        "pairing": row.how,
        "unit": row.unit,
        "without_partner": row.without_partner,
        "n": d.n,
        "mean": d.mean,
        "low": d.interval.low,
        "high": d.interval.high,
        "p": d.p,
        "p_holm": d.p_adjusted,
        "comparisons": d.num_comparisons,
        "smallest_p": d.smallest_p,
        "verdict": d.verdict.value,
        "told": d.told(row.unit),
    }


# Columns, and where their values stand in a side of `to_json`; without "=" under their own name.
_CSV = {
    name: path or name
    for name, _, path in (
        column.partition("=")
        for column in (
            "side", "baseline", "trials", "configurations",
            "mean=mean.mean", "mean_low=mean.low", "mean_high=mean.high",
            "best=best.score", "best_trial=best.trial", "best_parameters=best.parameters",
            "best_macs=best.macs", "target", "reached=to_target.reached",
            "median_epochs=to_target.median_epochs", "median_seconds=to_target.median_seconds",
            *(f"{name}=costs.{name}" for name in COSTS),
            *(f"{name}_ratio=ratios.{name}" for name in COSTS),
            "pairing=difference.pairing", "difference=difference.mean",
            "difference_low=difference.low", "difference_high=difference.high",
            "difference_n=difference.n", "p=difference.p", "p_holm=difference.p_holm",
            "verdict=difference.verdict", "left_out",
        )
    )
}  # fmt: skip


def to_csv(comparison: Comparison) -> str:
    """One row a side."""
    document = to_json(comparison)
    rows = []
    for side in document["sides"]:
        about = {"baseline": comparison.baseline, "target": document["target"]}
        values = {**side, **about, "left_out": counts_text(side["left_out"])}
        rows.append([_value_at(values, path) for path in _CSV.values()])
    return render.to_csv(text_table("", tuple(_CSV), rows))


def _value_at(side: Mapping[str, Any], path: str) -> Any:
    """The value behind `name` or `name.part`; None where either is not there."""
    name, _, part = path.partition(".")
    return (side[name] or {}).get(part) if part else side[name]
