"""What a scheduler needs of the place where its workers live."""

from __future__ import annotations

from abc import ABC, abstractmethod

from tuner.execution.messages import Report, Task


class Pool(ABC):
    """Workers by number, here or elsewhere. One that is lost is reported as `Lost`, once."""

    @abstractmethod
    def start(self, worker: int) -> None:
        """Start a worker; it reports `Ready` or `SetupFailed`."""

    @abstractmethod
    def send(self, worker: int, task: Task) -> None:
        """Give a worker something to do; a worker that is gone is reported as `Lost`."""

    @abstractmethod
    def receive(self, timeout_seconds: float) -> list[tuple[int, Report]]:
        """Reports that have arrived, after at most so long; oldest first for each worker."""

    @abstractmethod
    def kill(self, worker: int, reason: str) -> None:
        """End a worker by force; it is reported as `Lost` with this reason."""

    @abstractmethod
    def dismiss(self) -> bool:
        """Ask all workers to give up their trials and leave; whether any is still there."""

    @abstractmethod
    def close(self) -> None:
        """End all workers by force."""
