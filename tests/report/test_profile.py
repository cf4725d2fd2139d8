"""What a profile says: figures that add up, and advice only where they bear it."""

from __future__ import annotations

import pytest

from tuner.ledger.profile import RunProfile, WorkerProfile
from tuner.report import render
from tuner.report.profile import MAX_WORKERS, advice, profile_table, sentences


def profile_of(*workers: dict[str, float], scheduler=None, **facts) -> RunProfile:
    profiles = tuple(WorkerProfile(n, spent, **facts) for n, spent in enumerate(workers, start=1))
    own = {"preparing": 1.5, "ledger": 0.25, "wait": 8.0, "search": 0.001}
    return RunProfile("2026-01-02T03:04:05+00:00", "float32", scheduler or own, profiles)


ONE = {"import": 2.0, "train": 7.0, "evaluate": 0.9, "checkpoint": 0.1, "other": 0.001}


def test_one_worker_has_a_column_whose_lines_add_up():
    table = profile_table(profile_of(ONE))
    assert [column.title for column in table.columns] == ["", "seconds", "share", ""]
    *rows, together = table.texts()
    assert [row[:3] for row in rows] == [
        ["imports", "2.00", "20 %"],
        ["training", "7.00", "70 %"],
        ["evaluation", "0.90", "9 %"],
        ["checkpoints", "0.10", "1 %"],
    ]
    assert together[:3] == ["together", "10.00", "100 %"]


def test_several_workers_stand_beside_each_other_and_many_between_least_and_most():
    few = profile_table(profile_of({"train": 1.0, "wait": 3.0}, {"train": 4.0}))
    heads = [column.title for column in few.columns]
    assert heads == ["", "worker 1", "worker 2", "all", "share", ""]
    assert few.rows[0][:5] == ("training", 1.0, 4.0, 5.0, 5 / 8)
    many = profile_table(profile_of(*({"train": float(n)} for n in range(MAX_WORKERS + 1))))
    assert [column.title for column in many.columns][1:4] == ["all 5 workers", "least", "most"]
    assert many.rows[0][1:4] == (10.0, 0.0, 4.0)


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_it_fits_80_columns(count):
    spent = dict.fromkeys(("start", "import", "compile", "train", "wait"), 12345.678)
    text = render.to_text(profile_table(profile_of(*[spent] * count)), width=80)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "Not shown" not in text or count == 4  # then the bars go


def test_a_run_that_ended_before_any_worker_was_there_has_no_rows():
    assert profile_table(profile_of()).rows == ()


def test_speed_stands_beside_that_of_a_matrix_product():
    facts = {"training_flop": 14e9, "matrix_flops": 8e9}
    said = " ".join(sentences(profile_of(ONE, **facts)))
    assert "the worker computed 2 GFLOP/s" in said
    assert "a product of float32 matrices reached 8 GFLOP/s there (25 % of it)" in said
    # A machine that others use may be slower when the product is measured: that is no share.
    said = " ".join(sentences(profile_of(ONE, training_flop=14e9, matrix_flops=1e9)))
    assert "1 GFLOP/s there, while others used it: that is no limit." in said
    assert "computed" not in " ".join(sentences(profile_of(ONE)))


def test_the_schedulers_own_time_is_said_without_what_is_nothing():
    (said,) = sentences(profile_of(ONE))
    spent = "1.50s before the workers were started and 0.25s writing the ledger"
    assert said == f"The run took 9.75s, of which the scheduler spent {spent}."


@pytest.mark.parametrize(
    ("workers", "scheduler", "told"),
    [
        ([ONE], None, []),
        ([{"compile": 4, "trace": 2, "train": 4}], None, ["60 % of the time went into building"]),
        ([{"import": 3, "train": 7}], None, ["30 % of the time went into starting workers"]),
        ([{"evaluate": 3, "train": 7}], None, ["30 % of the time went into evaluation"]),
        ([{"checkpoint": 2, "train": 8}], None, ["20 % of the time went into checkpoints"]),
        ([{"wait": 4, "train": 6}], None, []),  # of a single worker nobody knows why
        ([{"wait": 4, "train": 6}], {"search": 3}, ["because the search was computing"]),
        ([{"wait": 4, "train": 6}], {"ledger": 3}, ["waited for the ledger"]),
        ([{"wait": 4, "train": 6}, {"train": 10}], None, ["20 % of the time workers had nothing"]),
        (
            [{"import": 3, "compile": 4, "train": 3}],
            None,
            ["40 % of the time went into building", "30 % of the time went into starting"],
        ),
    ],
)
def test_advice_is_given_where_the_figures_bear_it_the_largest_part_first(workers, scheduler, told):
    found = list(advice(profile_of(*workers, scheduler=scheduler, programs=12)))
    assert len(found) == len(told)
    assert all(part in text for part, text in zip(told, found, strict=True))


def test_programs_are_counted_over_all_workers():
    spent = {"compile": 6.0, "train": 4.0}
    (said,) = advice(profile_of(spent, spent, programs=6))
    assert "compiling 12 programs, one for each structure and worker: fewer values" in said
    (said,) = advice(profile_of(spent, programs=1))
    assert "compiling 1 program, one for each structure: more trials" in said
