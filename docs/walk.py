"""The pages that are walked through: their files are written, their commands run, one by one.

    python -m docs.walk docs/tutorial.md [more pages]

runs the pages in new folders, and writes what the commands say into the pages. A block of code that
has a title is a file, a block `sh` is typed, and a block `text` right below is what its last
command said. Nothing else is run. Do it again after texts have changed; a test walks, too.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PAGES = (HERE / "tutorial.md", *sorted((HERE / "howto").glob("*.md")))
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```\n', re.DOTALL | re.MULTILINE)
_WIDTH = 88


@dataclass(frozen=True)
class Step:
    """A file to write, lines to type, or what they have said: a block and its place."""

    kind: str
    text: str
    start: int
    end: int
    name: str = ""

    @property
    def lines(self) -> list[list[str]]:
        """The commands, as words."""
        joined = self.text.replace("\\\n", " ")
        return [words for line in joined.splitlines() if (words := shlex.split(line, True))]


def steps(page: str) -> Iterator[Step]:
    """What there is to do, in order."""
    typed_until = -1
    for found in _BLOCK.finditer(page):
        language, name, text = found.groups()
        place = {"text": text, "start": found.start(3), "end": found.end(3)}
        if name:
            yield Step("file", name=name, **place)
        elif language == "sh":
            yield Step("type", **place)
            typed_until = found.end()
        elif language == "text" and not page[typed_until : found.start()].strip():
            yield Step("said", **place)


def walk(page: str, folder: Path, call: Callable[[list[str]], str]) -> Iterator[tuple[Step, str]]:
    """Does it in a folder; gives each block of what was said, and what is said now."""
    said = ""
    for step in steps(page):
        if step.kind == "file":
            target = folder / step.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(step.text, "utf-8")
        elif step.kind == "type":
            for words in step.lines:
                said = call(words)
        else:
            yield step, said


def main() -> None:
    """Walk through the pages that are named."""
    for name in sys.argv[1:]:
        path = Path(name)
        page = path.read_text("utf-8")
        with tempfile.TemporaryDirectory() as folder:
            found = list(walk(page, Path(folder), lambda words: _typed(words, folder)))
        for step, said in reversed(found):
            page = page[: step.start] + said + page[step.end :]
        path.write_text(page, "utf-8")


def _typed(words: list[str], folder: str) -> str:
    """What a command says to a person at a terminal without colours."""
    sys.stderr.write(f"$ {shlex.join(words)}\n")
    program = [sys.executable, "-m", "tuner"] if words[0] == "tuner" else [sys.executable]
    environ = {**os.environ, "COLUMNS": str(_WIDTH), "PYTHONPATH": str(HERE.parent)}
    done = subprocess.run(
        [*program, *words[1:]], cwd=folder, env=environ, text=True, stdout=subprocess.PIPE
    )
    if done.returncode:
        sys.exit(f"{shlex.join(words)}: exit status {done.returncode}")
    said = done.stdout.replace(f"{folder}/", "")
    return "".join(f"{line.rstrip()}\n" for line in said.splitlines())


if __name__ == "__main__":
    main()
