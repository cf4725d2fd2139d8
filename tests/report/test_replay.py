"""What a replay says: hand-computed figures, what is left out, and every format."""

from __future__ import annotations

import json

import pytest

from tests.report.page_ledgers import Plan, write
from tuner.actions.replay import read_rule, replay_rules
from tuner.cli import main
from tuner.errors import InputError
from tuner.experiment.schema import AshaStop, MedianStop, PatienceStop
from tuner.experiment.trial import TrialState
from tuner.report.page import write_page
from tuner.report.replay import ReplayedRule, replay_table

GRID = "model: {family: resnet}\nsearch: {method: grid}\n"
EPOCHS = {"training.epochs": 6}


def rising(number: int) -> Plan:
    """Trial n of 0 to 11 ends at 0.3 + n / 100, a hundredth more with every epoch."""
    values = {**EPOCHS, "training.learning_rate": 0.001 * (number + 1)}
    return Plan(values, [0.25 + number / 100 + epoch / 100 for epoch in range(6)], seconds=2.0)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replays")
    plans = [rising(number) for number in range(12)]
    halted = [
        Plan({**EPOCHS, "training.learning_rate": 1.0}, [0.2, 0.2], TrialState.STOPPED, "asha"),
        Plan({**EPOCHS, "training.learning_rate": 2.0}, [0.2, float("nan")], TrialState.DIVERGED),
    ]
    write(folder, "grid", [*plans, *halted], yaml=GRID)
    write(folder, "short", [*plans[:4], *halted * 5], yaml=GRID)
    return folder


def replay_of(results, *rules, **options):
    from tuner.ledger.folder import RunFolder

    return replay_rules(RunFolder.open("grid", results), rules, **options)


def test_no_rule_saves_and_loses_nothing(results):
    replays = replay_of(results, ReplayedRule())
    assert (replays.curves, replays.epochs, replays.seconds) == (12, 72, 144.0)
    assert dict(replays.left_out) == {"stopped": 1, "diverged": 1}
    (replay,) = replays.replays
    assert replay.epochs_saved.mean == replay.seconds_saved.mean == replay.regret.mean == 0
    assert (replay.winner_kept.mean, replay.top_kept.mean) == (1, 5)


def test_patience_by_hand(results):
    """No curve falls: patience of two epochs ends none; min_delta of two hundredths ends all."""
    stop = PatienceStop(rule="patience", epochs=2, min_delta=0.02)
    kept, ended = replay_of(
        results,
        ReplayedRule((PatienceStop(rule="patience", epochs=2),)),
        ReplayedRule((stop,)),
    ).replays
    assert kept.epochs_saved.mean == 0
    # Two epochs after the first, at 0.27 + n / 100, nothing is better by more than 0.02.
    assert ended.epochs_saved.mean == pytest.approx(36 / 72)
    assert ended.seconds_saved.mean == pytest.approx(72)
    assert (ended.winner_kept.mean, ended.top_kept.mean) == (0, 0)
    assert ended.regret.mean == pytest.approx(0.03)
    assert ended.regret.low == ended.regret.high  # no order makes a difference


def test_halving_of_curves_that_never_cross_keeps_the_winner(results):
    replay = replay_of(results, ReplayedRule((AshaStop(rule="asha", reduction=3),))).replays[0]
    assert (replay.winner_kept.mean, replay.regret.mean) == (1, 0)
    assert 0.3 < replay.epochs_saved.low < replay.epochs_saved.mean < replay.epochs_saved.high
    assert replay.winner_kept.low > 0.97


def test_fewer_trials_find_the_best_as_often_as_they_hold_it(results):
    replay = replay_of(results, ReplayedRule(max_trials=3)).replays[0]
    assert replay.epochs_saved.mean == pytest.approx(0.75)
    assert replay.winner_kept.low < 3 / 12 < replay.winner_kept.high
    # The mean of the best of 3 of 12 is 3/4 of 13 places: 9.75, of which the best is the 12th.
    assert replay.regret.mean == pytest.approx((12 - 9.75) / 100, abs=0.004)


