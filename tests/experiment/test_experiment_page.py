"""What docs/experiment.md shows is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tuner.experiment import parse_experiment
from tuner.experiment.domain import parse_range
from tuner.experiment.yaml import read_yaml
from tuner.search import METHODS, RULES

PAGE = (Path(__file__).parents[2] / "docs" / "experiment.md").read_text()
BLOCKS = [
    block.replace("mynets:build", "tests.models.own_nets:stack")
    for block in re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
]
ROWS = re.findall(r"\| `(\{min.*?\})`(?: for an integer)? \| ([-0-9.e, …]+)", PAGE)


SIZES = (72, 36, 1, 32, 8, 2, 2, 12, 2, 1)


@pytest.mark.usefixtures("forked_workers")  # for that with a network of one's own
@pytest.mark.parametrize(("block", "size"), list(zip(BLOCKS, SIZES, strict=True)))
def test_the_examples_load_and_have_so_many_configurations(block: str, size: int) -> None:
    assert len(parse_experiment(block, "page.yaml").space) == size


@pytest.mark.parametrize(("node", "points"), ROWS)
def test_the_points_in_the_table_are_those_of_the_range(node: str, points: str) -> None:
    found = list(parse_range(read_yaml(node, "page").value, None).points())  # type: ignore[union-attr]
    written = [float(word) for word in points.replace("…", "").split(",") if word.strip()]
    assert set(written) <= set(found)
    assert "…" in points or written == found


def test_the_table_is_found() -> None:
    assert len(ROWS) == 5


def test_every_method_has_a_line() -> None:
    (table,) = re.findall(r"\| `search.method` \|.*\n((?:\|.*\n)+)", PAGE)
    assert set(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)) == set(METHODS)


def test_every_stopping_rule_has_a_line_with_all_its_options() -> None:
    found = {}
    for node in re.findall(r"^\| `(\{rule: .*?\})` \|", PAGE, flags=re.MULTILINE):
        text = f"model: {{family: resnet}}\nsearch: {{stop: {node}}}"
        stop = parse_experiment(text, "page").search.stop
        assert stop is not None
        found[stop.rule] = set(type(stop).model_fields) - stop.model_fields_set
    assert found == {rule: set() for rule in RULES}
