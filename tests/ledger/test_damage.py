"""A file of ours that is cut, zeroed or changed anywhere: the same contents, or an error."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.ledger import harm
from tuner.ledger.backup import backup_of
from tuner.ledger.folder import RunFolder

GOOD = {"same", "error"}
BESIDE = ("trials.csv", "experiment.yaml", "environment.json", "lock", "checkpoints/40-2.npz")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return harm.make(tmp_path_factory.mktemp("whole"))


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


@pytest.mark.parametrize("file", BESIDE)
def test_a_harmed_file_beside_it_gives_the_same_or_an_error(run, tmp_path, file):
    found = verdicts(run, tmp_path, file, 5)
    assert {change: said for change, said in found.items() if said not in GOOD} == {}


def test_a_repair_never_makes_it_worse(run: RunFolder, tmp_path: Path) -> None:
    whole = harm.contents(run)
    size = run.ledger.stat().st_size
    said = [
        harm.repaired(harm.harmed_copy(run, tmp_path, "ledger.sqlite", change), whole)
        for change in harm.harms(size, 4)
    ]
    assert set(said) == {f"sound: {harm.NUM_TRIALS}"}  # all were in the copy, some of them waiting


@pytest.mark.parametrize("page", range(0, 22, 3))
def test_without_a_copy_what_can_be_read_is_saved_and_the_rest_is_named(run, tmp_path, page):
    """The first page names all tables, the third is the root of the trials, others hold rows."""
    lost = harm.Harm("zero", 4096 * page, 4096)
    folder = harm.harmed_copy(run, tmp_path, "ledger.sqlite", lost)
    backup_of(folder.ledger).unlink()
    said = harm.repaired(folder, harm.contents(run))
    if page == 0:
        assert said == "given up"
    else:
        assert int(said.removeprefix("sound: ")) >= harm.NUM_TRIALS - 12


def test_a_copy_that_is_harmed_as_well_gives_no_wrong_value(run, tmp_path):
    whole = harm.contents(run)
    copy = backup_of(run.ledger).name
    for change in harm.harms((run.path / copy).stat().st_size, 2):
        folder = harm.harmed_copy(run, tmp_path, copy, change)
        folder.ledger.write_bytes(harm.Harm("zero", 8192, 4096)(folder.ledger.read_bytes()))
        said = harm.repaired(folder, whole)
        assert said.startswith(("sound", "given up")), change
