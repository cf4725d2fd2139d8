"""Options that several commands share, and types of values that people type."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuner.cli import terminal
from tuner.errors import InputError, Problem
from tuner.experiment.duration import duration_text, parse_duration
from tuner.ledger.folder import run_of

if TYPE_CHECKING:
    from tuner.experiment.experiment import Experiment
    from tuner.report.trial_fields import Setting

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
            text = _typed(parameter)
            for item in several:
                if item not in left_out:
                    typed += [parameter.opts[0], text(item)]
    return shlex.join(typed)


def _typed(parameter: click.Parameter) -> Callable[[Any], str]:
    """How a value of an option is written."""
    if isinstance(parameter.type, Duration):
        return duration_text
    return _size_text if isinstance(parameter.type, Size) else str


def _of_environment(parameter: click.Parameter) -> Path | None:
    """A folder that a variable of the environment names."""
    named = os.environ.get(str(parameter.envvar)) if parameter.envvar else None
    return Path(named).expanduser() if named else None


_UNITS = {"k": 1_000, "M": 1_000_000, "G": 1_000_000_000}


class Size(click.ParamType[int]):
    """A number of bytes such as 500MB or 2GB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes; a number without a unit is refused."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+)\s*([kMG])B", str(value).strip())
        if not found:
            self.fail(f"{str(value)!r} is not a size: write it as 500MB or 2GB", param, ctx)
        return int(found[1]) * _UNITS[found[2]]


def _size_text(num_bytes: int) -> str:
    unit = next(name for name, size in reversed(_UNITS.items()) if num_bytes % size == 0)
    return f"{num_bytes // _UNITS[unit]}{unit}B"


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
    "-S 'model.depth={choice: [20, 32]}'. May be repeated.",
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


def _settings(ctx: click.Context, param: click.Parameter, texts: Sequence[str]) -> list[Setting]:
    from tuner.report.trial_fields import setting_of

    return [setting_of(text) for text in texts]


only_option = click.option(
    "--only",
    "settings",
    multiple=True,
    callback=_settings,
    metavar="NAME=VALUE",
    help="Only trials with this value, as --only family=resnet. May be repeated: of several names "
    "all must hold, of several values of one name any.",
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


engine_option = click.option(
    "--engine",
    default="local",
    show_default=True,
    metavar="local|ray",
    help="Where workers run: on this machine, or on a Ray cluster.",
)
ray_address_option = click.option(
    "--ray-address",
    metavar="auto|HOST:PORT",
    help="The cluster of --engine ray. Default: $RAY_ADDRESS, else a Ray that is started here.",
)


def engine_problems(engine: str, ray_address: str | None) -> Iterator[Problem]:
    """What is wrong with the two."""
    if engine not in ("local", "ray"):
        yield Problem("there is no such engine", "--engine", engine, "local, ray")
    elif engine == "local" and ray_address is not None:
        what, mend = "workers of this machine have no address", "--engine ray"
        yield Problem(what, "--ray-address", ray_address, "", mend)


def gpu_problems(workers: int, gpus: Sequence[str]) -> Iterator[Problem]:
    """What is wrong where workers of this machine share these GPUs."""
    if workers < len(gpus):
        expected = f"at least {len(gpus)} workers, so that no GPU is idle"
        mend = "leave -j out, or name fewer GPUs"
        received = f"-j {workers} --gpus {','.join(gpus)}"
        yield Problem("more GPUs than workers", "--gpus", received, expected, mend)


cpus_option = count_option(
    "--cpus-per-worker",
    text="Threads of each worker. Default: resources.cpu, else its part of the cores.",
)
gpus_option = click.option(
    "--gpus-per-worker",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Part of a GPU that each worker gets: 0.5 puts two on one, 0 trains without. "
    "Default: resources.gpu, else they share out what there is.",
)

_RUNNING_OPTIONS: Sequence[Decorator] = (
    count_option(
        "-j",
        "--workers",
        text="Worker processes. Default: one, or one for each of --gpus; "
        "with --engine ray as many as the cluster has room for.",
    ),
    engine_option,
    ray_address_option,
    click.option(
        "--shared-from",
        "shared_from_bytes",
        type=Size(),
        metavar="SIZE",
        help="On Ray: checkpoints of SIZE (500MB) and more go through the results folder, which "
        "all nodes must share. Default: all travel with the messages.",
    ),
    click.option(
        "--gpus",
        metavar="0,1",
        help="GPUs to use, by index among those that are visible. Default: all of them.",
    ),
    cpus_option,
    gpus_option,
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


def with_typed_resources(
    experiment: Experiment, cpus: int | None, gpus: float | None
) -> Experiment:
    """The experiment with what was typed of a worker's resources in place of the file's."""
    return experiment.with_resources(cpus, gpus, ("--cpus-per-worker", "--gpus-per-worker"))


def running_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What every command that trains takes: workers, devices, limits, folders, output."""
    for option in reversed(_RUNNING_OPTIONS):
        function = option(function)
    return function
