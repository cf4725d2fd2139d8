"""A person's own build(hp): what it declares, what came out, what is refused."""

from __future__ import annotations

from functools import cache

import keras
import keras_tuner
import pytest

from tests.models import own_nets
from tuner.errors import InputError
from tuner.layers import Dropout
from tuner.models.own.build import (
    cost_of_model,
    digest_of,
    load_build,
    run_build,
    run_undrawn,
)
from tuner.models.own.compile import read_compiled
from tuner.models.own.family import Declaration
from tuner.models.own.probe import Probe

IMAGE, CLASSES = own_nets.IMAGE, own_nets.CLASSES


def declaration(build) -> Declaration:
    return Probe(build).declaration()


@cache
def declared(build):
    """What many tests ask of one function is probed once."""
    return {one.name: one for one in declaration(build).hyperparameters}


def smallest():
    """For a function that is called often, and whose network does not matter."""
    layers = [keras.Input(IMAGE), keras.layers.Flatten(), keras.layers.Dense(CLASSES)]
    return keras.Sequential(layers)


def test_domains_are_written_as_an_experiment_writes_them():
    found = declared(own_nets.logits)
    assert found["num_layers"].node == {"min": 1, "max": 3}
    assert found["filters_0"].node == {"choice": [4, 8, 12]}
    assert found["activation"].node == {"choice": ["relu", "tanh"]}
    assert found["dropout"].node == {"min": 0.1, "max": 0.5}
    assert declared(own_nets.compiled)["learning_rate"].node == {
        "min": 1e-3,
        "max": 1e-1,
        "scale": "log",
    }


def test_a_stepped_float_has_its_exact_points_and_its_maximum():
    def build(hp):
        hp.Float("rate", 0.0, 0.3, step=0.1)
        hp.Int("size", 2, 32, step=2, sampling="log")
        hp.Fixed("seed", 3)
        return smallest()

    found = declared(build)
    assert found["rate"].node == {"choice": [0.0, 0.1, 0.2, 0.3]}
    assert found["size"].node == {"choice": [2, 4, 8, 16, 32]}
    assert found["seed"].node == 3


def test_a_scale_that_only_keras_tuner_has_is_linear_and_said():
    def build(hp):
        hp.Int("units", 32, 512, sampling="reverse_log")
        return smallest()

    assert declared(build)["units"].node == {"min": 32, "max": 512}
    assert any("reverse_log is searched as linear" in note for note in declaration(build).notes)


def test_what_a_loop_asks_for_is_found_with_its_condition():
    found = declared(own_nets.logits)
    assert found["filters_0"].conditions == ()
    assert found["filters_1"].conditions == ((("num_layers", (2, 3)),),)
    assert found["filters_2"].conditions == ((("num_layers", (3,)),),)


def test_conditional_scopes_are_kept():
    found = declared(own_nets.scoped)
    assert found["units"].conditions == ((("kind", ("dense",)),),)
    assert found["filters"].conditions == ((("kind", ("convolution",)),),)


def test_what_only_compile_or_a_runtime_rate_reads_does_not_shape_the_network():
    found = declared(own_nets.logits)
    assert {n for n, one in found.items() if not one.structural} == {"dropout"}
    assert not any(one.structural for one in declared(own_nets.compiled).values())


def test_a_declaration_survives_a_round_trip():
    told = declaration(own_nets.scoped)
    assert Declaration.from_json(told.to_json()) == told
    assert told.files == ()


def test_values_that_cannot_be_built_are_no_obstacle():
    told = declaration(own_nets.sometimes)
    assert {"units", "num_layers"} <= {one.name for one in told.hyperparameters}
    assert declared(own_nets.sometimes)["units"].structural


def test_defaults_that_cannot_be_built_are_no_obstacle():
    found = declared(own_nets.not_by_default)
    assert found["blocks"].node == {"min": 1, "max": 3}
    assert found["blocks"].default != 3
    assert found["kind"].default == "some"
    assert found["filters_1"].conditions == ((("num_layers", (2, 3)),),)


def test_its_metrics_are_not_recorded_and_that_is_said():
    assert any("metrics" in note for note in declaration(own_nets.compiled).notes)
    assert declaration(own_nets.compiled).optimizer == "sgd"


