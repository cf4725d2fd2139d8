"""Docstrings become Markdown."""

from __future__ import annotations

from docs.docstrings import escape, parse

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


def test_code_is_not_escaped():
    assert escape("`a*b` and a*b < c <d>") == r"`a*b` and a\*b < c \<d>"
