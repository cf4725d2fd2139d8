"""The layers with JAX, and Keras' own layer tests with PyTorch, too."""

from __future__ import annotations

from pathlib import Path

from tests.on_jax import not_on_jax, pytest_on_jax, pytest_on_torch

# What knows its backend, is random or has gradients of its own. The others are compositions of
# Keras' operations; tests/training trains networks of them on JAX.
CHECKS = {
    "test_normalization.py": "several_steps or gradients_agree or frozen or half_precision or "
    "far_from_zero",
    "test_normalization_as_keras.py": "synchronized or (combination and axes0) or "
    "(hides_places and shape2)",
    "test_dropout.py": "training_step or expectation or (rate_1 and float32) or "
    "the_value_does or draws or new_trace or comes_through or half_precision_keeps",
    "test_convolution.py": "zeros_between or (in_every_precision and not mixed_float16)",
    "test_dense_block.py": "(has_the_same_gradients and arguments1) or keeps_grows or "
    "(move_on and True) or (shared_statistics and float32 and arguments1)",
    "test_keras_layer_tests.py": "(test_passes and "  # True: a part
    "(True or DenseBlock or ResidualBlock or HighwayBlock or TransitionLayer))",
}

pytestmark = not_on_jax

FOLDER = Path(__file__).parent


def test_what_knows_its_backend_holds_on_jax():
    pytest_on_jax("-k", " or ".join(CHECKS.values()), *(str(FOLDER / file) for file in CHECKS))


def test_keras_layer_tests_pass_on_torch():
    pytest_on_torch(str(FOLDER / "test_keras_layer_tests.py"))
