"""Every trial of a comparison as its page's table reads it: on which side, in or out, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tuner.ledger.records import TrialRow
from tuner.report import words
from tuner.report.page.contest import Contest, Place
from tuner.report.page.text import clean
from tuner.report.page.trials import TrialColumn, sortable, value_columns


def compare_columns(contest: Contest) -> list[TrialColumn]:
    """Trials that take part first, best first. A trial is known by its place, which is unique."""
    places = contest.places
    rows = [place.row for place in places]
    names = dict.fromkeys(n for source in contest.sources for n in source.record.value_names)
    numbers = tuple(range(len(places)))
    trials = tuple(clean(contest.trial_text(p.experiment, p.row.number)) for p in places)
    return [
        TrialColumn("trial", "trial", "trial", trials, numbers),
        _texts(places, "side", contest.head, "side", lambda place: place.side or words.NOTHING),
        _texts(places, "counted", "counted", "fact", lambda place: place.out or "yes"),
        _texts(places, "state", "state", "state", lambda p: words.state_word(p.row.state)),
        _numbers(rows, "score", "score", "score", lambda row: row.score, words.score_text),
        *value_columns(rows, [name for name in names if name != contest.found.by]),
        _numbers(rows, "epochs", "epochs", "fact", lambda row: row.epochs, str),
        _numbers(rows, "parameters", "params", "fact", lambda r: r.parameters, words.count_text),
        _numbers(rows, "macs", "MACs", "fact", lambda row: row.macs, words.count_text),
        _numbers(rows, "train", "train", "fact", lambda r: r.train_seconds, words.seconds_text),
        _numbers(rows, "seed", "seed", "fact", lambda row: row.seed, str),
        _texts(places, "reason", "reason", "reason", lambda place: place.row.reason[:2_000]),
    ]


def _texts(
    places: Sequence[Place], name: str, title: str, kind: str, text: Callable[[Place], str]
) -> TrialColumn:
    texts = tuple(clean(text(place)) for place in places)
    return TrialColumn(name, title, kind, texts, None, kind != "reason" or any(texts))


def _numbers(
    rows: Sequence[TrialRow],
    name: str,
    title: str,
    kind: str,
    value: Callable[[TrialRow], Any],
    text: Callable[[Any], str],
) -> TrialColumn:
    values = [value(row) for row in rows]
    texts = tuple(words.NOTHING if v is None else text(v) for v in values)
    shown = kind == "score" or len(set(texts)) > 1
    return TrialColumn(name, title, kind, texts, sortable(values), shown)
