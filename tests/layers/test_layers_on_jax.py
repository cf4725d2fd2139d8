"""The layers that know their backend, are random or have gradients of their own, with JAX."""

from __future__ import annotations

from pathlib import Path

from tests.on_jax import not_on_jax, pytest_on_jax

# The others are compositions of Keras' operations; tests/training trains networks of them on JAX.
CHECKS = {
    "test_normalization.py": "several_steps or gradients_agree or frozen or half_precision or "
    "far_from_zero",
    "test_dropout.py": "training_step or expectation or the_value_does or draws or new_trace or "
    "comes_through or half_precision_keeps",
    "test_convolution.py": "zeros_between or (in_every_precision and not mixed_float16)",
    "test_dense_block.py": "(has_the_same_gradients and arguments1) or keeps_grows or "
    "(move_on and True)",
}

pytestmark = not_on_jax


def test_what_knows_its_backend_holds_on_jax():
    folder = Path(__file__).parent
    pytest_on_jax("-k", " or ".join(CHECKS.values()), *(str(folder / file) for file in CHECKS))
