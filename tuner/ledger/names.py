"""Which columns a table of trials has: known at once, without reading every trial."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol


class Named(Protocol):
    """What names are taken from: a new trial or a recorded one."""

    @property
    def configuration(self) -> Mapping[str, Any]:
        """Every value, by dotted name."""

    @property
    def values(self) -> Mapping[str, Any]:
        """The searched ones."""


class Names:
    """The dotted names that were searched or that differ between trials, and the final metrics.

    A name counts as soon as two trials disagree on it, also where a branch or a list made them.
    """

    def __init__(
        self,
        values: Iterable[str] = (),
        metrics: Iterable[str] = (),
        first: Mapping[str, Any] | None = None,
    ) -> None:
        self._values = dict.fromkeys(values)
        self._metrics = dict.fromkeys(metrics)
        self._first = dict(first or {})

    @property
    def values(self) -> tuple[str, ...]:
        """Searched or differing names, oldest first."""
        return tuple(self._values)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of final metrics, oldest first."""
        return tuple(self._metrics)

    def note(self, trials: Iterable[Named]) -> bool:
        """Takes new trials into account; whether anything changed."""
        before = len(self._values) + len(self._first)
        for trial in trials:
            self._values.update(dict.fromkeys(trial.values))
            for name, value in trial.configuration.items():
                if self._first.setdefault(name, value) != value:
                    self._values[name] = None
        return len(self._values) + len(self._first) != before

    def note_metrics(self, names: Iterable[str]) -> bool:
        """Takes a trial's metrics into account; whether anything changed."""
        before = len(self._metrics)
        self._metrics.update(dict.fromkeys(names))
        return len(self._metrics) != before

    def to_json(self) -> dict[str, Any]:
        """Plain values that `from_json` reads."""
        return {
            "values": list(self._values),
            "metrics": list(self._metrics),
            "first": self._first,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Names:
        """The names that `to_json` wrote; nothing stored makes an empty one."""
        return cls(stored.get("values", ()), stored.get("metrics", ()), stored.get("first", {}))
