"""A worker as the scheduler sees it."""

from __future__ import annotations

from dataclasses import dataclass, field

from tuner.execution.messages import MAX_PROGRAMS
from tuner.execution.running import RunningTrial


@dataclass
class Slot:
    """A worker as the scheduler sees it."""

    ready: bool = False
    running: RunningTrial | None = None
    structures: list[str] = field(default_factory=list)  # of the programs it keeps, oldest first
    failed_starts: int = 0
    leaving: bool = False  # its process ends by its own decision
    heard_at: float = 0.0

    def use(self, structure: str) -> None:
        """As the worker does with its programs."""
        others = [held for held in self.structures if held != structure]
        self.structures = [*others, structure][-MAX_PROGRAMS:]
