"""Bad input: one clear message each, all of a file at once, with line, name and mend."""

from __future__ import annotations

import pytest

from tuner.data.dataset import DatasetInfo
from tuner.errors import InputError
from tuner.experiment import parse_experiment
from tuner.experiment.experiment import check_batch_size, check_class_weights
from tuner.search import RULES

RESNET = "model: {family: resnet}\n"
CASES = [
    # text, words of `what`, line, mend
    ("modl: 3\n" + RESNET, "modl: is not known", 1, "model?"),
    ("epochs: 3\n" + RESNET, "epochs: is not known", 1, "training.epochs?"),
    ("name:x\n" + RESNET, "not readable", 2, ""),
    (RESNET + "name: ../x", 'name: "../x" is not allowed', 2, ""),
    (RESNET + "name: .hidden", "is not allowed", 2, ""),
    (RESNET + "name: 2024", "2024 has the wrong type", 2, 'put it in quotes: "2024"'),
    (RESNET + "backend: tensorfow", "tensorfow is not known", 2, "tensorflow?"),
    (RESNET + "data: [1]", "data: is no mapping", 2, ""),
    (RESNET + "data: {dataset: cifar10O}", "data.dataset: no such data set", 2, ""),
    (RESNET + "data: {augment: [crop, flop]}", "flop is not known", 2, "flip?"),
    (RESNET + "data: {augment: flip}", "flip has the wrong type", 2, "[flip]"),
    (RESNET + "training: {augment: [flip]}", "training.augment: is not known", 2, "data.augment"),
    (RESNET + "training: {precision: float32}", "training.precision: is not known", 2,
     "precision: at the top, beside training:"),
    (RESNET + "search: {method: TPE, max_trials: 9}", "TPE is not known", 2, "tpe?"),
    (RESNET + "data: {seed: {choice: [1, 2]}}", "cannot be left open", 2,
     "only values under model and training, and data.augment, may be open"),
    (RESNET + "search: {method: radom}", "radom is not known", 2, "random?"),
    (RESNET + "search: {method: random}", "search.max_trials: is missing", 2, "max_trials: 20"),
    (RESNET + "search: {budget: 90}", "90 is not allowed", 2, ""),
    (RESNET + "search: {method: hyperband, max_trials: 9, racing: true}", "does not go", 2, ""),
    (RESNET + "search: {stop: [{rule: asha}, {rule: asha, min_epochs: 3}]}", "asha is there twice",
     2, ""),
    (RESNET + "search: {method: hyperband, max_trials: 9, stop: {rule: asha}}", "halves by itself",
     2, ""),
    (RESNET + "search: {stop: {rule: ahsa}}", "ahsa is not known", 2, "asha?"),
    (RESNET + "search: {stop: asha}", "search.stop: asha has the wrong type", 2, ""),
    (RESNET + "search: {stop: {min_epochs: 2}}", "search.stop: rule is missing", 2, ""),
    (RESNET + "search: {stop: {rule: asha, min_epoch: 2}}", "stop.min_epoch: is not known", 2,
     "min_epochs?"),
    (RESNET + "search: {stop: {rule: patience}}", "search.stop.epochs: is missing", 2, ""),
    (RESNET + "search: {stop: {rule: asha, reduction: 1}}", "reduction: 1 is too small", 2, ""),
    (RESNET + "search: {min_epochs: 3}", "min_epochs has no effect: the method is grid", 2, ""),
    (RESNET + "search: {sed: 1}", "search.sed: is not known", 2, "seed?"),
    (RESNET + "search:\n  constraints:\n    - depth < 30\n    - dpth > 3",
     "search.constraints[1]: dpth does not exist", 5, "depth?"),
    (RESNET + "search: {constraints: [depth > 30]}", "no configuration is left", 2,
     "loosen or remove a constraint"),
    (RESNET + "search: {constraints: [depth * 2]}", "constraints[0]: is no comparison", 2, ""),
    (RESNET + "search: {constraints: [\"optimizer != 'Adam'\"]}",
     "'Adam' is no value of training.optimizer", 2, "adam?"),
    (RESNET + "search: {constraints: [\"activation in ['relu', 'rellu']\"]}",
     "'rellu' is no value of model.activation", 2, "relu?"),
    (RESNET + "search: {stop: {rule: threshold, value: 30}}",
     "stop.value: val_accuracy can never be 30", 2, "0.3"),
    (RESNET + "search: {stop: {rule: threshold, value: -1}}\nobjective: {metric: loss}",
     "stop.value: loss can never be -1", 2, ""),
    (RESNET + "objective: {metric: val_acuracy}", "val_acuracy is not known", 2, "val_accuracy?"),
    (RESNET + "resources: {cpu: 0}", "resources.cpu: 0 is too small", 2, ""),
    (RESNET + "resources: {cpu: 0.5}", "resources.cpu: 0.5 has the wrong type", 2, ""),
    (RESNET + "resources: {gpu: 2}", "resources.gpu: 2 is too large", 2, ""),
    (RESNET + "resources: {gpu: -0.5}", "resources.gpu: -0.5 is too small", 2, ""),
    (RESNET + "resources: {gpu: all}", "resources.gpu: all has the wrong type", 2, ""),
    (RESNET + "resources: {cpu: {choice: [1, 2]}}", "resources.cpu: cannot be left open", 2, ""),
    (RESNET + "resources: {threads: 2}", "resources.threads: is not known", 2, "cpu?"),
    (RESNET + "resources: {num_gpus: 1}", "resources.num_gpus: is not known", 2, "gpu?"),
    (RESNET + "resources: 2", "resources: is no mapping", 2, ""),
    (RESNET + "num_gpus: 1", "num_gpus: is not known", 2, "resources.gpu?"),
    ("training: {epochs: 3}", "model.family: is missing", 1, ""),
    ("model: {family: resnt}", "model.family: resnt is not known", 1, "resnet?"),
    ("model: {family: my.module:build}", "no such module", 1, ""),
    ("model:\n  family: resnet\n  depth: 21", "depth: 21 is not possible here", 3, "20 or 26"),
    ("model:\n  family: resnet\n  depth: {choice:\n    [20,\n     21]}", "21 is not possible", 5,
     "20 or 26"),
    ("model:\n  family: resnet\n  dpth: 20", "model.dpth: is not known to resnet", 3, "depth?"),
    ("model: {family: resnet, growth_rate: 12}", "growth_rate: is not known to resnet", 1,
     "give each family its own names: model: {choice: [{family: densenet, growth_rate: …}, …]}"),
    ("model: {family: densenet, growth_rate: 0}", "model.growth_rate: 0 is too small", 1, ""),
    ("model: {family: densenet, depth: {choice: [40, 100]}, bottleneck: true, num_blocks: 4}",
     "model.depth: 40 is not possible here", 1, "36 or 44"),
    ("model: {family: resnet, dropout: '0.1'}", "0.1\" has the wrong type", 1,
     "a number without quotes"),
    ("model: {family: resnet, depth: 20.0}", "20.0 has the wrong type", 1, "20"),
    ("model: {family: resnet, depth: true}", "true has the wrong type", 1, ""),
    ("model: {family: resnet, depth: {min: 20, max: 32}}", "21 is not possible", 1, "20 or 26"),
    ("model: {choice: [{family: resnet}, 3]}", "model.choice[1]: is no mapping", 1, ""),
    ("model: {choice: [{family: resnet}], depth: 20}", "depth cannot be combined with choice", 1,
     "write depth in every option"),
    ("model: {min: 1, max: 2}", "model: is no mapping", 1, ""),
    ("model: {choice: [{family: resnet, depth: 20}, {family: resnet, depth: {choice: [20, 32]}}]}",
     "two options of a choice allow the same configuration", 1, ""),
    ("model: {family: {choice: [resnet, resnet]}}", "two options", 1, ""),
    ("model: {family: {min: 1, max: 2}}", "is not known", 1, ""),
    (RESNET + "training:\n  epochs: ten", "training.epochs: ten has the wrong type", 3, ""),
    (RESNET + "training:\n  l2: {choice: []}", "training.l2: choice is empty", 3, ""),
    (RESNET + "training:\n  l2: {choice: [0, 0.0]}", "0.0 is listed twice", 3, ""),
    (RESNET + "training:\n  l2: {choice: [0, 1], count: 2}", "count does not go with choice", 3,
     "leave out count, or choice"),
    (RESNET + "training:\n  l2: {min: 1, max: 0}", "min is above max", 3, "exchange min and max"),
    (RESNET + "training:\n  l2: {min: 0, max: 1}", "no end of points for a grid", 3,
     "{min: 0, max: 1, count: 5}, or search.method: random"),
    (RESNET + "training:\n  batch_size: {min: 1, max: 64, scale: log}", "no end of points", 3,
     "{min: 1, max: 64, scale: log, count: 5}, or search.method: random"),
    (RESNET + "training:\n  beta_1: {min: 0, max: 1, count: 3}", "1 is too large", 3, ""),
    (RESNET + "training:\n  l2: {min:0, max:1}", "wrong type", 3, "a space after each colon"),
    (RESNET + "training:\n  l2: {choices: [1, 2]}", "wrong type", 3, "{choice: [1, 2]}"),
    (RESNET + "training:\n  l2: {point: [1]}", "wrong type", 3,
     "an open value is {choice: [a, b]} or {min: a, max: b}"),
    # What everybody types first, and what other tools call it.
    (RESNET + "training: {l2: [0.1, 0.01]}", "wrong type", 2, "{choice: [0.1, 0.01]}"),
    (RESNET + "training: {l2: {low: 0.1, high: 1, log: true}}", "wrong type", 2, ""),
    (RESNET + "training: {l2: {low: 0.1, high: 1}}", "wrong type", 2, "{min: 0.1, max: 1}"),
    (RESNET + "training: {l2: {values: [0.1, 1]}}", "wrong type", 2, "{choice: [0.1, 1]}"),
    (RESNET + "training: {l2: {min: 1e-4, max: 1, sampling: log}}", "key sampling", 2, "scale?"),
    (RESNET + "training: {lr: 0.1}", "training.lr: is not known", 2, "learning_rate?"),
    ("model: {family: resnet, lr: 0.1}", "is not known", 1, "training.learning_rate"),
    (RESNET + "training: {depth: 20}", "is not known", 2, "model.depth"),
    (RESNET + "lr: 0.1", "lr: is not known", 2, "training.learning_rate?"),
    (RESNET + "method: random", "method: is not known", 2, "search.method?"),
    (RESNET + "n_jobs: 2", "n_jobs: is not known", 2, "tuner run --workers N"),
    (RESNET + "objective: {metric: acc}", "acc is not known", 2, "accuracy?"),
    (RESNET + "objective: {metric: val_acc}", "val_acc is not known", 2, "val_accuracy?"),
    (RESNET + "objective: val_loss", "is no mapping", 2, "objective: {metric: val_loss}"),
    (RESNET + "search: {method: gp, max_trials: 3}", "gp is not known", 2, "bayesian?"),
    (RESNET + "search: {executions_per_trial: 2}", "is not known", 2, "replicates?"),
    ("model: {famliy: resnet}", "model.family: is missing", 1, "family instead of famliy?"),
    ("model: resnet", "model: is no mapping", 1, "model: {family: resnet}"),
    (RESNET + "training:\n  momentum: 0.9", "momentum: has no effect: the optimizer is adam", 3,
     "leave it out, or optimizer: sgd or rmsprop"),
    (RESNET + "training:\n  schedule: cosin", "cosin is not known", 3, "cosine?"),
    (RESNET + "training:\n  schedule: {step: {at: [2], factor: 0.1}}", "2 is too large", 3, ""),
    (RESNET + "training:\n  schedule: {step: {at: [0.5]}}", "step.factor: is missing", 3, ""),
    (RESNET + "training:\n  schedule: {step: {at: [{choice: [0.1, 0.2]}], factor: 0.1}}",
     "an open value in a list", 3, "leave the whole list open: {choice: [[a, b], [a, c]]}"),
    (RESNET + "training:\n  epochs: 3\n  warmup_epochs: 4", "4 warm-up epochs do not fit", 4, ""),
    (RESNET + "training:\n  epochs: {choice: [3, 9]}\n  warmup_epochs: {choice: [0, 4]}",
     "4 warm-up epochs do not fit in 3", 4, ""),
    (RESNET + "training:\n  batch_size: {choice: [64, 128]}\ndata: {train_images: 100}",
     "128 is more than the training images", 3, ""),
    (RESNET + "training: {epochs: {min: 0, max: 9223372036854775807}}",
     "more integers than can be counted", 2, ""),
    (RESNET + "training: {l2: {min: -1e308, max: 1e308}}", "too wide", 2, ""),
    (RESNET + "training: {watch: {choice: [[gradients], []]}}",
     "watch: cannot be left open: it changes no outcome", 2, "one value for all trials"),
    (RESNET + "training: {choice: [{watch: [gradients], epochs: 3}, {epochs: 4}]}",
     "watch: cannot be left open: it changes no outcome", 2, "one value for all trials"),
    (RESNET + "search: {constraints: ['watch == 1']}", "watch does not exist", 2, ""),
    (RESNET + "search: {method: list, configurations: [{depth: 8, watch: [gradients]}]}",
     "watch does not exist", 2, ""),
    (RESNET + "search:\n  constraints:\n    - \"family * 2 == 'a'\"", "arithmetic needs numbers", 4,
     ""),
    ("model: {family: resnet, depth: .nan}", "not a finite number", 1, ""),
    (RESNET + "training: {learning_rate: {choice: [0.1, -1]}}\n"
     "search: {constraints: ['depth < 50']}", "-1 is too small", 2, ""),
    ("", "the file is empty", 1, ""),
    ("- 1", "the file is no mapping", 1, ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words", "line", "mend"), CASES)
def test_one_mistake_has_one_message_with_its_line_and_mend(
    refuse, text, words, line, mend
) -> None:
    problem, *others = refuse(text)
    assert words in problem.what
    assert problem.where.split(":")[:2] == ["x.yaml", str(line)]
    assert problem.mend == mend or not mend
    assert len(others) == (words == "an open value in a list")


def test_a_message_reads_like_this(refuse) -> None:
    text = "model:\n  family: resnet\n  depth: 21\n"
    assert str(refuse(text)[0]) == (
        "x.yaml:3:3: model.depth: 21 is not possible here\n"
        "    received: 21\n"
        "    expected: 6n + 2 (8, 14, 20, ..., 56, 110)\n"
        "    fix:      20 or 26"
    )


@pytest.mark.parametrize("stop", ["3", "asha", "{}", "[]", "[asha]", "{rule: ahsa}", "{epochs: 3}"])
def test_what_is_no_rule_is_told_which_there_are(refuse, stop) -> None:
    expected = refuse(RESNET + f"search: {{stop: {stop}}}")[0].expected
    words, _, rules = expected.partition("; rules: ")
    assert words.startswith("a rule with its options, as {rule: asha, min_epochs: 2}")
    assert set(rules.split(", ")) == set(RULES)


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("{rule: asha, min_epoch: 2}", "rule, min_epochs, reduction"),
        ("{rule: median, reduction: 2}", "rule, min_epochs, min_trials"),
        ("{rule: patience, epochs: 3, factor: 2}", "rule, epochs, min_delta"),
        ("{rule: threshold, value: 0.3, reduction: 2}", "rule, value, epochs"),
        ("{rule: divergence, value: 2}", "rule, factor"),
        ("[{rule: asha}, {rule: divergence, value: 2}]", "rule, factor"),
    ],
)
def test_an_unknown_option_of_a_rule_is_told_those_of_this_rule(refuse, stop, expected) -> None:
    problems = refuse(RESNET + f"search: {{stop: {stop}}}")
    assert [problem.expected for problem in problems] == [expected]


