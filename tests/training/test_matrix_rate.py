from __future__ import annotations

import itertools

import pytest

from tuner.training.matrix_rate import matrix_flops


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_a_rate_is_that_of_the_largest_products_that_time_allows(precision):
    """A clock that moves half a second at each look leaves time for one size."""
    ticks = itertools.count(0.0, 0.5)
    assert matrix_flops(precision, lambda: next(ticks)) == 3 * 2 * 256**3 / 0.5


def test_a_device_multiplies_some_numbers_in_a_second():
    assert matrix_flops("float32") > 1e6
