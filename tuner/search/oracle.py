'''Every search method as a `keras_tuner.Oracle`, for ordinary keras-tuner programs.

    import keras
    import keras_tuner
    from tuner.search.oracle import make_oracle

    def build(hp):
        model = keras.Sequential([keras.layers.Dense(hp.get("hidden_units"), "relu"),
                                  keras.layers.Dense(10)])
        model.compile(keras.optimizers.Adam(hp.get("learning_rate")),
                      keras.losses.SparseCategoricalCrossentropy(True), metrics=["accuracy"])
        return model

    oracle = make_oracle("""
    model: {family: mlp, hidden_units: {choice: [64, 128]}}
    training: {learning_rate: {min: 1e-4, max: 1e-1, scale: log}}
    search: {method: sobol, max_trials: 16}
    """)
    search = keras_tuner.Tuner(oracle, build, directory="results", project_name="sobol")
    search.search(x, y, validation_data=(x_val, y_val), epochs=5)

`build` asks for a value by its plain name (`hp.get("hidden_units")`), or declares it as ever: with
`hp.Float("learning_rate", 1e-4, 1e-1)` the experiment's value is used, whatever the range there.
Everything that the experiment writes down has a value, open or closed, so that closing one leaves
`build` as it is; what only `build` declares keeps its default there.

The experiment's `stop`, `budget` and `replicates` belong to `tuner run` and have no effect here.
Importing this imports keras-tuner, and with it Keras.
'''

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Iterator
from typing import Any, Literal

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from tuner.experiment.experiment import Experiment, parse_experiment
from tuner.experiment.trial import Configuration, canonical
from tuner.search import make_method
from tuner.search.method import Proposal, Result

Names = Literal["short", "dotted"]

EPOCHS, INITIAL_EPOCH, TRIAL_ID = "tuner/epochs", "tuner/initial_epoch", "tuner/trial_id"
"""What keras-tuner's own Hyperband tells of a trial in parts: up to which epoch, from which, and
whose weights. Only a proposal with `until`, or one that goes on from there, has them."""

_ENDED = (TrialStatus.COMPLETED, TrialStatus.FAILED)


