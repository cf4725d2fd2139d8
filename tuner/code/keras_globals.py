"""What Keras keeps for a whole process and reads wherever no argument says otherwise.

`~/.keras/keras.json` and environment variables set it for everything that a person runs, so that it
would change what trials give without being a part of them: here a network is always built, trained
and written under Keras' own defaults. A person's process has its own values back afterwards.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_DEFAULTS: dict[str, Any] = {
    "floatx": "float32",
    "epsilon": 1e-7,
    "image_data_format": "channels_last",
    "max_epochs": None,  # of fit, evaluate and predict
    "max_steps_per_epoch": None,
}
# A precision belongs to the experiment, so that a network may be built under another policy.
_POLICY = "dtype_policy"


def settings_differ(environment: Mapping[str, str]) -> bool:
    """Whether `keras.json` may say otherwise; Keras, which is slow to import, is not asked."""
    home = environment.get("KERAS_HOME") or os.path.expanduser("~/.keras")
    try:
        written = json.loads(Path(home, "keras.json").read_text("utf-8"))
        return any(written.get(name, value) != value for name, value in _DEFAULTS.items())
    except (OSError, ValueError, AttributeError):
        return False


def set_keras_defaults() -> None:
    """In a process of ours, once."""
    _set({**_DEFAULTS, _POLICY: "float32"})


@contextmanager
def keras_defaults() -> Iterator[None]:
    """Keras' own defaults, in a person's process, for a while."""
    with kept_globals():
        set_keras_defaults()
        yield


@contextmanager
def kept_globals() -> Iterator[dict[str, str]]:
    """What is changed inside is as before afterwards; and is told, in words, by name."""
    before = _values()
    changes: dict[str, str] = {}
    try:
        yield changes
    finally:
        after = _values()
        changes |= {name: _text(after[name]) for name in after if after[name] != before[name]}
        _set(before)


def _text(value: Any) -> str:
    return str(getattr(value, "name", value))


def _values() -> dict[str, Any]:
    import keras

    values = {name: getattr(_config(), name)() for name in _DEFAULTS}
    return {**values, _POLICY: keras.config.dtype_policy()}


def _set(values: dict[str, Any]) -> None:
    import keras

    for name in _DEFAULTS:
        getattr(_config(), f"set_{name}")(values[name])
    # Last: floatx does not change a policy that is set.
    keras.config.set_dtype_policy(values[_POLICY])


def _config() -> Any:
    from keras.src.backend import config  # keras.config sets the last two, and does not tell them

    return config
