"""Searches that learn, rules that stop and racing, on workers that play a script."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import replace
from functools import partial

import pytest

from tests.execution.conftest import Bench, ShuffledPool, epochs_behind, metrics, raising
from tests.search.cases import Dice
from tuner.execution.events import EpochEnded, TrialEnded, TrialStarted, TrialWaits
from tuner.execution.protocol import Epoch, Finished
from tuner.execution.run import make_scheduler
from tuner.experiment.trial import TrialState
from tuner.ledger.checkpoint import SavedCheckpoint
from tuner.ledger.ledger import Ledger

pytestmark = pytest.mark.usefixtures("dice")

SPACE = """
name: search
model: {family: resnet, depth: {choice: [8, 14]}}
data: {dataset: synthetic}
training:
  epochs: 9
  learning_rate: {min: 0.001, max: 0.1, scale: log}
  l2: {choice: [0, 0.0001, 0.001]}
"""
METHODS = {
    "random with asha": "search: {method: random, max_trials: 12, stop: {rule: asha}}",
    "asha and patience under two seeds": "search: {method: sobol, max_trials: 8, replicates: 2, "
    "stop: [{rule: asha, reduction: 2}, {rule: patience, epochs: 4}]}",
    "asha until nothing is gained": "search: {method: random, max_trials: 30, "
    "stop: {rule: asha, reduction: 2}, enough: {rule: no_gain, trials: 7}}",
    "sobol with median": "search: {method: sobol, max_trials: 9, "
    "stop: {rule: median, min_trials: 3}}",
    "sobol with patience": "search: {method: sobol, max_trials: 5, "
    "stop: {rule: patience, epochs: 2}}",
    "bayesian": "search: {method: bayesian, max_trials: 13}",
    "bayesian with asha": "search: {method: bayesian, max_trials: 12, stop: {rule: asha}}",
    "tpe": "search: {method: tpe, max_trials: 12}",
    "bayesian with asha and racing": "search: {method: bayesian, max_trials: 12, replicates: 3, "
    "racing: true, stop: {rule: asha, reduction: 2}}",
    "hyperband": "search: {method: hyperband, max_trials: 17}",
    "hyperband under two seeds": "search: {method: hyperband, max_trials: 11, replicates: 2}",
    "replicates with racing": "search: {method: sobol, max_trials: 9, replicates: 3, racing: true}",
    "bayesian with racing": "search: {method: bayesian, max_trials: 11, replicates: 3, "
    "racing: true}",
}


def height(task):
    """Where a trial's accuracy ends: a smooth function of its configuration, and a little luck."""
    luck = ((task.seed * 7919) % 13) / 1000
    rate, l2 = task.training["learning_rate"], task.training["l2"]
    return 0.8 - abs(rate - 0.02) * 3 - l2 * 50 + task.model["depth"] / 200 + luck


def learning(task):
    """A curve that rises to a plateau, each epoch with a checkpoint."""
    reports = [
        Epoch(
            task.number,
            epoch,
            metrics(height(task) * min(1.0, epoch / 6)),
            0.1,
            checkpoint=SavedCheckpoint(f"{task.number}-{epoch}.npz", "0" * 64, 10),
        )
        for epoch in range(epochs_behind(task) + 1, task.until + 1)
    ]
    return [*reports, Finished(task.number)]


def outcomes(rows):
    """All that a person sees of the trials, in the order in which they were proposed."""
    names = ("model.depth", "training.learning_rate", "training.l2")
    return [
        (*(row.configuration[n] for n in names), row.seed, row.state, row.epochs, row.score)
        for row in rows
    ]


class PowerCut(Exception):
    pass


def cut_after(count):
    """A listener that ends everything after so many events."""
    left = itertools.count(count, -1)

    def listener(event):
        if next(left) == 0:
            raise PowerCut

    return listener


