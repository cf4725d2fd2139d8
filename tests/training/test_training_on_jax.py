"""Programs, families and optimizers again, with JAX under Keras and no TensorFlow."""

from __future__ import annotations

from pathlib import Path

from tests.on_jax import not_on_jax, pytest_on_jax

FOLDER = Path(__file__).parent

pytestmark = not_on_jax


def test_all_of_it_holds_on_jax():
    files = (
        "test_program.py",
        "test_families_in_programs.py",
        "test_steps.py",
        "test_optimizers.py",
        "test_gradient_descent.py",
        "test_watching.py",
    )
    # Schedules are numbers of the host.
    pytest_on_jax("-k", "not schedule", *(str(FOLDER / file) for file in files))
