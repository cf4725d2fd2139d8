"""Keras' globals: its own defaults for our networks, and a person's own afterwards."""

from __future__ import annotations

import keras
import pytest

from tests.models import own_nets
from tuner.code.keras_globals import kept_globals, keras_defaults
from tuner.errors import InputError
from tuner.models.own.build import run_build


def values():
    config = keras.config
    policy = config.dtype_policy().name
    return config.floatx(), config.epsilon(), config.image_data_format(), policy


def set_all():
    keras.config.set_floatx("float64")
    keras.config.set_epsilon(1e-3)
    keras.config.set_image_data_format("channels_first")
    keras.config.set_dtype_policy("mixed_float16")


DEFAULTS = ("float32", 1e-7, "channels_last", "float32")
OTHERS = ("float64", 1e-3, "channels_first", "mixed_float16")


def test_defaults_hold_for_a_while_and_a_persons_own_values_come_back():
    with kept_globals() as changes:
        set_all()
        with pytest.raises(ZeroDivisionError), keras_defaults():
            assert values() == DEFAULTS
            raise ZeroDivisionError
        assert values() == OTHERS
    assert values() == DEFAULTS
    names = ("floatx", "epsilon", "image_data_format", "dtype_policy")
    assert changes == dict(zip(names, map(str, OTHERS), strict=True))


def test_a_build_that_sets_one_is_refused_and_leaves_nothing_behind():
    def coarse(hp):
        keras.config.set_epsilon(1e-3)
        return own_nets.logits(hp)

    with pytest.raises(InputError, match="build sets Keras' epsilon"):
        run_build(coarse, {}, own_nets.IMAGE)
    assert values() == DEFAULTS


def test_a_precision_that_build_sets_is_the_networks_own_and_leaves_nothing_behind():
    def mixed(hp):
        keras.mixed_precision.set_dtype_policy("mixed_float16")
        return own_nets.logits(hp)

    assert run_build(mixed, {}, own_nets.IMAGE).precision == "mixed_float16"
    assert values() == DEFAULTS
