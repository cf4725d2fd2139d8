"""What a search method is: it is asked for configurations and told what became of them."""

from __future__ import annotations

from abc import ABC, abstractmethod

from tuner.experiment.trial import Configuration


class SearchMethod(ABC):
    """Proposes configurations, never trains or stores.

    The same experiment and the same tells give the same proposals, in any process. No
    configuration is proposed twice.
    """

    @property
    @abstractmethod
    def total(self) -> int | None:
        """How many configurations it will propose in all; None if it cannot know."""

    @abstractmethod
    def ask(self) -> Configuration | None:
        """The next configuration.

        None means nothing now: for good if `exhausted`, otherwise until something is told.
        """

    @property
    @abstractmethod
    def exhausted(self) -> bool:
        """Whether everything has been proposed."""

    def tell(self, configuration: Configuration, score: float | None, epochs: int) -> None:
        """What became of a proposal: its score (None: diverged or failed) after so many epochs.

        Methods that plan ahead have no use for it.
        """
        del configuration, score, epochs