def test_all_mistakes_of_a_file_are_told_at_once_in_the_order_of_its_lines(refuse) -> None:
    problems = refuse("""
        name: ../x
        name: y
        backend: torch
        data: {validation: 1.5}
        model:
          family: resnet
          depth: {choice: [20, 21]}
          dropout: 1.0
          dpth: 3
        training:
          epochs: &e 3
          batch_size: 0
          l2: {min: 1, max: 0}
        search:
          method: random
          constraints: [dpeth > 3]
    """)
    lines = [int(problem.where.split(":")[1]) for problem in problems]
    assert lines == [3, 4, 5, 8, 9, 10, 12, 13, 14, 15, 17]


def test_a_combination_that_a_constraint_excludes_is_no_mistake(parse, refuse) -> None:
    text = """
        model: {family: densenet, bottleneck: {choice: [true, false]},
                depth: {choice: [43, 40, 100]}}
    """
    assert "with bottleneck" in refuse(text)[0].expected
    space = parse(text + '\n        search: {constraints: ["not bottleneck or depth != 43"]}').space
    assert len(space) == 5
    assert space.excluded == 1


def test_a_constraint_that_some_option_makes_senseless_is_found_before_it_is_drawn(refuse) -> None:
    problems = refuse("""
        model: {family: resnet}
        training: {batch_size: {choice: [32, full]}, l2: {min: 0, max: 1}}
        search:
          method: random
          max_trials: 3
          constraints: [l2 < 0.5, batch_size > 3]
    """)
    assert "search.constraints[1]: cannot be computed" in problems[0].what
    assert problems[0].where == "x.yaml:7:27"


