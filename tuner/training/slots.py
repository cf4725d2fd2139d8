"""What an optimizer keeps per weight; known without a framework."""

from __future__ import annotations

NUM_SLOTS = {"sgd": 1, "adam": 2, "adamw": 2}
