"""Feature reuse of a trained network, as `tuner show --features` prints it."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from tuner.cli import terminal
from tuner.cli.which import wanted_trial
from tuner.errors import InputError, Problem
from tuner.ledger.checkpoint import best_checkpoint
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import TrialRow
from tuner.report.tabular.render import finite

if TYPE_CHECKING:
    from tuner.report.feature_reuse import BlockReuse

_FAMILIES = "densenet or dual_path"
# From dark to bright on any background; 256-colour terminals all have them.
_COLOURS = (17, 18, 54, 90, 126, 162, 197, 203, 209, 215, 221, 228)


def show_features(folder: RunFolder, trial: str, *, as_json: bool) -> None:
    """Print a heat map for each dense block of a trial's network.

    Raises:
        InputError: there is no such trial, it has no dense block, or its network is not kept.
    """
    with Ledger.open_read_only(folder.ledger) as ledger:
        row = wanted_trial(ledger, folder, trial)
    blocks = _blocks(folder, row)
    if as_json:
        features = [asdict(block) for block in blocks]
        document = {"experiment": folder.name, "trial": row.number, "epoch": row.best_epoch}
        terminal.echo_json(finite({**document, "features": features}))
    else:
        click.echo("\n".join(_lines(row, blocks)))


def _lines(row: TrialRow, blocks: Sequence[BlockReuse]) -> list[str]:
    from tuner.report.heat import heat_map, least_share, legend, unpainted

    style, wide = terminal.style_for(), min(terminal.width(), 100)
    paint = _painted if terminal.has_colours(sys.stdout) else unpainted
    about = (
        "Mean absolute weight on the channels of each source (rows) in the first convolution of "
        "each layer that reads them (columns), relative to the largest of the column."
    )
    title = f"Trial {row.number}, epoch {row.best_epoch}: which earlier layers each layer reads"
    least = least_share(blocks)
    lines = [style(title, "title"), *textwrap.wrap(about, wide)]
    for block in blocks:
        lines += ["", style(f"{block.name}; last column: {block.targets[-1]}", "head")]
        lines += heat_map(block, wide, least=least, paint=paint)
    return [*lines, "", legend(least=least, paint=paint)]


def _blocks(folder: RunFolder, row: TrialRow) -> list[BlockReuse]:
    from tuner.report.feature_reuse import feature_reuse_of

    found = feature_reuse_of(folder, row)
    if found is not None:
        return found
    family = str(row.configuration.get("model.family"))
    if family not in ("densenet", "dual_path"):
        what = "feature reuse is seen in dense blocks, and this network has none"
        raise InputError(Problem(what, f"trial {row.number}", received=family, expected=_FAMILIES))
    with Ledger.open_read_only(folder.ledger) as ledger:
        best_checkpoint(ledger, folder, row)  # says which trials have one
    raise AssertionError("a kept checkpoint was not read")


def _painted(text: str, place: float) -> str:
    colour = _COLOURS[min(len(_COLOURS) - 1, int(place * len(_COLOURS)))]
    return click.style(" " * len(text), bg=colour)
