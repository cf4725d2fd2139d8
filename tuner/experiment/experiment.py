"""An experiment: a configuration with some values left open, and how they are to be closed."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tuner.data.config import DataConfig
from tuner.errors import InputError, Problem
from tuner.experiment.files import read_text
from tuner.experiment.findings import Findings
from tuner.experiment.listed import with_entries
from tuner.experiment.objective import Objective
from tuner.experiment.overrides import apply_overrides
from tuner.experiment.reading import Reading, report_batch_sizes
from tuner.experiment.scalars import write_document
from tuner.experiment.schema import SearchConfig
from tuner.experiment.space import SearchSpace
from tuner.experiment.trial import Configuration, Trial
from tuner.experiment.yaml import MAX_LISTED_CHARACTERS, Document, compose


@dataclass(frozen=True)
class Experiment:
    """What the person asked for, validated.

    `document` is the plain tree as it was written, with overrides applied and the closed sections'
    defaults filled in; `source` is the file that it came from.
    """

    name: str
    description: str
    backend: str
    precision: str
    data: DataConfig
    objective: Objective
    search: SearchConfig
    space: SearchSpace
    document: dict[str, Any]
    source: str = dataclasses.field(default="", compare=False)
    written: Document = dataclasses.field(
        default=Document({}, "", {}), compare=False, repr=False, kw_only=True
    )

    def trial(
        self, configuration: Configuration, replicate: int = 0, data_fingerprint: str = ""
    ) -> Trial:
        """The trial of a configuration under one of the experiment's seeds."""
        return Trial(
            configuration=configuration,
            data=self.data,
            backend=self.backend,
            precision=self.precision,
            replicate=replicate,
            seed=self.search.seed + replicate,
            data_fingerprint=data_fingerprint,
        )

    def to_yaml(self) -> str:
        """The experiment as it was resolved; loads back as an equal one."""
        return write_document(self.document)

    def where(self, name: str) -> str:
        """`file:line` (or the override) of a dotted name, for a message."""
        return self.written.where(tuple(name.split(".")))


def load_experiment(path: str | pathlib.Path, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment in a file, with overrides as `training.epochs=3` applied.

    Raises:
        InputError: everything that is wrong with it, with file, line and mend.
    """
    path = pathlib.Path(path)
    mend = "tuner init PATH writes one"
    text = read_text(path, "the experiment", MAX_LISTED_CHARACTERS, mend)
    return parse_experiment(text, str(path), overrides)


def parse_experiment(text: str, source: str, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment that `text` describes; `source` is its path, for messages and its name.

    Raises:
        InputError: everything that is wrong with it, with file, line and mend.
    """
    document, problems = compose(text, source)
    if not isinstance(document.value, dict):
        what = "the file is empty" if document.value is None else "the file is no mapping"
        expected = "name: value lines; model: is required"
        raise InputError(Problem(what, document.where(()), expected=expected))
    document = apply_overrides(document, overrides)
    document, misread = with_entries(document)
    sections = Reading(document, Findings(document, [*problems, *misread])).sections()
    return Experiment(
        name=sections.head.name,
        description=sections.head.description,
        backend=sections.head.backend,
        precision=sections.head.precision,
        data=sections.data,
        objective=Objective(sections.objective.metric, sections.objective.direction),
        search=sections.search,
        space=sections.space,
        document=sections.document,
        source=source,
        written=document,
    )


def check_batch_size(experiment: Experiment, num_train_images: int) -> None:
    """A batch must not be larger than the training set.

    Raises:
        InputError: it is, somewhere in the search space.
    """
    findings = Findings(experiment.written)
    report_batch_sizes(experiment.space.branches, num_train_images, findings)
    findings.raise_if_any()
