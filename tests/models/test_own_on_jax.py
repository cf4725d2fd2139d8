"""Networks of one's own again, with JAX under Keras."""

from __future__ import annotations

from pathlib import Path

from tests.on_jax import not_on_jax, pytest_on_jax

FILES = ("undrawn", "own_checks", "own_outputs")
# One way of each: JAX compiles every network that is run to see its outputs.
OFTEN = "the_kind_is_seen and not (nested and 4) and not (sigmoid and 4)"

pytestmark = not_on_jax


def test_all_of_it_holds_on_jax():
    folder = Path(__file__).parent
    files = [str(folder / f"test_{file}.py") for file in FILES]
    pytest_on_jax("-k", f"not ({OFTEN})", *files)
