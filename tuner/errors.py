"""One family of errors: what is wrong, where, received, expected, and how to mend it."""

from __future__ import annotations

import difflib
import os
import re
import tempfile
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuner.synonyms import our_names


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
        parts = {"received": self.received, "expected": self.expected, "fix": self.mend}
        lines += [f"    {label + ':':<9} {text}" for label, text in parts.items() if text]
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


# TensorFlow's ResourceExhaustedError, JAX' JaxRuntimeError, CUDA's and the allocators' own words.
_MEMORY_WORDS = (
    "resource_exhausted",
    "out of memory",
    "oom when allocating",
    "cannot allocate memory",
)
# How Keras and TensorFlow begin, before they say what it was; and what stands in front of that.
# Not compiled here: every command would wait for it.
_PREAMBLE = (
    r"Exception encountered when calling |Could not automatically infer the output shape"
    r"|Graph execution error|Detected at node|File \"|<stack traces|\[\[\{\{|\d+ root error"
)
_DECORATION = r"\x1b\[[0-9;]*m|^\(\d+\) |^\{\{function_node [^}]*\}\} "
_ARGUMENTS = "Arguments received by "  # and after that Keras lists them
MAX_REASON = 300  # characters


def is_about_memory(text: str) -> bool:
    """Whether what an error says is that memory was short."""
    return any(word in text.lower() for word in _MEMORY_WORDS)


def telling_line(error: BaseException) -> str:
    """The line of an error's text that says most: about memory, or else the first of the cause."""
    text = str(error).partition(_ARGUMENTS)[0]
    lines = [re.sub(_DECORATION, "", line.strip()).strip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    about = [line for line in lines if is_about_memory(line)]
    causes = [line for line in lines if not re.match(_PREAMBLE, line)]
    return next(iter(about or causes or lines), "")


def reason_of(error: BaseException) -> str:
    """Kind and most telling line of an error, short enough for a table."""
    line = telling_line(error)
    text = f"{type(error).__name__}: {line}" if line else type(error).__name__
    return text if len(text) <= MAX_REASON else text[: MAX_REASON - 1] + "…"


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `name` was most likely meant to be, or None.

    First what other tools call so, then what is spelled alike.
    """
    candidates = [str(candidate) for candidate in candidates]
    last = {candidate.rpartition(".")[2]: candidate for candidate in reversed(candidates)}
    for ours in our_names(str(name).rpartition(".")[2]):
        known = ours.rpartition(": ")[2], ours.rpartition(".")[2]
        if meant := next((last[part] for part in known if part in last), None):
            return meant
    lower = {candidate.lower(): candidate for candidate in reversed(candidates)}
    found = difflib.get_close_matches(str(name).lower(), lower, n=1, cutoff=0.5)
    return lower[found[0]] if found else None


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
