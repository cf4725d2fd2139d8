"""The `tuner` command: a group that imports a subcommand only when it is called."""

from __future__ import annotations

import codecs
import importlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import IO, Any, NoReturn

import click

from tuner.code.process import search_present_folder
from tuner.errors import Problem, TunerError, nearest, unexpected

INTERRUPTED = 130

# Name → (module, what `tuner --help` says), in the order in which people meet them.
COMMANDS = {
    "init": ("tuner.cli.init", "Write a commented starter experiment."),
    "plan": ("tuner.cli.plan", "Say what a run would do: trials, structures, cost."),
    "run": ("tuner.cli.run", "Run what is missing of an experiment."),
    "retry": ("tuner.cli.retry", "Run failed and diverged trials again."),
    "confirm": ("tuner.cli.confirm", "Train the best ones again, and read the test set."),
    "status": ("tuner.cli.status", "One line per experiment: how far, best, failures."),
    "show": ("tuner.cli.show", "One trial: configuration, curves, timings, files."),
    "logs": ("tuner.cli.logs", "What the workers printed, of all trials or of one."),
    "report": ("tuner.cli.report", "Results as a table, page, CSV, JSON, LaTeX, …"),
    "compare": ("tuner.cli.compare", "Experiments or groups side by side: is it real?"),
    "replay": ("tuner.cli.replay", "What a stopping rule would have done; trains nothing."),
    "diff": ("tuner.cli.diff", "What differs between two trials."),
    "export": ("tuner.cli.export", "A trained network as a file that plain Keras loads."),
    "ensemble": ("tuner.cli.ensemble", "Several trained networks together: are they better?"),
    "schema": ("tuner.cli.schema", "Print the JSON Schema of experiment files."),
    "doctor": ("tuner.cli.doctor", "Versions, devices, data sets, free disk."),
}


class LazyGroup(click.Group):
    """Knows its commands by name, so that `--help` is fast and no command pays for another."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the command's module; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest known name in the error."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            guess = nearest(args[0], COMMANDS)
            hint = f" Did you mean {guess!r}?" if guess else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _print_version(ctx: click.Context, option: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib import metadata

        click.echo(f"tuner {metadata.version('convtuner')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version.",
)
def command() -> None:
    """Finds good hyperparameters for convolutional networks built with Keras.

    Write an experiment with `tuner init`, look at it with `tuner plan`, and start or continue it
    with `tuner run`. All results are in results/NAME.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and ends the process with its status."""
    print_anything(sys.stdout, sys.stderr)
    search_present_folder()
    try:
        status = run(arguments)
    except KeyboardInterrupt:
        status = INTERRUPTED
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said: a late Ctrl-C changes no status
    sys.stdout.flush()
    os.dup2(2, 1)  # what a person's module prints at exit does not belong to the answer
    if status == INTERRUPTED:
        sys.stderr.flush()
        # Not sys.exit: Python ends as killed by SIGINT if an extension was just being imported.
        os._exit(status)
    sys.exit(status)


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; its exit status is returned."""
    try:
        result = command.main(
            args=None if arguments is None else list(arguments),
            prog_name="tuner",
            standalone_mode=False,
        )
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except TunerError as error:
        click.echo(f"tuner: {error}", err=True)
        return error.exit_code
    except Exception as error:  # one line for a person, the traceback for whoever mends it
        if os.environ.get("TUNER_TRACEBACK"):
            traceback.print_exception(error)
        what, mend = unexpected(error)
        click.echo(f"tuner: {Problem(f'unexpected error: {what}', mend=mend)}", err=True)
        return 1
    return result if isinstance(result, int) else 0


# ---------------------------------------------------------------------- narrow encodings

_ASCII = "tuner_ascii"
_PLAIN = {
    rich: plain
    for richer, plainer in [
        ("… ± × · − – — ≈ ≤ ≥ → ← √ λ", "... +- x . - - - ~ <= >= -> <- sqrt lambda"),
        ("✗ ✓ ★ ▪ ─ ━ ╸ │ ┤", "x + * o - = - | |"),
        ("▁ ▂ ▃ ▄ ▅ ▆ ▇ █", ". : - = + * % #"),
        ("▏ ▎ ▍ ▌ ▋ ▊ ▉ ░ ▒ ▓", ". . . # # # # : + %"),
    ]
    for rich, plain in zip(richer.split(), plainer.split(), strict=True)
}


def print_anything(*streams: IO[Any] | None) -> None:
    """Let streams write what their encoding cannot: `+-` for `±`, a name's own bytes, at worst `?`.

    All that this process prints goes through them, whoever prints it.
    """
    codecs.register_error("tuner", _plainer)
    codecs.register(_ascii_of_our_own)
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            # To click a stream that says it is ASCII is misconfigured, and gets UTF-8.
            is_ascii = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding=_ASCII if is_ascii else stream.encoding, errors="tuner")


def _ascii_of_our_own(name: str) -> codecs.CodecInfo | None:
    if name != _ASCII:
        return None
    ascii = codecs.lookup("ascii")
    return codecs.CodecInfo(
        *(ascii.encode, ascii.decode, ascii.streamreader, ascii.streamwriter),
        *(ascii.incrementalencoder, ascii.incrementaldecoder),
        name=_ASCII,
    )


def _plainer(error: UnicodeError) -> tuple[str | bytes, int]:
    """The error handler of the streams; one character at a time."""
    import unicodedata

    if not isinstance(error, UnicodeEncodeError):
        raise error
    character, end = error.object[error.start], error.start + 1
    if "\udc80" <= character <= "\udcff":  # a byte of a file's name that is no UTF-8
        return bytes([ord(character) - 0xDC00]), end
    if character in _PLAIN:
        return _PLAIN[character], end
    if "GREEK SMALL LETTER " in (name := unicodedata.name(character, "")):
        return name.split()[3].lower(), end
    parts = unicodedata.normalize("NFKD", character)
    plain = "".join(_PLAIN.get(part, part) for part in parts).encode("ascii", "ignore").decode()
    return plain or "?", end
