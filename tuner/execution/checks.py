"""What can be wrong with an experiment beyond its file, found before any worker starts."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from tuner.data.config import DataConfig
from tuner.data.dataset import DatasetInfo
from tuner.data.images import check
from tuner.data.splits import train_size
from tuner.errors import InputError, Problem, TunerError
from tuner.experiment.experiment import Experiment, check_batch_size, check_class_weights
from tuner.experiment.trial import Configuration, Trial, canonical
from tuner.models import Cost, family_of, is_own
from tuner.models.own import own_family
from tuner.models.own_input import NOT_ADAPTED, RESCALING

# Networks of a branch whose costs are worked out before anything starts; a person's own is built.
MAX_NETWORKS = 200
MAX_OWN_NETWORKS = 3

PACKAGES = {"tensorflow": "tensorflow", "jax": "jax"}


def check_backend(experiment: Experiment) -> None:
    """The backend's package must be installed; it is not imported.

    Raises:
        InputError: it is not.
    """
    package = PACKAGES[experiment.backend]
    if find_spec(package) is None:
        raise InputError(
            Problem(
                f"the package {package} is not installed",
                experiment.where("backend"),
                received=f"backend: {experiment.backend}",
                mend=f"pip install 'convtuner[{package}]', or choose another backend",
            )
        )


def check_experiment(experiment: Experiment, data_dir: Path | None) -> DatasetInfo:
    """What is known of the data of an experiment that can be run on them; no framework is needed.

    Raises:
        InputError: the data are not there, sizes do not fit them, or a network cannot take them.
    """
    info = check(experiment.data, data_dir)
    check_sizes(experiment, info)
    check_networks(experiment, info)
    return info


def check_networks(experiment: Experiment, info: DatasetInfo) -> None:
    """Networks must be able to take the images; the first structures of the space are looked at.

    Raises:
        InputError: one cannot.
    """
    seen: dict[str, set[str]] = {}
    for branch in experiment.space.branches:
        own = is_own(branch.model["family"])
        known = seen.setdefault(branch.model["family"], set())
        if own and not branch.axes and len(known) >= MAX_OWN_NETWORKS:
            continue  # Of a list of closed configurations, too.
        most = MAX_OWN_NETWORKS if own else MAX_NETWORKS
        for configuration, _ in itertools.islice(branch.structures(), most):
            if (key := canonical(configuration.model)) in known:
                continue
            known.add(key)
            try:
                cost_of(configuration, info)
            except InputError as error:
                raise InputError([_located(p, experiment) for p in error.problems]) from error


def _located(problem: Problem, experiment: Experiment) -> Problem:
    """With file and line of the value that the problem is about."""
    name = problem.where
    if not name.startswith("model"):
        return problem
    what = f"{name}: {problem.what}"
    return dataclasses.replace(problem, what=what, where=experiment.where(name))


def check_sizes(experiment: Experiment, info: DatasetInfo) -> None:
    """Batches must fit into the training set that the data leave, and weights be of its classes.

    Raises:
        InputError: one does not.
    """
    data = experiment.data
    check_class_weights(experiment, info)
    check_batch_size(experiment, train_size(data.validation, data.train_images, info.num_train))


def notes(experiment: Experiment, total: int | None, info: DatasetInfo) -> Iterator[str]:
    """What a person should know of the experiment before it runs."""
    yield from info.notes
    yield from _range_notes(experiment, info)
    own = {b.model["family"] for b in experiment.space.branches if is_own(b.model["family"])}
    for name in sorted(own):
        yield from (f"{name}: {note}" for note in own_family(name).declaration.notes)
    if experiment.search.stop is not None:
        yield f"{experiment.search.stop.rule} stops losing trials: fewer epochs than stand here"
    if experiment.search.racing:
        yield "racing spares replicates of losing configurations: fewer trials than stand here"
    asked = experiment.search.max_trials
    if asked is None or total is None:
        return
    configurations = total // experiment.search.replicates
    if configurations < asked:
        yield f"the space has {configurations:,} configurations, fewer than max_trials {asked:,}"


def _range_notes(experiment: Experiment, info: DatasetInfo) -> Iterator[str]:
    """Networks that get pixels in another range than they are made for."""
    for family in sorted({branch.model["family"] for branch in experiment.space.branches}):
        does = own_family(family).declaration.rescales.split(", ") if is_own(family) else [""]
        made_for_bytes = [name for name in does if name in RESCALING.values()]
        if NOT_ADAPTED in does:
            yield f"{family}: {NOT_ADAPTED} changes nothing; mean and variance can be given to it"
        if experiment.data.normalize and made_for_bytes:
            yield (
                f"{family}: the network begins with {' or '.join(made_for_bytes)}, and the images "
                "arrive normalized (mean 0, standard deviation 1); data.normalize: false gives it "
                "the pixels as they are"
            )
        elif not experiment.data.normalize and does in ([""], [NOT_ADAPTED]):
            yield (
                f"{family}: the network gets pixels in {info.pixels}, and nothing at its beginning "
                "rescales them; data.normalize: true, or Rescaling in the network"
            )


# ---------------------------------------------------------------------- the same images for all

DataRecord = Mapping[str, str]
"""Name of each data set that an experiment has used → its fingerprint; kept by the ledger.

