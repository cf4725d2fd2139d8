"""What was found, in a few sentences: what won, is it real, what mattered, what to do next."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from tuner.experiment.trial import TrialState
from tuner.ledger.records import TrialRow
from tuner.ledger.threads import mixed_threads
from tuner.report import format
from tuner.report.groups import TrialGroup, difference, exact_key, trial_groups
from tuner.report.record import RunRecord
from tuner.report.render import grid_lines, wrapped
from tuner.report.seed_spread import difference_text
from tuner.report.table import MeanScore, is_number, mean_score, mean_text, text_table
from tuner.report.trial_fields import fields_named, trial_fields

if TYPE_CHECKING:
    from tuner.report.statistics import Difference

_MAX_GROUPS = 8  # a value with more distinct points than this is cut into quarters
_PARTS = 4
_FEWEST_IN_A_PART = 4
_FEWEST_FOR_AN_EDGE = 3  # of two values, one is always at an end
_MOST_EDGES = 2
_PLAIN = {int, float, str, bool, type(None)}
_ABSENT = object()
_UNEQUAL = (
    "A rule stopped some of these trials, so that the two were not trained equally long; "
    "`tuner compare --by` compares after equally many epochs."
)

IS_IT_REAL = "Is it real?"


@dataclass(frozen=True)
class Marginal:
    """Mean score at each value of one hyperparameter, over everything else."""

    name: str
    title: str
    groups: tuple[MeanScore, ...]

    @property
    def effect(self) -> float:
        """Distance between the best and the worst mean."""
        means = [group.mean for group in self.groups]
        return max(means) - min(means)


@dataclass(frozen=True)
class Summary:
    """What won and by how much, whether it is real, what mattered, and what to do next.

    `rest` tells of trials without a score, and what else to know before trusting scores. The
    hyperparameter with the largest effect comes first; `cannot_tell` says so where trials are too
    few to compare any value with another.
    """

    won: str
    margin: tuple[str, ...]
    real: str
    rest: tuple[str, ...]
    marginals: tuple[Marginal, ...]
    steps: tuple[str, ...]
    metric: str
    cannot_tell: str = ""

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is known, in the order in which it is told."""
        real = [f"{IS_IT_REAL} {self.real}"] if self.real else []
        return (self.won, *self.margin, *real, *self.rest)

    @property
    def advice(self) -> str:
        """What to do next; empty for nothing."""
        return f"What next: {'; '.join(self.steps)}." if self.steps else ""


def summarize(record: RunRecord) -> Summary:
    """Reads a record for its reader. Works with no trial, with one, and with failures only."""
    means = marginals(record.ranking.ranked, record.value_names)
    winner = _find_winner(record)
    return Summary(
        winner.won,
        tuple(winner.margin),
        winner.real,
        (
            *_stopped(record),
            *_failures(record),
            *_unfinished(record),
            *_ended(record),
            *_readings(record),
            *_threads(record),
        ),
        tuple(means),
        tuple(_next_steps(record, means, winner)),
        record.metric,
        cannot_tell(record) if not means else "",
    )


def cannot_tell(record: RunRecord) -> str:
    """That so few trials cannot tell what mattered; empty where nothing was searched."""
    n = len(record.ranking.ranked)
    return f"{n} trials cannot tell what mattered." if n > 1 and record.value_names else ""


# ---------------------------------------------------------------------- what won


@dataclass(frozen=True)
class _Winner:
    """What won, its best trial where several share a configuration, and what is said of it.

    `is_settled` where it can be told from the next.
    """

    won: str
    trial: TrialRow | None = None
    margin: Sequence[str] = ()
    real: str = ""
    is_settled: bool = False
    runner_up: TrialRow | None = None
    lead: float = 0.0


def _find_winner(record: RunRecord) -> _Winner:
    """Over configurations where any has several seeds, else over trials."""
    ranked = record.ranking.ranked
    if not ranked:
        waits = "" if record.ranking.unranked else " yet"
        return _Winner(f"No trial has a score{waits}.")
    if any(row.replicate for row in ranked):
        return _over_seeds(record)
    won = _best_trial_text(record, ranked[0])
    return _one_seed_each(record, won) if len(ranked) > 1 else _Winner(won, ranked[0])


