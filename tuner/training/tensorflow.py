"""The TensorFlow program: an epoch is one compiled call over data that stay on the device."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tuner.training.program import Program
from tuner.training.steps import EpochPlan, LossFunction, State, Totals

Tensor = Any


class TensorFlowProgram(Program):
    """Two graphs, for training and for evaluation, each traced once and looping over steps."""

    def _train_graph(
        self,
        state: State,
        totals: Totals,
        values: Any,
        epoch: EpochPlan,
        first: Tensor,
        last: Tensor,
    ) -> tuple[State, Totals]:
        self._traces += 1

        def body(step: Tensor, state: State, totals: Totals) -> tuple[Tensor, State, Totals]:
            batch = (self._indices(epoch, step), epoch.rates[step], epoch.keys)
            state, totals = self._steps.train(state, totals, values, batch, self._train_fixed)
            return step + 1, state, totals

        _, state, totals = tf.while_loop(
            lambda step, *_: step < last, body, (first, state, totals), parallel_iterations=1
        )
        return state, totals

    def _indices(self, epoch: EpochPlan, step: Tensor) -> Tensor:
        """Of the step's images. Their number is a constant of the graph where all steps have it;
        otherwise the one graph takes any number, as in Keras' `fit`.
        """
        size = self.blueprint.batch_size
        indices = epoch.order[step * size : (step + 1) * size]  # cut off at the end
        return indices if self.is_last_partial else tf.ensure_shape(indices, [size])

    def _evaluate_graph(
        self, state: State, totals: Totals, values: Any, first: Tensor, last: Tensor
    ) -> Totals:
        self._traces += 1

        def body(step: Tensor, totals: Totals) -> tuple[Tensor, Totals]:
            totals = self._steps.evaluate(
                state,
                totals,
                values,
                step * self.evaluation_batch,
                self.evaluation_batch,
                self._validation_fixed,
            )
            return step + 1, totals

        _, totals = tf.while_loop(
            lambda step, *_: step < last, body, (first, totals), parallel_iterations=1
        )
        return totals

    def _trace(self) -> None:
        self._traces = 0
        self._watch: Any = None
        self._predictions: Any = None
        self._train = tf.function(self._train_graph, autograph=False)
        self._evaluate = tf.function(self._evaluate_graph, autograph=False)
        state, epoch, values = self._examples()
        totals, bounds = self._zero_totals(), (tf.constant(0), tf.constant(0))
        self._first_arguments = (state, totals, values)
        self._train.get_concrete_function(*self._first_arguments, epoch, *bounds)
        self._evaluate.get_concrete_function(*self._first_arguments, *bounds)
        self._first_epoch = epoch

    def _compile(self) -> None:
        """Calls of no steps: everything is optimized, nothing is trained."""
        self._train_steps(*self._first_arguments, self._first_epoch, 0, 0)
        self._evaluate_steps(*self._first_arguments, 0, 0)
        del self._first_arguments, self._first_epoch

    def _train_steps(
        self, state: State, totals: Totals, values: Any, epoch: EpochPlan, first: int, last: int
    ) -> tuple[State, Totals]:
        bounds = tf.constant(first), tf.constant(last)
        result: tuple[State, Totals] = self._train(state, totals, values, epoch, *bounds)
        return result

    def _evaluate_steps(
        self, state: State, totals: Totals, values: Any, first: int, last: int
    ) -> Totals:
        result: Totals = self._evaluate(
            state, totals, values, tf.constant(first), tf.constant(last)
        )
        return result

    def _norms(self, state: State, values: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
        if self._watch is None:
            self._watch = tf.function(self._steps.gradient_norms, autograph=False)
        return self._watch(state, values, batch, self._train_fixed)

    def _predict(self, state: State, values: Any, first: int) -> tuple[Tensor, Tensor, Tensor]:
        if self._predictions is None:
            self._predictions = tf.function(self._steps.predict, autograph=False)
        fixed, size = self._validation_fixed, self.evaluation_batch
        result: tuple[Tensor, Tensor, Tensor] = self._predictions(
            state, values, tf.constant(first), size, fixed
        )
        return result

    @staticmethod
    def _to_device(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(TensorFlowProgram._to_device(part) for part in value)
        return tf.convert_to_tensor(value)

    @staticmethod
    def _value_and_gradient(function: LossFunction, weights: Tensor) -> tuple[Any, Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            loss, aux = function(weights)
        return (loss, aux), tape.gradient(loss, weights)

    @property
    def num_traces(self) -> int:
        """Python traces of the two graphs: 2 after compiling, and for ever, whatever the sizes."""
        return self._traces
