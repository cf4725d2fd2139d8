"""`search.enough` ends a search by itself, says why, and is taken up exactly where it stood."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.execution.conftest import Bench, diverging, metrics, raising
from tuner.errors import InputError
from tuner.execution.events import TrialEnded
from tuner.execution.protocol import Epoch, Finished
from tuner.execution.queue import why_enough
from tuner.experiment.experiment import parse_experiment
from tuner.experiment.trial import TrialState
from tuner.ledger.ledger import Ledger
from tuner.report.settled import settles
from tuner.search import Search
from tuner.search.enough import EndedTrial, make_enough

TEXT = """
name: grid
model: {family: resnet, depth: 8}
data: {dataset: synthetic}
training: {epochs: 2, l2: {choice: [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]}}
search: {method: METHOD, enough: {rule: no_gain, trials: TRIALS}MORE}
"""
SCORES = [0.3, 0.5, 0.4, 0.4, 0.6, 0.1, 0.2, 0.3, 0.9, 0.8]


def scored(task):
    value = SCORES[round(10 * task.training["l2"])]
    epochs = (Epoch(task.number, epoch, metrics(value), 0.1) for epoch in (1, 2))
    return [*epochs, Finished(task.number)]


def text(trials=3, method="grid", **more):
    options = "".join(f", {name}: {value}" for name, value in more.items())
    found = TEXT.replace("METHOD", method).replace("TRIALS", str(trials))
    return found.replace("MORE", options)


def experiment(*args, **more):
    return parse_experiment(text(*args, **more), "grid.yaml")


def reason(bench: Bench, trials=3, **more) -> str:
    with Ledger.open_read_only(bench.folder / "ledger.sqlite") as ledger:
        return why_enough(Search(experiment(trials, **more), "data:1"), ledger, None)


def test_a_search_ends_after_so_many_trials_without_a_better_one(bench):
    rows = bench.run(scored, text())
    assert [row.score for row in rows] == SCORES[:8]  # 0.6 is the fifth
    assert bench.ending == "done"
    assert reason(bench) == "no_gain: no better than 0.6 for 3 trials"


def test_running_again_does_nothing_and_more_patience_goes_on(bench):
    bench.run(scored, text())
    bench.run(scored, text())
    assert (bench.pool.starts, bench.pool.tasks, bench.ending) == ([], [], "done")
    rows = bench.run(scored, text(4))
    assert [row.score for row in rows] == SCORES  # the ninth is better
    assert reason(bench, 4) == ""


@pytest.mark.parametrize("cut", [1, 4, 6, 7])
def test_an_interrupted_search_ends_where_it_would_have_ended(bench, cut):
    ended = []

    def listener(event):
        ended.append(isinstance(event, TrialEnded))
        if sum(ended) == cut:
            bench.stop.set()

    bench.run(scored, text(), listener=listener)
    assert bench.ending == "interrupted"
    bench.stop.clear()
    rows = bench.run(scored, text())
    assert [row.score for row in rows] == SCORES[:8]
    assert bench.ending == "done"


def test_trials_that_run_when_it_is_enough_come_to_their_end(bench):
    rows = bench.run(scored, text(), workers=3)
    assert {row.state for row in rows} == {TrialState.COMPLETED}
    assert len(rows) in (8, 9, 10)


@pytest.mark.parametrize("method", ["grid", "bayesian"])
@pytest.mark.usefixtures("dice")
def test_trials_that_had_begun_come_to_their_end_in_a_later_run(bench, method):
    told = text(3, method, max_trials=10)

    def listener(event):
        if isinstance(event, TrialEnded) and reason(bench, 3, method=method, max_trials=10):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.run(scored, told, workers=3, listener=listener)
    begun = [row.number for row in bench.rows() if row.state is TrialState.WAITING]
    assert begun
    rows = bench.run(scored, told, workers=3)
    assert [task.number for task in bench.pool.tasks] == begun
    assert {row.state for row in rows} == {TrialState.COMPLETED}


def test_a_failed_trial_is_tried_again_when_a_person_says_so_though_it_is_enough(bench):
    rows = bench.run(lambda task: raising(task) if task.number == 2 else scored(task), text())
    assert [row.state for row in rows].count(TrialState.FAILED) == 1
    count = len(rows)
    rows = bench.run(scored, text(), retry=[TrialState.FAILED])
    assert [task.number for task in bench.pool.tasks] == [2]
    assert (rows[1].state, len(rows)) == (TrialState.COMPLETED, count)


@pytest.mark.parametrize("stop", ["null", "{rule: patience, epochs: 1}", "{rule: asha}"])
@pytest.mark.parametrize("method", ["grid", "bayesian"])
@pytest.mark.usefixtures("dice")
def test_one_that_is_tried_again_and_is_the_best_lets_the_search_go_on(bench, method, stop):
    told = text(3, method, max_trials=10, stop=stop).replace("epochs: 2", "epochs: 4")

    def script(task, first=0.9):
        """The first one is the best, and the second better than all behind it."""
        value = first if task.number == 1 else 0.6 - task.number / 100
        begun = max((row.epoch for row in task.checkpoints), default=0)
        epochs = (Epoch(task.number, n, metrics(value), 0.1) for n in range(begun + 1, 5))
        return [*epochs, Finished(task.number)]

    before = bench.run(lambda task: raising(task) if task.number == 1 else script(task), told)
    assert [row.state for row in before].count(TrialState.FAILED) == 1 < len(before) < 10
    rows = bench.run(script, told, retry=[TrialState.FAILED])
    numbers = [task.number for task in bench.pool.tasks]
    assert numbers[0] == 1 and len(rows) > len(before)
    ends = [event.number for event in bench.events if isinstance(event, TrialEnded)]
    assert ends.count(1) == 1
    assert rows[0].score == 0.9


def test_a_trial_whose_worker_died_is_run_again_all_the_same(bench):
    died = set()

    def script(task):
        from tuner.execution.protocol import Lost

        if task.number == 8 and not died:
            died.add(8)
            return [Lost("killed")]
        return scored(task)

    rows = bench.run(script, text())
    assert [row.score for row in rows] == SCORES[:8]


@pytest.mark.parametrize("script", [diverging, raising])
def test_trials_without_a_score_count_as_no_gain(bench, script):
    rows = bench.run(script, text())
    assert len(rows) == 3
    assert reason(bench) == "no_gain: none of 3 trials has a score"


@pytest.mark.parametrize("method", ["random", "sobol", "bayesian"])
@pytest.mark.usefixtures("dice")
def test_every_method_that_gives_out_whole_trials_knows_it(bench, method):
    told = text(2, method, max_trials=10)
    rows = bench.run(scored, told)
    scores = [row.score for row in rows]
    since = len(scores) - 1 - scores.index(max(scores))
    assert since == 2 or len(scores) == 10
    bench.run(scored, told)
    assert bench.pool.tasks == []


def test_a_random_search_is_not_ended_by_trials_of_one_network_that_were_put_together(bench):
    told = text(8, "random", max_trials=20).replace("depth: 8", "depth: {choice: [8, 14]}")
    rows = bench.run(scored, told)
    planned = Search(parse_experiment(told, "grid.yaml"), "data:1").trials()
    assert [row.key for row in rows] == [trial.key for trial in planned][: len(rows)]
    assert len({row.configuration["model.depth"] for row in rows[:8]}) == 2


def test_with_replicates_the_mean_of_a_configuration_counts():
    enough = make_enough(experiment(4, replicates=2), [])
    for name, score in [("a", 0.5), ("a", 0.5), ("b", 0.9), ("b", 0.0), ("c", 0.6), ("c", None)]:
        enough.note(EndedTrial(name, score))
    # The mean of b is worse; c has a mean of 0.6 when its last trial has ended.
    assert enough.reason == ""
    for score in (0.7, 0.4, 0.9):
        enough.note(EndedTrial(f"d{score}", score))
    assert enough.reason == ""
    enough.note(EndedTrial("d0.9", None))
    assert enough._since == 0


def test_nothing_ends_before_a_configuration_has_all_of_its_seeds():
    enough = make_enough(experiment(3, replicates=3), [])
    for name in "aabb":  # two workers, each with a configuration
        enough.note(EndedTrial(name, 0.5))
    assert enough.reason == ""
    enough.note(EndedTrial("a", 0.5))
    assert enough._best == 0.5


def test_a_smaller_gain_than_asked_for_is_none():
    given = experiment(2)
    options = given.search.enough.model_copy(update={"min_delta": 0.05})
    search = given.search.model_copy(update={"enough": options})
    enough = make_enough(replace(given, search=search), [])
    for score in (0.5, 0.54, 0.549):
        enough.note(EndedTrial(str(score), score))
    assert enough.reason == "no_gain: no better than 0.5 by more than 0.05 for 2 trials"


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ("enough: {rule: no_gain}", "trials is missing|search.enough.trials"),
        ("enough: {rule: no_gain, trials: 0}", "search.enough.trials"),
        ("enough: {rule: no_gains, trials: 3}", "search.enough"),
        ("enough: {rule: no_gain, trails: 3}", "trails"),
        ("enough: 20", "search.enough"),
        ("replicates: 5, enough: {rule: no_gain, trials: 4}", "before a configuration has its 5"),
        ("method: hyperband, max_trials: 9, enough: {rule: no_gain, trials: 3}", "its own epochs"),
    ],
)
def test_what_cannot_be_had_is_refused(search, words):
    given = f"model: {{family: resnet}}\ntraining: {{epochs: 9}}\nsearch: {{{search}}}"
    with pytest.raises(InputError, match=words):
        parse_experiment(given, "x.yaml")


def test_a_run_says_why_it_ended_and_what_going_on_would_take(tmp_path, monkeypatch, capsys):
    """Through the command line, with workers that play a script."""
    from tests.execution.conftest import ScriptedPool
    from tuner.cli import main

    path = tmp_path / "grid.yaml"
    path.write_text(text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tuner.execution.run._pool", lambda *rest: ScriptedPool(scored))
    monkeypatch.setattr("tuner.execution.run.check_worker_data", lambda *rest: None)
    assert main.run(["run", "grid.yaml", "-q", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    said = "no_gain: no better than 0.6 for 3 trials; going on would take 2 more trials, about 0s"
    assert document["ending"] == "done"
    assert document["enough"].startswith(said[:-2])
    assert main.run(["status", "--json"]) == 0
    (status,) = json.loads(capsys.readouterr().out)["experiments"]
    assert (status["state"], status["done"], status["total"]) == ("done", 8, 8)
    assert main.run(["plan", "grid.yaml"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "0 trials to run" in told
    assert "search.enough has ended the search: no_gain: no better than 0.6 for 3 trials" in told
    assert main.run(["run", "grid.yaml"]) == 0
    assert "search.enough has ended the search" in capsys.readouterr().err
    assert main.run(["report", "grid"]) == 0
    report = " ".join(capsys.readouterr().out.split())
    assert "The search has ended before its last trial: no_gain: no better than 0.6" in report
    assert "missing" not in report
    assert main.run(["run", "grid.yaml", "-S", "search.enough.trials=4", "-q"]) == 0
    capsys.readouterr()
    assert main.run(["status", "--json"]) == 0
    (status,) = json.loads(capsys.readouterr().out)["experiments"]
    assert (status["state"], status["done"]) == ("done", 10)


# ---------------------------------------------------------------------- settled

SETTLED = """
name: grid
model: {family: resnet, depth: 8}
data: {dataset: synthetic}
training: {epochs: 2, l2: {choice: [0.0, 0.1, 0.2]}}
search: {method: METHOD, replicates: 12, enough: {rule: settled}}
"""


NOISE = [(0, 2, -1), (0, -2, 1), (0, 1, -3), (0, -1, 3), (0, 3, -2), (0, -3, 2)] * 2


def by_seed(*means):
    """Scores of three configurations: a mean each, and noise of thousandths by seed."""

    def script(task):
        place = round(10 * task.training["l2"])
        noise = 0.001 * NOISE[task.seed][place]
        epochs = (Epoch(task.number, e, metrics(means[place] + noise), 0.1) for e in (1, 2))
        return [*epochs, Finished(task.number)]

    return script


def settled(method="grid"):
    return SETTLED.replace("METHOD", method)


@pytest.mark.parametrize("method", ["grid", "random, max_trials: 3", "sobol, max_trials: 3"])
@pytest.mark.parametrize("workers", [1, 4])
def test_every_configuration_has_a_seed_before_any_has_the_next(bench, method, workers):
    rows = bench.run(by_seed(0.5, 0.7, 0.6), settled(method), workers=workers, settles=settles)
    assert [row.replicate for row in rows] == [seed for seed in range(6) for _ in range(3)]
    assert bench.ending == "done"
    assert why(bench).startswith("settled: the first is better than the second by 0.09")
    bench.run(by_seed(0.5, 0.7, 0.6), settled(method), workers=workers, settles=settles)
    assert bench.pool.tasks == []


@pytest.mark.parametrize("method", ["random", "sobol"])
def test_a_space_that_holds_fewer_than_max_trials_is_settled_too(bench, method):
    given = settled(f"{method}, max_trials: 50")
    given = given.replace("{choice: [0.0, 0.1, 0.2]}", "0").replace(
        "epochs: 2", "epochs: 2, batch_size: {min: 1, max: 3, scale: log}"
    )

    def script(task):
        score = 0.1 * task.training["batch_size"] + 0.001 * NOISE[task.seed][1]
        epochs = (Epoch(task.number, e, metrics(score), 0.1) for e in (1, 2))
        return [*epochs, Finished(task.number)]

    rows = bench.run(script, given, settles=settles)
    assert len(rows) == 3 * 6


def why(bench):
    with Ledger.open_read_only(bench.folder / "ledger.sqlite") as ledger:
        return why_enough(Search(parse_experiment(settled(), "x.yaml"), "data:1"), ledger, settles)


def test_what_all_seeds_would_hardly_decide_is_not_waited_for(bench):
    rows = bench.run(by_seed(0.5, 0.6001, 0.6), settled(), settles=settles)
    assert len(rows) == 18
    assert "12 seeds would hardly decide a lead of 0.000" in why(bench)


def test_what_may_be_decided_goes_on(bench):
    rows = bench.run(by_seed(0.5, 0.603, 0.6), settled(), settles=settles)
    assert len(rows) in (24, 36)


@pytest.mark.parametrize("cut", [2, 5, 17, 18])
def test_an_interrupted_search_is_settled_where_it_would_have_been(bench, cut):
    ended = []

    def listener(event):
        ended.append(isinstance(event, TrialEnded))
        if sum(ended) == cut:
            bench.stop.set()

    script = by_seed(0.5, 0.7, 0.6)
    bench.run(script, settled(), listener=listener, settles=settles)
    bench.stop.clear()
    rows = bench.run(script, settled(), settles=settles)
    assert [row.replicate for row in rows] == [seed for seed in range(6) for _ in range(3)]


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ("enough: {rule: settled}", "needs more replicates"),
        ("replicates: 6, enough: {rule: settled}", "needs more replicates"),
        ("replicates: 9, racing: true, enough: {rule: settled}", "racing(.|\n)*racing: false"),
        ("method: bayesian, max_trials: 9, replicates: 9, enough: {rule: settled}", "bayesian"),
        ("enough: {rule: settled, trials: 3}", "trials"),
    ],
)
def test_settled_needs_seeds_that_compare(search, words):
    given = f"model: {{family: resnet}}\ntraining: {{epochs: 9}}\nsearch: {{{search}}}"
    with pytest.raises(InputError, match=words):
        parse_experiment(given, "x.yaml")