The keys of trials hold the fingerprint. Without this guard a file that was replaced would make
every finished trial look as if it had never run.
"""


def check_same_data(
    recorded: DataRecord | None, config: DataConfig, info: DatasetInfo, where: str = "data.dataset"
) -> dict[str, str]:
    """The record to keep from now on; `recorded` is None for an experiment that begins.

    An experiment that is edited to name another data set goes on with it; going back is allowed.
    Raises:
        InputError: a data set of the same name had another content before.
    """
    before = dict(recorded or {})
    known = recorded_fingerprint(before, config.dataset) or info.fingerprint
    before[config.dataset] = known
    if known == info.fingerprint:
        return before
    raise InputError(
        Problem(
            f"the data set has changed since this experiment began: {config.dataset}",
            where=where,
            received=info.fingerprint,
            expected=known,
            mend="restore it, or give the experiment another name (-S name=NAME); "
            "finished trials are kept as they are",
        )
    )


def recorded_fingerprint(recorded: DataRecord | None, dataset: str) -> str:
    """Of a data set that the experiment has used; empty if it has not.

    Paths are recorded whole. In ledgers of before they stand as they were written.
    """
    known = dict(recorded or {})
    endings = (n for n in known if not os.path.isabs(n) and dataset.endswith(f"/{n}"))
    return known.get(dataset) or known.get(next(endings, dataset), "")


def check_worker_data(
    info: DatasetInfo, first: Mapping[str, str] | None, reported: Mapping[str, str]
) -> None:
    """Refuses a worker that has read other images than were checked, or than the `first` worker.

    `first` and `reported` are the hashes of `Ready`; `first` is None for the first worker of a run.
    Raises:
        TunerError: they differ; the run must end, and nothing that it has finished is lost.
    """
    expected = {"dataset": info.fingerprint} if first is None else first
    differs = [name for name in expected if reported.get(name) != expected[name]]
    if not differs:
        return
    name = differs[0]
    raise TunerError(
        str(
            Problem(
                f"the data changed while the experiment ran: a worker has read another {name}",
                received=str(reported.get(name, "nothing")),
                expected=expected[name],
                mend="restore the data and run again: finished trials are kept. "
                "Data from a function must be the same at every call",
            )
        )
    )


# ---------------------------------------------------------------------- what networks cost


def cost_of(configuration: Configuration, info: DatasetInfo) -> Cost:
    """Parameters, multiply-adds and activations of a configuration's network on these images.

    Raises:
        InputError: it cannot take them.
    """
    model = configuration.model
    family = family_of(model["family"])
    cost: Cost = family.cost(family.config(**model), info.image_shape, info.num_classes)
    return cost


class TrialCosts:
    """The cost of a trial's network, worked out once per structure."""

    def __init__(self, info: DatasetInfo) -> None:
        self._info = info
        self._known: dict[str, Cost | None] = {}

    def __call__(self, trial: Trial) -> Cost | None:
        """None for a network that cannot be: its worker will say why."""
        key = trial.structure.key
        if key not in self._known:
            try:
                self._known[key] = cost_of(trial.configuration, self._info)
            except InputError:
                self._known[key] = None
        return self._known[key]
