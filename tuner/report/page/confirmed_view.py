"""The section "Confirmed on the test set": a figure, and a line for each leader."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.report import words
from tuner.report.page.confirmed import Leader, names_of
from tuner.report.page.figures_confirmed import confirmed_figure, mean_text
from tuner.report.page.panels import Panel
from tuner.report.page.source import Source


@dataclass(frozen=True)
class ConfirmedView:
    """What the template shows; `rows` hold a text for each of `heads`."""

    sentences: tuple[str, ...]
    panel: Panel
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def confirmed_view(source: Source) -> ConfirmedView | None:
    """Where `tuner confirm` has been: it stands above all that the search alone can say."""
    found = source.confirmed
    if found is None:
        return None
    lead = "From the score in the search to the mean on the test set."
    heads = ("configuration", found.searched_metric, "n", found.metric, "n", "against the best")
    named = zip(names_of(found), found.leaders, strict=True)
    rows = tuple(_row(place, name, one) for place, (name, one) in enumerate(named))
    panel = Panel("confirmed", "", lead, confirmed_figure(found))
    return ConfirmedView(found.sentences, panel, heads, rows)


def _row(place: int, name: str, one: Leader) -> tuple[str, ...]:
    return (
        name,
        words.score_text(one.searched),
        str(one.searched_n),
        mean_text(one),
        str(len(one.test)),
        "the search's best" if place == 0 else _against(one),
    )


def _against(one: Leader) -> str:
    if one.difference is None:
        return words.NOTHING
    sign = "+" if one.difference > 0 else ""
    return f"{sign}{words.score_text(one.difference)}: {one.verdict}"
