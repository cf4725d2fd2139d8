"""What a trained network gives: logits, or probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuner.models import is_own
from tuner.models.family import ImageShape
from tuner.models.own import used_values
from tuner.models.own_build import gives_probabilities, load_build, run_uninitialized
from tuner.models.own_compiled import read_compiled


def is_probabilistic(model: Mapping[str, Any], image_shape: ImageShape) -> bool:
    """Whether the network of a closed `model:` section gives probabilities.

    Those of our families give logits; a person's own says it by its last activation or its loss.
    """
    if not is_own(model["family"]):
        return False
    built = run_uninitialized(load_build(model["family"]), used_values(model), image_shape)
    return gives_probabilities(built.model, read_compiled(built.model))
