"""What a person's `HyperModel.fit` hands to `model.fit`, found out by running it with stand-ins.

Nothing is trained by it: what it gives of batch size, epochs, shuffling and class weights becomes
a part of `training:`. Images and labels are not there, and whatever else `fit` does with them, with
the model or with the results would be lost: it is refused.
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tuner.code.loading import raised
from tuner.errors import Problem

# Arguments of `model.fit` that `training:` has by the same name.
TRAINING = ("batch_size", "epochs", "shuffle", "class_weight")
# Those that change nothing about the training.
_HARMLESS = frozenset({"verbose", "validation_batch_size", "validation_freq"})
# What others have to be, if they are given.
_PLAIN = {
    "validation_split": 0,
    "sample_weight": None,
    "initial_epoch": 0,
    "steps_per_epoch": None,
    "validation_steps": None,
}
_MENDS = {
    "validation_split": "leave it out; data.validation in the file has it",
    "EarlyStopping": "leave it out; search.stop: {rule: patience, epochs: 5} in the file has it",
    "LearningRateScheduler": "leave it out; training.schedule in the file has it",
    "ReduceLROnPlateau": "leave it out; training.schedule in the file has it",
}
# Callbacks that watch and keep.
_WATCHING = (
    *("BackupAndRestore", "CSVLogger", "History", "ModelCheckpoint"),
    *("ProgbarLogger", "TensorBoard", "TerminateOnNaN"),
)
# Everything else that trains a model, asks it, or makes another of it.
_OTHER_CALLS = (
    *("train_on_batch", "evaluate", "predict", "predict_on_batch", "test_on_batch"),
    *("train_step", "test_step", "load_weights", "set_weights", "compile", "export", "save"),
)

_OBJECTIVE = "return model.fit(...), and objective: in the file"

Fit = Callable[..., Any]


@dataclass(frozen=True)
class FitArguments:
    """Values of `training:` as `fit` gave them, and what cannot be had.

    Each of `refused` comes with the name of `training:` that takes its place if the file writes it.
    """

    values: Mapping[str, Any]
    refused: tuple[tuple[Problem, str | None], ...] = ()
    notes: tuple[str, ...] = ()


def own_fit(build: Callable[[Any], Any]) -> Fit | None:
    """The `fit` beside a `build`, unless it is keras-tuner's own."""
    import keras_tuner

    owner = getattr(build, "__self__", None)
    fit = getattr(type(owner), "fit", None)
    return None if owner is None or fit in (None, keras_tuner.HyperModel.fit) else owner.fit


def follow_fit(fit: Fit, hp: Any, model: Any) -> FitArguments:
    """What `fit` does with a model that has just been built."""
    follow = _Follow(model)
    try:
        with follow.recording():
            returned = follow.run(fit, hp)
    except _LookedAtError as error:
        what, received, mend = error.args
        follow.refuse(what, received, mend=mend)
    except Exception as error:
        follow.refuse("cannot be followed", raised(error))
    else:
        follow.read_call(returned)
    return FitArguments(follow.values, tuple(follow.refused), tuple(follow.notes))


class _LookedAtError(Exception):
    """The person's `fit` looks at what is only there when a model is trained."""


class _StandIn:
    """For what can be handed on, and not looked at."""

    def __init__(self, name: str, mend: str) -> None:
        self.__dict__["_name"] = name
        self.__dict__["_mend"] = mend

    def _refuse(self, *_: Any, **__: Any) -> Any:
        name, mend = self.__dict__["_name"], self.__dict__["_mend"]
        raise _LookedAtError(f"looks at {name}", "not only handed on to model.fit", mend)

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in ("__array__", "__array_interface__"):
            raise AttributeError(name)
        return self._refuse()

    __len__ = __iter__ = __getitem__ = __bool__ = __call__ = __array__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = _refuse
    __floordiv__ = __rfloordiv__ = __rtruediv__ = __lt__ = __gt__ = __int__ = __index__ = _refuse