def _best_trial_text(record: RunRecord, best: TrialRow) -> str:
    at = f" in epoch {best.best_epoch} of {best.epochs}" if best.best_epoch else ""
    stopped = ", where a rule stopped it" if best.state is TrialState.STOPPED else ""
    values = f": {format.values_text(best.values)}" if best.values else ""
    score = f"{format.printable(record.metric)} {format.score_text(best.score)}"
    chance = _times_chance(record, best.score)
    return f"Best: trial {best.number} with {score}{at}{stopped}{chance}{values}.{_size(best)}"


def _one_seed_each(record: RunRecord, won: str) -> _Winner:
    ranked = record.ranking.ranked
    best, second = ranked[:2]
    lead = _distance(best.score, second.score)
    lead_text = format.score_text(lead)
    behind = f"{lead_text} behind" if lead else "with the same score"
    values = f": {format.values_text(second.values)}" if second.values else ""
    scores = _scores(ranked)
    from_luck = f"this lead of {lead_text}" if lead else "such a tie"
    margin = [
        f"Runner-up: trial {second.number}, {behind}{values}.",
        f"The median of {format.counted(len(scores), 'ranked trial')} is "
        f"{format.score_text(statistics.median(scores))}, "
        f"the worst {format.score_text(scores[-1])}.",
    ]
    real = (
        f"One seed each cannot tell {from_luck} from luck, and the best of many trials is lucky "
        f"on average; {_who_tells(record, best)}."
    )
    return _Winner(won, best, margin, real, runner_up=second, lead=lead)


def _over_seeds(record: RunRecord) -> _Winner:
    by = fields_named(trial_fields(record), record.value_names, "")
    best, *others = trial_groups(record, by)
    won, trial = _best_group_text(record, best), best.trials[0]
    if not others:
        return _Winner(won, trial)
    second = others[0]
    lead = _distance(best.score.mean, second.score.mean)
    behind = f"{format.score_text(lead)} behind" if lead else "with the same mean"
    margin = [
        f"Next: {_described(second)} with {mean_text(second.score)} (n={second.score.n}), {behind}."
    ]
    if not all(map(math.isfinite, _scores((*best.trials, *second.trials)))):
        return _Winner(won, trial, margin)
    seeds = difference(best, second, record)
    if seeds is None:
        return _Winner(won, trial, margin, _UNEQUAL)
    real, runner_up = _reality(record, trial, seeds, lead), second.trials[0]
    return _Winner(won, trial, margin, real, seeds.is_claim, runner_up, lead)


def _scores(rows: Sequence[TrialRow]) -> list[float]:
    return [row.score for row in rows if row.score is not None]


def _best_group_text(record: RunRecord, line: TrialGroup) -> str:
    score = line.score
    interval = ""
    if score.n > 1 and math.isfinite(score.mean):
        from tuner.report.statistics import score_interval  # late: needs numpy

        ends = score_interval(_scores(line.trials), record.metric, record.num_images)
        low, high = format.score_text(ends.low), format.score_text(ends.high)
        interval = f" (95 % interval of the mean: {low} to {high})"
        if ends.says_nothing(record.metric):
            interval = " (too few for an interval of the mean)"
    return (
        f"Best: {_described(line)} with {format.printable(record.metric)} {mean_text(score)} over "
        f"{format.counted(score.n, 'seed')}{interval}{_times_chance(record, score.mean)}."
        f"{_size(line.trials[0])}"
    )


def _reality(record: RunRecord, best: TrialRow, difference: Difference, lead: float) -> str:
    text, seeds = format.score_text(lead), format.counted(difference.n, "seed")
    if difference.verdict.value == "not decidable":
        of = f"decide a lead of {text}" if lead else "tell the two apart"
        return f"{seeds} cannot {of}; {_who_tells(record, best)}."
    p = f"p = {difference.p_adjusted:.2g}"
    if difference.is_claim:
        low, high = sorted((abs(difference.interval.low), abs(difference.interval.high)))
        ends = f"{format.score_text(low)} to {format.score_text(high)}"
        return f"Yes: the lead is {ends} (95 %, {seeds}, {p})."
    return f"Not shown: a lead of {text} is within noise ({seeds}, {p})."


