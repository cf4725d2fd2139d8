"""The little markup that texts get on the page; everything in them is escaped first."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

_KEY = re.compile(r"(\s*(?:- )*)([\w.-]+)(:)(?=\s|$)(.*)")


def commands(text: str) -> Markup:
    """What stands between backticks as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    code = Markup("<code>{}</code>")
    marked = (code.format(part) if i % 2 else escape(part) for i, part in enumerate(parts))
    return Markup("").join(marked)


def yaml(text: str) -> Markup:
    """An experiment with its keys, its comments and its open values told apart."""
    return Markup("\n").join(_line(line) for line in text.splitlines())


def _line(line: str) -> Markup:
    if line.lstrip().startswith("#"):
        return Markup('<span class="y-comment">{}</span>').format(line)
    found = _KEY.fullmatch(line)
    if not found:
        return escape(line)
    indent, key, colon, rest = found.groups()
    kind = "y-open" if key in ("choice", "min", "max", "scale", "count", "step") else "y-key"
    value = _value(rest)
    return Markup('{}<span class="{}">{}</span>{}{}').format(indent, kind, key, colon, value)


def _value(rest: str) -> Markup:
    opens = re.match(r"\s*\{\s*(choice|min|max)\s*:", rest)
    return Markup('<span class="y-open">{}</span>').format(rest) if opens else escape(rest)
