from __future__ import annotations

import re

import numpy as np
import pytest

from tuner.experiment.duration import PATTERN, duration_text, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("90m", 5400),
        ("2h", 7200),
        ("1h30m", 5400),
        ("12d", 1_036_800),
        ("1.5h", 5400),
        ("1d2h3m4.5s", 93784.5),
        ("0s", 0),
    ],
)
def test_a_duration_is_numbers_with_units(text, seconds):
    assert parse_duration(text) == seconds
    assert re.fullmatch(PATTERN, text)


@pytest.mark.parametrize(
    "text",
    ["", "2", "h", "1h30", "-1h", "1 h", "1e3s", "1.0368e+06s", "4w", "1h\n", "9" * 400 + "d"],
)
def test_anything_else_is_refused_with_examples(text):
    with pytest.raises(ValueError, match="is not a time; write 2h, 90m or 30s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(1_036_800.0, "12d"), (5400, "1h30m"), (90.5, "1m30.5s"), (0, "0s")]
)
def test_a_duration_is_written_with_its_largest_units(seconds, text):
    assert duration_text(seconds) == text


def test_what_is_written_is_read_as_the_same_number():
    generator = np.random.default_rng(0)
    drawn = [round(float(10**power), 9) for power in generator.uniform(-6, 12, 2000)]
    for seconds in [*drawn, *map(float, range(100_000, 101_000)), 0.1, 3600.1, 1e-7, 2.0**53]:
        assert parse_duration(duration_text(seconds)) == seconds