def _described(line: TrialGroup) -> str:
    trial = line.trials[0]
    values = {n: v for n, v in line.values.items() if n in trial.values}
    return format.values_text(values) or f"the configuration of trial {trial.number}"


def _times_chance(record: RunRecord, score: float | None) -> str:
    if record.metric not in ("accuracy", "val_accuracy") or not record.num_classes:
        return ""
    times = (score or 0.0) * record.num_classes
    return f", {times:.1f} times chance (1/{record.num_classes})"


def _size(row: TrialRow) -> str:
    return f" It has {format.count_text(row.parameters)} parameters." if row.parameters else ""


def _distance(one: float | None, other: float | None) -> float:
    if one == other:
        return 0.0  # two infinities too
    return abs((one or 0.0) - (other or 0.0))


def _who_tells(record: RunRecord, best: TrialRow) -> str:
    """What decides where the trials cannot."""
    if best.number in record.confirmed:
        return f"{record.command('confirm')} has trained it again, and shows what holds"
    if not record.can_be_confirmed:
        return "more search.replicates can decide it"
    return f"{record.command('confirm')} can decide it"


def _readings(record: RunRecord) -> list[str]:
    if record.test_readings < 2:
        return []
    from tuner.report.confirmation import readings_text  # late: needs numpy

    return [readings_text(record.test_readings)]


def _threads(record: RunRecord) -> list[str]:
    mixed = mixed_threads(row.threads for row in record.ranking.ranked)
    return [mixed] if mixed else []


def _stopped(record: RunRecord) -> list[str]:
    """Means and medians are over these, too, and they were not trained as long."""
    states = [row.state for row in record.ranking.ranked]
    number, ranked = states.count(TrialState.STOPPED), len(states)
    if not number:
        return []
    their = "its score is" if number == 1 else "their scores are"
    return [
        f"A rule stopped {number:,} of {ranked:,} ranked trials early: {their} of fewer epochs."
    ]


def _failures(record: RunRecord) -> list[str]:
    parts = [
        f"{record.counts[state]:,} {format.state_word(state)}"
        for state in (TrialState.FAILED, TrialState.DIVERGED)
        if record.counts.get(state, 0)
    ]
    total = format.counted(sum(record.counts.values()), "trial")
    return [f"Of {total}, {format.joined(parts)}; they are not ranked."] if parts else []


def _ended(record: RunRecord) -> list[str]:
    reason = format.printable(record.enough)
    return [f"The search has ended before its last trial: {reason}."] if reason else []


def _unfinished(record: RunRecord) -> list[str]:
    still_open = record.counts.get(TrialState.RUNNING, 0) + record.missing
    if still_open:
        has = "has" if still_open == 1 else "have"
        return [f"{format.counted(still_open, 'trial')} {has} not ended yet; all this may change."]
    return ["Stopped trials may yet go on, and all this may change."] if record.may_take_up else []


# ---------------------------------------------------------------------- what to do next


def _next_steps(record: RunRecord, means: Sequence[Marginal], winner: _Winner) -> Iterator[str]:
    """What is worth doing, in words that name the command."""
    if record.missing and not record.is_running:
        yield f"run it again for the {format.counted(record.missing, 'missing trial')}"
    if record.may_take_up and not record.is_running:
        yield "run it again, for the stopped trials that may go on"
    is_search = not record.metric.startswith("test_")  # `confirm` retries its own
    if record.counts.get(TrialState.FAILED, 0) and not record.is_running and is_search:
        yield f"{record.command('retry')} tries the failed ones again"
    if winner.trial is None:
        return
    ranked = record.ranking.ranked
    if not record.missing and not record.counts.get(TrialState.RUNNING, 0):
        edges = (_edge(record, winner.trial, marginal) for marginal in means)
        yield from itertools.islice(filter(None, edges), _MOST_EDGES)
    is_open = not winner.is_settled and winner.trial.number not in record.confirmed
    if is_open and len(ranked) > 1 and record.can_be_confirmed:
        yield f"{record.command('confirm')} trains the best ones again under new seeds"
    if is_open and (seeds := _seeds_needed(record, winner)):
        yield seeds


