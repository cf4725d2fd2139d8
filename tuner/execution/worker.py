"""A worker: the process that owns a device, and trains the trials it is sent.

It is started by `code.start` with one end of a socket. It never opens the
ledger; what it learns goes over the socket, one report an epoch. When the scheduler is gone, so is
the worker.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from tuner.code.keras_globals import set_keras_defaults
from tuner.code.process import no_garbage_search
from tuner.data.config import FinalDataConfig
from tuner.data.files import cache_dir
from tuner.errors import InputError, TunerError, is_about_memory, reason_of
from tuner.execution.devices import computing_threads
from tuner.execution.protocol import (
    Compiled,
    Epoch,
    Finished,
    GoOn,
    Predicted,
    Programs,
    Progress,
    Ready,
    Rehearse,
    Remark,
    Report,
    Resumed,
    SetupFailed,
    Shutdown,
    Spent,
    StopTrial,
    Task,
    TrainTrial,
    Watched,
    WorkerSetup,
    not_finite,
)
from tuner.execution.saver import Saver
from tuner.ledger import checkpoint, logs
from tuner.ledger import profile as phases
from tuner.ledger.predictions import ImagePredictions
from tuner.ledger.profile import Stopwatch
from tuner.training.compiled import CompiledPrograms

if TYPE_CHECKING:
    from tuner.data.images import ImageData
    from tuner.training.program import Blueprint, DeviceImages, Hyperparameters, Program
    from tuner.training.steps import State

PROGRESS_SECONDS = 0.5
MEASUREMENTS = 3  # of the device, for a profile
# What ends a run: the scheduler hears it, and tells its workers.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_MEMORY_ERRORS = ("ResourceExhaustedError", "MemoryError", "_ArrayMemoryError")


class Mailbox:
    """Reads the socket in a thread, so that a stop is noticed while a trial trains."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tasks: list[Task] = []
        self._arrived = threading.Condition()
        self._stopped_attempts: set[tuple[int, int]] = set()  # number and attempt
        self._goes_on: GoOn | None = None  # the last that has arrived
        self._shutting_down = False
        threading.Thread(target=self._read, daemon=True, name="mailbox").start()

    def _read(self) -> None:
        while True:
            try:
                task: Task = self._connection.recv()
            except (EOFError, OSError):
                os._exit(0)  # the scheduler is gone: nobody is left to report to
            with self._arrived:
                if isinstance(task, StopTrial):
                    self._stopped_attempts.add((task.number, task.attempt))
                elif isinstance(task, GoOn):
                    self._goes_on = task
                else:
                    self._shutting_down |= isinstance(task, Shutdown)
                    self._tasks.append(task)
                self._arrived.notify()

    def gives_up(self, task: TrainTrial) -> bool:
        """Whether the trial is to be stopped."""
        return self._shutting_down or (task.number, task.attempt) in self._stopped_attempts

    def goes_on(self, task: TrainTrial, epoch: int) -> bool:
        """Whether the trial goes on behind this rung, as soon as that is decided."""
        awaited = GoOn(task.number, task.attempt, epoch)
        with self._arrived:
            self._arrived.wait_for(lambda: self._goes_on == awaited or self.gives_up(task))
            return not self.gives_up(task)

    def next(self) -> Task:
        """The next task, as soon as there is one."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._tasks)
            return self._tasks.pop(0)


class Worker:
    """Trains trials one after the other, and keeps the programs that it has compiled."""

    def __init__(
        self, setup: WorkerSetup, connection: Connection, mailbox: Mailbox, stopwatch: Stopwatch
    ) -> None:
        self._connection = connection
        self._mailbox = mailbox
        self._stopwatch = stopwatch
        self._profile = setup.profile
        self._measurements = 0  # of the device
        self._spent = Spent({})  # but for the seconds, which the stopwatch has
        self._programs: Programs[Program] = Programs()
        self._checkpoints = setup.checkpoints
        # The test images are looked at once, when training is over.
        self._held_out = "test" if isinstance(setup.data, FinalDataConfig) else "val"
        self._sending = threading.Lock()
        self._saver = Saver(setup.checkpoints, self._send)
        folder = cache_dir(os.environ) / "programs"
        self._compiled = CompiledPrograms(folder, lambda text: self._send(Remark(text)))
        started = time.perf_counter()
        with stopwatch.phase(phases.IMPORT), no_garbage_search():
            self._program_class, self._images, hashes = _prepare(setup, stopwatch)
            seconds = time.perf_counter() - started
            device = _device_name(setup.backend)
        # A GPU computes the same whatever the host's threads are.
        threads = computing_threads(setup.backend, os.environ) if device == "CPU" else None
        self._send(Ready(device, seconds, hashes, threads=threads))
        self._tell_spent()

    def run(self) -> None:
        """Until told to shut down."""
        while isinstance(task := self._next_task(), TrainTrial | Rehearse):
            finished = self._marked(task) if isinstance(task, TrainTrial) else self._finished(task)
            self._tell_spent()
            self._send(finished)
            if finished.leaves:
                return
        self._tell_spent()

    def _next_task(self) -> Task:
        with self._stopwatch.phase(phases.WAIT):
            return self._mailbox.next()

    def _tell_spent(self) -> None:
        if self._profile:
            self._spent = dataclasses.replace(self._spent, seconds=self._stopwatch.seconds())
            self._send(self._spent)

    def _marked(self, task: TrainTrial) -> Finished:
        """Train it, and mark in the log what was printed meanwhile."""
        _mark(logs.begins(task.number, task.attempt))
        try:
            return self._finished(task)
        finally:
            _mark(logs.ends(task.number))

    def _finished(self, task: TrainTrial | Rehearse) -> Finished:
        from tuner.training.program import Interrupted
        from tuner.training.trial import prepare

        built, interrupted, error, epoch_seconds = False, False, None, None
        try:
            self._measure_device(task.precision)
            with self._stopwatch.phase(phases.BUILD):
                trial = prepare(
                    task.model,
                    task.training,
                    structure=task.structure,
                    switches=task.switches,
                    seed=task.seed,
                    precision=task.precision,
                    images=self._images,
                )
            built = True
            program = self._program(trial.key, trial.blueprint, task.number)
            values = trial.hyperparameters
            del trial  # and the network that was built to find the program, if that was there
            if isinstance(task, Rehearse):
                epoch_seconds = _rehearsed(task, program, values)
            else:
                self._train(task, program, dataclasses.replace(values, augment=task.augment))
        except Interrupted:
            interrupted = True
        except (Exception, SystemExit) as raised:  # a person's build may do anything
            traceback.print_exc()
            error = raised
        try:
            with self._stopwatch.phase(phases.CHECKPOINT):
                self._saver.give_up()
        except Exception as raised:  # of the saver's thread: short memory for a copy, for one
            if interrupted:  # no fault of the trial: it goes on as behind any worker that is lost
                raise
            traceback.print_exc()
            error = error or raised
        return Finished(
            number=task.number,
            reason=reason_of(error) if error else "",
            out_of_memory=is_out_of_memory(error),
            leaves=built and error is not None and not isinstance(error, InputError),
            epoch_seconds=epoch_seconds,
            attempt=task.attempt if isinstance(task, TrainTrial) else None,
        )

    def _program(self, key: Hashable, blueprint: Blueprint, number: int) -> Program:
        """The program of the trial's structure, compiled now if it must be."""

        def compiled() -> Program:
            with self._stopwatch.phase(phases.COMPILE):
                program = self._program_class(blueprint, self._images, self._compiled)
            self._stopwatch.move(program.build_seconds, phases.COMPILE, phases.BUILD)
            self._stopwatch.move(program.trace_seconds, phases.COMPILE, phases.TRACE)
            self._spent = dataclasses.replace(self._spent, programs=self._spent.programs + 1)
            self._send(Compiled(number, program.compile_seconds))
            return program

        return self._programs.use(key, compiled)

    def _measure_device(self, precision: str) -> None:
        """For a profile, before each of the first trials; the best counts, as others may compute
        beside it. Together under a second.
        """
        if not self._profile or self._measurements >= MEASUREMENTS:
            return
        from tuner.training.matrix_rate import matrix_flops

        self._measurements += 1
        with self._stopwatch.phase(phases.MEASURE):
            try:
                flops = max(matrix_flops(precision), self._spent.matrix_flops or 0.0)
            except Exception:  # short memory, for one: that must cost no trial anything
                traceback.print_exc()
                return
        self._spent = dataclasses.replace(self._spent, matrix_flops=flops)

    def _train(self, task: TrainTrial, program: Program, values: Hyperparameters) -> None:
        from tuner.training.steps import to_arrays

        with self._stopwatch.phase(phases.CHECKPOINT if task.checkpoints else phases.BUILD):
            state, done, notes = self._begin(task, program)
        self._saver.begin(task.objective, notes)
        watches = "gradients" in task.training.get("watch", ())
        layers = program.network.kernel_names()
        if watches and not done:
            with self._stopwatch.phase(phases.EVALUATE):
                norms = program.gradient_norms(state, values)
            self._watch(task.number, 0, norms, layers)
        for epoch in range(done + 1, task.until + 1):
            started = time.perf_counter()
            state, metrics, evaluating = self._epoch(task, program, state, values, epoch)
            seconds = time.perf_counter() - started
            report = Epoch(task.number, epoch, metrics, seconds, validation_seconds=evaluating)
            if not_finite(metrics):
                self._saver.flush()
                self._saver.forget()
                self._send(report)
                return
            if watches:
                with self._stopwatch.phase(phases.EVALUATE):
                    norms = program.gradient_norms(state, values)
                self._watch(task.number, epoch, norms, layers if epoch == done + 1 else ())
            if self._held_out == "test" and epoch == task.training["epochs"]:
                with self._stopwatch.phase(phases.EVALUATE):
                    self._predict(task, program, state, values)
            report = dataclasses.replace(report, waits=epoch in task.rungs)
            with self._stopwatch.phase(phases.CHECKPOINT):
                copy = partial(to_arrays, program.snapshot(state))
                notes = self._notes(task, epoch)
                self._saver.put(report, copy, notes, must_save=task.must_save(epoch))
                if report.waits:
                    self._saver.flush()
            self._tell_spent()
            if report.waits:
                with self._stopwatch.phase(phases.WAIT):
                    goes_on = self._mailbox.goes_on(task, epoch)
                if not goes_on:
                    return

    def _predict(
        self, task: TrainTrial, program: Program, state: State, values: Hyperparameters
    ) -> None:
        """Of the very state that was just scored, so that the test set is read no second time."""
        import numpy as np

        from tuner.training.program import Interrupted

        def on_progress(step: int, steps: int, loss: float) -> None:
            if self._mailbox.gives_up(task):
                raise Interrupted

        labels = np.asarray(self._images.y_validation)
        predictions = ImagePredictions(labels, *program.predict(state, values, on_progress))
        self._send(Predicted(task.number, task.training["epochs"], predictions))

    def _watch(
        self, number: int, epoch: int, norms: list[float], layers: tuple[tuple[str, int], ...]
    ) -> None:
        self._send(Watched(number, epoch, tuple(norms), layers))

    def _begin(
        self, task: TrainTrial, program: Program
    ) -> tuple[State, int, Mapping[str, Any] | None]:
        """The state to go on from, the epochs behind it, and the notes of its checkpoint."""
        damaged = []
        for row in task.checkpoints:
            try:
                arrays, notes = checkpoint.load(self._checkpoints, row.file, row.sha256)
                if (notes["key"], notes["epoch"]) != (task.key, row.epoch):
                    raise checkpoint.CheckpointError(f"{row.file}: of another trial or epoch")
                state = program.restore(arrays)
            except TunerError as error:
                damaged.append(str(error))
                continue
            self._send(Resumed(task.number, row.epoch, tuple(damaged)))
            return state, row.epoch, notes
        # Also without any: a repair may have forgotten one behind which epochs were recorded.
        self._send(Resumed(task.number, 0, tuple(damaged)))
        return program.initial(task.seed), 0, None

    def _notes(self, task: TrainTrial, epoch: int) -> dict[str, Any]:
        """What a checkpoint says of itself; enough to build the model again without the data."""
        return {
            "key": task.key,
            "epoch": epoch,
            "attempt": task.attempt,
            **self._images.notes(),
        }

    def _epoch(
        self,
        task: TrainTrial,
        program: Program,
        state: State,
        values: Hyperparameters,
        epoch: int,
    ) -> tuple[State, dict[str, float], float]:
        """The state after an epoch, its metrics, and how many seconds validation took."""
        from tuner.training.program import FIRST_CALL_SECONDS, SECONDS_PER_CALL, Interrupted

        last_sent, seen = time.perf_counter(), 0

        def on_progress(step: int, steps: int, loss: float) -> None:
            nonlocal last_sent, seen
            images = min(step * program.blueprint.batch_size, self._images.num_train)
            self._count_flop(task.macs * (images - seen))
            seen = images
            if self._mailbox.gives_up(task):
                raise Interrupted
            now = time.perf_counter()
            if now - last_sent >= PROGRESS_SECONDS:
                last_sent = now
                self._send(Progress(task.number, epoch, step, steps, loss))

        def on_evaluation(step: int, steps: int, loss: float) -> None:
            if self._mailbox.gives_up(task):
                raise Interrupted

        with self._stopwatch.phase(phases.TRAIN):
            state, metrics = program.train_epoch(
                state,
                values,
                epoch - 1,
                on_progress,
                call_seconds=FIRST_CALL_SECONDS if task.may_end else SECONDS_PER_CALL,
            )
        if not_finite(metrics) or (self._held_out == "test" and epoch < task.training["epochs"]):
            return state, metrics, 0.0
        started = time.perf_counter()
        with self._stopwatch.phase(phases.EVALUATE):
            found = program.evaluate(state, values, on_evaluation)
        metrics |= {f"{self._held_out}_{name}": value for name, value in found.items()}
        return state, metrics, time.perf_counter() - started

    def _count_flop(self, macs: int) -> None:
        """A multiply-add is two operations; the backward pass does those of two forward passes."""
        flop = self._spent.training_flop + 3 * 2 * macs
        self._spent = dataclasses.replace(self._spent, training_flop=flop)

    def _send(self, report: Report) -> None:
        with self._sending:  # the saver reports from a thread of its own
            self._connection.send(report)


