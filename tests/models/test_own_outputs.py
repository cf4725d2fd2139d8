"""What outputs are is seen from them, however the network comes to them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from tests.models import own_nets
from tuner.errors import InputError
from tuner.models.own.build import run_undrawn
from tuner.models.own.compile import read_compiled
from tuner.models.own.outputs import kind_of_outputs, read_outputs

IMAGE, CLASSES = own_nets.IMAGE, own_nets.CLASSES


def network(head, *, classes=CLASSES, loss=None):
    def build(hp):
        image = keras.Input(IMAGE)
        model = keras.Model(image, head(layers.Flatten()(image), classes))
        if loss is not None:
            model.compile("adam", loss)
        return model

    return run_undrawn(build, {}, IMAGE).model


def logits(x, classes=CLASSES):
    return layers.Dense(classes)(x)


def softmax(x, classes=CLASSES):
    return layers.Dense(classes, activation="softmax")(x)


def nested(x, classes):
    inner = [keras.Input((192,)), layers.Dense(classes, activation="softmax")]
    return keras.Sequential(inner)(x)


def sigmoid(x, classes=CLASSES):
    return layers.Dense(classes, activation="sigmoid")(x)


HEADS = {
    "dense": (logits, "logits"),
    "tanh": (lambda x, n: layers.Dense(n, activation="tanh")(x), "logits"),
    "log_softmax": (lambda x, n: keras.ops.log_softmax(logits(x, n)), "logits"),
    "linear_after": (lambda x, n: layers.Activation("linear")(logits(x, n)), "logits"),
    "dense_softmax": (softmax, "probabilities"),
    "operation": (lambda x, n: keras.ops.softmax(logits(x, n)), "probabilities"),
    "activation": (lambda x, n: keras.activations.softmax(logits(x, n)), "probabilities"),
    "layer": (lambda x, n: layers.Softmax()(logits(x, n)), "probabilities"),
    "then_linear": (
        lambda x, n: layers.Activation("linear", dtype="float32")(softmax(x, n)),
        "probabilities",
    ),
    "then_dropout": (lambda x, n: layers.Dropout(0.1)(softmax(x, n)), "probabilities"),
    "nested": (nested, "probabilities"),
    "lambda": (lambda x, n: layers.Lambda(keras.ops.softmax)(logits(x, n)), "probabilities"),
    "average": (lambda x, n: layers.Average()([softmax(x, n), softmax(x, n)]), "probabilities"),
    "sigmoid": (sigmoid, "scores"),
    "relu": (lambda x, n: layers.Dense(n, activation="relu")(x), "positive"),
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("classes", [2, CLASSES])
def test_the_kind_is_seen(head, classes):
    make, kind = HEADS[head]
    assert kind_of_outputs(network(make, classes=classes), IMAGE) == kind


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_the_kind_is_seen_in_half_precision(precision):
    keras.config.set_dtype_policy(precision)
    try:
        for head in ("operation", "then_linear", "sigmoid", "linear_after"):
            make, kind = HEADS[head]
            assert kind_of_outputs(network(make), IMAGE) == kind
    finally:
        keras.config.set_dtype_policy("float32")


def reading(head, from_logits):
    loss = None
    if from_logits is not None:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
    model = network(HEADS[head][0], loss=loss)
    return read_outputs(kind_of_outputs(model, IMAGE), read_compiled(model))


@pytest.mark.parametrize(
    ("head", "from_logits", "as_probabilities", "gives", "note"),
    [
        ("dense", None, False, "logits", ""),
        ("dense", True, False, "logits", ""),
        ("operation", None, True, "probabilities", ""),
        ("operation", False, True, "probabilities", ""),
        ("operation", True, False, "probabilities", "trained as written"),
        ("sigmoid", None, False, "logits", "taken for logits"),
        ("sigmoid", False, True, "scores", "divides them by their sum"),
        ("sigmoid", True, False, "logits", "trained as written"),
        ("relu", None, False, "logits", ""),
    ],
)
def test_the_loss_decides_how_they_are_taken(head, from_logits, as_probabilities, gives, note):
    told = reading(head, from_logits)
    assert (told.as_probabilities, told.gives) == (as_probabilities, gives)
    assert note in told.note
    assert bool(note) == bool(told.note)


@pytest.mark.parametrize("head", ["dense", "tanh", "relu", "log_softmax"])
def test_what_are_no_probabilities_to_a_loss_that_wants_them_is_refused(head):
    with pytest.raises(InputError, match="no probabilities"):
        reading(head, False)


def test_shares_of_scores_are_what_the_losses_of_keras_make_of_them():
    scores = np.random.default_rng(0).uniform(0.01, 0.99, (64, CLASSES)).astype(np.float32)
    labels = np.arange(64) % CLASSES
    shares = scores / scores.sum(axis=-1, keepdims=True)
    expected = -np.log(shares[np.arange(64), labels])
    sparse = keras.losses.sparse_categorical_crossentropy(labels, scores)
    dense = keras.losses.categorical_crossentropy(np.eye(CLASSES)[labels], scores)
    for loss in (sparse, dense):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(loss), expected, rtol=1e-5)
