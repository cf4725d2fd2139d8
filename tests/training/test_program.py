"""What every program does, whatever its backend (see tests/test_backends.py)."""

from __future__ import annotations

import dataclasses
import os
import sys

import keras
import numpy as np
import pytest

from tests.training.tiny import BACKEND, NETWORK, TRAINING, make_data, make_program, place
from tuner.training.program import Interrupted, evaluation_batch
from tuner.training.trial import hyperparameters

NUM_TRAIN = 64  # which the batch size divides; test_keras_fit.py has a last batch that is smaller


@pytest.fixture(scope="module")
def images():
    return place(make_data(NUM_TRAIN), ("crop", "flip"))


@pytest.fixture(scope="module")
def program(images):
    return make_program(images)


@pytest.fixture(scope="module")
def sgd_program(images):
    return make_program(images, optimizer="sgd")


@pytest.fixture(scope="module")
def float16_program(images):
    return make_program(images, precision="mixed_float16")


def train(program, seed=0, epochs=2, dropout=0.3, planned_epochs=3, augment=(), **changes):
    training = {**TRAINING, "epochs": planned_epochs, **changes}
    values = hyperparameters({**NETWORK, "dropout": dropout}, training, seed)
    values = dataclasses.replace(values, augment=augment)
    state, history = program.initial(seed), []
    for epoch in range(epochs):
        state, metrics = program.train_epoch(state, values, epoch)
        history.append({**metrics, "validation": program.evaluate(state, values)})
    return state, history


def weights(state):
    return np.asarray(state.weights)


def test_training_lowers_the_loss_and_beats_chance(program):
    _, history = train(program, epochs=8, dropout=0.1)
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert history[-1]["validation"]["accuracy"] > 0.5


def test_no_later_trial_traces_anything(program):
    before = program.num_traces
    for changes in (
        {"learning_rate": 0.01, "schedule": "cosine"},
        {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3, "l2": 0.01},
        {"dropout": 0.0, "label_smoothing": 0.2, "planned_epochs": 30},
        {"seed": 5},
    ):
        train(program, epochs=1, **changes)
    assert program.num_traces == before == 2