def _prepare(
    setup: WorkerSetup, stopwatch: Stopwatch
) -> tuple[type[Program], DeviceImages, dict[str, str]]:
    """Read the data while the framework is imported, and place them on the device."""
    from tuner.data.images import runs_code

    if setup.backend == "tensorflow" and setup.gpu_memory_bytes:
        _cap_memory(setup.gpu_memory_bytes)
    with ThreadPoolExecutor(1) as reader:
        # The person's code may import the framework itself; two threads at once break it.
        is_later = setup.packed is None and runs_code(setup.data)
        reading = None if is_later else reader.submit(_load, setup)
        from tuner.models.own.build import import_as_known  # here, because they import Keras
        from tuner.training.trial import program_class

        program = program_class(setup.backend)
        set_keras_defaults()
        import_as_known(setup.code)
        with stopwatch.phase(phases.DATA):
            data = reading.result() if reading else _load(setup)
    if setup.backend == "tensorflow":
        _make_deterministic()
    with stopwatch.phase(phases.DATA):
        placed = program.place(
            data, tuple(setup.data.augment), augment_is_searched=setup.augment_is_searched
        )
    return program, placed, data.hashes


def _load(setup: WorkerSetup) -> ImageData:
    from tuner.data.images import load_images
    from tuner.data.packed import read_packed

    loaded = None
    if setup.packed is not None:
        loaded = read_packed(setup.packed, test=isinstance(setup.data, FinalDataConfig))
    return load_images(setup.data, setup.data_dir, loaded=loaded)