@pytest.mark.parametrize(
    ("build", "what"),
    [
        (own_nets.nothing, "returned no model"),
        (own_nets.raising, "raised an error with its default values"),
        (own_nets.dotted, "'dense.units' here\n.*\n.*without dots.*\n    fix:      dense_units"),
        (own_nets.underscored, "'_x' here\n.*\n.*not begin with _\n    fix:      x"),
    ],
)
def test_what_cannot_be_had_is_refused(build, what):
    with pytest.raises(InputError, match=what):
        declaration(build)


def test_the_same_name_with_another_domain_is_refused():
    def build(hp):
        kind = hp.Choice("kind", ["a", "b"])
        hp.Int("units", 1, 2 if kind == "a" else 3)
        return smallest()

    with pytest.raises(InputError, match="different domains"):
        declaration(build)


def test_given_values_reach_the_network():
    values = {"num_layers": 2, "filters_0": 12, "filters_1": 4, "activation": "tanh"}
    built = run_build(own_nets.logits, values, IMAGE)
    shapes = [layer.kernel.shape[-1] for layer in built.model.layers if hasattr(layer, "kernel")]
    assert shapes == [12, 4, CLASSES]
    assert built.used == {*values, "dropout"}


def test_a_runtime_rate_is_taken_out_and_told():
    one = run_undrawn(own_nets.logits, {"dropout": 0.2}, IMAGE)
    other = run_undrawn(own_nets.logits, {"dropout": 0.4}, IMAGE)
    assert (one.rates, other.rates) == ((0.2,), (0.4,))
    assert digest_of(one.model) == digest_of(other.model)


def test_networks_that_differ_have_different_digests():
    digests = [
        digest_of(run_undrawn(own_nets.logits, values, IMAGE).model)
        for values in ({}, {"activation": "tanh"}, {"num_layers": 2}, {"filters_0": 8})
    ]
    assert len({*digests, None}) == 5


def test_a_subclassed_model_never_shares_a_program():
    assert digest_of(run_build(own_nets.subclassed, {}, IMAGE).model) is None
    assert declared(own_nets.subclassed)["units"].structural


def test_compile_is_read_in_the_words_of_training():
    built = run_undrawn(own_nets.compiled, {"learning_rate": 0.05, "nesterov": True}, IMAGE)
    compiled = read_compiled(built.model)
    assert compiled.optimizer == "sgd"
    assert compiled.values["learning_rate"] == pytest.approx(0.05)
    assert compiled.values["momentum"] == 0.5
    assert compiled.values["nesterov"] is True
    assert not compiled.from_logits


@pytest.mark.parametrize(
    ("optimizer", "loss", "what"),
    [
        (keras.optimizers.Lion, "sparse_categorical_crossentropy", "the optimizer"),
        (lambda: keras.optimizers.Adam(amsgrad=True), "sparse_categorical_crossentropy", "amsgrad"),
        (lambda: keras.optimizers.SGD(clipnorm=1.0), "sparse_categorical_crossentropy", "clipnorm"),
        (
            lambda: keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)),
            "sparse_categorical_crossentropy",
            "a schedule",
        ),
        (keras.optimizers.SGD, "mse", "the loss"),
    ],
)
def test_what_compile_asks_for_and_cannot_be_had_is_refused(optimizer, loss, what):
    with pytest.raises(InputError, match=what):
        read_compiled(own_nets.with_optimizer(optimizer(), loss)).check()


def test_the_kind_of_a_value_is_that_of_its_hyperparameter():
    def build(hp):
        hp.Float("rate", 0, 0.5, step=0.1, default=0)
        hp.Int("size", 1, 4, default=2.0)
        hp.Choice("share", [0.5, 1.0], default=1)
        return smallest()

    kinds = {name: (one.kind, type(one.default)) for name, one in declared(build).items()}
    assert kinds["rate"] == ("float", float)
    assert kinds["size"] == ("int", int)
    assert kinds["share"] == ("float", float)


