"""What the layers compute, again with JAX under Keras."""

from __future__ import annotations

from pathlib import Path

from tests.on_jax import not_on_jax, pytest_on_jax, python_on_jax

# The rest needs no backend, or says nothing new.
CHECKS = "not (refuses or configuration or saved or numpy or unknown_size or mixed_float16)"

pytestmark = not_on_jax


def test_all_of_it_holds_on_jax():
    pytest_on_jax("-k", CHECKS, str(Path(__file__).parent))


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
