"""What every family must do; a new family adds its tiny configurations to TINY."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Literal, get_origin

import keras
import numpy as np
import pytest

from tuner.models import FAMILIES, runtime_fields

IMAGE, CLASSES = (8, 8, 3), 5

# The first of each is also run and saved, and trained in test_families_in_programs.py.
TINY = {
    "resnet": [
        {"depth": 8, "dropout": 0.1},
        {"depth": 14, "shortcut": "projection", "stochastic_depth": 0.3},
        {"depth": 8, "shortcut": "projection", "batch_normalization": False, "activation": "elu"},
        {"depth": 11, "block": "bottleneck"},
        {"depth": 11, "block": "bottleneck", "pre_activation": True, "batch_normalization": False},
    ],
    "wide_resnet": [
        {"depth": 10, "widen_factor": 2, "dropout": 0.1, "stochastic_depth": 0.1},
    ],
    "densenet": [
        {"depth": 10, "growth_rate": 4, "bottleneck": True, "compression": 0.5, "dropout": 0.1},
        {"depth": 7, "growth_rate": 4, "dropout": 0.1},
        {"depth": 10, "growth_rate": 4, "compression": 0.29},
        {"depth": 8, "growth_rate": 4, "num_blocks": 2, "bottleneck": True},
        {"depth": 7, "growth_rate": 4, "dropout": 0.1, "memory_efficient": True},
    ],
    "dual_path": [
        {"depth": 14, "groups": 2, "bottleneck_filters": 2, "growth_rate": 2, "dropout": 0.1},
        {"depth": 26, "residual_filters": 3, "growth_multipliers": [1.0, 1.5, 0.5, 2.0]},
    ],
    "inception": [
        {"depth": 10, "width": 0.0625, "dropout": 0.1},
        {"depth": 16, "width": 0.0625, "batch_normalization": False, "activation": "elu"},
        {"depth": 22, "width": 0.03125, "reduction": False, "pooling": "average"},
    ],
    "plain": [
        {"depth": 8},
        {"depth": 8, "batch_normalization": False, "pooling": "max"},
        {"depth": 8, "activation": "sigmoid", "pooling": "average"},
    ],
    "highway": [
        {"depth": 8, "filters": 8, "dropout": 0.1},
        {"depth": 5, "filters": 4, "batch_normalization": True, "activation": "tanh"},
    ],
    "lenet": [
        {"kernel_size": 3, "dropout": 0.1},
        {"kernel_size": 3, "pooling": "max", "batch_normalization": True, "activation": "relu"},
    ],
    "mlp": [
        {"hidden_units": 32, "dropout": 0.1, "batch_normalization": True},
        {"hidden_units": 64, "num_layers": 3, "activation": "sigmoid"},
        {"hidden_units": [64, 32, 16], "dropout": 0.1},
    ],
}
CASES = [(name, values) for name, all_values in TINY.items() for values in all_values]


def names_of(cases):
    return [f"{name}-{n}" for n, (name, _) in enumerate(cases)]


def build(name, values):
    keras.utils.set_random_seed(0)
    return FAMILIES[name].build(FAMILIES[name].config(**values), IMAGE, CLASSES)


def build_symbolically(name, values):
    with keras.StatelessScope(initialize_variables=False):
        return build(name, values)


@pytest.fixture(scope="module", params=CASES, ids=names_of(CASES))
def case(request):
    return request.param


@pytest.fixture(scope="module")
def symbolic(case):
    """The network without values, built once for all that look at it."""
    return build_symbolically(*case)


@pytest.fixture(params=TINY)
def first(request):
    return request.param, TINY[request.param][0]


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return rng.normal(size=(16, *IMAGE)).astype("float32")


def test_every_family_is_here():
    assert list(TINY) == list(FAMILIES)
    assert all(family.name == name for name, family in FAMILIES.items())


def test_its_configuration_survives_a_round_trip(case):
    name, values = case
    kind = FAMILIES[name].config
    config = kind(**values)
    assert kind(**config.model_dump()) == config
    assert kind.model_validate_json(config.model_dump_json()) == config
    assert config.family == name


@pytest.mark.parametrize("name", FAMILIES)
def test_every_field_has_a_description_and_a_range(name):
    for field_name, field in FAMILIES[name].config.model_fields.items():
        if field_name == "family":
            continue
        assert field.description
        closed = field.annotation is bool or get_origin(field.annotation) is Literal
        closed = closed or "from 1 to" in (field.json_schema_extra or {}).get("words", "")
        assert closed or len(field.metadata) >= 2, f"{field_name} has no lower and upper limit"


def test_its_cost_is_that_of_the_built_network(case, symbolic):
    name, values = case
    built = sum(keras.ops.size(v) for v in symbolic.trainable_variables)
    cost = FAMILIES[name].cost(FAMILIES[name].config(**values), IMAGE, CLASSES)
    assert cost.parameters == built
    assert 2 * cost.macs > built  # in a dense layer each weight is used once, a bias not at all
    assert cost.activations > np.prod(IMAGE)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_it_gives_float32_logits_under_every_precision(first, precision, images):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        model = build(*first)
    finally:
        keras.config.set_dtype_policy(before)
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    for training in (True, False):
        logits = model(images, training=training)
        assert tuple(logits.shape) == (16, CLASSES)
        assert keras.backend.standardize_dtype(logits.dtype) == "float32"
        logits = keras.ops.convert_to_numpy(logits)
        assert np.isfinite(logits).all()
        assert not np.allclose(logits.sum(-1), 1)  # not probabilities
    halves = {layer.compute_dtype for layer in model.layers} - {"float32"}
    assert halves == ({precision.removeprefix("mixed_")} - {"float32"})


def test_its_names_are_unique_and_the_same_every_time(case, symbolic):
    one, other = symbolic, build_symbolically(*case)
    paths = [v.path for v in one.variables]
    assert len(set(paths)) == len(paths)
    assert [v.path for v in other.variables] == paths
    names = [layer.name for layer in one.layers]
    assert [layer.name for layer in other.layers] == names
    automatic = [p for p in paths if re.search(r"(^|/)(conv2d|dense|batch_norm\w*)(_\d+)?/", p)]
    assert automatic == []


def test_its_runtime_values_are_found_as_variables(case):
    name, values = case
    for field in runtime_fields(FAMILIES[name].config):
        on, off = (build_symbolically(name, {**values, field: v}) for v in (0.2, 0.0))
        found = [x for x in on._flatten_layers() if getattr(x, "hyperparameter", None) == field]
        assert found
        assert all(layer.initial_rate == 0.2 for layer in found)
        assert len({layer.path for layer in found}) == len(found)
        assert not any(getattr(x, "hyperparameter", None) == field for x in off._flatten_layers())


def test_its_dropout_follows_the_convention_that_is_asked_for(first):
    name, values = first
    if "dropout" not in FAMILIES[name].config.model_fields:
        return
    asked = {**values, "dropout": 0.2, "dropout_mode": "downscale_in_infer"}
    model = build_symbolically(name, asked)
    found = [x for x in model._flatten_layers() if getattr(x, "hyperparameter", None) == "dropout"]
    assert found
    assert {layer.mode for layer in found} == {"downscale_in_infer"}
    config, plain = (FAMILIES[name].config(**v) for v in (asked, {**values, "dropout": 0.2}))
    assert FAMILIES[name].cost(config, IMAGE, 5) == FAMILIES[name].cost(plain, IMAGE, 5)


def test_built_in_a_stateless_scope_it_computes_what_it_computes_outside(first, images):
    x = images
    outside, inside = build(*first), build_symbolically(*first)
    values = [keras.ops.convert_to_numpy(v) for v in outside.variables]
    with keras.StatelessScope(
        state_mapping=list(zip(inside.variables, values, strict=True)), initialize_variables=False
    ) as scope:
        logits = inside(x, training=True)
        after = [scope.get_current_value(v) for v in inside.variables]
    expected = outside(x, training=True)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(logits), keras.ops.convert_to_numpy(expected), atol=1e-5
    )
    for got, variable in zip(after, outside.variables, strict=True):
        want = keras.ops.convert_to_numpy(variable)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(got), want, atol=1e-5)
    assert all(v._value is None for v in inside.variables)  # nothing was initialized meanwhile


def test_saved_and_loaded_it_gives_the_same(first, images, tmp_path):
    model = build(*first)
    model(images, training=True)  # moving averages away from where they start
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(again(images)), keras.ops.convert_to_numpy(model(images))
    )
    assert [v.path for v in again.variables] == [v.path for v in model.variables]


def test_importing_and_costing_load_no_framework():
    program = """
import sys
from tuner.models import FAMILIES
for family in FAMILIES.values():
    family.cost(family.config(), (32, 32, 3), 100)
    family.config.model_json_schema()
heavy = {"keras", "tensorflow", "jax", "keras_tuner", "pandas", "scipy", "numpy"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
