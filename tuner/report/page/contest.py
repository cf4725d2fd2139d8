"""What a comparison's page is made from: sides with their colours, and every trial's place.

And the comparison in sentences: who is ahead, whether that is real, and what it costs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tuner.experiment.objective import Objective
from tuner.ledger.records import TrialRow
from tuner.report import format, sides
from tuner.report.comparison import Comparison, SideSummary
from tuner.report.cost_at_score import SeededConfiguration, configurations
from tuner.report.page.html import clean
from tuner.report.page.overview import Answer
from tuner.report.sides import ScoredTrial, Side, SideDifference
from tuner.report.statistics import Verdict

COLORS = 8
COST_NAMES = {
    "parameters": "parameters",
    "macs": "multiply-adds",
    "epochs": "epochs",
    "steps": "steps",
    "seconds": "seconds",
}
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "hexagon", "star", "pentagon")
_DASHES = ("solid", "dash", "dot")
_MOST_SIDES = 6  # in one sentence
_ABSENT = object()


@dataclass(frozen=True)
class Contestant:
    """A side as figures draw it; after eight colours symbols and dashes tell sides apart too."""

    place: int
    side: Side
    tried: tuple[SeededConfiguration, ...]

    @property
    def name(self) -> str:
        """As the comparison calls it."""
        return self.side.name

    @property
    def color(self) -> str:
        """Its colour on the page, whatever the theme."""
        return f"@side{self.place % COLORS}"

    @property
    def symbol(self) -> str:
        """Its points' shape."""
        return _SYMBOLS[self.place % len(_SYMBOLS)]

    @property
    def dash(self) -> str:
        """Its lines' stroke."""
        return _DASHES[self.place // COLORS % len(_DASHES)]


@dataclass(frozen=True)
class ListedTrial:
    """A trial in the page's table. `side` is empty for one that is on none, `out` for one that
    takes part.
    """

    experiment: str
    row: TrialRow
    side: str
    out: str


@dataclass(frozen=True)
class Contest:
    """The comparison and all that it was made from."""

    comparison: Comparison
    sources: tuple[sides.ComparedExperiment, ...]
    contestants: tuple[Contestant, ...]

    @property
    def objective(self) -> Objective:
        """What the scores are, and which is better."""
        return self.comparison.objective

    @property
    def metric(self) -> str:
        """The objective's name, safe to print."""
        return format.printable(self.comparison.metric)

    @property
    def head(self) -> str:
        """What sides are called: the value that sets them apart."""
        by = self.comparison.by
        return format.printable(by.rpartition(".")[2]) if by else "side"

    @property
    def baseline(self) -> str:
        """The baseline in a sentence."""
        return self.named(self.comparison.baseline)

    def named(self, side: str) -> str:
        """A side in a sentence: `resnet-grid`, or `depth 20`."""
        return f"{self.head} {side}" if self.comparison.by and self.head != "family" else side

    @cached_property
    def trials(self) -> tuple[ListedTrial, ...]:
        """Every trial: those that take part first and best first, ties to the earlier one."""
        side_of = {
            (entry.experiment, entry.row.number): one.name
            for one in self.contestants
            for entry in one.side.entries
        }
        listed = [
            self._listed(source.record.name, row, side_of.get((source.record.name, row.number)))
            for source in self.sources
            for row in source.record.rows
        ]
        return tuple(sorted(listed, key=self._order))

    @cached_property
    def numbers(self) -> dict[tuple[str, int], int]:
        """By experiment and trial: the place by which figures and table know a trial."""
        return {(t.experiment, t.row.number): i for i, t in enumerate(self.trials)}

    def number_of(self, entry: ScoredTrial) -> int:
        """The same of a trial that takes part."""
        return self.numbers[entry.experiment, entry.row.number]

    def trial_text(self, experiment: str, number: int) -> str:
        """A trial's name: with its experiment where there are several."""
        return f"{experiment}/{number}" if len(self.sources) > 1 else str(number)

    def _order(self, trial: ListedTrial) -> tuple[bool, float]:
        score = trial.row.score
        if score is None or not math.isfinite(score):
            return bool(trial.out), math.inf
        return bool(trial.out), -self.objective.gain(score)

    def _listed(self, experiment: str, row: TrialRow, side: str | None) -> ListedTrial:
        if side is not None:
            return ListedTrial(experiment, row, side, "")
        by = self.comparison.by
        value = row.value(by, _ABSENT) if by else experiment
        if row.score is None:
            state = format.state_word(row.state)
            out = state if state not in ("completed", "stopped") else "without a score"
        elif value is _ABSENT:
            out = f"without {format.printable(by)}"
        elif not math.isfinite(row.score):
            out = "with an infinite score"
        else:
            out = "counted in another experiment"
        on = "" if value is _ABSENT else format.value_text(value)
        return ListedTrial(experiment, row, on, out)


def contest_of(sources: Sequence[sides.ComparedExperiment], comparison: Comparison) -> Contest:
    """The sides that `comparison` was computed from; their names are those of its summaries."""
    by = comparison.by
    grouped = sides.groups(sources, by) if by else sides.whole_experiments(sources)
    contestants = tuple(
        Contestant(place, side, tuple(configurations(side.entries, comparison.objective)))
        for place, side in enumerate(grouped.sides)
    )
    return Contest(comparison, tuple(sources), contestants)


# ---------------------------------------------------------------------- differences as text


def verdict_text(one: SideDifference) -> str:
    """The verdict with what it rests on: `better (n = 12, p = 0.004)`."""
    d = one.difference
    if d is None:
        return one.how
    if d.verdict is Verdict.UNDECIDABLE:
        return d.told(one.unit)
    return f"{d.told(one.unit)} (n = {d.n}, p = {d.p_adjusted:.2g})"


def difference_text(one: SideDifference) -> str:
    """`+0.0312 [+0.0101, +0.0523]`, or `–`."""
    return format.NOTHING if one.difference is None else one.difference.interval.signed_text


def mean_text(side: SideSummary) -> str:
    """`0.9012 ± 0.0034`, or `–`."""
    return format.NOTHING if side.mean is None else str(side.mean)


# ---------------------------------------------------------------------- findings


def compare_findings(contest: Contest) -> list[Answer]:
    """The questions that this comparison can answer."""
    incomparable = contest.comparison.incomparable
    answers = {
        "Do they compare?": incomparable,
        "Who is ahead?": [] if incomparable else _ahead(contest),
        "Is it real?": _real(contest),
        "At what cost?": _cost(contest),
        "What is left out?": _left_out(contest),
        "Mind that": contest.comparison.notes[len(incomparable) :],
    }
    return [Answer(question, tuple(map(clean, said))) for question, said in answers.items() if said]


def _ahead(contest: Contest) -> list[str]:
    gain = contest.objective.gain
    known = [(s, s.mean.mean, s.best) for s in contest.comparison.sides if s.mean and s.best]
    if not known:
        return ["No trial of any side has a score."]
    known.sort(key=lambda side: -gain(side[1]))
    means = [
        f"{contest.named(side.name)} {mean_text(side)} (n = {side.num_trials:,})"
        for side, _, _ in known[:_MOST_SIDES]
    ]
    more = f"; and {len(known) - _MOST_SIDES} more" if len(known) > _MOST_SIDES else ""
    side, _, best = max(known, key=lambda side: gain(side[2].score))
    return [
        f"Mean {contest.metric}: {'; '.join(means)}{more}.",
        f"The best single trial is {contest.trial_text(best.experiment, best.row.number)} of "
        f"{contest.named(side.name)} with {format.score_text(best.score)}; the best of many is "
        "optimistic.",
    ]


def _real(contest: Contest) -> list[str]:
    differences = contest.comparison.differences
    said = [_difference(contest, one) for one in differences[:_MOST_SIDES]]
    if (rest := len(differences) - _MOST_SIDES) > 0:
        said.append(f"{rest} more differences stand below.")
    if any(d.difference and d.difference.verdict is Verdict.UNDECIDABLE for d in differences):
        said.append(
            "Not decidable means that so few values could not show any difference, however large; "
            "more seeds would."
        )
    return said


def _difference(contest: Contest, one: SideDifference) -> str:
    names = f"{contest.named(one.side)} against {contest.baseline}"
    if one.difference is None:
        return f"{names}: {one.how}."
    alone = format.counted(one.without_partner, "trial")
    without = f", {alone} without a partner left out" if one.without_partner else ""
    return f"{names}: {difference_text(one)}, {verdict_text(one)}; {one.how}{without}."


def _cost(contest: Contest) -> list[str]:
    comparison = contest.comparison
    if comparison.target is None:
        return []
    others = [side for side in comparison.sides if side.name != comparison.baseline]
    priced = [side for side in others if any(side.ratios.values())]
    score = f"{contest.metric} {format.score_text(comparison.target)}"
    why = "" if comparison.target_is_given else ", the best that every side reaches,"
    said = [
        f"For {score}{why} {contest.named(side.name)} needs {_multiples(side)} of "
        f"{contest.baseline}."
        for side in priced[:_MOST_SIDES]
    ]
    missed = [s.name for s in comparison.sides if s.reached and not s.reached.count]
    if missed:
        names = format.joined([contest.named(name) for name in missed])
        said.append(f"{names} never {'reaches' if len(missed) == 1 else 'reach'} {score}.")
    return said


def _multiples(side: SideSummary) -> str:
    known = [(COST_NAMES[n], side.ratios[n]) for n in ("parameters", "macs", "epochs", "seconds")]
    return format.joined([f"{ratio:.3g}× the {name}" for name, ratio in known if ratio])


def _left_out(contest: Contest) -> list[str]:
    comparison = contest.comparison
    said = [
        f"Of {contest.named(side.name)}: {_counts(side.left_out)}."
        for side in comparison.sides
        if side.left_out
    ]
    if comparison.left_out:
        said.append(f"On no side: {_counts(comparison.left_out)}.")
    stopped = [f"{s.stopped:,} of {contest.named(s.name)}" for s in comparison.sides if s.stopped]
    if stopped:
        said.append(f"Stopped early by a rule, and still counted: {format.joined(stopped)}.")
    return said


def _counts(counts: Mapping[str, int]) -> str:
    return format.joined([f"{count:,} {reason}" for reason, count in counts.items()])
