"""The layers that know their backend, are random or have gradients of their own, with JAX."""

from __future__ import annotations

from pathlib import Path

from tests.on_jax import not_on_jax, pytest_on_jax, python_on_jax

# The others are compositions of Keras' operations; tests/training trains every family on JAX.
FILES = ("test_normalization.py", "test_dropout.py", "test_convolution.py", "test_dense_block.py")
CHECKS = "not (refuses or numpy or by_hand or mixed_float16 or each_channel or undo_it)"

pytestmark = not_on_jax


def test_all_of_it_holds_on_jax():
    folder = Path(__file__).parent
    pytest_on_jax("-k", CHECKS, *(str(folder / file) for file in FILES))


def test_tensorflow_is_never_imported():
    python_on_jax(
        "-c",
        """
import sys, numpy
from tuner import layers
x = numpy.ones((2, 4, 4, 3), "float32")
layers.DenseBlock(1, 2, dropout=0.1)(layers.ResidualBlock(3)(x, training=True), training=True)
assert "tensorflow" not in sys.modules
""",
    )
