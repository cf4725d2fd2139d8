"""Options that several commands share, and types of values that people type."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from tuner.cli import terminal
from tuner.errors import InputError, Problem
from tuner.experiment.duration import duration_text, parse_duration
from tuner.ledger.folder import run_of

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class Folder(click.Path):
    """A folder that is there or can be made; `~` is the home."""

    name = "folder"

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; what can be no folder is refused in words."""
        path = os.path.expanduser(os.fspath(value))
        try:
            os.stat(path)
        except FileNotFoundError:
            if os.path.islink(path):
                self.fail(f"{path!r} is a link to nothing.", param, ctx)
        except OSError as error:
            self.fail(f"{_shown(path)}: {error.strerror}.", param, ctx)
        else:
            if not os.path.isdir(path):
                self.fail(f"{path!r} is no folder.", param, ctx)
        return super().convert(path, param, ctx)


def _shown(path: str) -> str:
    return repr(path if len(path) <= 100 else path[:97] + "...")


_FOLDER = Folder()


class Duration(click.ParamType[float]):
    """A time such as 2h, 90m, 30s or 1h30m, in seconds."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Seconds; a number without a unit is refused."""
        if isinstance(value, float):
            return value
        try:
            return parse_duration(str(value).strip())
        except ValueError as error:
            self.fail(str(error), param, ctx)


def command_line(command: click.Command, values: Mapping[str, Any]) -> str:
    """What gives a command these values when it is typed, quoted for a shell.

    Defaults are left out, and what the environment says.
    """
    context = click.Context(command)
    typed = ["tuner", str(command.name)]
    for parameter in command.params:
        value = values.get(str(parameter.name))
        if isinstance(parameter, click.Argument):
            typed.append(str(value))
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            typed += [parameter.opts[0]] if value else []
        else:
            several = (value or ()) if parameter.multiple else [value]
            left_out = (None, parameter.get_default(context), _of_environment(parameter))
            text = duration_text if isinstance(parameter.type, Duration) else str
            for item in several:
                if item not in left_out:
                    typed += [parameter.opts[0], text(item)]
    return shlex.join(typed)


def _of_environment(parameter: click.Parameter) -> Path | None:
    """A folder that a variable of the environment names."""
    named = os.environ.get(str(parameter.envvar)) if parameter.envvar else None
    return Path(named).expanduser() if named else None


# ---------------------------------------------------------------------- shared options

experiment_argument = click.argument(
    "experiment", type=click.Path(dir_okay=False, path_type=Path), metavar="EXPERIMENT"
)
set_option = click.option(
    "-S",
    "--set",
    "overrides",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change a value, as -S training.epochs=3, or open it: "
    "-S 'model.depth={choice: [20, 32]}'. May be given often.",
)
results_option = click.option(
    "--results",
    "results_dir",
    type=_FOLDER,
    default=Path("results"),
    show_default=True,
    metavar="DIR",
    help="The folder of results.",
)
data_option = click.option(
    "--data-dir",
    type=_FOLDER,
    envvar="TUNER_DATA_DIR",
    show_envvar=True,  # so that a message about its value says where it came from
    metavar="DIR",
    help="The folder of data sets. Default: $TUNER_DATA_DIR, else Keras' own cache.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress, only the result.")
all_versions_option = click.option(
    "--all-versions",
    is_flag=True,
    help="Show trials of earlier versions of the experiment, too, apart from the others.",
)
_MAX_LOOKED_AT = 250_000  # characters, of a file that may be an experiment
_EXPERIMENT_LINE = re.compile(r"^model\s*:", re.MULTILINE)


def _harmless(ctx: click.Context, option: click.Parameter, path: Path | None) -> Path | None:
    """An output file that costs nobody an experiment or a ledger."""
    if path is not None and (what := _lost_under(path)):
        mend = "another -o FILE"
        raise InputError(
            Problem(f"{what}; it is not written over", "--output", str(path), "", mend)
        )
    return path


def _lost_under(path: Path) -> str:
    """What would be lost if the file were written; empty for nothing that matters."""
    if run := run_of(path):
        return f"this belongs to the run in {run}"
    if not os.path.isfile(path):
        return ""
    if path.suffix in (".yaml", ".yml"):
        return "this is a YAML file, as experiments are"
    with terminal.writing(path), path.open(encoding="utf-8", errors="replace") as file:
        text = file.read(_MAX_LOOKED_AT)
    return "this is an experiment" if _EXPERIMENT_LINE.search(text) and _is_mapping(text) else ""


def _is_mapping(text: str) -> bool:
    from tuner.experiment.yaml import compose

    return isinstance(compose(text, "")[0].value, dict)


output_option = click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_harmless,
    metavar="FILE",
    help="Write to FILE instead of the terminal.",
)


def format_option(text: str) -> Decorator:
    """-f FORMAT; `text` says which there are."""
    return click.option(
        *("-f", "--format", "form"),
        default="table",
        show_default=True,
        metavar="FORMAT",
        help=text,
    )


def check_format(form: str, formats: Sequence[str]) -> None:
    """Refuses a format that is none of these.

    Raises:
        InputError: it is none.
    """
    if form not in formats:
        expected = ", ".join(formats)
        raise InputError(Problem("there is no such format", "--format", form, expected))


def count_option(*names: str, text: str, default: int | None = None) -> Decorator:
    """An option whose value is a whole number of at least 1."""
    kind = click.IntRange(min=1)
    return click.option(
        *names, type=kind, default=default, show_default=True, metavar="N", help=text
    )


def _time_option(*names: str, text: str) -> Decorator:
    return click.option(*names, type=Duration(), metavar="TIME", help=text)


_RUNNING_OPTIONS: Sequence[Decorator] = (
    count_option(
        "-j", "--workers", text="Worker processes. Default: one, or one for each of --gpus."
    ),
    click.option(
        "--gpus",
        metavar="0,1",
        help="GPUs to use, by index among those that are visible. Default: all of them.",
    ),
    _time_option("--budget", "budget_seconds", text="No new trial starts after it: 2h, 90m, 30s."),
    results_option,
    data_option,
    click.option("--fail-fast", is_flag=True, help="Stop at the first failed trial."),
    _time_option(
        "--hang-timeout",
        "silence_seconds",
        text="Replace a worker that was silent for this long. Default: 30m.",
    ),
    quiet_option,
    json_option,
)


def running_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What every command that trains takes: workers, devices, limits, folders, output."""
    for option in reversed(_RUNNING_OPTIONS):
        function = option(function)
    return function
