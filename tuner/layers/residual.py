"""Residual blocks: convolutions beside a shortcut."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple, get_args

import keras
from keras import ops

from tuner.layers.base import ConfiguredLayer, Shape, convolved
from tuner.layers.convolution import CompositeLayer
from tuner.layers.dropout import DropoutMode, StochasticDepth

ShortcutKind = Literal["identity", "projection"]


class BranchStep(NamedTuple):
    """One convolution of a branch: its filters in units of the block's, and its kernel size."""

    width: int
    kernel_size: int
    takes_strides: bool = False


BASIC = (BranchStep(1, 3, takes_strides=True), BranchStep(1, 3))
# The paper strides in the first 1×1 convolution, which then never sees three quarters of its
# inputs; in the 3×3 one as is usual since (torchvision, fb.resnet.torch). Parameters are the same.
BOTTLENECK = (BranchStep(1, 1), BranchStep(1, 3, takes_strides=True), BranchStep(4, 1))


class ResidualLayer(CompositeLayer):
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
        dropout_mode: the convention of `dropout`, see `Dropout`.

    Raises:
        ValueError: an unknown shortcut or activation, or an identity shortcut to fewer filters.
    """

    steps: ClassVar[tuple[BranchStep, ...]]

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
        dropout_mode: DropoutMode = "upscale_in_train",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if shortcut not in get_args(ShortcutKind):
            allowed = get_args(ShortcutKind)
            raise ValueError(f"shortcut must be one of {allowed}; received {shortcut!r}")
        self.filters = filters
        self.strides = strides
        self.shortcut_kind = shortcut
        self.activation = activation
        self.batch_normalization = batch_normalization
        self.initial_dropout = dropout
        self.dropout_mode = dropout_mode
        self.initial_stochastic_depth = stochastic_depth
        self.stochastic_depth_multiplier = stochastic_depth_multiplier
        self._activate = keras.activations.get(activation)
        self.convolutions: list[Any] = []
        self.normalizations: list[Any] = []
        self.dropout: Any = None
        self.stochastic_depth: Any = None
        self.shortcut: Any = None
        self._make_branch()

    @property
    def output_filters(self) -> int:
        """Channels of the output."""
        return self.steps[-1].width * self.filters

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """`(batch, height / strides, width / strides, output_filters)`, sizes rounded up."""
        return convolved(input_shape, self.output_filters, self.strides)

    def _make_branch(self) -> None:
        for n, step in enumerate(self.steps, 1):
            if n == len(self.steps):
                self.dropout = self.make_dropout(self.initial_dropout, self.dropout_mode)
            # The order in which parts are made is that of the weights, and with it of their seeds.
            self.convolutions.append(
                self.make_convolution(
                    f"convolution{n}",
                    step.width * self.filters,
                    step.kernel_size,
                    strides=self.strides if step.takes_strides else 1,
                    use_bias=not self.batch_normalization,
                )
            )
            self.normalizations.append(_normalization_or_identity(self, f"normalization{n}"))
        if self.initial_stochastic_depth is not None:
            self.stochastic_depth = StochasticDepth(
                self.initial_stochastic_depth,
                multiplier=self.stochastic_depth_multiplier,
                **self.part_arguments("stochastic_depth"),
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
            self.shortcut = self._make_shortcut(normalized_shortcut)
            self.shortcut.compute_output_shape(input_shape)
            self.shortcut.build(input_shape)

    def _make_shortcut(self, normalized: bool) -> PaddedShortcut | ProjectionShortcut:
        filters, strides = self.output_filters, self.strides
        if self.shortcut_kind == "identity":
            return PaddedShortcut(filters, strides, **self.part_arguments("shortcut"))
        return ProjectionShortcut(filters, strides, normalized, **self.block_arguments("shortcut"))

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


class PostActivation(ResidualLayer):
    """The order of He et al. 2016; abstract: `steps` are missing."""

    def build(self, input_shape: Shape) -> None:
        """Build each step on the one before, and a shortcut if the shape changes."""
        shape = input_shape
        for convolve, normalize in zip(self.convolutions, self.normalizations, strict=True):
            convolve.build(shape)
            shape = convolve.compute_output_shape(shape)
            normalize.build(shape)
        self._build_around_branch(input_shape, normalized_shortcut=self.batch_normalization)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Add the branch to the shortcut, then activate."""
        x = inputs
        steps = zip(self.convolutions, self.normalizations, strict=True)
        for n, (convolve, normalize) in enumerate(steps):
            if n > 0:
                x = self._drop_before(n, self._activate(x), training)
            x = normalize(convolve(x), training=training)
        return self._activate(self._add(x, inputs, training))


@keras.saving.register_keras_serializable(package="tuner")
class ResidualBlock(PostActivation):
    """Two 3×3 convolutions whose result is added to the block's inputs.

        y = relu(shortcut(x) + drop(BN(conv(dropout(relu(BN(conv(x))))))))

    with drop for stochastic depth. The shortcut is the identity where the shape stays. A block
    whose branch gives zeros therefore passes what is not negative unchanged, which is what lets
    networks grow deep. For arguments and errors see `ResidualLayer`.

    Source: He et al. 2016, Figure 2 and section 4.2; dropout's place: Zagoruyko and Komodakis 2016;
    that of stochastic depth: Huang et al. 2016.
    """

    steps = BASIC


