"""Options that several commands share, and types of values that people type."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from tuner.errors import InputError, Problem
from tuner.experiment.duration import duration_text, parse_duration
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import TrialRow

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
            for one in several:
                if one not in left_out:
                    typed += [parameter.opts[0], _typed(parameter, one)]
    return shlex.join(typed)


def _of_environment(parameter: click.Parameter) -> Path | None:
    """A folder that a variable of the environment names."""
    named = os.environ.get(str(parameter.envvar)) if parameter.envvar else None
    return Path(named).expanduser() if named else None


def _typed(parameter: click.Parameter, value: Any) -> str:
    return duration_text(value) if isinstance(parameter.type, Duration) else str(value)


def find_trial(ledger: Ledger, folder: RunFolder, trial: str) -> TrialRow:
    """By its number, or `best`.

    Raises:
        InputError: there is none of that number, or none with a score.
    """
    if trial == "best":
        best = ledger.top(1)
        if best:
            return best[0]
        problem = Problem("no trial has a score", where=folder.name, mend="name a trial's number")
        raise InputError(problem)
    row = ledger.row(int(trial)) if trial.isascii() and trial.isdigit() else None
    if row is None:
        known = sum(ledger.counts().values())
        raise InputError(
            Problem(
                "there is no such trial",
                where=folder.name,
                received=trial,
                expected=f"best, or a number from 1 to {known}" if known else "no trial is there",
            )
        )
    return row


def experiment_argument() -> Decorator:
    """The experiment file."""
    return click.argument(
        "experiment", type=click.Path(dir_okay=False, path_type=Path), metavar="EXPERIMENT"
    )


def set_option() -> Decorator:
    """-S, which changes or opens a value of the experiment."""
    return click.option(
        "-S",
        "--set",
        "overrides",
        multiple=True,
        metavar="NAME=VALUE",
        help="Change a value, as -S training.epochs=3, or open it: "
        "-S 'model.depth={choice: [20, 32]}'. May be given often.",
    )


def results_option() -> Decorator:
    """--results DIR."""
    return click.option(
        "--results",
        "results_dir",
        type=_FOLDER,
        default=Path("results"),
        show_default=True,
        metavar="DIR",
        help="Where results lie.",
    )


def data_option() -> Decorator:
    """--data-dir DIR, else $TUNER_DATA_DIR, else Keras' cache."""
    return click.option(
        "--data-dir",
        type=_FOLDER,
        envvar="TUNER_DATA_DIR",
        show_envvar=True,  # so that a message about its value says where it came from
        metavar="DIR",
        help="Where data sets lie. Default: $TUNER_DATA_DIR, else Keras' own cache.",
    )


def json_option() -> Decorator:
    """--json."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def all_versions_option() -> Decorator:
    """--all-versions."""
    return click.option(
        "--all-versions",
        is_flag=True,
        help="Show trials of earlier versions of the experiment, too, apart from the others.",
    )


def output_option() -> Decorator:
    """-o FILE."""
    return click.option(
        "-o",
        "--output",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Write to FILE instead of the terminal.",
    )


def running_options() -> Decorator:
    """What every command that trains takes: workers, devices, limits, folders, output."""
    options: list[Decorator] = [
        click.option(
            "-j",
            "--workers",
            type=click.IntRange(min=1),
            metavar="N",
            help="Worker processes. Default: one, or one for each of --gpus.",
        ),
        click.option(
            "--gpus",
            metavar="0,1",
            help="GPUs to use, by index among those that are visible. Default: all of them.",
        ),
        click.option(
            "--budget",
            "budget_seconds",
            type=Duration(),
            metavar="TIME",
            help="No new trial starts after it: 2h, 90m, 30s.",
        ),
        results_option(),
        data_option(),
        click.option("--fail-fast", is_flag=True, help="Stop at the first failed trial."),
        click.option(
            "--hang-timeout",
            "silence_seconds",
            type=Duration(),
            metavar="TIME",
            help="Replace a worker that says nothing for so long. Default: 30m.",
        ),
        click.option("-q", "--quiet", is_flag=True, help="No progress, only the result."),
        json_option(),
    ]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate
