"""Networks built without their weights: whatever `build` does, a trial's seed draws them."""

from __future__ import annotations

import random

import keras
import numpy as np
import pytest
from keras import layers

from tests.models import own_nets
from tests.models.test_own_build import declaration
from tuner.errors import InputError
from tuner.models.own.build import digest_of, run_undrawn
from tuner.models.own.undrawn import build_undrawn, called, draw_weights, initializer_of, seeded
from tuner.training.network import Network

IMAGE, CLASSES = own_nets.IMAGE, own_nets.CLASSES


def dense(*before):
    image = x = keras.Input(IMAGE)
    for layer in (*before, layers.Flatten()):
        x = layer(x)
    return keras.Model(image, layers.Dense(CLASSES, kernel_initializer="random_normal")(x))


def plain():
    return dense(layers.Conv2D(2, 3))


def session_cleared():
    keras.backend.clear_session()
    return plain()


def session_cleared_in_between():
    convolution = layers.Conv2D(2, 3)
    convolution.build((None, *IMAGE))
    keras.utils.clear_session()
    return dense(convolution)


def seeds_set():
    keras.utils.set_random_seed(7)
    return plain()


class Scaled(keras.Layer):
    """Weights as people make them: by default, by a function, by numpy."""

    def build(self, shape):
        self.default = self.add_weight(shape=shape[1:])
        self.lam = self.add_weight(
            shape=(3,), initializer=lambda shape, dtype=None: keras.random.normal(shape)
        )
        self.nums = self.add_weight(
            shape=(3,), initializer=lambda shape, dtype=None: np.random.normal(size=shape)
        )

    def call(self, x):
        return x * self.default * self.lam * self.nums


def scaled():
    return dense(Scaled())


@pytest.mark.parametrize(
    "build", [plain, session_cleared, session_cleared_in_between, seeds_set, scaled]
)
def test_weights_come_from_the_seed_of_the_trial_alone(build):
    network = Network(build, augmentation=None)
    first, _ = network.initial(1)
    random.seed()
    np.random.seed()
    keras.utils.clear_session()
    again, _ = Network(build, augmentation=None).initial(1)
    np.testing.assert_array_equal(first, again)
    other, _ = network.initial(2)
    ends = np.cumsum(network.sizes)[:-1]
    for one, two in zip(np.split(first, ends), np.split(other, ends), strict=True):
        assert np.any(one != two) or not np.any(one)  # all but biases, which are zeros


def test_clearing_the_session_changes_no_weight():
    first, _ = Network(plain, augmentation=None).initial(0)
    cleared, _ = Network(session_cleared, augmentation=None).initial(0)
    np.testing.assert_array_equal(first, cleared)


def test_clearing_the_session_keeps_the_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert build_undrawn(session_cleared).layers[1].compute_dtype == "bfloat16"
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")


def test_weights_that_build_sets_are_kept():
    model = run_undrawn(own_nets.pretrained, {}, IMAGE).model
    kernel, bias = model.layers[1].variables
    assert initializer_of(kernel) is None
    assert np.all(keras.ops.convert_to_numpy(kernel) == 7)
    assert np.all(keras.ops.convert_to_numpy(bias) == 7)
    assert initializer_of(model.layers[-1].kernel) is not None