def test_too_few_whole_curves_are_refused_with_how_many_there_are(results, capsys):
    asked = ["replay", "short", "--stop", "{rule: asha}", "--results", str(results)]
    assert main.run(asked) == 2
    said = capsys.readouterr().err
    assert "too few trials were trained to their end" in said
    assert "4 of 14 trials" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{rule: ash}", "ash is not known"),
        ("{rule: asha, min_epoch: 3}", "min_epoch: is not known"),
        ("[]", "has the wrong length"),
        ("null", "says no rule"),
        ("{rule: asha", "not readable as YAML"),
    ],
)
def test_a_rule_is_read_as_an_experiment_reads_it(text, words):
    with pytest.raises(InputError, match=words) as caught:
        read_rule(text)
    assert all(problem.where.startswith("--stop") for problem in caught.value.problems)


def test_a_threshold_that_a_run_refuses_is_refused(results, capsys):
    rule = "{rule: threshold, value: 30, epochs: 2}"
    assert main.run(["replay", "grid", "--stop", rule, "--results", str(results)]) == 2
    assert "--stop: val_accuracy can never be 30" in capsys.readouterr().err


def test_a_rule_has_a_name_that_says_all_that_was_set():
    assert read_rule("{rule: asha, min_epochs: 4}").text(30) == "asha min_epochs=4"
    several = read_rule("[{rule: median}, {rule: patience, epochs: 3}]")
    assert several.text(30) == "median or patience epochs=3"
    assert ReplayedRule((), 20).text(30) == "no rule, first 20 trials"
    assert ReplayedRule((MedianStop(rule="median"),), 1).text(30) == "median, first 1 trial"
    assert ReplayedRule((), 100).text(12) == "no rule, all 12 trials"


def test_every_format(results, capsys, tmp_path):
    asked = ["replay", "grid", "--stop", "{rule: asha}", "--stop", "{rule: patience, epochs: 2}"]
    asked += ["--max-trials", "6", "-j", "2", "--results", str(results)]
    told = {}
    for form in ("table", "csv", "json", "markdown", "latex"):
        assert main.run([*asked, "-f", form]) == 0
        told[form] = capsys.readouterr().out
    assert "12 recorded curves of 72 epochs" in told["table"]
    assert "Left out: 1 diverged, 1 stopped." in told["table"]
    head, *rows = told["csv"].splitlines()
    assert head.startswith("rule,max_trials,epochs_saved,epochs_saved_low")
    assert len(rows) == 2
    document = json.loads(told["json"])
    assert [one["rule"] for one in document["replays"]] == [
        "asha, first 6 trials",
        "patience epochs=2, first 6 trials",
    ]
    assert (document["workers"], document["orders"]) == (2, 200)
    assert document["left_out"] == {"diverged": 1, "stopped": 1}
    assert "begin{tabular}" in told["latex"]
    assert main.run([*asked, "-f", "html"]) == 2
    page = tmp_path / "replay.html"
    assert main.run([*asked, "-f", "html", "-o", str(page)]) == 0
    assert 'data-figure="replayed"' in page.read_text()


def test_without_a_rule_the_command_says_how_it_is_typed(results, capsys):
    assert main.run(["replay", "grid", "--results", str(results)]) == 2
    assert "tuner replay grid --stop '{rule: asha, min_epochs: 4}'" in capsys.readouterr().err


def test_the_page_of_a_grid_has_the_figure_and_that_of_another_search_has_not(results, tmp_path):
    from tuner.ledger.folder import RunFolder

    folder = RunFolder.open("grid", results)
    write_page([folder], tmp_path / "grid.html")
    assert 'data-figure="replayed"' in (tmp_path / "grid.html").read_text()
    stopped = GRID.replace("grid}", "grid, stop: {rule: asha}}")
    other = write(tmp_path, "stopped", [rising(n) for n in range(12)], yaml=stopped)
    write_page([other], tmp_path / "other.html")
    assert 'data-figure="replayed"' not in (tmp_path / "other.html").read_text()


def test_the_table_fits_a_terminal(results):
    from tuner.report.render import to_text

    replays = replay_of(results, ReplayedRule((AshaStop(rule="asha", min_epochs=2),)))
    text = to_text(replay_table(replays), width=80)
    assert "asha min_epochs=2" in text
    assert "Not shown at this width: time saved (see -f csv)." in text
