"""Ledgers for the page: plausible ones, odd ones and hostile ones, written through the ledger."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import NewTrial, Outcome

HOSTILE = (
    "<script>window.hacked=1</script>",
    "</script><img src=x onerror=window.hacked=2>",
    '"><b onmouseover=window.hacked=3>',
    "=HYPERLINK('http://evil.example')",
    "\x1b[31mred\x1b[0m",
    "abc\u202edef",
    "<a href='javascript:window.hacked=4'>link</a>",
    "&lt;b&gt; &amp; <b>bold</b><br>",
    "{{ 7 * 7 }} {% raw %} @best __proto__",
    "\u2028\u2029 \U0001f680 שלום",
)


@dataclass(frozen=True)
class Plan:
    """One trial: its values, its accuracy in each epoch, and how it ended."""

    values: Mapping[str, Any]
    curve: Sequence[float]
    state: TrialState = TrialState.COMPLETED
    reason: str = ""
    parameters: int | None = None
    macs: int | None = None
    replicate: int = 0
    seconds: float = 8.0
    structure: str = "structure"


@dataclass
class Clock:
    """Stands still until it is told."""

    time: datetime = field(default_factory=lambda: datetime(2026, 1, 2, 9, 0, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.time


def write(
    results: Path,
    name: str,
    plans: Sequence[Plan],
    *,
    objective: tuple[str, str] = ("val_accuracy", "max"),
    yaml: str = "",
    workers: int = 2,
    environment: Mapping[str, Any] | None = None,
) -> RunFolder:
    """A run in which so many workers take trial after trial."""
    folder = RunFolder(results, name)
    folder.prepare()
    folder.environment.write_text(json.dumps(environment or {"data": {"num_classes": 100}}))
    folder.experiment.write_text(yaml, encoding="utf-8")
    clock = Clock()
    free = [clock.time] * workers
    with Ledger.create_or_open(folder.ledger, name, now=clock) as ledger:
        ledger._connection.execute("PRAGMA synchronous = OFF")  # nobody pulls the plug of a test
        ledger.set_objective(Objective(*objective))
        ledger.begin_run(total=len(plans), done=0, workers=workers)
        ledger.add([_new(index, plan) for index, plan in enumerate(plans)])
        for number, plan in enumerate(plans, start=1):
            if plan.state is not TrialState.WAITING:
                worker = free.index(min(free))
                clock.time = free[worker]
                _train(ledger, number, plan, worker, clock, objective)
                free[worker] = clock.time
    return folder


def _new(index: int, plan: Plan) -> NewTrial:
    configuration = {"model.family": "resnet", **plan.values}
    return NewTrial(
        f"key{index}", configuration, plan.values, plan.replicate, plan.replicate, plan.structure,
        plan.parameters, plan.macs,
    )  # fmt: skip


def _train(
    ledger: Ledger,
    number: int,
    plan: Plan,
    worker: int,
    clock: Clock,
    objective: tuple[str, str],
) -> None:
    ledger.start(number, worker)
    if plan.state is TrialState.RUNNING:
        return
    for epoch, accuracy in enumerate(plan.curve, start=1):
        ledger.record_epoch(number, epoch, metrics_of(accuracy, epoch), plan.seconds)
    clock.time += timedelta(seconds=plan.seconds * max(1, len(plan.curve)))
    ledger.finish(number, _outcome(plan, objective))


def metrics_of(accuracy: float, epoch: int) -> dict[str, float]:
    """Losses that go with an accuracy."""
    loss = 4.6 * (1 - accuracy) ** 1.5 if math.isfinite(accuracy) else math.nan
    return {
        "loss": loss * 0.97**epoch,
        "accuracy": min(1.0, accuracy * 1.02**epoch),
        "val_loss": loss,
        "val_accuracy": accuracy,
    }


def _outcome(plan: Plan, objective: tuple[str, str]) -> Outcome:
    curve = [metrics_of(accuracy, epoch) for epoch, accuracy in enumerate(plan.curve, start=1)]
    scores = [metrics[objective[0]] for metrics in curve]
    ranked = plan.state in (TrialState.COMPLETED, TrialState.STOPPED) and scores
    best = (max if objective[1] == "max" else min)(scores) if ranked else None
    return Outcome(
        plan.state,
        best,
        scores.index(best) + 1 if best is not None else None,
        curve[-1] if curve else {},
        plan.seconds * len(plan.curve),
        1.5,
        plan.reason,
    )


# ---------------------------------------------------------------------- plausible

SEARCH_YAML = """\
name: {name}
description: learning rate, betas, λ, depth and growth rate of DenseNets on CIFAR-100
data: {{dataset: cifar100, validation: 5000, augment: [crop, flip]}}
model:
  family: densenet
  depth: {{choice: [40, 64, 100]}}
  growth_rate: {{choice: [12, 24]}}
