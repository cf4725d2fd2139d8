"""A keras-tuner program as people write one: what it tunes is told in several places."""

from __future__ import annotations

from typing import Any

import keras
import keras_tuner


class Program(keras_tuner.HyperModel):
    """Tunes its optimizer by name, and its batches where it trains; notes what it did."""

    def __init__(self) -> None:
        super().__init__()
        self.trained: list[dict[str, Any]] = []

    def build(self, hp: Any) -> Any:
        layers = [keras.layers.Flatten(), keras.layers.Dense(hp.Int("units", 2, 9), "relu")]
        model = keras.Sequential([keras.Input((4, 4, 1)), *layers, keras.layers.Dense(3)])
        optimizer = hp.Choice("optimizer", ["adam", "sgd"])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, metrics=["accuracy"])
        return model

    def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        batch_size = hp.Choice("batch_size", [8, 16])
        history = model.fit(*args, batch_size=batch_size, **kwargs)
        self.trained.append({**hp.values, "trained": history.epoch})
        return history


class Loadable(Program):
    """Keras loads the weights of a trial only where the optimizer is built; nothing is compiled."""

    def build(self, hp: Any) -> Any:
        model = super().build(hp)
        model.run_eagerly = True
        model.optimizer.build(model.trainable_variables)
        return model
