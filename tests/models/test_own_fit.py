"""What a person's compile() and fit() hand over, for every value of every hyperparameter."""

from __future__ import annotations

import functools
import json
from functools import cache

import keras
import pytest

from tests.models import own_fits
from tuner.errors import InputError
from tuner.experiment.schema import OPTIMIZER_FIELDS
from tuner.models.own.build import load_build
from tuner.models.own.checks import check_model
from tuner.models.own.compile import OPTIMIZERS, read_compiled
from tuner.models.own.family import NETWORK, OPTIMIZER, Declaration, Handed
from tuner.models.own.probe import Probe
from tuner.training.optimizers import OPTIMIZERS as TRAINED

CROSS_ENTROPY = "sparse_categorical_crossentropy"


@cache
def declaration(name: str) -> Declaration:
    return Probe(load_build(f"tests.models.own_fits:{name}")).declaration()


def reaches(name: str) -> dict[str, tuple[str, ...]]:
    return {one.name: one.reaches for one in declaration(name).hyperparameters}


# ---------------------------------------------------------------------- compile()


def test_every_optimizer_that_is_trained_can_be_compiled():
    assert OPTIMIZERS.keys() == TRAINED.keys()


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_an_optimizer_is_read_by_the_names_of_training(name):
    assert frozenset(OPTIMIZERS[name]) == OPTIMIZER_FIELDS[name]
    compiled = read_compiled(own_fits.compiled(name))
    assert compiled.refused == ()
    assert compiled.optimizer == name
    assert set(compiled.values) == OPTIMIZER_FIELDS[name]


@pytest.mark.parametrize(
    "loss",
    [
        "SparseCategoricalCrossentropy",
        keras.losses.sparse_categorical_crossentropy,
        ["categorical_crossentropy"],
        {"dense": keras.losses.SparseCategoricalCrossentropy()},
    ],
)
def test_a_cross_entropy_is_known_however_it_is_given(loss):
    model = own_fits.compiled()
    model.loss = loss
    assert read_compiled(model).from_logits is False


class Adam(keras.optimizers.Adam):
    """What another's class of the same name does is unknown."""


def test_what_keras_cannot_write_down_is_no_obstacle():
    top = functools.partial(keras.metrics.sparse_top_k_categorical_accuracy, k=2)
    model = own_fits.compiled(metrics=[top])
    check_model(model)
    assert read_compiled(model).notes


@pytest.mark.parametrize("optimizer", [Adam(), keras.optimizers.Lion(), keras.optimizers.Ftrl()])
def test_an_optimizer_that_is_not_here_is_told_with_those_that_are(optimizer):
    (problem,) = read_compiled(own_fits.compiled(optimizer)).refused
    assert problem.received == type(optimizer).__name__
    assert "rmsprop" in problem.expected


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"loss_weights": [0.5]}, "loss_weights"),
        ({"loss": keras.losses.SparseCategoricalCrossentropy(reduction="sum")}, "reduction"),
        ({"loss": keras.losses.SparseCategoricalCrossentropy(ignore_class=1)}, "ignore_class"),
        ({"loss": keras.losses.CategoricalFocalCrossentropy()}, "the loss"),
        ({"loss": lambda y, p: 0.0}, "the loss"),
        ({"loss": None}, "the loss"),
    ],
)
def test_what_changes_the_loss_is_refused(options, what):
    with pytest.raises(InputError, match=what):
        read_compiled(own_fits.compiled(**options))


def test_what_changes_no_training_is_said():
    model = own_fits.compiled(
        metrics=["accuracy", keras.metrics.SparseCategoricalAccuracy()],
        weighted_metrics=["mae"],
        steps_per_execution=8,
        run_eagerly=True,
        jit_compile=False,
    )
    notes = read_compiled(model).notes
    assert notes == (
        "metrics of compile() are not recorded: 1 of them",
        "run_eagerly, steps_per_execution of compile() changes nothing here",
    )