training:
  epochs: {epochs}
  optimizer: {{choice: [adam, sgd]}}
  learning_rate: {{min: 1e-4, max: 1e-1, scale: log}}
  beta_2: {{min: 0.9, max: 0.9999, scale: reverse_log}}
  l2: {{choice: [0, 1e-4]}}
objective: {{metric: val_accuracy, direction: max}}
search: {{method: random, max_trials: {trials}, stop: {{rule: asha, min_epochs: 2}}}}
"""


def random_search(trials: int, epochs: int, seed: int = 0) -> list[Plan]:
    """A search as it might have been: a valley in the learning rate, gains from depth, noise."""
    rng = random.Random(seed)
    return [_random_plan(rng, epochs) for _ in range(trials)]


def _random_plan(rng: random.Random, epochs: int) -> Plan:
    depth, growth = rng.choice([40, 64, 100]), rng.choice([12, 24])
    rate = 10 ** rng.uniform(-4, -1)
    values = {
        "model.family": "densenet",
        "model.depth": depth,
        "model.growth_rate": growth,
        "training.optimizer": rng.choice(["adam", "sgd"]),
        "training.learning_rate": float(f"{rate:.5g}"),
        "training.beta_2": 1 - 10 ** rng.uniform(-4, -1),
        "training.l2": rng.choice([0, 1e-4]),
    }
    middle = -2.7 if values["training.optimizer"] == "adam" else -1.6
    quality = 0.70 + 0.03 * math.log2(depth / 40) + 0.025 * (growth == 24)
    quality -= 0.09 * (math.log10(rate) - middle) ** 2 + rng.gauss(0, 0.012)
    quality = max(0.012, quality)
    speed = rng.uniform(0.1, 0.25) * 30 / epochs
    curve = [
        max(0.005, quality * (1 - math.exp(-speed * (e + 0.6))) + rng.gauss(0, 0.008))
        for e in range(epochs)
    ]
    parameters = int(1000 * (depth * growth / 10) ** 1.55)
    facts: dict[str, Any] = {
        "parameters": parameters,
        "macs": parameters * 280,
        "seconds": 4 + parameters / 60_000 * rng.uniform(0.9, 1.2),
    }
    if rate > 0.06 and rng.random() < 0.4:
        cut = rng.randint(2, max(2, epochs // 3))
        broken = [*curve[: cut - 1], math.nan]
        return Plan(values, broken, TrialState.DIVERGED, f"loss is nan in epoch {cut}", **facts)
    if rng.random() < 0.01:
        text = "ResourceExhaustedError: out of memory while allocating 2.1 GB\nin densenet/block_3"
        return Plan(values, curve[:1], TrialState.FAILED, text, **facts)
    if quality < 0.6 and rng.random() < 0.7:
        return Plan(values, curve[: max(2, epochs // 4)], TrialState.STOPPED, "asha", **facts)
    return Plan(values, curve, **facts)


# ---------------------------------------------------------------------- odd


def mixed() -> list[Plan]:
    """Branches, mixed types, replicates, booleans, nulls, lists."""
    values: list[dict[str, Any]] = [
        {"model.family": "resnet", "model.depth": 20, "training.schedule": "cosine"},
        {"model.family": "resnet", "model.depth": 32, "training.schedule": None},
        {"model.family": "densenet", "model.growth_rate": 12, "training.schedule": [0.5, 0.75]},
        {"model.family": "densenet", "model.growth_rate": 24, "training.schedule": True},
        {"model.family": "densenet", "model.growth_rate": 24, "training.schedule": "true"},
        {"model.family": "densenet", "model.growth_rate": 32, "training.schedule": 1},
    ]
    return [
        Plan(one, [0.1, 0.2 + 0.03 * i + 0.01 * r], parameters=10_000 * (i + 1), replicate=r)
        for i, one in enumerate(values)
        for r in (0, 1)
    ]


def hostile() -> list[Plan]:
    """Every hostile text as a name, a value and a reason."""
    plans = []
    for i, text in enumerate(HOSTILE):
        values = {"model.note": text, f"model.{HOSTILE[0]}": i % 3, "training.rate": 10.0**-i}
        plans.append(Plan(values, [0.1, 0.2 + i / 50], parameters=1000 + i))
        plans.append(Plan(values, [0.1], TrialState.FAILED, f"{text}\n{text}"))
    return plans


def failures() -> list[Plan]:
    """Nothing but failures."""
    return [
        Plan({"training.learning_rate": 10.0**-i}, [], TrialState.FAILED, "MemoryError: too large")
        for i in range(3)
    ]


def waiting() -> list[Plan]:
    """Nothing has ended yet."""
    running = Plan({"training.learning_rate": 0.1}, [], TrialState.RUNNING)
    return [running, Plan({"training.learning_rate": 0.2}, [], TrialState.WAITING)]
