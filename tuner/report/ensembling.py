"""Several networks' averaged probabilities against each of them, image by image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.report import words
from tuner.report.stats.intervals import ALPHA, Interval
from tuner.report.stats.samples import RESAMPLES
from tuner.report.stats.statistics import Difference, Verdict, judged

Floats = NDArray[np.float64]
_LEAST_PROBABILITY = 1e-7  # where Keras' cross-entropy cuts off, too


@dataclass(frozen=True)
class MemberFigures:
    """A member alone, and the ensemble's accuracy minus its own.

    `only_ensemble` and `only_member` count the images that one of both has right; `p` is that of
    McNemar's exact test on them, `p_adjusted` Holm's over all members.
    """

    trial: int
    values: Mapping[str, Any]
    accuracy: float
    loss: float
    only_ensemble: int
    only_member: int
    gain: float
    gain_low: float
    gain_high: float
    p: float
    p_adjusted: float
    verdict: Verdict


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
    sums = np.cumsum(probabilities, axis=0)
    differences = judged([_difference(correct, _correct(p, labels)) for p in probabilities])
    return EnsembleFigures(
        experiment=experiment,
        num_images=len(labels),
        accuracy=float(np.mean(correct)),
        loss=_loss(averaged, labels),
        accuracies=tuple(float(np.mean(_correct(part, labels))) for part in sums),
        members=tuple(
            _member(*member, labels, correct, difference)
            for member, difference in zip(members, differences, strict=True)
        ),
    )


def _member(
    trial: int,
    values: Mapping[str, Any],
    probabilities: Floats,
    labels: NDArray[np.int32],
    ensemble: NDArray[np.bool_],
    difference: Difference,
) -> MemberFigures:
    own = _correct(probabilities, labels)
    return MemberFigures(
        trial=trial,
        values=values,
        accuracy=float(np.mean(own)),
        loss=_loss(probabilities, labels),
        only_ensemble=int(np.sum(ensemble & ~own)),
        only_member=int(np.sum(own & ~ensemble)),
        gain=difference.mean,
        gain_low=difference.interval.low,
        gain_high=difference.interval.high,
        p=difference.p,
        p_adjusted=difference.p_adjusted,
        verdict=difference.verdict,
    )


def _correct(probabilities: Floats, labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.argmax(probabilities, axis=-1) == labels
    return found


def _loss(probabilities: Floats, labels: NDArray[np.int32]) -> float:
    """Mean cross-entropy in nats."""
    of_labels = probabilities[np.arange(len(labels)), labels]
    return float(np.mean(-np.log(np.clip(of_labels, _LEAST_PROBABILITY, 1.0))))


def _difference(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> Difference:
    only_one, only_other = int(np.sum(one & ~other)), int(np.sum(other & ~one))
    interval = paired_interval(only_one, only_other, len(one))
    return Difference(
        n=only_one + only_other,
        mean=interval.mean,
        interval=interval,
        p=mcnemar_p(only_one, only_other),
        smallest_p=min(1.0, 2.0 ** (1 - only_one - only_other)),
        is_paired=True,
        direction="max",
        p_adjusted=1.0,
        num_comparisons=1,
        verdict=Verdict.UNDECIDABLE,
    )


def mcnemar_p(only_one: int, only_other: int) -> float:
    """Two-sided exact p of "either is as often right where the other is wrong".

    The binomial tail of the images on which they differ; the sign-flip test over images is the
    same. Source: McNemar 1947; exact: Fay 2010.
    """
    n, least = only_one + only_other, min(only_one, only_other)
    log_half = n * math.log(2)
    terms = (
        math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - log_half)
        for k in range(least + 1)
    )
    return min(1.0, 2 * math.fsum(terms))


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


def to_json(found: EnsembleFigures) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        **asdict(found),
        "accuracies": list(found.accuracies),
        "members": [{**asdict(m), "verdict": m.verdict.value} for m in found.members],
        "best_member": found.best.trial,
        "verdict": found.best.verdict.value,
    }


def conclusion(found: EnsembleFigures) -> str:
    """Whether the ensemble is better than its best member, in a sentence."""
    best = found.best
    against = f"than its best member, trial {best.trial}"
    told = {
        Verdict.BETTER: f"The ensemble is better {against}",
        Verdict.WORSE: f"The ensemble is worse {against}",
        Verdict.NOISE: f"The ensemble is not better {against}, beyond noise",
        Verdict.UNDECIDABLE: f"The ensemble is not shown to be better {against}: they differ on "
        "too few images",
    }[best.verdict]
    return (
        f"{told}; {_gain_text(best)} in accuracy on {words.counted(found.num_images, 'image')} "
        f"(right where the other is wrong: {best.only_ensemble:,} against {best.only_member:,}; "
        f"McNemar's exact p {p_text(best.p_adjusted)}, Holm over "
        f"{words.counted(len(found.members), 'member')})."
    )


def growth(found: EnsembleFigures) -> str:
    """Accuracy of the first members together, as they are added one by one."""
    listed = ", ".join(map(words.score_text, found.accuracies))
    return f"Accuracy of the best 1 to {len(found.members)} together: {listed}."


CAUTION = (
    "These validation images chose the members and their epochs, so every figure here is "
    "optimistic, the best member's most. Only `tuner confirm` reads the test images."
)


def _gain_text(member: MemberFigures) -> str:
    return f"{member.gain:+.4f} [{member.gain_low:+.4f}, {member.gain_high:+.4f}]"


def p_text(p: float) -> str:
    """A p value in three decimals."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def table(found: EnsembleFigures) -> list[tuple[str, ...]]:
    """Heading, a row a member and the ensemble's, as text."""
    head = ("trial", "accuracy", "loss", "ensemble's gain (95 %)", "p", "ensemble is")
    rows = [
        (
            str(member.trial),
            words.score_text(member.accuracy),
            words.score_text(member.loss),
            _gain_text(member),
            p_text(member.p_adjusted),
            member.verdict.value,
        )
        for member in found.members
    ]
    together = ("all", words.score_text(found.accuracy), words.score_text(found.loss))
    return [head, *rows, (*together, "", "", "")]
