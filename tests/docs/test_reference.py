"""The reference is what the code says, and its examples are valid."""

from __future__ import annotations

import difflib
import re

import click
import pytest

import tuner
from docs import families, generate
from tuner import layers
from tuner.cli.main import COMMANDS, command
from tuner.experiment.experiment import parse_experiment
from tuner.experiment.schema import ObjectiveConfig, SearchConfig
from tuner.models import FAMILIES
from tuner.synonyms import COMING_FROM

PAGES = [
    "README.md",
    "families.md",
    "layers.md",
    "sections.md",
    "commands.md",
    "python.md",
    "coming-from.md",
]


@pytest.fixture(scope="module")
def pages():
    for name in COMMANDS:
        # click keeps the help option that was asked for first: with -h, or from elsewhere without.
        command.get_command(click.Context(command), name)._help_option = None
    return generate.pages()


@pytest.mark.parametrize("name", PAGES)
def test_the_committed_page_is_what_the_code_says(pages, name):
    committed = generate.FOLDER / name
    text = committed.read_text("utf-8") if committed.exists() else ""
    # Not assert ==: pytest would print two long texts.
    lines = difflib.unified_diff(text.splitlines(), pages[name].splitlines(), lineterm="", n=0)
    if changes := list(lines)[:12]:
        message = f"docs/reference/{name} is out of date; mend with: {generate.COMMAND}"
        pytest.fail("\n".join([message, *changes]), pytrace=False)


def test_nothing_else_is_committed(pages):
    assert {path.name for path in generate.FOLDER.iterdir()} == set(pages)


def test_every_family_has_a_section(pages):
    assert re.findall(r"^## (.+)$", pages["families.md"], re.MULTILINE) == list(FAMILIES)


def test_every_layer_has_a_section(pages):
    found = re.findall(r"^## (.+)$", pages["layers.md"], re.MULTILINE)
    assert found == sorted(layers.__all__)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_example_of_a_family_is_valid_and_leaves_values_open(pages, name):
    text = families.example(name)
    assert text in pages["families.md"]
    assert parse_experiment(text, f"{name}.yaml").space.size > 1


def test_every_command_and_function_has_a_section(pages):
    assert re.findall(r"^## (.+)$", pages["commands.md"], re.MULTILINE) == list(COMMANDS)
    named = re.findall(r"^## tuner\.(.+)$", pages["python.md"], re.MULTILINE)
    assert set(named) | {"__version__", "events", "layers", "models"} == set(tuner.__all__)


def test_every_tool_that_messages_know_has_a_section_with_all_its_words(pages):
    text = pages["coming-from.md"]
    for tool, words in COMING_FROM.items():
        section = text.partition(f"## Coming from {tool}\n")[2].partition("\n## ")[0]
        assert all(f"`{theirs}`" in section for theirs in words)


def test_what_a_tool_is_told_to_use_is_there():
    """Dotted names are fields, and commands are commands."""
    fields = {"search": SearchConfig.model_fields, "objective": ObjectiveConfig.model_fields}
    for words in COMING_FROM.values():
        for ours in words.values():
            if command := re.match(r"tuner (\w+)", ours):
                assert command[1] in COMMANDS, ours
            if name := re.match(r"(search|objective)\.(\w+)", ours):
                assert name[2] in fields[name[1]], ours


def test_every_row_has_the_cells_of_its_table(pages):
    for text in pages.values():
        for found in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            widths = {len(re.split(r"(?<!\\)\|", line)) for line in found.splitlines()}
            assert len(widths) == 1, found
