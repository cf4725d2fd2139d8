"""A trained network, taken out: a `.keras` file, and beside it the experiment that made it."""

from __future__ import annotations

import logging
import os
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.code.process import make_plain, no_garbage_search, silent_stderr
from tuner.data.dataset import BYTES, Pixels
from tuner.errors import InputError, Problem
from tuner.execution.checks import recorded_fingerprint
from tuner.experiment.experiment import Experiment, key_of, load_experiment
from tuner.ledger.checkpoint import best_checkpoint, model_section, read_checkpoint
from tuner.ledger.folder import CONFIRMATION, RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import TrialRow
from tuner.models import family_of
from tuner.report.format import printable

if TYPE_CHECKING:
    from tuner.training.export import ModelFile

ENDING = ".keras"
RECIPE = "experiment.yaml"
"""Name of the closed experiment inside of the model's file, which is a zip archive."""


@dataclass(frozen=True)
class Exported:
    """What was written, and what whoever uses it must know.

    `gives` is "logits", "probabilities" or "scores" (from 0 to 1, of which training took shares);
    `is_same_trial` is false where running the experiment
    beside it would train another trial than this one: data or code have changed since.
    `is_same_code` is false where a person's own code has. `is_final`: `tuner confirm` trained it.
    """

    trial: int
    path: Path
    recipe: Path
    image_shape: tuple[int, int, int]
    num_classes: int
    gives: str
    model: ModelFile
    is_same_trial: bool
    is_same_code: bool
    is_final: bool = False
    pixels: Pixels = BYTES
    class_names: tuple[str, ...] = ()


def check_target(path: Path, *, force: bool) -> None:
    """Refuse what cannot or must not be written, before anything takes time.

    Raises:
        InputError: another ending than .keras, a folder that is not there, or a file that is; also
            with `force`, if export has not written it, or somebody has changed it since.
    """
    if path.suffix != ENDING:
        mend = f"-o {path.with_suffix(ENDING)}"
        raise InputError(_refused("Keras reads models from .keras files", path, mend))
    if not path.parent.is_dir():
        raise InputError(_refused("there is no such folder", path, f"mkdir -p {path.parent}"))
    recipe = recipe_path(path)
    known = _recipe_within(path)
    is_own = {path: known is not None, recipe: known is not None and _text_of(recipe) == known}
    for file in filter(os.path.lexists, (path, recipe)):
        if not is_own[file]:
            what = "this is there already, and not as `tuner export` wrote it"
            raise InputError(_refused(what, file, f"another -o FILE, or move {file} away"))
        if not force:
            raise InputError(_refused("this is there already", file, "--force replaces it"))


def recipe_path(path: Path) -> Path:
    """Of the closed experiment beside a model: `best.keras.yaml`, which names its model."""
    return path.with_name(path.name + ".yaml")


