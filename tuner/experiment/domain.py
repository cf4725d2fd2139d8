"""Open values: what `{choice: …}` and `{min: …, max: …}` stand for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any, Literal

from tuner.errors import Problem, nearest
from tuner.experiment.document import mend_name
from tuner.experiment.trial import canonical
from tuner.experiment.yaml import to_text

Scale = Literal["linear", "log", "reverse_log"]

SCALES: tuple[Scale, ...] = ("linear", "log", "reverse_log")
MAX_POINTS = 10_000
"""Most points that one stepped or counted range may have."""

_MOST_INTEGERS = 2**63 - 2  # Python's ranges have a length of at most 2**63 - 1
_RANGE_KEYS = ("min", "max", "scale", "count", "step")
OPEN_WORDS = ("choice", *_RANGE_KEYS)
"""The words with which an open value is written."""
# Digits that a drawn or interpolated value keeps, so that it reads well and does not depend on
# the last bit of a platform's exp().
_DRAWN_DIGITS = 8
_POINT_DIGITS = 12
_EXACT = Context(prec=40)  # one less a drawn value, where that is not 1 anyway


@dataclass(frozen=True)
class Choice:
    """One of the options, in the order in which they were written."""

    options: tuple[Any, ...]

    @property
    def is_finite(self) -> bool:
        """Always."""
        return True

    def points(self) -> Sequence[Any]:
        """The options."""
        return self.options

    def sample(self, u: float) -> Any:
        """The option at `u` of [0, 1); all are equally likely."""
        return self.options[int(u * len(self.options))]

    def values(self, most: int) -> Sequence[Any]:
        """The options; none if there are more than `most`."""
        return self.options if len(self.options) <= most else ()

    def share(self, value: Any) -> float:
        """How likely `sample` gives this option."""
        del value
        return 1 / len(self.options)

    def contains(self, value: Any) -> bool:
        """Whether the value is one of the options."""
        return any(same(value, option) for option in self.options)


@dataclass(frozen=True)
class Range:
    """Numbers from `minimum` to `maximum`.

    `scale` spaces them evenly in x (linear), in log x (log), or in log(1 - x) (reverse_log).
    `count` makes so many points, `step` one every so far (linear only); without either, integers
    on a linear scale are all points and everything else is a continuum. Both ends are always
    points, exactly as written, even if `step` does not divide the range. Integer points are
    rounded and those that coincide are kept once.
    """

    minimum: int | float
    maximum: int | float
    scale: Scale = "linear"
    count: int | None = None
    step: int | float | None = None
    integer: bool = False

    @property
    def is_finite(self) -> bool:
        """Whether the range has points that can be listed."""
        return bool(self.count or self.step or (self.integer and self.scale == "linear"))

    def points(self) -> Sequence[Any]:
        """The points in rising order.

        Raises ValueError for a continuum.
        """
        if not self.is_finite:
            raise ValueError("a range without count or step has no points")
        return _points(self)

    def listed(self) -> Sequence[Any]:
        """The points of a finite range, worked out anew."""
        if self.count is None and self.integer and isinstance(step := self.step or 1, int):
            low, high = int(self.minimum), int(self.maximum)
            whole = (high - low) % step == 0
            return range(low, high + 1, step) if whole else (*range(low, high, step), high)
        inner = self._counted(self.count) if self.count else self._stepped()
        first, last = (self._close(Fraction(end)) for end in (self.minimum, self.maximum))
        rounded = (self._close(value) for value in inner)
        return tuple(dict.fromkeys([first, *(x for x in rounded if first < x < last), last]))

    def _stepped(self) -> list[Fraction]:
        low, high, step = (exact(x) for x in (self.minimum, self.maximum, self.step or 1))
        return [low + k * step for k in range(1, math.ceil((high - low) / step))]

    def _counted(self, count: int) -> list[Fraction]:
        low, high = exact(self.minimum), exact(self.maximum)
        shares = [Fraction(k, count - 1) for k in range(1, count - 1)]
        if self.scale == "linear":
            return [low + (high - low) * share for share in shares]
        return [self._at(float(share), _POINT_DIGITS) for share in shares]

    def _close(self, value: Fraction) -> int | float:
        return round(value) if self.integer else float(value)

    def sample(self, u: float) -> Any:
        """The value at `u` of [0, 1), evenly spread on the scale; a point if there are points."""
        if self.is_finite:
            return self.points()[int(u * len(self.points()))]
        drawn = self._drawn_integer(u) if self.integer else self._drawn(u)
        inside = min(max(drawn, self.minimum), self.maximum)
        return round(inside) if self.integer else float(inside)

    def place(self, value: float) -> float:
        """Where a value of a continuum lies on the scale: the u at which `sample` gives it."""
        if self.scale == "linear":
            return (value - self.minimum) / (self.maximum - self.minimum)
        if self.integer:
            low, high = math.log(self.minimum - 0.5), math.log(self.maximum + 0.5)
            return (math.log(value) - low) / (high - low)
        low, high = self._logarithms
        place = math.log(1 - exact(value) if self.scale == "reverse_log" else value)
        return min(max((place - low) / (high - low), 0.0), 1.0)

    def _drawn_integer(self, u: float) -> int:
        """Every integer has the share of the scale from half below it to half above it."""
        low, high = math.log(self.minimum - 0.5), math.log(self.maximum + 0.5)
        return round(math.exp(low + (high - low) * u))

    def _drawn(self, u: float) -> float:
        if self.scale != "linear":
            text = self._written(u, _DRAWN_DIGITS)
            return float(_EXACT.subtract(1, Decimal(text)) if self.scale == "reverse_log" else text)
        span = float(self.maximum) - float(self.minimum)
        decimals = _DRAWN_DIGITS - math.floor(math.log10(span))
        return round(float(self.minimum) + span * u, decimals)

    def _at(self, share: float, digits: int) -> Fraction:
        """The value at a share of a logarithmic scale, rounded to so many significant digits."""
        written = Fraction(self._written(share, digits))
        return 1 - written if self.scale == "reverse_log" else written

    def _written(self, share: float, digits: int) -> str:
        """The value at a share of a logarithmic scale, or what it lacks to 1."""
        low, high = self._logarithms
        return f"{math.exp(low + (high - low) * share):.{digits - 1}e}"

    @cached_property
    def _logarithms(self) -> tuple[float, float]:
        """Of both ends, or of what they lack to 1."""
        ends = (exact(self.minimum), exact(self.maximum))
        low, high = (1 - end if self.scale == "reverse_log" else end for end in ends)
        return math.log(low), math.log(high)

    def values(self, most: int) -> Sequence[Any]:
        """All that it can be; nothing for a continuum, or if there are more than `most`."""
        if self.is_finite:
            values = self.points()
        else:
            values = range(int(self.minimum), int(self.maximum) + 1) if self.integer else ()
        return values if len(values) <= most else ()

    def share(self, value: Any) -> float:
        """How likely `sample` gives this one of its `values`."""
        if self.is_finite:
            return 1 / len(self.points())
        span = math.log(self.maximum + 0.5) - math.log(self.minimum - 0.5)
        return (math.log(value + 0.5) - math.log(value - 0.5)) / span

    def contains(self, value: Any) -> bool:
        """Whether the value can be proposed."""
        if isinstance(value, bool) or not isinstance(value, int if self.integer else int | float):
            return False
        if not self.minimum <= value <= self.maximum:
            return False
        return not self.is_finite or value in self.points()


Domain = Choice | Range


@lru_cache(maxsize=64)
def _points(domain: Range) -> Sequence[Any]:
    """A range may stand in a thousand branches."""
    return domain.listed()


def exact(number: int | float) -> Fraction:
    """The number as it is written: 0.1 is one tenth."""
    return Fraction(repr(number))


def same(one: Any, other: Any) -> bool:
    """Equal and of one kind: 1 is not true, but 1 is 1.0."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def identity(value: Any) -> Any:
    """What can be hashed, and is equal for values that are the same."""
    if isinstance(value, list | tuple):
        return tuple(identity(item) for item in value)
    return canonical(value) if isinstance(value, Mapping) else (isinstance(value, bool), value)


