from __future__ import annotations

import math

import pytest

from tuner.report import format


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.1235"), (0.0, "0.0000"), (None, "–"), (math.nan, "nan"), (math.inf, "inf"),
        (1e-5, "0.00001"), (-0.5, "-0.5000"), (12345.6, "12346"), (-5.5e-4, "-0.00055"),
        (5.4321e-5, "0.00005432"), (5.5e-7, "5.5e-7"), (1.5e9, "1.5e9"), (-3.21e-12, "-3.21e-12"),
    ],
)  # fmt: skip
def test_scores(value: float | None, text: str) -> None:
    assert format.score_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"), (True, "true"), (20, "20"), (1e-4, "0.0001"), (0.9995, "0.9995"),
        ([0.5, 1], "[0.5, 1]"), (["crop", "flip"], "[crop, flip]"), ([], "[]"),
        ("a\x1b[31mb", "a\ufffd[31mb"), (1 / 3, "0.33333"),
    ],
)  # fmt: skip
def test_values(value: object, text: str) -> None:
    assert format.value_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (999, "999"), (999.7, "1k"), (1000, "1k"), (272_474, "272k"), (999_960, "1M"),
        (1_740_000, "1.74M"), (40_600_000, "40.6M"), (86.4e12, "86.4T"), (None, "–"),
    ],
)  # fmt: skip
def test_counts(value: float | None, text: str) -> None:
    assert format.count_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.004, "0.00s"), (9.99, "9.99s"), (9.996, "10.0s"), (59.96, "1m 00s"), (185, "3m 05s"),
        (3599.6, "1h 00m"), (8040, "2h 14m"), (2 * 86400 + 3600, "2d 01h"), (None, "–"),
    ],
)  # fmt: skip
def test_seconds(value: float | None, text: str) -> None:
    assert format.seconds_text(value) == text


def test_names_are_shortened_only_where_that_is_unambiguous() -> None:
    names = ["model.depth", "training.depth", "training.learning_rate", "seed"]
    assert format.short_names(names) == {
        "model.depth": "model.depth",
        "training.depth": "training.depth",
        "training.learning_rate": "learning_rate",
        "seed": "seed",
    }


def test_the_number_of_a_class_is_no_name() -> None:
    names = ["training.class_weight.1", "training.epochs_to_wait"]
    assert format.short_names(names)[names[0]] == "class_weight.1"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("val_accuracy", "val_accuracy"), ("_x_", "\\_x\\_"), ("a|b*c", "a\\|b\\*c"),
        ("<script>", "\\<script>"), ("[a](b)", "\\[a](b)"), ("a\nb", "a\ufffdb"),
    ],
)  # fmt: skip
def test_markdown_stays_text(text: str, escaped: str) -> None:
    assert format.markdown_text(text) == escaped
