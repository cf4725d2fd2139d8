"""Optimizers agree with Keras' step by step; schedules are what their formulas say."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tuner.training.optimizers import OPTIMIZERS, RUNTIME_VALUES, learning_rates

STEPS = 6
# What a network has: kernels decay, biases do not. All of them lie in one vector of ours.
SHAPES = {"dense_kernel": (3, 2), "convolution_kernel": (2, 2, 1, 3), "bias": (5,), "gamma": ()}
SIZES = [int(np.prod(shape)) for shape in SHAPES.values()]
IS_KERNEL = np.repeat([name.endswith("kernel") for name in SHAPES], SIZES).astype(np.float32)


def start_and_gradients():
    rng = np.random.default_rng(0)
    # Of very different sizes, as in a network: epsilon shows.
    sizes = 10.0 ** rng.uniform(-4, 1, sum(SIZES))
    gradients = rng.normal(size=(STEPS, sum(SIZES))) * sizes
    return rng.normal(size=sum(SIZES)).astype(np.float32), gradients.astype(np.float32)


def run_ours(name, rates, **values):
    values = {**dict.fromkeys(RUNTIME_VALUES, 0.0), **values}
    tensors = {k: keras.ops.convert_to_tensor(v, "float32") for k, v in values.items()}
    optimizer = OPTIMIZERS[name]
    start, gradients = start_and_gradients()
    weights = keras.ops.convert_to_tensor(start)
    slots = tuple(keras.ops.zeros_like(weights) for _ in range(optimizer.num_slots))
    history = []
    for step, (rate, gradient) in enumerate(zip(rates, gradients, strict=True), 1):
        weights, slots = optimizer.update(
            weights,
            keras.ops.convert_to_tensor(gradient),
            slots,
            step=keras.ops.convert_to_tensor(float(step)),
            rate=keras.ops.convert_to_tensor(rate, "float32"),
            values=tensors,
            decayed=keras.ops.convert_to_tensor(IS_KERNEL),
        )
        history.append(np.asarray(weights))
    return np.stack(history)


def run_keras(optimizer, rates):
    start, gradients = start_and_gradients()
    variables = [
        keras.Variable(part, name=name) for name, part in zip(SHAPES, parts(start), strict=True)
    ]
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma"])
    optimizer.build(variables)
    history = []
    for rate, gradient in zip(rates, gradients, strict=True):
        optimizer.learning_rate = rate
        optimizer.apply([keras.ops.convert_to_tensor(part) for part in parts(gradient)])
        history.append(np.concatenate([np.asarray(v).ravel() for v in variables]))
    return np.stack(history)


def parts(vector):
    pieces = np.split(vector, np.cumsum(SIZES)[:-1])
    return [p.reshape(shape) for p, shape in zip(pieces, SHAPES.values(), strict=True)]


def assert_agrees(name, rates, theirs, options):
    ours = run_ours(name, rates, **{k: float(v) for k, v in options.items()})
    expected = run_keras(theirs(learning_rate=0.1, **options), rates)
    # Ours subtracts a float32 beta from 1, Keras a Python float: apart by 1e-5 where beta is 0.999.
    assert ours == pytest.approx(expected, rel=2e-5, abs=1e-5)
    return ours


ADAM = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
KINDS = {
    "sgd": ({"momentum": 0.9}, keras.optimizers.SGD),
    "adam": (ADAM, keras.optimizers.Adam),
    "adamw": ({**ADAM, "weight_decay": 0.05}, keras.optimizers.AdamW),
    "rmsprop": (
        {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "centered": False},
        keras.optimizers.RMSprop,
    ),
    "nadam": (ADAM, keras.optimizers.Nadam),
    "adagrad": ({"initial_accumulator_value": 0.1, "epsilon": 1e-7}, keras.optimizers.Adagrad),
}
CHANGES = [
    ("sgd", {"momentum": 0.0}),
    ("sgd", {"momentum": 0.5}),
    ("sgd", {"nesterov": True}),
    ("sgd", {"nesterov": True, "momentum": 0.0}),
    *[(name, {"beta_1": 0.0}) for name in ("adam", "adamw")],
    *[(name, {"beta_1": 0.99}) for name in ("adam", "adamw")],
    *[(name, {"beta_2": 0.0}) for name in ("adam", "adamw")],
    *[(name, {"beta_2": 0.9}) for name in ("adam", "adamw")],
    *[(name, {"epsilon": 1e-3}) for name in ("adam", "adamw")],
    *[(name, {"epsilon": 1.0}) for name in ("adam", "adamw")],
    *[("nadam", {"beta_1": beta}) for beta in (0.0, 0.99)],
    *[("nadam", {"beta_2": beta}) for beta in (0.0, 0.9)],
    *[("rmsprop", {"rho": rho}) for rho in (0.0, 0.99)],
    ("rmsprop", {"momentum": 0.9}),
    ("rmsprop", {"centered": True}),
    ("rmsprop", {"centered": True, "momentum": 0.5, "rho": 0.5}),
    *[("adagrad", {"initial_accumulator_value": value}) for value in (0.0, 10.0)],
    *[(name, {"epsilon": 1e-3}) for name in ("rmsprop", "nadam", "adagrad")],
    ("adamw", {"weight_decay": 0.0}),
    ("adamw", {"weight_decay": 1.0}),
]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("schedule", [[0.1] * STEPS, np.linspace(0.1, 0.0, STEPS)])
def test_agrees_with_keras_step_by_step(name, schedule):
    options, theirs = KINDS[name]
    assert_agrees(name, schedule, theirs, options)


@pytest.mark.parametrize(("name", "changes"), CHANGES, ids=str)
def test_agrees_with_keras_whatever_the_value(name, changes):
    options, theirs = KINDS[name]
    rates = [0.1] * STEPS
    changed = assert_agrees(name, rates, theirs, {**options, **changes})
    if changes != {"nesterov": True, "momentum": 0.0}:
        usual = run_ours(name, rates, **options)
        assert not np.allclose(changed, usual, rtol=1e-4)


def test_nadam_agrees_with_keras_after_many_steps_too():
    """Where its schedule of the momentum stands still."""
    steps, gradient = 700, np.array([0.3, -0.02], np.float32)
    optimizer = OPTIMIZERS["nadam"]
    tensors = {k: keras.ops.convert_to_tensor(v, "float32") for k, v in ADAM.items()}
    weights = keras.ops.zeros(2)
    slots = (keras.ops.zeros(2), keras.ops.zeros(2))
    theirs, variable = keras.optimizers.Nadam(0.1), keras.Variable([0.0, 0.0])
    theirs.build([variable])
    for step in (1, 2, 599, 600, steps):
        product = np.prod(0.9 * (1 - 0.5 * 0.96 ** np.arange(1.0, step)))
        theirs._u_product.assign(product)
        theirs.iterations.assign(step - 1)
        for slot, value in ((theirs._momentums, slots[0]), (theirs._velocities, slots[1])):
            slot[0].assign(value)
        variable.assign(weights)
        theirs.apply([keras.ops.convert_to_tensor(gradient)])
        weights, slots = optimizer.update(
            weights,
            keras.ops.convert_to_tensor(gradient),
            slots,
            step=keras.ops.convert_to_tensor(float(step)),
            rate=keras.ops.convert_to_tensor(0.1),
            values=tensors,
            decayed=keras.ops.ones(2),
        )
        assert np.asarray(weights) == pytest.approx(np.asarray(variable), rel=1e-4)


def test_a_gradient_that_never_changes_has_no_variance_but_leaves_numbers():
    optimizer, weights = OPTIMIZERS["rmsprop"], keras.ops.zeros(2)
    values = {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "centered": 1.0}
    slots = (keras.ops.zeros(2),) * 3
    for step in range(1, 200):
        weights, slots = optimizer.update(
            weights,
            keras.ops.convert_to_tensor([1e3, 3.3e3]),
            slots,
            step=keras.ops.convert_to_tensor(float(step)),
            rate=keras.ops.convert_to_tensor(1e-3),
            values={k: keras.ops.convert_to_tensor(v, "float32") for k, v in values.items()},
            decayed=keras.ops.ones(2),
        )
    assert np.isfinite(np.asarray(weights)).all()


def test_plain_gradient_descent_by_hand():
    start, gradients = start_and_gradients()
    expected = start - 0.5 * np.cumsum(gradients, 0)
    assert run_ours("sgd", [0.5] * STEPS) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_weight_decay_spares_what_is_no_kernel():
    optimizer = OPTIMIZERS["adamw"]
    values = {k: keras.ops.convert_to_tensor(0.5) for k in RUNTIME_VALUES}
    weights, _ = optimizer.update(
        keras.ops.ones(2),
        keras.ops.zeros(2),
        (keras.ops.zeros(2), keras.ops.zeros(2)),
        step=keras.ops.convert_to_tensor(1.0),
        rate=keras.ops.convert_to_tensor(0.1),
        values=values,
        decayed=keras.ops.convert_to_tensor([1.0, 0.0]),
    )
    assert np.asarray(weights) == pytest.approx([0.95, 1.0])


def whole(schedule, epochs=10, steps=10, **options):
    """All rates of a training, epoch after epoch."""
    parts = [
        learning_rates(schedule, highest=0.1, epoch=e, epochs=epochs, steps=steps, **options)
        for e in range(epochs)
    ]
    return np.concatenate(parts)


def test_constant_is_the_learning_rate_throughout():
    assert np.all(whole("constant") == np.float32(0.1))


def test_cosine_starts_high_is_half_in_the_middle_and_ends_near_zero():
    rates = whole("cosine")
    assert rates[0] == np.float32(0.1)
    assert rates[50] == pytest.approx(0.05)
    assert 0 < rates[-1] < 0.0001
    assert np.all(np.diff(rates) < 0)


def test_step_multiplies_at_each_fraction_of_the_steps():
    rates = whole({"step": {"at": [0.5, 0.75], "factor": 0.1}})
    assert rates[49] == pytest.approx(0.1)
    assert rates[50] == pytest.approx(0.01)
    assert rates[74] == pytest.approx(0.01)
    assert rates[75] == pytest.approx(0.001)


def test_one_cycle_peaks_at_thirty_percent_and_ends_far_below_its_start():
    rates = whole("one_cycle")
    assert rates[0] == pytest.approx(0.1 / 25)
    assert np.argmax(rates) == 30
    assert rates[30] == pytest.approx(0.1)
    assert rates[-1] < rates[0] / 10


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_warmup_rises_linearly_to_where_the_schedule_begins(schedule):
    rates = whole(schedule, warmup_epochs=2)
    begin = whole(schedule)[0]
    assert rates[:20] == pytest.approx(begin * np.arange(1, 21) / 20, rel=0.05)
    assert rates[20] == pytest.approx(begin)


def test_a_single_step_trains_at_the_full_rate():
    assert learning_rates("cosine", highest=0.1, epoch=0, epochs=1, steps=1) == np.float32(0.1)
