"""Hostile and clumsy experiments: refused in words with their place, at once, and nothing runs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmarks.reliability import fuzz
from tuner.errors import InputError
from tuner.experiment import load_experiment, parse_experiment
from tuner.experiment.yaml import MAX_NAMES

MODEL = "model: {family: resnet}\n"


def problems(text: str, overrides: tuple[str, ...] = ()):
    with pytest.raises(InputError) as caught:
        parse_experiment(text, "x.yaml", overrides)
    return caught.value.problems


# Mutations of shipped experiments have odd numbers, texts that were made to hurt even ones.
NUMBERS = [*range(1, 1000, 2), *range(0, 120, 2)]


def test_random_input_is_read_or_refused_in_words_and_nothing_of_it_runs(tmp_path: Path) -> None:
    load_experiment(Path(__file__).parents[2] / "experiments" / "quickstart.yaml")
    seen = fuzz.measure(NUMBERS, tmp_path, fuzz.Watch(), max_seconds=5.0)
    assert seen.failures == []
    assert {"read", "refused"} == set(seen.outcomes)


@pytest.mark.parametrize(
    ("text", "words", "place"),
    [
        ("model: {" + "".join(f"a{i}: 1, " for i in range(9000)) + "}", "too many names", ":1:"),
        ("".join(f"a{i}: 1\n" for i in range(9000)), "too many names", f":{MAX_NAMES + 1}:1"),
        ("a: [" + "1," * 99_000 + "]", "too many items", ":1:"),
        (f"a: [{', '.join(['[' + '1,' * 90 + ']'] * 900)}]", "too many values", ":1:"),
        ("? " + "x" * 9_000 + "\n: 1\n", "too many characters in a name", ":1:3"),
        ("a: " + "9" * 90_000, "9999... is beyond 64 bits", ":1:4"),
        ("a: &" + "x" * 90_000 + " 1", "anchor &xxx", ":1:4"),
        ("a: 1\n" * 9_000, "a is written twice", ":2:1"),
    ],
)
def test_a_flood_is_refused_where_it_becomes_one(text: str, words: str, place: str) -> None:
    started = time.process_time()
    found = problems(text)
    assert time.process_time() - started < 5
    assert words in found[0].what
    assert found[0].where.startswith(f"x.yaml{place}")
    assert len(found) <= 102
    assert max(len(str(problem)) for problem in found) < 1_000


@pytest.mark.parametrize(
    "text",
    [
        # Open values that no field has: they must not be multiplied with each other.
        "model: {family: plain, "
        + ", ".join(f"a{i}: {{choice: [1, 2]}}" for i in range(150))
        + "}",
        # Choices of mappings that multiply to more branches than can be.
        "model: {family: plain, "
        + ", ".join(f"a{i}: {{choice: [{{b: {{choice: [1]}}}}, {{c: 1}}]}}" for i in range(40))
        + "}",
        # A thousand branches with a thousand values each.
        "model: {family: {choice: ["
        + "plain, " * 900
        + "]}, depth: {choice: ["
        + "8, " * 900
        + "]}}",
        MODEL + "training: {l2: {min: 0, max: 1, count: 10000}, epsilon: {min: 1, max: 0}}",
        MODEL + "training: {schedule: {step: {at: [" + "5, " * 900 + "], factor: 0.1}}}",
    ],
)
def test_what_multiplies_costs_seconds_at_most(text: str) -> None:
    started = time.process_time()
    assert problems(text)
    assert time.process_time() - started < 5


def test_huge_ranges_are_not_listed() -> None:
    text = MODEL + "training: {batch_size: {min: 1, max: 9223372036854775807}}\n"
    assert parse_experiment(text, "x.yaml").space.size == 2**63 - 1
    found = problems(text + "data: {train_images: 100}")
    assert "9223372036854775807 is more than the training images" in found[0].what
    log = text.replace("807}", "807, scale: log}") + "search: {method: random, max_trials: 3}"
    assert len(list(parse_experiment(log, "x.yaml").space.structures())) == 2


def test_long_constraints_over_large_grids_are_refused() -> None:
    grid = "training: {epochs: {min: 1, max: 900}, batch_size: {min: 1, max: 900}}\n"
    short = "search: {constraints: ['epochs * batch_size <= 9000']}"
    assert parse_experiment(MODEL + grid + short, "x.yaml").space.size > 9000
    long = "search: {constraints: ['epochs" + " + epochs" * 28 + " > batch_size']}"
    assert "combinations to check" in problems(MODEL + grid + long)[0].what
    many = "search: {constraints: [" + "'epochs > 1', " * 101 + "]}"
    assert problems(MODEL + many)[0].expected == "at most 100"


def test_an_endless_file_is_not_read_to_its_end() -> None:
    with pytest.raises(InputError, match="too large"):
        load_experiment("/dev/zero")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_a_file_in_another_encoding_says_so(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(("description: é\n" + MODEL).encode(encoding))
    with pytest.raises(InputError, match="save it as UTF-8"):
        load_experiment(path)
