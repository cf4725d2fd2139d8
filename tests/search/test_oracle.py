"""Every search method in ordinary keras-tuner programs; run_trial returns a number."""

from __future__ import annotations

import json
from typing import Any

import keras_tuner
import pytest

from tuner.errors import InputError
from tuner.experiment import parse_experiment
from tuner.search import METHODS, make_method
from tuner.search.oracle import MethodOracle, make_oracle

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # keras-tuner's own

TEXT = """
model: {family: mlp, hidden_units: {choice: [16, 32, 64]}, dropout: {choice: [0, 0.5]}}
training: {epochs: 9, learning_rate: {min: 1e-4, max: 1e-1, scale: log, count: 4}}
search: {method: METHOD, max_trials: 14, seed: 3}
"""
LIST = """
model: {family: mlp}
training: {epochs: 9}
search: {method: list, configurations: {hidden_units: [64, 16, 32, 64], dropout: [0, 0.5, 0, 0.5],
                                        learning_rate: [0.1, 0.1, 0.01, 0.001]}}
"""

# Hyperband: in its first rung, in its second, and between two brackets.
CUTS = [("list", 2), ("bayesian", 10), ("hyperband", 11), ("hyperband", 13)]
CUTS += [(method, 2) for method in METHODS if method not in ("list", "bayesian")]


class Stub(keras_tuner.Tuner):
    """A real tuner but for the training; notes what it was given."""

    def __init__(self, oracle: MethodOracle, folder: Any, build: Any, stop_after: int = 10**6):
        self.given: list[dict[str, Any]] = []
        self._stop_after = stop_after
        super().__init__(oracle, build, directory=str(folder), project_name="p")

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> Any:
        if len(self.given) == self._stop_after:
            raise KeyboardInterrupt
        self.given.append(dict(trial.hyperparameters.values))
        self.hypermodel.build(trial.hyperparameters)
        return {self.oracle.objective.name: value(trial.hyperparameters)}


def value(hp: Any) -> float:
    return float(hp.get("learning_rate") * hp.get("hidden_units") - 3 * hp.get("dropout"))


def build(hp: Any) -> Any:
    """What it declares is not its own range's value but the experiment's, if there is one."""
    assert hp.Choice("hidden_units", [16, 32, 64, 128]) in (16, 32, 64)
    assert hp.Float("momentum", 0.1, 0.9) == 0.1  # of build alone: at its default
    assert hp.get("epochs") == 9
    return None


def text(method: str) -> str:
    """Fourteen configurations; fewer of what takes long, two of them by a model."""
    if method == "list":
        return LIST
    found = TEXT.replace("METHOD", method)
    return found.replace("14", "11") if method == "bayesian" else found


