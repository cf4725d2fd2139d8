"""The process in which a person's `build(hp)` runs: it answers what `own.py` asks, one line each.

It loads a framework only once the function has been found.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from typing import Any

from tuner.errors import InputError, Problem


def serve() -> None:
    """Answer until standard input ends; the other process' side."""
    # What the person's code prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(_answer(sys.argv[1], json.loads(line))), file=answers, flush=True)


def _answer(name: str, request: dict[str, Any]) -> dict[str, Any]:
    """The result of a request, or what is wrong."""
    try:
        _check_module(name)
        return {"result": _result(name, request)}
    except InputError as error:
        return {"problems": [vars(problem) for problem in error.problems]}
    except Exception as error:  # whatever the person's code raises
        return {"error": f"{type(error).__name__}: {error}"}


def _check_module(name: str) -> None:
    """A slip of the pen is answered before a framework is imported."""
    module, _, function = name.partition(":")
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        expected = f"a module {module} that can be imported, with a function {function}(hp)"
        mend = "is its folder the present one, or in $PYTHONPATH?"
        raise InputError(Problem("no such module", "model.family", name, expected, mend))


def _result(name: str, request: dict[str, Any]) -> dict[str, Any]:
    from tuner.models.own_build import check_shapes, cost_of_model, load_build, run_uninitialized
    from tuner.models.own_probe import Probe

    build = load_build(name)
    if request["ask"] == "declare":
        return Probe(build).declaration().to_json()
    image_shape = tuple(request["image_shape"])
    built = run_uninitialized(build, request["values"], image_shape)
    check_shapes(built.model, image_shape, request["num_classes"])
    return vars(cost_of_model(built.model, image_shape))
