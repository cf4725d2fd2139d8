"""`tuner report`: results as tables."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from tuner.cli import terminal
from tuner.cli.options import json_option, results_option
from tuner.errors import InputError, Problem
from tuner.ledger.folder import RunFolder, write_atomically
from tuner.report import render, summary, tables
from tuner.report.record import RunRecord, read_record
from tuner.report.tables import TableOptions

FORMATS = ("table", "csv", "markdown", "json")
_TOP_OF_A_SCREEN = 20


@click.command("report")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "-f",
    "--format",
    "form",
    default="table",
    show_default=True,
    metavar="FORMAT",
    help=", ".join(FORMATS) + ".",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to FILE instead of the terminal.",
)
@click.option(
    "--top",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Only the N best; 0 for all. Default: {_TOP_OF_A_SCREEN} for table, else all.",
)
@click.option("--sort", metavar="COLUMN", help="Sort by a column; -COLUMN for descending.")
@click.option("--columns", metavar="A,B,…", help="Only these columns, in this order.")
@json_option()
@results_option()
def command(
    names: tuple[str, ...],
    form: str,
    output: Path | None,
    top: int | None,
    sort: str | None,
    columns: str | None,
    as_json: bool,
    results_dir: Path,
) -> None:
    """Results of experiments, best trial first.

    NAME is a folder under --results, or a path. The table says below it which trials and columns
    it leaves out; csv and json have everything.
    """
    form = _checked_format("json" if as_json else form)
    if top is None:
        top = _TOP_OF_A_SCREEN if form == "table" else 0
    chosen = tuple(name.strip() for name in (columns or "").split(",") if name.strip())
    options = TableOptions(top, sort, chosen)
    with _many_objects():
        records = [read_record(RunFolder.open(name, results_dir)) for name in names]
        text = _rendered(records, form, options, to_terminal=output is None)
    if output is None:
        click.echo(text, nl=False)
    else:
        _write(output, text)


def table_text(record: RunRecord, options: TableOptions, *, to_terminal: bool = True) -> str:
    """The table and the summary below it, as `report` and the end of `run` print them."""
    wide = terminal.width()
    style = terminal.style_for() if to_terminal else render.plain
    table = tables.human_table(record, options)
    below = summary.to_text(summary.summarize(record), wide)
    return f"{render.to_text(table, width=wide, style=style)}\n{below}"


def document(records: list[RunRecord], options: TableOptions) -> dict[str, object]:
    """What `--json` prints: `experiments`, a list, each with trials and summary."""
    found = []
    for record in records:
        entry = render.to_json(tables.full_table(record, options))
        entry["summary"] = render.finite(summary.to_json(summary.summarize(record)))
        found.append(entry)
    return {"experiments": found}


@contextmanager
def _many_objects() -> Iterator[None]:
    """Without looking for cycles among the rows meanwhile: a quarter of the time of 100,000."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _rendered(
    records: list[RunRecord], form: str, options: TableOptions, *, to_terminal: bool
) -> str:
    if form == "csv":
        return render.to_csv([tables.full_table(record, options) for record in records])
    if form == "json":
        import json

        return json.dumps(document(records, options), indent=2, allow_nan=False) + "\n"
    if form == "markdown":
        return "\n".join(_markdown(record, options) for record in records)
    return "\n".join(table_text(record, options, to_terminal=to_terminal) for record in records)


def _markdown(record: RunRecord, options: TableOptions) -> str:
    table = render.to_markdown(tables.human_table(record, options))
    return f"{table}\n{summary.to_markdown(summary.summarize(record))}"


def _checked_format(form: str) -> str:
    if form in FORMATS:
        return form
    later = form in ("html", "latex")
    raise InputError(
        Problem(
            "not available in this version" if later else "there is no such format",
            where="--format",
            received=form,
            expected=", ".join(FORMATS),
        )
    )


def _write(path: Path, text: str) -> None:
    try:
        write_atomically(path, text)
    except OSError as error:
        problem = Problem("cannot write", where=str(path), received=error.strerror or str(error))
        raise InputError(problem) from error
