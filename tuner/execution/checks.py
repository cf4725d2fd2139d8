"""What can be wrong with an experiment beyond its file, found before any worker starts."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from tuner.data.config import DataConfig
from tuner.data.dataset import DatasetInfo
from tuner.data.images import same_content
from tuner.data.splits import train_size
from tuner.errors import InputError, Problem, TunerError
from tuner.execution.protocol import WorkerSetup
from tuner.experiment.experiment import Experiment, check_batch_size, check_class_weights
from tuner.experiment.schema import AshaStop
from tuner.experiment.sizes import cost_of
from tuner.experiment.trial import Configuration, Trial
from tuner.experiment.yaml import to_text
from tuner.ledger.records import TrialRow
from tuner.models import Cost, family_of, is_own
from tuner.models.own.family import DEFAULT_PRECISION, OwnFamily, own_family
from tuner.models.own.input import NOT_ADAPTED, RESCALING
from tuner.search.stopping import least_epochs

_NAMED = 5  # configurations of a start

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


def check_own(experiment: Experiment) -> None:
    """Nothing that compile() or fit() asks for may get lost.

    Raises:
        InputError: something would.
    """
    refused = dict.fromkeys(item for b in experiment.space.branches for item in b.refused)
    if refused:
        where = experiment.written.where
        raise InputError([dataclasses.replace(p, where=where(path)) for path, p in refused])


def check_objective(experiment: Experiment, info: DatasetInfo) -> None:
    """Every prediction is right among the best five of five classes.

    Raises:
        InputError: the objective is the same for all trials.
    """
    metric = experiment.objective.metric
    if "top5" in metric and info.num_classes <= 5:
        raise InputError(
            Problem(
                f"{metric} is 1 for every network: there are {info.num_classes} classes",
                experiment.where("objective.metric"),
                received=metric,
                mend=metric.replace("top5_", ""),
            )
        )


def check_precision(experiment: Experiment) -> None:
    """What sets its own precision must set that of the experiment; once networks were looked at.

    Raises:
        InputError: it sets another.
    """
    for branch in experiment.space.branches:
        name = branch.model["family"]
        precision = own_family(name).precision if is_own(name) else DEFAULT_PRECISION
        if precision not in (DEFAULT_PRECISION, experiment.precision):
            what, where = "build sets another precision than the experiment", "model.family"
            mend = f"precision: {precision}, or leave the policy to the experiment"
            what, where = f"{where}: {what}", experiment.where(where)
            raise InputError(Problem(what, where, precision, experiment.precision, mend))


def check_sizes(experiment: Experiment, info: DatasetInfo) -> None:
    """Batches must fit into the training set that the data leave, and weights be of its classes.

    Raises:
        InputError: one does not.
    """
    data = experiment.data
    check_class_weights(experiment, info)
    check_batch_size(experiment, train_size(data.validation, data.train_images, info.num_train))


def own_families(experiment: Experiment) -> list[OwnFamily]:
    """The functions of a person's own among its networks."""
    names = {branch.model["family"] for branch in experiment.space.branches}
    return [own_family(name) for name in sorted(names) if is_own(name)]


def check_engine(engine: str, gpus: Sequence[str]) -> None:
    """Where workers run, and what they may be given there.

    Raises:
        InputError: there is no such engine, or it chooses the GPUs itself.
    """
    if engine not in ("local", "ray"):
        raise InputError(Problem("there is no such engine", "engine", engine, "local, ray"))
    if engine == "ray" and gpus:
        what, mend = "on a cluster Ray chooses the GPUs", "resources: {gpu: 1}"
        raise InputError(Problem(what, "gpus", ",".join(gpus), "", mend))


def check_same_code(rows: Iterable[TrialRow]) -> None:
    """What is done with the networks of these trials needs the code that they were trained with.

    Raises:
        InputError: a person's own code has changed since.
    """
    for row in rows:
        name = row.configuration["model.family"]
        code = family_of(name).fingerprint
        if row.context.get("code", code) != code:
            what = f"the code of {name} has changed since trial {row.number} was trained"
            mend = "run the experiment again, or restore the code"
            raise InputError(Problem(what, "model.family", mend=mend))


def worker_setup(experiment: Experiment, data_dir: Path | None, checkpoints: Path) -> WorkerSetup:
    """What the workers of a run are told, with the code of networks as it is now."""
    code = {family.name: family.declaration.files for family in own_families(experiment)}
    return WorkerSetup(
        experiment.backend,
        experiment.data,
        data_dir,
        checkpoints,
        code,
        augment_is_searched=experiment.searches_augment,
    )


def notes(experiment: Experiment, total: int | None, info: DatasetInfo) -> Iterator[str]:
    """What a person should know of the experiment before it runs."""
    yield from info.notes
    yield from _range_notes(experiment, info)
    for family in own_families(experiment):
        yield from (f"{family.name}: {note}" for note in family.notes)
    yield from dict.fromkeys(n for branch in experiment.space.branches for n in branch.notes)
    if experiment.start:
        first = "; ".join(_named(configuration) for configuration in experiment.start[:_NAMED])
        more = "; …" if len(experiment.start) > _NAMED else ""
        yield f"search.start comes first: {first}{more}"
    if rules := [stop.rule for stop in experiment.search.stops]:
        names = " or ".join(dict.fromkeys(rules))
        most = f"time and epochs are at most these{_least_text(experiment, total)}"
        yield f"the rule {names} stops losing trials early: {most}"
    if experiment.search.enough is not None:
        rule = experiment.search.enough.rule
        yield f"{rule} ends the search when it has seen enough: trials are at most these"
    if experiment.search.max_epochs is not None:
        most = f"{experiment.search.max_epochs:,} epochs"
        yield f"no trial starts after {most} (search.max_epochs): trials are at most these"
    if experiment.search.racing:
        yield "racing leaves out replicates of losing configurations: trials are at most these"
    asked = experiment.search.max_trials
    if asked is None or total is None:
        return
    configurations = total // experiment.search.replicates
    if configurations < asked:
        many = f"{configurations:,} configuration{'s' * (configurations != 1)}"
        yield f"the space has {many}, fewer than max_trials {asked:,}"


def _least_text(experiment: Experiment, total: int | None) -> str:
    """How few epochs successive halving may take, where it alone stops trials."""
    stops, branches = experiment.search.stops, experiment.space.branches
    epochs = {branch.training["epochs"] for branch in branches}
    is_open = any(axis.name == "training.epochs" for branch in branches for axis in branch.axes)
    if len(stops) != 1 or len(epochs) != 1 or is_open or not total:
        return ""
    if not isinstance(asha := stops[0], AshaStop):
        return ""
    return f", and at least {least_epochs(asha, total, int(epochs.pop())):,} epochs"


def _named(configuration: Configuration) -> str:
    values = configuration.values.items()
    return ", ".join(f"{name.rpartition('.')[2]} {to_text(value)}" for name, value in values)


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
            inside = ", or Rescaling in the network" if is_own(family) else ""
            yield (
                f"{family}: the network gets pixels in {info.pixels}, and nothing at its beginning "
                f"rescales them; data.normalize: true{inside} does"
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
    if same_content(known, info.fingerprint):
        return {**before, config.dataset: info.fingerprint}
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
