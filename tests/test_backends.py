"""What depends on the backend holds with JAX under Keras, and no TensorFlow, too.

All of it in one process: importing JAX takes seconds, and it compiles every small operation once.
"""

from __future__ import annotations

from pathlib import Path

from tests.on_jax import not_on_jax, pytest_on_jax, pytest_on_torch

pytestmark = not_on_jax

FOLDER = Path(__file__).parent
KERAS_LAYER_TESTS = "layers/test_keras_layer_tests.py"

# Schedules are numbers of the host; the rest says nothing new under another backend.
_SAME = (
    "not (schedule or whatever_the_value or rate_of_zero or another_network or trains_to_the_end "
    "or many_steps or loss_scaling_too)"
)
# One way of each: JAX compiles every network that is run to see its outputs.
_ONCE = "not (the_kind_is_seen and not (nested and 4) and not (sigmoid and 4))"
CHECKS = {
    # Of layers: what knows its backend, is random or has gradients of its own. The others are
    # compositions of Keras' operations, which the networks below train.
    "layers/test_normalization.py": "several_steps or gradients_agree or frozen or half_precision "
    "or far_from_zero",
    "layers/test_normalization_as_keras.py": "synchronized or (combination and axes0) or "
    "(hides_places and shape2)",
    "layers/test_dropout.py": "training_step or expectation or (rate_1 and float32) or "
    "the_value_does or draws or new_trace or comes_through or half_precision_keeps",
    "layers/test_convolution.py": "zeros_between or (in_every_precision and not mixed_float16)",
    "layers/test_dense_block.py": "(has_the_same_gradients and arguments1) or keeps_grows or "
    "(move_on and True) or (shared_statistics and float32 and arguments1)",
    KERAS_LAYER_TESTS: "test_passes and "  # True: a part
    "(True or DenseBlock or ResidualBlock or HighwayBlock or TransitionLayer or arguments34)",
    "data/test_augment.py": "not (padding or pixels or number_of_draws or grey)",
    "training/test_program.py": _SAME,
    "training/test_families_in_programs.py": _SAME,
    "training/test_steps.py": _SAME,
    "training/test_optimizers.py": _SAME,
    "training/test_gradient_descent.py": _SAME,
    "training/test_watching.py": _SAME,
    "training/test_compiled_on_jax.py": "test",  # all of it
    "training/test_keras_fit.py": _SAME,
    "models/test_undrawn.py": _ONCE,
    "models/test_own_checks.py": _ONCE,
    "models/test_own_outputs.py": _ONCE,
}


def test_what_knows_its_backend_holds_on_jax():
    chosen = (f"({Path(file).name} and ({names}))" for file, names in CHECKS.items())
    pytest_on_jax("-k", " or ".join(chosen), *(str(FOLDER / file) for file in CHECKS))


def test_keras_layer_tests_pass_on_torch():
    pytest_on_torch(str(FOLDER / KERAS_LAYER_TESTS))
