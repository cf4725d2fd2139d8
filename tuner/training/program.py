"""A program: compiled once per structure, run for every trial of it.

A trial is a `State` that a program turns into the next one, an epoch at a time. The program holds
nothing of a trial, so that several may share it, in turn or, on a device with room, side by side.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from tuner.data.augment import Augmentation
from tuner.data.dataset import BYTES, Pixels, class_number
from tuner.data.images import ImageData
from tuner.models.own.undrawn import seeded
from tuner.training.compiled import CompiledPrograms
from tuner.training.network import Network
from tuner.training.optimizers import OPTIMIZERS, RUNTIME_VALUES, learning_rates
from tuner.training.seeds import derive, generator
from tuner.training.steps import (
    FIRST_LOSS_SCALE,
    EpochPlan,
    Fixed,
    LossFunction,
    State,
    Steps,
    Totals,
    from_arrays,
)

# A program is called for about this long at a time, so that a person sees progress and can stop.
SECONDS_PER_CALL = 1.0
# Of a trial that a rule may end: what it says of an epoch comes when the next one has just begun.
FIRST_CALL_SECONDS = 0.025
MAX_EVALUATION_BATCH = 500
# An evaluation keeps what two or three layers made, a training step what all did, or where much is
# computed again a third of that: so many training batches need no more memory than one step.
EVALUATION_BATCHES = 4
MAX_WATCHED_BATCH = 1000  # images whose gradients are watched, if a batch has more


class Interrupted(Exception):
    """Training was given up between two steps."""


@dataclass(frozen=True)
class Blueprint:
    """What a program is built for; everything else about a trial is a runtime value."""

    build: Callable[[], Any]  # gives the Keras model
    optimizer: str
    batch_size: int
    precision: str
    probabilities: bool = False  # the model gives probabilities and not logits


@dataclass(frozen=True)
class DeviceImages:
    """The data set on the device, placed once for all programs of a process.

    Images are uint8, the training images padded where they are to be cropped; labels int32.
    """

    x_train: Any
    y_train: Any
    x_validation: Any
    y_validation: Any
    num_train: int
    num_validation: int
    image_shape: tuple[int, int, int]
    num_classes: int
    class_counts: tuple[int, ...]  # training images of each class
    augmentation: Augmentation
    pixels: Pixels = BYTES
    class_names: tuple[str, ...] = ()

    def notes(self) -> dict[str, Any]:
        """What a checkpoint says of them, so that its model can be had without the data.

        `mean` and `std` are of pixels as the data have them.
        """
        scale = self.pixels.scale
        return {
            "image_shape": self.image_shape,
            "num_classes": self.num_classes,
            "class_names": list(self.class_names),
            "num_train_images": self.num_train,
            "pixels": [self.pixels.high, scale],
            "mean": (self.augmentation.mean / scale).tolist(),
            "std": (self.augmentation.std / scale).tolist(),
        }


@dataclass(frozen=True)
class Hyperparameters:
    """The runtime values of a trial: its closed `training` section, and its layers' rates.

    `augment` are its augmentations, where those are searched.
    """

    training: Mapping[str, Any]
    rates: Mapping[str, float]
    seed: int
    augment: tuple[str, ...] = ()

    def values(self, rate_names: Iterable[str]) -> dict[str, float]:
        """What the compiled program reads, by name."""
        training = {name: float(self.training.get(name, 0.0)) for name in RUNTIME_VALUES}
        return {**training, **{name: float(self.rates[name]) for name in rate_names}}


# step, number of steps, mean training loss so far; may raise Interrupted
OnProgress = Callable[[int, int, float], None]


def _silent(step: int, steps: int, loss: float) -> None:
    return None


class Program(ABC):
    """Trains and validates any trial of one structure on one device.

    `train_epoch` and `evaluate` give means over images: `loss` (cross-entropy in nats, without L2
    penalty, label smoothing and class weights, so that trials can be compared), `accuracy`,
    `top5_accuracy`.
    Training figures are measured while the weights change, as Keras does. What an earlier process
    compiled is taken from `programs`, where the backend can.
    """

    def __init__(
        self,
        blueprint: Blueprint,
        images: DeviceImages,
        programs: CompiledPrograms | None = None,
    ) -> None:
        started = time.perf_counter()
        self._programs = programs
        self.blueprint = blueprint
        self.images = images
        self.steps_per_epoch = math.ceil(images.num_train / blueprint.batch_size)
        self.evaluation_batch = evaluation_batch(blueprint.batch_size, images.num_validation)
        self._seconds_per_step: dict[str, float] = {}
        with precision_scope(blueprint.precision):
            self.network = Network(
                blueprint.build, images.augmentation, probabilities=blueprint.probabilities
            )
        self._steps = Steps(
            self.network,
            blueprint.optimizer,
            self._value_and_gradient,
            scale_loss=blueprint.precision == "mixed_float16",
        )
        decayed = self._to_device(self.network.kernels())
        self._train_fixed = Fixed(images.x_train, images.y_train, decayed)
        self._validation_fixed = Fixed(images.x_validation, images.y_validation, decayed)
        built = time.perf_counter()
        with seeded(0):  # whatever a network of somebody's own draws while it is traced
            self._trace()
            traced = time.perf_counter()
            self._compile()
        self.build_seconds, self.trace_seconds = built - started, traced - built
        self.compile_seconds = time.perf_counter() - started  # with building and tracing

    @property
    def last_batch(self) -> int:
        """Images of an epoch's last step: what a batch size that does not divide leaves over."""
        return self.images.num_train - (self.steps_per_epoch - 1) * self.blueprint.batch_size

    @property
    def is_last_partial(self) -> bool:
        """Whether an epoch ends with a smaller batch."""
        return self.last_batch < self.blueprint.batch_size

    @classmethod
    def place(
        cls, data: ImageData, augment: tuple[str, ...], *, augment_is_searched: bool = False
    ) -> DeviceImages:
        """Bring a data set to the device; `augment` is all that any trial does to its images."""
        augmentation = Augmentation(
            augment, data.image_shape, data.mean, data.std, data.fill, augment_is_searched
        )
        return DeviceImages(
            x_train=cls._to_device(augmentation.prepare(data.x_train)),
            y_train=cls._to_device(data.y_train.astype(np.int32)),
            x_validation=cls._to_device(data.x_validation),
            y_validation=cls._to_device(data.y_validation.astype(np.int32)),
            num_train=len(data.y_train),
            num_validation=len(data.y_validation),
            image_shape=data.image_shape,
            num_classes=data.num_classes,
            class_counts=tuple(np.bincount(data.y_train, minlength=data.num_classes).tolist()),
            augmentation=augmentation,
            pixels=data.pixels,
            class_names=data.class_names,
        )

    # ------------------------------------------------------------ what a backend implements

    @staticmethod
    @abstractmethod
    def _to_device(value: Any) -> Any:
        """An array or a (nested) tuple of arrays, on the device."""

    @staticmethod
    @abstractmethod
    def _value_and_gradient(function: LossFunction, weights: Any) -> tuple[Any, Any]:
        """((loss, aux), gradient) of a function that gives (loss, aux)."""

    @abstractmethod
    def _trace(self) -> None:
        """Trace everything that any trial will run."""

    @abstractmethod
    def _compile(self) -> None:
        """Compile what was traced."""

    @abstractmethod
    def _train_steps(
        self, state: State, totals: Totals, values: Any, epoch: EpochPlan, first: int, last: int
    ) -> tuple[State, Totals]:
        """Steps first … last − 1 of an epoch."""

    @abstractmethod
    def _evaluate_steps(
        self, state: State, totals: Totals, values: Any, first: int, last: int
    ) -> Totals:
        """Evaluation batches first … last − 1."""

    @abstractmethod
    def _norms(self, state: State, values: Any, batch: tuple[Any, Any]) -> Any:
        """`Steps.gradient_norms`, compiled when it is first asked for."""

    @abstractmethod
    def _predict(self, state: State, values: Any, first: int) -> tuple[Any, Any, Any]:
        """`Steps.predict` of an evaluation batch, compiled when it is first asked for."""

    @property
    @abstractmethod
    def num_traces(self) -> int:
        """How often anything of this program was traced or compiled since it was made."""

    # ------------------------------------------------------------ what a worker calls

    def initial(self, seed: int) -> State:
        """The state of a trial before its first step."""
        weights, moving = self.network.initial(seed)
        num_slots = OPTIMIZERS[self.blueprint.optimizer].num_slots
        slots = tuple(np.zeros_like(weights) for _ in range(num_slots))
        state = State(
            weights=weights,
            moving=moving,
            slots=slots,
            step=np.zeros((), np.float32),
            loss_scale=np.array([FIRST_LOSS_SCALE, 0.0], np.float32),
        )
        return State(*self._to_device(tuple(state)))

    def snapshot(self, state: State) -> State:
        """The same state for `steps.to_arrays`, also when training has used the other up."""
        return state

    def restore(self, arrays: Mapping[str, Any]) -> State:
        """The state of a checkpoint's arrays (`steps.to_arrays`).

        Raises:
            TunerError: they belong to another network or optimizer.
        """
        return State(*self._to_device(tuple(from_arrays(arrays, self.initial(0)))))

    def train_epoch(
        self,
        state: State,
        hyperparameters: Hyperparameters,
        epoch: int,
        on_progress: OnProgress = _silent,
        *,
        call_seconds: float = SECONDS_PER_CALL,
    ) -> tuple[State, dict[str, float]]:
        """Train `epoch` (counted from 0): every image once, the last batch what is left over.

        The state that is passed in is used up; go on with the one that is returned. `on_progress`
        is first called after about `call_seconds`, then at intervals that double up to a second;
        what is trained does not depend on it.
        """
        values = self._device_values(hyperparameters)
        plan = EpochPlan(*self._to_device(tuple(self.plan_epoch(hyperparameters, epoch))))
        totals = self._zero_totals()

        def advance(first: int, last: int) -> Totals:
            nonlocal state, totals
            state, totals = self._train_steps(state, totals, values, plan, first, last)
            return totals

        self._in_calls("train", self.steps_per_epoch, advance, on_progress, call_seconds)
        return state, _means(totals)

    def evaluate(
        self,
        state: State,
        hyperparameters: Hyperparameters,
        on_progress: OnProgress = _silent,
    ) -> dict[str, float]:
        """Loss and accuracies over the validation images."""
        values = self._device_values(hyperparameters)
        totals = self._zero_totals()

        def advance(first: int, last: int) -> Totals:
            nonlocal totals
            totals = self._evaluate_steps(state, totals, values, first, last)
            return totals

        self._in_calls("evaluate", self.evaluation_steps, advance, on_progress)
        return _means(totals)

    def predict(
        self,
        state: State,
        hyperparameters: Hyperparameters,
        on_progress: OnProgress = _silent,
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Of each validation image: the class that is predicted, its log p, and the label's.

        Apart from `evaluate`, so that a search, which needs no more than sums, pays nothing;
        compiled when it is first called.
        """
        values, size = self._device_values(hyperparameters), self.evaluation_batch
        batches = []
        for step in range(self.evaluation_steps):
            batches.append(_to_host(self._predict(state, values, step * size)))
            on_progress(step + 1, self.evaluation_steps, math.nan)
        count = self.images.num_validation
        predicted, own, true = (np.concatenate(p)[:count] for p in zip(*batches, strict=True))
        return predicted, own, true

    def gradient_norms(self, state: State, hyperparameters: Hyperparameters) -> list[float]:
        """Norm of the loss's mean gradient in each kernel of `network.kernel_names()`.

        On one batch, the same for all trials of the data set: images, order, augmentation and the
        keys of random layers are fixed, and batch normalization normalizes with the batch. The
        state is left as it is. Compiled once, the first time.
        """
        values = self._device_values(hyperparameters)
        norms = self._norms(state, values, self._watched_batch())
        return [float(norm) for norm in np.asarray(norms)]

    def _watched_batch(self) -> tuple[Any, Any]:
        size = min(self.blueprint.batch_size, MAX_WATCHED_BATCH)
        order = generator(0, "watch").permutation(self.images.num_train)
        keys = [derive(0, "watch", index) for index in range(len(self.network.generators))]
        batch: tuple[Any, Any] = self._to_device(
            (order[:size].astype(np.int32), np.asarray(keys, np.int32))
        )
        return batch

    @property
    def evaluation_steps(self) -> int:
        """Batches that cover the validation images."""
        return math.ceil(self.images.num_validation / self.evaluation_batch)

    def plan_epoch(self, hyperparameters: Hyperparameters, epoch: int) -> EpochPlan:
        """The order of the images, the learning rates and the keys of an epoch, as numpy arrays."""
        seed, training = hyperparameters.seed, hyperparameters.training
        steps = self.steps_per_epoch
        count = self.images.num_train
        shuffled = training.get("shuffle", True)
        order = generator(seed, "order", epoch).permutation(count) if shuffled else np.arange(count)
        keys = [
            derive(seed, "layer", index, epoch) for index in range(len(self.network.generators))
        ]
        return EpochPlan(
            order=order.astype(np.int32),
            rates=learning_rates(
                training["schedule"],
                highest=training["learning_rate"],
                epoch=epoch,
                epochs=training["epochs"],
                steps=steps,
                warmup_epochs=training["warmup_epochs"],
            ),
            keys=np.asarray(keys, np.int32),
        )

    def model(self, state: State, hyperparameters: Hyperparameters) -> Any:
        """The Keras model with this state's weights and the trial's rates."""
        weights, moving = _to_host((state.weights, state.moving))
        return self.network.assign(weights, moving, hyperparameters.rates)

    # ------------------------------------------------------------ in common

    def _device_values(self, hyperparameters: Hyperparameters) -> Any:
        values: dict[str, Any] = dict(hyperparameters.values(self.network.rate_names))
        values |= self.images.augmentation.switches(hyperparameters.augment)
        asked = hyperparameters.training.get("class_weight")
        values["class_weight"] = class_weights(
            asked, self.images.class_counts, self.images.class_names
        )
        return {k: self._to_device(np.float32(v)) for k, v in sorted(values.items())}

    def _examples(self) -> tuple[State, EpochPlan, Any]:
        """Arguments of the right shapes to compile with."""
        rates = dict.fromkeys(self.network.rate_names, 0.5)
        training = {"schedule": "constant", "learning_rate": 0.0, "epochs": 1, "warmup_epochs": 0}
        hyperparameters = Hyperparameters(training, rates, seed=0)
        epoch = EpochPlan(*self._to_device(tuple(self.plan_epoch(hyperparameters, 0))))
        return self.initial(0), epoch, self._device_values(hyperparameters)

    def _zero_totals(self) -> Totals:
        return Totals(*self._to_device((np.zeros((), np.float32),) * 4))

    def _in_calls(
        self,
        kind: str,
        steps: int,
        advance: Callable[[int, int], Totals],
        on_progress: OnProgress,
        seconds: float = SECONDS_PER_CALL,
    ) -> None:
        """Run `steps` in calls of about `seconds`, which doubles up to SECONDS_PER_CALL.

        Stops once the loss is not finite.
        """
        first = 0
        while first < steps:
            pace = self._seconds_per_step.get(kind)
            size = max(1, round(seconds / pace)) if pace else 1
            seconds = min(SECONDS_PER_CALL, 2 * seconds)
            last = min(steps, first + size)
            started = time.perf_counter()
            totals = advance(first, last)
            loss, images = float(totals.loss), float(totals.images)  # waits for the device
            self._seconds_per_step[kind] = (time.perf_counter() - started) / (last - first)
            on_progress(last, steps, loss / images if images else math.nan)
            # Without images every step so far was skipped by loss scaling, which is no divergence.
            if images and not math.isfinite(loss):
                return
            first = last


def evaluation_batch(batch_size: int, num_images: int) -> int:
    """How many images are evaluated at a time by a program that trains on so many."""
    return min(MAX_EVALUATION_BATCH, EVALUATION_BATCHES * batch_size, num_images)


def _means(totals: Totals) -> dict[str, float]:
    images = float(totals.images)
    if not images:
        return dict.fromkeys(("loss", "accuracy", "top5_accuracy"), math.nan)
    return {
        "loss": float(totals.loss) / images,
        "accuracy": float(totals.correct) / images,
        "top5_accuracy": float(totals.correct_5) / images,
    }


def class_weights(
    asked: Literal["balanced"] | Mapping[Any, float] | None,
    counts: Sequence[int],
    names: Sequence[str] = (),
) -> NDArray[np.float64]:
    """What an image's loss counts, by its class; `counts` are the training images of each class.

    As Keras takes it, 1 where nothing is asked. "balanced" is n / (K · count), as in scikit-learn.
    """
    available = np.asarray(counts)
    if asked == "balanced":
        share = available.sum() / np.count_nonzero(available)
        return np.asarray(share / np.maximum(available, 1), np.float64)
    weights = np.ones(len(counts))
    for written, weight in (asked or {}).items():
        weights[class_number(str(written), len(counts), names)] = weight
    return weights


def _to_host(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_to_host(part) for part in value)
    return np.asarray(value)


@contextmanager
def precision_scope(precision: str) -> Iterator[None]:
    """Build under `float32`, `mixed_bfloat16` or `mixed_float16`."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
