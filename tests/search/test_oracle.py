"""Every search method in ordinary keras-tuner programs; run_trial returns a number."""

from __future__ import annotations

import json
from typing import Any

import keras_tuner
import numpy as np
import pytest

from tests.search.own_program import Loadable
from tuner.errors import InputError
from tuner.experiment import parse_experiment
from tuner.experiment.domain import Choice, Range
from tuner.search import METHODS, make_method
from tuner.search.entries import domain_of
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


def test_hyperband_tells_of_every_trial_what_keras_tuners_own_does(tmp_path) -> None:
    search = Stub(make_oracle(text("hyperband")), tmp_path, build)
    search.search(verbose=0)
    trials = search.oracle.trials
    parts = [one.hyperparameters.values for one in trials.values()]
    told = ("tuner/bracket", "tuner/round", "tuner/initial_epoch", "tuner/epochs")
    # s = 2: 9 for 1 epoch, 3 for 3, 1 for 9; then s = 1, cut short at 5 of 14 configurations.
    assert {tuple(part[name] for name in told) for part in parts} == {
        *((2, 0, 0, 1), (2, 1, 1, 3), (2, 2, 3, 9), (1, 0, 0, 3), (1, 1, 3, 9)),
    }
    for part in parts:
        assert ("tuner/trial_id" in part) == (part["tuner/round"] > 0)
        if part["tuner/round"]:
            before = trials[part["tuner/trial_id"]].hyperparameters.values
            assert core(before) == core(part)
            assert before["tuner/epochs"] == part["tuner/initial_epoch"]


def test_a_bracket_that_trains_whole_says_so_too() -> None:
    oracle = make_oracle(
        text("hyperband")
        .replace("epochs: 9", "epochs: 2, batch_size: 8")
        .replace("seed: 3", "seed: 3, reduction: 2")
    )
    oracle._method._brackets = []  # type: ignore[attr-defined]
    oracle._method._num_brackets = 1  # type: ignore[attr-defined]
    values = values_of(oracle)
    told = {name: value for name, value in values.items() if name.startswith("tuner/")}
    names = ("epochs", "initial_epoch", "bracket", "round")
    assert told == dict(zip((f"tuner/{name}" for name in names), (2, 0, 0, 0), strict=True))


@pytest.mark.parametrize("method", METHODS)
def test_the_trials_that_remain_are_counted(tmp_path, method) -> None:
    class Counting(Stub):
        def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> Any:
            remaining.append(self.remaining_trials)
            return super().run_trial(trial)

    remaining: list[int | None] = []
    search = Counting(make_oracle(text(method)), tmp_path, build)
    search.search(verbose=0)
    assert remaining == list(range(len(remaining)))[::-1]
    assert search.remaining_trials == 0


# ---------------------------------------------------------------------- new entries


class Late(Stub):
    """Declares two of its hyperparameters where it trains, one of them under a condition."""

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> Any:
        hp = trial.hyperparameters
        size = hp.Choice("size", ["small", "large"])
        with hp.conditional_scope("size", ["large"]):
            margin = hp.Int("margin", 1, 3)
        assert (margin is None) == (size == "small")
        return super().run_trial(trial)


@pytest.mark.parametrize("method", [method for method in METHODS if method != "list"])
def test_what_is_declared_late_is_searched(tmp_path, method) -> None:
    source = text(method)
    if method == "grid":  # all of it
        source = source.replace("max_trials: 14", "max_trials: 32").replace("[16, 32, 64]", "[16]")
    search = Late(make_oracle(source, tune_new_entries=True), tmp_path, lambda hp: None)
    search.search(verbose=0)
    late = {(values.get("size"), values.get("margin")) for values in search.given}
    assert late > {("small", None), ("large", 1)}
    mine = [{n: v for n, v in values.items() if "tuner/" not in n} for values in search.given]
    configurations = {json.dumps(values, sort_keys=True) for values in mine}
    most = parse_experiment(source, "x.yaml").search.max_trials
    if method == "hyperband":  # What was drawn before the entries were known may be drawn again.
        assert most - 1 <= len(configurations) <= most
    else:
        assert len(configurations) == most
        assert len(search.given) == most == len(search.oracle.trials)
    assert search.remaining_trials == 0
    for values in mine:
        assert ("margin" in values) == (values.get("size") == "large")