def _recipe_within(path: Path) -> str | None:
    """The experiment inside of a model's file; None where `export` has not written that file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(RECIPE).decode()
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None


def _text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def export(
    folder: RunFolder,
    trial: TrialRow,
    path: Path,
    *,
    standard: bool = True,
    probabilities: bool = False,
) -> Exported:
    """Write the network of a trial's best epoch; it takes pixels as the data have them.

    Raises:
        InputError: no checkpoint of the trial is kept.
        TunerError: the checkpoint is damaged, or Keras cannot save such a network.
    """
    with Ledger.open_read_only(folder.ledger) as ledger:
        row = best_checkpoint(ledger, folder, trial)
        record, metric = ledger.data_record or {}, ledger.objective.metric
    arrays, notes = read_checkpoint(folder, row)
    search = _search_of(folder)
    experiment = load_experiment(search.experiment_file())
    recipe = _recipe(
        experiment, trial, metric, notes.get("class_names", ()), is_final=search != folder
    )
    fingerprint = recorded_fingerprint(record, experiment.data.dataset)
    is_same = key_of(recipe, fingerprint, notes.get("num_train_images", 0)) == trial.key
    load_framework(experiment.backend)
    from tuner.training.export import in_shares, write_model
    from tuner.training.trial import output_reading, restored_model

    section = model_section(trial)
    shape, pixels = tuple(notes["image_shape"]), Pixels(*notes.get("pixels", ()))
    model = restored_model(section, arrays, notes)
    gives = output_reading(section, shape).gives
    if probabilities and gives == "scores":
        model, gives = in_shares(model), "probabilities"
    code = family_of(section["family"]).fingerprint
    with _drafts(path, recipe_path(path)) as drafts:
        written = write_model(
            model,
            drafts[path],
            standard=standard,
            probabilities=probabilities and gives == "logits",
            highest=pixels.high,
        )
        with zipfile.ZipFile(drafts[path], "a") as archive:
            archive.writestr(RECIPE, recipe)
        drafts[recipe_path(path)].write_text(recipe, encoding="utf-8")
    return Exported(
        trial=trial.number,
        path=path,
        recipe=recipe_path(path),
        image_shape=shape,
        num_classes=notes["num_classes"],
        gives="probabilities" if probabilities else gives,
        model=written,
        is_same_trial=is_same,
        is_same_code=trial.context.get("code", code) == code,
        is_final=search != folder,
        pixels=pixels,
        class_names=tuple(notes.get("class_names", ())),
    )


@contextmanager
def _drafts(*files: Path) -> Iterator[dict[Path, Path]]:
    """For each file one to write to; they take the files' places once all are whole."""
    drafts = {file: _draft(file) for file in files}
    try:
        yield drafts
        for file, draft in drafts.items():
            _put_in_place(draft, file)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


def _search_of(folder: RunFolder) -> RunFolder:
    """The folder of a confirmation's search: nobody else may read an experiment with test images.

    Any other folder is its own.
    """
    if folder.name != CONFIRMATION or not (folder.results_dir / "ledger.sqlite").is_file():
        return folder
    return RunFolder(folder.results_dir.parent, folder.results_dir.name)


def _recipe(
    experiment: Experiment,
    trial: TrialRow,
    metric: str,
    class_names: Sequence[str],
    *,
    is_final: bool,
) -> str:
    """`is_final`: a confirmation has trained it, also on the images that its search held out."""
    score = "" if trial.score is None else f": {metric} {trial.score:.6g}"
    head = (
        f"# Trial {trial.number} of {experiment.name}{'/confirm' * is_final}{score} "
        f"in epoch {trial.best_epoch}.\n"
        f"# `tuner run` on this file trains it {'as the search did' if is_final else 'again'}.\n"
    )
    if class_names:
        named = (f"{number} {printable(name)}" for number, name in enumerate(class_names))
        head += f"# Its outputs are the classes {', '.join(named)}.\n"
    suffix = f"-trial-{trial.number}"
    return head + experiment.closed(trial.configuration, seed=trial.seed, suffix=suffix)


def _draft(path: Path) -> Path:
    """In the same folder, so that it can be renamed; Keras wants the ending."""
    return path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")


def _put_in_place(draft: Path, path: Path) -> None:
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(path)


def _refused(what: str, path: Path, mend: str) -> Problem:
    return Problem(what, "--output", received=str(path), mend=mend)


# ---------------------------------------------------------------------- the framework


def load_framework(backend: str) -> None:
    """Import Keras on the backend of an experiment, unless the program has imported it already.

    TensorFlow greets on stderr, past Python, and warns of every model that is not the first: what
    a command says would be lost among it.
    """
    if "keras" in sys.modules:
        return
    if find_spec(backend) is None:  # where it was trained, it was; another may be here
        backend = os.environ.get("KERAS_BACKEND", backend)
    make_plain(os.environ, backend)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # a run may need the rest
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with silent_stderr(), no_garbage_search():
        import keras  # noqa: F401
