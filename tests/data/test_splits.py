from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tuner.data.splits import proportional_counts, size_problems, split, train_size
from tuner.errors import InputError

LABELS = np.repeat(np.arange(10, dtype=np.int32), 60)

classes = st.lists(st.integers(2, 40), min_size=2, max_size=8)
seeds = st.integers(0, 2**32)


@st.composite
def requests(draw):
    """(labels, validation, train_images, seed) that can be met."""
    sizes = draw(classes)
    labels = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    labels = labels[draw(st.permutations(range(len(labels))))]
    validation = draw(st.integers(len(sizes), len(labels) - len(sizes)))
    rest = len(labels) - validation
    return labels, validation, draw(st.none() | st.integers(len(sizes), rest)), draw(seeds)


@settings(deadline=None)
@given(requests())
def test_the_parts_are_apart_of_the_sizes_asked_for_with_every_class_and_always_the_same(request):
    labels, validation, train_images, seed = request
    parts = split(*request)
    together = np.concatenate([parts.train, parts.validation])
    assert len(np.unique(together)) == len(together)
    assert together.min() >= 0
    assert together.max() < len(labels)
    assert len(parts.validation) == validation
    assert len(parts.train) == train_size(validation, train_images, len(labels))
    assert split(labels.copy(), validation, train_images, seed).hash == parts.hash
    for indices in (parts.train, parts.validation):
        assert set(labels[indices]) == set(labels)


@settings(deadline=None)
@given(requests(), st.data())
def test_more_training_images_are_the_same_and_more(request, data):
    labels, validation, _, seed = request
    num_classes = labels.max() + 1
    many = data.draw(st.integers(num_classes, len(labels) - validation))
    few = data.draw(st.integers(num_classes, many))
    larger, smaller = (split(labels, validation, count, seed) for count in (many, few))
    assert set(smaller.train) <= set(larger.train)
    np.testing.assert_array_equal(smaller.validation, larger.validation)


@settings(deadline=None)
@given(classes, st.data())
def test_counts_are_the_quota_rounded_up_or_down(sizes, data):
    available = np.array(sizes)
    total = data.draw(st.integers(len(sizes), int(available.sum()) - len(sizes)))
    counts = proportional_counts(available, total)
    assert counts.sum() == total
    assert np.all((counts >= 1) & (counts < available))
    quota = total * available / available.sum()
    assume(np.all((quota >= 1) & (quota <= available - 1)))  # no class is at its limit
    assert np.all(np.abs(counts - quota) < 1)


def test_the_largest_remainders_get_what_does_not_divide():
    # quotas 3.0, 3.5, 3.5 of 10 from 20: the tie goes to the lower class
    np.testing.assert_array_equal(proportional_counts(np.array([6, 7, 7]), 10), [3, 4, 3])


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(10, 540))
def test_a_subset_of_equal_classes_is_equal_to_one_image(seed, train_images):
    counts = np.bincount(LABELS[split(LABELS, 60, train_images, seed).train], minlength=10)
    assert counts.max() - counts.min() <= 1


def test_another_seed_holds_out_other_images():
    one, other = (split(LABELS, 100, 200, seed) for seed in (0, 1))
    assert one.hash != other.hash
    assert set(one.validation) != set(other.validation)


def test_the_split_of_today_is_the_split_of_tomorrow():
    parts = split(LABELS, 0.1, 40, seed=7)
    assert parts.validation[:8].tolist() == [7, 25, 29, 36, 44, 54, 63, 72]
    assert parts.hash == "caf597d6302080482f0fca0756618153d754cbdc82b8648f900d53044d69aae0"


@pytest.mark.parametrize(
    ("validation", "train_images", "where"),
    [
        (9, None, "data.validation"),  # fewer than one of each class
        (0, None, "data.validation"),
        (0.01, None, "data.validation"),
        (591, None, "data.validation"),  # leaves less than one of each class
        (6000, None, "data.validation"),
        (0.99, None, "data.validation"),
        (100, 501, "data.train_images"),
        (100, 9, "data.train_images"),
    ],
)
def test_sizes_that_cannot_be_met_are_one_clear_error(validation, train_images, where):
    with pytest.raises(InputError) as caught:
        split(LABELS, validation, train_images, 0)
    (problem,) = caught.value.problems
    assert problem.where == where
    assert str(validation if where == "data.validation" else train_images) in problem.received
    assert problem.mend
    assert list(caught.value.problems) == size_problems(600, 10, validation, train_images)


def test_a_class_of_one_image_or_none_is_named():
    with pytest.raises(InputError, match="class 1: 1, class 2: 0"):
        split(np.array([0, 0, 0, 1, 3, 3], np.int32), 4, None, 0)
