"""A person's own network: `package.module:build`, a keras-tuner style `build(hp) -> keras.Model`.

What it leaves open and what it costs is asked of a process of its own, so that planning,
scheduling and reporting stay free of frameworks, and an error there stays there. Both ends of that
conversation are here: one request a line, one answer a line, both JSON.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import re
import select
import signal
import subprocess
import tempfile
import threading
import warnings
import weakref
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import IO, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from tuner.code.files import CodeFile, fingerprint, is_own_file
from tuner.code.process import plain_environment, python_command
from tuner.errors import InputError, Problem
from tuner.models.family import RUNTIME, Cost, Family, FamilyConfig, ImageShape

DEFAULT_PRECISION = "float32"
MAX_SECONDS = 300.0  # for one answer: importing a framework, and building some networks
_LINES_SHOWN = 8  # of what a process printed that ended
_LINE_LENGTH = 300
_GREETING = re.compile(r"[IWE]\d{4} |WARNING: All log messages before absl")  # of TensorFlow

Conditions = tuple[tuple[str, tuple[Any, ...]], ...]
"""Names of others, each with the values that it must have; all of them together."""

OPEN = object()
"""Stands for a value that is not known yet."""

NETWORK, OPTIMIZER = "network", "optimizer"
"""What a hyperparameter can reach, beside the names of `training:` that `fit` gives."""

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
    its value shapes the network, not only how it is compiled. It is used where one of `conditions`
    holds, and always if there are none; a name that is not used itself has no value there.
    `reaches` is what its value changes: the network, and names of `training:`, where `optimizer`
    stands for all that `compile()` gives; nothing if no value of it makes a difference.
    """

    name: str
    kind: str
    default: Any
    node: Any
    structural: bool
    conditions: tuple[Conditions, ...] = ()
    reaches: tuple[str, ...] = (NETWORK,)

    def is_used(self, values: Mapping[str, Any]) -> bool:
        """Whether it is, or may be, where these have values and all others are not used."""
        return not self.conditions or any(
            all(n in values and (values[n] is OPEN or values[n] in allowed) for n, allowed in each)
            for each in self.conditions
        )


@dataclass(frozen=True)
class Handed:
    """The value of `training.<name>` that the person's own `fit` (or loss) gives.

    `table` maps each value of the hyperparameter `by` to it, where that is used; without `by` it
    is the one value that is always given. None stands for one that is not given.
    """

    name: str
    by: str | None
    table: tuple[tuple[Any, Any], ...]

    @property
    def is_identity(self) -> bool:
        """Whether it is the hyperparameter itself."""
        return self.by is not None and all(
            type(value) is type(given) and value == given for value, given in self.table
        )


@dataclass(frozen=True)
class Refusal:
    """What cannot be had, unless `training.<unless>` is written in the file.

    It is met where, for each (name, values) of `conditions`, that hyperparameter has a value
    that is not among those; without any, always.
    """

    problem: Problem
    unless: str | None
    conditions: Conditions = ()


