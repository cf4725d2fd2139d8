"""The depths that residual networks can have, and the blocks that each depth means."""

from __future__ import annotations

from tuner.models.family import nearest_allowed
from tuner.models.residual import BlockKind, Place, stage_plan

MAX_DEPTH = 1202
STAGE_FILTERS = (16, 32, 64)
IMAGENET_STAGE_FILTERS = (64, 128, 256, 512)
# Source: He et al. 2016, Table 1: blocks in each stage.
IMAGENET_BLOCKS: dict[int, tuple[BlockKind, tuple[int, ...]]] = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
}


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


def check_imagenet_depth(depth: int, block: BlockKind | None) -> int:
    """The depth, if the paper has it with these blocks; None for any blocks.

    Raises:
        ValueError: it has not.
    """
    allowed = [d for d, (kind, _) in IMAGENET_BLOCKS.items() if block in (None, kind)]
    if depth in allowed:
        return depth
    blocks = f" and {block} blocks" if block else ""
    raise ValueError(
        f"depth must be one of {', '.join(map(str, allowed))} with the imagenet stem{blocks}; "
        f"nearest: {nearest_allowed(depth, allowed)}"
    )


def block_plan(depth: int, kind: BlockKind = "basic") -> list[Place]:
    """The blocks of a network for small images, of a depth that `check_depth` admits."""
    return stage_plan(STAGE_FILTERS, [(depth - 2) // (6 if kind == "basic" else 9)] * 3)


def imagenet_plan(depth: int) -> list[Place]:
    """The blocks of a network for ImageNet, of a depth that `check_imagenet_depth` admits."""
    return stage_plan(IMAGENET_STAGE_FILTERS, IMAGENET_BLOCKS[depth][1])
