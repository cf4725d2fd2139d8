"""From what the search proposes to what is still to run, in a good order."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from tuner.execution.replicates import Course, Group, mean_result, name_of
from tuner.experiment.experiment import Experiment
from tuner.experiment.trial import Configuration, Trial
from tuner.ledger.records import FINISHED_STATES, KnownTrial
from tuner.search.method import Proposal, SearchMethod
from tuner.search.planned import Planned
from tuner.search.racing import Racing

# So many proposals of a plan are sorted by structure at a time, and so far a queue looks for a
# trial whose structure a worker has compiled already.
LOOK_AHEAD = 64


@dataclass(frozen=True)
class Assignment:
    """A trial to train, to its end or up to epoch `until`; `place` is where its plan has it."""

    trial: Trial
    until: int | None = None
    place: int | None = None


@dataclass(frozen=True)
class Past:
    """What the ledger knows when a run begins.

    `courses` are needed by searches that learn, and by racing, in the order of the trials'
    numbers. Everything before `position` in a plan is recorded; of that, `interrupted` is to run.
    """

    known: Mapping[str, KnownTrial]
    courses: Mapping[str, tuple[Trial, Course]]
    position: int = 0
    interrupted: Sequence[Trial] = ()


class TrialQueue:
    """Trials that the ledger has no outcome of, each given out once.

    A method that plans ahead is asked for a block at a time, which is sorted by structure: the
    order depends on the plan alone, not on where a run was interrupted. One that learns is asked
    when a worker is free, and told as soon as the last replicate has ended.
    """

    def __init__(
        self, experiment: Experiment, method: SearchMethod, past: Past, data_fingerprint: str
    ) -> None:
        self._experiment = experiment
        self._method = method
        self._past = past
        self._fingerprint = data_fingerprint
        search = experiment.search
        self._racing = Racing(experiment.objective) if search.racing else None
        self._block = 1 if method.is_adaptive else LOOK_AHEAD
        self._ahead: deque[Assignment] = deque(map(Assignment, past.interrupted))
        self._begun = {trial.key for trial in past.interrupted}
        self._groups: dict[str, Group] = {}
        self._given_up: list[tuple[Trial, str]] = []
        self._take_up()

    # ------------------------------------------------------------ giving out

    def number(self, trial: Trial) -> int | None:
        """The number that an interrupted trial has in the ledger; None for a new one."""
        known = self._past.known.get(trial.key)
        return known.number if known else None

    def next(self, held: Collection[str] = ()) -> Assignment | None:
        """The next trial, one of a structure in `held` if there is one near; None: none now."""
        self._fill()
        for place, assignment in enumerate(islice(self._ahead, LOOK_AHEAD)):
            if assignment.trial.structure.key in held:
                del self._ahead[place]
                return assignment
        return self._ahead.popleft() if self._ahead else None

    def is_empty(self) -> bool:
        """Whether nothing can be given out now."""
        self._fill()
        return not self._ahead

    @property
    def position(self) -> int | None:
        """The place in the plan before which every trial was given out; None without a plan."""
        if not isinstance(self._method, Planned):
            return None
        places = [self._method.position]
        places += [a.place for a in self._ahead if a.place is not None]
        places += [g.place for g in self._groups.values() if g.place is not None]
        return min(places)

    def put_back(self, assignment: Assignment) -> None:
        """A trial whose worker died comes next again."""
        self._ahead.appendleft(assignment)

    # ------------------------------------------------------------ hearing of it

    def tell(self, trial: Trial, course: Course) -> None:
        """How a trial ended, or that it has come to where it waits."""
        if not self._learns:
            return
        name = name_of(trial.configuration)
        group = self._groups.get(name)
        if group is None:
            return
        group.courses[trial.replicate] = course
        if self._racing is not None:
            self._race(self._racing, group, course)
        if not group.missing:
            self._close(name, group)

    def given_up(self) -> list[tuple[Trial, str]]:
        """Trials that are not to run, or not to go on, with the reason; each is said once."""
        said, self._given_up = self._given_up, []
        return said

    # ------------------------------------------------------------ inside

    @property
    def _learns(self) -> bool:
        return self._method.is_adaptive or self._racing is not None

    def _take_up(self) -> None:
        """Stand where the ledger says that the search stands."""
        if isinstance(self._method, Planned):
            self._method.go_to(self._past.position // self._block * self._block)
        if self._racing is not None:
            for trial, course in self._past.courses.values():
                if course.has_ended and course.score is not None:
                    self._racing.note(name_of(trial.configuration), course.score)
        if self._method.is_adaptive:
            self._restore()

    def _restore(self) -> None:
        found: dict[str, tuple[Configuration, list[Course]]] = {}
        for trial, course in self._past.courses.values():
            entry = found.setdefault(name_of(trial.configuration), (trial.configuration, []))
            entry[1].append(course)
        lacking = Course(None, has_ended=False)
        results = []
        for configuration, courses in found.values():
            missing = self._experiment.search.replicates - len(courses)
            results.append(mean_result(configuration, [*courses, *[lacking] * (missing > 0)]))
        self._method.restore(results)
        self._take_dropped()

    def _fill(self) -> None:
        while len(self._ahead) < self._block and (block := self._ask_for_block()):
            for place, proposal in block:
                self._propose(proposal, place)

    def _ask_for_block(self) -> list[tuple[int | None, Proposal]]:
        """The next proposals with their places, those of a structure together."""
        groups: dict[str, list[tuple[int | None, Proposal]]] = {}
        for _ in range(self._block):
            proposal = None if self._method.exhausted else self._method.ask()
            if proposal is None:
                break
            place = self._method.position - 1 if isinstance(self._method, Planned) else None
            structure = self._experiment.trial(proposal.configuration).structure.key
            groups.setdefault(structure, []).append((place, proposal))
        return [entry for group in groups.values() for entry in group]

    def _propose(self, proposal: Proposal, place: int | None) -> None:
        trials = self._trials(proposal.configuration)
        if self._learns:
            self._open(proposal, trials, place)
            return
        self._ahead += (
            Assignment(trial, proposal.until, place) for trial in trials if self._is_new(trial)
        )

    def _is_new(self, trial: Trial) -> bool:
        known = self._past.known.get(trial.key)
        if known is not None and known.state in FINISHED_STATES:
            return False
        return trial.key not in self._begun

    def _open(self, proposal: Proposal, trials: Sequence[Trial], place: int | None) -> None:
        name = name_of(proposal.configuration)
        group = self._groups.setdefault(name, Group(proposal, trials, place))
        group.proposal = proposal
        if not group.courses:
            past = {t.replicate: self._past.courses.get(t.key) for t in trials}
            group.courses = {replicate: found[1] for replicate, found in past.items() if found}
        missing = group.missing
        if not missing:
            self._close(name, group)
            return
        if self._racing is None:
            self._ahead += (Assignment(trial, proposal.until, place) for trial in missing)
        elif not self._loses(self._racing, group):
            self._ahead.append(Assignment(missing[0], proposal.until, place))
        if name in self._groups and not group.missing:
            self._close(name, group)

    def _race(self, racing: Racing, group: Group, course: Course) -> None:
        """Let the next replicate run, or none any more."""
        if course.score is not None and course.has_ended:
            racing.note(group.name, course.score)
        missing = group.missing
        if missing and not self._loses(racing, group):
            self._ahead.appendleft(Assignment(missing[0], group.proposal.until, group.place))

    def _loses(self, racing: Racing, group: Group) -> bool:
        """Whether its other replicates need not run; then that is what became of them."""
        if not group.ended:
            return False
        scores = [course.score for course in group.ended if course.score is not None]
        reason = racing.verdict(group.name, scores)
        if reason:
            for trial in group.missing:
                group.courses[trial.replicate] = Course(None)
                self._given_up.append((trial, reason))
        return bool(reason)

    def _close(self, name: str, group: Group) -> None:
        """Every replicate has come as far as was asked."""
        result = group.result()
        if result.ended:
            del self._groups[name]
        self._method.tell(result)
        self._take_dropped()

    def _take_dropped(self) -> None:
        for configuration, reason in self._method.dropped():
            group = self._groups.pop(name_of(configuration), None)
            waiting = group.waiting if group else self._waiting(configuration)
            self._given_up += [(trial, reason) for trial in waiting]

    def _waiting(self, configuration: Configuration) -> list[Trial]:
        """The trials of a configuration that an earlier run left behind."""
        found = (self._past.courses.get(t.key) for t in self._trials(configuration))
        return [entry[0] for entry in found if entry and not entry[1].has_ended]

    def _trials(self, configuration: Configuration) -> list[Trial]:
        replicates = range(self._experiment.search.replicates)
        return [self._experiment.trial(configuration, r, self._fingerprint) for r in replicates]