def is_open(node: Any) -> bool:
    """Whether a value of the file is an open one."""
    return isinstance(node, Mapping) and not {"choice", "min", "max"}.isdisjoint(node)


def parse_range(node: Mapping[str, Any], integer: bool | None) -> Range | Problem:
    """The range that was written, or what is wrong with it.

    `integer` says whether the field holds integers; None leaves it to the ends.
    """
    return _range_problem(node) or _range(node, integer)


def _range(node: Mapping[str, Any], integer: bool | None) -> Range | Problem:
    ends = (node["min"], node["max"], node.get("step") or 0)
    whole = all(isinstance(end, int) for end in ends)
    parsed = Range(
        minimum=node["min"],
        maximum=node["max"],
        scale=node.get("scale", "linear"),
        count=node.get("count"),
        step=node.get("step"),
        integer=whole and integer is not False,
    )
    size = (exact(parsed.maximum) - exact(parsed.minimum)) / exact(parsed.step or 1)
    if whole and size > _MOST_INTEGERS:
        return Problem("has more integers than can be counted", "", to_text(node), "64 bits")
    if parsed.step and size > MAX_POINTS:
        many = f"{math.floor(size) + 1:,}" if size < 10**15 else "more than 10^15"
        expected, mend = f"at most {MAX_POINTS:,}", "a larger step, or count"
        return Problem(f"has {many} points", "", to_text(node), expected, mend)
    return parsed