def test_a_program_that_searches_augmentation_trains_as_one_that_has_just_these(program):
    names = ("crop", "flip", "cutout")
    searching = make_program(place(make_data(NUM_TRAIN), names, augment_is_searched=True))
    whole, history = train(searching, augment=("crop", "flip"))
    expected, reference = train(program)
    # XLA fuses what it is given as it likes.
    tolerance = 0 if BACKEND == "tensorflow" else 1e-4
    np.testing.assert_allclose(weights(whole), weights(expected), rtol=tolerance, atol=tolerance)
    assert history[-1]["loss"] == pytest.approx(reference[-1]["loss"], rel=tolerance)
    plain, _ = train(searching, epochs=1)
    assert not np.allclose(weights(plain), weights(train(program, epochs=1)[0]), atol=1e-4)
    assert searching.num_traces == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 0.01},
        {"beta_1": 0.5},
        {"beta_2": 0.9},
        {"epsilon": 0.1},
        {"l2": 0.1},
        {"dropout": 0.0},
        {"label_smoothing": 0.3},
        {"class_weight": {1: 3.0}},
        {"class_weight": "balanced"},
        {"shuffle": False},
        {"schedule": "cosine"},
        {"seed": 1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_runtime_value_takes_effect(program, changes):
    usual, _ = train(program, epochs=1)
    changed, _ = train(program, epochs=1, **changes)
    assert not np.allclose(weights(usual), weights(changed), rtol=0, atol=1e-6)


def test_the_same_trial_twice_is_bit_identical(program):
    first, one = train(program)
    train(program, seed=3, epochs=1, l2=0.5)
    second, two = train(program)
    assert np.array_equal(weights(first), weights(second))
    assert one == two


def test_a_rate_of_zero_is_the_network_without_the_layer(images, program):
    bare_program = make_program(images, switches=())
    assert not bare_program.network.rates
    with_layers = train(program, epochs=1, dropout=0.0)[1]
    bare = train(bare_program, epochs=1, dropout=0.0)[1]
    assert bare[0]["loss"] == pytest.approx(with_layers[0]["loss"], rel=1e-5)


def test_l2_adds_two_lambda_w_to_the_gradient_of_kernels_alone(sgd_program):
    program = sgd_program
    rate, l2 = 0.125, 0.25
    start, kernels = weights(program.initial(0)).copy(), program.network.kernels()
    assert 0 < kernels.mean() < 1
    without, penalized = _one_step(program, 0.0, rate), _one_step(program, l2, rate)
    assert without - penalized == pytest.approx(rate * 2 * l2 * start * kernels, abs=2e-6)


def _one_step(program, l2, rate):
    values = hyperparameters(
        {**NETWORK, "dropout": 0.0},
        {**TRAINING, "l2": l2, "learning_rate": rate, "momentum": 0.0},
        seed=0,
    )
    plan = program.plan_epoch(values, 0)
    device = type(plan)(*program._to_device(tuple(plan)))
    state, _ = program._train_steps(
        program.initial(0), program._zero_totals(), program._device_values(values), device, 0, 1
    )
    return weights(state)


def test_training_agrees_with_a_keras_training_loop(sgd_program):
    """One SGD step of the same batch by plain Keras: same loss, same weights."""
    program = sgd_program
    values = hyperparameters({**NETWORK, "dropout": 0.0}, {**TRAINING, "momentum": 0.0}, seed=0)
    order = program.plan_epoch(values, 0).order[: TRAINING["batch_size"]]
    expected = _keras_step(program, values, order)
    ours = _one_step(program, 0.0, TRAINING["learning_rate"])
    assert ours == pytest.approx(expected, abs=3e-6)


def _keras_step(program, values, order):
    """Uses the program's own augmented batch, everything else is Keras'."""
    network = program.network
    model = program.model(program.initial(0), values)
    key = program.plan_epoch(values, 0).keys[0]
    network.augmentation_seeds.state.assign([int(key), 0])
    batch = network.augmentation.batch(
        program.images.x_train,
        keras.ops.convert_to_tensor(order),
        network.augmentation_seeds,
    )
    for rate in network.rates:
        rate.variable.assign(0.0)
    model.compile(
        keras.optimizers.SGD(TRAINING["learning_rate"]),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    labels = np.asarray(program.images.y_train)[order]
    model.train_on_batch(np.asarray(batch), labels)
    return np.concatenate([np.asarray(v).ravel() for v in model.trainable_variables])


def test_evaluation_agrees_with_keras(program):
    state, _ = train(program)
    values = hyperparameters(NETWORK, TRAINING, 0)
    ours = program.evaluate(state, values)
    model = program.model(state, values)
    data = make_data(NUM_TRAIN)
    x = (data.x_validation - data.mean) / data.std
    logits = np.asarray(model(x.astype(np.float32), training=False))
    top = keras.metrics.SparseTopKCategoricalAccuracy(2)
    top.update_state(data.y_validation, logits)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(data.y_validation, logits)
    assert ours["loss"] == pytest.approx(float(loss), rel=1e-4)
    assert ours["accuracy"] == pytest.approx((logits.argmax(-1) == data.y_validation).mean())
    assert ours["top5_accuracy"] == 1.0


def test_what_is_evaluated_at_a_time_is_bounded_by_the_batch_for_which_there_is_memory():
    sizes = [evaluation_batch(size, 1000) for size in (1, 8, 64, 128, 1000)]
    assert sizes == [4, 32, 256, 500, 500]
    assert evaluation_batch(64, 37) == 37


def test_what_is_predicted_of_each_image_adds_up_to_the_evaluation(program, monkeypatch):
    state, _ = train(program, epochs=2)
    values, before = hyperparameters({**NETWORK, "dropout": 0.3}, TRAINING, 0), program.num_traces
    whole = program.predict(state, values)
    monkeypatch.setattr(program, "evaluation_batch", 10)  # 37 images: the last batch is cut off
    labels = make_data(NUM_TRAIN).y_validation
    predicted, own, true = program.predict(state, values)
    monkeypatch.undo()
    for one, other in zip(whole, (predicted, own, true), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    scored = program.evaluate(state, values)
    assert np.mean(predicted == labels) == pytest.approx(scored["accuracy"])
    assert np.mean(-true) == pytest.approx(scored["loss"], rel=1e-5)
    assert np.all(own >= true)
    assert np.array_equal(own == true, predicted == labels)
    assert program.num_traces == before


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own(program):
    values = hyperparameters(NETWORK, TRAINING, 0)
    plans = [program.plan_epoch(values, epoch) for epoch in (0, 1)]
    assert [plan.rates.shape for plan in plans] == [(4,), (4,)]
    assert [sorted(plan.order) for plan in plans] == [list(range(NUM_TRAIN))] * 2
    assert not np.array_equal(plans[0].order, plans[1].order)
    unshuffled = hyperparameters(NETWORK, {**TRAINING, "shuffle": False}, 0)
    assert program.plan_epoch(unshuffled, 1).order.tolist() == list(range(NUM_TRAIN))


def test_progress_is_told_and_can_interrupt(program):
    told = []
    totals = program._zero_totals()._replace(images=1.0)
    program._in_calls("unknown", 4, lambda first, last: totals, lambda *a: told.append(a[:2]))
    assert (told[0], told[-1]) == ((1, 4), (4, 4))
    told.clear()

    def on_progress(step, steps, loss):
        told.append((step, steps))
        program._seconds_per_step["train"] = 10.0  # slow steps: one step a call
        if len(told) == 2:
            raise Interrupted

    values = hyperparameters(NETWORK, TRAINING, 0)
    program._seconds_per_step["train"] = 10.0
    with pytest.raises(Interrupted):
        program.train_epoch(program.initial(0), values, 0, on_progress)
    assert told == [(1, 4), (2, 4)]


def test_how_often_progress_is_told_changes_nothing(program):
    values, weights_after = hyperparameters(NETWORK, TRAINING, 0), []
    for seconds in (1e-9, 1.0):  # a step a call, and all steps in one
        program._seconds_per_step["train"] = 1e-3
        state, _ = program.train_epoch(program.initial(0), values, 0, call_seconds=seconds)
        weights_after.append(weights(state))
    assert np.array_equal(*weights_after)


def test_calls_that_begin_short_double_up_to_a_second(program, monkeypatch):
    sizes = []

    def advance(first, last):
        sizes.append(last - first)
        clock.append(clock[-1] + 0.01 * (last - first))
        return program._zero_totals()._replace(images=1.0)

    clock = [0.0]
    monkeypatch.setattr("tuner.training.program.time.perf_counter", lambda: clock[-1])
    program._in_calls("paced", 1, advance, lambda *_: None)
    sizes.clear()
    program._in_calls("paced", 400, advance, lambda *_: None, 0.04)
    assert sizes == [4, 8, 16, 32, 64, 100, 100, 76]
    sizes.clear()
    program._in_calls("paced", 400, advance, lambda *_: None)
    assert sizes == [100, 100, 100, 100]


def test_a_diverging_trial_ends_its_epoch_with_nan_and_leaves_the_next_one_alone(program):
    usual = train(program, epochs=1)[1]
    _, history = train(program, epochs=1, learning_rate=3e38)
    assert not np.isfinite(history[0]["loss"]) or not np.isfinite(history[0]["validation"]["loss"])
    assert history[0]["validation"]["accuracy"] < 0.6  # NaN never counts as right
    assert train(program, epochs=1)[1] == usual


def test_the_state_gives_a_keras_model_that_predicts_the_same(program):
    state, _ = train(program)
    values = hyperparameters(NETWORK, TRAINING, 0)
    model = program.model(state, values)
    flat = np.concatenate([np.asarray(v).ravel() for v in model.trainable_variables])
    assert np.array_equal(flat, weights(state))


# Families are trained in bfloat16 on JAX in test_families_in_programs.py.
HALVES = ["mixed_float16"] if BACKEND == "jax" else ["mixed_float16", "mixed_bfloat16"]


@pytest.mark.parametrize("precision", HALVES)
def test_half_precision_keeps_float32_weights_and_learns(images, float16_program, precision):
    is_float16 = precision == "mixed_float16"
    program = float16_program if is_float16 else make_program(images, precision=precision)
    assert keras.config.dtype_policy().name == "float32"
    state, history = train(program, epochs=4, dropout=0.0)
    assert weights(state).dtype == np.float32
    assert history[-1]["loss"] < history[0]["loss"]


def test_loss_scaling_skips_a_step_whose_gradient_overflows(float16_program):
    program = float16_program
    values = hyperparameters(NETWORK, TRAINING, 0)
    state = program.initial(0)
    huge = state._replace(loss_scale=program._to_device(np.array([2.0**40, 0], np.float32)))
    before = weights(state).copy()
    plan = program.plan_epoch(values, 0)
    device = type(plan)(*program._to_device(tuple(plan)))
    after, totals = program._train_steps(
        huge, program._zero_totals(), program._device_values(values), device, 0, 1
    )
    assert np.array_equal(weights(after), before)
    assert np.asarray(after.loss_scale).tolist() == [2.0**39, 0.0]
    assert float(totals.images) == 0


def test_an_epoch_that_begins_with_skipped_steps_goes_on(float16_program):
    program = float16_program
    program._seconds_per_step["train"] = 10.0  # slow steps: one step a call
    values = hyperparameters({**NETWORK, "dropout": 0.0}, TRAINING, 0)
    scale = program._to_device(np.array([2.0**17, 0], np.float32))
    _, metrics = program.train_epoch(program.initial(0)._replace(loss_scale=scale), values, 0)
    assert np.isfinite(metrics["loss"])


@pytest.mark.skipif(BACKEND != "jax", reason="says what JAX leaves alone")
def test_jax_needs_no_tensorflow():
    assert "tensorflow" not in sys.modules
    assert os.environ["KERAS_BACKEND"] == "jax"
