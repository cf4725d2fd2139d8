"""One family of errors: what is wrong, where, received, expected, and how to mend it."""

from __future__ import annotations

import difflib
import os
import tempfile
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, in a form that a person can act on."""

    what: str
    where: str = ""
    received: str = ""
    expected: str = ""
    mend: str = ""

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        for label in ("received", "expected", "mend"):
            text = getattr(self, label)
            if text:
                lines.append(f"    {label + ':':<9} {text}")
        return "\n".join(lines)


class TunerError(Exception):
    """Anything that `tuner` reports by itself, without a traceback."""

    exit_code = 1


class InputError(TunerError):
    """The experiment, the data or the command line is wrong; nothing was done.

    Carries every problem that was found, so that a file is mended in one go.
    """

    exit_code = 2

    def __init__(self, problems: Problem | Sequence[Problem]) -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[InputError], tuple[tuple[Problem, ...]]]:
        return InputError, (self.problems,)


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `name` was most likely meant to be, or None."""
    found = difflib.get_close_matches(str(name), [str(c) for c in candidates], n=1, cutoff=0.5)
    return found[0] if found else None


def unexpected(error: Exception) -> tuple[str, str]:
    """An error that nobody foresaw: what it is, and where its traceback lies, in words."""
    what = traceback.format_exception_only(error)[-1].strip()
    again = "TUNER_TRACEBACK=1 prints the traceback"
    try:
        descriptor, name = tempfile.mkstemp(prefix="tuner-traceback-", suffix=".txt")
        os.close(descriptor)
        Path(name).write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    except OSError:
        return what, again
    return what, f"the traceback is in {name}; please report it ({again})"
