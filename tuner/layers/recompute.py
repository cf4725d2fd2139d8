"""Layers that are computed again in the backward pass instead of being remembered.

Memory for time: of such a layer only the inputs and the outputs outlive the forward pass. This is
one of the few places in `layers/` that know the backends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

Tensor = Any
Tensors = Sequence[Any]
# (what is differentiated, what is constant) → (outputs, new values of the layer's state)
PureCall = Callable[[Tensors, Tensors], tuple[Tensor, Tensors]]


def recomputed(layer: Any, pieces: Tensors, training: bool | None = None) -> Tensor:
    """`layer(concatenate(pieces))` whose backward pass computes the layer once more.

    The pieces are joined along the channels inside, so that not even the joined tensor is kept. The
    second time sees the same moving averages and random state as the first, and so makes the same
    outputs; the layer's state moves on once.

    Args:
        layer: built; called with one tensor and `training`. Its outputs are one tensor, too.
        pieces: `(batch, height, width, channels of the piece)`.
        training: at prediction nothing is differentiated, and the layer is simply called.

    Source: Pleiss et al. 2017, section 3; Chen et al. 2016, "Training Deep Nets with Sublinear
    Memory Cost".
    """
    if not training:
        return layer(joined(pieces), training=training)
    weights = [ops.convert_to_tensor(variable) for variable in layer.trainable_variables]
    state = [ops.convert_to_tensor(variable) for variable in layer.non_trainable_variables]

    count = len(pieces)  # now: the caller's list may have grown when the backward pass comes

    def call(differentiated: Tensors, constant: Tensors) -> tuple[Tensor, Tensors]:
        images, weights = differentiated[:count], differentiated[count:]
        outputs, updated = layer.stateless_call(
            list(weights), list(constant), joined(images), training=training
        )
        return outputs, updated

    outputs, updated = _checkpointed(call, [*pieces, *weights], state)
    for variable, value in zip(layer.non_trainable_variables, updated, strict=True):
        variable.assign(value)
    return outputs


def joined(pieces: Tensors) -> Tensor:
    """The pieces along the channels."""
    return pieces[0] if len(pieces) == 1 else ops.concatenate(list(pieces), axis=-1)


def _checkpointed(
    call: PureCall, differentiated: Tensors, constant: Tensors
) -> tuple[Tensor, Tensors]:
    if keras.backend.backend() == "tensorflow":
        return _checkpointed_by_tensorflow(call, differentiated, constant)
    result: tuple[Tensor, Tensors] = keras.remat(call)(list(differentiated), list(constant))
    return result


def _checkpointed_by_tensorflow(
    call: PureCall, differentiated: Tensors, constant: Tensors
) -> tuple[Tensor, Tensors]:
    """As `tf.recompute_grad`, which would also differentiate moving averages and random states."""
    import tensorflow as tf

    count = len(differentiated)

    # Every tensor is an argument: TensorFlow takes what is captured for a variable of its own.
    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def run(*tensors: Tensor) -> tuple[Any, Any]:
        made, updated = call(tensors[:count], tensors[count:])

        def backward(upstream: Tensor, *_: Tensor) -> list[Tensor | None]:
            again = _not_before(upstream, tensors)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(again[:count])
                made_again = call(again[:count], again[count:])[0]
            found = tape.gradient(made_again, again[:count], output_gradients=upstream)
            return [*found, *([None] * (len(again) - count))]

        return (made, *updated), backward

    # Variables are read here: inside, TensorFlow would differentiate them apart from the arguments.
    read = [tf.convert_to_tensor(tensor) for tensor in (*differentiated, *constant)]
    results = run(*read)
    return results[0], results[1:]


def _not_before(upstream: Tensor, tensors: Tensors) -> list[Tensor]:
    """The tensors, such that what is made of them waits for `upstream`.

    Otherwise a compiled graph would find the second computation equal to the first, and keep that.
    """
    import tensorflow as tf

    with tf.control_dependencies([upstream]):
        return [tf.identity(tensor) for tensor in tensors]
