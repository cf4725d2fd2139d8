"""What residual blocks of every kind share."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import keras

from tuner.layers.dropout import Dropout
from tuner.layers.parts import convolution, normalization
from tuner.layers.shapes import Shape, strided
from tuner.layers.shortcut import SHORTCUTS, ShortcutKind, shortcut_layer
from tuner.layers.stochastic_depth import StochasticDepth


class Step(NamedTuple):
    """One convolution of a branch: its filters in units of the block's, and its kernel size."""

    width: int
    kernel_size: int
    takes_strides: bool = False


BASIC = (Step(1, 3, takes_strides=True), Step(1, 3))
# The paper strides in the first 1×1 convolution, which then never sees three quarters of its
# inputs; in the 3×3 one as is usual since (torchvision, fb.resnet.torch). Parameters are the same.
BOTTLENECK = (Step(1, 1), Step(1, 3, takes_strides=True), Step(4, 1))


class ResidualLayer(keras.layers.Layer):  # type: ignore[misc]
    """Parts, arguments and shapes of a residual block; abstract: `call` and the order are missing.

    A branch is a chain of convolutions (`steps`), one normalization belongs to each. Dropout stands
    before the last convolution, stochastic depth after the whole branch.

    Args:
        filters: of the 3×3 convolutions.
        strides: of one convolution of the branch and of the shortcut.
        shortcut: where the shape changes: "identity" subsamples and appends zeros (option A of the
            paper, no weights), "projection" is a 1×1 convolution (option B).
        activation: a Keras name.
        batch_normalization: normalize; otherwise the branch's convolutions have a bias.
        dropout: initial rate between the convolutions (a runtime value); None for no dropout.
        stochastic_depth: initial value of the hyperparameter (a runtime value); None for none.
        stochastic_depth_multiplier: this block's share of that value, see `StochasticDepth`.

    Raises:
        ValueError: an unknown shortcut or activation, or an identity shortcut to fewer filters.
    """

    steps: ClassVar[tuple[Step, ...]]

    def __init__(
        self,
        filters: int,
        strides: int = 1,
        shortcut: ShortcutKind = "identity",
        activation: str = "relu",
        batch_normalization: bool = True,
        dropout: float | None = None,
        stochastic_depth: float | None = None,
        stochastic_depth_multiplier: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if shortcut not in SHORTCUTS:
            raise ValueError(f"shortcut must be one of {SHORTCUTS}; received {shortcut!r}")
        self.filters = filters
        self.strides = strides
        self.shortcut_kind = shortcut
        self.activation = activation
        self.batch_normalization = batch_normalization
        self.initial_dropout = dropout
        self.initial_stochastic_depth = stochastic_depth
        self.stochastic_depth_multiplier = stochastic_depth_multiplier
        self._activate = keras.activations.get(activation)
        self.convolutions: list[Any] = []
        self.normalizations: list[Any] = []
        self.dropout: Any = None
        self.shortcut: Any = None
        self._make_branch()
        self.stochastic_depth = self._make_stochastic_depth()

    @property
    def output_filters(self) -> int:
        """Channels of the output."""
        return self.steps[-1].width * self.filters

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """`(batch, height / strides, width / strides, output_filters)`, sizes rounded up."""
        batch, height, width, _ = input_shape
        rows, columns = strided(height, self.strides), strided(width, self.strides)
        return batch, rows, columns, self.output_filters

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "strides": self.strides,
            "shortcut": self.shortcut_kind,
            "activation": self.activation,
            "batch_normalization": self.batch_normalization,
            "dropout": self.initial_dropout,
            "stochastic_depth": self.initial_stochastic_depth,
            "stochastic_depth_multiplier": self.stochastic_depth_multiplier,
        }

    def _make_branch(self) -> None:
        for n, step in enumerate(self.steps, 1):
            if n == len(self.steps) and self.initial_dropout is not None:
                self.dropout = Dropout(
                    self.initial_dropout, name="dropout", dtype=self.dtype_policy
                )
            # The order in which parts are made is that of the weights, and with it of their seeds.
            self.convolutions.append(self._convolution(n, step))
            self.normalizations.append(self._normalization(n))

    def _convolution(self, n: int, step: Step) -> Any:
        return convolution(
            step.width * self.filters,
            step.kernel_size,
            strides=self.strides if step.takes_strides else 1,
            use_bias=not self.batch_normalization,
            name=f"convolution{n}",
            dtype=self.dtype_policy,
        )

    def _normalization(self, n: int) -> Any:
        make = normalization if self.batch_normalization else keras.layers.Identity
        return make(name=f"normalization{n}", dtype=self.dtype_policy)

    def _make_stochastic_depth(self) -> Any:
        if self.initial_stochastic_depth is None:
            return None
        return StochasticDepth(
            self.initial_stochastic_depth,
            multiplier=self.stochastic_depth_multiplier,
            name="stochastic_depth",
            dtype=self.dtype_policy,
        )

    def _build_around_branch(self, input_shape: Shape, *, normalized_shortcut: bool) -> None:
        """Build what is no convolution or normalization; a shortcut where the shape changes."""
        output_shape = self.compute_output_shape(input_shape)
        if self.dropout is not None:
            # Nothing of dropout depends on the size.
            self.dropout.build(output_shape)
        if self.stochastic_depth is not None:
            self.stochastic_depth.build(output_shape)
        if self.strides != 1 or input_shape[-1] != self.output_filters:
            self.shortcut = shortcut_layer(
                self.shortcut_kind,
                self.output_filters,
                self.strides,
                batch_normalization=normalized_shortcut,
                dtype=self.dtype_policy,
            )
            self.shortcut.compute_output_shape(input_shape)
            self.shortcut.build(input_shape)

    def _drop_before(self, n: int, x: Any, training: bool | None) -> Any:
        """Dropout, where there is one and convolution `n` (from 0) is the last."""
        if self.dropout is None or n + 1 < len(self.steps):
            return x
        return self.dropout(x, training=training)

    def _add(self, branch: Any, inputs: Any, training: bool | None) -> Any:
        """The branch, if it survives, and the shortcut from `inputs`."""
        if self.stochastic_depth is not None:
            branch = self.stochastic_depth(branch, training=training)
        if self.shortcut is not None:
            inputs = self.shortcut(inputs, training=training)
        return inputs + branch
