"""The experiment of a folder of results, put back from the ledger where its file is gone."""

from __future__ import annotations

from pathlib import Path

from tuner.errors import InputError, Problem
from tuner.ledger.folder import RunFolder, write_atomically
from tuner.ledger.ledger import Ledger


def experiment_file(folder: RunFolder) -> Path:
    """The path of experiment.yaml, which is there afterwards.

    Raises:
        InputError: neither the file nor the ledger has it.
    """
    if folder.experiment.is_file():
        return folder.experiment
    with Ledger.open_read_only(folder.ledger) as ledger:
        text = ledger.experiment_yaml
    if not text:
        what = "the experiment of these results is missing"
        mend = "tuner run EXPERIMENT continues them"
        raise InputError(Problem(what, str(folder.experiment), mend=mend))
    write_atomically(folder.experiment, text)
    return folder.experiment