@dataclass(frozen=True)
class Declaration:
    """All that is known of a `build` function without running it again.

    `optimizer` is that of `compile()`, None where the model is not compiled; `notes` are what a
    person should know before it trains; `files` are all of the person's own that it is made of. Of
    the values of `handed` for one name, the first whose `by` is used counts. `rescales` says what
    it does to pixels itself (see `own_input`).
    """

    hyperparameters: tuple[Declared, ...]
    optimizer: str | None
    notes: tuple[str, ...] = ()
    rescales: str = ""
    refusals: tuple[Refusal, ...] = ()
    handed: tuple[Handed, ...] = ()
    files: tuple[CodeFile, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` makes it again."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Declaration:
        """What `to_json` gave, lists for tuples."""
        hyperparameters = tuple(
            Declared(
                **{
                    **d,
                    "conditions": tuple(map(_conditions, d["conditions"])),
                    "reaches": tuple(d["reaches"]),
                }
            )
            for d in data["hyperparameters"]
        )
        refusals = tuple(
            Refusal(Problem(**r["problem"]), r["unless"], _conditions(r["conditions"]))
            for r in data["refusals"]
        )
        handed = tuple(
            Handed(h["name"], h["by"], tuple((v, given) for v, given in h["table"]))
            for h in data["handed"]
        )
        read = {"hyperparameters": hyperparameters, "refusals": refusals, "handed": handed}
        files = tuple(CodeFile(**file) for file in data["files"])
        return cls(**{**data, **read, "notes": tuple(data["notes"]), "files": files})

    @cached_property
    def moved(self) -> dict[str, str]:
        """Hyperparameters that are nothing but a value of `training:`, by the name there."""
        parents = {name for name, _ in self.conditions()}
        reaches = {declared.name: declared.reaches for declared in self.hyperparameters}
        return {
            handed.by: handed.name
            for handed in self.handed
            if handed.by is not None
            and handed.is_identity
            and handed.by not in parents
            and reaches.get(handed.by) == (handed.name,)
        }

    @property
    def deciding(self) -> dict[str, tuple[Any, ...]]:
        """Hyperparameters whose every value has its own of `training:`, with these values."""
        return {
            handed.by: tuple(value for value, _ in handed.table)
            for handed in self.handed
            if handed.by is not None and handed.by not in self.moved
        }

    def dead(self, written: Set[str]) -> dict[str, tuple[str, ...]]:
        """Hyperparameters without effect where these names of `training:` are written.

        With the names that take the place of each; none if it never has an effect. One on which a
        living one depends lives, too.
        """
        dead = {d.name: d.reaches for d in self.hyperparameters if written >= set(d.reaches)}
        for declared in reversed(self.hyperparameters):  # Parents come first.
            if declared.name not in dead:
                for parent, _ in itertools.chain(*declared.conditions):
                    dead.pop(parent, None)
        return dead

    def without(self, names: Set[str]) -> Declaration:
        """The same with fewer hyperparameters."""
        left = tuple(d for d in self.hyperparameters if d.name not in names)
        return replace(self, hyperparameters=left)

    def conditions(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """Each name on which another depends, with the values that it must have there."""
        for declared in self.hyperparameters:
            for condition in declared.conditions:
                yield from condition


def _conditions(pairs: Iterable[Any]) -> Conditions:
    """Lists made tuples."""
    return tuple((name, tuple(values)) for name, values in pairs)


def _is_open(node: Any) -> bool:
    return isinstance(node, dict)


class OwnFamily(Family[Any]):
    """The networks that one function makes; the only family that knows something at run time."""

    def __init__(self, name: str, backend: str) -> None:
        self.name = name  # type: ignore[misc]
        self.backend = backend
        self._process = OwnProcess(name, backend)
        self._costs: dict[str, Cost | InputError] = {}
        self._notes: dict[str, None] = {}  # of networks whose costs were asked for
        self.precision = DEFAULT_PRECISION  # another one where build sets it
        self.declaration = Declaration.from_json(self._process.ask({"ask": "declare"}))
        self.config = _config(name, self.declaration)
        self.fingerprint = fingerprint(self.declaration.files)

    def is_current(self) -> bool:
        """Whether all files of the function are still the same."""
        return all(file.is_current for file in self.declaration.files)

    def cost(self, config: Any, image_shape: ImageShape, num_classes: int) -> Cost:
        """Of the network as it is built there; what only `compile` reads makes no other."""
        values = used_values(BaseModel.model_dump(config))
        shaping = {one.name for one in self.declaration.hyperparameters if one.structural}
        request = {"values": values, "image_shape": image_shape, "num_classes": num_classes}
        known = {n: v for n, v in values.items() if n in shaping}
        key = json.dumps({**request, "values": known}, sort_keys=True)
        if key not in self._costs:
            try:
                self._costs[key] = self._asked_cost(request)
            except InputError as error:
                self._costs[key] = error
        cost = self._costs[key]
        if isinstance(cost, InputError):
            raise cost
        return cost

    def _asked_cost(self, request: dict[str, Any]) -> Cost:
        answer = self._process.ask({"ask": "cost", **request})
        self._notes |= dict.fromkeys(answer["notes"])
        self.precision = answer["precision"]
        cost = answer["cost"]
        return Cost(**cost | {"uncounted": tuple(cost.get("uncounted", ()))})

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know before it trains, of the function and of its networks."""
        return (*self.declaration.notes, *self._notes)

    def build(self, config: Any, image_shape: ImageShape, num_classes: int) -> Any:
        """The Keras model as the function returns it: compiled or not, logits or probabilities."""
        from tuner.models.own.build import load_build, run_build

        values = used_values(BaseModel.model_dump(config))
        return run_build(load_build(self.name), values, image_shape).model


_KNOWN: dict[str, OwnFamily] = {}  # each has a process, so that its framework loads once


def own_family(name: str, backend: str = "") -> OwnFamily:
    """The family of a function, which is run with `backend` under Keras.

    With a backend it is looked into again if one of its files has changed since.

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
        self._printed: IO[str] | None = None

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
            if not line:
                raise InputError(self._ended(self._process, in_time=line is not None))
        answer = json.loads(line)
        if problems := answer.get("problems"):
            raise InputError([Problem(**problem) for problem in problems])
        if "error" in answer:
            what = f"{self._name} cannot be run"
            raise InputError(Problem(what, "model.family", received=answer["error"]))
        return answer["result"]

    def _start(self) -> subprocess.Popen[str]:
        # What the person's code prints, and Python's last words if it crashes.
        printed = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        process = subprocess.Popen(
            python_command("tuner.models.own.server", self._name),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=printed,
            text=True,
            encoding="utf-8",
            env=_environment(self._backend),
        )
        self._printed = printed
        weakref.finalize(self, _end, process, printed)
        return process

    def _ended(self, process: subprocess.Popen[str], *, in_time: bool) -> Problem:
        """How a process ended that owes an answer, and what it printed last."""
        try:
            status = process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        what = f"the process that ran build ended: {how}"
        if not in_time:
            what = f"build has not returned for {MAX_SECONDS:.0f} s"
        assert self._printed is not None
        self._printed.seek(0)
        last = "\n              ".join(_last_words(self._printed))
        return Problem(what, "model.family", self._name, mend=last and f"it printed last: {last}")


def _last_words(printed: Iterable[str]) -> list[str]:
    """The last lines of a process; of the stack of a crash, those of the person's own files."""
    lines = [line.rstrip()[:_LINE_LENGTH] for line in printed if line.strip()]
    crashed = [number for number, line in enumerate(lines) if line.startswith("Fatal Python error")]
    if crashed:
        stack = re.finditer(r'File "(.+)", line (\d+)', "\n".join(lines[crashed[-1] :]))
        own = [f"{path}:{line}" for path, line in (m.groups() for m in stack) if is_own_file(path)]
        return [lines[crashed[-1]], *own][:_LINES_SHOWN]
    return [line for line in lines if not _GREETING.match(line)][-_LINES_SHOWN:]


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


def _end(process: subprocess.Popen[str], printed: IO[str]) -> None:
    for stream in (process.stdin, process.stdout, printed):
        if stream is not None:
            stream.close()
    process.kill()
    process.wait()


def _environment(backend: str) -> dict[str, str]:
    """No GPU: the workers need it, and nothing is trained there."""
    return {
        **plain_environment(os.environ, backend),
        "CUDA_VISIBLE_DEVICES": "-1",
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def _config(name: str, declaration: Declaration) -> type[FamilyConfig]:
    """A configuration with a field for each hyperparameter."""
    fields: dict[str, Any] = {"family": (Literal[name], name)}
    fields |= {
        d.name: (_type(d), _field(d))
        for d in declaration.hyperparameters
        if d.name not in declaration.moved
    }
    with warnings.catch_warnings():
        # Of a name such as `copy`: an old method of pydantic's that is not called here.
        warnings.simplefilter("ignore")
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