@pytest.mark.parametrize("search", METHODS.values(), ids=METHODS.keys())
def test_a_search_that_is_cut_again_and_again_does_what_an_uncut_one_does(tmp_path, search):
    whole = Bench(tmp_path / "whole", SPACE + search)
    cut = Bench(tmp_path / "cut", SPACE + search)
    for bench in (whole, cut):
        bench.folder.mkdir()
    expected = outcomes(whole.run(learning))
    for length in itertools.cycle((3, 17, 8, 29, 60)):
        try:
            rows = cut.run(learning, listener=cut_after(length))
            break
        except PowerCut:
            continue
    assert outcomes(rows) == expected
    assert whole.ending == cut.ending == "done"
    ends = {TrialState.COMPLETED, TrialState.STOPPED}
    assert {row.state for row in rows} <= ends
    before = cut.rows()
    assert cut.run(learning) == before
    assert cut.pool.tasks == []


@pytest.mark.parametrize("search", METHODS.values(), ids=METHODS.keys())
def test_several_workers_find_their_way(tmp_path, search):
    bench = Bench(tmp_path, SPACE + search)
    rows = bench.run(learning, workers=3)
    assert bench.ending == "done"
    assert len({row.key for row in rows}) == len(rows)
    assert {row.state for row in rows} <= {TrialState.COMPLETED, TrialState.STOPPED}
    numbers = [task.number for task in bench.pool.tasks]
    goes_on = "hyperband" in search or "asha" in search
    assert goes_on or len(set(numbers)) == len(numbers)


def test_a_search_that_thinks_in_a_thread_does_what_one_does_that_does_not(tmp_path, monkeypatch):
    """And nobody takes it for exhausted while it thinks."""
    given = SPACE + METHODS["bayesian with asha"]
    for folder in ("plain", "aside", "by three"):
        (tmp_path / folder).mkdir()
    expected = outcomes(Bench(tmp_path / "plain", given).run(learning))

    def slowly(model, known, seed):
        time.sleep(0.02)
        yield from propose(model, known, seed)

    def aside(search, *rest, **options):
        search.think_aside()
        return make_scheduler(search, *rest, **options)

    propose = Dice.proposals
    monkeypatch.setattr(Dice, "proposals", slowly)
    monkeypatch.setattr("tests.execution.conftest.make_scheduler", aside)
    assert outcomes(Bench(tmp_path / "aside", given).run(learning)) == expected
    rows = Bench(tmp_path / "by three", given).run(learning, workers=3)
    assert len({row.key for row in rows}) == len(rows) == len(expected)


def test_a_stopped_trial_keeps_its_curve_its_score_and_the_rules_words(tmp_path):
    bench = Bench(tmp_path, SPACE + METHODS["sobol with patience"])

    def falling(task):
        return [
            *(
                Epoch(task.number, epoch, metrics(0.9 - epoch / 10), 0.1)
                for epoch in range(1, task.until + 1)
            ),
            Finished(task.number),
        ]

    rows = bench.run(falling)
    assert [(r.state, r.epochs, r.score) for r in rows] == [(TrialState.STOPPED, 3, 0.8)] * 5
    assert rows[0].reason.startswith("patience")
    assert bench.pool.stopped == [1, 2, 3, 4, 5]
    # What the worker still sent before it heard of it is nobody's.
    assert [row.epoch for row in bench.epochs()] == [1, 2, 3] * 5
    ended = [e for e in bench.events if isinstance(e, TrialEnded)]
    assert [e.state for e in ended] == [TrialState.STOPPED] * 5


def test_a_stopped_trial_that_is_continued_goes_on_to_its_end(tmp_path):
    bench = Bench(tmp_path, SPACE + METHODS["random with asha"])
    stopped = [row for row in bench.run(learning) if row.state is TrialState.STOPPED]
    assert stopped
    rows = bench.run(learning, retry=[TrialState.STOPPED])
    assert {row.state for row in rows} == {TrialState.COMPLETED}
    assert {row.epochs for row in rows} == {9}
    begun = {task.number: epochs_behind(task) for task in bench.pool.tasks}
    assert begun == {row.number: row.epochs for row in stopped}
    assert bench.run(learning, text=bench.text) == rows


