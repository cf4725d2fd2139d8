"""Functions as people write them for keras-tuner."""

from __future__ import annotations

import keras
import keras_tuner

from tuner.layers import Dropout

IMAGE, CLASSES = (8, 8, 3), 4


def logits(hp):
    """Not compiled; a loop over layers decides which hyperparameters there are."""
    x = inputs = keras.Input(IMAGE)
    for i in range(hp.Int("num_layers", 1, 3)):
        x = keras.layers.Conv2D(hp.Int(f"filters_{i}", 4, 12, step=4), 3, padding="same")(x)
        x = keras.layers.Activation(hp.Choice("activation", ["relu", "tanh"]))(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = Dropout(hp.Float("dropout", 0.1, 0.5))(x)
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(x))


def stack(hp):
    """The network of the documentation."""
    layers = [keras.layers.Flatten()]
    for i in range(hp.Int("num_layers", 1, 3)):
        layers.append(keras.layers.Dense(hp.Int(f"units_{i}", 32, 512, step=32), "relu"))
    return keras.Sequential([keras.Input(IMAGE), *layers, keras.layers.Dense(CLASSES)])


def compiled(hp):
    """Probabilities, with an optimizer and a penalty of its own."""
    model = keras.Sequential(
        [
            keras.Input(IMAGE),
            keras.layers.Flatten(),
            keras.layers.Dense(8, "relu", kernel_regularizer=keras.regularizers.L2(0.01)),
            keras.layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.5, nesterov=hp.Boolean("nesterov")),
        "sparse_categorical_crossentropy",
        metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(3)],
    )
    return model


class _AtMost(keras.constraints.Constraint):
    """As people write it: its configuration says nothing."""

    def __init__(self, most):
        self.most = most

    def __call__(self, weights):
        return keras.ops.minimum(weights, self.most)


def constrained(hp):
    most = hp.Float("most", 0.1, 1.0)
    constraints = {
        "keras": keras.constraints.MaxNorm(most),
        "function": lambda weights: keras.ops.minimum(weights, most),
        "class": _AtMost(most),
    }
    constraint = constraints[hp.Choice("kind", list(constraints))]
    return keras.Sequential(
        [
            keras.Input(IMAGE),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(CLASSES, kernel_constraint=constraint),
        ]
    )


def scoped(hp):
    x = inputs = keras.Input(IMAGE)
    kind = hp.Choice("kind", ["dense", "convolution"])
    with hp.conditional_scope("kind", ["dense"]):
        units = hp.Int("units", 2, 4)
        if kind == "dense":
            x = keras.layers.Dense(units)(x)
    with hp.conditional_scope("kind", ["convolution"]):
        filters = hp.Int("filters", 2, 4)
        if kind == "convolution":
            x = keras.layers.Conv2D(filters, 3)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(x))


class Hyper(keras_tuner.HyperModel):
    def build(self, hp):
        return logits(hp)


hyper = Hyper()


class Subclassed(keras.Model):
    def __init__(self, units):
        super().__init__()
        self.flatten, self.dense = keras.layers.Flatten(), keras.layers.Dense(units)
        self.out = keras.layers.Dense(CLASSES)

    def build(self, shape):
        self.flatten.build(shape)
        self.dense.build(self.flatten.compute_output_shape(shape))
        self.out.build((None, self.dense.units))
        self.built = True

    def call(self, x):
        return self.out(self.dense(self.flatten(x)))


def subclassed(hp):
    return Subclassed(hp.Int("units", 3, 4))


class HalfBuilt(keras.Model):
    """Its head comes to be when it is called."""

    def __init__(self):
        super().__init__()
        self.base = keras.Sequential([keras.Input(IMAGE), keras.layers.AveragePooling2D(4)])
        self.flatten, self.head = keras.layers.Flatten(), keras.layers.Dense(CLASSES)

    def call(self, x):
        return keras.ops.softmax(self.head(self.flatten(self.base(x))))


def heads(hp):
    """One network, whose outputs are logits or probabilities in several ways."""
    kind = hp.Choice("head", ["logits", "nested", "operation", "subclass", "cleared"])
    if kind == "subclass":
        return HalfBuilt()
    if kind == "cleared":
        keras.backend.clear_session()
    x = inputs = keras.Input(IMAGE)
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(4)(x))
    if kind == "nested":
        head = [keras.Input((12,)), keras.layers.Dense(CLASSES, activation="softmax")]
        return keras.Model(inputs, keras.Sequential(head)(x))
    x = keras.layers.Dense(CLASSES)(x)
    return keras.Model(inputs, keras.ops.softmax(x) if kind == "operation" else x)


def policy(hp):
    keras.config.set_dtype_policy("mixed_bfloat16")
    return logits(hp)


def pretrained(hp):
    model = logits(hp)
    model.layers[1].set_weights([w * 0 + 7 for w in model.layers[1].get_weights()])
    return model


def nothing(hp):
    hp.Int("units", 1, 2)


def raising(hp):
    raise RuntimeError("no luck today")


def sometimes(hp):
    if hp.Int("units", 1, 3) == 2:
        raise RuntimeError("two is not possible")
    return logits(hp)


def not_by_default(hp):
    """Neither of two ways to fail is met where both values are others than the defaults."""
    if hp.Int("blocks", 1, 3, default=3) == 3:
        raise RuntimeError("three are too many")
    if hp.Choice("kind", ["none", "some"]) == "none":
        return None
    return logits(hp)


def dotted(hp):
    hp.Int("dense.units", 1, 2)
    return logits(hp)


def underscored(hp):
    hp.Int("_x", 1, 2)
    return logits(hp)


def oddly_named(hp):
    """Methods of pydantic, a word of Python, a scope of keras-tuner, a space."""
    names = ("copy", "json", "schema", "model_dump", "model_fields", "class", "num units")
    units = [hp.Int(name, 1, 2) for name in names]
    with hp.name_scope("head"):
        units.append(hp.Int("units", 1, 2))
    dense = map(keras.layers.Dense, (*units, CLASSES))
    return keras.Sequential([keras.Input(IMAGE), keras.layers.Flatten(), *dense])


class HyperOfTwo(keras_tuner.HyperModel):
    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes


def several_classes(hp):
    """One output too many."""
    return keras.Sequential(
        [keras.Input(IMAGE), keras.layers.Flatten(), keras.layers.Dense(CLASSES + 1)]
    )


def with_optimizer(optimizer, loss="sparse_categorical_crossentropy"):
    model = several_classes(None)
    model.compile(optimizer, loss)
    return model
