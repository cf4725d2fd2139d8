"""What each worker gets of this machine: threads, and a GPU or a part of one.

GPUs are those within what CUDA_VISIBLE_DEVICES leaves visible.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.errors import InputError, Problem
from tuner.ledger.environment import available_cores, gpu_memory_bytes
from tuner.ledger.environment import gpus as installed_gpus

if TYPE_CHECKING:
    from tuner.experiment.experiment import Experiment
    from tuner.experiment.schema import Resources

_VARIABLE = "CUDA_VISIBLE_DEVICES"
_HIDES_THE_REST = "-1"
_NAMES = ("GPU-", "MIG-")  # UUIDs of cards, and slices of them

# What each backend reads, when it is imported, of how many threads compute on a CPU.
_COMPUTING = {"tensorflow": "TF_NUM_INTRAOP_THREADS", "jax": "NPROC"}
_THREADS = (*_COMPUTING.values(), "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
# JAX refuses to start where both of its names for the same thing are set.
_FRACTION, _OLD_FRACTION = "XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION"
_USABLE = 0.9  # of a part of a GPU's memory; the driver takes some for every process


@dataclass(frozen=True)
class Shares:
    """How the workers of a pool share a machine; `gpus` are dealt out to them in turn."""

    resources: Resources
    workers: int
    gpus: Sequence[str] = ()

    @property
    def threads(self) -> int:
        """Of each worker: as many as were asked for, or its part of the cores."""
        return self.resources.cpu or max(1, available_cores() // self.workers)

    @property
    def gpu(self) -> float:
        """The part of a GPU, where there are any, that is a worker's own."""
        if self.resources.gpu is not None:
            return self.resources.gpu
        return 1 / math.ceil(self.workers / max(1, len(self.gpus)))

    def environment(self, worker: int, given: Mapping[str, str]) -> dict[str, str]:
        """The `given` environment with a worker's share, as frameworks read it when imported.

        What a person has set there stands above a share that nobody asked for.
        """
        threads, memory = dict.fromkeys(_THREADS, str(self.threads)), self._memory()
        asked = threads if self.resources.cpu is not None else {}
        if self.resources.gpu is not None:
            asked = {**asked, **memory}
        elif _OLD_FRACTION in given:
            memory = {}
        variables = {**threads, **memory, **given, **asked, **self._device(worker)}
        if _FRACTION in variables:
            variables.pop(_OLD_FRACTION, None)
        return variables

    def memory_limit(self, worker: int, environment: Mapping[str, str]) -> int | None:
        """Bytes of its GPU's memory that are a worker's own; None: all, or nobody knows."""
        if not 0 < self.gpu < 1:
            return None
        name = self._device(worker).get(_VARIABLE) or next(iter(visible_gpus(environment)), None)
        total = gpu_memory_bytes(name) if name else None
        return int(total * self.gpu * _USABLE) if total else None

    def _device(self, worker: int) -> dict[str, str]:
        if self.gpu == 0:
            return {_VARIABLE: _HIDES_THE_REST, "JAX_PLATFORMS": "cpu"}
        named = {_VARIABLE: self.gpus[(worker - 1) % len(self.gpus)]} if self.gpus else {}
        # JAX would take all that it may have of a GPU at once.
        return named if self.gpu == 1 else {**named, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}

    def _memory(self) -> dict[str, str]:
        """What keeps JAX within its part; see `memory_limit` for TensorFlow."""
        return {_FRACTION: f"{self.gpu * _USABLE:.6g}"} if 0 < self.gpu < 1 else {}


def computing_threads(backend: str, environment: Mapping[str, str]) -> int | None:
    """With how many threads a process of this environment computes on a CPU, if that is said."""
    text = environment.get(_COMPUTING[backend], "")
    return int(text) or None if text.isdecimal() else None


def crowding(workers: int, threads: int) -> str:
    """A note, where more threads are to compute than there are cores; empty otherwise."""
    cores = available_cores()
    if workers * threads <= cores:
        return ""
    with_threads = f"{_counted(workers, 'worker')} with {_counted(threads, 'thread')} each"
    return f"{with_threads} share {_counted(cores, 'core')}: fewer would hardly be slower"


# ---------------------------------------------------------------------- more than there is


def check_shares(
    experiment: Experiment, workers: int, gpus: Sequence[str], environment: Mapping[str, str]
) -> None:
    """The workers must fit on the cores and GPUs that there are.

    Raises:
        InputError: they do not.
    """
    found = [
        _too_few_cores(experiment, workers),
        _too_few_gpus(experiment, workers, gpus),
        _unknown_memory(experiment, workers, gpus, environment),
    ]
    if problems := [problem for problem in found if problem]:
        raise InputError(problems)


