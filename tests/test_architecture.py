"""Imports point down only, and frameworks load only where something trains."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tuner"

# What a room may import besides itself and errors. Nothing points up or sideways.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "synonyms": set(),
    "code": set(),
    "data": set(),
    "layers": set(),
    "models": {"layers"},
    "experiment": {"models", "data"},
    "ledger": {"experiment", "models", "data"},
    "search": {"experiment", "models", "data"},
    "training": {"experiment", "models", "layers", "data"},
    "report": {"ledger", "search", "experiment", "models", "data"},
    "execution": {"ledger", "search", "training", "experiment", "models", "data"},
}
MAY_IMPORT["actions"] = set(MAY_IMPORT)
MAY_IMPORT["cli"] = set(MAY_IMPORT)

EVERYWHERE = {"code", "errors", "synonyms", "version"}

FRAMEWORKS = {"keras", "keras_tuner", "tensorflow", "jax", "pandas", "scipy", "ray", "torch"}
TRAINS = {"layers", "training"}  # may import a framework when they are imported
# Are themselves imported only while a network is built, or by a keras-tuner program.
BUILDERS = {"search/oracle.py"} | {
    f"models/{name}.py"
    for name in (
        "building",
        "hyper",
        "own/build",
        "own/checks",
        "own/outputs",
        "own/probe",
        "own/undrawn",
    )
}


@cache
def modules() -> list[tuple[str, Path, ast.Module]]:
    """Parsed once for all tests, which takes a second."""
    return [
        (room_of(path), path, ast.parse(path.read_text("utf-8")))
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


def room_of(path: Path) -> str:
    place = path.relative_to(PACKAGE)
    return place.parts[0] if len(place.parts) > 1 else place.stem


def imported(nodes: Iterator[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""


def top_level(tree: ast.Module) -> Iterator[ast.AST]:
    """What runs when the module is imported (TYPE_CHECKING blocks and functions do not)."""
    for node in tree.body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from ast.walk(node) if not isinstance(node, ast.ClassDef) else iter(())


def test_imports_point_down_only():
    wrong = []
    for room, path, tree in modules():
        if room in ("__init__", "__main__", "version"):
            continue
        for name in imported(ast.walk(tree)):
            parts = name.split(".")
            if parts[0] == "tuner" and len(parts) > 1:
                allowed = MAY_IMPORT[room] | {room, *EVERYWHERE}
                if parts[1] not in allowed:
                    wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_no_imports_go_in_circles_not_even_late_ones():
    """What is imported for types alone does not count."""
    paths = {name_of(path): tree for _, path, tree in modules()}
    needs = {name: set(needed(tree, paths)) - {name} for name, tree in paths.items()}
    while free := {name for name, others in needs.items() if not others & needs.keys()}:
        for name in free:
            del needs[name]
    in_circles = {name for name in needs if name in reachable(needs, name)}
    assert not in_circles


def name_of(path: Path) -> str:
    dotted = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    return dotted.removesuffix(".__init__")


def needed(tree: ast.Module, known: Iterable[str]) -> Iterator[str]:
    """The modules of the package that a module imports, at its top or later."""
    typing = [n for n in ast.walk(tree) if isinstance(n, ast.If) and is_for_types(n)]
    skipped = {id(inner) for node in typing for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in skipped:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & set(known)
            yield from submodules or {node.module or ""} & set(known)


def is_for_types(node: ast.If) -> bool:
    return "TYPE_CHECKING" in ast.dump(node.test)


def reachable(needs: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    front = {start}
    while front := {other for name in front for other in needs.get(name, ())} - seen:
        seen |= front
    return seen


def test_a_class_name_exists_once():
    names = Counter(
        node.name
        for _, _, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_frameworks_are_imported_at_the_top_only_where_something_trains():
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for room, path, tree in modules()
        if room not in TRAINS and path.relative_to(PACKAGE).as_posix() not in BUILDERS
        for name in imported(top_level(tree))
        if name.split(".")[0] in FRAMEWORKS
    ]
    assert not wrong, "\n".join(wrong)


def test_every_room_is_known():
    rooms = {room for room, _, _ in modules()} - {"__init__", "__main__", "version"}
    assert rooms == set(MAY_IMPORT)


@pytest.mark.parametrize(
    "module",
    [
        "tuner",
        "tuner.cli.main",
        "tuner.cli.run",
        "tuner.execution.run",
        "tuner.execution.worker",
        "tuner.report.results",
        "tuner.models",
    ],
)
def test_importing_it_loads_no_framework(module):
    code = f"import sys, {module}; print(sorted({FRAMEWORKS!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stdout + done.stderr