def core(values: dict[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in ("hidden_units", "dropout", "learning_rate")}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_serves_a_real_tuner_to_the_end(tmp_path, method) -> None:
    source = text(method)
    search = Stub(make_oracle(source), tmp_path, build)
    search.search(verbose=0)
    experiment = parse_experiment(source, "x.yaml")
    configurations = {json.dumps(core(values), sort_keys=True) for values in search.given}
    assert len(configurations) == make_method(experiment).total
    if method != "hyperband":
        assert len(search.given) == len(configurations)
    (best,) = search.get_best_hyperparameters(1)
    assert value(best) == max(
        v["learning_rate"] * v["hidden_units"] - 3 * v["dropout"] for v in search.given
    )


@pytest.mark.parametrize(("method", "after"), CUTS)
def test_a_reloaded_search_goes_on_as_if_it_had_not_been_cut(tmp_path, dice, method, after) -> None:
    source = text(method)
    whole = Stub(make_oracle(source), tmp_path / "whole", build)
    whole.search(verbose=0)
    cut = Stub(make_oracle(source), tmp_path / "cut", build, stop_after=after)
    with pytest.raises(KeyboardInterrupt):
        cut.search(verbose=0)
    again = Stub(make_oracle(source), tmp_path / "cut", build)
    again.search(verbose=0)
    assert cut.given + again.given == whole.given


def test_hyperband_comes_in_parts_named_as_keras_tuner_names_them(tmp_path) -> None:
    search = Stub(make_oracle(text("hyperband")), tmp_path, build)
    search.search(verbose=0)
    trials = search.oracle.trials
    parts = [one.hyperparameters.values for one in trials.values()]
    assert {part["tuner/epochs"] for part in parts} > {1, 9}
    later = [part for part in parts if part["tuner/initial_epoch"]]
    assert later
    for part in later:
        before = trials[part["tuner/trial_id"]].hyperparameters.values
        assert core(before) == core(part)
        assert before["tuner/epochs"] == part["tuner/initial_epoch"]


def test_a_list_is_served_in_its_order() -> None:
    oracle = make_oracle(LIST)
    answers = [oracle.populate_space(str(i)) for i in range(5)]
    assert [one["values"]["hidden_units"] for one in answers[:4]] == [64, 16, 32, 64]
    assert answers[4]["status"] == "STOPPED"


def test_a_failed_trial_is_no_result(tmp_path) -> None:
    told = []

    class Failing(Stub):
        def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> Any:
            if trial.trial_id.endswith("1"):
                raise ValueError("the network does not fit")
            if trial.trial_id.endswith("2"):
                return float("nan")
            if trial.trial_id.endswith("3"):
                return float("inf")
            return super().run_trial(trial)

    oracle = make_oracle(text("random"))
    tell = oracle._method.tell
    oracle._method.tell = lambda result: (told.append(result.score), tell(result))  # type: ignore
    Failing(oracle, tmp_path, build).search(verbose=0)
    assert len(told) == 14
    assert [score is None for score in told[:5]] == [False, True, True, True, False]


def test_a_method_that_waits_is_idle_while_a_trial_runs_and_never_for_ever() -> None:
    oracle = make_oracle(text("random"))
    oracle._method.ask = lambda: None  # type: ignore[method-assign]
    assert oracle.populate_space("0")["status"] == "STOPPED"
    oracle.ongoing_trials["tuner0"] = object()
    assert oracle.populate_space("0")["status"] == "IDLE"


def test_an_objective_of_the_other_direction_is_turned_round(tmp_path) -> None:
    told = []
    oracle = make_oracle(text("random"), objective="val_loss")
    assert oracle.objective.direction == "min"
    tell = oracle._method.tell
    oracle._method.tell = lambda result: (told.append(result.score), tell(result))  # type: ignore
    search = Stub(oracle, tmp_path, build)
    search.search(verbose=0)
    (best,) = search.get_best_hyperparameters(1)
    assert -max(told) == pytest.approx(value(best))


def test_names_are_short_or_dotted_and_dotted_where_two_are_the_same() -> None:
    source = text("random")
    short = make_oracle(source).hyperparameters.values
    dotted = make_oracle(source, names="dotted").hyperparameters.values
    assert {name.partition(".")[2] for name in dotted} == set(short)
    assert {"hidden_units", "dropout", "learning_rate", "epochs", "family"} == set(short)


def test_several_branches_and_mixed_options_arrive_as_they_were_written() -> None:
    oracle = make_oracle("""
    model: {choice: [{family: mlp, hidden_units: {choice: [8, 16]}},
                     {family: resnet, depth: {choice: [20, 32]}}]}
    training: {batch_size: {choice: [32, full]},
               schedule: {choice: [constant, {step: {at: [0.5], factor: 0.1}}]},
               beta_2: {min: 0.9, max: 0.999, scale: reverse_log}}
    search: {method: random, max_trials: 60}
    """)
    found = [oracle.populate_space(str(i))["values"] for i in range(60)]
    assert {one["batch_size"] for one in found} == {32, "full"}
    assert {str(one["schedule"]) for one in found} == {
        "constant",
        "{'step': {'at': [0.5], 'factor': 0.1}}",
    }
    assert all(0.9 <= one["beta_2"] <= 0.999 for one in found)
    assert all(("hidden_units" in one) == (one["family"] == "mlp") for one in found)
    assert all(("depth" in one) == (one["family"] == "resnet") for one in found)


def test_what_is_wrong_with_the_experiment_is_said_at_once() -> None:
    with pytest.raises(InputError, match="max_trials"):
        make_oracle("model: {family: mlp}\nsearch: {method: random}\n")
