"""What a search is told of a configuration: the mean over its replicates, once all have come."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tuner.experiment.trial import Configuration, Trial, canonical
from tuner.search.method import Proposal, Result


@dataclass(frozen=True)
class Course:
    """How a trial went: its score (None: diverged, failed, not run) and its objective's curve.

    `has_ended` is False for one that waits at a rung, or was interrupted.
    """

    score: float | None
    curve: tuple[float, ...] = ()
    has_ended: bool = True

    def is_enough(self, until: int | None) -> bool:
        """Whether nothing is to be trained up to this epoch."""
        return self.has_ended or (until is not None and len(self.curve) >= until)


@dataclass
class Group:
    """The replicates of one proposal. `place` is its place in a plan."""

    proposal: Proposal
    trials: Sequence[Trial]
    place: int | None = None
    courses: dict[int, Course] = field(default_factory=dict)  # by replicate

    @property
    def name(self) -> str:
        """What tells the configuration from any other."""
        return name_of(self.proposal.configuration)

    @property
    def missing(self) -> list[Trial]:
        """The trials that the proposal still needs."""
        return [trial for trial in self.trials if not self._is_enough(trial)]

    @property
    def waiting(self) -> list[Trial]:
        """The trials that would go on if the search said so."""
        return [t for t in self.trials if not (self._course(t) or _NOTHING).has_ended]

    @property
    def ended(self) -> list[Course]:
        """Of the replicates of which nothing more comes."""
        return [course for course in self.courses.values() if course.has_ended]

    def result(self) -> Result:
        """The mean over the replicates."""
        return mean_result(self.proposal.configuration, self.courses.values())

    def _is_enough(self, trial: Trial) -> bool:
        course = self._course(trial)
        return course is not None and course.is_enough(self.proposal.until)

    def _course(self, trial: Trial) -> Course | None:
        return self.courses.get(trial.replicate)


_NOTHING = Course(None, has_ended=False)


def name_of(configuration: Configuration) -> str:
    """What tells a configuration from any other."""
    return canonical(configuration.flat())


def _counts(course: Course, scores: Sequence[float]) -> bool:
    return course.score is not None or not scores


def mean_result(configuration: Configuration, courses: Iterable[Course]) -> Result:
    """The mean over replicates; one that diverged or failed has no part in it, unless all did.

    The curve is as long as that of the replicate that is furthest behind.
    """
    listed = list(courses)
    length = min((len(course.curve) for course in listed if not course.has_ended), default=None)
    scores = [course.score for course in listed if course.score is not None]
    curves = [course.curve for course in listed if course.curve and _counts(course, scores)]
    return Result(
        configuration,
        math.fsum(scores) / len(scores) if scores else None,
        tuple(math.fsum(values) / len(values) for values in zip(*curves, strict=False))[:length],
        all(course.has_ended for course in listed),
    )
