from __future__ import annotations

import pytest
from keras.src.backend.common import global_state


@pytest.fixture(autouse=True)
def _quickly(kernels_by_numpy):
    """In every test of this folder."""


@pytest.fixture(autouse=True)
def _forget_models():
    """Keras would initialize at its next chance what a stateless scope left uninitialized.

    `clear_session` forgets it too, and with it everything that JAX has compiled.
    """
    yield
    global_state.set_global_attribute("uninitialized_variables", [])
