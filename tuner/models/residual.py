"""Residual blocks as families use them: for which depths, where they stand, what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from tuner.models.family import (
    Activation,
    CostTape,
    DropoutMode,
    nearest_allowed,
    rate_or_none,
)

BlockKind = Literal["basic", "bottleneck"]
ShortcutKind = Literal["identity", "projection"]

# Channels that a block gives, in units of its filters.
EXPANSION: dict[BlockKind, int] = {"basic": 1, "bottleneck": 4}

MAX_DEPTH = 1202
STAGE_FILTERS = (16, 32, 64)


class ResidualPlace(NamedTuple):
    """Where a block stands in its network."""

    name: str
    filters: int
    strides: int


def stage_plan(stage_filters: Sequence[int], num_blocks: Sequence[int]) -> list[ResidualPlace]:
    """The blocks of all stages in order; every stage but the first begins with stride 2."""
    stages = enumerate(zip(stage_filters, num_blocks, strict=True), 1)
    return [
        ResidualPlace(f"stage{stage}_block{block}", filters, 2 if stage > 1 and block == 1 else 1)
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
    dropout_mode: DropoutMode = "upscale_in_train"
    stochastic_depth: float = 0.0

    def add(self, x: Any, plan: Sequence[ResidualPlace]) -> Any:
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
                dropout_mode=self.dropout_mode,
                stochastic_depth=rate_or_none(self.stochastic_depth),
                stochastic_depth_multiplier=n / len(plan),
                name=place.name,
            )(x)
        return x

    def count(self, tape: CostTape, plan: Sequence[ResidualPlace]) -> None:
        """The cost of what `add` builds."""
        for place in plan:
            start, convolutions = tape.shape, self._convolutions(place)
            for n, (filters, kernel_size, strides) in enumerate(convolutions, 1):
                if self.pre_activation or n > 1:
                    self.count_activation(tape)
                if self.dropout > 0 and n == len(convolutions):
                    tape.dropout()
                tape.convolution(filters, kernel_size, strides, bias=not self.batch_normalization)
            if not self.pre_activation:
                self._normalize(tape)
            self._count_shortcut(tape, start, place.strides)
            if not self.pre_activation:
                tape.activation()

    def count_activation(self, tape: CostTape) -> None:
        """Batch normalization, where the network has it, and an activation."""
        self._normalize(tape)
        tape.activation()

    def _layer(self) -> Any:
        from tuner import layers

        return {
            ("basic", False): layers.ResidualBlock,
            ("bottleneck", False): layers.BottleneckBlock,
            ("basic", True): layers.PreActivationBlock,
            ("bottleneck", True): layers.PreActivationBottleneckBlock,
        }[self.kind, self.pre_activation]

    def _convolutions(self, place: ResidualPlace) -> list[tuple[int, int, int]]:
        """(filters, kernel size, strides) along the branch."""
        filters, strides = place.filters, place.strides
        if self.kind == "basic":
            return [(filters, 3, strides), (filters, 3, 1)]
        return [(filters, 1, 1), (filters, 3, strides), (EXPANSION[self.kind] * filters, 1, 1)]

    def _count_shortcut(self, tape: CostTape, start: tuple[int, int, int], strides: int) -> None:
        """A projection where the shape changed since `start`."""
        end = tape.shape
        if self.shortcut == "identity" or (strides == 1 and start[2] == end[2]):
            return
        tape.go_to(start)
        tape.convolution(end[2], 1, strides)
        if not self.pre_activation:
            self._normalize(tape)

    def _normalize(self, tape: CostTape) -> None:
        if self.batch_normalization:
            tape.batch_normalization()


def check_depth(depth: int, kind: BlockKind = "basic", suffix: str = "") -> int:
    """The depth, if three stages can share it: 6n + 2, or 9n + 2 with bottleneck blocks.

    Raises:
        ValueError: they cannot.
    """
    unit, examples = (6, "8, 14, 20, ..., 56, 110") if kind == "basic" else (9, "11, 20, ..., 164")
    if depth >= 2 + unit and (depth - 2) % unit == 0:
        return depth
    near = nearest_allowed(depth, range(2 + unit, min(depth + 2 * unit, MAX_DEPTH) + 1, unit))
    raise ValueError(f"depth must be {unit}n + 2 ({examples}){suffix}; nearest: {near}")


def block_plan(depth: int, kind: BlockKind = "basic") -> list[ResidualPlace]:
    """The blocks of a network for small images, of a depth that `check_depth` admits."""
    return stage_plan(STAGE_FILTERS, [(depth - 2) // (6 if kind == "basic" else 9)] * 3)
