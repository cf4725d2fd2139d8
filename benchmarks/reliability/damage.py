"""Every file that we write, cut, zeroed and changed at many places: what is read afterwards?

    python -m benchmarks.reliability.damage [-o FILE.md] [--quick]

The law: the same contents, or an error that names the file; and a repair never gives a wrong value,
names every trial that is missing, keeps the damaged file, and leaves what it cannot mend as it was.
Each repair is done with the copy from the start of the last run beside the ledger, and without.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.common import environment, table
from tests.ledger import harm
from tuner.ledger.backup import backup_of
from tuner.ledger.folder import RunFolder

FILES = (
    *("ledger.sqlite", "ledger.sqlite-journal", "trials.csv", "experiment.yaml"),
    *("environment.json", "lock", "checkpoints/40-2.npz"),
)
REPAIRED = ("ledger.sqlite", "ledger.sqlite-journal")


def main() -> None:
    """Tries every harm and prints two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--quick", action="store_true", help="20 places instead of 1,000")
    options = parser.parse_args()
    count = 20 if options.quick else 1000
    with tempfile.TemporaryDirectory() as scratch:
        text = f"{environment()}\n\n{_report(Path(scratch), count)}"
    print(text)
    if options.output:
        options.output.write_text(text)


def _report(scratch: Path, count: int) -> str:
    run = harm.make(scratch / "whole")
    broken_off = harm.harmed_copy(run, scratch / "off", "lock", bytes)
    harm.leave_in_mid_commit(broken_off)
    reads, repairs = [], []
    for file in FILES:
        source = broken_off if file.endswith("-journal") else run
        reads.append(_reading(source, run, scratch / "x", file, count))
        if file in REPAIRED:
            for has_copy in (True, False):
                repairs.append(_repairing(source, run, scratch / "x", file, count // 5, has_copy))
    head = ("file", "bytes", "cuts + zeroed + changed", "same", "error", "against the law")
    told = ("file", "a copy", "repairs", "all trials there", "some", "left as it was", "wrong")
    return "\n".join(
        [
            table("Reading a harmed file (goal: 0 in the last column)", head, reads),
            table("`tuner doctor --repair` (goal: 0 in the last column)", told, repairs),
        ]
    )


def _reading(source: RunFolder, run: RunFolder, where: Path, file: str, count: int) -> list[Any]:
    whole = harm.contents(run)
    size = (source.path / file).stat().st_size
    count = min(count, size)
    found: Counter[str] = Counter()
    looks = itertools.cycle((harm.verdict, harm.writer_verdict))
    for change, look in zip(harm.harms(size, count), looks, strict=False):
        folder = harm.harmed_copy(source, where, file, change)
        said = look(folder, whole, folder.path / file)
        found[said if said in ("same", "error") else "wrong"] += 1
        if said not in ("same", "error"):
            print(file, change, look.__name__, said)
    tries = " + ".join([f"{count:,}"] * 3)
    return [file, size, tries, found["same"], found["error"], found["wrong"]]


def _repairing(
    source: RunFolder, run: RunFolder, where: Path, file: str, count: int, has_copy: bool
) -> list[Any]:
    whole = harm.contents(run)
    size = (source.path / file).stat().st_size
    found: Counter[str] = Counter()
    for change in harm.harms(size, count, seed=1):
        folder = harm.harmed_copy(source, where, file, change)
        if not has_copy:
            backup_of(folder.ledger).unlink()
        said = harm.repaired(folder, whole)
        kind = "all" if said == f"sound: {harm.NUM_TRIALS}" else said.partition(":")[0]
        found[kind if kind in ("all", "sound", "given up") else "worse"] += 1
        if kind not in ("all", "sound", "given up"):
            print(file, change, said)
    copy = "yes" if has_copy else "no"
    return [file, copy, 3 * count, found["all"], found["sound"], found["given up"], found["worse"]]


if __name__ == "__main__":
    main()