@pytest.mark.parametrize("method", ["sobol", "bayesian", "hyperband"])
def test_a_search_of_late_entries_goes_on_after_a_cut(tmp_path, dice, method) -> None:
    whole = Late(make_oracle(text(method), tune_new_entries=True), tmp_path / "whole", lambda hp: 0)
    whole.search(verbose=0)
    new = make_oracle(text(method), tune_new_entries=True)
    cut = Late(new, tmp_path / "cut", lambda hp: 0, stop_after=4)
    with pytest.raises(KeyboardInterrupt):
        cut.search(verbose=0)
    again = Late(make_oracle(text(method), tune_new_entries=True), tmp_path / "cut", lambda hp: 0)
    again.search(verbose=0)
    assert core_of(cut.given + again.given) == core_of(whole.given)


def core_of(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{n: v for n, v in values.items() if n != "tuner/trial_id"} for values in given]


def test_new_entries_are_refused_or_keep_their_default(tmp_path) -> None:
    search = Late(make_oracle(text("random")), tmp_path / "default", lambda hp: None)
    search.search(verbose=0)
    assert {values["size"] for values in search.given} == {"small"}
    strict = make_oracle(text("random"), allow_new_entries=False)
    with pytest.raises(RuntimeError, match="allow_new_entries"):
        Late(strict, tmp_path / "strict", build)
    with pytest.raises(InputError, match="list have every value"):
        make_oracle(LIST, tune_new_entries=True)
    oracle = make_oracle(text("grid"), tune_new_entries=True)
    endless = Stub(oracle, tmp_path / "endless", lambda hp: hp.Float("momentum", 0.1, 0.9))
    with pytest.raises(InputError, match=r"model\.momentum: a range without step"):
        endless.search(verbose=0)


def test_an_entry_is_searched_on_its_own_scale() -> None:
    hp = keras_tuner.HyperParameters()
    hp.Fixed("fixed", 3)
    hp.Boolean("flag")
    hp.Int("few", 1, 9, step=4)
    hp.Int("log", 1, 100, sampling="log")
    hp.Float("step", 0.0, 0.5, step=0.25)
    hp.Float("mirrored", 1.0, 9.0, sampling="reverse_log")
    hp.Float("one", 0.5, 0.5)
    assert [domain_of(entry) for entry in hp.space] == [
        *(Choice((3,)), Choice((False, True)), Choice((1, 5, 9))),
        Range(1, 100, "log", integer=True),
        *(Choice((0.0, 0.25, 0.5)), Range(1.0, 9.0), Choice((0.5,))),
    ]


# ---------------------------------------------------------------------- what people read


def test_summaries_show_what_is_searched(tmp_path, capsys) -> None:
    oracle = make_oracle("""
    model: {choice: [{family: mlp, hidden_units: {choice: [8, 16]}},
                     {family: resnet, depth: {choice: [20, 32]}}]}
    training: {epochs: 3, batch_size: {choice: [32, full]},
               beta_2: {min: 0.9, max: 0.999, scale: reverse_log}}
    search: {method: random, max_trials: 3}
    """)
    search = Stub(oracle, tmp_path, lambda hp: hp.get("epochs") and hp.Choice("family", ["x"]))
    search.run_trial = lambda trial, **options: 1.0  # type: ignore[method-assign]
    search.search_space_summary()
    summary = capsys.readouterr().out
    for told in ("size: 5", "family (Choice)", "['mlp', 'resnet']", "['32', 'full']", "beta_2 (Fl"):
        assert told in summary
    (depth,) = [entry for entry in oracle.get_space().space if entry.name == "depth"]
    assert [(c.name, c.values) for c in depth.conditions] == [("family", ["resnet"])]
    search.search(verbose=1)
    search.results_summary()
    summary = capsys.readouterr().out.partition("Results summary")[2]
    assert summary.count("epochs: 3") == 3 and "tuner/" not in summary


def test_a_failed_trial_is_tried_again_as_often_as_was_asked(tmp_path) -> None:
    class Failing(Stub):
        def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> Any:
            tries[trial.trial_id] = tries.get(trial.trial_id, 0) + 1
            if trial.trial_id.endswith("1") and tries[trial.trial_id] < 3:
                raise ValueError("a full disk")
            return super().run_trial(trial)

    tries: dict[str, int] = {}
    oracle = make_oracle(text("random"), max_retries_per_trial=2)
    search = Failing(oracle, tmp_path, build)
    search.search(verbose=0)
    assert sorted(tries.values()) == [1] * 12 + [3] * 2
    assert {trial.status for trial in oracle.trials.values()} == {"COMPLETED"}


# ---------------------------------------------------------------------- a real program


