"""What a person's compile() and fit() bring to an experiment, and what it writes in their place."""

from __future__ import annotations

import json

import pytest

from tuner.data.dataset import DatasetInfo
from tuner.errors import InputError
from tuner.execution.checks import check_own, notes
from tuner.experiment import parse_experiment
from tuner.models.own import family as own
from tuner.models.own import server as own_server

NETS = "tests.models.own_fits"
INFO = DatasetInfo((8, 8, 3), 4, 100, 0, "f")


class _Here:
    """Answers in this process, which has Keras already."""

    def __init__(self, name: str, backend: str) -> None:
        self._name = name

    def ask(self, request):
        return json.loads(json.dumps(own_server._result(self._name, request)))


@pytest.fixture(autouse=True, scope="module")
def _in_this_process():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own, "OwnProcess", _Here)
        patch.setattr(own, "_KNOWN", {})
        yield


def experiment(name, *, model="", training="", search="method: grid"):
    text = f"model: {{family: '{NETS}:{name}'{model}}}\ntraining: {{{training}}}\n"
    told = parse_experiment(f"{text}search: {{{search}}}\n", "own.yaml")
    check_own(told)
    return told


def refusal(name, **sections) -> str:
    with pytest.raises(InputError) as caught:
        experiment(name, **sections)
    return str(caught.value)


RANDOM = "method: random, max_trials: 3"


def sizes(told):
    return sorted(configuration.training["batch_size"] for configuration in told.space)


# ---------------------------------------------------------------------- compile()


def test_an_optimizer_behind_a_choice_is_refused_with_its_value_and_line():
    told = refusal("optimizers")
    assert "own.yaml:1" in told
    assert "optimizer='lion'" in told
    assert "{choice: [adam, sgd]}" in told


def test_what_cannot_be_run_can_be_read():
    """Its trials of an earlier version are exported; a program of keras-tuner's trains itself."""
    assert parse_experiment(f"model: {{family: '{NETS}:Stops'}}", "own.yaml").space.size == 1


@pytest.mark.parametrize(
    "sections",
    [
        {"model": ", optimizer: {choice: [adam, sgd]}"},
        {"model": ", optimizer: sgd"},
        {"training": "optimizer: adam"},
    ],
)
def test_it_is_no_obstacle_where_no_trial_has_it(sections):
    assert len(experiment("optimizers", **sections).space) in (1, 2)


def test_a_written_value_that_cannot_be_had_is_refused_at_its_line():
    told = refusal("optimizers", model=",\n  optimizer: ftrl")
    assert "own.yaml:2" in told


def test_the_loss_is_needed_whatever_the_optimizer():
    assert "loss='mse'" in refusal("losses", training="optimizer: adam")
    fixed = ", loss: sparse_categorical_crossentropy"
    assert len(experiment("losses", model=fixed).space) == 1


def test_a_schedule_in_compile_is_no_obstacle_to_that_of_the_file():
    assert "decay=True" in refusal("schedule", search=RANDOM)
    told = experiment("schedule", training="optimizer: sgd, schedule: cosine")
    assert len(told.space) == 1
    assert any("lr, model.decay, model.decay_rate are left out" in n for n in notes(told, 1, INFO))


def test_a_loss_hands_its_smoothing_over():
    told = experiment("smoothed", search=RANDOM)
    assert told.space.names == ("training.label_smoothing",)
    told = experiment("smoothed", training="label_smoothing: 0.3")
    assert [c.training["label_smoothing"] for c in told.space] == [0.3]


# ---------------------------------------------------------------------- no effect


def test_what_changes_nothing_is_left_out_and_said():
    told = experiment("dead", search=RANDOM)
    assert "model.never" not in told.space.names
    assert any("model.never is left out" in note for note in notes(told, None, INFO))
    insisted = experiment("dead", model=", never: {choice: [1, 5]}", search=RANDOM)
    assert "model.never" in insisted.space.names