def _range_problem(node: Mapping[str, Any]) -> Problem | None:
    for key in node:
        if key not in _RANGE_KEYS:
            expected, mend = ", ".join(_RANGE_KEYS), mend_name(key, _RANGE_KEYS)
            return Problem(f"unknown key {key}", received=key, expected=expected, mend=mend)
    for key in ("min", "max"):
        if key not in node:
            return Problem(f"has no {key}", received=to_text(node), expected="{min: a, max: b}")
    for key in ("min", "max", "step"):
        if not _is_number(node[key]) if key in node else False:
            return Problem(f"{key} is no number", received=to_text(node[key]), expected="a number")
    return _ends_problem(node) or _spacing_problem(node)


def _ends_problem(node: Mapping[str, Any]) -> Problem | None:
    low, high, scale = node["min"], node["max"], node.get("scale", "linear")
    received = f"min: {to_text(low)}, max: {to_text(high)}"
    if low > high:
        return Problem("min is above max", received=received, mend="exchange min and max")
    if low == high:
        return Problem("min equals max", received=received, mend=f"write {to_text(low)} alone")
    if not math.isfinite(float(high) - float(low)):
        return Problem("the range is too wide for numbers of 64 bits", received=received)
    if scale not in SCALES:
        near = nearest(str(scale), SCALES) or ""
        expected = ", ".join(SCALES)
        return Problem("unknown scale", received=to_text(scale), expected=expected, mend=near)
    if scale == "log" and low <= 0:
        return Problem("a log scale reaches 0 or below", received=received, expected="min above 0")
    if scale == "reverse_log" and high >= 1:
        what = "a reverse_log scale (log in 1 - x) reaches 1"
        return Problem(what, received=received, expected="max below 1")
    return None


def _spacing_problem(node: Mapping[str, Any]) -> Problem | None:
    count, step, scale = node.get("count"), node.get("step"), node.get("scale", "linear")
    if "count" in node and "step" in node:
        return Problem("has both count and step", received=to_text(node), mend="keep one of them")
    if "count" in node and (isinstance(count, bool) or not isinstance(count, int) or count < 2):
        expected = "an integer, at least 2: both ends are points"
        return Problem("count is too small", received=to_text(count), expected=expected)
    if count and count > MAX_POINTS:
        expected = f"at most {MAX_POINTS:,}"
        return Problem("count is too large", received=to_text(count), expected=expected)
    if step is not None and step <= 0:
        return Problem("step is not above 0", received=to_text(step), expected="a step above 0")
    if step is not None and scale != "linear":
        return Problem(f"step with scale: {scale}", expected="step on a linear scale", mend="count")
    return None


def choice_problem(node: Mapping[str, Any]) -> Problem | None:
    """What is wrong with a `{choice: …}` itself, whatever its options are."""
    options = node["choice"]
    for key in node:
        if key in ("count", "step", "min", "max", "scale"):
            what = f"{key} does not go with choice"
            return Problem(what, received=to_text(node), mend=f"leave out {key}, or choice")
        if key != "choice":
            what = f"{key} cannot be combined with choice"
            return Problem(what, received=to_text(node), mend=f"write {key} in every option")
    if not isinstance(options, list):
        return Problem("choice is no list", received=to_text(options), expected="[a, b, …]")
    if not options:
        return Problem("choice is empty", received="[]", expected="at least one option")
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