@pytest.mark.parametrize("from_logits", [False, True])
def test_the_loss_says_what_the_outputs_are(from_logits):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
    assert read_compiled(own_nets.with_optimizer("adam", loss)).from_logits is from_logits
    assert read_compiled(run_build(own_nets.logits, {}, IMAGE).model) is None


def test_its_cost_is_counted_along_all_layers():
    values = {"num_layers": 1, "filters_0": 4}
    model = run_undrawn(own_nets.logits, values, IMAGE).model
    cost = cost_of_model(model, IMAGE)
    assert cost.parameters == 3 * 3 * 3 * 4 + 4 + 4 * CLASSES + CLASSES
    assert cost.macs == 3 * 3 * 3 * 4 * 64 + 4 * CLASSES
    # Convolution, activation, pool, dropout and dense.
    assert cost.activations == 2 * 4 * 64 + 4 + 4 + CLASSES


def test_layers_with_matrices_of_their_own_are_named_since_nobody_knows_their_multiply_adds():
    class Mixer(keras.Layer):
        def build(self, shape):
            self.table = self.add_weight(shape=(shape[-1], 5))

        def call(self, x):
            return x @ self.table

    image = keras.Input(IMAGE)
    x = keras.layers.PReLU()(keras.layers.SeparableConv2D(6, 3, use_bias=False)(image))
    x = keras.layers.BatchNormalization()(Mixer(name="mixer")(x))
    cost = cost_of_model(keras.Model(image, x), IMAGE)
    assert cost.macs == (3 * 3 * 3 + 3 * 6) * (IMAGE[0] - 2) * (IMAGE[1] - 2)
    assert cost.uncounted == ("mixer (Mixer)",)


def test_layers_within_layers_are_counted():
    from tuner.models import FAMILIES

    family = FAMILIES["resnet"]
    config = family.config(depth=8)
    model = family.build(config, IMAGE, CLASSES)
    known, counted = family.cost(config, IMAGE, CLASSES), cost_of_model(model, IMAGE)
    assert (counted.parameters, counted.macs) == (known.parameters, known.macs)


def test_a_function_a_hypermodel_and_its_class_are_found():
    assert load_build("tests.models.own_nets:logits") is own_nets.logits
    for name in ("hyper", "Hyper"):
        build = load_build(f"tests.models.own_nets:{name}")
        assert isinstance(build(keras_tuner.HyperParameters()), keras.Model)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("tests.models.own_nets:missing", "no such function"),
        ("tests.models.missing:build", "no such module"),
        ("tests.models.own_nets:Subclassed", "this is a model"),
        ("tests.models.own_nets:HyperOfTwo", "cannot be called without arguments"),
    ],
)
def test_a_function_that_is_not_there_is_named(name, what):
    with pytest.raises(InputError, match=what):
        load_build(name)


def test_names_that_keras_counts_shape_no_network():
    """A layer of the module is built when it is used first, and takes a name then."""
    shared = keras.Sequential([keras.layers.RandomFlip()])

    def build(hp):
        image = keras.Input(IMAGE)
        x = keras.layers.Flatten()(shared(image))
        return keras.Model(image, keras.layers.Dense(hp.Int("units", 2, 3))(x))

    digests = [digest_of(run_undrawn(build, {"units": n}, IMAGE).model) for n in (2, 2, 3)]
    assert digests[0] == digests[1] != digests[2]


def test_a_value_inside_a_function_may_shape_a_network():
    def build(hp):
        factor = hp.Choice("factor", [1.0, 2.0])

        def scaled(x):
            return factor * x

        image = keras.Input(IMAGE)
        x = keras.layers.Activation(scaled)(keras.layers.Flatten()(image))
        return keras.Model(image, keras.layers.Dense(CLASSES)(x))

    assert digest_of(run_undrawn(build, {}, IMAGE).model) is None


def test_a_rate_of_a_layer_that_all_networks_share_stays_what_it_is():
    shared = Dropout(0.3)

    def build(hp):
        image = keras.Input(IMAGE)
        return keras.Model(image, keras.layers.Dense(4)(shared(keras.layers.Flatten()(image))))

    assert [run_undrawn(build, {}, IMAGE).rates for _ in range(2)] == [(0.3,), (0.3,)]