def test_what_compile_alone_reads_is_left_out_where_the_file_has_an_optimizer():
    told = experiment("dead", training="optimizer: adam", search=RANDOM)
    assert set(told.space.names) == {"model.rate", "model.drop"}
    (note,) = (note for note in notes(told, None, INFO) if "model.lr" in note)
    assert "training.optimizer of the file counts instead" in note


def test_opening_it_all_the_same_is_a_mistake():
    written = {"model": ", lr: {choice: [0.1, 0.2]}", "training": "optimizer: adam"}
    told = refusal("dead", **written, search=RANDOM)
    assert "model.lr: has no effect" in told
    written["training"] = "optimizer: {choice: [compiled, adam]}"
    assert experiment("dead", **written, search=RANDOM)


def test_closed_experiments_with_all_values_mean_the_same():
    told = experiment("dead", training="optimizer: adam", search=RANDOM)
    configuration = told.space.sample(_Half())
    closed = parse_experiment(told.closed(configuration.flat(), seed=0, suffix="-x"), "x.yaml")
    assert closed.trial(closed.space[0]).key == told.trial(configuration).key


class _Half:
    def random(self) -> float:
        return 0.5


# ---------------------------------------------------------------------- fit()


def test_what_fit_is_given_is_the_training_of_the_trial():
    told = experiment("Nested")
    assert sizes(told) == [8, 16, 64]
    assert set(told.space.names) == {"model.own_size", "training.batch_size"}
    keys = {told.trial(configuration).key for configuration in told.space}
    assert len(keys) == 3


def test_a_value_of_the_model_may_decide_one_of_the_training():
    told = experiment("OfBuild")
    assert [(c.model["size"], c.training["batch_size"]) for c in told.space] == [(8, 8), (16, 16)]
    assert told.space.names == ("model.size",)


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"model": ", size: 4, own_size: true"}, [4]),
        ({"model": ", size: {choice: [2, 4]}, own_size: true"}, [2, 4]),
        ({"training": "batch_size: 32"}, [32]),
        ({"training": "batch_size: {choice: [1, 2]}"}, [1, 2]),
    ],
)
def test_what_the_file_writes_counts(sections, expected):
    assert sizes(experiment("Nested", **sections)) == expected


def test_what_fit_gives_in_vain_is_said():
    said = "training.epochs of the file counts instead of what fit() gives"
    assert said in list(notes(experiment("Bound", training="epochs: 2"), None, INFO))
    assert said not in list(notes(experiment("Bound", training="epochs: 3"), None, INFO))
    told = list(notes(experiment("Bound", training="batch_size: 4"), None, INFO))
    assert told == [
        "model.batch is left out of the search: training.batch_size of the file counts instead"
    ]


def test_a_list_may_name_it_as_fit_does_or_as_training_does():
    search = "method: list, configurations: [{size: 8}, {training.batch_size: 5}]"
    assert sizes(experiment("Nested", model=", own_size: true", search=search)) == [5, 8]


def test_a_value_that_decides_may_be_opened_and_fixed_in_the_file():
    assert sizes(experiment("OfBuild", model=", size: {choice: [16, 8]}")) == [8, 16]
    assert sizes(experiment("OfBuild", model=", size: 16")) == [16]


def test_what_a_new_value_would_give_is_unknown():
    told = refusal("OfBuild", model=", size: {choice: [8, 9]}")
    assert "decides training.batch_size" in told
    assert "one of [8, 16]" in told


def test_what_fit_does_beside_is_refused_before_anything_runs():
    told = refusal("Stops")
    assert "own.yaml:1" in told
    assert "EarlyStopping" in told
    assert "batch_size" in refusal("Product")
    assert sizes(experiment("Product", training="batch_size: 4")) == [4]


def test_shuffling_and_class_weights_arrive():
    told = experiment("Bound")
    assert len(told.space) == 4
    assert {c.training["shuffle"] for c in told.space} == {False, True}
    weights = experiment("ByTable", model=", log_size: 3, epochs: 2")
    assert len({json.dumps(c.training["class_weight"]) for c in weights.space}) == 2
