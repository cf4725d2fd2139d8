"""The tutorial runs as it is written, from the first cell to the last."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorial.ipynb"
# In the kernel as in the tests; the exception is that of pyproject.toml.
_STRICT = """
import warnings
warnings.simplefilter("error")
warnings.filterwarnings(
    "ignore", "__array__ implementation doesn't accept a copy keyword", DeprecationWarning
)
warnings.filterwarnings("ignore", "For consistency", PendingDeprecationWarning)  # of ipykernel
"""


@pytest.fixture(scope="module")
def executed(
    tmp_path_factory: pytest.TempPathFactory, forked_workers: None
) -> nbformat.NotebookNode:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(_STRICT))
    place = {"metadata": {"path": str(tmp_path_factory.mktemp("tutorial"))}}
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place)
    return client.execute()


def cell(notebook: nbformat.NotebookNode, beginning: str) -> tuple[str, str, str]:
    """What a cell shows as text and as HTML, and what it says meanwhile."""
    found = next(cell for cell in notebook.cells if f"{cell.source}\n".startswith(beginning))
    shown = [output.data for output in found.outputs if "data" in output]
    said = "".join(output.text for output in found.outputs if output.output_type == "stream")
    plain, html = ("".join(data.get(kind, "") for data in shown) for kind in _KINDS)
    return plain, html, said


_KINDS = ("text/plain", "text/html")


def test_it_is_committed_without_outputs():
    """They would be those of one machine and one day; a test shows that every cell runs."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
    assert not any("outputs" in cell.metadata for cell in notebook.cells)


def test_a_student_comes_from_images_to_a_confirmed_result(executed):
    planned, html, _ = cell(executed, "tuner.plan(experiment")
    assert "shapes: 12 trials to run" in planned + html
    assert "300 images of 32x32x3" in html and "circle, square, triangle" in html
    assert "2 structures to compile" in html

    _, _, said = cell(executed, "results = tuner.run")
    assert "[12/12]" in said

    _, html, _ = cell(executed, "results\n")
    assert "<table>" in html
    _, html, _ = cell(executed, "best =")
    assert re.search(r"Trial \d+ of shapes: completed, val_accuracy 0\.[5-9]", html)

    _, html, _ = cell(executed, "tuner.compare")
    assert "lenet" in html and "mlp" in html

    confirmed, _, said = cell(executed, "tuner.confirm")
    assert "on the test set" in confirmed and "over 3 seeds" in confirmed
    assert "[6/6]" in said

    predicted, _, _ = cell(executed, "model = ")
    assert predicted == "['circle', 'square', 'triangle']"

    _, html, _ = cell(executed, "spec[")
    assert "done already" in html


def test_nothing_warns(executed):
    said = [o.text for c in executed.cells for o in c.get("outputs", []) if "text" in o]
    assert not [text for text in said if "Warning" in text]
