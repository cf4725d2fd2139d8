from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tuner.report import ensembling
from tuner.report.ensembling import ensemble_figures, mcnemar_p, paired_interval
from tuner.report.statistics import Interval, Verdict


def probabilities(classes, confidence=0.8):
    """Two classes; `confidence` in the one that is named."""
    rows = np.full((len(classes), 2), 1 - confidence)
    rows[np.arange(len(classes)), classes] = confidence
    return rows


def thirds(seed=0, num_images=300):
    """Three members, each wrong on a third of its own: two are always right."""
    labels = np.arange(num_images, dtype=np.int32) % 2
    members = []
    for n in range(3):
        wrong = np.arange(num_images) % 3 == n
        members.append((n + 1, {"model.depth": 8}, probabilities(labels ^ wrong)))
    return labels, members


def test_members_that_err_on_different_images_are_better_together() -> None:
    labels, members = thirds()
    found = ensemble_figures("x", labels, members)
    assert found.accuracy == 1.0
    assert [member.accuracy for member in found.members] == pytest.approx([2 / 3] * 3)
    assert [member.only_ensemble for member in found.members] == [100] * 3
    assert [member.verdict for member in found.members] == [Verdict.BETTER] * 3
    assert found.best.trial == 1
    assert found.loss < found.members[0].loss
    assert found.accuracies[0] == pytest.approx(2 / 3)
    assert found.accuracies[-1] == found.accuracy
    assert "is better than its best member, trial 1; +0.3333" in ensembling.conclusion(found)


def test_the_average_is_of_probabilities_and_not_of_votes() -> None:
    labels = np.zeros(1, np.int32)
    sure, unsure = probabilities([0], 0.99), probabilities([1], 0.6)
    found = ensemble_figures("x", labels, [(1, {}, sure), (2, {}, unsure), (3, {}, unsure)])
    assert found.accuracy == 1.0
    assert found.loss == pytest.approx(-math.log((0.99 + 0.4 + 0.4) / 3))


def test_equal_members_decide_nothing_and_a_bad_one_makes_it_worse() -> None:
    labels, members = thirds()
    equal = ensemble_figures("x", labels, [members[0], members[0]])
    assert equal.best.verdict is Verdict.UNDECIDABLE
    assert equal.best.difference.interval == Interval(0.0, 0.0, 0.0, 300)
    assert "not shown to be better" in ensembling.conclusion(equal)
    labels = np.zeros(100, np.int32)
    good, bad = probabilities(labels, 0.6), probabilities(1 - labels, 0.9)
    worse = ensemble_figures("x", labels, [(1, {}, good), (2, {}, bad)])
    assert worse.members[0].verdict is Verdict.WORSE
    assert "is worse than its best member" in ensembling.conclusion(worse)


@pytest.mark.parametrize(
    ("one", "other", "p"),
    [(0, 0, 1.0), (5, 5, 1.0), (6, 0, 2 / 2**6), (1, 9, 2 * (1 + 10) / 2**10)],
)
def test_mcnemar_is_exact(one: int, other: int, p: float) -> None:
    assert mcnemar_p(one, other) == pytest.approx(p)
    assert mcnemar_p(other, one) == pytest.approx(p)


def test_mcnemar_of_many_images_is_near_its_normal_form() -> None:
    z = (1100 - 900 - 1) / math.sqrt(2000)
    assert mcnemar_p(1100, 900) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.02)


def test_the_interval_is_that_of_the_paired_difference() -> None:
    found = paired_interval(300, 200, 5000)
    error = math.sqrt(500 - 100**2 / 5000) / 5000
    assert found.mean == pytest.approx(0.02)
    assert found.low == pytest.approx(0.02 - 1.96 * error, abs=3e-4)
    assert found.high == pytest.approx(0.02 + 1.96 * error, abs=3e-4)
    assert paired_interval(300, 200, 5000) == found


def test_json_and_table_have_every_member() -> None:
    labels, members = thirds()
    found = ensemble_figures("x", labels, members)
    document = json.loads(json.dumps(ensembling.to_json(found)))
    assert [member["trial"] for member in document["members"]] == [1, 2, 3]
    assert (document["best_member"], document["verdict"]) == (1, "better")
    table = ensembling.table(found)
    assert [row[0] for row in table.rows] == ["1", "2", "3", "all"]