@keras.saving.register_keras_serializable(package="tuner")
class BottleneckBlock(PostActivation):
    """A 3×3 convolution between two of 1×1, the second to 4 * filters channels.

        y = relu(shortcut(x) + drop(BN(conv1x1(dropout(relu(BN(conv3x3(relu(BN(conv1x1(x))))))))))

    It costs about as much as two 3×3 convolutions on a quarter of the channels, so that networks
    of 50 layers and more stay affordable. For arguments and errors see `ResidualLayer`.

    Source: He et al. 2016, section 4.1, "Deeper Bottleneck Architectures".
    """

    steps = BOTTLENECK


class PreActivation(ResidualLayer):
    """The order of He et al. 2016b; abstract: `steps` are missing."""

    def build(self, input_shape: Shape) -> None:
        """Build each step on the one before, and a shortcut if the shape changes."""
        shape = input_shape
        for convolve, normalize in zip(self.convolutions, self.normalizations, strict=True):
            normalize.build(shape)
            convolve.build(shape)
            shape = convolve.compute_output_shape(shape)
        # The shortcut's inputs are normalized already.
        self._build_around_branch(input_shape, normalized_shortcut=False)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Add the branch to the shortcut; nothing follows."""
        x = activated = self._activate(self.normalizations[0](inputs, training=training))
        for n, convolve in enumerate(self.convolutions):
            if n > 0:
                x = self._activate(self.normalizations[n](x, training=training))
            x = convolve(self._drop_before(n, x, training))
        # The identity is taken before normalization and activation; a shortcut that changes the
        # shape after them, as in the authors' code and in that of wide residual networks. (The
        # paper's appendix activates before the very first block's identity, too.)
        return self._add(x, inputs if self.shortcut is None else activated, training)


@keras.saving.register_keras_serializable(package="tuner")
class PreActivationBlock(PreActivation):
    """Two 3×3 convolutions, each after normalization and activation, added to the inputs.

        y = shortcut(x) + drop(conv(dropout(relu(BN(conv(relu(BN(x))))))))

    with drop for stochastic depth. Nothing follows the addition: where the shape stays, the inputs
    reach every later block unchanged. A projection is a 1×1 convolution alone, without
    normalization. It is the block of wide residual networks. For arguments and errors see
    `ResidualLayer`.

    Source: He et al. 2016b, "Identity Mappings in Deep Residual Networks", Figure 1 (b);
    Zagoruyko and Komodakis 2016, Figure 1 (c, d).
    """

    steps = BASIC


@keras.saving.register_keras_serializable(package="tuner")
class PreActivationBottleneckBlock(PreActivation):
    """A 3×3 convolution between two of 1×1, each after normalization and activation.

        y = shortcut(x) + drop(conv1x1(dropout(relu(BN(conv3x3(relu(BN(conv1x1(relu(BN(x)))))))))))

    The last convolution goes to 4 * filters channels. Otherwise as `PreActivationBlock`.

    Source: He et al. 2016b, section 4 and appendix.
    """

    steps = BOTTLENECK


@keras.saving.register_keras_serializable(package="tuner")
class PaddedShortcut(ConfiguredLayer):
    """The identity, subsampled by `strides`, with channels of zeros appended up to `filters`.

    It has no weights. Source: He et al. 2016, section 3.3, option A; section 4.2 uses it on CIFAR.

    Raises:
        ValueError: fewer filters than the inputs have channels.
    """

    def __init__(self, filters: int, strides: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.strides = strides

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Subsample and pad."""
        added = self.filters - inputs.shape[-1]
        # A pool of one pixel takes every strides-th pixel, on a CPU 5 times faster than a slice.
        outputs = inputs
        if self.strides > 1:
            outputs = ops.average_pool(inputs, 1, strides=self.strides, data_format="channels_last")
        return ops.pad(outputs, [(0, 0), (0, 0), (0, 0), (0, added)])

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """`(batch, height / strides, width / strides, filters)`, sizes rounded up."""
        channels = input_shape[-1]
        if channels is not None and channels > self.filters:
            raise ValueError(
                f"an identity shortcut cannot take {channels} channels to {self.filters} filters; "
                "use shortcut='projection'"
            )
        return convolved(input_shape, self.filters, self.strides)


@keras.saving.register_keras_serializable(package="tuner")
class ProjectionShortcut(CompositeLayer):
    """A 1×1 convolution with `strides`, then batch normalization.

    Args:
        filters: of the convolution.
        strides: of the convolution.
        batch_normalization: normalize; otherwise it is the convolution alone, without a bias
            (in a network without normalization the branch that is added has one).

    Source: He et al. 2016, section 3.3, option B; the convolution alone: He et al. 2016b.
    """

    def __init__(
        self, filters: int, strides: int = 1, batch_normalization: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.strides = strides
        self.batch_normalization = batch_normalization
        self.convolution = self.make_convolution("convolution", filters, 1, strides=strides)
        self.normalization = _normalization_or_identity(self, "normalization")

    def build(self, input_shape: Shape) -> None:
        """Build convolution and normalization."""
        self.convolution.build(input_shape)
        self.normalization.build(self.compute_output_shape(input_shape))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Project."""
        return self.normalization(self.convolution(inputs), training=training)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """`(batch, height / strides, width / strides, filters)`, sizes rounded up."""
        return convolved(input_shape, self.filters, self.strides)


def _normalization_or_identity(block: ResidualLayer | ProjectionShortcut, name: str) -> Any:
    if block.batch_normalization:
        return block.make_normalization(name)
    return keras.layers.Identity(**block.part_arguments(name))
