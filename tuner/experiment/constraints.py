"""Constraints: arithmetic and comparisons over names, evaluated without `eval`.

One evaluator works on single values and on whole grids: names stand for numpy arrays that
broadcast. Numbers are 64-bit floats; a comparison with a result that does not exist (0/0) is false.
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

from tuner.errors import Problem
from tuner.experiment.document import mend_name
from tuner.experiment.domain import identity

MAX_CHARACTERS = 1_000
MAX_NODES = 200

SIZES = ("size.parameters", "size.macs", "size.memory_bytes")
"""What a network costs, as names: `size.` can be left out where no hyperparameter is called so."""

_ARITHMETIC: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_COMPARISONS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_CONSTANTS = {"null": None, "true": True, "false": False}
_STRUCTURE = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.BinOp, ast.UnaryOp, ast.Not, ast.Compare,
    ast.In, ast.NotIn, ast.List, ast.Tuple, ast.Name, ast.Attribute, ast.Load, ast.Constant,
    ast.Is, ast.IsNot,
)  # fmt: skip
_ALLOWED = (*_STRUCTURE, *_ARITHMETIC, *_COMPARISONS)


class ConstraintError(ValueError):
    """A constraint cannot be read or computed; the problem says why."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.what)


@dataclass(frozen=True)
class Constraint:
    """What a configuration must satisfy; `names` maps names as written to dotted names.

    It speaks only of configurations that have all of its hyperparameters: in a space of several
    families, a constraint over growth_rate leaves the residual networks alone. Sizes every network
    has; what they are is known with the images, so that such a constraint is computed later.
    """

    text: str
    names: tuple[tuple[str, str], ...]

    @property
    def dotted(self) -> tuple[str, ...]:
        """The dotted names of the hyperparameters that it is about."""
        return tuple(dict.fromkeys(name for _, name in self.names if name not in SIZES))

    @property
    def sizes(self) -> tuple[str, ...]:
        """The sizes that it is about."""
        return tuple(dict.fromkeys(name for _, name in self.names if name in SIZES))

    @cached_property
    def num_nodes(self) -> int:
        """Operations, names and constants: what computing it costs."""
        return sum(1 for _ in ast.walk(self._tree))

    @property
    def texts(self) -> Iterator[tuple[str, str]]:
        """Dotted names with the texts that they are compared with, as `optimizer != 'sgd'` does."""
        members = set(self.members)
        for name, part in self._compared():
            text = part.value if isinstance(part, ast.Constant) else None
            if isinstance(text, str) and (name, text) not in members:
                yield name, text

    @property
    def members(self) -> Iterator[tuple[str, str]]:
        """Dotted names of lists with the texts that are looked for there: `'crop' in augment`."""
        dotted = dict(self.names)
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
                name, text = dotted.get(ast.unparse(node.comparators[0])), node.left
                if name and isinstance(text, ast.Constant) and isinstance(text.value, str):
                    yield name, text.value

    @property
    def lists(self) -> Iterator[tuple[str, list[Any]]]:
        """Dotted names with the lists that they are compared with: `augment == ['crop']`."""
        for name, part in self._compared():
            if isinstance(part, ast.List | ast.Tuple):
                with suppress(ValueError):  # of more than constants
                    yield name, list(ast.literal_eval(part))

    def _compared(self) -> Iterator[tuple[str, ast.expr]]:
        """Dotted names with what they are compared with; of `in [...]`, with each of these."""
        dotted = dict(self.names)
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                is_in = any(isinstance(op, ast.In | ast.NotIn) for op in node.ops)
                split = (getattr(side, "elts", [side]) if is_in else [side] for side in sides)
                parts = [part for some in split for part in some]
                named = [name for side in sides if (name := dotted.get(ast.unparse(side)))]
                yield from ((name, part) for name in named for part in parts)

    @cached_property
    def _tree(self) -> ast.expr:
        return ast.parse(self.text.strip(), mode="eval").body

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """Whether it holds: a bool for plain values, a boolean array for numpy arrays.

        `values` are by dotted name. Raises ConstraintError where it cannot be computed.
        """
        import numpy as np

        arrays = {written: _array(values[name]) for written, name in self.names}
        try:
            with np.errstate(all="ignore"):
                held = np.asarray(_evaluate(self._tree, arrays))
        except (TypeError, ValueError, OverflowError) as error:
            what = f"cannot be computed: {error}"
            raise ConstraintError(Problem(what, received=self.text)) from None
        if held.dtype != bool:
            problem = Problem("is no comparison", received=self.text, expected="a comparison")
            raise ConstraintError(problem)
        return held if held.ndim else bool(held)


