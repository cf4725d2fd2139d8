"""What networks look like inside, where a run has kept it: weights of dense blocks, gradients."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tuner.errors import TunerError
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import TrialRow
from tuner.ledger.trained import best_checkpoints, model_section
from tuner.report.feature_reuse import BlockReuse, feature_reuse_of
from tuner.report.gradients import Gradients, read_gradients
from tuner.report.record import RunRecord

MAX_NETWORKS = 6
MAX_DIVERGED = 2


@dataclass(frozen=True)
class Reuse:
    """The dense blocks of a trial's network, as they were after its best epoch."""

    row: TrialRow
    blocks: tuple[BlockReuse, ...]


@dataclass(frozen=True)
class Watched:
    """A trial and the norms of its gradients."""

    row: TrialRow
    gradients: Gradients


@dataclass(frozen=True)
class Inside:
    """What there is; nothing of it is needed for the rest of the page."""

    reuse: Reuse | None = None
    watched: tuple[Watched, ...] = ()


def read_inside(folder: RunFolder, ledger: Ledger, record: RunRecord) -> Inside:
    """The best densely connected network whose checkpoint is kept, and the watched trials."""
    return Inside(_reuse(folder, ledger, record), _watched(ledger, record))


def _reuse(folder: RunFolder, ledger: Ledger, record: RunRecord) -> Reuse | None:
    """A checkpoint that is damaged or gone costs the page this figure alone."""
    kept = best_checkpoints(ledger, record.ranking.ranked)
    for row in record.ranking.ranked:
        if row.number not in kept or not _is_dense(row):
            continue
        try:
            blocks = feature_reuse_of(folder, row)
        except (TunerError, OSError, ValueError, KeyError):
            return None
        return Reuse(row, tuple(blocks)) if blocks else None
    return None


def _is_dense(row: TrialRow) -> bool:
    """Whether it may have dense blocks; the answer needs only its configuration."""
    return model_section(row).get("family") in ("densenet", "dual_path")


def _watched(ledger: Ledger, record: RunRecord) -> tuple[Watched, ...]:
    """The best trial of each network, and some that diverged: there it may be seen why."""
    diverged = [row for row in record.ranking.unranked if row.state is TrialState.DIVERGED]
    best = _first_of_each(record.ranking.ranked)
    chosen = [*best[:MAX_NETWORKS], *diverged[:MAX_DIVERGED]]
    found = [(row, read_gradients(ledger, row)) for row in chosen]
    return tuple(Watched(row, gradients) for row, gradients in found if gradients is not None)


def _first_of_each(ranked: Iterable[TrialRow]) -> list[TrialRow]:
    by_structure: dict[str, TrialRow] = {}
    for row in ranked:
        by_structure.setdefault(row.structure, row)
    return list(by_structure.values())
