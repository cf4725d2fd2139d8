"""A comparison in sentences: who is ahead, whether that is real, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping

from tuner.report import words
from tuner.report.comparing.compare import SideDifference, SideSummary
from tuner.report.page.contest import Contest
from tuner.report.page.figures_forest import difference_text, told
from tuner.report.page.figures_ratios import COST_NAMES
from tuner.report.page.findings import Finding
from tuner.report.page.text import clean
from tuner.report.stats.statistics import Verdict

_MOST_SIDES = 6  # in one sentence
_COSTS = ("parameters", "macs", "epochs", "seconds")


def compare_findings(contest: Contest) -> list[Finding]:
    """The questions that this comparison can answer."""
    answers = {
        "Who is ahead?": _ahead(contest),
        "Is it real?": _real(contest),
        "At what cost?": _cost(contest),
        "What is left out?": _left_out(contest),
        "Mind that": [*contest.found.notes],
    }
    return [
        Finding(question, tuple(clean(sentence) for sentence in said))
        for question, said in answers.items()
        if said
    ]


def _ahead(contest: Contest) -> list[str]:
    found = contest.found
    known = [side for side in found.sides if side.mean is not None and side.best is not None]
    if not known:
        return ["No trial of any side has a score."]
    known.sort(key=lambda side: -contest.sign * (side.mean.mean if side.mean else 0.0))
    means = [f"{contest.named(side.name)} {_mean(side)}" for side in known[:_MOST_SIDES]]
    more = f"; and {len(known) - _MOST_SIDES} more" if len(known) > _MOST_SIDES else ""
    said = [f"Mean {words.printable(found.metric)}: {'; '.join(means)}{more}."]
    best = max(known, key=lambda s: contest.sign * (s.best.score if s.best else 0.0))
    assert best.best is not None
    trial = contest.trial_text(best.best.experiment, best.best.row.number)
    said.append(
        f"The best single trial is {trial} of {contest.named(best.name)} with "
        f"{words.score_text(best.best.score)}; the best of many is optimistic."
    )
    return said


def _mean(side: SideSummary) -> str:
    assert side.mean is not None
    around = ""
    if side.mean.is_bounded:
        around = f" ± {words.score_text(side.mean.high - side.mean.mean)}"
    return f"{words.score_text(side.mean.mean)}{around} (n = {side.num_trials:,})"


def _real(contest: Contest) -> list[str]:
    said = [_difference(contest, one) for one in contest.found.differences[:_MOST_SIDES]]
    rest = len(contest.found.differences) - _MOST_SIDES
    if rest > 0:
        said.append(f"{rest} more differences stand below.")
    undecidable = [d for d in contest.found.differences if _is_undecidable(d)]
    if undecidable:
        said.append(
            "Not decidable means that so few values could not show any difference, however large; "
            "more seeds would."
        )
    return said


def _difference(contest: Contest, one: SideDifference) -> str:
    names = f"{contest.named(one.side)} against {contest.named(contest.found.baseline)}"
    if one.difference is None:
        return f"{names}: {one.how}."
    alone = words.counted(one.without_partner, "trial")
    without = f", {alone} without a partner left out" if one.without_partner else ""
    return f"{names}: {difference_text(one)}, {told(one)}; {one.how}{without}."


def _is_undecidable(one: SideDifference) -> bool:
    return one.difference is not None and one.difference.verdict is Verdict.UNDECIDABLE


def _cost(contest: Contest) -> list[str]:
    found = contest.found
    if found.target is None:
        return []
    baseline = next(side for side in found.sides if side.name == found.baseline)
    others = [side for side in found.sides if side is not baseline and any(side.ratios.values())]
    score = f"{words.printable(found.metric)} {words.score_text(found.target)}"
    why = "" if found.target_is_given else ", the best that every side reaches,"
    said = [
        f"For {score}{why} {contest.named(side.name)} needs {_multiples(side)} of "
        f"{contest.named(found.baseline)}."
        for side in others[:_MOST_SIDES]
    ]
    missed = [side.name for side in found.sides if side.reached and not side.reached.count]
    if missed:
        names = words.joined([contest.named(name) for name in missed])
        said.append(f"{names} never {'reaches' if len(missed) == 1 else 'reach'} {score}.")
    return said


def _multiples(side: SideSummary) -> str:
    known = [(name, side.ratios[name]) for name in _COSTS]
    return words.joined([f"{ratio:.3g}× the {COST_NAMES[name]}" for name, ratio in known if ratio])


def _left_out(contest: Contest) -> list[str]:
    said = [
        f"Of {contest.named(side.name)}: {_counts(side.left_out)}."
        for side in contest.found.sides
        if side.left_out
    ]
    if contest.found.left_out:
        said.append(f"On no side: {_counts(contest.found.left_out)}.")
    stopped = [s for s in contest.found.sides if s.stopped]
    if stopped:
        parts = [f"{side.stopped:,} of {contest.named(side.name)}" for side in stopped]
        said.append(f"Stopped early by a rule, and still counted: {words.joined(parts)}.")
    return said


def _counts(counts: Mapping[str, int]) -> str:
    return words.joined([f"{count:,} {reason}" for reason, count in counts.items()])
