"""One search: what is given out is the plan, and trials of a structure come together."""

from __future__ import annotations

import itertools

from tests.search.cases import CASES, Case
from tuner.search import Search
from tuner.search.search import LOOK_AHEAD


def given(search: Search) -> list[str]:
    """The keys of all trials, block by block."""
    keys = []
    while block := search.next_block():
        for proposal in block:
            keys += [trial.key for trial in search.replicates(proposal.configuration)]
    return keys


def test_what_is_given_out_is_what_was_planned_with(planned: Case) -> None:
    search = Search(planned.experiment(150), "data")
    # Walking the plan leaves it as it is, and sorting by structure loses nothing.
    expected = sorted(trial.key for trial in search.trials())
    assert sorted(given(search)) == expected
    assert len(expected) == search.total_trials


def test_a_block_holds_trials_of_a_structure_together() -> None:
    search = Search(CASES["random without end"].experiment(LOOK_AHEAD))
    trials = [search.experiment.trial(p.configuration) for p in search.next_block()]
    structures = [trial.structure.key for trial in trials]
    changes = [a != b for a, b in itertools.pairwise(structures)]
    assert sum(changes) == len(set(structures)) - 1 == 1


def test_a_plan_goes_on_at_the_block_in_which_it_stood(planned: Case) -> None:
    whole = given(Search(planned.experiment(150)))
    search = Search(planned.experiment(150))
    search.go_to(LOOK_AHEAD + 5)
    assert search.position == min(LOOK_AHEAD, len(whole))
    assert given(search) == whole[LOOK_AHEAD:]


def test_structures_share_out_a_finite_space(planned: Case) -> None:
    experiment = planned.experiment(150)
    structures, are_all = Search(experiment).structures()
    assert are_all
    counts = [structure.count for structure in structures.values()]
    assert None in counts if planned.size is None else sum(map(int, counts)) == planned.size
    assert {trial.structure.key for trial in Search(experiment).trials()} <= set(structures)


def test_a_search_that_learns_lists_nothing_and_has_no_place() -> None:
    search = Search(CASES["hyperband without end"].experiment(9))
    assert list(search.trials()) == []
    assert (search.is_adaptive, search.block_size, search.position) == (True, 1, None)
    assert search.total_trials == 9
