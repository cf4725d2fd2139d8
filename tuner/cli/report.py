"""`tuner report`: results as tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from click.core import ParameterSource

from tuner.cli import terminal
from tuner.cli.options import (
    all_versions_option,
    check_format,
    format_option,
    json_option,
    only_option,
    output_option,
    results_option,
)
from tuner.code.process import no_garbage_search
from tuner.errors import InputError, Problem
from tuner.ledger.folder import RunFolder
from tuner.report import format, profile, render, summary, trials_table
from tuner.report.record import RunRecord, read_record
from tuner.report.render import Style
from tuner.report.trial_fields import Setting, bound_of, narrowed, only
from tuner.report.trials_table import TableOptions

_TOP_OF_A_SCREEN = 20
FORMATS = ("table", "csv", "json", "markdown", "latex", "html", "optuna")


@click.command("report")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@format_option(f"{', '.join(FORMATS)} (a study in an SQLite file).")
@output_option
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
    help="A line for each value of NAME: mean, spread and number of its trials. May be repeated. "
    "Default: a line for each configuration if there are replicates; trial: a line for each trial.",
)
@click.option(
    "--min",
    "lower",
    multiple=True,
    metavar="NAME=VALUE",
    help="Only trials with at least this value, as --min score=0.4. May be repeated.",
)
@click.option(
    "--max",
    "upper",
    multiple=True,
    metavar="NAME=VALUE",
    help="Only trials with at most this value, as --max parameters=1e6. May be repeated.",
)
@only_option
@all_versions_option
@json_option
@results_option
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
    settings: list[Setting],
    all_versions: bool,
    as_json: bool,
    results_dir: Path,
) -> None:
    """Results of experiments, best trial first.

    NAME is a folder under --results, or a path. The table says below it which trials and columns
    it leaves out; csv and json have everything.
    """
    folders = [RunFolder.open(name, results_dir) for name in names]
    if form in ("html", "optuna") and not as_json:
        _refuse_selection(form)
        write = _write_page if form == "html" else _write_studies
        write(folders, output, all_versions=all_versions)
        return
    form = "json" if as_json else form
    check_format(form, FORMATS)
    if top is None:
        top = _TOP_OF_A_SCREEN if form == "table" else 0
    options = TableOptions(top, sort, _listed([columns or ""]), _listed(group_by))
    bounds = [
        *(bound_of(text, is_upper=False) for text in lower),
        *(bound_of(text, is_upper=True) for text in upper),
    ]
    style = terminal.style_for() if output is None else render.plain
    with no_garbage_search():
        records = [read_record(folder, all_versions=all_versions) for folder in folders]
        shown = [narrowed(record, bounds) for record in only(records, settings)]
        text = _rendered(form, shown, options, style)
        if form == "table":
            text += "".join(map(_test_set_text, folders, records))
    terminal.emit(text, output)


def table_text(record: RunRecord, options: TableOptions, style: Style) -> str:
    """The table and the summary below it, as `report` and the end of `run` print them."""
    wide = terminal.width()
    with no_garbage_search():
        table = trials_table.trials_table(record, options)
        below = summary.to_text(summary.summarize(record), wide)
    text = f"{render.to_text(table, width=wide, style=style)}\n{below}"
    if apart := trials_table.superseded_table(record):
        text += f"\n{render.to_text(apart, width=wide, style=style)}"
    if record.profile:
        text += f"\n{profile.to_text(record.profile, wide, style)}"
    return text


def _test_set_text(folder: RunFolder, record: RunRecord) -> str:
    """What `confirm` has found on the test set, where the search still stands as it was then."""
    if not record.confirmed:
        return ""
    from tuner.report import prediction_document  # late: few experiments are confirmed
    from tuner.report.page.source import confirmed_of, predicted_of

    confirmed, wide = confirmed_of(folder, record), terminal.width()
    if confirmed is None:
        return ""
    said = render.wrapped(confirmed.sentences[0], wide, "  ")
    text = "\n" + "\n".join(said) + "\n"
    found = predicted_of(folder, confirmed)
    return text + ("\n" + prediction_document.to_text(found, wide) if found else "")


def document(records: list[RunRecord], options: TableOptions) -> dict[str, object]:
    """What `--json` prints: `experiments`, a list, each with trials, groups and summary."""
    entries = []
    for record in records:
        entry = trials_table.to_json(record, options)
        entry["summary"] = render.finite(summary.to_json(summary.summarize(record)))
        entry["profile"] = record.profile.document() if record.profile else None
        entries.append(entry)
    return {"experiments": entries}


# ---------------------------------------------------------------------- formats


def _rendered(form: str, records: list[RunRecord], options: TableOptions, style: Style) -> str:
    if form == "table":
        return "\n".join(table_text(record, options, style) for record in records)
    if form == "csv":
        return render.to_csv(*(trials_table.every_trial(record, options) for record in records))
    if form == "json":
        return terminal.json_text(document(records, options))
    if form == "latex":
        tables = [trials_table.trials_table(r, options, for_paper=True) for r in records]
        apart = filter(None, map(trials_table.superseded_table, records))
        return render.to_latex(*tables, *apart)
    return "\n".join(_markdown(record, options) for record in records)


def _markdown(record: RunRecord, options: TableOptions) -> str:
    table = trials_table.trials_table(record, options)
    parts = [render.to_markdown(table), summary.to_markdown(summary.summarize(record))]
    if apart := trials_table.superseded_table(record):
        parts.append(render.to_markdown(apart))
    if record.profile:
        parts.append(render.to_markdown(profile.profile_table(record.profile)))
    return "\n".join(parts)


def _refuse_selection(form: str) -> None:
    """Page and study have all that there is; whoever shows them sorts and filters."""
    context = click.get_current_context()
    problems = [
        Problem(f"has no effect with -f {form}: everything is in it", option.opts[0])
        for option in context.command.params
        if option.name in ("top", "sort", "columns", "group_by", "lower", "upper", "settings")
        and context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
    ]
    if problems:
        raise InputError(problems)


def _write_page(folders: Sequence[RunFolder], output: Path | None, *, all_versions: bool) -> None:
    """The HTML report of all folders in one file; of a single one, by default, in its folder."""
    from tuner.report.page import write_page

    if output is None and len(folders) > 1:
        raise InputError(Problem("needs a file", "-f html", expected="-o FILE"))
    path = output or folders[0].report
    with terminal.writing(path):
        write_page(folders, path, all_versions=all_versions)
    click.echo(f"wrote {path}", err=True)


def _write_studies(
    folders: Sequence[RunFolder], output: Path | None, *, all_versions: bool
) -> None:
    """A study of Optuna's for each experiment, in one file."""
    from tuner.report.optuna_study import write_studies

    if all_versions:
        what = "a study has one ranking, and earlier versions have no place in it"
        raise InputError(Problem(what, "--all-versions -f optuna", mend="leave one of them out"))
    if output is None:
        raise InputError(Problem("needs a file", "-f optuna", expected="-o study.db"))
    with terminal.writing(output):
        left_out = write_studies(folders, output)
    if left_out:
        count = format.counted(left_out, "trial")
        click.echo(f"left out: {count} that have not ended", err=True)
    click.echo(f"wrote {output}", err=True)


def _listed(texts: Sequence[str]) -> tuple[str, ...]:
    """Names of an option that takes several, separated by commas or given often."""
    return tuple(name.strip() for text in texts for name in text.split(",") if name.strip())