def test_weights_of_a_file_are_kept_though_the_session_is_cleared(tmp_path):
    source = plain()
    source.save(tmp_path / "base.keras")

    def build():
        keras.backend.clear_session()
        return keras.saving.load_model(tmp_path / "base.keras")

    model = build_undrawn(build)
    for ours, theirs in zip(model.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert {initializer_of(v) for v in model.variables} == {None}


def test_what_build_computes_of_weights_is_computed_of_drawn_ones():
    def build():
        model = plain()
        head = model.layers[-1]
        head.set_weights([2 * weights for weights in head.get_weights()])
        return model

    kernel = build_undrawn(build).layers[-1].kernel
    assert np.std(kernel.numpy()) > 0
    np.testing.assert_array_equal(kernel.numpy(), build_undrawn(build).layers[-1].kernel.numpy())


def test_reading_a_weight_or_calling_the_model_does_not_set_it():
    def build():
        model = plain()
        model.get_weights()
        model(np.zeros((1, *IMAGE), np.float32))
        return model

    assert None not in {initializer_of(v) for v in build_undrawn(build).variables}


def test_variables_of_arrays_and_compiled_models_can_be_built():
    class Shifted(keras.Layer):
        def __init__(self):
            super().__init__()
            self.shift = keras.Variable(keras.random.normal((3,)))

        def call(self, x):
            return x + self.shift

    def build():
        model = dense(Shifted())
        model.compile("adam", "sparse_categorical_crossentropy")
        return model

    shifts = [build_undrawn(build).layers[1].shift.numpy() for _ in range(2)]
    np.testing.assert_array_equal(*shifts)
    assert np.any(shifts[0])


def test_values_that_build_sets_are_a_part_of_the_structure():
    def build(hp):
        model = plain()
        head = model.layers[-1]
        head.set_weights([np.full(w.shape, hp.Choice("value", [1, 2])) for w in head.get_weights()])
        return model

    digests = [digest_of(run_undrawn(build, {"value": n}, IMAGE).model) for n in (1, 2, 1)]
    assert digests[0] == digests[2] != digests[1]
    assert digest_of(run_undrawn(lambda hp: plain(), {}, IMAGE).model) not in digests


def test_weights_that_are_drawn_for_a_look_are_drawn_again_by_the_trial():
    model = build_undrawn(plain)
    draw_weights(model, 0)
    assert np.any(model.layers[1].kernel.numpy())
    assert None not in {initializer_of(v) for v in model.variables}


def test_global_generators_go_on_as_before():
    random.seed(3)
    np.random.seed(3)
    expected = random.random(), np.random.random()
    random.seed(3)
    np.random.seed(3)
    with seeded(0):
        drawn = random.random(), np.random.random(), called(keras.random.normal, (1,), "float32", 1)
    with seeded(0):
        assert drawn[:2] == (random.random(), np.random.random())
    assert expected == (random.random(), np.random.random())


def noted(build):
    (note,) = declaration(build).notes or [""]
    return note


def set_from(draw):
    def build(hp):
        model = plain()
        model.layers[-1].set_weights([draw(w.shape) for w in model.layers[-1].get_weights()])
        return model

    return build


def test_numbers_that_build_draws_are_the_same_in_every_trial_and_that_is_said():
    assert noted(lambda hp: plain()) == ""
    assert noted(set_from(np.ones)) == ""
    for draw in (lambda shape: np.random.normal(size=shape), keras.random.normal):
        assert "random numbers itself" in noted(set_from(draw))
    assert "random" in noted(lambda hp: dense(layers.Conv2D(random.randint(1, 99), 3)))


def entropic(shape, dtype=None):
    return np.random.default_rng().normal(size=shape)


@pytest.mark.parametrize(
    "build",
    [
        set_from(entropic),
        lambda hp: dense(layers.Conv2D(2, 3, kernel_initializer=entropic)),
        lambda hp: dense(layers.Dropout(random.SystemRandom().random())),
    ],
)
def test_numbers_that_no_seed_reaches_are_refused(build):
    with pytest.raises(InputError, match="each time"):
        declaration(build)


class Deviating(keras.initializers.Initializer):
    """Says nothing of itself."""

    def __init__(self, deviation):
        self.deviation = deviation

    def __call__(self, shape, dtype=None):
        return self.deviation * keras.random.normal(shape, dtype=dtype)


def test_an_initializer_that_hides_what_it_is_makes_another_structure():
    def build(hp):
        return dense(
            layers.Conv2D(2, 3, kernel_initializer=Deviating(hp.Choice("deviation", [1, 2])))
        )

    def closed_over(hp):
        deviation = hp.Choice("deviation", [1, 2])

        def draw(shape, dtype=None):
            return deviation * keras.random.normal(shape)

        return dense(layers.Conv2D(2, 3, kernel_initializer=draw))

    one, other = (digest_of(run_undrawn(build, {"deviation": n}, IMAGE).model) for n in (1, 2))
    assert one != other
    assert digest_of(run_undrawn(closed_over, {}, IMAGE).model) is None
