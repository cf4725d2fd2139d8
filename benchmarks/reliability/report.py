"""Where the tables of these measurements go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks import common


def publish(parts: Sequence[str], output: Path | None) -> None:
    """Print, and write with the machine and its versions where asked to."""
    text = "\n".join(parts)
    print(text, flush=True)
    if output:
        output.write_text(f"{common.environment()}\n\n{text}\n")


def verdict(is_good: bool) -> str:
    return "yes" if is_good else "NO"
