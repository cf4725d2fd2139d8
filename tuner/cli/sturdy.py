"""A view that may break without breaking the run: a terminal can go away at any time."""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tuner.cli.live import LiveView
    from tuner.cli.plain import PlainLines
    from tuner.execution.messages import Event


class SturdyView:
    """Passes everything on until a write fails, and then nothing more."""

    def __init__(self, view: LiveView | PlainLines) -> None:
        self._view = view
        self._broken = False

    def __enter__(self) -> Self:
        with suppress(OSError):
            self._view.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._view.__exit__(kind, error, trace)

    def __call__(self, event: Event) -> None:
        """One event."""
        if self._broken:
            return
        try:
            self._view(event)
        except OSError:
            self._broken = True

    def download(self, num_bytes: int, total_bytes: int) -> None:
        """Progress of a download."""
        if self._broken:
            return
        try:
            self._view.download(num_bytes, total_bytes)
        except OSError:
            self._broken = True
