"""A person's own network: `package.module:build`, a keras-tuner style `build(hp) -> keras.Model`.

What it leaves open and what it costs is asked of a process of its own, so that planning,
scheduling and reporting stay free of frameworks, and an error there stays there. Both ends of that
conversation are here: one request a line, one answer a line, both JSON.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import select
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, create_model

from tuner.errors import InputError, Problem
from tuner.models.family import RUNTIME, Cost, Family, FamilyConfig, ImageShape

MAX_SECONDS = 300.0  # for one answer: importing a framework, and building some networks

Conditions = tuple[tuple[str, tuple[Any, ...]], ...]

OPEN = object()
"""Stands for the value of a name that the experiment leaves open in its own way."""

_TYPES: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str}


def is_own(name: Any) -> bool:
    """Whether a family is a function of the person's own."""
    return isinstance(name, str) and ":" in name


def used_values(model: Mapping[str, Any]) -> dict[str, Any]:
    """What `build` is given of a closed `model:` section."""
    return {n: v for n, v in model.items() if n != "family" and v is not None}


@dataclass(frozen=True)
class Declared:
    """One hyperparameter.

    `kind` is bool, int, float or str. `node` is its domain as an experiment file writes it:
    `{choice: [...]}`, `{min: a, max: b, ...}` or the one value that it has. `structural` says that
    its value shapes the network, not only how it is compiled. It is used only where, for each
    (name, values) of `conditions`, that other hyperparameter has one of the values.
    """

    name: str
    kind: str
    default: Any
    node: Any
    structural: bool
    conditions: Conditions = ()

    def is_used(self, values: Mapping[str, Any]) -> bool:
        """Whether the conditions hold; a name without a value is no obstacle."""
        return all(values.get(n, allowed[0]) in allowed for n, allowed in self.conditions)


