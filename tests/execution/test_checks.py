"""The same images in every run and in every worker of an experiment."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tuner.data.config import DataConfig
from tuner.data.dataset import DatasetInfo
from tuner.errors import InputError, TunerError
from tuner.execution.checks import check_same_data, check_worker_data

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
