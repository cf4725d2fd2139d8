"""docs/notebook.md: the tutorial's notebook as a page, with what its cells say.

    python -m docs.notebook

runs the notebook in a new folder. Do it again after the notebook, or what it shows, has changed; a
test compares the cells.
"""

from __future__ import annotations

import base64
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

HERE = Path(__file__).parent
NOTEBOOK = HERE / "tutorial.ipynb"
TARGET = HERE / "notebook.md"
_MARK = "<!-- Made from tutorial.ipynb by `python -m docs.notebook`; edits here are lost. -->\n"
_NOTE = "[This notebook as a file](tutorial.ipynb). Below each cell is what it said to us.\n"
# What TensorFlow says when it is first imported.
_NOISE = re.compile(
    r"^(?:WARNING: All log messages|[IWEF]\d{4} |To enable the following).*\n", re.MULTILINE
)


def main() -> None:
    """Run the notebook and write the page."""
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        place = {"metadata": {"path": folder}}
        client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place)
        client.coalesce_streams = True
        client.execute()
    TARGET.write_text(page(notebook).replace(f"{folder}/", ""), "utf-8")
    sys.stdout.write(f"{TARGET}\n")


def page(notebook: Any) -> str:
    """The Markdown of an executed notebook; writes its pictures beside."""
    first, *others = notebook.cells
    title, _, rest = sources([first])[0].partition("\n")
    parts = [_MARK, f"{title}\n", _NOTE, rest.strip() + "\n"]
    for number, cell in enumerate(others):
        parts += [*sources([cell]), *_outputs(cell, number)]
    return "\n".join(parts)


def sources(cells: list[Any]) -> list[str]:
    """What was written into cells, as the page has it."""
    return [
        f"```python\n{cell.source}\n```\n" if cell.cell_type == "code" else f"{cell.source}\n"
        for cell in cells
    ]


def _outputs(cell: Any, number: int) -> Iterator[str]:
    for output in cell.get("outputs", ()):
        data = output.get("data", {})
        if "image/png" in data:
            picture = HERE / f"notebook-{number}.png"
            picture.write_bytes(base64.b64decode(data["image/png"]))
            yield f"![What the cell shows]({picture.name})\n"
        elif "text/html" in data:
            yield _html(data["text/html"])
        else:
            text = _NOISE.sub("", output.get("text") or data.get("text/plain", ""))
            if text.strip():
                yield f"```text\n{text.rstrip()}\n```\n"


def _html(text: str) -> str:
    """Without styles, and without empty lines: Markdown would end the block there."""
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)
    text = text.replace('style="text-align: right"', 'align="right"')
    text = re.sub(r' (?:border|class|style)="[^"]*"', "", text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return '<div class="output">\n' + "\n".join(lines) + "\n</div>\n"


if __name__ == "__main__":
    main()
