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
So a value that the experiment closes leaves `build` as it is. Among a trial's values are those that
the experiment leaves open, and of those that it fixes what `build` has asked for.

What the program declares and the experiment does not name, in `build` or later in `run_trial` or
`HyperModel.fit`, keeps its default there, unless `tune_new_entries` opens it, too.

Constraints over sizes (`parameters <= 1e6`) are of the networks that `model:` describes, on the
images of `data:`, whatever `build` makes of the values.

The experiment's `stop`, `enough`, `budget`, `replicates` and `resources` belong to `tuner run` and
have no effect here.
Importing this imports keras-tuner, and with it Keras.
'''

from __future__ import annotations

import dataclasses
import math
import random
from collections import deque
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Literal

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from tuner.data.images import check
from tuner.data.splits import train_size
from tuner.errors import InputError, Problem
from tuner.experiment.experiment import Experiment, parse_experiment
from tuner.experiment.schema import COMPILED
from tuner.experiment.sizes import Sizes
from tuner.experiment.space import Branch
from tuner.experiment.trial import Configuration, canonical
from tuner.models import family_of
from tuner.models.own.family import is_own
from tuner.search import make_method
from tuner.search.entries import entries_of, extended
from tuner.search.hyperband import Hyperband
from tuner.search.method import Proposal, Result, SearchMethod

Names = Literal["short", "dotted"]

EPOCHS, INITIAL_EPOCH, TRIAL_ID = "tuner/epochs", "tuner/initial_epoch", "tuner/trial_id"
BRACKET, ROUND = "tuner/bracket", "tuner/round"
"""What keras-tuner's own Hyperband tells of every trial: up to which epoch, from which, of which
bracket and rung; and of one that goes on, whose weights it has."""

_ENDED = (TrialStatus.COMPLETED, TrialStatus.FAILED)


class MethodOracle(keras_tuner.Oracle):  # type: ignore[misc]
    """Gives out what a search method proposes and tells it the scores; see `make_oracle`.

    `hyperparameters` holds the entries of the program that are searched besides the experiment's
    open values: each is an open value more of the experiment that `_method` searches.
    """

    hyperparameters: TrialValues

    def __init__(
        self,
        experiment: Experiment,
        objective: keras_tuner.Objective,
        names: Names,
        **options: Any,
    ) -> None:
        self._written = experiment
        self._names = _Names(experiment, names)
        self._asked: set[str] = set()  # names of fixed values
        self._proposals: dict[str, Proposal] = {}
        self._ahead: deque[Proposal] = deque()
        configuration = experiment.space.sample(random.Random(0))
        values = TrialValues(self._names.fixed(configuration))
        values.values = self._names.open(configuration)
        super().__init__(
            objective=objective,
            hyperparameters=values,
            seed=experiment.search.seed + 1,  # 0 is no seed to keras-tuner
            **options,
        )
        self._num_entries = 0  # of `hyperparameters` that the method searches
        self._num_before = 0  # proposals of methods before this one
        self._experiment = experiment
        self._sizes = _sizes_of(experiment) if experiment.sized else None
        self._method = self._new_method(experiment)

    @keras_tuner.synchronized  # type: ignore[untyped-decorator]
    def create_trial(self, tuner_id: str) -> Trial:
        """A trial that knows the fixed values, too."""
        trial = super().create_trial(tuner_id)
        if proposal := self._proposals.get(trial.trial_id):
            trial.hyperparameters.fixed = self._names.fixed(proposal.configuration)
        return trial

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The next proposal: IDLE while the method waits for results, STOPPED at the end."""
        if len(self.hyperparameters.space) > self._num_entries:
            if self.ongoing_trials:  # Of the method that ends here; it must be told of them.
                return {"status": TrialStatus.IDLE}
            self._search_new_entries()
        proposal = None if self._is_full else self._new_proposal()
        if proposal is None:
            ended = self._is_full or self._method.exhausted or not self.ongoing_trials
            return {"status": TrialStatus.STOPPED if ended else TrialStatus.IDLE}
        fixed = self._names.fixed(proposal.configuration)
        asked = {name: fixed[name] for name in fixed if name in self._asked}
        values = self._names.open(proposal.configuration) | asked | self._part(proposal)
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

    def update_space(self, hyperparameters: Any) -> None:
        """Take up what the program declares that is not the experiment's."""
        self._asked |= self._names.fixed_names & hyperparameters.values.keys()
        entries = keras_tuner.HyperParameters()
        entries.merge([entry for entry in hyperparameters.space if entry.name not in self._names])
        super().update_space(entries)

    def get_space(self) -> Any:
        """All that is searched, for a first look at `build` and for summaries."""
        space = super().get_space()
        space.merge(self._searched, overwrite=False)
        space.values |= self.hyperparameters.values
        return space

    @cached_property
    def _searched(self) -> Any:
        return entries_of(self._written.space, self._names.shown)

    def remaining_trials(self) -> int | None:
        """Trials that are still to be proposed, if none fails; None where nobody knows."""
        method, num_proposed = self._method, len(self._proposals)
        if self._is_full or (method.exhausted and not self._ahead):
            return 0
        if isinstance(method, Hyperband):
            return max(0, self._num_before + method.planned_proposals - num_proposed)
        return None if method.total is None else max(0, method.total - num_proposed)

    def get_state(self) -> dict[str, Any]:
        """Of keras-tuner, and which trial is which proposal."""
        proposals = [
            [name, proposal.configuration.flat(), proposal.until]
            for name, proposal in self._proposals.items()
        ]
        ours = {"proposals": proposals, "asked": sorted(self._asked), "before": self._num_before}
        return {**super().get_state(), **ours}

    def set_state(self, state: dict[str, Any]) -> None:
        """A method that knows what the one before knew; trials of another space are left out."""
        fixed = self.hyperparameters.fixed
        super().set_state(state)
        self.hyperparameters = TrialValues.of(self.hyperparameters, fixed)
        self._asked = set(state.get("asked", ()))
        self._extend()
        self._proposals = {}
        for name, flat, until in state["proposals"]:
            configuration = self._find(flat)
            if configuration is not None and name in self.trials:
                self._proposals[name] = Proposal(configuration, until)
                trial = self.trials[name]
                fixed = self._names.fixed(configuration)
                trial.hyperparameters = TrialValues.of(trial.hyperparameters, fixed)
        self._begin(state.get("before", 0))
        self._ahead = deque(self._before_the_interrupted())

    # ------------------------------------------------------------ the method

    def _search_new_entries(self) -> None:
        """A new method over the larger space, which knows the trials so far."""
        self._extend()
        for name, proposal in self._proposals.items():
            configuration = self._find(proposal.configuration.flat())
            if configuration is not None:
                self._proposals[name] = dataclasses.replace(proposal, configuration=configuration)
        self._begin(len(self._proposals))

    def _extend(self) -> None:
        """Open every entry in the experiment that is searched."""
        entries = self.hyperparameters.space
        self._num_entries = len(entries)
        self._names.add(entry.name for entry in entries)
        space = extended(self._written.space, entries, self._names.dotted)
        self._experiment = dataclasses.replace(self._written, space=space)
        picked = (self._find(configuration.flat()) for configuration in self._written.start)
        start = tuple(configuration for configuration in picked if configuration is not None)
        self._experiment = dataclasses.replace(self._experiment, start=start)
        if self._written.search.method == "grid" and not space.is_finite:
            raise InputError(_endless(space.branches))

    def _find(self, flat: Mapping[str, Any]) -> Configuration | None:
        """The configuration with these values; a trial before an entry had the default of that."""
        values = dict(flat)
        for entry in self.hyperparameters.space:
            held = {shown: values.get(name) for name, shown in self._names.shown.items()}
            if all(condition.is_active(held) for condition in entry.conditions):
                values.setdefault(self._names.dotted(entry.name), entry.default)
        return self._experiment.space.find(values)

    def _begin(self, num_before: int) -> None:
        """The method, after so many proposals of those before it."""
        self._num_before = num_before
        before = list(self._proposals.values())[:num_before]
        num_taken = len({canonical(proposal.configuration.flat()) for proposal in before})
        search = self._written.search
        if search.method == "hyperband" and search.max_trials:  # Its brackets begin anew.
            left = max(1, search.max_trials - num_taken)
            search = search.model_copy(update={"max_trials": left})
        self._method = self._new_method(dataclasses.replace(self._experiment, search=search))
        self._method.restore(list(self._results()))

    def _new_method(self, experiment: Experiment) -> SearchMethod:
        return make_method(experiment, self._is_of_size if self._sizes else None)

    def _is_of_size(self, configuration: Configuration) -> bool:
        """Whether constraints over sizes admit it; what only the program declares has no part."""
        assert self._sizes is not None
        known = family_of(configuration.model["family"]).config.model_fields
        model = {n: value for n, value in configuration.model.items() if n in known}
        described, sized = dataclasses.replace(configuration, model=model), self._written.sized
        try:
            sizes = self._sizes.of(described)
        except InputError:  # Of what `build` makes nobody knows whether it can be built.
            return True
        self._sizes.check_countable(described, sized)
        return self._sizes.broken(configuration, sized, sizes) is None

    @property
    def _is_full(self) -> bool:
        """Whether there are `max_trials`, those of methods before included."""
        most = self._written.search.max_trials
        if most is None or isinstance(self._method, Hyperband):
            return False
        return len(self._proposals) >= most

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
        """What a trial of Hyperband's needs to know."""
        if proposal.bracket is None:
            return {}
        part: dict[str, Any] = {
            EPOCHS: proposal.until or proposal.configuration.training["epochs"],
            INITIAL_EPOCH: 0,
            BRACKET: proposal.bracket,
            ROUND: proposal.round,
        }
        if before := self._parts(proposal.configuration):
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
    tune_new_entries: bool | None = None,
    allow_new_entries: bool = True,
    max_retries_per_trial: int = 0,
    max_consecutive_failed_trials: int = 3,
) -> MethodOracle:
    """The search of an experiment for a `keras_tuner.Tuner`.

    Args:
        experiment: from `tuner.load_experiment`, or the text of one.
        objective: as keras-tuner wants it. Default: the experiment's metric and direction.
        names: what `build` asks for: `learning_rate`, or `training.learning_rate`. A short name
            that a model and its training share stays dotted, unless one of the two alone is open.
            What a function in `model.family` declares has the name that it has there.
        tune_new_entries: whether what the program declares and the experiment does not name is
            searched, from the trial on after which it is known. Default: where `model.family` is a
            function, of which everything is open that is not written; never with `method: list`.
        allow_new_entries: False refuses such entries.
        max_retries_per_trial: as in keras-tuner.
        max_consecutive_failed_trials: as in keras-tuner.

    Raises:
        InputError: everything that is wrong with the text.
        ValueError: keras-tuner does not know the objective's direction.
    """
    if isinstance(experiment, str):
        experiment = parse_experiment(experiment, "oracle.yaml")
    if objective is None:
        asked = experiment.objective
        objective = keras_tuner.Objective(asked.metric, asked.direction)
    is_list = experiment.search.method == "list"
    if tune_new_entries and is_list:
        what = "the configurations of a list have every value already"
        mend = "method: random, or tune_new_entries=False"
        raise InputError(Problem(what, "tune_new_entries", "True", "False with a list", mend))
    if tune_new_entries is None:
        families = {branch.model["family"] for branch in experiment.space.branches}
        tune_new_entries = not is_list and all(map(is_own, families))
    return MethodOracle(
        experiment,
        objective,
        names,
        tune_new_entries=tune_new_entries,
        allow_new_entries=allow_new_entries,
        max_retries_per_trial=max_retries_per_trial,
        max_consecutive_failed_trials=max_consecutive_failed_trials,
    )


class TrialValues(keras_tuner.HyperParameters):  # type: ignore[misc]
    """The values of a trial; a `fixed` one joins them when it is asked for."""

    def __init__(self, fixed: Mapping[str, Any]) -> None:
        super().__init__()
        self.fixed = dict(fixed)

    @classmethod
    def of(cls, plain: Any, fixed: Mapping[str, Any]) -> TrialValues:
        """The same space and values."""
        values = cls(fixed)
        values.merge(plain)
        values.values = dict(plain.values)
        return values

    def copy(self) -> TrialValues:
        """One that can be changed."""
        return TrialValues.of(
            keras_tuner.HyperParameters.from_config(self.get_config()), self.fixed
        )

    def get(self, name: str) -> Any:
        """The value of a name."""
        full = self._get_name(name)
        if full in self.fixed:
            self.values.setdefault(full, self.fixed[full])
        return super().get(name)

    def _retrieve(self, hp: Any) -> Any:
        """The value of a hyperparameter that the program declares."""
        if self.is_active(hp):
            self.values.setdefault(hp.name, self.fixed.get(hp.name, hp.default))
        return super()._retrieve(hp)


class _Names:
    """What the program calls the values of an experiment; `shown` has its names by dotted ones."""

    def __init__(self, experiment: Experiment, names: Names) -> None:
        branches = experiment.space.branches
        ranks: dict[str, int] = {}
        for branch in branches:
            for name in _written(branch):
                ranks[name] = min(ranks.get(name, 2), _rank(name, branch))
        self.shown = {
            name: _short(name) if _is_first(name, ranks, names) else name for name in sorted(ranks)
        }
        opened = set(experiment.space.names)
        self.fixed_names = {shown for name, shown in self.shown.items() if name not in opened}
        self._of_program = set(self.shown.values())

    def __contains__(self, name: str) -> bool:
        """Whether it is a value of the experiment, or keras-tuner's own."""
        return name in self._of_program or name.startswith("tuner/")

    def add(self, entries: Iterator[str]) -> None:
        """Entries of the program, which keep their names and lie among the model's values."""
        self.shown |= {f"model.{name.replace('.', '/')}": name for name in entries}

    def dotted(self, shown: str) -> str:
        """The dotted name of what the program calls so; empty if it is none of ours."""
        return next((dotted for dotted, other in self.shown.items() if other == shown), "")

    def open(self, configuration: Configuration) -> dict[str, Any]:
        """The values that the experiment leaves open."""
        return {self.shown[name]: value for name, value in configuration.values.items()}

    def fixed(self, configuration: Configuration) -> dict[str, Any]:
        """The others that it writes down; null is what a function's network has not."""
        is_owns = is_own(configuration.model["family"])
        return {
            self.shown[name]: value
            for name, value in configuration.flat().items()
            if name in self.shown
            and name not in configuration.values
            and not (value is None and is_owns and name.startswith("model."))
        }


def _written(branch: Branch) -> Iterator[str]:
    """Dotted names of what somebody wrote: the person, or a function that declares it."""
    yield from branch.names
    for name in branch.sources:
        if name != "training.optimizer" or branch.training["optimizer"] != COMPILED:
            yield name


def _rank(name: str, branch: Branch) -> int:
    """Who has the short name first: what a function declares, what is open, what is fixed."""
    if is_own(branch.model["family"]) and name.startswith("model."):
        return 0
    return 1 if name in branch.names else 2


def _is_first(name: str, ranks: Mapping[str, int], names: Names) -> bool:
    """Whether it alone is entitled to its short name."""
    if names == "dotted" and ranks[name]:
        return False
    rivals = [ranks[other] for other in ranks if _short(other) == _short(name)]
    return ranks[name] == min(rivals) and rivals.count(ranks[name]) == 1


def _sizes_of(experiment: Experiment) -> Sizes:
    """Of the networks that the experiment describes, on its images."""
    data = experiment.data
    info = check(data, None, backend=experiment.backend)
    num_train = train_size(data.validation, data.train_images, info.num_train)
    return Sizes(info, experiment.precision, num_train)


def _short(name: str) -> str:
    return name.partition(".")[2]


def _endless(branches: tuple[Branch, ...]) -> Problem:
    axes = (axis for branch in branches for axis in branch.axes)
    name = next(axis.name for axis in axes if not axis.domain.is_finite)
    what = f"{name}: a range without step has no end of points, and the method is grid"
    return Problem(what, mend="give it a step in the program, or tune_new_entries=False")


def _key(proposal: Proposal) -> tuple[str, int | None]:
    return canonical(proposal.configuration.flat()), proposal.until
