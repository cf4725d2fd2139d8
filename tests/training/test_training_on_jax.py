"""Programs, families and optimizers again, with JAX under Keras and no TensorFlow."""

from __future__ import annotations

from pathlib import Path

from tests.on_jax import not_on_jax, pytest_on_jax

FILES = (
    "program",
    "families_in_programs",
    "steps",
    "optimizers",
    "gradient_descent",
    "watching",
    "keras_fit",
)
# Schedules are numbers of the host; the rest says nothing new under another backend.
SAME = (
    "schedule or whatever_the_value or rate_of_zero or another_network or trains_to_the_end "
    "or many_steps or loss_scaling_too"
)

pytestmark = not_on_jax


def test_all_of_it_holds_on_jax():
    folder = Path(__file__).parent
    pytest_on_jax("-k", f"not ({SAME})", *(str(folder / f"test_{file}.py") for file in FILES))
