"""A plan in words and a table: what `tuner plan` prints, and a notebook shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tuner.execution.estimate import estimate_text
from tuner.report import format, notebook
from tuner.report.render import Style, grid_lines, hidden_titles, plain, wrapped
from tuner.report.table import Column, Table
from tuner.search.search import MAX_STRUCTURES

if TYPE_CHECKING:
    from tuner.actions.plan import Plan, PlannedStructure
    from tuner.data.dataset import DatasetInfo

_MAX_STRUCTURES = 30
_STRUCTURE = (
    "A structure is what shapes the compiled program: depth, width, batch size, optimizer and "
    "the like. Trials that differ only in the rest, as learning rate or dropout, share one."
)


def to_text(plan: Plan, width: int, style: Style = plain) -> str:
    """The plan as lines of at most so many columns."""
    return "\n".join(_lines(plan, width, style)) + "\n"


def to_html(plan: Plan) -> str:
    """The same for a notebook."""
    texts = [_title(plan), *_details(plan), f"{_count_text(plan)}. {_STRUCTURE}"]
    parts = [notebook.paragraphs(texts), notebook.to_html(_structures_table(plan))]
    notes = (_more_text(plan), *(f"Note: {note}" for note in plan.notes))
    return "\n".join([*parts, notebook.paragraphs(notes)])


def _lines(plan: Plan, width: int, style: Style) -> Iterator[str]:
    yield style(_title(plan), "title")
    for text in _details(plan):
        yield from ("  " + line for line in wrapped(text, width - 2, "  "))
    yield from ("", style(_count_text(plan), "head"))
    yield from (style("  " + line, "dim") for line in wrapped(_STRUCTURE, width - 2))
    table = _structures_table(plan)
    yield from grid_lines(table, width=width, indent="  ", rule=False)
    if gone := hidden_titles(table, width - 2):
        yield from wrapped(f"Not shown at this width: {gone} (--json has all).", width, "  ")
    if more := _more_text(plan):
        yield f"  {more}"
    for note in plan.notes:
        yield from (style(line, "dim") for line in wrapped(f"Note: {note}", width, "  "))


def _title(plan: Plan) -> str:
    to_run = "as many trials as the search proposes"
    if plan.to_run is not None:
        total = f" of {plan.total:,}" if plan.total is not None and plan.done else ""
        to_run = f"{format.counted(plan.to_run, 'trial')} to run{total}"
    return f"{plan.name}: {to_run}"


def _count_text(plan: Plan) -> str:
    count = f"more than {MAX_STRUCTURES:,} structures"
    if plan.num_structures is not None:
        count = format.counted(plan.num_structures, "structure")
    return f"{count} to compile, once each"


def _more_text(plan: Plan) -> str:
    """Of structures that the table does not show."""
    has = len(plan.structures)
    if plan.num_structures is None:
        return f"… and many more (--json has {has})"
    hidden = plan.num_structures - min(has, _MAX_STRUCTURES)
    every = "all" if has == plan.num_structures else str(has)
    return f"… and {hidden:,} more (--json has {every})" if hidden else ""


def _details(plan: Plan) -> list[str]:
    texts = [_data_text(plan.data)] if plan.data.source else []
    if plan.done:
        texts.append(f"{plan.done:,} done already")
    if plan.excluded:
        texts.append(f"{format.counted(plan.excluded, 'configuration')} excluded by constraints")
    texts += [f"  {limit.text(_size_text)}" for limit in plan.limits]
    if plan.replicates > 1:
        texts.append(f"every configuration under {plan.replicates} seeds")
    if plan.epochs is not None:
        texts.append(f"{format.counted(plan.epochs, 'epoch')} to train in all")
    if plan.to_run != 0:
        texts += _time_texts(plan)
    if plan.power is not None:
        texts.append(plan.power.text)
    if plan.disk_bytes is not None:
        checkpoints = format.bytes_text(plan.checkpoint_bytes)
        of = f", {checkpoints} of it checkpoints" if plan.checkpoint_bytes else ""
        texts.append(f"about {format.bytes_text(plan.disk_bytes)} on disk{of}")
    return texts


def _data_text(data: DatasetInfo) -> str:
    """What a person's own data set was found to be."""
    shape = "x".join(map(str, data.image_shape))
    classes = f"{data.num_classes} classes"
    if data.class_names:
        classes += f" ({format.listed(data.class_names)})"
    test = f", {format.counted(data.num_test, 'test image')}" if data.num_test else ""
    images = f"{format.counted(data.num_train, 'image')} of {shape}, pixels {data.pixels}"
    return f"{images}, {classes}{test}; from {format.printable(data.source)}"


def _time_texts(plan: Plan) -> list[str]:
    """How long it takes and how that is known, or how it may be known."""
    estimate = plan.time
    if estimate.seconds is None and plan.to_run is None:
        return ["time unknown: the search cannot tell how many trials it proposes"]
    if estimate.seconds is None:
        how = "`tuner plan --measure` tries it"
        return [f"time unknown: nothing like it has run on this machine ({how})"]
    with_workers = f" with {estimate.workers} workers" if estimate.workers > 1 else ""
    return [f"{estimate_text(estimate)}{with_workers} ({estimate.basis})"]


def _structures_table(plan: Plan) -> Table:
    """The first structures: their values, how many configurations share each, and its cost."""
    shown = plan.structures[:_MAX_STRUCTURES]
    names = list(dict.fromkeys(name for structure in shown for name in structure.values))
    short = format.short_names(names)
    columns = [_value_column(name, short[name], shown) for name in names]
    rows = [[s.values.get(name, format.NOTHING) for name in names] for s in shown]
    if any(structure.configurations is not None for structure in shown):
        columns.append(Column("configurations", "configurations", _known_count, rank=3))
        rows = [[*row, s.configurations] for row, s in zip(rows, shown, strict=True)]
    columns += [
        Column("parameters", "params", format.count_text),
        Column("macs", "MACs", format.count_text, rank=4),
        Column("memory_bytes", "memory", format.bytes_text, rank=2),
    ]
    cells = ((*r, s.parameters, s.macs, s.memory_bytes) for r, s in zip(rows, shown, strict=True))
    return Table("structures", tuple(columns), tuple(cells))


def _value_column(name: str, title: str, shown: Sequence[PlannedStructure]) -> Column:
    """One that tells structures apart goes last; what is the same wherever it stands goes first."""
    values = {repr(structure.values[name]) for structure in shown if name in structure.values}
    rank = 1 if len(values) > 1 else 5
    return Column(name, title, format.value_text, rank=rank)


def _known_count(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"


def _size_text(name: str, size: int) -> str:
    if name == "memory_bytes":
        return format.bytes_text(size)
    return f"{format.count_text(size)} {'MACs' if name == 'macs' else name}"