@dataclass(frozen=True)
class Exclusion:
    """Holds for all but some combinations of values of the names `dotted`; as a constraint does."""

    dotted: tuple[str, ...]
    excluded: frozenset[tuple[Any, ...]]

    @property
    def num_nodes(self) -> int:
        """What computing it costs, as of a constraint."""
        return 1 + len(self.dotted)

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """A bool for plain values, a boolean array for numpy arrays."""
        import numpy as np

        if not any(isinstance(values[name], np.ndarray) for name in self.dotted):
            return tuple(identity(values[name]) for name in self.dotted) not in self.excluded
        arrays = np.broadcast_arrays(*(_array(values[name]) for name in self.dotted))
        rows = zip(*(array.ravel().tolist() for array in arrays), strict=True)
        held = [tuple(map(identity, row)) not in self.excluded for row in rows]
        return np.array(held).reshape(arrays[0].shape)


@dataclass(frozen=True)
class SizedConstraint:
    """A constraint over sizes where networks are known; holds as a constraint does.

    `shaping` are the names whose values decide the sizes, which `sizes_of` gives for one value of
    each. A network without sizes, as one that cannot be built, is not its business.
    """

    constraint: Constraint
    shaping: tuple[str, ...]
    sizes_of: Callable[[Mapping[str, Any]], Mapping[str, float] | None]

    @property
    def text(self) -> str:
        """As it was written."""
        return self.constraint.text

    @property
    def dotted(self) -> tuple[str, ...]:
        """The names that it depends on."""
        return tuple(dict.fromkeys((*self.constraint.dotted, *self.shaping)))

    @property
    def num_nodes(self) -> int:
        """What computing it costs, as of a constraint."""
        return self.constraint.num_nodes + len(self.shaping)

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """A bool for plain values, a boolean array for numpy arrays."""
        import numpy as np

        if not any(isinstance(values[name], np.ndarray) for name in self.shaping):
            sizes = self.sizes_of({name: values[name] for name in self.shaping})
            return True if sizes is None else self.constraint({**values, **sizes})
        arrays = np.broadcast_arrays(*(_array(values[name]) for name in self.shaping))
        rows = zip(*(array.ravel().tolist() for array in arrays), strict=True)
        known = [self.sizes_of(dict(zip(self.shaping, row, strict=True))) for row in rows]
        shape, sized = arrays[0].shape, dict(values)
        for name in self.constraint.sizes:
            column = [math.nan if sizes is None else sizes[name] for sizes in known]
            sized[name] = np.array(column, dtype=np.float64).reshape(shape)
        is_unknown = np.array([sizes is None for sizes in known]).reshape(shape)
        return self.constraint(sized) | is_unknown


def parse_constraint(text: str, known: Iterable[str]) -> Constraint:
    """The constraint over `known` dotted names and sizes; a bare name does if it is unambiguous.

    Raises ConstraintError for what is no arithmetic comparison, and for unknown names.
    """
    tree = _parse(text)
    known = [*known, *SIZES]
    names = {}
    for name in _names(tree):
        if name not in _CONSTANTS or _matches(name, known):
            names[name] = resolve_name(name, known)
    return Constraint(text, tuple(names.items()))


