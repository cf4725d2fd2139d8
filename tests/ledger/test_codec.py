from __future__ import annotations

import math

import pytest

from tuner.ledger.codec import decode, encode


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"a": 1, "b": 1.0, "c": True, "d": None, "e": "NaN", "f": [1, [0.1, "ü"]]},
        {"a": math.inf, "b": [-math.inf, {"c": math.inf}]},
        {"a": 1e-320, "b": 2**80},
    ],
)
def test_what_goes_in_comes_out_with_its_types(value: object) -> None:
    found = decode(encode(value))
    assert found == value
    assert repr(found) == repr(value)


def test_nan_comes_back() -> None:
    assert math.isnan(decode(encode([math.nan]))[0])


def test_other_text_is_refused() -> None:
    with pytest.raises(ValueError):
        decode("{half")
