"""A newcomer who types what the manual says gets through: every file and command of its pages."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from docs import notebook, walk
from tuner.cli import main
from tuner.experiment import parse_experiment

ROOT = Path(__file__).parents[2]
# One epoch, and two options of four or more: the results need them all, the commands do not.
SHORTER = {
    r"(?m)^(  epochs:) \d+": r"\1 1",
    r"(\{choice: \[[^,\]]+, [^,\]]+)(?:, [^,\]]+){2,}\]": r"\1]",
}


@pytest.mark.usefixtures("forked_workers")
@pytest.mark.parametrize("path", walk.PAGES, ids=lambda path: path.stem)
def test_every_command_of_a_page_does_what_it_says(path, tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "88")

    def call(words: list[str]) -> str:
        if words[0] == "python":
            runpy.run_path(words[1])
        else:
            status = main.run(words[1:])
            # A machine may lack something that `doctor` speaks of.
            assert status == 0 or words == ["tuner", "doctor"], words
        return capfd.readouterr().out

    page = path.read_text("utf-8")
    for pattern, shorter in SHORTER.items():
        page = re.sub(pattern, shorter, page)
    for step, said in walk.walk(page, tmp_path, call):
        assert step.text.strip(), f"no output; mend with: python -m docs.walk {path}"
        assert bool(said.strip())


def test_what_a_page_runs_is_a_command_of_ours() -> None:
    for path in walk.PAGES:
        for step in walk.steps(path.read_text("utf-8")):
            for words in step.lines if step.kind == "type" else ():
                assert words[0] in ("tuner", "python"), path


def test_the_page_of_the_notebook_has_its_cells() -> None:
    """In their order; what they say is not compared, because it has times in it."""
    import nbformat

    page = notebook.TARGET.read_text("utf-8")
    cells = nbformat.read(notebook.NOTEBOOK, as_version=4).cells[1:]
    at = 0
    for source in notebook.sources(cells):
        assert source in page[at:], "mend with: python -m docs.notebook"
        at = page.index(source, at) + len(source)


@pytest.mark.parametrize("name", ["README.md", "docs/explanation/structure.md"])
def test_an_example_that_is_only_shown_is_valid(name) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", (ROOT / name).read_text("utf-8"), re.DOTALL)
    assert len(parse_experiment(block, name).space) == 24


# ---------------------------------------------------------------------- links

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "results").glob("*.md")]
)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere_in_the_repository_too(path: Path) -> None:
    """`make site` checks those between pages of the manual as they are there."""
    for match in LINK.finditer(without_code(path.read_text("utf-8"))):
        target, _, anchor = (match[1] or match[2]).partition("#")
        if "://" in target:
            continue
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), match[0]
        if anchor:
            assert anchor in anchors(file), match[0]


def anchors(path: Path) -> set[str]:
    """Those of its headings, as code hosts make them."""
    heads = re.findall(r"^#+ (.+)$", without_code(path.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
