"""`--measure`: what it shows while it measures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuner.report import words

if TYPE_CHECKING:
    from tuner.execution.estimate.estimating import Here
    from tuner.execution.estimate.measuring import Measured


def measure_first(
    path: Path,
    overrides: tuple[str, ...],
    workers: int,
    results_dir: Path,
    data_dir: Path | None,
) -> None:
    """Trains some structures for seconds, with a line on stderr for each."""
    from tuner.execution.estimate.measuring import measure
    from tuner.experiment.experiment import load_experiment

    gpus = shared_gpus(workers)
    click.echo("measuring; starting a worker", err=True)
    measure(
        load_experiment(path, overrides),
        results_dir=results_dir,
        data_dir=data_dir,
        here=here_with(workers, gpus),
        gpus=gpus,
        tell=lambda measured: click.echo(measured_text(measured), err=True),
    )


def measured_text(measured: Measured) -> str:
    """One line of the progress of `--measure`."""
    network = measured.network
    if network is None:
        return f"ready; {words.counted(measured.total, 'structure')} to measure"
    what = f"{network.family}, {words.count_text(network.macs)} MACs, batch {network.batch_size}"
    place = f"[{measured.place}/{measured.total}] {words.printable(what)}"
    if measured.reason:
        return f"{place}: not measured: {words.first_line(measured.reason)}"
    compiling = words.seconds_text(measured.compile_seconds)
    step = words.seconds_text(measured.step_seconds)
    if measured.step_seconds < 1:
        step = f"{measured.step_seconds * 1000:.3g} ms"
    return f"{place}: compiled in {compiling}, {step} a step"


def shared_gpus(workers: int) -> list[str]:
    """Those that several workers share out, as in a run."""
    from tuner.execution.devices import visible_gpus

    return visible_gpus(os.environ) if workers > 1 else []


def here_with(workers: int, gpus: list[str]) -> Here:
    """This machine with so many workers on these GPUs."""
    from tuner.execution.estimate.estimating import Here

    return Here(workers, len(gpus), os.environ)
