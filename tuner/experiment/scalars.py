"""Scalars of the YAML 1.2 core schema: what a plain word means, and how a value is written."""

from __future__ import annotations

import json
import math
import re
from typing import Any

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_LARGEST = 2**63 - 1

# What a double-quoted scalar must escape beyond JSON: line breaks and signs YAML cannot hold.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def resolve(text: str) -> Any:
    """The value of a plain scalar.

    Raises ValueError for a number that cannot be held: not finite, or beyond 64 bits.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return _integer(text, 10)
    if _OCTAL.fullmatch(text):
        return _integer(text[2:], 8)
    if _HEXADECIMAL.fullmatch(text):
        return _integer(text[2:], 16)
    if _FLOAT.fullmatch(text):
        return _finite(float(text))
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("is not a finite number")
    return text


def write(value: Any) -> str:
    """A value in YAML's flow style; `resolve` and the reader give it back exactly."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{write(str(k))}: {write(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(write(item) for item in value) + "]"
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) and value not in _WORDS else _quote(value)
    return json.dumps(value)


def write_document(value: dict[str, Any]) -> str:
    """A mapping with one line per value, sections indented; one per mapping of a section's list."""
    lines: list[str] = []
    for name, section in value.items():
        if isinstance(section, dict) and section:
            lines.append(f"{write(name)}:")
            for key, item in section.items():
                lines += _lines(key, item)
        else:
            lines.append(f"{write(name)}: {write(section)}")
    return "\n".join(lines) + "\n"


def _lines(key: str, item: Any) -> list[str]:
    if isinstance(item, list) and item and all(isinstance(entry, dict) for entry in item):
        return [f"  {write(key)}:", *(f"    - {write(entry)}" for entry in item)]
    return [f"  {write(key)}: {write(item)}"]


def _integer(text: str, base: int) -> int:
    # A limit on digits first: int() is quadratic in them.
    if len(text) > 80 or abs(number := int(text, base)) > _LARGEST:
        raise ValueError("is beyond 64 bits")
    return number


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("is too large for a floating-point number")
    return number


def _quote(text: str) -> str:
    escaped = json.dumps(text, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", escaped)
