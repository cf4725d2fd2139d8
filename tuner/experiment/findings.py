"""Collects all that is wrong with one file, so that it is mended in one go."""

from __future__ import annotations

from collections.abc import Iterable

from tuner.errors import InputError, Problem
from tuner.experiment.yaml import MAX_PROBLEMS, Document, Path


def dotted(path: Path) -> str:
    """`model.choice[0].depth`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".") or "the experiment"


class Findings:
    """Problems by the place in the document that they belong to.

    What the reader has already found there is kept, and nothing is added below it: its value is
    not what was meant.
    """

    def __init__(self, document: Document, read: Iterable[tuple[Path, Problem]] = ()) -> None:
        self._document = document
        self._read = list(read)
        self._problems: dict[tuple[Path, str], Problem] = {}
        self._unlisted = 0

    def add(self, source: Path, name: str, problem: Problem) -> None:
        """Reports `problem`, said of `name`, at the place of `source`."""
        if len(self._problems) >= MAX_PROBLEMS:
            self._unlisted += 1
            return
        if any(source[: len(path)] == path for path, _ in self._read):
            return
        what = f"{name}: {problem.what}" if name else problem.what
        located = Problem(
            what,
            problem.where or self._document.where(source),
            problem.received,
            problem.expected,
            problem.mend,
        )
        self._problems.setdefault((source, what), located)

    def where(self, source: Path) -> str:
        """`file:line` of a place, for what is said of two at once."""
        return self._document.where(source)

    def knows(self, source: Path) -> bool:
        """Whether there is such a place, in whichever file."""
        return self._document.knows(source)

    def has_choice(self, path: Path) -> bool:
        """Whether something is wrong with a section itself, or with its options."""
        below = (source[len(path) :] for source, _ in self._problems if source[: len(path)] == path)
        return any(rest[:1] in ((), ("choice",)) for rest in below)

    def __bool__(self) -> bool:
        return bool(self._read or self._problems)

    def raise_if_any(self) -> None:
        """Raises all problems at once, in the order of the file's lines."""
        found = list(self._read)
        found += [(source, problem) for (source, _), problem in self._problems.items()]
        found.sort(key=lambda item: self._document.order(item[0]))
        problems = [problem for _, problem in found]
        if self._unlisted:
            what = f"{MAX_PROBLEMS} problems are listed, and there are more"
            problems.append(Problem(what, self._document.source, mend="mend the first, and again"))
        if problems:
            raise InputError(problems)