class MethodOracle(keras_tuner.Oracle):  # type: ignore[misc]
    """Gives out what a search method proposes and tells it the scores; see `make_oracle`."""

    def __init__(
        self, experiment: Experiment, objective: keras_tuner.Objective, names: Names
    ) -> None:
        self._experiment = experiment
        self._method = make_method(experiment)
        self._names = _Names(experiment, names)
        self._proposals: dict[str, Proposal] = {}
        self._ahead: deque[Proposal] = deque()
        hyperparameters = keras_tuner.HyperParameters()
        hyperparameters.values = self._names.values(_any_configuration(experiment))
        super().__init__(
            objective=objective,
            hyperparameters=hyperparameters,
            tune_new_entries=False,
            seed=experiment.search.seed + 1,  # 0 is no seed to keras-tuner
        )

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The next proposal: IDLE while the method waits for results, STOPPED at the end."""
        proposal = self._new_proposal()
        if proposal is None:
            ended = self._method.exhausted or not self.ongoing_trials
            return {"status": TrialStatus.STOPPED if ended else TrialStatus.IDLE}
        values = self._names.values(proposal.configuration) | self._part(proposal)
        self._proposals[trial_id] = proposal
        return {"status": TrialStatus.RUNNING, "values": values}

    @keras_tuner.synchronized  # type: ignore[untyped-decorator]
    def end_trial(self, trial: Trial) -> None:
        """Tells the method, once nothing more comes of the trial."""
        super().end_trial(trial)
        known = self.trials[trial.trial_id]
        proposal = self._proposals.get(known.trial_id)
        if proposal is not None and known.status in _ENDED:
            self._method.tell(self._result(known, proposal))

    def get_state(self) -> dict[str, Any]:
        """Of keras-tuner, and which trial is which proposal."""
        proposals = [
            [name, proposal.configuration.flat(), proposal.until]
            for name, proposal in self._proposals.items()
        ]
        return {**super().get_state(), "proposals": proposals}

    def set_state(self, state: dict[str, Any]) -> None:
        """A method that knows what the one before knew; trials of another space are left out."""
        super().set_state(state)
        self._proposals = {}
        for name, flat, until in state["proposals"]:
            configuration = self._experiment.space.find(flat)
            if configuration is not None and name in self.trials:
                self._proposals[name] = Proposal(configuration, until)
        self._method = make_method(self._experiment)
        self._method.restore(list(self._results()))
        self._ahead = deque(self._before_the_interrupted())

    def _new_proposal(self) -> Proposal | None:
        """One that has no trial yet: a method that plans starts from the beginning again."""
        if self._ahead:
            return self._ahead.popleft()
        known = self._keys()
        while (proposal := self._method.ask()) is not None:
            if _key(proposal) not in known:
                return proposal
        return None

    def _before_the_interrupted(self) -> Iterator[Proposal]:
        """Takes the interrupted proposals from the method, as keras-tuner itself runs them again.

        What else the method gives out before the last of them is yielded.
        """
        known = self._keys()
        interrupted = {
            _key(proposal)
            for name, proposal in self._proposals.items()
            if self.trials[name].status not in _ENDED
        }
        while interrupted and (proposal := self._method.ask()) is not None:
            interrupted.discard(_key(proposal))
            if _key(proposal) not in known:
                yield proposal

    def _keys(self) -> set[tuple[str, int | None]]:
        return {_key(proposal) for proposal in self._proposals.values()}

    def _part(self, proposal: Proposal) -> dict[str, Any]:
        """What a trial in parts needs to know."""
        before = self._parts(proposal.configuration)
        if proposal.until is None and not before:
            return {}
        part: dict[str, Any] = {
            EPOCHS: proposal.until or proposal.configuration.training["epochs"],
            INITIAL_EPOCH: 0,
        }
        if before:
            part |= {INITIAL_EPOCH: self._proposals[before[-1]].until, TRIAL_ID: before[-1]}
        return part

    def _parts(self, configuration: Configuration) -> list[str]:
        """The trials of a configuration, in order."""
        return [
            name for name, other in self._proposals.items() if other.configuration == configuration
        ]

    def _result(self, trial: Trial, proposal: Proposal) -> Result:
        # To keras-tuner NaN is a failure, and infinity a score.
        failed = trial.status != TrialStatus.COMPLETED or not math.isfinite(trial.score)
        score = None if failed else self._score(trial)
        # keras-tuner keeps the best epoch only: it stands for every one.
        epochs = proposal.until or proposal.configuration.training["epochs"]
        curve = () if score is None else (score,) * epochs
        return Result(proposal.configuration, score, curve, failed or proposal.until is None)

    def _results(self) -> Iterator[Result]:
        """What is known of each configuration, in order of proposal."""
        last: dict[str, Result] = {}
        for name, proposal in self._proposals.items():
            trial, key = self.trials[name], canonical(proposal.configuration.flat())
            if trial.status in _ENDED:
                last[key] = self._result(trial, proposal)
            else:
                last.setdefault(key, Result(proposal.configuration, None, ended=False))
        yield from last.values()

    def _score(self, trial: Trial) -> float:
        """As the experiment's direction wants it, which the method goes by."""
        agrees = self.objective.direction == self._experiment.objective.direction
        return float(trial.score) if agrees else -float(trial.score)


def make_oracle(
    experiment: Experiment | str,
    objective: keras_tuner.Objective | str | None = None,
    *,
    names: Names = "short",
) -> MethodOracle:
    """The search of an experiment for a `keras_tuner.Tuner`.

    Args:
        experiment: from `tuner.load_experiment`, or the text of one.
        objective: as keras-tuner wants it. Default: the experiment's metric and direction.
        names: what `build` asks for: `learning_rate`, or `training.learning_rate`. A short name
            that a model and its training share stays dotted.

    Raises:
        InputError: everything that is wrong with the text.
        ValueError: keras-tuner does not know the objective's direction.
    """
    if isinstance(experiment, str):
        experiment = parse_experiment(experiment, "oracle.yaml")
    if objective is None:
        asked = experiment.objective
        objective = keras_tuner.Objective(asked.metric, asked.direction)
    return MethodOracle(experiment, objective, names)


class _Names:
    """The values of a configuration as `build` asks for them."""

    def __init__(self, experiment: Experiment, names: Names) -> None:
        branches = experiment.space.branches
        written = {name for branch in branches for name in (*branch.sources, *branch.names)}
        short = [_short(name) for name in written]
        self._named = {
            name: name if names == "dotted" or short.count(_short(name)) > 1 else _short(name)
            for name in sorted(written)
        }

    def values(self, configuration: Configuration) -> dict[str, Any]:
        """By name; what is open comes first."""
        found = configuration.values | {
            name: value
            for name, value in configuration.flat().items()
            if name in self._named and name not in configuration.values
        }
        return {self._named[name]: value for name, value in found.items()}


def _short(name: str) -> str:
    return name.partition(".")[2]


def _key(proposal: Proposal) -> tuple[str, int | None]:
    return canonical(proposal.configuration.flat()), proposal.until


def _any_configuration(experiment: Experiment) -> Configuration:
    """For the first call of `build`, which is only looked at."""
    return experiment.space.sample(random.Random(0))
