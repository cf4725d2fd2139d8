"""Where the time of a profiled run went: a table of its phases, and what the figures say to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

from tuner.ledger import profile as phases
from tuner.ledger.profile import PHASES, RunProfile, WorkerProfile
from tuner.report import format, render
from tuner.report.render import Style
from tuner.report.table import Column, Table

_SHOWN_FROM_SECONDS = 0.005  # what two decimals show
MAX_WORKERS = 4  # that have a column of their own


def profile_table(profile: RunProfile) -> Table:
    """A line for each phase; a column for each worker, or the least and the most of many."""
    each = "each worker" if len(profile.workers) > 1 else "the worker"
    started = profile.started_at[:16].replace("T", " ")
    columns = (
        Column("phase", "", numeric=False),
        *(Column(name, title, _seconds_text) for name, title in _heads(profile.workers)),
        Column("share", "share", format.percent_text),
        Column("bar", "", lambda share: format.bar_text(share, 1.0), numeric=False, rank=1),
    )
    return Table(
        "Where the time went",
        columns,
        tuple(_rows(profile.workers)),
        notes=tuple(sentences(profile)),
        about=f"Seconds of {each} from its start on, in the run of {started} UTC.",
        name="profile",
    )


def _rows(workers: Sequence[WorkerProfile]) -> Iterator[tuple[object, ...]]:
    """The phases that took any time, and all together; none where there was no worker."""
    whole = [worker.whole_seconds for worker in workers]
    phases_of = {name: [w.seconds.get(name, 0.0) for w in workers] for name in PHASES}
    shown = {PHASES[n]: s for n, s in phases_of.items() if sum(s) >= _SHOWN_FROM_SECONDS}
    for title, seconds in {**shown, "together": whole}.items() if sum(whole) else ():
        share = sum(seconds) / sum(whole)
        yield (title, *_cells(seconds), share, share)


def _heads(workers: Sequence[WorkerProfile]) -> list[tuple[str, str]]:
    if len(workers) == 1:
        return [("seconds", "seconds")]
    if len(workers) > MAX_WORKERS:
        return [("all", f"all {len(workers)} workers"), ("least", "least"), ("most", "most")]
    each = [(f"worker {w.worker}", f"worker {w.worker}") for w in workers]
    return [*each, ("all", "all")]


def _cells(seconds: Sequence[float]) -> list[float]:
    if len(seconds) == 1:
        return list(seconds)
    if len(seconds) > MAX_WORKERS:
        return [sum(seconds), min(seconds), max(seconds)]
    return [*seconds, sum(seconds)]


def _seconds_text(seconds: float) -> str:
    return f"{seconds:,.0f}" if seconds >= 9999.5 else f"{seconds:,.2f}"


# ---------------------------------------------------------------------- in words


def sentences(profile: RunProfile) -> Iterator[str]:
    """How fast it trained, what the scheduler did, and what would help where figures bear it."""
    if rate := _rate(profile):
        yield rate
    yield _scheduling(profile)
    yield from advice(profile)


def _rate(profile: RunProfile) -> str:
    """Achieved operations a second beside those of a matrix product on the same device."""
    trained = [w.training_flops for w in profile.workers if w.training_flops]
    if not trained:
        return ""
    reached, each = fmean(trained), "each worker" if len(profile.workers) > 1 else "the worker"
    text = f"While it trained, {each} computed {flops_text(reached)}"
    limits = [w.matrix_flops for w in profile.workers if w.matrix_flops]
    if not limits:
        return f"{text}."
    limit, kind = fmean(limits), profile.precision.removeprefix("mixed_")
    beside = f"; a product of {kind} matrices reached {flops_text(limit)} there"
    share = reached / limit
    if share > 1:
        return f"{text}{beside}, while others used it: that is no limit."
    return f"{text}{beside} ({format.percent_text(share)} of it)."


def flops_text(flops: float) -> str:
    """Operations a second: 39.9 GFLOP/s, 41.2 TFLOP/s."""
    unit, size = ("TFLOP/s", 1e12) if flops >= 1e12 else ("GFLOP/s", 1e9)
    return f"{flops / size:.3g} {unit}"


def _scheduling(profile: RunProfile) -> str:
    words = {
        phases.PREPARING: "before the workers were started",
        phases.SEARCH: "asking the search",
        phases.LEDGER: "writing the ledger",
        phases.OTHER: "in other work",
    }
    spent = {words[name]: profile.scheduler.get(name, 0.0) for name in words}
    parts = [
        f"{format.seconds_text(seconds)} {what}"
        for what, seconds in spent.items()
        if seconds >= _SHOWN_FROM_SECONDS
    ]
    took = f"The run took {format.seconds_text(profile.whole_seconds)}"
    return f"{took}, of which the scheduler spent {format.joined(parts)}." if parts else f"{took}."


def advice(profile: RunProfile) -> Iterator[str]:
    """What would help, where a part of the workers' time bears it; the largest part first."""
    whole = sum(worker.whole_seconds for worker in profile.workers)
    said = []
    for names, least, say in _ADVICE:
        seconds = sum(w.seconds.get(name, 0.0) for w in profile.workers for name in names)
        if whole and seconds >= least * whole and (text := say(profile)):
            said.append((seconds, f"{format.percent_text(seconds / whole)} of the time {text}"))
    yield from (text for _, text in sorted(said, reverse=True))


def _making(profile: RunProfile) -> str:
    programs, workers = sum(w.programs for w in profile.workers), len(profile.workers)
    each = "structure" if workers == 1 else "structure and worker"
    fewer = "fewer values of what shapes the network, or " if programs > workers else ""
    return (
        f"went into building, tracing and compiling {format.counted(programs, 'program')}, one for "
        f"each {each}: {fewer}more trials and epochs of each make it a smaller part."
    )


def _beginning(profile: RunProfile) -> str:
    return (
        "went into starting workers, importing the framework and reading data, once for each "
        "worker: of a longer search it is a smaller part."
    )


def _waiting(profile: RunProfile) -> str:
    waited = max(worker.seconds.get(phases.WAIT, 0.0) for worker in profile.workers)
    if profile.scheduler.get(phases.SEARCH, 0.0) >= 0.5 * waited:
        return "workers had nothing to train because the search was computing what comes next."
    if profile.scheduler.get(phases.LEDGER, 0.0) >= 0.5 * waited:
        return "workers waited for the ledger to be written: --results on a quicker disk."
    if len(profile.workers) == 1:
        return ""
    return "workers had nothing to train; fewer of them (-j) would have waited less."


def _saving(profile: RunProfile) -> str:
    return "went into checkpoints: --results on a quicker disk, or longer epochs."


def _evaluating(profile: RunProfile) -> str:
    return "went into evaluation: fewer validation images (data.validation) shorten it."


# Phases, the share of the workers' time from which on they are worth a sentence, and that sentence.
_ADVICE: Sequence[tuple[tuple[str, ...], float, Callable[[RunProfile], str]]] = (
    ((phases.BUILD, phases.TRACE, phases.COMPILE), 0.25, _making),
    ((phases.START, phases.IMPORT, phases.DATA), 0.25, _beginning),
    ((phases.EVALUATE,), 0.25, _evaluating),
    ((phases.WAIT,), 0.15, _waiting),
    ((phases.CHECKPOINT,), 0.1, _saving),
)


def to_text(profile: RunProfile, width: int, style: Style) -> str:
    """As it stands below the results on a terminal."""
    return render.to_text(profile_table(profile), width=width, style=style)
