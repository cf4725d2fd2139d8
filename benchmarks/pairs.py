"""Our layers and networks, each beside the same thing in plain Keras layers.

A new layer with a counterpart adds a pair, whose name begins with the layer's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras

from benchmarks.counterparts import (
    NORMALIZATION,
    Composition,
    Counterpart,
    Shape,
    Steps,
    basic,
    bottleneck,
    densenet_bc,
    resnet20,
    resnet50,
    wide_resnet,
)
from tuner import layers
from tuner.models import FAMILIES


@dataclass(frozen=True)
class Pair:
    """The same work by us and by Keras; shapes are of one image, without the batch."""

    name: str
    ours: Callable[[], Any]
    theirs: Callable[[], Counterpart]
    input_shape: Shape
    batch: int
    quick: bool = True  # small enough for a smoke check
    works: tuple[str, ...] = ("forward", "+ backward")


def all_pairs() -> list[Pair]:
    """Every pair, layers first."""
    return [*_normalizations(), *_dropouts(), *_convolutions(), *_blocks(), *_networks()]


def without_counterpart() -> list[str]:
    """Our layers that no pair begins with: Keras has nothing to compare them with."""
    names = [pair.name for pair in all_pairs()]
    return [layer for layer in layers.__all__ if not any(n.startswith(layer) for n in names)]


def _layers(
    name: str, ours: Any, theirs: Composition, shape: Shape, batch: int, **more: Any
) -> Pair:
    def build() -> Any:
        inputs = keras.Input(shape)
        return keras.Model(inputs, ours()(inputs))

    return Pair(name, build, lambda: Counterpart(shape, theirs), shape, batch, **more)


def _normalizations() -> Iterator[Pair]:
    cases: list[tuple[str, Shape, int, int]] = [
        ("32x32x16", (32, 32, 16), 64, -1),
        ("16x16x160", (16, 16, 160), 64, -1),
        ("8x8x256", (8, 8, 256), 64, -1),
        ("dense 512", (512,), 256, -1),
        ("channels first 16x32x32", (16, 32, 32), 64, 1),
    ]
    for name, shape, batch, axis in cases:
        yield _layers(
            f"BatchNormalization {name}",
            lambda axis=axis: layers.BatchNormalization(axis=axis, **NORMALIZATION),
            lambda net, x, axis=axis: net.add(
                keras.layers.BatchNormalization(axis=axis, **NORMALIZATION), x
            ),
            shape,
            batch,
        )


def _dropouts() -> Iterator[Pair]:
    cases: list[tuple[str, Any, Any, Shape, int]] = [
        ("Dropout 32x32x16", layers.Dropout, keras.layers.Dropout, (32, 32, 16), 64),
        ("Dropout dense 512", layers.Dropout, keras.layers.Dropout, (512,), 256),
        (
            "SpatialDropout2D 32x32x16",
            layers.SpatialDropout2D,
            keras.layers.SpatialDropout2D,
            (32, 32, 16),
            64,
        ),
    ]
    for name, ours, theirs, shape, batch in cases:
        yield _layers(
            name,
            partial(ours, 0.2),
            lambda net, x, theirs=theirs: net.add(theirs(0.2), x),
            shape,
            batch,
            works=("+ backward",),  # at prediction both are the identity
        )


def _convolutions() -> Iterator[Pair]:
    yield _layers(
        "PostActivationConvolution 3x3, 16 to 32",
        lambda: layers.PostActivationConvolution(32, 3),
        lambda net, x: net.relu(net.normalize(net.convolution(x, 32, 3))),
        (32, 32, 16),
        32,
    )
    yield _layers(
        "GroupedConvolution 3x3, 32 in 8 groups",
        lambda: layers.GroupedConvolution(32, 3, 8),
        lambda net, x: net.add(
            keras.layers.Conv2D(32, 3, padding="same", use_bias=False, groups=8), x
        ),
        (16, 16, 32),
        32,
    )


def _blocks() -> Iterator[Pair]:
    yield _layers(
        "InceptionBlock, a quarter of module 3a",
        lambda: layers.InceptionBlock((16, 24, 32, 4, 8, 8)),
        lambda net, x: net.inception_module(x, (16, 24, 32, 4, 8, 8)),
        (32, 32, 48),
        32,
    )
    yield _layers(
        "HighwayBlock",
        lambda: layers.HighwayBlock(16),
        lambda net, x: net.highway_block(x, 16),
        (32, 32, 16),
        32,
    )
    yield _layers(
        "DualPathBlock, one group",
        lambda: layers.DualPathBlock(16, 32, 8, projection=True),
        lambda net, x: net.dual_path_block(x, 16, 32, 8),
        (32, 32, 56),
        32,
    )
    yield _layers(
        "PreActivationConvolution 1x1, 160 to 48",
        lambda: layers.PreActivationConvolution(48, 1),
        lambda net, x: net.preactivated(x, 48, 1),
        (16, 16, 160),
        32,
    )
    yield _layers(
        "ProjectionShortcut 16 to 32",
        lambda: layers.ProjectionShortcut(32, 2),
        lambda net, x: net.normalize(net.convolution(x, 32, 1, 2)),
        (32, 32, 16),
        64,
    )
    for name, layer, compose, steps in _RESIDUAL:
        yield _layers(
            f"{name}, identity",
            lambda layer=layer: layer(16),
            lambda net, x, compose=compose, steps=steps: compose(net, x, steps(16)),
            (32, 32, 16 if steps is basic else 64),
            32,
        )
        yield _layers(
            f"{name}, projection",
            lambda layer=layer: layer(32, 2, shortcut="projection"),
            lambda net, x, compose=compose, steps=steps: compose(net, x, steps(32, 2)),
            (32, 32, 16 if steps is basic else 64),
            32,
        )
    yield _layers(
        "DenseLayer bottleneck",
        lambda: layers.DenseLayer(12, bottleneck=True),
        lambda net, x: net.preactivated(net.preactivated(x, 48, 1), 12, 3),
        (16, 16, 160),
        32,
    )
    yield _layers(
        "DenseBlock 6 x 12, dropout",
        lambda: layers.DenseBlock(6, 12, dropout=0.2),
        lambda net, x: net.dense_block(x, 6, 12, False, 0.2),
        (32, 32, 16),
        32,
    )
    yield _layers(
        "DenseBlock 6 x 12, bottleneck",
        lambda: layers.DenseBlock(6, 12, bottleneck=True),
        lambda net, x: net.dense_block(x, 6, 12, True),
        (16, 16, 108),
        32,
    )
    yield _layers(
        "TransitionLayer 0.5",
        lambda: layers.TransitionLayer(0.5),
        lambda net, x: net.transition(x, 0.5),
        (32, 32, 216),
        16,
    )


_RESIDUAL: list[tuple[str, Any, Any, Callable[..., Steps]]] = [
    ("ResidualBlock", layers.ResidualBlock, Counterpart.residual_block, basic),
    ("BottleneckBlock", layers.BottleneckBlock, Counterpart.residual_block, bottleneck),
    ("PreActivationBlock", layers.PreActivationBlock, Counterpart.preactivation_block, basic),
    (
        "PreActivationBottleneckBlock",
        layers.PreActivationBottleneckBlock,
        Counterpart.preactivation_block,
        bottleneck,
    ),
]


def _bc(depth: int) -> dict[str, Any]:
    return {"depth": depth, "growth_rate": 12, "bottleneck": True, "compression": 0.5}


# Name, family, configuration, counterpart, batch, quick.
_CIFAR: list[tuple[str, str, dict[str, Any], Composition, int, bool]] = [
    ("ResNet-20", "resnet", {"depth": 20, "shortcut": "projection"}, resnet20, 64, False),
    ("WRN-10-1", "wide_resnet", {"depth": 10, "widen_factor": 1}, wide_resnet(10, 1), 32, True),
    ("WRN-16-4", "wide_resnet", {"depth": 16, "widen_factor": 4}, wide_resnet(16, 4), 16, False),
    ("DenseNet-BC-10-12", "densenet", _bc(10), densenet_bc(10), 32, True),
    ("DenseNet-BC-100-12", "densenet", _bc(100), densenet_bc(100), 16, False),
]
_RESNET50 = {"stem": "imagenet", "depth": 50}


def _networks() -> Iterator[Pair]:
    for name, family, values, compose, batch, quick in _CIFAR:
        yield _network(name, family, values, compose, ((32, 32, 3), 100), batch, quick=quick)
    imagenet = (224, 224, 3), 1000
    yield _network("ResNet-50", "resnet", _RESNET50, resnet50, imagenet, 2, quick=False)


def _network(
    name: str,
    family: str,
    values: dict[str, Any],
    compose: Composition,
    images: tuple[Shape, int],
    batch: int,
    *,
    quick: bool,
) -> Pair:
    ours = partial(network, family, *images, **values)
    return Pair(name, ours, partial(Counterpart, images[0], compose), images[0], batch, quick)


def network(family: str, image_shape: Shape, num_classes: int, **values: Any) -> Any:
    """Ours."""
    found = FAMILIES[family]
    return found.build(found.config(**values), image_shape, num_classes)
