"""What a stopping rule is: after each epoch it says whether a trial goes on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping


class StoppingRule(ABC):
    """Ends trials early on what their epochs show, whatever the search method is.

    Trials are known by their numbers in the ledger. Epochs count from 1 and metrics are finite.
    """

    @abstractmethod
    def note(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch of a trial; also replayed from the ledger, in any order of the trials."""

    @abstractmethod
    def verdict(self, trial: int, epoch: int) -> str:
        """Why the trial stops after this epoch, which was noted last; empty if it goes on."""

    def end(self, trial: int) -> None:
        """Nothing more comes of the trial; what only it needed can be forgotten."""
        del trial
