"""The HTML page: experiments as one self-contained file that opens anywhere, without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tuner.ledger.folder import RunFolder


def write_page(folders: Sequence[RunFolder], path: Path, *, all_versions: bool = False) -> None:
    """Writes the page of one or several experiments; replaces the file at once or not at all.

    What renders is imported here, because most commands need no page.

    Raises:
        InputError: a ledger is missing, damaged, foreign or of a newer version.
        OSError: the file cannot be written.
    """
    from tuner.ledger.folder import write_atomically
    from tuner.report.page.page import render_page
    from tuner.report.page.source import read_source

    sources = [read_source(folder, all_versions=all_versions) for folder in folders]
    write_atomically(path, render_page(sources))