def test_a_batch_larger_than_the_training_set_is_named_when_the_set_is_known(parse) -> None:
    experiment = parse("model: {family: resnet}\ntraining:\n  batch_size: {choice: [64, 128]}\n")
    check_batch_size(experiment, 128)
    with pytest.raises(InputError) as caught:
        check_batch_size(experiment, 100)
    assert caught.value.problems[0].where == "x.yaml:3:3"
    assert caught.value.problems[0].received == "128"
    check_batch_size(parse("model: {family: resnet}\ntraining: {batch_size: full}"), 1)


@pytest.mark.parametrize(
    ("weights", "names", "expected"),
    [
        ("{1: 2, 4: 3}", (), "classes 0 to 3"),
        ("{cat: 2}", (), "classes 0 to 3"),
        ("{cat: 2, 4: 3}", ("ant", "bee", "cat", "dog"), "ant, bee, cat, dog"),
        ("{1: 2, 4: 3}", ("1", "2", "3", "5"), "1, 2, 3, 5"),
    ],
)
def test_a_weight_of_no_class_is_named_when_the_data_are_known(parse, weights, names, expected):
    text = "model: {family: resnet}\ntraining:\n  class_weight: {choice: [balanced, %s]}\n"
    info = DatasetInfo((8, 8, 3), 4, 100, 0, "", class_names=names)
    with pytest.raises(InputError) as caught:
        check_class_weights(parse(text % weights), info)
    (problem,) = caught.value.problems
    assert problem.what.endswith("there is no such class")
    assert problem.received in weights
    assert (problem.where, problem.expected) == ("x.yaml:3:3", expected)
    check_class_weights(parse(text % "{3: 5}"), info)


@pytest.mark.parametrize(
    ("optimizer", "momentum"), [("rmsprop", [0.0]), ("{choice: [sgd, rmsprop]}", [0.9, 0.0])]
)
def test_rmsprop_has_no_momentum_unless_it_is_written(parse, optimizer, momentum) -> None:
    text = f"model: {{family: resnet}}\ntraining: {{optimizer: {optimizer}%s}}"
    assert [point.training["momentum"] for point in parse(text % "").space] == momentum
    written = [point.training["momentum"] for point in parse(text % ", momentum: 0.5").space]
    assert set(written) == {0.5}


def test_the_files_own_name_must_do_if_none_is_written(refuse) -> None:
    with pytest.raises(InputError, match="the file's name"):
        parse_experiment(RESNET, "my file.yaml")
    assert parse_experiment(RESNET + "name: fine", "my file.yaml").name == "fine"