def _seeds_needed(record: RunRecord, winner: _Winner) -> str:
    """What it takes to decide between the first two; empty where nobody knows."""
    spread, first, second = record.seed_spread, winner.trial, winner.runner_up
    if not spread or not spread.spread or not winner.lead or first is None or second is None:
        return ""
    if not math.isfinite(winner.lead):
        return ""
    from tuner.report.power import MOST_SEEDS, seeds_to_decide  # late: needs numpy

    lead = f"the lead of {difference_text(record.metric, winner.lead)}"
    n = seeds_to_decide(winner.lead, spread.spread)
    if n is None:
        return f"{lead} takes more than {MOST_SEEDS} seeds to decide ({spread.text})"
    seconds = n * ((first.train_seconds or 0.0) + (second.train_seconds or 0.0))
    time = f" and about {format.seconds_text(seconds)}" if seconds else ""
    how = f"search.replicates: {n}"
    if record.can_be_confirmed:
        how = f"{record.command('confirm')[:-1]} --top 2 --seeds {n}`"
    return f"{lead} takes {n} seeds{time} to decide ({how}; {spread.text})"


def _edge(record: RunRecord, winner: TrialRow, marginal: Marginal) -> str:
    """Where the winner has the last value that was tried: better ones may lie beyond.

    Only where the mean is best there, too: one lucky trial is no direction.
    """
    best, ranked = winner.value(marginal.name), record.ranking.ranked
    if not is_number(best) or best == 0:  # below zero there is rarely anything
        return ""
    tried = {v for v in (row.value(marginal.name) for row in ranked) if is_number(v)}
    if len(tried) < _FEWEST_FOR_AN_EDGE or best not in (min(tried), max(tried)):
        return ""
    is_lowest = best == min(tried)
    gains = [record.objective.gain(group.mean) for group in marginal.groups]
    if max(gains) == min(gains) or gains[0 if is_lowest else -1] < max(gains):
        return ""
    end, beyond = ("smallest", "below") if is_lowest else ("largest", "above")
    text = format.value_text(best)
    return f"{marginal.title} is best at {text}, the {end} tried: look {beyond} it"


# ---------------------------------------------------------------------- what mattered


def marginals(ranked: Sequence[TrialRow], names: Iterable[str]) -> list[Marginal]:
    """Mean score per value of each hyperparameter that varies, largest effect first.

    A plain mean over whatever was tried: exact for a grid, approximate for a random search. Of
    trials that searched it; numbers that hardly repeat are cut into ranges of four trials or more,
    and where nothing repeats there is nothing to compare.
    """
    short = format.short_names(names)
    ranked = sorted(ranked, key=attrgetter("number"))
    scores = _scores(ranked)
    effects = []
    for name in short:
        values = [row.values.get(name, _ABSENT) for row in ranked]
        there = [value is not _ABSENT for value in values]
        kept = (list(itertools.compress(column, there)) for column in (values, scores))
        groups = _groups(*kept)
        if len(groups) > 1:
            effects.append(Marginal(name, format.printable(short[name]), tuple(groups)))
    return sorted(effects, key=lambda marginal: -marginal.effect)


def _groups(values: Sequence[Any], scores: Sequence[float]) -> list[MeanScore]:
    kinds = set(map(type, values))
    is_numeric = kinds <= {int, float}
    if is_numeric and _has_many(values):
        return _parts(values, scores)
    # Plain values of one kind are their own keys, which is fastest; else 1, 1.0 and true are three.
    keys = values if len(kinds) == 1 and kinds <= _PLAIN else list(map(exact_key, values))
    labels: dict[Any, str] = {}  # of each value once: writing one is slow
    by_label: dict[str, tuple[Any, list[float]]] = {}
    for key, value, score in zip(keys, values, scores, strict=True):
        if key not in labels:
            labels[key] = format.value_text(value)
        by_label.setdefault(labels[key], (value, []))[1].append(score)
    if 2 * len(by_label) > len(values):
        return _parts(values, scores) if is_numeric else []
    order = sorted(by_label, key=lambda label: by_label[label][0]) if is_numeric else by_label
    return [mean_score(label, by_label[label][1]) for label in order]


