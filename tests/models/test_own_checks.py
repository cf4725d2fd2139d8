"""All of a person's own model is trained, or it is refused with what to do about it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from tests.models import own_nets
from tuner.errors import InputError
from tuner.models.own.build import run_undrawn
from tuner.models.own.checks import check_classes
from tuner.models.own.undrawn import initializer_of

IMAGE, CLASSES = own_nets.IMAGE, own_nets.CLASSES


def run(model):
    """The model, or what a `build` gave that makes it."""
    is_model = isinstance(model, keras.Model)
    return run_undrawn(lambda hp: model if is_model else model(), {}, IMAGE).model


class Calling(keras.Model):
    """A subclassed model of a list of layers, none of them built."""

    def __init__(self, *parts):
        super().__init__()
        self.parts = list(parts)

    def call(self, x):
        for part in self.parts:
            x = part(x)
        return x


class HalfBuilt(Calling):
    def __init__(self):
        base = keras.Sequential([keras.Input(IMAGE), layers.Conv2D(2, 3), layers.Flatten()])
        super().__init__(base, layers.Dense(CLASSES))


def unbuilt():
    return Calling(layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(CLASSES))


def deferred():
    return keras.Sequential([layers.Flatten(), layers.Dense(5), layers.Dense(CLASSES)])


def nested():
    image = keras.Input(IMAGE)
    return keras.Model(image, unbuilt()(image))


def called_in_build():
    model = unbuilt()
    model(np.zeros((1, *IMAGE), np.float32))
    return model


@pytest.mark.parametrize(
    ("model", "count"),
    [
        (HalfBuilt, 2 * 3 * 9 + 2 + 72 * CLASSES + CLASSES),
        (unbuilt, 2 * 3 * 9 + 2 + 72 * CLASSES + CLASSES),
        (nested, 2 * 3 * 9 + 2 + 72 * CLASSES + CLASSES),
        (called_in_build, 2 * 3 * 9 + 2 + 72 * CLASSES + CLASSES),
        (deferred, 192 * 5 + 5 + 5 * CLASSES + CLASSES),
    ],
)
def test_all_weights_are_there_before_they_are_counted(model, count):
    built = run(model)
    assert sum(int(np.prod(v.shape)) for v in built.trainable_variables) == count
    assert None not in {initializer_of(v) for v in built.trainable_variables}


class MadeInCall(keras.Model):
    def call(self, x):
        self.head = layers.Dense(CLASSES)
        return self.head(layers.Flatten()(x))


class Untracked(keras.Model):
    def call(self, x):
        return layers.Dense(CLASSES)(layers.Flatten()(x))


def in_a_lambda():
    image, hidden = keras.Input(IMAGE), layers.Dense(CLASSES)
    x = layers.Dense(5)(layers.Flatten()(image))
    return keras.Model(image, layers.Lambda(lambda x: hidden(x))(x))


def frozen():
    model = deferred()
    model.trainable = False
    return model


def without_weights():
    image = keras.Input(IMAGE)
    return keras.Model(image, layers.GlobalAveragePooling2D()(image))


class OwnStep(keras.Model):
    def train_step(self, data):
        raise AssertionError


class OwnLoss(keras.Sequential):
    def compute_loss(self, *args, **kwargs):
        raise AssertionError


def with_a_step_of_its_own():
    model = deferred()
    model.train_step = lambda data: {}
    return model


@pytest.mark.parametrize(
    ("model", "what"),
    [
        (MadeInCall, "All state must be created in the `__init__"),
        (Untracked, "weights that are not its own"),
        (in_a_lambda, "weights that are not its own"),
        (frozen, "nothing to train"),
        (without_weights, "nothing to train"),
        (lambda: OwnStep(*graph()), "own train_step would not be called"),
        (lambda: OwnLoss([layers.Flatten(), layers.Dense(4)]), "own compute_loss would not"),
        (with_a_step_of_its_own, "own train_step would not be called"),
        (lambda: Calling(layers.Dense(CLASSES), layers.Reshape((5,))), "cannot take the images"),
    ],
)
def test_what_would_not_be_trained_is_refused(model, what):
    with pytest.raises(InputError, match=what) as caught:
        run(model)
    (problem,) = caught.value.problems
    assert problem.mend


def graph():
    image = keras.Input(IMAGE)
    return image, layers.Dense(CLASSES)(layers.Flatten()(image))


def test_a_graph_with_hidden_weights_that_are_set_is_what_keras_makes_of_it():
    hidden = layers.Dense(5)
    hidden.build((None, 192))
    hidden.set_weights([np.ones((192, 5)), np.ones(5)])
    image = keras.Input(IMAGE)
    x = layers.Lambda(lambda x: hidden(x))(layers.Flatten()(image))
    run(keras.Model(image, layers.Dense(CLASSES)(x)))


class Noisy(keras.Layer):
    def __init__(self, draw):
        super().__init__()
        self.draw = draw
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, x, training=False):
        return x + self.draw(x.shape[1:], self.seed_generator) if training else x


DRAWS = [lambda shape, _: keras.random.normal(shape)]
if keras.backend.backend() == "tensorflow":
    import tensorflow

    GENERATOR = tensorflow.random.Generator.from_seed(1)
    DRAWS.append(lambda shape, _: tensorflow.random.normal(shape))
    DRAWS.append(lambda shape, _: GENERATOR.normal(shape))
    DRAWS.append(lambda shape, _: tensorflow.function(tensorflow.random.normal)(shape))


@pytest.mark.parametrize("draw", DRAWS)
def test_random_numbers_that_no_seed_reaches_are_refused(draw):
    with pytest.raises(InputError, match="SeedGenerator"):
        run(noisy(draw))


def noisy(draw):
    image = keras.Input(IMAGE)
    return keras.Model(image, layers.Dense(CLASSES)(layers.Flatten()(Noisy(draw)(image))))


def test_random_numbers_of_a_generator_of_their_own_are_welcome():
    run(noisy(lambda shape, seed: keras.random.normal(shape, seed=seed)))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of TensorFlow")
def test_what_tensorflow_keeps_beside_keras_is_refused():
    class Raw(keras.Layer):
        def __init__(self):
            super().__init__()
            self.scale = tensorflow.Variable(1.0)

        def call(self, x):
            return x * self.scale

    class Inside(keras.Layer):
        def build(self, shape):
            self.scale = self.add_weight(shape=())

        @tensorflow.function
        def call(self, x):
            return x * self.scale

    run(Calling(Inside(), layers.Flatten(), layers.Dense(CLASSES)))
    with pytest.raises(InputError, match=r"tf\.Variable"):
        run(Calling(Raw(), layers.Flatten(), layers.Dense(CLASSES)))


def test_a_class_name_that_begins_with_an_underscore_is_a_name_like_others():
    class _Net(Calling):
        pass

    assert run(lambda: _Net(layers.Flatten(), layers.Dense(CLASSES))).name == "net"


def test_other_images_and_other_classes_are_refused():
    image = keras.Input((8, 8, 1))
    model = keras.Model(image, layers.Dense(CLASSES)(layers.Flatten()(image)))
    with pytest.raises(InputError, match="cannot take the images"):
        run(model)
    for outputs, what in (((2, CLASSES + 1), "wrong number"), ((2, 1), "wrong number")):
        with pytest.raises(InputError, match=what):
            check_classes(keras.KerasTensor(outputs), CLASSES)
    with pytest.raises(InputError, match="no tensor"):
        check_classes([keras.KerasTensor((2, CLASSES))] * 2, CLASSES)
    check_classes(keras.KerasTensor((2, CLASSES)), CLASSES)