def _parse(text: str) -> ast.Expression:
    if len(text) > MAX_CHARACTERS:
        raise ConstraintError(Problem("is too long", expected=f"at most {MAX_CHARACTERS} signs"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tree = ast.parse(text.strip(), mode="eval")
    except (Warning, SyntaxError, ValueError, RecursionError, MemoryError):
        mend = "== for equality" if _has_single_equals(text) else ""
        expected = "arithmetic and comparisons, as depth * growth_rate <= 1200"
        raise ConstraintError(Problem("is not readable", "", text, expected, mend)) from None
    nodes = list(ast.walk(tree))
    if len(nodes) > MAX_NODES:
        raise ConstraintError(Problem("is too long", received=text))
    for node in nodes:
        _check_node(node, text)
    return tree


def _check_node(node: ast.AST, text: str) -> None:
    constant = isinstance(node, ast.Constant)
    if constant and not isinstance(node.value, int | float | str | None):  # type: ignore[attr-defined]
        raise ConstraintError(Problem("holds a value of another kind", received=text))
    if not isinstance(node, _ALLOWED):
        kind = {"Call": "a function call"}.get(type(node).__name__, type(node).__name__)
        expected = "arithmetic, comparisons, and, or, not, in"
        raise ConstraintError(Problem(f"holds {kind}", received=text, expected=expected))


def _has_single_equals(text: str) -> bool:
    left, equals, right = text.partition("=")
    return bool(equals) and left[-1:] not in "<>!=" and right[:1] != "="


def _names(tree: ast.AST) -> Iterable[str]:
    """Names as written, dotted ones whole."""
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and id(node) not in inner:
            yield ast.unparse(node)


def _matches(name: str, known: Iterable[str]) -> list[str]:
    return [dotted for dotted in known if dotted == name or dotted.endswith(f".{name}")]


def resolve_name(name: str, known: list[str]) -> str:
    """The one of the dotted names `known` that is meant; ConstraintError for none or several."""
    matches = _matches(name, known)
    if name in matches:
        return name
    if len(matches) == 1:
        return matches[0]
    if matches:
        what = f"{name} is ambiguous"
        raise ConstraintError(Problem(what, received=name, expected=" or ".join(matches)))
    bare = [dotted.partition(".")[2] for dotted in known]
    mend = mend_name(name, known if "." in name else bare)
    raise ConstraintError(Problem(f"{name} does not exist", received=name, mend=mend))


def _array(value: Any) -> Any:
    """A value without dimensions, unless it is an array already."""
    import numpy as np

    return value if isinstance(value, np.ndarray) else as_array([value]).reshape(())


def as_array(values: Iterable[Any]) -> Any:
    """One-dimensional array of an axis' values for `Constraint`.

    Numbers as floats, so that no product overflows; booleans stay; all else as objects.
    """
    import numpy as np

    listed = list(values)
    if all(isinstance(value, bool) for value in listed):
        return np.array(listed, dtype=bool)
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in listed):
        return np.array(listed, dtype=np.float64)
    array = np.empty(len(listed), dtype=object)
    for index, value in enumerate(listed):
        array[index] = tuple(value) if isinstance(value, list) else value
    return array


def _evaluate(node: ast.expr, values: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return _array(value)
        case ast.Name(id=name):
            return values[name] if name in values else _array(_CONSTANTS[name])
        case ast.Attribute():
            return values[ast.unparse(node)]
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return _array([_evaluate(item, values).item() for item in items])
        case ast.BoolOp(op=op, values=parts):
            combine = operator.and_ if isinstance(op, ast.And) else operator.or_
            return reduce(combine, (_boolean(_evaluate(part, values)) for part in parts))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return ~_boolean(_evaluate(operand, values))
        case ast.UnaryOp(op=op, operand=operand):
            return _ARITHMETIC[type(op)](_number(_evaluate(operand, values)))
        case ast.BinOp(left=left, op=op, right=right):
            sides = (_number(_evaluate(side, values)) for side in (left, right))
            return _ARITHMETIC[type(op)](*sides)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            return _compare(_evaluate(left, values), ops, comparators, values)
    raise TypeError(f"{ast.unparse(node)} stands alone")


def _compare(left: Any, ops: list[ast.cmpop], rights: list[ast.expr], values: Any) -> Any:
    """A chain `a < b <= c`; `in` compares with each member of a list, written or of a name."""
    held = True
    for op, right in zip(ops, rights, strict=True):
        if isinstance(op, ast.In | ast.NotIn):
            inside = _inside(left, right, values)
            held = held & (inside if isinstance(op, ast.In) else ~inside)
            continue
        other = _evaluate(right, values)
        held = held & _pair(left, op, other)
        left = other
    return held


def _pair(left: Any, op: ast.cmpop, right: Any) -> Any:
    import numpy as np

    if not isinstance(op, ast.Eq | ast.NotEq | ast.Is | ast.IsNot):
        return np.asarray(_COMPARISONS[type(op)](left, right)).astype(bool)
    if np.asarray(left).dtype.kind != "f" or np.asarray(right).dtype.kind != "f":
        # Objects compare as Python's do.
        left, right = np.asarray(left).astype(object), np.asarray(right).astype(object)
    equal = np.asarray(np.equal(left, right)).astype(bool)
    return equal if isinstance(op, ast.Eq | ast.Is) else ~equal


def _inside(left: Any, right: ast.expr, values: Any) -> Any:
    import numpy as np

    if not isinstance(right, ast.List | ast.Tuple):
        return _is_member(left, _evaluate(right, values))
    held = np.zeros(np.shape(left), dtype=bool)
    for item in right.elts:
        held = held | _pair(left, ast.Eq(), _evaluate(item, values))
    return held


def _is_member(left: Any, lists: Any) -> Any:
    """Each value of one array, in the list at its place in the other."""
    import numpy as np

    left, lists = np.broadcast_arrays(np.asarray(left).astype(object), np.asarray(lists))
    if not all(isinstance(item, tuple) for item in lists.flat):
        raise TypeError("in needs a list, as depth in [20, 56] or 'crop' in augment")
    held = [value in items for value, items in zip(left.flat, lists.flat, strict=True)]
    return np.array(held, dtype=bool).reshape(lists.shape)


def _boolean(value: Any) -> Any:
    import numpy as np

    array = np.asarray(value)
    if array.dtype == object and all(isinstance(item, bool) for item in array.flat):
        array = array.astype(bool)
    if array.dtype != bool:
        raise TypeError("and, or, not need comparisons on both sides")
    return array


def _number(value: Any) -> Any:
    """As floats; text is refused, which Python would format, repeat and join."""
    import numpy as np

    array = np.asarray(value)
    is_number = array.dtype.kind in "fb"
    if not is_number and not all(isinstance(item, int | float) for item in array.flat):
        raise TypeError("arithmetic needs numbers")
    return array.astype(np.float64, copy=False)
