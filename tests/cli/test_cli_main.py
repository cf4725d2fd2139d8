from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tuner.cli import main
from tuner.errors import InputError, Problem, TunerError

FRAMEWORKS = {"keras", "tensorflow", "jax", "keras_tuner", "pandas", "scipy"}


def imported(*commands: list[str]) -> tuple[set[str], float]:
    """Top-level modules after these commands, and seconds of CPU time, imports included."""
    script = (
        "import json, sys, time; from tuner.cli.main import run\n"
        "for arguments in json.loads(sys.argv[1]): run(arguments)\n"
        "tops = {name.partition('.')[0] for name in sys.modules}\n"
        "print(time.process_time(), *sorted(tops), file=sys.stderr)"
    )
    command = [sys.executable, "-c", script, json.dumps(commands)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, *modules = done.stderr.splitlines()[-1].split()
    return set(modules), float(seconds)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["run", "--help"], ["status"], ["report", "grid"], ["show", "grid"]],
    ids=" ".join,
)
def test_answers_at_once_and_imports_no_framework(arguments: list[str], results: Path) -> None:
    if "--help" not in arguments:
        arguments = [*arguments, "--results", str(results)]
    modules, seconds = imported(arguments)
    assert not modules & (FRAMEWORKS | {"numpy"})
    # The promise is half a second; CPU time, as other work on the machine must not fail this.
    assert seconds < 0.5 or imported(arguments)[1] < 0.5


def test_no_help_imports_a_framework() -> None:
    modules, _ = imported(*([name, "--help"] for name in main.COMMANDS))
    assert not modules & (FRAMEWORKS | {"numpy"})


def test_planning_and_comparing_import_no_framework(tmp_path: Path, results: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(
        "data: {dataset: synthetic}\nmodel: {family: resnet, depth: {choice: [8, 20]}}\n"
    )
    commands = [["plan", str(path)], ["compare", "grid", "--by", "depth"]]
    commands.append(["diff", "grid/1", "grid/2"])
    modules, _ = imported(*([*command, "--results", str(results)] for command in commands))
    assert not modules & FRAMEWORKS


def test_help_names_every_command_with_its_own_words(tuner) -> None:
    said = tuner("--help")
    for name, (_, words) in main.COMMANDS.items():
        assert name in said.out
        assert words.split(":")[0] in said.out


@pytest.mark.parametrize("name", list(main.COMMANDS))
def test_every_command_can_be_imported_and_has_help(name: str) -> None:
    command = main.command.get_command(click.Context(main.command), name)
    assert isinstance(command, click.Command)
    assert command.help


def test_an_unknown_command_suggests_the_nearest(tuner) -> None:
    said = tuner("reprot", "x")
    assert said.status == 2
    assert "Did you mean 'report'?" in said.err


def test_no_command_prints_help_and_is_an_error(tuner) -> None:
    said = tuner()
    assert said.status == 2
    assert "Commands:" in said.err


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    @click.command("schema")
    def command() -> None:
        raise error

    monkeypatch.setattr("tuner.cli.schema.command", command)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError(Problem("bad", "a.yaml:3: x", received="7")), 2),
        (TunerError("worker died"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_become_exit_statuses_without_a_traceback(tuner, monkeypatch, error, status):
    fail_with(monkeypatch, error)
    said = tuner("schema")
    assert said.status == status
    assert said.out == ""
    assert "Traceback" not in said.err
    if not isinstance(error, KeyboardInterrupt):
        assert str(error) in said.err


def test_an_unexpected_error_is_one_line_and_a_file(tuner, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    fail_with(monkeypatch, ZeroDivisionError("oh"))
    said = tuner("schema")
    assert said.status == 1
    assert "unexpected error: ZeroDivisionError: oh" in said.err
    assert "Traceback" not in said.err
    (file,) = tmp_path.glob("tuner-traceback-*.txt")
    assert str(file) in said.err
    assert "Traceback" in file.read_text()


def test_the_traceback_is_printed_on_demand(tuner, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, ZeroDivisionError("oh"))
    monkeypatch.setenv("TUNER_TRACEBACK", "1")
    assert "Traceback" in tuner("schema").err


def test_a_reader_that_closes_the_pipe_causes_no_traceback(results: Path) -> None:
    command = [sys.executable, "-m", "tuner", "report", "grid", "--results", str(results)]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert "Traceback" not in done.stderr
