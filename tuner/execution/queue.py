"""From what the search proposes to what is still to run, in a good order."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from tuner.execution.current import trial_of
from tuner.execution.protocol import not_finite
from tuner.experiment.schema import AshaStop, SettledEnough
from tuner.experiment.trial import Configuration, Trial, TrialState, canonical
from tuner.ledger.ledger import Ledger
from tuner.ledger.reader import LedgerReader
from tuner.ledger.records import FINISHED_STATES, UNRANKED_STATES, KnownTrial, TrialRow
from tuner.search.enough import EndedTrial, EnoughRule, Settled, Settles, make_enough
from tuner.search.method import Proposal, Result
from tuner.search.racing import Racing
from tuner.search.search import LOOK_AHEAD, Search

_UNFINISHED = (TrialState.WAITING, TrialState.RUNNING)


@dataclass(frozen=True)
class Assignment:
    """A trial to train, to its end or up to epoch `until`; `place` is where its plan has it.

    It is taken `up_again` if a rule had stopped it, which now lets it go on.
    """

    trial: Trial
    until: int | None = None
    place: int | None = None
    up_again: bool = False


@dataclass(frozen=True)
class LearningCurve:
    """How a trial went: its score (None: diverged, failed, not run) and its objective by epoch.

    `has_ended` is False for one that waits at a rung, or was interrupted.
    """

    score: float | None
    curve: tuple[float, ...] = ()
    has_ended: bool = True

    def is_enough(self, until: int | None) -> bool:
        """Whether nothing is to be trained up to this epoch."""
        return self.has_ended or (until is not None and len(self.curve) >= until)


@dataclass(frozen=True)
class History:
    """What the ledger knows when a run begins.

    `curves` are needed by searches that learn, and by racing, in the order of the trials'
    numbers. Everything before `position` in a plan is recorded; of that, `interrupted` is to run.
    `ended` is what a search that may have seen enough asks for, in the order of the ends.
    `unfinished` were begun, and run to their end whatever else is given out.
    """

    known: Mapping[str, KnownTrial]
    curves: Mapping[str, tuple[Trial, LearningCurve]]
    position: int = 0
    interrupted: Sequence[Trial] = ()
    ended: Sequence[EndedTrial] = ()
    unfinished: Sequence[Trial] = ()


class TrialQueue:
    """Trials that the ledger has no outcome of, each given out once.

    A method that plans ahead is asked for a block at a time, which is sorted by structure: the
    order depends on the plan alone, not on where a run was interrupted. One that learns is asked
    when a worker is free, and told as soon as the last replicate has ended.
    """

    def __init__(self, search: Search, history: History, settles: Settles | None = None) -> None:
        self._search = search
        self._method = search.method
        self._history = history
        experiment = search.experiment
        self._racing = Racing(experiment.objective) if experiment.search.racing else None
        self._settles = settles
        self._ended = {(one.configuration, one.replicate): one for one in history.ended}
        self._enough = _enough(search, history.ended, settles)
        is_settled = isinstance(self._enough, Settled)
        self._rounds = _rounds(search) if is_settled else None
        self._in_round: set[str] = set()  # trials that were given out of the present round
        self._ahead: deque[Assignment] = deque(map(Assignment, history.interrupted))
        self._begun = {trial.key for trial in history.interrupted}
        self._unfinished = {trial.key: trial for trial in history.unfinished}
        self._groups: dict[str, Replicates] = {}
        self._told: dict[str, LearningCurve] = {}  # of trials whose proposal nobody asked for yet
        self._takes_up = any(isinstance(stop, AshaStop) for stop in experiment.search.stops)
        self._dropped: list[tuple[Trial, str]] = []
        self._returned: deque[Assignment] = deque()
        self._go_to_history()

    # ------------------------------------------------------------ giving out

    def number(self, trial: Trial) -> int | None:
        """The number that an interrupted trial has in the ledger; None for a new one."""
        known = self._history.known.get(trial.key)
        return known.number if known else None

    def next(self, held: Container[str] = ()) -> Assignment | None:
        """The next trial, one of a structure in `held` if there is one near; None: none now."""
        if self._returned or self.has_enough:
            return self.next_begun()
        self._fill()
        assignment = self._next_ahead(held)
        if assignment is not None:
            self._unfinished.pop(assignment.trial.key, None)
        return assignment

    def next_begun(self) -> Assignment | None:
        """The next trial of those that were begun, where no other is to begin."""
        if self._returned:
            return self._returned.popleft()
        if not self._unfinished:
            return None
        key = next(iter(self._unfinished))
        self._begun.add(key)  # so that its plan does not give it out again
        planned = [assignment for assignment in self._ahead if assignment.trial.key == key]
        for assignment in planned:
            self._ahead.remove(assignment)
        trial = self._unfinished.pop(key)
        return planned[0] if planned else Assignment(trial)

    @property
    def has_begun(self) -> bool:
        """Whether `next_begun` has a trial."""
        return bool(self._returned or self._unfinished)

    def _next_ahead(self, held: Container[str]) -> Assignment | None:
        if self._ahead and self._is_picked(self._ahead[0]):
            return self._ahead.popleft()
        for place, assignment in enumerate(islice(self._ahead, LOOK_AHEAD)):
            if assignment.trial.structure.key in held:
                del self._ahead[place]
                return assignment
        return self._ahead.popleft() if self._ahead else None

    def _is_picked(self, assignment: Assignment) -> bool:
        """Whether a person wants it first, whatever a worker holds."""
        return assignment.place is not None and assignment.place < self._search.num_start

    def is_empty(self) -> bool:
        """Whether nothing can be given out now."""
        if self._returned or self.has_enough:
            return not self.has_begun
        self._fill()
        return not self._ahead and not self.is_thinking

    @property
    def is_thinking(self) -> bool:
        """Whether nothing can be given out because the search is working out what comes next."""
        return self._method.is_thinking

    @property
    def has_enough(self) -> bool:
        """Whether the search ends with what was given out."""
        return self._enough is not None and bool(self._enough.reason)

    @property
    def position(self) -> int | None:
        """The place in the plan before which every trial was given out; None without a plan."""
        position = self._search.position
        if position is None or self._rounds is not None:
            return None
        places = [position]
        given = (*self._ahead, *self._returned)
        places += [a.place for a in given if a.place is not None]
        places += [p for g in self._groups.values() if (p := g.proposal.place) is not None]
        return min(places)

    def take_up(self, row: TrialRow) -> Assignment | None:
        """A trial that a rule had stopped goes on; None if the search has it no more."""
        trial = trial_of(self._search, row)
        if trial is None:
            return None
        if self._learns:
            proposal = Proposal(trial.configuration)
            self._group(proposal, self._search.replicates(trial.configuration))
        return Assignment(trial, up_again=True)

    def put_back(self, assignment: Assignment) -> None:
        """A trial whose worker died comes next again."""
        self._returned.appendleft(assignment)

    # ------------------------------------------------------------ hearing of it

    def tell(self, trial: Trial, curve: LearningCurve) -> None:
        """How a trial ended, or that it has come to where it waits."""
        if self._enough is not None and curve.has_ended:
            self._note_end(EndedTrial(name_of(trial.configuration), curve.score, trial.replicate))
            self._in_round.discard(trial.key)
        if not self._learns:
            return
        name = name_of(trial.configuration)
        group = self._groups.get(name)
        if group is None:
            before = self._known_curve(trial)
            self._told[trial.key] = curve
            if self._racing is not None and curve.has_ended and curve.score is not None:
                was = before.score if before is not None and before.has_ended else None
                self._racing.note(name, curve.score, was)
            return
        before = group.curves.get(trial.replicate)
        group.curves[trial.replicate] = curve
        if self._racing is not None:
            self._race(self._racing, group, curve, before)
        if not group.missing:
            self._close(name, group)

    def dropped_trials(self) -> list[tuple[Trial, str]]:
        """Trials that are not to run, or not to go on, with the reason; each is said once."""
        dropped, self._dropped = self._dropped, []
        return dropped

    # ------------------------------------------------------------ inside

    @property
    def _learns(self) -> bool:
        return self._method.is_adaptive or self._racing is not None

    def _note_end(self, trial: EndedTrial) -> None:
        """Of a trial that had ended before and was taken up again, the last end counts."""
        assert self._enough is not None
        key = trial.configuration, trial.replicate
        is_new = self._ended.pop(key, None) is None
        self._ended[key] = trial
        if is_new:
            self._enough.note(trial)
        else:
            self._enough = _enough(self._search, tuple(self._ended.values()), self._settles)

    def _go_to_history(self) -> None:
        """Stand where the ledger says that the search stands."""
        self._search.go_to(self._history.position)
        if self._racing is not None:
            for trial, curve in self._history.curves.values():
                if curve.has_ended and curve.score is not None:
                    self._racing.note(name_of(trial.configuration), curve.score)
        if self._method.is_adaptive:
            self._restore()

    def _restore(self) -> None:
        found: dict[str, tuple[Configuration, list[LearningCurve]]] = {}
        for trial, curve in self._history.curves.values():
            entry = found.setdefault(name_of(trial.configuration), (trial.configuration, []))
            entry[1].append(curve)
        replicates = self._search.experiment.search.replicates
        self._method.restore(
            [
                mean_result(configuration, [*curves, *[_NOTHING] * (len(curves) < replicates)])
                for configuration, curves in found.values()
            ]
        )
        self._take_dropped()

    def _fill(self) -> None:
        if self._rounds is not None:
            while not self._ahead and not self._in_round:
                if (trials := next(self._rounds, None)) is None:
                    return
                self._ahead += (Assignment(trial) for trial in trials if self._is_new(trial))
                self._in_round |= {assignment.trial.key for assignment in self._ahead}
            return
        while len(self._ahead) < self._search.block_size and (block := self._search.next_block()):
            for proposal in block:
                self._propose(proposal)

    def _propose(self, proposal: Proposal) -> None:
        trials = self._search.replicates(proposal.configuration)
        if self._learns:
            self._open(proposal, trials)
        else:
            self._ahead += (_assignment(t, proposal) for t in trials if self._is_new(t))

    def _is_new(self, trial: Trial) -> bool:
        known = self._history.known.get(trial.key)
        if known is not None and known.state in FINISHED_STATES:
            return False
        return trial.key not in self._begun

    def _open(self, proposal: Proposal, trials: Sequence[Trial]) -> None:
        group, racing = self._group(proposal, trials), self._racing
        if racing is None:
            self._ahead += (_assignment(trial, proposal) for trial in self._to_give(group))
        elif (first := self._next_to_race(racing, group)) is not None:
            self._ahead.append(_assignment(first, proposal))
        if not group.missing:
            self._close(group.name, group)

    def _group(self, proposal: Proposal, trials: Sequence[Trial]) -> Replicates:
        """The trials of a proposal, with what earlier runs know of them."""
        name = name_of(proposal.configuration)
        group = self._groups.setdefault(name, Replicates(proposal, trials))
        group.proposal = proposal
        if not group.curves:
            known = {trial.replicate: self._known_curve(trial) for trial in trials}
            group.curves = {replicate: curve for replicate, curve in known.items() if curve}
        return group

    def _to_give(self, group: Replicates) -> list[Trial]:
        """What the group needs and was not given out by `next_begun`."""
        return [trial for trial in group.missing if trial.key not in self._begun]

    def _known_curve(self, trial: Trial) -> LearningCurve | None:
        entry = self._history.curves.get(trial.key)
        return self._told.get(trial.key) or (entry[1] if entry else None)

    def _race(
        self,
        racing: Racing,
        group: Replicates,
        curve: LearningCurve,
        before: LearningCurve | None,
    ) -> None:
        """Let the next replicate run, or none any more; it does already if one was taken up."""
        is_again = before is not None and before.has_ended
        if curve.score is not None and curve.has_ended:
            racing.note(group.name, curve.score, before.score if is_again and before else None)
        if is_again:
            return
        if (follower := self._next_to_race(racing, group)) is not None:
            self._ahead.appendleft(_assignment(follower, group.proposal))

    def _next_to_race(self, racing: Racing, group: Replicates) -> Trial | None:
        """Who has begun, or is to be tried again, is not dropped for what others did meanwhile."""
        missing = group.missing
        if any(trial.key in self._begun for trial in missing):
            return None  # `next_begun` gave one out, whose end asks again
        if begun := [trial for trial in missing if trial.key in self._unfinished]:
            return begun[0]
        return missing[0] if missing and not self._loses(racing, group) else None

    def _loses(self, racing: Racing, group: Replicates) -> bool:
        """Whether its other replicates need not run; then that is what became of them."""
        ended = [curve for curve in group.curves.values() if curve.has_ended]
        if not ended:
            return False
        scores = [curve.score for curve in ended if curve.score is not None]
        reason = racing.verdict(group.name, scores)
        if reason:
            for trial in group.missing:
                group.curves[trial.replicate] = LearningCurve(None)
                self._dropped.append((trial, reason))
        return bool(reason)

    def _close(self, name: str, group: Replicates) -> None:
        """Every replicate has come as far as was asked."""
        result = mean_result(group.proposal.configuration, group.curves.values())
        if result.ended and not self._takes_up:
            del self._groups[name]
        self._method.tell(result)
        self._take_dropped()

    def _take_dropped(self) -> None:
        for configuration, reason in self._method.dropped():
            group = self._groups.pop(name_of(configuration), None)
            waiting = group.waiting if group else self._waiting(configuration)
            self._dropped += [(trial, reason) for trial in waiting]

    def _waiting(self, configuration: Configuration) -> list[Trial]:
        """The trials of a configuration that an earlier run left behind."""
        keys = (trial.key for trial in self._search.replicates(configuration))
        entries = (self._history.curves.get(key) for key in keys)
        return [trial for trial, curve in filter(None, entries) if not curve.has_ended]


@dataclass
class Replicates:
    """The trials of one proposal, and what is known of them by replicate."""

    proposal: Proposal
    trials: Sequence[Trial]
    curves: dict[int, LearningCurve] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What tells the configuration from any other."""
        return name_of(self.proposal.configuration)

    @property
    def missing(self) -> list[Trial]:
        """The trials that the proposal still needs."""
        until = self.proposal.until
        return [t for t in self.trials if not self._curve(t).is_enough(until)]

    @property
    def waiting(self) -> list[Trial]:
        """The trials that would go on if the search said so."""
        return [trial for trial in self.trials if not self._curve(trial).has_ended]

    def _curve(self, trial: Trial) -> LearningCurve:
        return self.curves.get(trial.replicate, _NOTHING)