def _too_few_cores(experiment: Experiment, workers: int) -> Problem | None:
    cpu, cores = experiment.resources.cpu, available_cores()
    if cpu is None or workers * cpu <= cores:
        return None
    asked = f"{_counted(workers, 'worker')} with {_counted(cpu, 'thread')} each"
    fewer = f"-j {cores // cpu}" if cores >= cpu else ""
    less = f"--cpus-per-worker {cores // workers}" if cores >= workers else ""
    return Problem(
        f"{asked}, and {_counted(cores, 'core')} to be used",
        experiment.where("resources.cpu"),
        f"{workers * cpu} threads",
        f"at most {cores}, one a core",
        ", or ".join(filter(None, [fewer, less])) or f"-j {cores} --cpus-per-worker 1",
    )


def _too_few_gpus(experiment: Experiment, workers: int, gpus: Sequence[str]) -> Problem | None:
    share = experiment.resources.gpu
    if not share:
        return None
    fitting = int(1 / share + 1e-9) * len(gpus)  # 1 / (1 / 3) may come out below 3
    if workers <= fitting:
        return None
    asked = _counted(workers, "worker")
    what = f"{asked} with {share:g} of a GPU each, and {_counted(len(gpus), 'GPU')} to be used"
    if gpus:
        less = math.floor(100 / math.ceil(workers / len(gpus))) / 100
        expected = f"at most {_counted(fitting, 'worker')}"
        mend = f"-j {fitting}, or --gpus-per-worker {less:g}"
    else:
        expected = "0 of a GPU"
        mend = f"--gpus-per-worker 0; where the driver is silent, {_VARIABLE}=0 names one"
    return Problem(what, experiment.where("resources.gpu"), asked, expected, mend)


def _unknown_memory(
    experiment: Experiment, workers: int, gpus: Sequence[str], environment: Mapping[str, str]
) -> Problem | None:
    """TensorFlow is kept within its part by a number of bytes."""
    share = experiment.resources.gpu
    if not gpus or share in (None, 0, 1) or experiment.backend != "tensorflow":
        return None
    shares = Shares(experiment.resources, workers, gpus)
    for worker, name in enumerate(gpus, 1):
        if shares.memory_limit(worker, environment) is None:
            what = "the driver does not say how much memory this GPU has: it cannot be shared out"
            mend = "--gpus-per-worker 1, or backend: jax"
            return Problem(what, experiment.where("resources.gpu"), name, "", mend)
    return None


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


# ---------------------------------------------------------------------- which GPUs


def used_gpus(
    resources: Resources, workers: int, asked: Sequence[str], environment: Mapping[str, str]
) -> list[str]:
    """The GPUs that workers are pinned to; none: each takes what it finds.

    Raises:
        InputError: those that a person `asked` for are none, or nobody is to use one.
    """
    if resources.gpu == 0:
        if asked:
            what, received = "no worker uses a GPU: resources.gpu is 0", ",".join(asked)
            raise InputError(Problem(what, "--gpus", received, mend="leave one of them out"))
        return []
    if asked:
        return chosen_gpus(asked, environment)
    return visible_gpus(environment) if workers > 1 or resources.gpu else []


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """The GPUs that several workers share out: those of CUDA_VISIBLE_DEVICES, or all."""
    given = environment.get(_VARIABLE)
    if given is None:
        return [str(gpu.index) for gpu in installed_gpus()]
    names = [name.strip() for name in given.split(",") if name.strip()]
    return names[: names.index(_HIDES_THE_REST)] if _HIDES_THE_REST in names else names


def chosen_gpus(asked: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The GPUs that a person asks for, as CUDA_VISIBLE_DEVICES names them to a worker.

    An index counts within what is visible, so that on a shared machine a person gets no card of
    others; names of cards (GPU-…) and of slices (MIG-…) are taken as they are.

    Raises:
        InputError: what is no GPU, or an index beyond those that are visible.
    """
    if not asked:
        return []
    visible = visible_gpus(environment)
    # Without the variable and without a driver that tells, nobody knows what there is.
    is_known = bool(visible) or _VARIABLE in environment
    problems, chosen = [], []
    for name in asked:
        if name.startswith(_NAMES) or (name.isdecimal() and not is_known):
            chosen.append(name)
        elif not name.isdecimal():
            expected = "indices as 0,1, or names as GPU-…, MIG-…"
            problems.append(Problem("not a list of GPUs", "--gpus", name, expected))
        elif int(name) >= len(visible):
            problems.append(_invisible(name, visible, environment))
        else:
            chosen.append(visible[int(name)])
    if problems:
        raise InputError(problems)
    return chosen


def _invisible(name: str, visible: Sequence[str], environment: Mapping[str, str]) -> Problem:
    given = environment.get(_VARIABLE)
    source = "installed" if given is None else f"visible: {_VARIABLE}={given}"
    last = len(visible) - 1
    expected = f"0 to {last}" if last > 0 else "0" if visible else "none"
    return Problem("there is no such GPU", "--gpus", name, f"{expected} ({source})")
