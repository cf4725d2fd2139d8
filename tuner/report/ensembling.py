"""Several networks' averaged probabilities against each of them, image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.report import format
from tuner.report.render import Style, grid_lines, plain, wrapped
from tuner.report.statistics import ALPHA, RESAMPLES, Difference, Interval, Verdict, judged
from tuner.report.table import Column, Table

Floats = NDArray[np.float64]
_LEAST_PROBABILITY = 1e-7  # where Keras' cross-entropy cuts off, too


@dataclass(frozen=True)
class MemberFigures:
    """A member alone, and the ensemble's accuracy minus its own.

    `only_ensemble` and `only_member` count the images that one of both has right; the
    difference's p is that of McNemar's exact test on them, Holm's over all members.
    """

    trial: int
    values: Mapping[str, Any]
    accuracy: float
    loss: float
    only_ensemble: int
    only_member: int
    difference: Difference

    @property
    def verdict(self) -> Verdict:
        """What may be claimed of the ensemble against it."""
        return self.difference.verdict


@dataclass(frozen=True)
class EnsembleFigures:
    """What averaging gives. `accuracies[k]` is that of the first k + 1 members."""

    experiment: str
    num_images: int
    accuracy: float
    loss: float
    accuracies: tuple[float, ...]
    members: tuple[MemberFigures, ...]

    @property
    def best(self) -> MemberFigures:
        """The member with the highest accuracy; of equals the first."""
        return max(self.members, key=lambda member: member.accuracy)


def ensemble_figures(
    experiment: str,
    labels: NDArray[np.int32],
    members: Sequence[tuple[int, Mapping[str, Any], Floats]],
) -> EnsembleFigures:
    """Figures of members given as (trial, searched values, probabilities (images, classes))."""
    probabilities = [member[2] for member in members]
    averaged = np.mean(probabilities, axis=0)
    correct = _correct(averaged, labels)
    own = [_correct(p, labels) for p in probabilities]
    only = [(int(np.sum(correct & ~mine)), int(np.sum(mine & ~correct))) for mine in own]
    differences = judged([_difference(*counts, len(labels)) for counts in only])
    sums = np.cumsum(probabilities, axis=0)
    parts = zip(members, own, only, differences, strict=True)
    return EnsembleFigures(
        experiment=experiment,
        num_images=len(labels),
        accuracy=float(np.mean(correct)),
        loss=_loss(averaged, labels),
        accuracies=tuple(float(np.mean(_correct(part, labels))) for part in sums),
        members=tuple(
            MemberFigures(trial, values, float(np.mean(mine)), _loss(p, labels), *counts, gain)
            for (trial, values, p), mine, counts, gain in parts
        ),
    )


def _correct(probabilities: Floats, labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    return np.asarray(np.argmax(probabilities, axis=-1) == labels)


def _loss(probabilities: Floats, labels: NDArray[np.int32]) -> float:
    """Mean cross-entropy in nats."""
    of_labels = probabilities[np.arange(len(labels)), labels]
    return float(np.mean(-np.log(np.clip(of_labels, _LEAST_PROBABILITY, 1.0))))


def _difference(only_one: int, only_other: int, num_images: int) -> Difference:
    n = only_one + only_other
    interval = paired_interval(only_one, only_other, num_images)
    smallest = min(1.0, 2.0 ** (1 - n))
    return Difference(n, interval, mcnemar_p(only_one, only_other), smallest, is_paired=True)


def mcnemar_p(only_one: int, only_other: int) -> float:
    """Two-sided exact p of "either is as often right where the other is wrong".

    The binomial tail of the images on which they differ; the sign-flip test over images is the
    same. Source: McNemar 1947; exact: Fay 2010.
    """
    from scipy import special  # late: importing it takes a second

    n, fewer = only_one + only_other, min(only_one, only_other)
    return min(1.0, 2 * float(special.bdtr(fewer, n, 0.5)))


def paired_interval(only_one: int, only_other: int, num_images: int) -> Interval:
    """Difference of two accuracies on the same images, with its 95 % bootstrap interval.

    Images are drawn again with replacement, under a fixed seed; of a draw only counts matter, and
    they are multinomial.
    """
    shares = np.array([only_one, only_other, num_images - only_one - only_other]) / num_images
    draws = np.random.default_rng(0).multinomial(num_images, shares, RESAMPLES)
    low, high = np.quantile((draws[:, 0] - draws[:, 1]) / num_images, [ALPHA / 2, 1 - ALPHA / 2])
    mean = (only_one - only_other) / num_images
    return Interval(mean, float(low), float(high), num_images)


def to_json(figures: EnsembleFigures) -> dict[str, Any]:
    """What `--json` prints."""
    best = figures.best
    return {
        **asdict(figures),
        "accuracies": list(figures.accuracies),
        "members": [_member_json(member) for member in figures.members],
        "best_member": best.trial,
        "verdict": best.verdict.value,
    }


def _member_json(member: MemberFigures) -> dict[str, Any]:
    d = member.difference
    gains = {"gain": d.mean, "gain_low": d.interval.low, "gain_high": d.interval.high}
    own = {name: value for name, value in vars(member).items() if name != "difference"}
    return {**own, **gains, "p": d.p, "p_adjusted": d.p_adjusted, "verdict": d.verdict.value}


def conclusion(figures: EnsembleFigures) -> str:
    """Whether the ensemble is better than its best member, in a sentence."""
    best = figures.best
    against = f"than its best member, trial {best.trial}"
    told = {
        Verdict.BETTER: f"The ensemble is better {against}",
        Verdict.WORSE: f"The ensemble is worse {against}",
        Verdict.NOISE: f"The ensemble is not better {against}, beyond noise",
        Verdict.UNDECIDABLE: f"The ensemble is not shown to be better {against}: they differ on "
        "too few images",
    }[best.verdict]
    return (
        f"{told}; {_gain_text(best)} in accuracy on {format.counted(figures.num_images, 'image')} "
        f"(right where the other is wrong: {best.only_ensemble:,} against {best.only_member:,}; "
        f"McNemar's exact p {_p_text(best)}, Holm over "
        f"{format.counted(len(figures.members), 'member')})."
    )


CAUTION = (
    "These validation images chose the members and their epochs, so every figure here is "
    "optimistic, the best member's most. Only `tuner confirm` reads the test images."
)


def to_text(figures: EnsembleFigures, width: int, style: Style = plain) -> str:
    """A row a member and the ensemble's, and what they say."""
    networks = format.counted(len(figures.members), "network")
    images = format.counted(figures.num_images, "validation image")
    growth = ", ".join(map(format.score_text, figures.accuracies))
    said = f"Accuracy of the best 1 to {len(figures.members)} together: {growth}."
    lines = [
        style(f"{figures.experiment}: {networks} averaged, on {images}", "title"),
        "",
        *grid_lines(table(figures), style=style, rule=False),
        *("", *wrapped(said, width), "", *wrapped(conclusion(figures), width)),
        *(style(line, "dim") for line in wrapped(CAUTION, width)),
    ]
    return "\n".join(lines) + "\n"


def table(figures: EnsembleFigures) -> Table:
    """A row a member, and the ensemble's."""
    score = format.score_text
    heads = ("trial", "accuracy", "loss", "ensemble's gain (95 %)", "p", "ensemble is")
    rows = [
        (str(m.trial), score(m.accuracy), score(m.loss), _gain_text(m), _p_text(m), m.verdict.value)
        for m in figures.members
    ]
    rows.append(("all", score(figures.accuracy), score(figures.loss), "", "", ""))
    columns = tuple(Column(head, head) for head in heads)
    return Table("", columns, tuple(rows), marked=frozenset([len(figures.members)]))


def _gain_text(member: MemberFigures) -> str:
    ends = member.difference.interval
    return f"{ends.mean:+.4f} [{ends.low:+.4f}, {ends.high:+.4f}]"


def _p_text(member: MemberFigures) -> str:
    p = member.difference.p_adjusted
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
