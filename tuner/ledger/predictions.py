"""What a network has said of each test image, as the ledger keeps it.

`tuner confirm` reads the test set once for each of its trials. All that is said of single images
later (accuracy of each class, confusions, calibration) comes from these numbers, so that nothing
is evaluated a second time, and a crash loses none of them: they are an event of the ledger.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tuner.errors import TunerError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

PREDICTIONS = "predictions"
"""Kind of the events that keep them, one for each trial that has read the test set."""

# Of log p rather than of p: so both 0.9999999 and 0.0000001 keep their digits.
_TYPES = {"labels": "<i4", "predicted": "<i4", "log_predicted": "<f4", "log_true": "<f4"}


@dataclass(frozen=True, eq=False)
class ImagePredictions:
    """Of each image, in the order of the data set: its class, the one that was predicted, and the
    logarithms of the probabilities of both.
    """

    labels: NDArray[Any]
    predicted: NDArray[Any]
    log_predicted: NDArray[Any]
    log_true: NDArray[Any]

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the prediction is right."""
        right: NDArray[np.bool_] = self.labels == self.predicted
        return right

    @cached_property
    def probability(self) -> Floats:
        """Of the class that was predicted: how sure the network is."""
        return _exponential(self.log_predicted)

    @cached_property
    def true_probability(self) -> Floats:
        """Of the class that the image has."""
        return _exponential(self.log_true)

    def to_detail(self, trial: int, epoch: int) -> dict[str, Any]:
        """The detail of the event that keeps them: 130 kB for 10,000 images."""
        packed = {name: _packed(getattr(self, name), kind) for name, kind in _TYPES.items()}
        return {"trial": trial, "epoch": epoch, "images": len(self), **packed}

    @classmethod
    def from_detail(cls, detail: Mapping[str, Any]) -> ImagePredictions:
        """What `to_detail` gave.

        Raises:
            TunerError: it is something else.
        """
        try:
            count = int(detail["images"])
            return cls(**{n: _unpacked(detail[n], kind, count) for n, kind in _TYPES.items()})
        except (KeyError, TypeError, ValueError, binascii.Error, zlib.error) as error:
            raise TunerError(f"the predictions in the ledger cannot be read: {error}") from error


def _exponential(logarithms: NDArray[Any]) -> Floats:
    import numpy as np

    return np.asarray(np.exp(logarithms.astype(np.float64)))


def _packed(values: NDArray[Any], kind: str) -> str:
    return base64.b64encode(zlib.compress(values.astype(kind).tobytes())).decode()


def _unpacked(text: str, kind: str, count: int) -> NDArray[Any]:
    import numpy as np

    num_bytes = count * np.dtype(kind).itemsize
    # Never more than is expected, however small it was packed.
    content = zlib.decompressobj().decompress(base64.b64decode(text), num_bytes + 1)
    if len(content) != num_bytes:
        raise ValueError(f"{len(content)} bytes, and not {num_bytes}")
    return np.frombuffer(content, kind)