_NOTHING = LearningCurve(None, has_ended=False)


def mean_result(configuration: Configuration, curves: Iterable[LearningCurve]) -> Result:
    """The mean over replicates; one that diverged or failed has no part in it, unless all did.

    The curve is as long as that of the replicate that is furthest behind of those that go on; one
    that has ended before stands where it ended.
    """
    replicates = list(curves)
    length = min((len(r.curve) for r in replicates if not r.has_ended), default=None)
    scores = [r.score for r in replicates if r.score is not None]
    counted = [r.curve for r in replicates if r.curve and (r.score is not None or not scores)]
    if length is not None:
        counted = [(*curve, *[curve[-1]] * (length - len(curve))) for curve in counted]
    return Result(
        configuration,
        math.fsum(scores) / len(scores) if scores else None,
        tuple(math.fsum(values) / len(values) for values in zip(*counted, strict=False))[:length],
        all(r.has_ended for r in replicates),
    )


def name_of(configuration: Configuration) -> str:
    """What tells a configuration from any other."""
    return canonical(configuration.flat())


def _assignment(trial: Trial, proposal: Proposal) -> Assignment:
    return Assignment(trial, proposal.until, proposal.place)


# ---------------------------------------------------------------------- from the ledger


def read_history(search: Search, ledger: Ledger) -> History:
    """Where the search stands; call it once the ledger knows what is current (`mark_current`).

    A plan that was begun before goes on behind what it has recorded, without looking at it.
    """
    return replace(_standing(search, ledger), unfinished=unfinished_trials(search, ledger))


