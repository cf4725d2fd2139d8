"""What a search method is: it is asked for configurations and told what became of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tuner.experiment.trial import Configuration


@dataclass(frozen=True)
class Proposal:
    """A configuration to train: to its end, or up to epoch `until`, where it waits.

    One that waits is proposed again with a later `until` (or None) if it is to go on, from the
    weights that it has; or it is `dropped`. `place` is where a plan has it; `bracket` and `round`
    are Hyperband's, s of Algorithm 1 and the rung from 0.
    """

    configuration: Configuration
    until: int | None = None
    place: int | None = field(default=None, compare=False)
    bracket: int | None = field(default=None, compare=False)
    round: int | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Result:
    """What became of a proposal, as the mean over its replicates.

    `curve` is the objective's metric after each epoch so far, `score` its best value (None: it
    diverged or failed); `ended` is False for one that is waiting, or was interrupted.
    """

    configuration: Configuration
    score: float | None
    curve: tuple[float, ...] = ()
    ended: bool = True


class SearchMethod(ABC):
    """Proposes configurations, never trains or stores.

    The same experiment and the same results give the same proposals, in any process. No
    configuration is proposed twice, but one that waits.
    """

    @property
    def is_adaptive(self) -> bool:
        """Whether results decide what comes next: then it is asked only when a worker is free."""
        return False

    @property
    @abstractmethod
    def plan(self) -> Iterable[Configuration]:
        """What it proposes as long as results have no say."""

    @property
    @abstractmethod
    def total(self) -> int | None:
        """How many configurations it will propose in all; None if it cannot know."""

    @abstractmethod
    def ask(self) -> Proposal | None:
        """The next proposal.

        None means nothing now: for good if `exhausted`, otherwise until something is told.
        """

    @property
    @abstractmethod
    def exhausted(self) -> bool:
        """Whether everything has been proposed, and nothing waits."""

    @property
    def is_thinking(self) -> bool:
        """Whether `ask` says None because it is still working out what comes next."""
        return False

    def tell(self, result: Result) -> None:
        """What became of a proposal; a method that plans ahead has no use for it.

        It is told again of one that a rule had stopped and that went on after all.
        """
        del result

    def dropped(self) -> Sequence[tuple[Configuration, str]]:
        """Configurations that waited and will not go on, each once, with the reason."""
        return ()

    def restore(self, results: Sequence[Result]) -> None:
        """Take up a search where the ledger says it stands; before anything is asked or told.

        `results` come in the order in which they were proposed. What follows is what would have
        followed without an interruption: an interrupted proposal is given again by `ask`. A
        method that plans ahead has no use for it.
        """
        del results
