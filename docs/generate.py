"""The reference in docs/reference, made from the code.

    python -m docs.generate

A new family, layer or field appears in it by running this again; a test compares.
"""

from __future__ import annotations

import sys
from pathlib import Path

from docs import coming_from, commands, families, in_python, layers, sections

FOLDER = Path(__file__).parent / "reference"
COMMAND = "python -m docs.generate"
_MARK = f"<!-- Generated from the code by `{COMMAND}`; edits here are overwritten. -->\n\n"
_INDEX = f"""# Reference

| page | holds |
|---|---|
| [families.md](families.md) | every network family: fields, sizes, an example |
| [layers.md](layers.md) | every Keras layer: formula, arguments, shapes, source |
| [sections.md](sections.md) | every field of `data:`, `training:`, `objective:` and `search:` |
| [commands.md](commands.md) | every command and its options, exit statuses |
| [python.md](python.md) | what a Python program calls |
| [coming-from.md](coming-from.md) | what keras-tuner, Optuna and others call it |

[The experiment file](../experiment.md) says how values are left open. These pages are generated
from the code by `{COMMAND}` (`make docs`), and a test keeps them so.
"""


def pages() -> dict[str, str]:
    """Name and text of every page."""
    texts = {
        "README.md": _INDEX,
        "families.md": families.page(),
        "layers.md": layers.page(),
        "sections.md": sections.page(),
        "commands.md": commands.page(),
        "python.md": in_python.page(),
        "coming-from.md": coming_from.page(),
    }
    return {name: _MARK + text for name, text in texts.items()}


def main() -> None:
    """Write every page."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{FOLDER / name}\n")


if __name__ == "__main__":
    main()
