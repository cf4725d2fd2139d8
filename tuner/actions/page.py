"""report.html of a run that has ended: a view of it, which must never hide what it found."""

from __future__ import annotations

from tuner.errors import unexpected
from tuner.ledger.folder import RunFolder


def write_run_page(folder: RunFolder) -> str:
    """Write report.html; what went wrong and how to write it later, or nothing."""
    try:
        from tuner.report.page import write_page

        write_page([folder], folder.report)
    except OSError as error:
        reason, hint = error.strerror or str(error), ""
    except Exception as error:
        reason, hint = unexpected(error)
    else:
        return ""
    told = f"report.html could not be written: {reason}; tuner report -f html writes it"
    return f"{told}; {hint}" if hint else told
