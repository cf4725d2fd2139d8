"""The JAX program: whole calls as one compiled loop on an accelerator, step by step on a CPU."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.serialize_executable import deserialize_and_load, serialize

from tuner.training.compiled import CompiledPrograms
from tuner.training.program import Program
from tuner.training.steps import EpochPlan, Fixed, LossFunction, State, Totals

Tensor = Any


class JaxProgram(Program):
    """Compiled ahead of time for the device of the process.

    On a CPU a loop inside the compiled function makes convolutions 30–100 times slower (XLA runs
    them single-threaded there), so Python calls one compiled step after the other. Elsewhere a call
    is one `fori_loop`, and Python is out of the step loop. Both run the same step function.
    """

    @property
    def _loops_inside(self) -> bool:
        return bool(jax.default_backend() != "cpu")

    def _train_step(
        self,
        state: State,
        totals: Totals,
        values: Mapping[str, Tensor],
        epoch: EpochPlan,
        step: Tensor,
        fixed: Fixed,
        size: int,
    ) -> tuple[State, Totals]:
        first = step * self.blueprint.batch_size
        indices = jax.lax.dynamic_slice_in_dim(epoch.order, first, size)
        batch = (indices, epoch.rates[step], epoch.keys)
        return self._steps.train(state, totals, values, batch, fixed)

    def _evaluate_step(
        self,
        state: State,
        totals: Totals,
        values: Mapping[str, Tensor],
        step: Tensor,
        fixed: Fixed,
    ) -> Totals:
        size = self.evaluation_batch
        return self._steps.evaluate(state, totals, values, step * size, size, fixed)

    def _train_call(
        self,
        state: State,
        totals: Totals,
        values: Any,
        epoch: EpochPlan,
        first: Tensor,
        last: Tensor,
        fixed: Fixed,
        *,
        size: int,
    ) -> tuple[State, Totals]:
        self._traces += 1
        if not self._loops_inside:
            return self._train_step(state, totals, values, epoch, first, fixed, size)

        def body(step: Tensor, carry: tuple[State, Totals]) -> tuple[State, Totals]:
            return self._train_step(*carry, values, epoch, step, fixed, size)

        result: tuple[State, Totals] = jax.lax.fori_loop(first, last, body, (state, totals))
        return result

    def _evaluate_call(
        self, state: State, totals: Totals, values: Any, first: Tensor, last: Tensor, fixed: Fixed
    ) -> Totals:
        self._traces += 1
        if not self._loops_inside:
            return self._evaluate_step(state, totals, values, first, fixed)
        result: Totals = jax.lax.fori_loop(
            first,
            last,
            lambda step, totals: self._evaluate_step(state, totals, values, step, fixed),
            totals,
        )
        return result

    def _trace(self) -> None:
        self._traces = 0
        self._watch: Any = None
        self._predictions: Any = None
        state, epoch, values = self._examples()
        totals, bounds = self._zero_totals(), (np.int32(0), np.int32(0))
        # Shapes are constants here: a last batch of another size is a function of its own.
        sizes = sorted({self.blueprint.batch_size, self.last_batch})
        self._traced_train = {
            size: jax.jit(
                partial(self._train_call, size=size), donate_argnums=(0, 1), keep_unused=True
            ).lower(state, totals, values, epoch, *bounds, self._train_fixed)
            for size in sizes
        }
        self._traced_evaluate = jax.jit(self._evaluate_call, keep_unused=True).lower(
            state, totals, values, *bounds, self._validation_fixed
        )

    def _compile(self) -> None:
        traced = [*self._traced_train.values(), self._traced_evaluate]
        with ThreadPoolExecutor(len(traced)) as pool:  # XLA compiles each in a single thread
            *train, self._evaluate = pool.map(self._compiled, traced)
        self._train = dict(zip(self._traced_train, train, strict=True))
        del self._traced_train, self._traced_evaluate

    def _compiled(self, lowered: Any) -> Any:
        return compiled(lowered, self._programs)

    def _calls(self, first: int, last: int) -> list[tuple[np.int32, np.int32]]:
        """The bounds of each compiled call that runs steps first … last − 1."""
        if self._loops_inside:
            return [(np.int32(first), np.int32(last))] * (first < last)
        return [(np.int32(step), np.int32(step + 1)) for step in range(first, last)]

    def _train_steps(
        self, state: State, totals: Totals, values: Any, epoch: EpochPlan, first: int, last: int
    ) -> tuple[State, Totals]:
        alike = min(last, self.steps_per_epoch - self.is_last_partial)
        calls = [(self.blueprint.batch_size, bounds) for bounds in self._calls(first, alike)]
        calls += [(self.last_batch, bounds) for bounds in self._calls(max(first, alike), last)]
        for size, bounds in calls:
            train = self._train[size]
            state, totals = train(state, totals, values, epoch, *bounds, self._train_fixed)
        return state, totals

    def _evaluate_steps(
        self, state: State, totals: Totals, values: Any, first: int, last: int
    ) -> Totals:
        for bounds in self._calls(first, last):
            totals = self._evaluate(state, totals, values, *bounds, self._validation_fixed)
        return totals

    def snapshot(self, state: State) -> State:
        """A copy, as training donates the state's memory; on a device it takes no time."""
        copy: State = jax.tree.map(np.array if not self._loops_inside else jnp.copy, state)
        return copy

    def _norms(self, state: State, values: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
        if self._watch is None:
            watch = jax.jit(self._steps.gradient_norms, keep_unused=True)
            self._watch = self._compiled(watch.lower(state, values, batch, self._train_fixed))
        return self._watch(state, values, batch, self._train_fixed)

    def _predict(self, state: State, values: Any, first: int) -> tuple[Tensor, Tensor, Tensor]:
        if self._predictions is None:
            self._predictions = jax.jit(self._steps.predict, static_argnums=3)
        fixed, size = self._validation_fixed, self.evaluation_batch
        result: tuple[Tensor, Tensor, Tensor] = self._predictions(
            state, values, np.int32(first), size, fixed
        )
        return result

    @staticmethod
    def _to_device(value: Any) -> Any:
        return jax.tree.map(jnp.array, value)

    @staticmethod
    def _value_and_gradient(function: LossFunction, weights: Tensor) -> tuple[Any, Tensor]:
        result: tuple[Any, Tensor] = jax.value_and_grad(function, has_aux=True)(weights)
        return result

    @property
    def num_traces(self) -> int:
        """Traces after compiling, and for ever: 2, or 3 with a last batch of another size."""
        return self._traces


# ---------------------------------------------------------------------- between processes


def compiled(lowered: Any, programs: CompiledPrograms | None) -> Any:
    """A lowered function, compiled now or by an earlier process.

    JAX's own cache does the same without naming what the machine code depends on, and writes files
    that a kill leaves half written; `JAX_ENABLE_COMPILATION_CACHE=false` ends this one, too.
    Only a function that was jitted with `keep_unused` is kept, or one that uses all it is given.
    """
    text = lowered.as_text()
    special = _special_options(text)
    is_off = not jax.config.jax_enable_compilation_cache
    if programs is None or is_off or not _is_all_of_it(text, lowered):
        return lowered.compile(special)
    depends_on = [text, *_compiler(), *_options(), *(special or {}).values()]
    key = hashlib.sha256("\0".join(depends_on).encode()).hexdigest()
    if (content := programs.read(key)) is not None:
        try:
            return deserialize_and_load(content, lowered.in_tree, lowered.out_tree)
        except Exception:  # whatever XLA says of it
            programs.discard(key)
    program = lowered.compile(special)
    try:
        content, _, _ = serialize(program)
    except Exception:  # not everything can be taken out of its process
        return program
    programs.write(key, content)
    return program


def _special_options(text: str) -> dict[str, str] | None:
    """For a CPU XLA removes barriers first, and then what is computed twice: what the backward pass
    was to compute again would be kept all the same. Most of it is in memory-efficient dense blocks;
    others compute the normalization of their batch statistics again.
    """
    if "optimization_barrier" not in text or jax.default_backend() != "cpu":
        return None
    return {"xla_disable_hlo_passes": "cse_barrier_expander"}


def _is_all_of_it(text: str, lowered: Any) -> bool:
    """Whether the text alone says what the program computes.

    It does not say where a call back into Python goes, an address of this process; nor which
    arguments were left out because nothing uses them.
    """
    arguments = text.partition("@main(")[2].partition(") ->")[0].count("%arg")
    return "callback" not in text and arguments == len(jax.tree.leaves(lowered.args_info))


@cache
def _compiler() -> tuple[str, ...]:
    """What machine code depends on beside the program: versions, and the device."""
    device = jax.devices()[0]
    names = [jax.__version__, jax.lib.__version__, device.client.platform_version]
    names += [device.device_kind, str(jax.device_count()), platform.machine()]
    if device.platform == "cpu":
        return (*names, *_threads(), _cpu())
    installed = importlib.metadata.distributions()
    return (
        *names,
        *sorted(f"{d.name} {d.version}" for d in installed if "nvidia" in (d.name or "")),
    )


def _threads() -> tuple[str, ...]:
    """Among how many XLA may divide work when it compiles."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return str(cores), os.environ.get("NPROC", "")


def _cpu() -> str:
    """The first processor's model and instructions, as Linux tells them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    wanted = ("vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU part")
    return "\n".join(line for line in lines if line.startswith(wanted))


def _options() -> tuple[str, ...]:
    """Options of JAX and XLA; a person's `build` may have changed some."""
    return os.environ.get("XLA_FLAGS", ""), repr(sorted(jax.config.values.items()))
