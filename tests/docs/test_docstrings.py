"""Docstrings become Markdown."""

from __future__ import annotations

from typing import Literal

from docs.docstrings import escape, parse
from docs.layers import type_in_words

DOCSTRING = """Adds things.

    They are added in this way:

        y = a * b

        z = a + b

    where b is *not* zero.

    Args:
        first, second: to be added; a text that
            goes on.
        mode: "x" or "y".

    Raises:
        ValueError: nothing to add.

    Returns:
        The sum: always.

    It is fast. Source: Huang et al. 2017,
    section 3.
    """


def test_prose_keeps_its_formulas_in_one_code_block():
    text = parse(DOCSTRING).text
    assert "```text\ny = a * b\n\nz = a + b\n```" in text
    assert text.startswith("Adds things.\n\nThey are added in this way:\n\n```")
    assert text.endswith("It is fast.")


def test_emphasis_is_escaped_in_prose():
    assert r"where b is \*not\* zero." in parse(DOCSTRING).text


def test_items_are_paired_with_their_texts():
    sections = parse(DOCSTRING).sections
    assert sections["Args"] == [
        ("first, second", "to be added; a text that goes on."),
        ("mode", '"x" or "y".'),
    ]
    assert sections["Raises"] == [("ValueError", "nothing to add.")]


def test_a_section_of_plain_text_has_no_names():
    assert parse("Gives.\n\nReturns:\n    A list of sums.").sections == {
        "Returns": [("", "A list of sums.")]
    }


def test_the_source_is_taken_out_of_the_prose():
    assert parse(DOCSTRING).source == "Huang et al. 2017, section 3."


def test_nothing_is_nothing():
    assert parse(None) == parse("")
    assert parse(None).text == ""


def test_code_is_not_escaped():
    assert escape("`a*b` and a*b < c <d>") == r"`a*b` and a\*b < c \<d>"


def test_types_in_words():
    assert type_in_words(int) == "int"
    assert type_in_words(float | None) == "float or None"
    assert type_in_words(Literal["a", "b"]) == '`"a"` or `"b"`'
    assert type_in_words(tuple[int, ...]) == "tuple[int, ...]"
