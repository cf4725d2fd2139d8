"""Keras' own layer tests on ours: building, calling, saving, training and mixed precision."""

from __future__ import annotations

import keras
import pytest
from keras.src.testing import TestCase

from tuner import layers

IMAGES, VECTORS, SEQUENCE = (2, 4, 5, 4), (3, 4), (2, 3, 4)
PENALTY = {"kernel_regularizer": "l2"}
KERNEL = {
    "kernel_initializer": "glorot_uniform",
    "kernel_regularizer": keras.regularizers.L1L2(0.1, 0.2),
    "kernel_constraint": keras.constraints.MaxNorm(1.0),
}
GAMMA_BETA = {
    "gamma_initializer": keras.initializers.Constant(0.5),
    "beta_initializer": "random_normal",
    "moving_mean_initializer": "ones",
    "moving_variance_initializer": keras.initializers.Constant(2.0),
    "gamma_regularizer": "l2",
    "beta_regularizer": keras.regularizers.L1(0.1),
    "gamma_constraint": "non_neg",
    "beta_constraint": keras.constraints.MaxNorm(1.0),
}
# Layer, arguments, shape of the inputs and of the outputs, penalties. The parts of a block are its
# public layers, and are trained as such.
PARTS = [
    ("BatchNormalization", {}, IMAGES, IMAGES, 0),
    ("BatchNormalization", {"axis": 1, "scale": False}, IMAGES, IMAGES, 0),
    ("BatchNormalization", {"axis": [-1], "center": False}, VECTORS, VECTORS, 0),
    ("BatchNormalization", {"axis": [1, -1], "momentum": 0.5}, IMAGES, IMAGES, 0),
    ("BatchNormalization", GAMMA_BETA, IMAGES, IMAGES, 2),
    ("BatchNormalization", {"axis": [0, 2], **GAMMA_BETA}, SEQUENCE, SEQUENCE, 2),
    ("BatchNormalization", {"renorm": True, "renorm_clipping": {"rmax": 3.0}}, IMAGES, IMAGES, 0),
    ("BatchNormalization", {"synchronized": True}, IMAGES, IMAGES, 0),
    ("Dropout", {"rate": 0.5}, VECTORS, VECTORS, 0),
    ("Dropout", {"rate": 0.0}, IMAGES, IMAGES, 0),
    ("Dropout", {"rate": 1.0, "seed": 3}, IMAGES, IMAGES, 0),
    ("Dropout", {"rate": 0.5, "noise_shape": (None, 1, 4)}, SEQUENCE, SEQUENCE, 0),
    ("Dropout", {"rate": 0.5, "mode": "downscale_in_infer"}, IMAGES, IMAGES, 0),
    ("SpatialDropout2D", {"rate": 0.5}, IMAGES, IMAGES, 0),
    ("SpatialDropout2D", {"rate": 0.5, "data_format": "channels_first"}, IMAGES, IMAGES, 0),
    ("StochasticDepth", {"rate": 0.5, "per": "image", "multiplier": 0.5}, IMAGES, IMAGES, 0),
    ("GroupedConvolution", {"filters": 6, "kernel_size": 3, "groups": 2}, IMAGES, (2, 4, 5, 6), 0),
    (
        "GroupedConvolution",
        {"filters": 2, "kernel_size": 1, "groups": 2, "strides": 2, **KERNEL},
        IMAGES,
        (2, 2, 3, 2),
        1,
    ),
    ("PaddedShortcut", {"filters": 6, "strides": 2}, IMAGES, (2, 2, 3, 6), 0),
    ("ProjectionShortcut", {"filters": 3, **PENALTY}, IMAGES, (2, 4, 5, 3), 1),
    (
        "PostActivationConvolution",
        {"filters": 3, "kernel_size": 3, "activation": keras.activations.elu, **KERNEL},
        IMAGES,
        (2, 4, 5, 3),
        1,
    ),
    (
        "PostActivationConvolution",
        {"filters": 3, "kernel_size": 1, "strides": 2, "batch_normalization": False},
        IMAGES,
        (2, 2, 3, 3),
        0,
    ),
    (
        "PreActivationConvolution",
        {"filters": 3, "kernel_size": 1, "dropout": 0.5, **KERNEL},
        IMAGES,
        (2, 4, 5, 3),
        1,
    ),
    ("HighwayBlock", {"filters": 4, "dropout": 0.5, **KERNEL}, VECTORS, VECTORS, 2),
]
BLOCKS = [
    ("HighwayBlock", {"filters": 4, "batch_normalization": True, **PENALTY}, IMAGES, IMAGES, 2),
    ("ResidualBlock", {"filters": 4, "stochastic_depth": 0.5, **PENALTY}, IMAGES, IMAGES, 2),
    (
        "ResidualBlock",
        {"filters": 6, "strides": 2, "shortcut": "projection", **KERNEL},
        IMAGES,
        (2, 2, 3, 6),
        3,
    ),
    ("BottleneckBlock", {"filters": 2, "dropout": 0.5, **KERNEL}, IMAGES, (2, 4, 5, 8), 3),
    ("PreActivationBlock", {"filters": 4, "batch_normalization": False}, IMAGES, IMAGES, 0),
    (
        "PreActivationBottleneckBlock",
        {"filters": 2, "strides": 2, "shortcut": "projection", **KERNEL},
        IMAGES,
        (2, 2, 3, 8),
        4,
    ),
    ("DenseLayer", {"growth_rate": 2, "bottleneck": True, **KERNEL}, IMAGES, (2, 4, 5, 2), 2),
    ("DenseBlock", {"num_layers": 2, "growth_rate": 3, **PENALTY}, IMAGES, (2, 4, 5, 10), 2),
    (
        "DenseBlock",
        {"num_layers": 2, "growth_rate": 1, "memory_efficient": True, **KERNEL},
        IMAGES,
        (2, 4, 5, 6),
        2,
    ),
    ("TransitionLayer", {"compression": 0.5, "dropout": 0.5, **KERNEL}, IMAGES, (2, 2, 2, 2), 1),
    (
        "DualPathBlock",
        {"filters": 4, "residual_filters": 3, "growth_rate": 2, "groups": 2, **KERNEL},
        IMAGES,
        (2, 4, 5, 6),
        3,
    ),
    (
        "DualPathBlock",
        {"filters": 2, "residual_filters": 3, "growth_rate": 2, "projection": True, **PENALTY},
        IMAGES,
        (2, 4, 5, 9),
        4,
    ),
    ("InceptionBlock", {"filters": [1, 1, 1, 1, 1, 1], **KERNEL}, IMAGES, (2, 4, 5, 4), 6),
    (
        "InceptionBlock",
        {"filters": [1, 0, 2, 0, 1, 0], "reduction": False, **PENALTY},
        IMAGES,
        (2, 4, 5, 8),
        3,
    ),
]


# What Keras says of its own test: that it trains on a generator, and layers without weights.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`shuffle=True` was passed"),
    pytest.mark.filterwarnings("ignore:The model does not have any trainable weights"),
]


def test_every_public_layer_is_here():
    assert {name for name, *_ in PARTS + BLOCKS} == set(layers.__all__)


@pytest.mark.parametrize(
    ("name", "arguments", "shape", "output_shape", "num_losses", "trained"),
    [(*case, True) for case in PARTS] + [(*case, False) for case in BLOCKS],
)
def test_passes(name, arguments, shape, output_shape, num_losses, trained):
    if arguments.get("synchronized") and keras.backend.backend() != "tensorflow":
        pytest.skip("Keras has it on TensorFlow alone, and says so")
    TestCase().run_layer_test(
        getattr(layers, name),
        arguments,
        input_shape=shape,
        expected_output_shape=output_shape,
        expected_num_losses=num_losses,
        supports_masking=name
        in ("BatchNormalization", "Dropout", "SpatialDropout2D", "StochasticDepth"),
        run_training_check=trained,
    )