def unfinished_trials(search: Search, ledger: LedgerReader) -> tuple[Trial, ...]:
    """Those that were begun, or are to be tried again, and run to their end.

    None of hyperband's, which goes by rungs: who waits at one may have to wait for ever.
    """
    if search.planned_epochs is not None:
        return ()
    exempt = ledger.exempt
    begun = (row for row in ledger.rows(_UNFINISHED) if row.attempt or row.number in exempt)
    return tuple(trial for row in begun if (trial := trial_of(search, row)) is not None)


def _standing(search: Search, ledger: Ledger) -> History:
    known, ended = ledger.by_key(), _ended(search, ledger)
    if isinstance(search.experiment.search.enough, SettledEnough):
        return History(known, {}, ended=ended)
    if search.is_adaptive or search.experiment.search.racing:
        return replace(_learnt(search, ledger, known), ended=ended)
    if not ledger.position:
        return History(known, {}, ended=ended)
    unfinished = (trial_of(search, row) for row in ledger.rows(_UNFINISHED))
    interrupted = tuple(trial for trial in unfinished if trial is not None)
    return History(known, {}, ledger.position, interrupted, ended)


def _rounds(search: Search) -> Iterator[list[Trial]]:
    """Every configuration under a seed, those of a structure together; then under the next one."""
    configurations = list(search.planned())
    for replicate in range(search.experiment.search.replicates):
        trials = [search.trial(configuration, replicate) for configuration in configurations]
        first = {trial.structure.key: place for place, trial in reversed(list(enumerate(trials)))}
        yield sorted(trials, key=lambda trial: first[trial.structure.key])


