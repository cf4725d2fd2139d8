"""`tuner report`: results as tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from tuner.cli import terminal
from tuner.cli.options import json_option, output_option, results_option
from tuner.errors import InputError, Problem
from tuner.ledger.folder import RunFolder
from tuner.report import summary, words
from tuner.report.record import RunRecord, many_objects, read_record
from tuner.report.tabular import formats, latex, render, tables
from tuner.report.tabular.filters import bound_of, narrowed
from tuner.report.tabular.tables import TableOptions

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
    help="table, csv, json, markdown, latex, html or optuna (a study in an SQLite file).",
)
@output_option()
@click.option(
    "--top",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Only the N best; 0 for all. Default: {_TOP_OF_A_SCREEN} for table, else all.",
)
@click.option("--sort", metavar="COLUMN", help="Sort by a column; -COLUMN for descending.")
@click.option("--columns", metavar="A,B,…", help="Only these columns, in this order.")
@click.option(
    "--group-by",
    "group_by",
    multiple=True,
    metavar="NAME",
    help="A line for each value of NAME: mean, spread and number of its trials. May be given "
    "often. Default: a line for each configuration if there are replicates; trial undoes it.",
)
@click.option(
    "--min",
    "lower",
    multiple=True,
    metavar="NAME=VALUE",
    help="Only trials with at least so much, as --min score=0.4. May be given often.",
)
@click.option(
    "--max",
    "upper",
    multiple=True,
    metavar="NAME=VALUE",
    help="Only trials with at most so much, as --max parameters=1e6. May be given often.",
)
@json_option()
@results_option()
def command(
    names: tuple[str, ...],
    form: str,
    output: Path | None,
    top: int | None,
    sort: str | None,
    columns: str | None,
    group_by: tuple[str, ...],
    lower: tuple[str, ...],
    upper: tuple[str, ...],
    as_json: bool,
    results_dir: Path,
) -> None:
    """Results of experiments, best trial first.

    NAME is a folder under --results, or a path. The table says below it which trials and columns
    it leaves out; csv and json have everything.
    """
    folders = [RunFolder.open(name, results_dir) for name in names]
    if form == "html" and not as_json:
        _refuse_for(form, top, sort, columns, group_by, lower, upper)
        _write_page(folders, output)
        return
    if form == "optuna" and not as_json:
        _refuse_for(form, top, sort, columns, group_by, lower, upper)
        _write_studies(folders, output)
        return
    renderer = _renderer("json" if as_json else form)
    if top is None:
        top = _TOP_OF_A_SCREEN if renderer is _tables else 0
    options = TableOptions(top, sort, _listed([columns or ""]), _listed(group_by))
    bounds = [
        *(bound_of(text, is_upper=False) for text in lower),
        *(bound_of(text, is_upper=True) for text in upper),
    ]
    with many_objects():
        records = [narrowed(read_record(folder), bounds) for folder in folders]
        text = renderer(records, options, output is None)
    terminal.emit(text, output)


def table_text(record: RunRecord, options: TableOptions, *, to_terminal: bool = True) -> str:
    """The table and the summary below it, as `report` and the end of `run` print them."""
    wide = terminal.width()
    style = terminal.style_for() if to_terminal else render.plain
    with many_objects():
        table = render.to_text(tables.human_table(record, options), width=wide, style=style)
        below = summary.to_text(summary.summarize(record), wide)
    return f"{table}\n{below}"


def document(records: list[RunRecord], options: TableOptions) -> dict[str, object]:
    """What `--json` prints: `experiments`, a list, each with trials, groups and summary."""
    asks_groups = options.group_by not in ((), tables.SINGLE)
    trials = TableOptions(group_by=tables.SINGLE) if asks_groups else options
    found = []
    for record in records:
        groups = None
        if asks_groups or tables.is_replicated(record):
            groups = tables.lines_table(record, options if asks_groups else TableOptions())
        entry = formats.to_json(tables.full_table(record, trials), groups)
        entry["summary"] = render.finite(summary.to_json(summary.summarize(record)))
        found.append(entry)
    return {"experiments": found}


# ---------------------------------------------------------------------- formats

Renderer = Callable[[list[RunRecord], TableOptions, bool], str]  # (…, to a terminal) → text


def _tables(records: list[RunRecord], options: TableOptions, to_terminal: bool) -> str:
    return "\n".join(table_text(record, options, to_terminal=to_terminal) for record in records)


def _csv(records: list[RunRecord], options: TableOptions, to_terminal: bool) -> str:
    return formats.to_csv([tables.full_table(record, options) for record in records])


def _json(records: list[RunRecord], options: TableOptions, to_terminal: bool) -> str:
    return json.dumps(document(records, options), indent=2, allow_nan=False) + "\n"


def _markdown(records: list[RunRecord], options: TableOptions, to_terminal: bool) -> str:
    return "\n".join(
        f"{formats.to_markdown(tables.human_table(record, options))}\n"
        f"{summary.to_markdown(summary.summarize(record))}"
        for record in records
    )


def _latex(records: list[RunRecord], options: TableOptions, to_terminal: bool) -> str:
    return "\n".join(latex.to_latex(tables.human_table(record, options)) for record in records)


_RENDERERS: dict[str, Renderer] = {
    "table": _tables,
    "csv": _csv,
    "json": _json,
    "markdown": _markdown,
    "latex": _latex,
}


def _renderer(form: str) -> Renderer:
    if form in _RENDERERS:
        return _RENDERERS[form]
    raise InputError(
        Problem(
            "there is no such format",
            where="--format",
            received=form,
            expected=", ".join(_RENDERERS),
        )
    )


def _refuse_for(
    form: str,
    top: int | None,
    sort: str | None,
    columns: str | None,
    group_by: Sequence[str],
    lower: Sequence[str],
    upper: Sequence[str],
) -> None:
    """Page and study have all that there is; whoever shows them sorts and filters."""
    given = {
        "--top": top is not None,
        "--sort": sort is not None,
        "--columns": columns is not None,
        "--group-by": bool(group_by),
        "--min": bool(lower),
        "--max": bool(upper),
    }
    problems = [
        Problem(f"has no effect with -f {form}: everything is in it", name)
        for name, is_given in given.items()
        if is_given
    ]
    if problems:
        raise InputError(problems)


def _write_page(folders: Sequence[RunFolder], output: Path | None) -> None:
    """The HTML report of all folders in one file; of a single one, by default, in its folder."""
    from tuner.report.page import write_page

    if output is None and len(folders) > 1:
        raise InputError(Problem("needs a file", "-f html", expected="-o FILE"))
    path = output or folders[0].report
    with terminal.writing(path):
        write_page(folders, path)
    click.echo(f"wrote {path}", err=True)


def _write_studies(folders: Sequence[RunFolder], output: Path | None) -> None:
    """A study of Optuna's for each experiment, in one file."""
    from tuner.report.optuna_study import write_studies

    if output is None:
        raise InputError(Problem("needs a file", "-f optuna", expected="-o study.db"))
    with terminal.writing(output):
        left_out = write_studies(folders, output)
    if left_out:
        count = words.counted(left_out, "trial")
        click.echo(f"left out: {count} that have not ended", err=True)
    click.echo(f"wrote {output}", err=True)


def _listed(texts: Sequence[str]) -> tuple[str, ...]:
    """Names of an option that takes several, separated by commas or given often."""
    return tuple(name.strip() for text in texts for name in text.split(",") if name.strip())
