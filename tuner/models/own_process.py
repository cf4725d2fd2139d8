"""The process that runs a person's `build(hp)` for those that must not import a framework.

Started as `python -m tuner.models.own_process package.module:build`: one request a line on
standard input, one answer a line on standard output, both JSON.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from typing import Any

from tuner.errors import InputError, Problem


def answer(name: str, request: dict[str, Any]) -> dict[str, Any]:
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
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        found = None
    if found is None:
        expected = f"a module {module} that can be imported, with a function {function}(hp)"
        mend = "is its folder the present one, or in $PYTHONPATH?"
        raise InputError(Problem("no such module", "model.family", name, expected, mend))


def _result(name: str, request: dict[str, Any]) -> dict[str, Any]:
    from tuner.models.own_build import check_shapes, load_build, run_uninitialized
    from tuner.models.own_cost import cost_of_model
    from tuner.models.own_probe import Probe

    build = load_build(name)
    if request["ask"] == "declare":
        return Probe(build).declaration().to_json()
    image_shape = tuple(request["image_shape"])
    built = run_uninitialized(build, request["values"], image_shape)
    check_shapes(built.model, image_shape, request["num_classes"])
    return vars(cost_of_model(built.model, image_shape))


def main() -> None:
    """Serve until standard input ends."""
    # What the person's code prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(answer(sys.argv[1], json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
