"""A trial's key is what decides its outcome, all of it, and nothing else."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
import textwrap

import pytest

from tuner.experiment import parse_experiment

BASE = """
    model: {family: resnet, depth: 20, dropout: 0.2}
    training: {epochs: 3, learning_rate: 0.01, l2: 1e-4}
    data: {dataset: synthetic, augment: [crop, flip]}
"""
# Written by hand: if the key is another one some day, finished trials would run again.
CONTENT = (
    '{"backend":"tensorflow","data":{"augment":["crop","flip"],"dataset":"synthetic",'
    '"fingerprint":"synthetic:1"},"family":"resnet",'
    '"model":{"block":"basic","dropout":0.2,"shortcut":"identity"},'
    '"precision":"float32","seed":0,"training":{"epochs":3,"l2":0.0001,"learning_rate":0.01},'
    '"version":2}'
)
KNOWN_KEY = "b5af105d822f46460c3351746f70b9d1acd0bbbf525c74651c5c7d378bb11955"


def key(parse, text: str, overrides: tuple[str, ...] = (), index: int = 0, **where) -> str:
    experiment = parse(text, overrides)
    return experiment.trial(experiment.space[index], **where).key


def test_a_known_key_stays_what_it_is(parse) -> None:
    experiment = parse(BASE)
    trial = experiment.trial(experiment.space[0], 0, "synthetic:1")
    assert trial.key == KNOWN_KEY
    assert trial.key == hashlib.sha256(CONTENT.encode()).hexdigest()


@pytest.mark.parametrize(
    "override",
    [
        "training.l2={choice: [1e-4, 1]}", "training.epochs={min: 3, max: 5}",
        "training.epochs=0x3", "training.beta_1=0.9", "training.warmup_epochs=0",
        "training.shuffle=true", "training.class_weight=null",
        "training.watch=[gradients]", "model.shortcut=identity", "data.augment=[flip, crop]",
        "data.validation=5000", "data.normalize=true", "data.image_size=null",
        "description=another", "objective={metric: val_loss}",
        "search={method: random, max_trials: 1}", "search.replicates=3",
        "model.dropout={choice: [0.2, 0]}",
        "model={choice: [{depth: 20, dropout: 0.2, family: resnet}, {family: plain}]}",
        "name=other", "resources={cpu: 2, gpu: 0.5}",
    ],
)  # fmt: skip
def test_what_does_not_decide_the_outcome_does_not_change_the_key(parse, override) -> None:
    experiment = parse(BASE, [override])
    keys = {experiment.trial(point).key for point in experiment.space}
    assert key(parse, BASE) in keys


@pytest.mark.parametrize(
    "override",
    [
        "training.l2=1e-3", "training.epochs=4", "training.beta_1=0.8", "training.optimizer=sgd",
        "training.schedule=cosine", "training.batch_size=32", "model.depth=32", "model.dropout=0",
        "training.shuffle=false", "training.class_weight=balanced", "training.optimizer=rmsprop",
        "model.shortcut=projection", "data.augment=[flip]", "data.validation=500",
        "data.train_images=1000", "data.seed=1", "data.dataset=cifar10", "backend=jax",
        "precision=mixed_bfloat16", "search.seed=1",
    ],
)  # fmt: skip
def test_what_decides_the_outcome_changes_the_key(parse, override) -> None:
    assert key(parse, BASE, (override,)) != key(parse, BASE)


def test_replicate_and_data_decide_too_and_a_replicate_is_a_seed(parse) -> None:
    assert key(parse, BASE, replicate=1) != key(parse, BASE)
    assert key(parse, BASE, replicate=1) == key(parse, BASE, ("search.seed=1",), replicate=0)
    assert key(parse, BASE, data_fingerprint="a") != key(parse, BASE, data_fingerprint="b")


def test_a_last_batch_that_is_smaller_changes_the_key_and_one_that_is_not_does_not(parse) -> None:
    """Such batches were left out once; of all other trials the keys stay."""
    size = ("training.batch_size=100",)
    usual = key(parse, BASE, size)
    assert [key(parse, BASE, size, num_train_images=n) for n in (100, 1200)] == [usual] * 2
    partial = {key(parse, BASE, size, num_train_images=n) for n in (101, 199)}
    assert len(partial) == 1
    assert partial != {usual}
    full = ("training.batch_size=full",)
    assert key(parse, BASE, full, num_train_images=101) == key(parse, BASE, full)


def test_weights_of_classes_decide_however_they_are_written(parse) -> None:
    keys = [
        key(parse, BASE, (f"training.class_weight={weights}",))
        for weights in ("{0: 1, 1: 5}", "{1: 5.0, '0': 1}", "{0: 1, 1: {choice: [5, 6]}}", "null")
    ]
    assert len({*keys[:3]}) == 1
    assert keys[3] == key(parse, BASE) != keys[0]


def test_integers_and_floats_of_a_float_field_are_one_value(parse) -> None:
    one = key(parse, BASE, ("training.l2=1",))
    assert one == key(parse, BASE, ("training.l2=1.0",))
    assert one == key(parse, BASE, ("training.l2={choice: [1, 2]}",))
    assert one == key(parse, BASE, ("training.l2={min: 1, max: 2, step: 1}",))


def test_an_npz_file_is_known_by_its_content(parse) -> None:
    one, other = ("data.dataset=a/images.npz",), ("data.dataset=b/others.npz",)
    assert key(parse, BASE, one, data_fingerprint="x") == key(
        parse, BASE, other, data_fingerprint="x"
    )


def test_what_the_optimizer_does_not_use_decides_nothing(parse) -> None:
    both = BASE.replace("l2: 1e-4", "optimizer: {choice: [adam, sgd]}, momentum: %s")
    assert key(parse, both % "0.5", index=0) == key(parse, both % "0.7", index=0)
    assert key(parse, both % "0.5", index=1) != key(parse, both % "0.7", index=1)


def test_keys_are_the_same_in_another_process_with_another_hash_seed() -> None:
    program = """
        from tuner.experiment import parse_experiment
        experiment = parse_experiment("model: {family: densenet, dropout: {choice: [0, 0.1]}}", "x")
        trial = experiment.trial(experiment.space[1])
        print(trial.key, trial.structure.key)
    """
    printed = {
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(printed) == 1


def test_the_structure_is_what_shapes_the_graph(parse) -> None:
    def structure(*overrides: str, index: int = 0):
        experiment = parse(BASE, overrides)
        return experiment.trial(experiment.space[index]).structure

    assert structure().model["dropout"] is True
    for runtime in ("training.l2=0", "training.epochs=9", "model.dropout=0.3", "search.seed=4",
                    "training.schedule=cosine", "training.label_smoothing=0.1",
                    "training.class_weight=balanced", "training.shuffle=false"):  # fmt: skip
        assert structure(runtime) == structure()
        assert structure(runtime).key == structure().key
        assert hash(structure(runtime)) == hash(structure())
    for shape in ("model.depth=32", "training.batch_size=32", "training.optimizer=sgd",
                  "model.dropout=0", "backend=jax", "precision=mixed_bfloat16",
                  "data.augment=[flip]"):  # fmt: skip
        assert structure(shape).key != structure().key
    both = "model.dropout={choice: [0, 0.2]}"
    assert structure(both, index=0) == structure(both, index=1) == structure()


def test_what_is_watched_reaches_the_worker_and_neither_structure_nor_record(parse) -> None:
    watched, other = (parse(BASE, [f"training.watch={w}"]) for w in ("[gradients]", "[]"))
    trial, same = (each.trial(each.space[0]) for each in (watched, other))
    assert list(trial.configuration.training["watch"]) == ["gradients"]
    assert trial.structure.key == same.structure.key
    assert trial.configuration.flat() == same.configuration.flat()


def test_trials_travel_between_processes(parse) -> None:
    experiment = parse(BASE)
    trial = experiment.trial(experiment.space[0], 2, "f")
    copy = pickle.loads(pickle.dumps(trial))
    assert copy == trial
    assert copy.key == trial.key
    assert copy.seed == 2


def test_the_source_does_not_matter() -> None:
    text = textwrap.dedent(BASE)
    one, other = (parse_experiment(text, path) for path in ("a.yaml", "b/a.yaml"))
    assert one == other


def test_pixels_as_they_are_and_another_size_are_other_trials(parse, tmp_path) -> None:
    assert key(parse, BASE, ("data.normalize=false",)) != key(parse, BASE)
    (tmp_path / "pets").mkdir()
    folder = f"data.dataset={tmp_path}/pets"
    sized = {key(parse, BASE, (folder, f"data.image_size={n}")) for n in ("64", "[64, 64]")}
    assert len(sized) == 1
    assert sized != {key(parse, BASE, (folder,))}


def test_a_folder_is_known_by_its_content_and_not_by_its_path(parse, tmp_path) -> None:
    (tmp_path / "pets").mkdir()
    (tmp_path / "moved").mkdir()
    both = (f"data.dataset={tmp_path}/{name}" for name in ("pets", "moved"))
    assert len({key(parse, BASE, (name,), data_fingerprint="folder:1") for name in both}) == 1


def test_what_was_added_to_data_later_shows_only_where_it_was_changed(parse) -> None:
    def context(*overrides):
        experiment = parse(BASE, overrides)
        return experiment.trial(experiment.space[0]).context

    assert not {"data.normalize", "data.image_size"} & context().keys()
    assert context("data.normalize=false")["data.normalize"] is False
