"""Strict YAML 1.2 core: what values mean, what is refused, and where it stood."""

from __future__ import annotations

import pytest
import yaml as pyyaml
from hypothesis import given
from hypothesis import strategies as st

from tuner.errors import InputError
from tuner.experiment.yaml import read_yaml, resolve, write, write_document


def value(text: str) -> object:
    return read_yaml(f"a: {text}\n", "x.yaml").value["a"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-4", 1e-4), ("1e3", 1000.0), ("1.0e4", 10000.0), (".5", 0.5), ("5.", 5.0), ("+1", 1),
        ("-0.5", -0.5), ("012", 12), ("0o14", 12), ("0x1F", 31), ("12:30", "12:30"),
        ("1_000", "1_000"), ("2026-11-20", "2026-11-20"), ("null", None), ("~", None), ("", None),
        ("no", "no"), ("on", "on"), ("yes", "yes"), ("Off", "Off"), ("y", "y"), ("true", True),
        ("False", False), ("'1'", "1"), ('"null"', "null"), ("=", "="), ("[1, [a]]", [1, ["a"]]),
        ("{b: {c: 1}}", {"b": {"c": 1}}), ("<<", "<<"), ("0b1", "0b1"), ("1e-08", 1e-8),
    ],
)  # fmt: skip
def test_a_plain_word_means_what_yaml_1_2_core_says(text: str, expected: object) -> None:
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "words", "place"),
    [
        ("a: 1\nb: 2\na: 3\n", "a is written twice; first in line 1", "x.yaml:3:1"),
        ("a: &x 1\n", "anchor &x", "x.yaml:1:4"),
        ("a: 1\nb: *x\n", "alias *x", "x.yaml:2:4"),
        ("a: !!int 3\n", "tag tag:yaml.org,2002:int", "x.yaml:1:4"),
        ("a: !python/object:os.system {}\n", "tag !python", "x.yaml:1:4"),
        ("a: ! x\n", "tag !", "x.yaml:1:4"),
        ("a: 1\n---\nb: 1\n", "a second document", "x.yaml:2:1"),
        ("%YAML 1.1\n---\na: 1\n", "directive", "x.yaml:1:1"),
        ("a:\n  1.5: b\n", "the key 1.5 is no string", "x.yaml:2:3"),
        ("? [a]\n: b\n", "a key that is no string", "x.yaml:1:3"),
        ("? [a]\n: b\n? [c]\n: d\n", "a key that is no string", "x.yaml:1:3"),
        ("null: b\n", "the key null is no string", "x.yaml:1:1"),
        ("a: .nan\n", ".nan is not a finite number", "x.yaml:1:4"),
        ("a: -.Inf\n", "is not a finite number", "x.yaml:1:4"),
        ("a: 1e999\n", "too large", "x.yaml:1:4"),
        ("a: 9223372036854775808\n", "beyond 64 bits", "x.yaml:1:4"),
        ("a: " + "9" * 100_000, "beyond 64 bits", "x.yaml:1:4"),
        ("a: 1\nb: \x07\n", "control character", "x.yaml:2:4"),
        ('a: "\\u0000"\n', "control character", "x.yaml:1:4"),
        ('a: "\\ud800"\n', "control character", "x.yaml:1:4"),
        ('a: "\\UFFFFFFFF"\n', "not readable", "x.yaml:1"),
        ("a: [1, 2\n", "not readable", "x.yaml:2:1"),
        ("a:\n\t- 1\n", "not readable", "x.yaml:2:1"),
        ("a: b: c\n", "not readable", "x.yaml:1:5"),
        ("a: " + "[" * 60 + "]" * 60, "nested deeper than 50", "x.yaml:1"),
        ("[" * 100_000, "nested deeper than 50", "x.yaml:1"),
        ("{a: " * 60_000, "nested deeper than 50", "x.yaml:1"),
        ("a: 1\n" + "- " * 5_000, "not readable", "x.yaml:2"),
        ("a" * 1_000_001, "too long", "x.yaml"),
    ],
)
def test_what_would_mean_something_else_is_refused_with_its_place(
    text: str, words: str, place: str
) -> None:
    with pytest.raises(InputError) as caught:
        read_yaml(text, "x.yaml")
    first = caught.value.problems[0]
    assert words in first.what
    assert first.where.startswith(place)


def test_everything_that_does_not_stop_the_reading_is_reported_at_once() -> None:
    with pytest.raises(InputError) as caught:
        read_yaml("a: &x 1\nb: *x\nb: 2\nc: .nan\n", "x.yaml")
    assert len(caught.value.problems) == 4


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), max_size=8)
    | st.sampled_from(
        ["no", "1e3", "null", "~", "0o14", ".5", "a: b", "#", "-", "\u2028", "\ufeff"]
    )
    | st.sampled_from(["\x85", "\n", "\t", " a\n\n b ", "'", '"', "\\", "1.", "+1", ".inf"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abc:, #1", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(VALUES)
def test_what_is_written_reads_back_as_the_same_value(written: object) -> None:
    found = read_yaml(f"a: {write(written)}\n", "x.yaml").value["a"]
    assert found == written
    assert repr(found) == repr(written)


@given(st.dictionaries(st.text("ab:1", min_size=1, max_size=3), VALUES, max_size=4))
def test_a_document_reads_back_as_the_same_tree(tree: dict[str, object]) -> None:
    assert (read_yaml(write_document(tree), "x.yaml").value or {}) == tree


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_and_never_breaks_the_reader(text: str) -> None:
    try:
        read_yaml(text, "x.yaml")
    except InputError as error:
        assert error.problems


@given(st.from_regex(r"[-+]?[0-9]{1,8}", fullmatch=True))
def test_digits_are_decimal_integers_whatever_they_begin_with(text: str) -> None:
    assert resolve(text) == int(text, 10)


def test_pyyaml_itself_still_reads_these_otherwise() -> None:
    """The reason for a reader of our own; fails when it is no longer needed."""
    assert pyyaml.safe_load("[1e-4, 012, no]") == ["1e-4", 10, False]