def _has_many(values: Sequence[Any]) -> bool:
    """Whether more than `_MAX_GROUPS` values look different; stops at the first too many."""
    labels: set[str] = set()
    for value in dict.fromkeys(values):
        labels.add(format.value_text(value))
        if len(labels) > _MAX_GROUPS:
            return True
    return False


def _parts(values: Sequence[Any], scores: Sequence[float]) -> list[MeanScore]:
    """About equally many trials in each of four ranges, or fewer where trials are few.

    Equal values are in one range.
    """
    order = sorted(range(len(values)), key=values.__getitem__)
    parts = min(_PARTS, len(order) // _FEWEST_IN_A_PART)
    steps = [i for i in range(1, len(order)) if values[order[i]] != values[order[i - 1]]]
    edges = [0, *steps, len(order)]
    wanted = [round(len(order) * part / parts) for part in range(parts + 1)] if parts else []
    bounds = sorted({min(edges, key=lambda edge: abs(edge - place)) for place in wanted})
    groups = []
    for start, end in itertools.pairwise(bounds):
        part = order[start:end]
        low, high = (f"{values[place]:.3g}" for place in (part[0], part[-1]))
        text = low if low == high else f"{low} to {high}"
        groups.append(mean_score(text, [scores[place] for place in part]))
    return groups


# ---------------------------------------------------------------------- renderers


def to_text(summary: Summary, width: int = 80) -> str:
    """Sentences, then one line per value of each hyperparameter."""
    lines = [line for sentence in summary.sentences for line in wrapped(sentence, width, "  ")]
    if summary.marginals:
        metric = format.printable(summary.metric)
        lines += [
            "",
            f"Mean {metric} at each value, over everything else, ± standard deviation",
            *_marginal_lines(summary.marginals),
        ]
    elif summary.cannot_tell:
        lines += ["", *wrapped(summary.cannot_tell, width, "  ")]
    if summary.advice:
        lines += ["", *wrapped(summary.advice, width, "  ")]
    return "\n".join(lines) + "\n"


def to_markdown(summary: Summary) -> str:
    """The same for a document."""
    escaped = format.markdown_text
    lines = [f"- {escaped(sentence)}" for sentence in summary.sentences]
    if summary.marginals:
        metric = escaped(summary.metric)
        head = f"| hyperparameter | value | mean {metric} | standard deviation | n |"
        lines += ["", head, "|---|---|---:|---:|---:|"]
        lines += [
            f"| {escaped(marginal.title)} | {escaped(group.label)} "
            f"| {format.score_text(group.mean)} | {format.score_text(group.spread)} | {group.n} |"
            for marginal in summary.marginals
            for group in marginal.groups
        ]
    elif summary.cannot_tell:
        lines.append(f"- {escaped(summary.cannot_tell)}")
    if summary.advice:
        lines += ["", escaped(summary.advice)]
    return "\n".join(lines) + "\n"


def to_json(summary: Summary) -> dict[str, Any]:
    """Plain values with stable keys."""
    return {
        "sentences": list(summary.sentences),
        "advice": summary.advice,
        "marginals": [
            {"name": marginal.name, "groups": [vars(group) for group in marginal.groups]}
            for marginal in summary.marginals
        ],
    }


def _marginal_lines(marginals: Sequence[Marginal]) -> list[str]:
    means = [group.mean for marginal in marginals for group in marginal.groups]
    largest = max((abs(mean) for mean in means if math.isfinite(mean)), default=0.0)
    rows = [
        ("" if place else marginal.title, group.label, _mean_cell(group, largest))
        for marginal in marginals
        for place, group in enumerate(marginal.groups)
    ]
    return grid_lines(text_table("", ("", "", ""), rows, num_numeric=1), indent="  ")


def _mean_cell(group: MeanScore, largest: float) -> str:
    spread = f"± {format.score_text(group.spread)}" if group.spread is not None else ""
    bar = format.bar_text(group.mean, largest)
    return f"{format.score_text(group.mean):>9} {spread:<11} n={group.n:<4} {bar}"