@pytest.mark.parametrize(
    ("name", "unless", "fine", "what", "mend"),
    [
        ("optimizers", OPTIMIZER, ("optimizer", ("adam", "sgd")), "'lion' or optim", "[adam, sgd]"),
        ("schedule", OPTIMIZER, ("decay", (False,)), "with decay=True", "decay: false"),
        ("losses", None, ("loss", (CROSS_ENTROPY,)), "loss='mse'", f"loss: {CROSS_ENTROPY}"),
        ("sometimes_compiled", OPTIMIZER, ("compile", (True,)), "not compiled", "compile: true"),
        ("Normalizes", None, ("normalize", (False,)), "the images", "normalize: false"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_behind_a_choice_is_known_with_its_values(
    name, unless, fine, what, mend
):
    (refusal,) = declaration(name).refusals
    assert (refusal.unless, refusal.conditions) == (unless, (fine,))
    assert what in refusal.problem.what
    assert mend in refusal.problem.mend


def test_what_two_values_bring_together_is_known_with_both():
    (refusal,) = declaration("together").refusals
    assert refusal.conditions == (("clip", (False,)), ("kind", ("adam",)))
    assert "with clip=True and kind='sgd', compile(): clipnorm" in refusal.problem.what


def test_what_no_value_cures_is_refused_always():
    (refusal,) = declaration("clipped").refusals
    assert refusal.conditions == ()
    assert refusal.problem.received == "0.5, 2.0"
    assert declaration("optimizers").optimizer == "adam"


# ---------------------------------------------------------------------- what has an effect


def test_what_a_value_changes_is_seen_also_where_another_hides_it():
    assert reaches("dead") == {
        "never": (),
        "rate": (NETWORK,),
        "drop": (NETWORK,),
        "kind": (OPTIMIZER,),
        "lr": (OPTIMIZER,),
    }
    structural = {one.name: one.structural for one in declaration("dead").hyperparameters}
    assert structural == {"never": False, "rate": True, "drop": True, "kind": True, "lr": False}


def test_a_value_with_which_nothing_can_be_built_is_an_effect():
    (one,) = (d for d in declaration("failing").hyperparameters if d.name == "size")
    assert (one.reaches, one.structural) == ((NETWORK,), True)


def test_weights_that_build_sets_are_an_effect():
    (one,) = declaration("pretrained").hyperparameters
    assert (one.reaches, one.structural) == ((NETWORK,), True)


def test_what_is_dead_depends_on_what_the_file_writes():
    told = declaration("dead")
    assert told.dead(set()) == {"never": ()}
    assert told.dead({OPTIMIZER}) == {"never": (), "kind": (OPTIMIZER,), "lr": (OPTIMIZER,)}
    assert set(declaration("schedule").dead({OPTIMIZER})) == {"lr", "decay", "decay_rate"}


# ---------------------------------------------------------------------- fit()


def test_a_value_that_is_handed_on_as_it_is_moves_to_training():
    told = declaration("Bound")
    assert told.moved == {"batch": "batch_size", "shuffle": "shuffle"}
    assert Handed("epochs", None, ((None, 3),)) in told.handed
    assert told.refusals == ()


def test_what_keras_tuner_does_not_give_may_be_given():
    assert declaration("Loud").moved == {"batch": "batch_size"}
    assert declaration("Loud").refusals == ()


def test_another_value_for_each_is_a_table():
    told = declaration("ByTable")
    assert told.moved == {"epochs": "epochs"}
    tables = {handed.name: handed.table for handed in told.handed}
    assert tables["batch_size"] == ((3, 8), (4, 16), (5, 32))
    assert tables["class_weight"] == ((False, None), (True, {0: 1.0, 1: 2}))


def test_the_innermost_hyperparameter_decides():
    told = declaration("Nested")
    sizes = [handed.by for handed in told.handed]
    assert sizes == ["size", "own_size"]
    assert told.moved == {"size": "batch_size"}


def test_a_value_of_network_and_fit_is_split():
    told = declaration("OfBuild")
    assert told.moved == {}
    assert told.deciding == {"size": (8, 16)}


def test_what_the_caller_gives_is_left_to_the_file():
    assert declaration("NeedsEpochs").handed == ()
    assert declaration("NeedsEpochs").refusals == ()
    assert declaration("Fitted").handed == ()


@pytest.mark.parametrize(
    ("name", "what", "received", "mend"),
    [
        ("Stops", "callbacks", "EarlyStopping", "search.stop"),
        ("Crops", "looks at the images", "", "data:"),
        ("Weighs", "looks at the labels", "", "data:"),
        ("Scores", "looks at the results", "", "objective:"),
        ("OwnLoop", "in its own way", "0 calls", "fit()"),
        ("Splits", "what is trained", "validation_split=0.2", "data.validation"),
        ("Compiles", "more than", "model.compile", "fit()"),
        ("Freezes", "changes the model", "trainable", "build()"),
        ("Raises", "cannot be followed", "no luck in fit", "fit()"),
        ("Raises", "cannot be followed", "own_fits.py:", "fit()"),
        ("Collides", "cannot be followed", "fit() got multiple values for", "fit()"),
    ],
)
def test_what_fit_does_beside_is_refused(name, what, received, mend):
    (refusal,) = declaration(name).refusals
    problem = refusal.problem
    assert refusal.unless is None
    assert what in problem.what
    assert received in problem.received
    assert mend in problem.mend


def test_what_no_rule_explains_is_refused_unless_the_file_writes_it():
    (refusal,) = declaration("Product").refusals
    assert refusal.unless == "batch_size"
    assert "8, 16" in refusal.problem.received


def test_callbacks_that_only_keep_are_said():
    assert "CSVLogger of fit() is not used" in declaration("Stops").notes


@pytest.mark.parametrize("name", ["ByTable", "optimizers", "Nested"])
def test_all_of_it_survives_a_round_trip(name):
    told = declaration(name)
    assert Declaration.from_json(told.to_json()) == told
    again = Declaration.from_json(json.loads(json.dumps(told.to_json())))
    assert again.hyperparameters == told.hyperparameters
    assert again.refusals == told.refusals