@pytest.mark.usefixtures("forked_workers")
def test_a_whole_program_of_a_function_is_tuned(tmp_path) -> None:
    """`optimizer` is its own, `batch_size` is declared in fit, and epochs are Hyperband's."""
    pytest.importorskip("tensorboard")  # keras-tuner imports it on TensorFlow

    class Search(keras_tuner.Hyperband):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            keras_tuner.Tuner.__init__(self, *args, **kwargs)

    program = Loadable()
    oracle = make_oracle("""
    model: {family: "tests.search.own_program:Program"}
    training: {epochs: 3}
    search: {method: hyperband, max_trials: 5, seed: 1}
    """)
    search = Search(oracle, program, directory=str(tmp_path), project_name="p")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 4, 4, 1)).astype("float32"), rng.integers(0, 3, 24)
    search.search(x, y, validation_data=(x, y), verbose=0)
    for trained in program.trained:
        expected = range(trained["tuner/initial_epoch"], trained["tuner/epochs"])
        assert trained["trained"] == list(expected)
        assert not {"family", "epochs"} & trained.keys()
    assert {trained["optimizer"] for trained in program.trained} == {"adam", "sgd"}
    assert {trained["batch_size"] for trained in program.trained} == {8, 16}
    assert {trained["tuner/epochs"] for trained in program.trained} == {1, 3}
    (best,) = search.get_best_hyperparameters(1)
    assert best.get("optimizer") in ("adam", "sgd") and best.get("epochs") == 3
    (model,) = search.get_best_models(1)
    assert model.predict(x, verbose=0).shape == (24, 3)


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


def values_of(oracle: MethodOracle) -> dict[str, Any]:
    return oracle.populate_space("0")["values"]


def test_a_trial_has_what_is_open_and_what_is_asked_for(tmp_path) -> None:
    source = text("random")
    assert set(values_of(make_oracle(source))) == {"hidden_units", "dropout", "learning_rate"}
    search = Stub(make_oracle(source), tmp_path, build)  # asks for epochs
    search.search(verbose=0)
    assert all("epochs" in values and "family" not in values for values in search.given)
    (best,) = search.get_best_hyperparameters(1)
    assert (best.get("family"), "epochs" in best, "beta_1" in best) == ("mlp", True, False)
    again = Stub(make_oracle(source), tmp_path, build)
    (best,) = again.get_best_hyperparameters(1)
    assert best.get("family") == "mlp"


def test_closing_a_value_leaves_build_as_it_is(tmp_path) -> None:
    source = text("random").replace("{min: 1e-4, max: 1e-1, scale: log, count: 4}", "0.25")
    for names, name in [("short", "learning_rate"), ("dotted", "training.learning_rate")]:
        oracle = make_oracle(source, names=names)  # type: ignore[arg-type]
        oracle._set_project_dir(str(tmp_path), names)
        hp = oracle.create_trial("tuner0").hyperparameters
        assert name not in hp.values
        assert (hp.get(name), hp[name], hp.Float(name, 0.5, 0.9)) == (0.25, 0.25, 0.25)
        with hp.conditional_scope(name, [0.1]):
            assert hp.Float("only_then", 0.0, 1.0) is None
        with pytest.raises(KeyError):
            hp.get("beta_1")  # nobody wrote it


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
    assert set(found[0]) <= {"family", "hidden_units", "depth", "batch_size", "schedule", "beta_2"}
    assert all(("hidden_units" in one) == (one["family"] == "mlp") for one in found)
    assert all(("depth" in one) == (one["family"] == "resnet") for one in found)


def test_what_is_wrong_with_the_experiment_is_said_at_once() -> None:
    with pytest.raises(InputError, match="max_trials"):
        make_oracle("model: {family: mlp}\nsearch: {method: random}\n")


def test_it_gives_out_what_a_person_picked_first() -> None:
    oracle = make_oracle(
        "model: {family: mlp, hidden_units: {choice: [4, 8]}}\n"
        "training: {learning_rate: {choice: [0.1, 0.01]}}\n"
        "search: {method: random, max_trials: 4, start: [{hidden_units: 8, learning_rate: 0.01}]}\n"
    )
    first = oracle.populate_space("0")["values"]
    assert first == {"hidden_units": 8, "learning_rate": 0.01}


def test_sizes_are_of_the_networks_that_the_experiment_describes() -> None:
    """16, 32 and 64 units on CIFAR-100's images have 50.9k, 101.6k and 203.1k parameters."""
    source = text("random").replace("seed: 3", 'seed: 3, constraints: ["parameters < 0.15e6"]')
    oracle = make_oracle(source)
    units = [oracle.populate_space(f"t{n}")["values"].get("hidden_units") for n in range(14)]
    assert set(units) == {16, 32}
