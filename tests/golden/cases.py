"""What must stay as it is: commands over ledgers that never change, and the keys of trials."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuner.experiment import load_experiment
from tuner.search import make_method

HERE = Path(__file__).parent
EXPERIMENTS = HERE.parents[1] / "experiments"

# Name of the file → what is typed behind `tuner`. `grid` and `seeds` are the fixed ledgers.
COMMANDS: dict[str, tuple[str, ...]] = {
    "report.txt": ("report", "grid"),
    "report-csv.txt": ("report", "grid", "-f", "csv"),
    "report-markdown.txt": ("report", "grid", "-f", "markdown"),
    "report-latex.txt": ("report", "grid", "-f", "latex"),
    "report-json.txt": ("report", "grid", "--json"),
    "report-groups.txt": ("report", "seeds", "--group-by", "learning_rate"),
    "report-groups-csv.txt": ("report", "seeds", "-f", "csv", "--group-by", "learning_rate"),
    "report-groups-markdown.txt": ("report", "seeds", "-f", "markdown"),
    "report-groups-latex.txt": ("report", "seeds", "-f", "latex"),
    "report-replicates.txt": ("report", "seeds", "--top", "5"),
    "report-replicates-json.txt": ("report", "seeds", "--json", "--group-by", "learning_rate"),
    "status.txt": ("status",),
    "status-json.txt": ("status", "--json"),
    "show-json.txt": ("show", "grid", "2", "--json"),
    "compare.txt": ("compare", "grid", "seeds"),
    "compare-by.txt": ("compare", "seeds", "--by", "learning_rate"),
    "compare-by-json.txt": ("compare", "seeds", "--by", "learning_rate", "--json"),
    "compare-by-markdown.txt": ("compare", "seeds", "--by", "learning_rate", "-f", "markdown"),
    "compare-by-latex.txt": ("compare", "seeds", "--by", "learning_rate", "-f", "latex"),
    "compare-by-csv.txt": ("compare", "seeds", "--by", "learning_rate", "-f", "csv"),
    "diff.txt": ("diff", "grid/1", "grid/2"),
    "diff-json.txt": ("diff", "grid/1", "grid/2", "--json"),
}


def keys_of(path: Path) -> Mapping[str, Any]:
    """Key and structure of the first trials of an experiment, in the order of its search."""
    experiment = load_experiment(path)
    method = make_method(experiment)
    proposals = iter(lambda: method.ask(), None)
    trials = [
        experiment.trial(proposal.configuration, replicate, "fingerprint")
        for proposal in itertools.islice(proposals, 12)
        for replicate in range(experiment.search.replicates)
    ]
    return {
        "total": method.total,
        "trials": [[trial.key, trial.structure.key, trial.seed] for trial in trials],
    }


def all_keys() -> str:
    """Those of every experiment that is shipped, and of one of each kind."""
    paths = [*sorted(EXPERIMENTS.glob("*.yaml")), *sorted((HERE / "experiments").glob("*.yaml"))]
    return json.dumps({path.stem: keys_of(path) for path in paths}, indent=1) + "\n"
