"""The program's contract and the optimizers again, with JAX under Keras and no TensorFlow."""

from __future__ import annotations

from pathlib import Path

from tests.on_jax import not_on_jax, pytest_on_jax

FOLDER = Path(__file__).parent

pytestmark = not_on_jax


def test_all_of_it_holds_on_jax():
    files = (
        "test_program.py",
        "test_snapshot.py",
        "test_optimizers.py",
        "test_gradient_descent.py",
        "test_watching.py",
    )
    pytest_on_jax(*(str(FOLDER / file) for file in files))
