"""Residual blocks as network families use them: where they stand, what they cost, which layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from tuner.models.cost import CostTape
from tuner.models.family import Activation, rate_or_none

BlockKind = Literal["basic", "bottleneck"]
ShortcutKind = Literal["identity", "projection"]

# Channels that a block gives, in units of its filters.
EXPANSION: dict[BlockKind, int] = {"basic": 1, "bottleneck": 4}


class Place(NamedTuple):
    """Where a block stands in its network."""

    name: str
    filters: int
    strides: int


def stage_plan(stage_filters: Sequence[int], num_blocks: Sequence[int]) -> list[Place]:
    """The blocks of all stages in order; every stage but the first begins with stride 2."""
    stages = enumerate(zip(stage_filters, num_blocks, strict=True), 1)
    return [
        Place(f"stage{stage}_block{block}", filters, 2 if stage > 1 and block == 1 else 1)
        for stage, (filters, count) in stages
        for block in range(1, count + 1)
    ]


@dataclass(frozen=True)
class BlockStyle:
    """What all residual blocks of a network have in common; see the layers for what it means."""

    kind: BlockKind
    pre_activation: bool
    shortcut: ShortcutKind
    activation: Activation = "relu"
    batch_normalization: bool = True
    dropout: float = 0.0
    stochastic_depth: float = 0.0

    def add(self, x: Any, plan: Sequence[Place]) -> Any:
        """The blocks of the plan on the tensor `x` of a functional model."""
        layer = self._layer()
        for n, place in enumerate(plan, 1):
            x = layer(
                place.filters,
                place.strides,
                shortcut=self.shortcut,
                activation=self.activation,
                batch_normalization=self.batch_normalization,
                dropout=rate_or_none(self.dropout),
                stochastic_depth=rate_or_none(self.stochastic_depth),
                stochastic_depth_multiplier=n / len(plan),
                name=place.name,
            )(x)
        return x

    def count(self, tape: CostTape, plan: Sequence[Place]) -> None:
        """The cost of what `add` builds."""
        for place in plan:
            start = tape.shape
            (self._count_pre_activation if self.pre_activation else self._count_post_activation)(
                tape, place
            )
            self._count_shortcut(tape, start, place.strides)
            if not self.pre_activation:
                tape.activation()

    def _layer(self) -> Any:
        from tuner import layers

        return {
            ("basic", False): layers.ResidualBlock,
            ("bottleneck", False): layers.BottleneckBlock,
            ("basic", True): layers.PreActivationBlock,
            ("bottleneck", True): layers.PreActivationBottleneckBlock,
        }[self.kind, self.pre_activation]

    def _convolutions(self, place: Place) -> list[tuple[int, int, int]]:
        """(filters, kernel size, strides) along the branch."""
        filters, strides = place.filters, place.strides
        if self.kind == "basic":
            return [(filters, 3, strides), (filters, 3, 1)]
        return [(filters, 1, 1), (filters, 3, strides), (EXPANSION[self.kind] * filters, 1, 1)]

    def _count_post_activation(self, tape: CostTape, place: Place) -> None:
        *first, last = self._convolutions(place)
        for convolution in first:
            self._convolve(tape, *convolution)
            self.normalize(tape)
            tape.activation()
        self._drop(tape)
        self._convolve(tape, *last)
        self.normalize(tape)

    def _count_pre_activation(self, tape: CostTape, place: Place) -> None:
        *first, last = self._convolutions(place)
        for convolution in first:
            self.normalize(tape)
            tape.activation()
            self._convolve(tape, *convolution)
        self.normalize(tape)
        tape.activation()
        self._drop(tape)
        self._convolve(tape, *last)

    def _count_shortcut(self, tape: CostTape, start: tuple[int, int, int], strides: int) -> None:
        """A projection where the shape changed since `start`."""
        end = tape.shape
        if self.shortcut == "identity" or (strides == 1 and start[2] == end[2]):
            return
        tape.go_to(start)
        tape.convolution(end[2], 1, strides)
        if not self.pre_activation:
            self.normalize(tape)

    def _convolve(self, tape: CostTape, filters: int, kernel_size: int, strides: int) -> None:
        tape.convolution(filters, kernel_size, strides, bias=not self.batch_normalization)

    def _drop(self, tape: CostTape) -> None:
        if self.dropout > 0:
            tape.dropout()

    def normalize(self, tape: CostTape) -> None:
        """Batch normalization, where the network has it."""
        if self.batch_normalization:
            tape.batch_normalization()
