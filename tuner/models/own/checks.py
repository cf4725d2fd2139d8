"""What a person's own model must be, so that all of it is trained here, and nothing of it ignored.

Imported when a model is built, because it imports Keras.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
from keras.src import backend
from keras.src.backend.common.variables import Variable as AnyVariable

from tuner.errors import InputError, Problem, reason_of
from tuner.models.family import ImageShape
from tuner.models.own.undrawn import SEED_STATE, initializer_of, replaced

# Keras calls these when it trains by itself; here nobody would.
_OWN_TRAINING = (
    "train_step",
    "test_step",
    "compute_loss",
    "make_train_function",
    "make_test_function",
    "train_on_batch",
    "test_on_batch",
    "fit",
    "evaluate",
)
# TensorFlow's operations that draw from a state of their own.
_RANDOM = re.compile(
    r"Random|(Parameterized)?TruncatedNormal$|Multinomial$|Rng|Stateful(?!PartitionedCall)"
)
_EXAMPLES = 2  # images in a call with shapes alone: one could be taken for no axis at all
_MOST_NAMES = 3


def check_model(model: Any) -> None:
    """It must be a Keras model of one input that leaves its training to Keras.

    Raises:
        InputError: it is not.
    """
    if not isinstance(model, keras.Model):
        received, mend = type(model).__name__, "return model"
        raise _refused("build returned no model", received, "a keras.Model", mend)
    if len(getattr(model, "inputs", None) or [0]) != 1:
        received = f"{len(model.inputs)} of them"
        raise _refused("the model has several inputs", received, "one input, the images")
    own = [name for name in _OWN_TRAINING if is_own(model, name)]
    if own:
        what = f"the model's own {own[0]} would not be called"
        expected = "Keras' way of training: a cross-entropy, plus losses of add_loss()"
        mend = "losses of your own go into call(), by self.add_loss(); leave out the rest"
        raise _refused(what, f"{type(model).__name__}.{own[0]}", expected, mend)


def is_own(model: Any, name: str) -> bool:
    """Whether the model, or a class that it comes from, brings this method instead of Keras."""
    if name in vars(model):
        return True
    owner = next((c for c in type(model).__mro__ if name in vars(c)), None)
    return owner is not None and owner.__module__.split(".")[0] != "keras"


def outputs_on_shapes(model: Any, image_shape: ImageShape) -> Any:
    """Call the model with shapes alone, which builds what is not built yet; gives what comes out.

    Raises:
        InputError: it cannot take such images, or some of its weights would not be trained.
    """
    # A graph has been called when it was made; else layers may come to be in the first call.
    is_graph = hasattr(model, "operations") and not is_own(model, "call") and model.built
    if not is_graph:
        _checked_call(model, image_shape, training=False)
    known = {id(variable) for variable in model.variables}
    outputs = _checked_call(model, image_shape, training=True)
    if new := [variable for variable in model.variables if id(variable) not in known]:
        what = "the model makes new weights whenever it is called: they would not be trained"
        mend = "make its layers in __init__ or build, once"
        raise _refused(what, _names(new), "the same weights in every call", mend)
    if not model.trainable_variables:
        mend = "trainable = True for a layer, or a layer with weights"
        raise _refused("the model has nothing to train", "no trainable weight", mend=mend)
    return outputs


def _checked_call(model: Any, image_shape: ImageShape, *, training: bool) -> Any:
    graphs: list[Any] = []
    with _reads() as variables:
        outputs = _called(model, image_shape, training, graphs)
    for graph in graphs:
        _check_graph(graph, (*model.variables, *variables))
    _check_seen(model, variables)
    return outputs


def _called(model: Any, image_shape: ImageShape, training: bool, graphs: list[Any]) -> Any:
    def call(images: Any) -> Any:
        outputs = model(images, training=training)
        graphs.extend(_graph())
        return outputs

    images = keras.KerasTensor((_EXAMPLES, *image_shape))
    try:
        return backend.compute_output_spec(call, images)
    except Exception as error:  # whatever a layer says of a shape that it cannot take
        received = f"images of {_by(image_shape)}: {reason_of(error)}"
        mend = f"images come as {tuple(image_shape)}, (height, width, channels)"
        raise _refused("the model cannot take the images", received, mend=mend) from error


def _graph() -> list[Any]:
    """TensorFlow's graph that is being made; JAX has no state that Keras does not know."""
    if keras.backend.backend() != "tensorflow":
        return []
    import tensorflow as tf

    return [tf.compat.v1.get_default_graph()]


