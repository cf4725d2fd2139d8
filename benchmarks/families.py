"""Every family trains: a small network of each on a few hundred images of CIFAR-100.

    python -m benchmarks.families [--data-dir DIR] [--epochs 10] [--only NAME ...] [-o FILE.md]

One experiment, a choice of families, run by `tuner.run` as `tuner run` does. A family passes when
its training loss ends well below ln(100) = 4.605, that of guessing. Validation accuracy after so
few images says nothing about a family; it is shown because it is measured.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import common

GUESSING = math.log(100)
GOAL = 4.0
PEAK = 4e-3  # learning rate
NUM_IMAGES, NUM_VALIDATION = 500, 500

# One small configuration of each family.
MODELS: dict[str, dict[str, Any]] = {
    "resnet": {"depth": 8},
    "densenet": {"depth": 10, "growth_rate": 24, "bottleneck": True, "compression": 0.5},
    "dual_path": {"depth": 14},
    "inception": {"depth": 10, "width": 0.125},
    "plain": {"depth": 8},
    "highway": {"depth": 8, "filters": 16},
    "lenet": {"kernel_size": 5},
    "mlp": {"hidden_units": 128, "num_layers": 2, "batch_normalization": True},
    "wide_resnet": {"depth": 10, "widen_factor": 2},
}


def document(names: Iterable[str], epochs: int) -> dict[str, Any]:
    """The experiment as a tree."""
    return {
        "name": "families",
        "data": {
            "dataset": "cifar100",
            "train_images": NUM_IMAGES,
            "validation": NUM_VALIDATION,
        },
        "model": {"choice": [{"family": name, **MODELS[name]} for name in names]},
        "training": {
            "epochs": epochs,
            "batch_size": 25,
            "learning_rate": PEAK,
            "schedule": "one_cycle",
        },
    }


def train(names: Iterable[str], epochs: int, data_dir: Path | None, folder: Path) -> Any:
    """Results of a run, in `folder`."""
    import tuner
    from tuner.experiment.yaml import write_document

    path = folder / "families.yaml"
    path.write_text(write_document(document(names, epochs)))
    return tuner.run(tuner.load_experiment(path), results_dir=folder, data_dir=data_dir)


def rows_of(results: Any) -> list[list[Any]]:
    """One row a trial: what it is, what it cost, how its loss fell."""
    losses = results.epochs().pivot(index="trial", columns="epoch", values="loss")
    return [_row(trial, losses.loc[trial.number].dropna()) for trial in results.record.rows]


def _row(trial: Any, losses: Any) -> list[Any]:
    family = trial.value("model.family")
    values = ", ".join(f"{name} {value}" for name, value in MODELS[family].items())
    first, last = (losses.iloc[0], losses.iloc[-1]) if len(losses) else (math.nan, math.nan)
    return [
        family,
        values,
        f"{trial.parameters:,}",
        f"{trial.macs / 1e6:.1f}",
        trial.epochs,
        f"{first:.2f}",
        f"{last:.2f}",
        f"{trial.metrics.get('val_accuracy', math.nan):.3f}",
        f"{trial.compile_seconds or 0:.1f}",
        f"{trial.train_seconds or 0:.1f}",
        "yes" if last < GOAL else f"NO ({trial.state.value} {trial.reason})",
    ]


HEAD = [
    *("family", "configuration", "parameters", "multiply-adds M", "epochs"),
    *("first loss", "last loss", "val_accuracy", "compile s", "train s", f"below {GOAL:g}"),
]


def page(results: Any, seconds: float) -> str:
    rows = rows_of(results)
    # A program is compiled for the first trial that needs it; the others report no time for it.
    programs = sum(1 for trial in results.record.rows if trial.compile_seconds)
    title = (
        f"{len(rows)} families, {NUM_IMAGES} images (stratified), Adam, one cycle to {PEAK:g}, "
        f"batch 25: {programs} programs, {seconds:.0f} s in all"
    )
    note = f"Training loss of guessing: {GUESSING:.3f}. {common.environment()}"
    return f"{note}\n\n{common.table(title, HEAD, rows)}"


def main() -> None:
    from tuner.models import FAMILIES

    assert set(MODELS) == set(FAMILIES), f"MODELS needs a line for {set(FAMILIES) ^ set(MODELS)}"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, default=common.data_dir())
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--only", choices=FAMILIES, nargs="+", default=list(FAMILIES))
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    data_dir = options.data_dir and options.data_dir.expanduser()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        results = train(options.only, options.epochs, data_dir, Path(folder))
        text = page(results, time.perf_counter() - begun)
    print(text)
    if options.output:
        options.output.write_text(text)
    if " NO (" in text:
        raise SystemExit("a family did not learn")


if __name__ == "__main__":
    main()
