"""A file of ours that is cut, zeroed or changed anywhere: the same contents, or an error."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.ledger import harm
from tuner.ledger.folder import RunFolder

GOOD = {"same", "error"}
BESIDE = ("trials.csv", "experiment.yaml", "environment.json", "lock", "checkpoints/40-2.npz")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return harm.make(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def broken_off(run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = harm.harmed_copy(run, tmp_path_factory.mktemp("broken") / "off", "lock", bytes)
    harm.leave_in_mid_commit(folder)
    return folder


def verdicts(run: RunFolder, where: Path, file: str, count: int) -> dict[harm.Harm, str]:
    whole = harm.contents(harm.harmed_copy(run, where, "lock", bytes))
    size = (run.path / file).stat().st_size
    found = {}
    looks = itertools.cycle((harm.verdict, harm.writer_verdict))
    for change, look in zip(harm.harms(size, count), looks, strict=False):
        folder = harm.harmed_copy(run, where, file, change)
        found[change] = look(folder, whole, folder.path / file)
    return found


def test_a_harmed_ledger_gives_the_same_or_an_error(run: RunFolder, tmp_path: Path) -> None:
    found = verdicts(run, tmp_path, "ledger.sqlite", 40)
    assert {change: said for change, said in found.items() if said not in GOOD} == {}
    assert set(found.values()) == GOOD


def test_a_harmed_journal_gives_the_same_or_an_error(
    broken_off: RunFolder, run: RunFolder, tmp_path: Path
) -> None:
    rolled_back = harm.contents(harm.harmed_copy(broken_off, tmp_path, "lock", bytes))
    assert rolled_back == harm.contents(run)
    found = verdicts(broken_off, tmp_path, "ledger.sqlite-journal", 25)
    assert {change: said for change, said in found.items() if said not in GOOD} == {}


@pytest.mark.parametrize("file", BESIDE)
def test_a_harmed_file_beside_it_gives_the_same_or_an_error(
    run: RunFolder, tmp_path: Path, file: str
) -> None:
    found = verdicts(run, tmp_path, file, 5)
    assert {change: said for change, said in found.items() if said not in GOOD} == {}


def test_a_repair_never_makes_it_worse(run: RunFolder, tmp_path: Path) -> None:
    whole = harm.contents(run)
    size = run.ledger.stat().st_size
    said = [
        harm.repaired(harm.harmed_copy(run, tmp_path, "ledger.sqlite", change), whole)
        for change in harm.harms(size, 6)
    ]
    assert {text for text in said if not text.startswith(("sound", "given up"))} == set()
    assert f"sound: {harm.NUM_TRIALS}" in said


@pytest.mark.parametrize("page", range(9))
def test_rows_below_a_lost_page_are_saved(run: RunFolder, tmp_path: Path, page: int) -> None:
    """The first page, which names all tables, and the roots of the tables among them."""
    lost = harm.Harm("zero", 4096 * page, 4096)
    folder = harm.harmed_copy(run, tmp_path, "ledger.sqlite", lost)
    said = harm.repaired(folder, harm.contents(run))
    assert int(said.removeprefix("sound: ")) >= harm.NUM_TRIALS - 12


def test_a_changed_byte_costs_one_trial_at_most(run: RunFolder, tmp_path: Path) -> None:
    whole = harm.contents(run)
    size = run.ledger.stat().st_size
    for change in [harm.Harm("flip", place, 1, 7) for place in range(50, size, size // 12)]:
        folder = harm.harmed_copy(run, tmp_path, "ledger.sqlite", change)
        assert int(harm.repaired(folder, whole).removeprefix("sound: ")) >= harm.NUM_TRIALS - 1
