"""The same images in every run and in every worker of an experiment."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from tuner.data.config import DataConfig
from tuner.data.dataset import DatasetInfo
from tuner.errors import InputError, TunerError
from tuner.execution import checks
from tuner.execution.checks import (
    check_objective,
    check_same_data,
    check_worker_data,
    notes,
    recorded_fingerprint,
)
from tuner.experiment import parse_experiment
from tuner.models.own.input import NOT_ADAPTED, STANDARDIZING, UNKNOWN

CONFIG = DataConfig(dataset="mine.npz")
INFO = DatasetInfo((8, 8, 3), 5, 100, 0, "npz:sha256:aa")
OTHER = replace(INFO, fingerprint="npz:sha256:bb")
HASHES = {"dataset": INFO.fingerprint, "content": "cc", "split": "dd"}


def test_a_new_experiment_keeps_what_it_begins_with() -> None:
    assert check_same_data(None, CONFIG, INFO) == {"mine.npz": INFO.fingerprint}


def test_the_same_content_goes_on() -> None:
    record = check_same_data(None, CONFIG, INFO)
    assert check_same_data(record, CONFIG, INFO) == record


def test_a_file_that_was_replaced_is_refused_with_both_hashes() -> None:
    record = check_same_data(None, CONFIG, INFO)
    with pytest.raises(InputError, match="has changed since this experiment began") as caught:
        check_same_data(record, CONFIG, OTHER, where="x.yaml:2:3")
    (problem,) = caught.value.problems
    assert (problem.received, problem.expected) == (OTHER.fingerprint, INFO.fingerprint)
    assert problem.where == "x.yaml:2:3"
    assert "restore it, or give the experiment another name" in problem.mend


def test_an_edit_may_name_another_data_set_and_go_back() -> None:
    record = check_same_data(None, CONFIG, INFO)
    record = check_same_data(record, DataConfig(dataset="other.npz"), OTHER)
    assert record == {"mine.npz": INFO.fingerprint, "other.npz": OTHER.fingerprint}
    assert check_same_data(record, CONFIG, INFO) == record
    with pytest.raises(InputError):
        check_same_data(record, CONFIG, OTHER)


def test_workers_must_have_read_what_was_checked_and_what_the_first_has_read() -> None:
    check_worker_data(INFO, None, HASHES)
    check_worker_data(INFO, HASHES, dict(HASHES))
    with pytest.raises(TunerError, match="another dataset"):
        check_worker_data(OTHER, None, HASHES)
    with pytest.raises(TunerError, match="another content") as caught:
        check_worker_data(INFO, HASHES, HASHES | {"content": "ee"})
    assert "finished trials are kept" in str(caught.value)


def test_a_path_that_was_recorded_as_it_was_written_is_the_same_data_set() -> None:
    record = {"/a/four.npz": "1", "b/five.npz": "2", "six.npz": "3"}
    known = {
        "/a/four.npz": "1", "/x/b/five.npz": "2", "/x/six.npz": "3",
        "/b/four.npz": "", "/x/five.npz": "", "/x/7six.npz": "", "cifar10": "",
    }  # fmt: skip
    assert {name: recorded_fingerprint(record, name) for name in known} == known
    with pytest.raises(InputError, match="has changed"):
        check_same_data({"mine.npz": "old"}, DataConfig(dataset="/x/mine.npz"), INFO)


@pytest.mark.parametrize(
    ("rescales", "normalize", "told"),
    [
        ("", True, []),
        ("Rescaling", True, ["begins with Rescaling, and the images arrive normalized"]),
        ("Normalization, a division", True, ["begins with Normalization or a division"]),
        (NOT_ADAPTED, True, ["was not adapted changes nothing"]),
        (STANDARDIZING, True, []),
        (UNKNOWN, True, []),
        ("", False, ["gets pixels in 0..255, and nothing at its beginning"]),
        (NOT_ADAPTED, False, ["was not adapted changes nothing", "gets pixels in 0..255"]),
        ("Rescaling", False, []),
        (STANDARDIZING, False, []),
        (UNKNOWN, False, []),
    ],
)
def test_a_range_that_does_not_fit_the_network_is_noted(
    monkeypatch, rescales, normalize, told
) -> None:
    text = "model: {family: mlp}\ndata: {dataset: synthetic, normalize: %s}"
    experiment = parse_experiment(text % str(normalize).lower(), "x.yaml")
    declaration = SimpleNamespace(rescales=rescales, notes=())
    own = SimpleNamespace(name="mlp", declaration=declaration, notes=())
    monkeypatch.setattr(checks, "is_own", lambda family: True)
    monkeypatch.setattr(checks, "own_family", lambda family: own)
    said = [note for note in notes(experiment, 1, INFO) if note.startswith("mlp: ")]
    assert len(said) == len(told)
    assert all(words in note for words, note in zip(told, said, strict=True))


def test_a_network_of_ours_that_gets_pixels_as_they_are_is_noted() -> None:
    text = "model: {family: mlp}\ndata: {dataset: synthetic, normalize: false}"
    (said,) = notes(parse_experiment(text, "x.yaml"), 1, INFO)
    assert said.startswith("mlp: the network gets pixels in 0..255")


@pytest.mark.parametrize(("then", "now"), [("a", "a"), (None, "a")])
def test_networks_are_used_with_the_code_that_they_were_trained_with(monkeypatch, then, now):
    monkeypatch.setattr(checks, "family_of", lambda name: SimpleNamespace(fingerprint=now))
    context = {} if then is None else {"code": then}
    row = SimpleNamespace(number=3, context=context, configuration={"model.family": "nets:build"})
    checks.check_same_code([row])
    monkeypatch.setattr(checks, "family_of", lambda name: SimpleNamespace(fingerprint="other"))
    if then:
        with pytest.raises(InputError, match="nets:build has changed since trial 3 was trained"):
            checks.check_same_code([row])


def test_a_metric_that_is_one_for_every_network_is_no_objective() -> None:
    text = "model: {family: mlp}\nobjective: {metric: val_top5_accuracy}\n"
    experiment = parse_experiment(text, "x.yaml")
    with pytest.raises(InputError, match="is 1 for every network: there are 5 classes") as caught:
        check_objective(experiment, INFO)
    (problem,) = caught.value.problems
    assert problem.mend == "val_accuracy" and problem.where.startswith("x.yaml:2:")
    check_objective(experiment, replace(INFO, num_classes=6))