def why_enough(search: Search, ledger: LedgerReader, settles: Settles | None) -> str:
    """Why the search ends where the ledger says it stands; empty if it goes on."""
    enough = _enough(search, _ended(search, ledger), settles)
    return enough.reason if enough else ""


def _enough(
    search: Search, ended: Sequence[EndedTrial], settles: Settles | None
) -> EnoughRule | None:
    """What ends the search, told of the trials that have ended."""
    planned = None
    if isinstance(search.experiment.search.enough, SettledEnough):
        # Not `method.total`: a range of a few integers holds fewer than `max_trials`.
        planned = sum(1 for _ in search.planned())
    return make_enough(search.experiment, ended, planned, settles)


def _ended(search: Search, ledger: LedgerReader) -> tuple[EndedTrial, ...]:
    """Trials in the order in which they ended; nothing where nobody asks.

    One that was never begun, because racing spared it, has told nothing.
    """
    if search.experiment.search.enough is None:
        return ()
    rows = (r for r in ledger.rows(FINISHED_STATES) if r.epochs or r.state in UNRANKED_STATES)
    ordered = sorted(rows, key=lambda row: (row.finished_at or "", row.number))
    return tuple(
        EndedTrial(canonical(dict(row.configuration)), row.score, row.replicate) for row in ordered
    )


