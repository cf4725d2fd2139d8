"""What was typed behind `tuner run`: checked, and put together again for the line to continue."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from tuner.errors import InputError, Problem
from tuner.ledger.folder import RunFolder


@dataclass(frozen=True)
class RunOptions:
    """What was typed behind `tuner run`."""

    experiment: Path
    overrides: tuple[str, ...]
    workers: int | None
    gpus: str | None
    max_trials: int | None
    budget_seconds: float | None
    results_dir: Path
    data_dir: Path | None
    fail_fast: bool
    silence_seconds: float | None
    quiet: bool
    as_json: bool
    reuse: tuple[str, ...] = ()
    tensorboard: bool = False

    @property
    def all_overrides(self) -> tuple[str, ...]:
        """-S and those options that change the experiment."""
        if self.max_trials is None:
            return self.overrides
        return (*self.overrides, f"search.max_trials={self.max_trials}")

    def reused(self) -> list[RunFolder]:
        """The folders of --reuse.

        Raises:
            InputError: one is not there.
        """
        return [RunFolder.open(name, self.results_dir) for name in self.reuse]

    @property
    def num_workers(self) -> int:
        """What was typed, or else a worker for each GPU that was named."""
        return self.workers or max(1, len(self.gpu_names))

    @property
    def gpu_names(self) -> tuple[str, ...]:
        """The GPUs of --gpus, one by one."""
        return tuple(name.strip() for name in (self.gpus or "").split(",") if name.strip())


def continue_line(options: RunOptions) -> str:
    """The command that goes on where this one stopped, quoted for a shell."""
    typed = ["tuner", "run", str(options.experiment)]
    for override in options.overrides:
        typed += ["-S", override]
    if options.workers is not None:
        typed += ["-j", str(options.workers)]
    if options.gpus:
        typed += ["--gpus", options.gpus]
    if options.max_trials is not None:
        typed += ["-m", str(options.max_trials)]
    if options.budget_seconds is not None:
        typed += ["--budget", f"{options.budget_seconds:g}s"]
    if options.silence_seconds is not None:
        typed += ["--hang-timeout", f"{options.silence_seconds:g}s"]
    if options.results_dir != Path("results"):
        typed += ["--results", str(options.results_dir)]
    if options.data_dir is not None and str(options.data_dir) != os.environ.get("TUNER_DATA_DIR"):
        typed += ["--data-dir", str(options.data_dir)]
    for name in options.reuse:
        typed += ["--reuse", name]
    if options.tensorboard:
        typed.append("--tensorboard")
    flags = {"--fail-fast": options.fail_fast, "-q": options.quiet, "--json": options.as_json}
    return shlex.join([*typed, *(flag for flag, is_set in flags.items() if is_set)])


def refuse_unavailable(engine: str, options: RunOptions) -> None:
    """What a later version will do is never silently ignored."""
    problems = []
    if engine not in ("local", "ray"):
        problems.append(
            Problem("there is no such engine", "--engine", received=engine, expected="local, ray")
        )
    if engine == "ray":
        problems.append(_unavailable("--engine", "ray", "local"))
    if options.gpus is not None and not all(name.isdigit() for name in options.gpus.split(",")):
        problems.append(Problem("not a list of GPUs", "--gpus", options.gpus, "indices as 0,1"))
    elif options.num_workers < len(options.gpu_names):
        expected = f"at least {len(options.gpu_names)} workers, so that no GPU is idle"
        mend = "leave -j out, or name fewer GPUs"
        received = f"-j {options.workers} --gpus {options.gpus}"
        problems.append(Problem("more GPUs than workers", "--gpus", received, expected, mend))
    if problems:
        raise InputError(problems)


def _unavailable(option: str, received: str, expected: str) -> Problem:
    return Problem("not available in this version", option, received, expected)
