"""The process in which a person's `build(hp)` runs: it answers what `own.py` asks, one line each.

It loads a framework only once the module has been found.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from tuner.code.files import code_of
from tuner.code.keras_globals import kept_globals, set_keras_defaults
from tuner.code.loading import check_found, load_function, raised
from tuner.errors import InputError, Problem


def main() -> None:
    """Answer until there are no more questions; the other process' side."""
    # What the person's code prints must not get between the answers, nor what it reads take a
    # question: it has descriptors 0 and 1 for itself.
    questions = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull, encoding="utf-8") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    for line in questions:
        print(json.dumps(_answer(sys.argv[1], json.loads(line))), file=answers, flush=True)


def _answer(name: str, request: dict[str, Any]) -> dict[str, Any]:
    """The result of a request, or what is wrong."""
    try:
        check_found(name, where="model.family", call="build(hp)")
        return {"result": _result(name, request)}
    except InputError as error:
        return {"problems": [vars(problem) for problem in error.problems]}
    except (Exception, SystemExit) as error:  # whatever the person's code raises
        return {"error": raised(error)}


def _result(name: str, request: dict[str, Any]) -> dict[str, Any]:
    from tuner.models.own.build import cost_of_model, load_build, run_undrawn
    from tuner.models.own.checks import check_classes
    from tuner.models.own.compile import read_compiled
    from tuner.models.own.outputs import kind_of_outputs, read_outputs

    set_keras_defaults()
    if request["ask"] == "declare":
        return _declaration(name)
    image_shape = tuple(request["image_shape"])
    built = run_undrawn(load_build(name), request["values"], image_shape)
    check_classes(built.outputs, request["num_classes"])
    kind = kind_of_outputs(built.model, image_shape)
    reading = read_outputs(kind, read_compiled(built.model))
    cost = vars(cost_of_model(built.model, image_shape))
    notes = [reading.note] if reading.note else []
    return {"cost": cost, "notes": notes, "precision": built.precision}


def _declaration(name: str) -> dict[str, Any]:
    from tuner.models.own.build import defining_module, load_build
    from tuner.models.own.probe import Probe

    before, backend = set(sys.modules), os.environ["KERAS_BACKEND"]
    with kept_globals() as changes:
        load_function(name, where="model.family", call="build(hp)")
    if (chosen := os.environ["KERAS_BACKEND"]) != backend:
        changes["backend"] = chosen
    build = load_build(name)
    imported = code_of(before, defining_module(build))
    declared = Probe(build).declaration()
    notes = (*declared.notes, *_undone(name.partition(":")[0], changes))
    files = code_of(before, defining_module(build))
    for file in set(imported) - set(files):
        what, mend = "the code was edited while it was looked into", "the same command again"
        raise InputError(Problem(what, "model.family", file.path, mend=mend))
    return dataclasses.replace(declared, notes=notes, files=files).to_json()


def _undone(module: str, changes: Mapping[str, str]) -> Iterator[str]:
    """Notes of what importing a module set for the whole process."""
    instead = {"backend": "backend", "dtype_policy": "precision"}
    for name, value in changes.items():
        mend = f": write {instead[name]}: {value}" if name in instead else ""
        yield f"{module} sets Keras' {name} to {value}, which has no effect here{mend}"
