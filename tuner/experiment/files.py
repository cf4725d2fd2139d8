"""Reads a text file that a person named, no further than such a file can be."""

from __future__ import annotations

from pathlib import Path

from tuner.errors import InputError, Problem


def read_text(path: Path, name: str, most: int, mend: str = "") -> str:
    """The file's text; `name` says what it is, `most` is the number of bytes it may have.

    Raises:
        InputError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
        if len(content) > most:
            expected = f"at most {most:,} bytes"
            raise InputError(Problem("the file is too large", str(path), expected=expected))
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"not UTF-8: byte {error.start + 1} cannot be read"
        raise InputError(Problem(what, str(path), mend="save it as UTF-8")) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        what = f"{name} cannot be read: {reason}"
        raise InputError(Problem(what, str(path), mend=mend)) from None