HALVING = SPACE + "search: {method: random, max_trials: 24, stop: {rule: asha, reduction: 2}}"


def test_asha_takes_a_stopped_trial_up_from_where_it_was(tmp_path):
    bench = Bench(tmp_path, HALVING)
    rows = bench.run(learning)
    again = [e for e in bench.events if isinstance(e, TrialStarted) and e.up_again]
    assert again and {event.epochs_done for event in again} <= {1, 2, 4, 8}
    trained = [(e.number, e.epoch) for e in bench.events if isinstance(e, EpochEnded)]
    assert len(trained) == len(set(trained)) == sum(row.epochs for row in rows)
    assert {row.epochs for row in rows} == {1, 2, 4, 8, 9}
    assert all("not among the best half" in r.reason for r in rows if r.epochs < 9)
    assert {r.attempt for r in rows if r.number in {e.number for e in again}} > {2}
    starts = [(task.number, epochs_behind(task)) for task in bench.pool.tasks]
    assert [(e.number, e.epochs_done) for e in again] == [s for s in starts if s[1]]


@pytest.mark.parametrize("seed", range(5))
def test_with_any_workers_the_best_of_every_rung_have_gone_on_in_the_end(tmp_path, seed):
    bench = Bench(tmp_path, HALVING, partial(ShuffledPool, seed=seed))
    rows = bench.run(learning, workers=2 + seed)
    curves = {row.number: [] for row in rows}
    for epoch in bench.epochs():
        curves[epoch.number].append(epoch.metrics["val_accuracy"])
    for rung in (1, 2, 4, 8):
        there = [row.number for row in rows if row.epochs >= rung]
        best = sorted(there, key=lambda n: (-max(curves[n][:rung]), n))
        went_on = {row.number for row in rows if row.epochs > rung}
        assert set(best[: max(1, len(there) // 2)]) <= went_on


def test_a_search_that_is_given_more_trials_takes_up_old_ones_too(tmp_path):
    fewer, more = HALVING.replace("24", "12"), HALVING
    bench = Bench(tmp_path, more)
    before = {row.number: row for row in bench.run(learning, text=fewer)}
    after = {row.number: row for row in bench.run(learning)}
    assert any(after[n].epochs > row.epochs for n, row in before.items())


def test_hyperband_trains_each_epoch_of_a_trial_once(tmp_path):
    bench = Bench(tmp_path, SPACE + METHODS["hyperband"])
    rows = bench.run(learning)
    trained = [(e.number, e.epoch) for e in bench.events if isinstance(e, EpochEnded)]
    assert len(trained) == len(set(trained)) == sum(row.epochs for row in rows)
    assert [e for e in bench.events if isinstance(e, TrialWaits)]
    assert {row.epochs for row in rows} == {1, 3, 9}
    lost = [row for row in rows if row.state is TrialState.STOPPED]
    assert all(row.reason.startswith("hyperband") for row in lost)


@pytest.mark.parametrize("search", ["hyperband", "replicates with racing"])
def test_what_the_search_let_go_can_be_continued_by_a_person(tmp_path, search):
    bench = Bench(tmp_path, SPACE + METHODS[search])
    stopped = {r.number: r.epochs for r in bench.run(learning) if r.state is TrialState.STOPPED}
    assert stopped
    rows = bench.run(learning, retry=[TrialState.STOPPED])
    assert {row.state for row in rows} == {TrialState.COMPLETED}
    assert {task.number: epochs_behind(task) for task in bench.pool.tasks} == stopped
    assert bench.run(learning) == rows


def test_hyperband_decides_a_rung_where_a_rule_has_ended_one_seed_of_a_configuration(tmp_path):
    search = "{method: hyperband, max_trials: 11, replicates: 2, stop: {rule: patience, epochs: 2}}"
    bench = Bench(tmp_path, SPACE.replace("epochs: 9", "epochs: 27") + f"search: {search}")
    first = {}

    def script(task):
        """The first seed of each configuration falls from the beginning on."""
        reports = learning(task)
        if first.setdefault(str(task.model) + str(task.training), task.number) != task.number:
            return reports
        falling = (report for report in reports if isinstance(report, Epoch))
        return [
            *(replace(one, metrics=metrics(0.9 - one.epoch / 100)) for one in falling),
            Finished(task.number),
        ]

    rows = bench.run(script)
    assert bench.ending == "done"
    assert any(row.reason.startswith("patience") for row in rows)
    assert max(row.epochs for row in rows) == 8  # behind the rung at which they met


def test_a_failed_first_seed_under_racing_is_tried_again_when_a_person_says_so(tmp_path):
    bench = Bench(tmp_path, SPACE + METHODS["replicates with racing"])
    failing = iter([True])
    rows = bench.run(lambda task: raising(task) if next(failing, False) else learning(task))
    (failed,) = (row for row in rows if row.state is TrialState.FAILED)
    rows = bench.run(learning, retry=[TrialState.FAILED])
    assert bench.pool.tasks[0].number == failed.number
    (again,) = (row for row in rows if row.number == failed.number)
    assert (again.state, again.epochs) == (TrialState.COMPLETED, 9)


def test_all_seeds_that_failed_are_tried_again_under_racing(tmp_path):
    bench = Bench(tmp_path, SPACE + METHODS["replicates with racing"])
    first = {}

    def script(task):
        """A configuration of which one seed is bad and the others fail; racing would drop them."""
        name = str(task.model) + str(task.training)
        first.setdefault(name, len(first))
        return raising(task) if first[name] == 0 and task.number > 1 else learning(task)

    rows = bench.run(script)
    failed = [row.number for row in rows if row.state is TrialState.FAILED]
    rows = bench.run(learning, retry=[TrialState.FAILED])
    states = {row.number: row.state for row in rows}
    assert failed and {states[number] for number in failed} == {TrialState.COMPLETED}


def test_where_the_epochs_are_used_up_only_what_had_begun_goes_on(tmp_path):
    text = SPACE + "search: {method: random, max_trials: 12}"
    bench = Bench(tmp_path, text)
    with pytest.raises(PowerCut):
        bench.run(learning, budget_epochs=20, workers=2, listener=cut_behind(20))
    begun = [row.number for row in bench.rows() if row.state is TrialState.WAITING]
    assert len(begun) == 2
    rows = bench.run(learning, budget_epochs=0)
    assert [task.number for task in bench.pool.tasks] == begun
    assert ({row.state for row in rows}, bench.ending) == ({TrialState.COMPLETED}, "budget")
    bench.run(learning, budget_epochs=0)
    assert (bench.pool.starts, bench.ending) == ([], "budget")


def cut_behind(epochs):
    """A listener that ends everything after so many epochs."""
    seen = itertools.count(1)

    def listener(event):
        if isinstance(event, EpochEnded) and next(seen) == epochs:
            raise PowerCut

    return listener


def test_racing_writes_down_what_it_spares_wherever_it_is_cut(tmp_path):
    text = SPACE.replace("{choice: [8, 14]}", "14").replace("epochs: 9", "epochs: 1")
    text = text.replace("{min: 0.001, max: 0.1, scale: log}", "{choice: [0.02, 0.0201, 0.1]}")
    text = text.replace("{choice: [0, 0.0001, 0.001]}", "0")
    text += "search: {replicates: 3, racing: true}"
    whole = Bench(tmp_path, text)
    expected = outcomes(whole.run(learning))
    assert TrialState.STOPPED in {outcome[-3] for outcome in expected}
    for length in range(1, len(whole.events)):
        cut = Bench(tmp_path / str(length), text)
        cut.folder.mkdir()
        with pytest.raises(PowerCut):
            cut.run(learning, listener=cut_after(length))
        assert outcomes(cut.run(learning)) == expected, length


def test_a_trial_that_could_not_be_recorded_is_not_passed_by(tmp_path, monkeypatch):
    text = SPACE.replace("{min: 0.001, max: 0.1, scale: log}", "{min: 0.01, max: 0.1, count: 40}")
    text = text.replace("epochs: 9", "epochs: 1").replace("{choice: [0, 0.0001, 0.001]}", "0")
    bench = Bench(tmp_path, text)
    add, calls = Ledger.add, itertools.count(1)

    def failing(ledger, trials, position=None):
        if next(calls) == 64:  # the last of a block
            raise PowerCut
        return add(ledger, trials, position)

    monkeypatch.setattr(Ledger, "add", failing)
    with pytest.raises(PowerCut):
        bench.run(learning)
    assert len(bench.run(learning)) == 80


def test_racing_spares_the_replicates_of_losers_and_says_so(tmp_path):
    text = SPACE.replace("{choice: [8, 14]}", "14").replace(
        "{min: 0.001, max: 0.1, scale: log}", "{choice: [0.02, 0.0201, 0.0202, 0.09, 0.1]}"
    )
    search = "search: {replicates: 3, racing: true}"
    rows = Bench(tmp_path, text.replace("{choice: [0, 0.0001, 0.001]}", "0") + search).run(learning)
    spared = [row for row in rows if row.state is TrialState.STOPPED]
    assert len(rows) == 15
    assert {row.configuration["training.learning_rate"] for row in spared} == {0.09, 0.1}
    assert {(row.epochs, row.score) for row in spared} == {(0, None)}
    assert all("clearly worse" in row.reason for row in spared)
    assert len(spared) == 4


def test_a_trial_that_a_rule_would_stop_is_not_trained_further_after_a_cut(tmp_path):
    """Between the epoch and the end of the trial there is a moment."""
    bench = Bench(tmp_path, SPACE + METHODS["random with asha"])
    whole = outcomes(bench.run(learning))
    other = Bench(tmp_path / "other", bench.text)
    other.folder.mkdir()
    number = next(n for n, row in enumerate(whole, 1) if row[-3] is TrialState.STOPPED)

    def cut(event):
        last = whole[number - 1][-2]
        if isinstance(event, EpochEnded) and (event.number, event.epoch) == (number, last):
            raise PowerCut

    with pytest.raises(PowerCut):
        other.run(learning, listener=cut)
    assert outcomes(other.run(learning)) == whole
    assert number not in [task.number for task in other.pool.tasks]


def test_a_search_whose_trials_have_all_ended_is_not_done_while_one_may_go_on(
    tmp_path, monkeypatch, capsys
):
    """ASHA takes trials up again; a budget may end the search between two of these."""
    from tests.execution.conftest import ScriptedPool
    from tuner.cli import main

    search = "search: {method: random, max_trials: 6, seed: 1, stop: {rule: asha}}"
    (tmp_path / "search.yaml").write_text(SPACE + search)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tuner.execution.run._pool", lambda *rest: ScriptedPool(learning))
    monkeypatch.setattr("tuner.execution.run.check_worker_data", lambda *rest: None)

    def state_after(epochs):
        assert main.run(["run", "search.yaml", "-q", "-S", f"search.max_epochs={epochs}"]) in (0, 3)
        capsys.readouterr()
        assert main.run(["status", "--json"]) == 0
        (status,) = json.loads(capsys.readouterr().out)["experiments"]
        return status["state"], status["done"], status["total"]

    assert state_after(21) == ("incomplete", 5, 6)
    assert state_after(22) == ("incomplete", 6, 6)  # one of the six goes on
    assert main.run(["status"]) == 0
    assert "stopped, which may go on" in capsys.readouterr().out
    assert main.run(["report", "search"]) == 0
    assert "run it again, for the stopped trials that may go on" in capsys.readouterr().out
    assert state_after(99) == state_after(22) == ("done", 6, 6)
    with monkeypatch.context() as patch:  # a run that has nothing to do, and is cut
        patch.setattr("tuner.execution.run.Scheduler.run", lambda *rest, **more: "interrupted")
        main.run(["run", "search.yaml", "-q"])
    capsys.readouterr()
    assert main.run(["report", "search"]) == 0
    assert "may go on" not in capsys.readouterr().out