def _check_graph(graph: Any, variables: Sequence[Any]) -> None:
    """No random numbers from a state of TensorFlow's own, and none but Keras' variables."""
    definition = graph.as_graph_def()
    inner = [node for function in definition.library.function for node in function.node_def]
    if random := [node.op for node in (*definition.node, *inner) if _RANDOM.match(node.op)]:
        raise _unseeded(f"TensorFlow's {random[0]}")
    known = {id(v._value.handle) for v in variables if v._value is not None}
    foreign = {inner.op.name for outer, inner in graph.captures if id(outer) not in known}
    read = [node.input[0] for node in definition.node if node.op == "ReadVariableOp"]
    if foreign.intersection(read):
        what = "the model computes with a tf.Variable, which Keras does not train"
        mend = "self.add_weight(...) in build() of the layer"
        raise _refused(what, "a tf.Variable in call()", "Keras' own variables", mend)


@contextmanager
def _reads() -> Iterator[list[Any]]:
    """The variables whose values are asked for, each once."""
    original, variables = AnyVariable.value, {}

    def value(variable: Any) -> Any:
        variables[id(variable)] = variable
        return original.__get__(variable)

    result: list[Any] = []
    with replaced(AnyVariable, "value", property(value)):
        yield result
    result += variables.values()


def _check_seen(model: Any, variables: Sequence[Any]) -> None:
    """What the model computes with must be among its variables, or have a value that stays."""
    known = {id(variable) for variable in model.variables}
    hidden = [variable for variable in variables if id(variable) not in known]
    if random := [v for v in hidden if v.name == SEED_STATE]:
        raise _unseeded(_names(random))
    if undrawn := [v for v in hidden if initializer_of(v) is not None]:
        what = "the model computes with weights that are not its own: they would not be trained"
        expected = "every layer an attribute of the model or of one of its layers"
        mend = "self.NAME = LAYER in __init__; no Lambda around a layer"
        raise _refused(what, _names(undrawn), expected, mend)


def _unseeded(received: str) -> InputError:
    what = "the model draws random numbers from no generator of its own"
    expected = "keras.random with a generator that the trial's seed reaches"
    mend = "self.seed_generator = keras.random.SeedGenerator() in __init__ of the layer, and "
    return _refused(what, received, expected, mend + "seed=self.seed_generator in call()")


def check_classes(outputs: Any, num_classes: int) -> None:
    """The model must tell the classes apart.

    Raises:
        InputError: it does not.
    """
    if not hasattr(outputs, "shape"):
        kind = type(outputs).__name__
        many = f" of {len(outputs)}" if hasattr(outputs, "__len__") else ""
        what, expected = "the outputs are no tensor", f"one tensor, of {num_classes} classes"
        raise _refused(what, f"a {kind}{many}", expected, "return the tensor itself")
    given = tuple(outputs.shape[1:])
    if given != (num_classes,):
        received, expected = _by(given) or "none", f"{num_classes}, one a class"
        what = "the model has the wrong number of outputs"
        mend = f"Dense({num_classes}) as the last layer" if len(given) == 1 else ""
        raise _refused(what, received, expected, mend)


def _names(variables: Sequence[Any]) -> str:
    names = [variable.path for variable in variables]
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _by(shape: Sequence[Any]) -> str:
    return "x".join(str(size) for size in shape)


def _refused(what: str, received: str, expected: str = "", mend: str = "") -> InputError:
    return InputError(Problem(what, "model.family", received, expected, mend))