def _learnt(search: Search, ledger: Ledger, known: Mapping[str, KnownTrial]) -> History:
    """For a search that learns. What a person continues is none of its business any more."""
    curves = _learning_curves(search, ledger)
    exempt = ledger.exempt
    interrupted = []
    for key, (trial, curve) in curves.items():
        if known[key].number in exempt:
            curves[key] = (trial, replace(curve, has_ended=True))
            interrupted += [] if curve.has_ended else [trial]
    return History(known, curves, interrupted=tuple(interrupted))


def _learning_curves(search: Search, ledger: Ledger) -> dict[str, tuple[Trial, LearningCurve]]:
    """Of every trial, by its key, in the order of their numbers."""
    objective = search.experiment.objective
    values: dict[int, list[float]] = defaultdict(list)
    for epoch in ledger.epochs():
        if objective.metric in epoch.metrics and not not_finite(epoch.metrics):
            values[epoch.number].append(epoch.metrics[objective.metric])
    curves = {}
    for row in ledger.rows():
        trial = trial_of(search, row)
        if trial is not None:
            curve, has_ended = tuple(values[row.number]), row.state in FINISHED_STATES
            score = row.score if has_ended else objective.best(curve)
            curves[row.key] = (trial, LearningCurve(score, curve, has_ended))
    return curves
