"""Explicit configurations: written out, zipped, from a CSV or a YAML file."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tuner.errors import InputError
from tuner.experiment import Experiment, load_experiment, parse_experiment
from tuner.experiment.yaml import MAX_ENTRIES

Load = Callable[..., Experiment]

RESNET = """\
model: {family: resnet, depth: {choice: [20, 32]}}
search: {method: list, configurations: LIST}
"""
ROWS = "[{depth: 20, learning_rate: 0.1}, {model.depth: 56, training.learning_rate: 1e-2}]"
VALUES = [
    {"model.depth": 20, "training.learning_rate": 0.1},
    {"model.depth": 56, "training.learning_rate": 0.01},
]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """The experiment with this list, beside a file with this name and text."""

    def load(
        listed: str, name: str = "", text: str = "", base: str = RESNET, set: Sequence[str] = ()
    ) -> Experiment:
        path = tmp_path / "x.yaml"
        path.write_text(base.replace("LIST", listed))
        if name:
            (tmp_path / name).write_text(text)
        return load_experiment(path, set)

    return load


@pytest.fixture
def wrong(load: Load, tmp_path: Path) -> Callable[..., list[tuple[str, str]]]:
    """Place (less the folder) and words of everything that is wrong."""

    def wrong(*args: str, **options: str) -> list[tuple[str, str]]:
        with pytest.raises(InputError) as caught:
            load(*args, **options)
        problems = caught.value.problems
        return [(one.where.replace(f"{tmp_path}/", ""), one.what) for one in problems]

    return wrong


def values(experiment: Experiment) -> list[dict]:
    return [point.values for point in experiment.space]


@pytest.mark.parametrize(
    ("listed", "name", "text"),
    [
        (ROWS, "", ""),
        ("{depth: [20, 56], learning_rate: [0.1, 1e-2]}", "", ""),
        ("l.csv", "l.csv", "depth,learning_rate\n20,0.1\n\n 56, 1e-2\r\n"),
        ("l.yaml", "l.yaml", ROWS),
        ("l.yml", "l.yml", "depth: [20, 56]\nlearning_rate: [0.1, 1e-2]\n"),
    ],
)
def test_every_way_of_writing_gives_the_same_experiment(
    load: Load, listed: str, name: str, text: str
) -> None:
    experiment = load(listed, name, text)
    assert experiment == load(ROWS)
    assert values(experiment) == VALUES
    assert [point.training["epochs"] for point in experiment.space] == [40, 40]


def test_the_resolved_experiment_depends_on_no_other_file(load: Load, tmp_path: Path) -> None:
    experiment = load("l.csv", "l.csv", "depth,learning_rate\n20,0.1\n56,1e-2\n")
    (tmp_path / "l.csv").unlink()
    again = parse_experiment(experiment.to_yaml(), str(tmp_path / "x.yaml"))
    assert again == experiment
    assert again.document["search"]["configurations"] == VALUES
    assert "    - {model.depth: 20, training.learning_rate: 0.1}\n" in experiment.to_yaml()


def test_a_file_lies_beside_the_experiment_or_else_in_the_present_folder(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("l.csv").write_text("depth\n56\n")
    assert values(load("l.csv")) == [{"model.depth": 56}]
    assert values(load("l.csv", "l.csv", "depth\n20\n")) == [{"model.depth": 20}]


def test_cells_are_yaml_scalars_and_an_empty_one_sets_nothing(load: Load) -> None:
    text = "depth,optimizer,nesterov,learning_rate,schedule\n20,,,1e-4,\n"
    text += '20,sgd,true,0x1,"{step: {at: [0.5, 0.75], factor: 0.1}}"\n'
    first, second = (point.training for point in load("l.csv", "l.csv", text).space)
    assert (first["optimizer"], first["learning_rate"]) == ("adam", 1e-4)
    assert (second["nesterov"], second["learning_rate"]) == (True, 1.0)
    assert second["schedule"] == {"step": {"at": [0.5, 0.75], "factor": 0.1}}


def test_a_configuration_stands_over_the_file_and_below_its_names(load: Load) -> None:
    base = """
