"""Our blocks and networks in plain Keras layers.

A `Counterpart` remembers its layers in the order in which they were made, which is the order of our
weights: so weights can be copied from one side to the other and the outputs compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras

Shape = tuple[int, ...]
Steps = list[tuple[int, int, int]]  # (filters, kernel size, strides) along a branch
Composition = Callable[["Counterpart", Any], Any]

# As tuner.layers.convolution: momentum and epsilon of the published ResNet and DenseNet code.
NORMALIZATION = {"momentum": 0.9, "epsilon": 1e-5}


class Counterpart:
    """A functional model of Keras layers."""

    def __init__(self, input_shape: Shape, compose: Composition) -> None:
        self._layers: list[Any] = []
        inputs = keras.Input(input_shape)
        self.model = keras.Model(inputs, compose(self, inputs))

    def make(self, layer: Any) -> Any:
        self._layers.append(layer)
        return layer

    def add(self, layer: Any, x: Any) -> Any:
        return self.make(layer)(x)

    @property
    def trainable_variables(self) -> list[Any]:
        return [v for layer in self._layers for v in layer.trainable_variables]

    def convolution(self, x: Any, filters: int, kernel_size: int, strides: int = 1) -> Any:
        return self.add(_convolution(filters, kernel_size, strides), x)

    def normalize(self, x: Any) -> Any:
        return self.add(_normalization(), x)

    def relu(self, x: Any) -> Any:
        return self.add(keras.layers.Activation("relu"), x)

    def drop(self, x: Any, rate: float | None) -> Any:
        return x if rate is None else self.add(keras.layers.Dropout(rate), x)

    def preactivated(self, x: Any, filters: int, size: int, rate: float | None = None) -> Any:
        return self.drop(self.convolution(self.relu(self.normalize(x)), filters, size), rate)

    def residual_block(self, x: Any, steps: Steps) -> Any:
        """relu(x + branch(x)); normalization after each convolution."""
        branch, strides = x, 1
        for n, step in enumerate(steps):
            branch = self.normalize(self.convolution(branch, *step))
            branch = branch if n == len(steps) - 1 else self.relu(branch)
            strides *= step[2]
        if strides > 1 or x.shape[-1] != branch.shape[-1]:
            x = self.normalize(self.convolution(x, branch.shape[-1], 1, strides))
        return self.relu(self.add(keras.layers.Add(), [x, branch]))

    def preactivation_block(self, x: Any, steps: Steps) -> Any:
        """x + branch(x); normalization and activation before each convolution."""
        # In the order of our weights, which is not that of the work.
        parts = [(self.make(_convolution(*step)), self.make(_normalization())) for step in steps]
        branch, activated, strides = x, None, 1
        for (convolution, normalization), step in zip(parts, steps, strict=True):
            branch = self.relu(normalization(branch))
            activated = branch if activated is None else activated
            branch, strides = convolution(branch), strides * step[2]
        if strides > 1 or x.shape[-1] != branch.shape[-1]:
            x = self.convolution(activated, branch.shape[-1], 1, strides)
        return self.add(keras.layers.Add(), [x, branch])

    def inception_module(self, x: Any, filters: Sequence[int]) -> Any:
        # In the order of our weights.
        order, kernel_sizes = (0, 2, 4, 1, 3, 5), (1, 1, 3, 1, 5, 1)
        one, three, five, to3, to5, after = (
            partial(
                self._step,
                self.make(_convolution(filters[column], kernel_sizes[column])),
                self.make(_normalization()),
            )
            for column in order
        )
        pooled = keras.layers.MaxPooling2D(3, 1, padding="same")(x)
        return keras.layers.Concatenate()([one(x), three(to3(x)), five(to5(x)), after(pooled)])

    def _step(self, convolution: Any, normalization: Any, x: Any) -> Any:
        return self.relu(normalization(convolution(x)))

    def highway_block(self, x: Any, filters: int) -> Any:
        transformed = self.add(keras.layers.Conv2D(filters, 3, padding="same"), x)
        gate = self.add(keras.layers.Conv2D(filters, 3, padding="same", activation="sigmoid"), x)
        change = keras.layers.Subtract()([self.relu(transformed), x])
        return keras.layers.Add()([x, keras.layers.Multiply()([gate, change])])

    def dual_path_block(self, x: Any, filters: int, residual: int, growth_rate: int) -> Any:
        """With projection and strides 1."""
        branch = self.preactivated(self.preactivated(x, filters, 1), filters, 3)
        branch = self.preactivated(branch, residual + growth_rate, 1)
        carried = self.preactivated(x, residual + 2 * growth_rate, 1)
        added = keras.layers.Add()([carried[..., :residual], branch[..., :residual]])
        parts = [added, carried[..., residual:], branch[..., residual:]]
        return keras.layers.Concatenate()(parts)

    def dense_block(
        self, x: Any, num_layers: int, growth_rate: int, bottleneck: bool, rate: float | None = None
    ) -> Any:
        for _ in range(num_layers):
            new = self.preactivated(x, 4 * growth_rate, 1, rate) if bottleneck else x
            new = self.preactivated(new, growth_rate, 3, rate)
            x = self.add(keras.layers.Concatenate(), [x, new])
        return x

    def transition(self, x: Any, compression: float) -> Any:
        x = self.preactivated(x, int(compression * x.shape[-1]), 1)
        return self.add(keras.layers.AveragePooling2D(2), x)

    def classify(self, x: Any, num_classes: int) -> Any:
        x = self.add(keras.layers.GlobalAveragePooling2D(), x)
        return self.add(keras.layers.Dense(num_classes), x)


def _convolution(filters: int, kernel_size: int, strides: int = 1) -> Any:
    return keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
    )


def _normalization() -> Any:
    return keras.layers.BatchNormalization(**NORMALIZATION)


def basic(filters: int, strides: int = 1) -> Steps:
    """Two 3x3 convolutions."""
    return [(filters, 3, strides), (filters, 3, 1)]


def bottleneck(filters: int, strides: int = 1) -> Steps:
    """Stride in the 3x3 convolution, as ours (keras.applications has it in the first 1x1)."""
    return [(filters, 1, 1), (filters, 3, strides), (4 * filters, 1, 1)]


# ---------------------------------------------------------------- whole networks


def resnet20(net: Counterpart, x: Any) -> Any:
    """The one of 20 layers for 100 classes."""
    return resnet(20, 100)(net, x)


def resnet(depth: int, num_classes: int) -> Composition:
    """Option B: plain Keras has no layer that appends channels of zeros."""

    def compose(net: Counterpart, x: Any) -> Any:
        x = net.relu(net.normalize(net.convolution(x, 16, 3)))
        for filters in (16, 32, 64):
            for block in range((depth - 2) // 6):
                x = net.residual_block(x, basic(filters, 2 if filters > 16 and block == 0 else 1))
        return net.classify(x, num_classes)

    return compose


def resnet50(net: Counterpart, x: Any) -> Any:
    """Not keras.applications.ResNet50: it has biases, and fewer multiply-adds by its strides."""
    x = net.relu(net.normalize(net.convolution(x, 64, 7, 2)))
    x = net.add(keras.layers.MaxPooling2D(3, 2, padding="same"), x)
    for filters, num_blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(num_blocks):
            strides = 2 if filters > 64 and block == 0 else 1
            x = net.residual_block(x, bottleneck(filters, strides))
    return net.classify(x, 1000)


def wide_resnet(depth: int, widen_factor: int) -> Composition:
    """Pre-activation blocks in three stages."""

    def compose(net: Counterpart, x: Any) -> Any:
        x = net.convolution(x, 16, 3)
        for filters in (16, 32, 64):
            for block in range((depth - 4) // 6):
                strides = 2 if filters > 16 and block == 0 else 1
                x = net.preactivation_block(x, basic(widen_factor * filters, strides))
        return net.classify(net.relu(net.normalize(x)), 100)

    return compose


def densenet_bc(depth: int) -> Composition:
    """Growth rate 12, three blocks, compression 0.5."""

    def compose(net: Counterpart, x: Any) -> Any:
        x = net.convolution(x, 24, 3)
        for block in range(3):
            x = net.transition(x, 0.5) if block else x
            x = net.dense_block(x, (depth - 4) // 6, 12, True)
        return net.classify(net.relu(net.normalize(x)), 100)

    return compose