class _Follow:
    """One run of a `fit`."""

    def __init__(self, model: Any) -> None:
        self.values: dict[str, Any] = {}
        self.refused: list[tuple[Problem, str | None]] = []
        self.notes: list[str] = []
        self._model = model
        mend = "what is done to images or labels belongs to data: in the file, or into the network"
        self._images, self._labels = _StandIn("the images", mend), _StandIn("the labels", mend)
        mend = "data.validation in the file"
        self._validation = tuple(
            _StandIn(f"the validation {n}", mend) for n in ("images", "labels")
        )
        self._results = _StandIn("the results of model.fit", _OBJECTIVE)
        self._callback = _StandIn("a callback", "")
        self._given = {n: _StandIn(n, f"training.{n} in the file") for n in TRAINING}
        self._calls: list[dict[str, Any]] = []

    @contextmanager
    def recording(self) -> Iterator[None]:
        """While `fit` runs, the model trains nothing."""
        replaced = {"fit": self._recorder()} | {n: self._other(n) for n in _OTHER_CALLS}
        shape = _trained(self._model)
        for name, function in replaced.items():
            object.__setattr__(self._model, name, function)
        try:
            yield
        finally:
            for name in replaced:
                object.__delattr__(self._model, name)
        if _trained(self._model) != shape:
            self.refuse("changes the model", "trainable", mend="do it in build()")

    def run(self, fit: Fit, hp: Any) -> Any:
        """`fit` as keras-tuner calls it; `epochs` and others only if it cannot do without."""
        others = {"validation_data": self._validation, "callbacks": [self._callback]}
        asked = {**self._given, "verbose": 0}  # keras-tuner hands on what search() was given
        parameters = inspect.signature(fit).parameters.values()
        takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
        named = {p.name: p for p in parameters if p.kind is not p.VAR_POSITIONAL}
        given = {n: value for n, value in others.items() if takes_all or n in named}
        required = {n for n, p in named.items() if p.default is p.empty and n in asked}
        while True:
            keywords = given | {n: asked[n] for n in required}
            try:
                return fit(hp, self._model, self._images, self._labels, **keywords)
            except KeyError as error:  # kwargs["epochs"]
                name = error.args[0] if error.args else None
                if name not in asked or name in required:
                    raise
                required.add(name)

    def read_call(self, returned: Any) -> None:
        """The arguments of the one call of `model.fit`, whose results are returned."""
        if len(self._calls) != 1:
            self.refuse("trains the model in its own way", f"{len(self._calls)} calls of model.fit")
            return
        if returned is not None and returned is not self._results:
            self.refuse("gives a score of its own", repr(returned), mend=_OBJECTIVE)
        for name, value in self._calls[0].items():
            if name in TRAINING:
                self._read_value(name, value)
            elif name == "callbacks":
                self._read_callbacks(value or ())
            elif not self._is_plain(name, value):
                received = f"{name}={value!r}" if name in _PLAIN else f"another {name}"
                self.refuse("changes what is trained", received, mend=_MENDS.get(name, ""))

    def refuse(
        self, what: str, received: str, *, mend: str = "", unless: str | None = None
    ) -> None:
        """Something that cannot be had."""
        expected = f"model.fit(*args, **kwargs), with {', '.join(TRAINING)} if wanted"
        mend = mend or "leave it out of fit(): training:, data: and search: in the file have it"
        problem = Problem(f"HyperModel.fit {what}", "model.family", received, expected, mend)
        self.refused.append((problem, unless))

    def _recorder(self) -> Callable[..., Any]:
        """For `model.fit`: Python tells the same mistakes in a call of it."""
        import keras

        signature = inspect.signature(keras.Model.fit)

        @functools.wraps(keras.Model.fit)
        def record(*args: Any, **kwargs: Any) -> Any:
            given = signature.bind(self._model, *args, **kwargs).arguments
            self._calls.append({name: x for name, x in given.items() if name != "self"})
            return self._results

        return record

    def _other(self, name: str) -> Callable[..., Any]:
        def call(*_: Any, **__: Any) -> Any:
            raise _LookedAtError("does more than to call model.fit", f"model.{name}", "")

        return call

    def _read_value(self, name: str, value: Any) -> None:
        if value is None or value is self._given[name]:
            return
        if (read := _plain_value(name, value)) is None:
            mend = f"training.{name} in the file"
            self.refuse(
                f"gives a {name} that is not supported", repr(value), mend=mend, unless=name
            )
            return
        self.values[name] = read

    def _read_callbacks(self, callbacks: Any) -> None:
        for callback in callbacks if isinstance(callbacks, list | tuple) else [callbacks]:
            kind = type(callback).__name__
            if kind in _WATCHING:
                self.notes.append(f"{kind} of fit() is not used")
            elif callback is not self._callback:
                mend = _MENDS.get(kind, "")
                self.refuse("has callbacks that change the training", kind, mend=mend)

    def _is_plain(self, name: str, value: Any) -> bool:
        if name in _HARMLESS or value is None:
            return name not in ("x", "y")
        if name == "validation_data":
            pair = tuple(value) if isinstance(value, list | tuple) else ()
            return len(pair) == 2 and all(map(operator.is_, pair, self._validation))
        if name in ("x", "y"):
            return value is (self._images if name == "x" else self._labels)
        return name in _PLAIN and type(value) in (int, float) and value == _PLAIN[name]


def _plain_value(name: str, value: Any) -> Any:
    """As `training:` has it; None if it cannot."""
    value = value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value
    if name == "class_weight":
        if not isinstance(value, Mapping):
            return None
        weights = {_plain_value("key", k): _plain_value("weight", v) for k, v in value.items()}
        return None if None in (*weights, *weights.values()) else weights
    if name == "shuffle":
        return value if isinstance(value, bool) else None
    kinds: tuple[type, ...] = (int, float) if name == "weight" else (int,)
    return value if type(value) in kinds else None


def _trained(model: Any) -> list[tuple[str, bool]]:
    return [(variable.path, variable.trainable) for variable in model.variables]