model: {family: {choice: [resnet, densenet]}, dropout: 0.1}
training: {momentum: 0.5, schedule: {step: {at: [0.5], factor: {choice: [0.1, 0.2]}}}}
search: {method: list, configurations: LIST}
"""
    rows = "[{family: resnet, schedule.step.factor: 0.3}, {family: densenet, growth_rate: 12, "
    rows += "optimizer: sgd, schedule: cosine, model.dropout: 0}]"
    first, second = load(rows, base=base).space
    assert first.training["schedule"] == {"step": {"at": [0.5], "factor": 0.3}}
    assert (first.model["dropout"], second.model["dropout"]) == (0.1, 0.0)
    assert (second.training["momentum"], second.training["schedule"]) == (0.5, "cosine")
    assert "training.momentum" not in first.flat()


def test_overrides_set_the_list_and_what_is_in_it(load: Load) -> None:
    flow = "search.configurations=" + ROWS
    assert values(load("[{depth: 20}]", set=[flow])) == VALUES
    inside = load("[{depth: 20}, {depth: 32}]", set=["search.configurations.1.depth=110"])
    assert values(inside) == [{"model.depth": 20}, {"model.depth": 110}]
    experiment = load("[{depth: 20}]", "l.csv", "depth\n32\n", set=["search.configurations=l.csv"])
    assert values(experiment) == [{"model.depth": 32}]


def test_configurations_that_differ_in_rates_alone_share_a_structure(load: Load) -> None:
    rows = "[{depth: 20, dropout: 0}, {depth: 20, dropout: 0.2}, {depth: 32}]"
    experiment = load(rows)
    one, other, third = (experiment.trial(point).structure for point in experiment.space)
    assert one == other
    assert third.model["dropout"] is False


def test_constraints_exclude_entries_and_count_them(load: Load) -> None:
    base = RESNET.replace("list,", "list, constraints: ['depth < 50'],")
    experiment = load("{depth: [20, 56, 32, 110]}", base=base)
    assert [point.model["depth"] for point in experiment.space] == [20, 32]
    assert experiment.space.excluded == 2
    assert experiment.space.index(experiment.space[1].flat()) == 1


def test_everything_wrong_in_a_csv_is_named_with_its_line(wrong) -> None:
    rows = ["20,1,-1", "20", "20,1,2,3", "21,,0.1", ",,0.1", "20,,9e999", "20,,0.3", "20,,0.3"]
    found = wrong("l.csv", "l.csv", "\n".join(["depth,learning_rat,l2", *rows]))
    assert found[:-1] == [
        ("l.csv:1", "search.configurations: learning_rat does not exist"),
        ("l.csv:2", "training.l2: -1 is too small"),
        ("l.csv:3", "too few cells"),
        ("l.csv:4", "too many cells"),
        ("l.csv:5", "model.depth: 21 is not possible here"),
        ("l.csv:6", "model.depth: is left open, and search.configurations[4] does not set it"),
        ("l.csv:7", "l2: 9e999 is too large for a floating-point number"),
    ]
    where, what = found[-1]
    assert where == "l.csv:9"
    assert what.startswith("search.configurations[7]: is the same configuration as [6] at ")
    assert what.endswith("/l.csv:8")


@pytest.mark.parametrize(
    ("listed", "name", "text", "place", "words"),
    [
        ("[]", "", "", "x.yaml:2:24", "is empty"),
        ("3", "", "", "x.yaml:2:24", "is no list"),
        ("[3]", "", "", "x.yaml:2:41", "is no mapping"),
        ("{depth: [20, 32], l2: [0]}", "", "", "x.yaml:2:24", "the lists must be equally long"),
        ("{depth: [20, 32], l2: 0}", "", "", "x.yaml:2:58", "l2 is no list"),
        ("[{depth: 20, l2: 0}, {depth: 32, l2: x}]", "", "", "x.yaml:2:73", "l2: x has the wrong"),
        ("[{depth: 20, momentum: 0}]", "", "", "x.yaml:2:53", "no effect: the optimizer is adam"),
        ("[{depth: 20, model.depth: 32}]", "", "", "x.yaml:2:53", "is set twice"),
        ("[{depth: {choice: [20]}}]", "", "", "x.yaml:2:42", "cannot be left open here"),
        ("[{depth: 20}, {depth: 20}]", "", "", "x.yaml:2:54", "is the same configuration as [0]"),
        ("[{l2: 0}]", "", "", "x.yaml:2:41", "model.depth: is left open"),
        ("none.csv", "", "", "x.yaml:2:24", "there is no such file"),
        ("l.txt", "l.txt", "depth\n20\n", "x.yaml:2:24", "l.txt is no list"),
        ("l.csv", "l.csv", "", "l.csv", "holds no configuration"),
        ("l.csv", "l.csv", "depth;l2\n20;1\n", "l.csv:1", "one column"),
        ("l.csv", "l.csv", "depth,\n20,1\n", "l.csv:1", "column 2 has no name"),
        ("l.csv", "l.csv", "l2,l2\n20,1\n", "l.csv:1", "two columns are named l2"),
        ("l.csv", "l.csv", 'depth\n20\n"32\n', "l.csv:3", "not readable as CSV"),
        ("l.csv", "l.csv", "depth\n\x00\n", "l.csv:2:1", "a control character"),
        ("l.yaml", "l.yaml", "- {depth: 20}\n- {depth: 33}\n", "l.yaml:2:4", "33 is not possible"),
        ("l.yaml", "l.yaml", "depth: [20, 33]\n", "l.yaml:1:13", "33 is not possible"),
        ("l.yaml", "l.yaml", "- {depth: 20, depth: 32}\n", "l.yaml:1:15", "written twice"),
        ("l.yaml", "l.yaml", "a: b: c", "l.yaml:1:5", "not readable as YAML"),
    ],
)
def test_a_mistake_is_named_where_it_was_made(wrong, listed, name, text, place, words) -> None:
    found = wrong(listed, name, text)
    assert found[0][0] == place
    assert words in found[0][1]
    assert len(found) == 1


def test_floods_are_refused_and_long_lists_take_seconds(load: Load, wrong) -> None:
    rows = [f"{20 + 6 * (k % 3)},{k + 1}e-6\n" for k in range(MAX_ENTRIES + 1)]
    header = "depth,learning_rate\n"
    found = wrong("l.csv", "l.csv", header + "".join(rows))
    assert found == [(f"l.csv:{MAX_ENTRIES + 2}", "too many configurations")]
    assert "too large" in wrong("l.csv", "l.csv", "a" * 5_000_000)[0][1]
    started = time.process_time()
    experiment = load("l.csv", "l.csv", header + "".join(rows[:2_000]))
    again = parse_experiment(experiment.to_yaml(), experiment.source)
    assert time.process_time() - started < 10
    assert again == experiment
    flats = [point.flat() for point in experiment.space]
    assert [experiment.space.index(flat) for flat in flats] == list(range(2_000))
    assert experiment.space.index(flats[0] | {"training.l2": 0.5}) is None