@dataclass(frozen=True)
class Declaration:
    """All that is known of a `build` function without running it again.

    `optimizer` is that of `compile()`, None where the model is not compiled; `fingerprint` is the
    SHA-256 of the file at `path` that defines the function; `notes` are what a person should know
    before it trains. `rescales` says what it does to pixels itself (see `own_input`).
    """

    hyperparameters: tuple[Declared, ...]
    optimizer: str | None
    path: str
    fingerprint: str
    notes: tuple[str, ...] = ()
    rescales: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` makes it again."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Declaration:
        """What `to_json` gave, lists for tuples."""
        hyperparameters = tuple(
            Declared(**{**values, "conditions": tuple((n, tuple(v)) for n, v in conditions)})
            for values in data["hyperparameters"]
            for conditions in [values["conditions"]]
        )
        others = {**data, "hyperparameters": hyperparameters, "notes": tuple(data["notes"])}
        return cls(**others)

    def branches(self, written: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What to add to an experiment that wrote the names in `written`.

        Each branch maps names to domains. A hyperparameter on which others depend is split into
        its values, so that no branch holds one that is not used. `written` has the values that are
        fixed, and no entry for those that the experiment opens itself under `OPEN`.
        """
        parents = {name for declared in self.hyperparameters for name, _ in declared.conditions}
        branches: list[dict[str, Any]] = [{}]
        for declared in self.hyperparameters:
            branches = [
                extended
                for branch in branches
                for extended in _extended(declared, branch, written, parents)
            ]
        return branches


def _extended(
    declared: Declared, branch: dict[str, Any], written: Mapping[str, Any], parents: set[str]
) -> list[dict[str, Any]]:
    fixed = {n: v for n, v in {**branch, **written}.items() if v is not OPEN and not _is_open(v)}
    if declared.name in written or not declared.is_used(fixed):
        return [branch]
    if declared.name in parents and _is_open(declared.node):
        return [branch | {declared.name: value} for value in _values(declared.node)]
    return [branch | {declared.name: declared.node}]


def _values(node: dict[str, Any]) -> list[Any]:
    """The values of a domain on which others depend; a range is one of integers."""
    if "choice" in node:
        return list(node["choice"])
    return list(range(node["min"], node["max"] + 1, node.get("step", 1)))


def _is_open(node: Any) -> bool:
    return isinstance(node, dict)


class OwnFamily(Family[Any]):
    """The networks that one function makes; the only family that knows something at run time."""

    def __init__(self, name: str, backend: str) -> None:
        self.name = name  # type: ignore[misc]
        self.backend = backend
        self._process = OwnProcess(name, backend)
        self._costs: dict[str, Cost] = {}
        self.declaration = Declaration.from_json(self._process.ask({"ask": "declare"}))
        self.config = _config(name, self.declaration)
        self.fingerprint = self.declaration.fingerprint

    def is_current(self) -> bool:
        """Whether the file that defines the function is still the same."""
        try:
            content = Path(self.declaration.path).read_bytes()
        except OSError:
            return True
        return hashlib.sha256(content).hexdigest() == self.fingerprint

    def cost(self, config: Any, image_shape: ImageShape, num_classes: int) -> Cost:
        """Of the network as it is built there."""
        values = used_values(config.model_dump())
        request = {"values": values, "image_shape": image_shape, "num_classes": num_classes}
        key = json.dumps(request, sort_keys=True)
        if key not in self._costs:
            self._costs[key] = Cost(**self._process.ask({"ask": "cost", **request}))
        return self._costs[key]

    def build(self, config: Any, image_shape: ImageShape, num_classes: int) -> Any:
        """The Keras model as the function returns it: compiled or not, logits or probabilities."""
        from tuner.models.own_build import load_build, run_build

        values = used_values(config.model_dump())
        return run_build(load_build(self.name), values, image_shape).model


_KNOWN: dict[str, OwnFamily] = {}  # each has a process, so that its framework loads once


def own_family(name: str, backend: str = "") -> OwnFamily:
    """The family of a function, which is run with `backend` under Keras.

    With a backend it is looked into again if its file has changed since.

    Raises:
        InputError: there is no such function, or it cannot be run.
    """
    known = _KNOWN.get(name)
    if known and (not backend or (known.backend == backend and known.is_current())):
        return known
    installed = "tensorflow" if importlib.util.find_spec("tensorflow") else "jax"
    _KNOWN[name] = OwnFamily(name, backend or installed)
    return _KNOWN[name]


class OwnProcess:
    """The other process: started at the first question, gone with this one."""

    def __init__(self, name: str, backend: str) -> None:
        self._name = name
        self._backend = backend
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def ask(self, request: dict[str, Any]) -> Any:
        """The answer.

        Raises:
            InputError: what is wrong with the function.
        """
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._process = self._start()
            line = _exchange(self._process, json.dumps(request))
            if line is None:
                self._process.kill()
        if line is None:
            raise InputError(_problem(self._name, f"it has not returned for {MAX_SECONDS:.0f} s"))
        if not line:
            raise InputError(_problem(self._name, "the process that ran it ended"))
        answer = json.loads(line)
        if problems := answer.get("problems"):
            raise InputError([Problem(**problem) for problem in problems])
        if "error" in answer:
            raise InputError(_problem(self._name, answer["error"]))
        return answer["result"]

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from tuner.models.own_server import serve; serve()",
                self._name,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env=_environment(self._backend),
        )
        weakref.finalize(self, _end, process)
        return process


def _exchange(process: subprocess.Popen[str], line: str) -> str | None:
    """The answer to a line; empty if the process ends, None if it takes too long."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        print(line, file=process.stdin, flush=True)
        if not select.select([process.stdout], [], [], MAX_SECONDS)[0]:
            return None
        return process.stdout.readline()
    except OSError:
        return ""


def _end(process: subprocess.Popen[str]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
    process.kill()
    process.wait()


def _environment(backend: str) -> dict[str, str]:
    """No GPU: the workers need it, and nothing is trained there."""
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "KERAS_BACKEND": backend,
        "CUDA_VISIBLE_DEVICES": "-1",
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONIOENCODING": "utf-8",  # for prints in build
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }


def _config(name: str, declaration: Declaration) -> type[FamilyConfig]:
    """A configuration with a field for each hyperparameter."""
    fields: dict[str, Any] = {"family": (Literal[name], name)}
    fields |= {d.name: (_type(d), _field(d)) for d in declaration.hyperparameters}
    return create_model("OwnConfig", __base__=_OwnConfig, **fields)


class _OwnConfig(FamilyConfig):
    """What the function leaves open."""

    model_config = ConfigDict(protected_namespaces=())


def _type(declared: Declared) -> Any:
    """A conditional one is None where it is not used."""
    kind: Any = _TYPES[declared.kind]
    if declared.kind == "str" and _is_open(declared.node):
        kind = Literal[tuple(declared.node["choice"])]
    return kind | None if declared.conditions else kind


def _field(declared: Declared) -> Any:
    # What compile() alone reads shapes no program, like a rate of our own families.
    extra = {} if declared.structural else RUNTIME
    default = None if declared.conditions else declared.default
    return Field(default=default, description="declared by build", json_schema_extra=extra)


def _problem(name: str, what: str) -> Problem:
    return Problem("build cannot be run", "model.family", received=name, mend=what)