def _rehearsed(task: Rehearse, program: Program, values: Hyperparameters) -> float:
    from tuner.execution.rehearsal import rehearse

    return rehearse(program, values, seed=task.seed, seconds=task.seconds)


def _cap_memory(limit_bytes: int) -> None:
    """Keep TensorFlow within its part of a shared GPU; before anything has begun to use it."""
    import tensorflow as tf

    limit = tf.config.LogicalDeviceConfiguration(memory_limit=limit_bytes // 2**20)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.set_logical_device_configuration(gpu, [limit])


def _make_deterministic() -> None:
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):  # some GPU kernels have no such form
        tf.config.experimental.enable_op_determinism()


def _device_name(backend: str) -> str:
    if backend == "jax":
        import jax

        device = jax.devices()[0]
        return "CPU" if device.platform == "cpu" else str(device.device_kind)
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "CPU"
    return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU"))


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether the error, or one that it came from, is about memory."""
    while error is not None:
        if type(error).__name__ in _MEMORY_ERRORS or is_about_memory(str(error)):
            return True
        error = error.__cause__
    return False


def _mark(line: str) -> None:
    """A line in the log, behind all that was printed before it."""
    sys.stdout.flush()
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _leave_signals_to_the_scheduler() -> None:
    """Batch systems and service managers send them to every process of a run at once.

    They are heard without effect, and not ignored: what a person's code starts would inherit that,
    and a pool of processes could not be ended any more.
    """
    for number in _SIGNALS:
        signal.signal(number, lambda number, frame: None)
        signal.siginterrupt(number, False)
    os.register_at_fork(after_in_child=_hear_signals_again)


def _hear_signals_again() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def main() -> None:
    """Serve the socket whose file descriptor is the first argument."""
    stopwatch = Stopwatch()
    _leave_signals_to_the_scheduler()
    _mark(logs.STARTED)
    connection = Connection(int(sys.argv[1]))
    mailbox = Mailbox(connection)
    setup = mailbox.next()
    assert isinstance(setup, WorkerSetup)
    try:
        worker = Worker(setup, connection, mailbox, stopwatch)
    except InputError as error:
        connection.send(SetupFailed(str(error), error.problems))
        return
    except Exception as error:
        traceback.print_exc()
        connection.send(SetupFailed(reason_of(error)))
        return
    gc.freeze()  # no later search for garbage goes through what was imported
    worker.run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # taking a framework down in order takes seconds, and nothing depends on it
