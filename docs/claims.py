"""The figures of docs/claims.md, drawn from experiments that were really run.

    tuner run experiments/claim-adam.yaml        (and the others)
    python -m docs.claims [RESULTS]

writes docs/claims/*.svg of every such experiment that is found in RESULTS, and its report and its
table of trials to results/claim-*. Points are means over seeds, bars are 95 % intervals of them.
"""

from __future__ import annotations

import itertools
import math
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy
import pandas

import tuner
from docs.svg import Axis, Line, Panel, Point, figure, heat_map
from tuner.cli import main as command_line
from tuner.experiment.objective import Objective
from tuner.ledger.ledger import Ledger
from tuner.report.inside import Gradients, read_feature_reuse, read_gradients
from tuner.report.results import Results
from tuner.report.statistics import Difference, judged_known, mean_interval, paired_by_key

TARGET = Path(__file__).parent.parent / "results"
FIGURES = Path(__file__).parent / "claims"
ACCURACY = Axis("validation accuracy")
KEPT = ("trials.csv", "environment.json", "experiment.yaml")


def main() -> None:
    """Draw what there is of the folder that was named, or of results/."""
    source = Path(*sys.argv[1:2] or ["results"])
    for name, draw in DRAWN.items():
        if not (source / name / "ledger.sqlite").is_file():
            continue
        target = TARGET / name
        target.mkdir(parents=True, exist_ok=True)
        for kept in KEPT:
            if (source / name / kept).resolve() != (target / kept).resolve():
                shutil.copyfile(source / name / kept, target / kept)
        report = ["report", name, "--results", str(source), "-f", "markdown"]
        command_line.run([*report, "-o", str(target / "report.md")])
        for file, text in draw(tuner.open_results(source / name)).items():
            is_figure = file.endswith(".svg")
            path = FIGURES / f"{name.removeprefix('claim-')}-{file}" if is_figure else target / file
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{path}: {len(text):,} bytes\n")


def _points(trials: pandas.DataFrame, x: str, y: str = "score") -> list[Point]:
    """The mean of each value of x, with its interval over seeds."""
    return [_mean(float(value), rows[y]) for value, rows in trials.groupby(x)]


def _mean(x: float, values: Iterable[float]) -> Point:
    interval = mean_interval(list(values))
    return Point(x, interval.mean, interval.low, interval.high)


# ---------------------------------------------------------------------- one for each experiment


def batch_normalization(results: Results) -> dict[str, str]:
    """Accuracy over learning rates, and the curves at two of them."""
    trials = results.trials().dropna(subset=["score"])
    names = {False: "without", True: "with batch normalization"}
    normalized = trials["model.batch_normalization"]
    rates = [
        Line(name, _points(trials[normalized == value], "training.learning_rate"), int(value))
        for value, name in names.items()
    ]
    best = trials[~normalized.astype(bool)].groupby("training.learning_rate")["score"].mean()
    same = float(best.idxmax())
    curves = [
        Line("", _curve(results, trials, rate, value), int(value), style)
        for value, rate, style in (
            (False, same, "solid"),
            (True, same, "solid"),
            (True, _nearest(best.index, 5 * same), "dashed"),
        )
    ]
    panels = [
        Panel("After 8 epochs", Axis("learning rate", is_log=True), ACCURACY, rates),
        Panel(
            f"Learning rate {same:.2g} (dashed: 5 times as large)", Axis("epoch"), ACCURACY, curves
        ),
    ]
    return {"accuracy.svg": figure(panels, "Batch normalization and learning rates")}


def _nearest(values: Iterable[float], wanted: float) -> float:
    return min(values, key=lambda value: abs(math.log(value / wanted)))


def _curve(
    results: Results, trials: pandas.DataFrame, rate: float, normalized: bool
) -> list[Point]:
    of_rate = trials["training.learning_rate"] == rate
    chosen = trials[of_rate & (trials["model.batch_normalization"] == normalized)]
    epochs = results.epochs()
    return _points(epochs[epochs["trial"].isin(chosen["trial"])], "epoch", "val_accuracy")


def gradients(results: Results) -> dict[str, str]:
    """Norms by layer of the deepest networks, before training and after it."""
    trials = results.trials().dropna(subset=["score"])
    deepest = trials[trials["model.depth"] == trials["model.depth"].max()]
    with Ledger.open_read_only(results.folder.ledger) as ledger:
        rows = {row.number: row for row in ledger.rows()}
        norms = {number: read_gradients(ledger, rows[number]) for number in deepest["trial"]}
    panels = [
        Panel(
            title,
            Axis("convolution, from the image on"),
            Axis("norm of the gradient", is_log=True),
            [
                Line(
                    f"{family}, {activation}{', BN' if normalized else ''}",
                    _norms([norms[number] for number in group["trial"]], place),
                    (0 if activation == "relu" else 1) + (2 if normalized else 0),
                    "solid" if family == "resnet" else "dashed",
                )
                for (family, activation, normalized), group in deepest.groupby(
                    ["model.family", "model.activation", "model.batch_normalization"]
                )
            ],
        )
        for title, place in (("Before training", 0), ("After 3 epochs", -1))
    ]
    return {"gradients.svg": figure(panels, "Gradients by layer"), "reach.csv": _reach(results)}


def _reach(results: Results) -> str:
    """Of each trial the first layer's norm over the last hidden one's; and what may be claimed."""
    trials = results.trials().dropna(subset=["score"])
    with Ledger.open_read_only(results.folder.ledger) as ledger:
        rows = {row.number: row for row in ledger.rows()}
        norms = {number: read_gradients(ledger, rows[number]) for number in trials["trial"]}
    ends = {n: (g.share_at_first(0), g.share_at_first(g.epochs[-1])) for n, g in norms.items() if g}
    names = ["model.family", "model.depth", "model.activation", "model.batch_normalization"]
    table = trials[["trial", *names, "seed"]].assign(
        before=trials["trial"].map(lambda n: ends[n][0]),
        after=trials["trial"].map(lambda n: ends[n][1]),
    )
    for when in ("before", "after"):
        finite = table[table[when].map(math.isfinite)]  # of the others no pair is made
        logs = finite.assign(log=finite[when].map(lambda v: math.log10(max(v, 1e-30))))
        differences = [_reach_difference(logs, *question) for question in QUESTIONS]
        for question, d in zip(QUESTIONS, judged_known(differences), strict=True):
            _say(f"{when} training, log10 of the share, {question[1:]}", d)
    return str(table.to_csv(index=False, float_format="%.4g"))


# What tells two sides apart, the sides, and which trials are asked.
QUESTIONS = (
    ("model.activation", "sigmoid", "relu", "batch_normalization == False"),
    ("model.depth", 20, 8, "batch_normalization == False and activation == 'sigmoid'"),
    ("model.family", "resnet", "plain", "batch_normalization == False and activation == 'sigmoid'"),
    ("model.batch_normalization", True, False, "activation == 'sigmoid'"),
)


def _reach_difference(
    logs: pandas.DataFrame, name: str, one: object, other: object, which: str
) -> Difference | None:
    """Paired by everything else and the seed."""
    chosen = logs.rename(columns=lambda c: c.removeprefix("model.")).query(which)
    chosen = chosen.rename(columns={name.removeprefix("model."): "side"})
    rest = [c for c in ("family", "depth", "activation", "batch_normalization") if c in chosen]
    sides = [
        chosen[chosen["side"] == side].set_index([*rest, "seed"])["log"].to_dict()
        for side in (one, other)
    ]
    return paired_by_key(*sides, objective=Objective("log10 of the share", "max"))


def _say(what: str, d: Difference | None) -> None:
    if d is not None:
        text = f"{d.interval.signed_text} (n = {d.n}, p = {d.p_adjusted:.3g})"
        sys.stdout.write(f"{what}: {d.told('pair')}, {text}\n")


def _norms(watched: Iterable[Gradients | None], place: int) -> list[Point]:
    """Geometric means over seeds; the last layer makes the logits and is left out.

    So is a network whose gradients have become infinite or NaN.
    """
    every = [g.norms[g.epochs[place]][:-1] for g in watched if g is not None]
    known = [norms for norms in every if all(map(math.isfinite, norms))]
    middles = [
        math.exp(math.fsum(math.log(max(n, 1e-30)) for n in layer) / len(layer))
        for layer in zip(*known, strict=True)
    ]
    return [Point(layer, norm) for layer, norm in enumerate(middles, start=1)]


def dropout(results: Results) -> dict[str, str]:
    """Accuracy on training and validation images, without dropout and with either convention."""
    trials = results.trials().dropna(subset=["score"])
    conventions = ["none", "upscale_in_train", "downscale_in_infer"]
    modes = trials["model.dropout_mode"].where(trials["model.dropout"] > 0, "none")
    trials = trials.assign(convention=modes.map(conventions.index))
    axis = Axis("dropout 0.5", names=["none", "scaled in training", "scaled at prediction"])
    panels = [
        Panel(
            title,
            axis,
            Axis(f"accuracy on {title.lower()}"),
            [
                Line(
                    "with batch normalization" if normalized else "without",
                    _points(group, "convention", metric),
                    int(bool(normalized)),
                    "none",
                )
                for normalized, group in trials.groupby("model.batch_normalization")
            ],
        )
        for title, metric in (("Training images", "accuracy"), ("Validation images", "score"))
    ]
    return {"accuracy.svg": figure(panels, "Dropout in both conventions")}


def depth(results: Results) -> dict[str, str]:
    """Training loss and accuracy by depth."""
    trials = results.trials().dropna(subset=["score"])
    panels = [
        Panel(
            title,
            Axis("layers"),
            axis,
            [
                Line(family, _points(group, "model.depth", metric), place)
                for place, (family, group) in enumerate(trials.groupby("model.family"))
            ],
        )
        for title, axis, metric in (
            ("Training", Axis("training loss in the last epoch"), "loss"),
            ("Validation", ACCURACY, "score"),
        )
    ]
    return {"depth.svg": figure(panels, "Plain and residual networks by depth")}


def hundred_layers(results: Results) -> dict[str, str]:
    """Training loss and accuracy by epoch of each kind of network; against plain ones, by seed."""
    trials, epochs = results.trials().dropna(subset=["score"]), results.epochs()
    rates = trials["training.learning_rate"].map("highway, {:g}".format)
    kinds = trials["model.family"].replace("resnet", "residual")
    kinds = kinds.mask(kinds == "highway", rates)
    kinds = kinds.mask(trials["model.stochastic_depth"].fillna(0) > 0, "stochastic depth")
    panels = [
        Panel(
            title,
            Axis("epoch"),
            axis,
            [
                Line(kind, _points(epochs[epochs["trial"].isin(group)], "epoch", metric), place)
                for place, (kind, group) in enumerate(trials["trial"].groupby(kinds))
            ],
        )
        for title, axis, metric in (
            ("Training", Axis("training loss"), "loss"),
            ("Validation", ACCURACY, "val_accuracy"),
        )
    ]
    for metric, best in (("loss", "min"), ("score", "max")):
        by_seed = {
            kind: group.set_index("seed")[metric].to_dict() for kind, group in trials.groupby(kinds)
        }
        plain = by_seed.pop("plain")
        objective = Objective(metric, best)
        found = [paired_by_key(some, plain, objective=objective) for some in by_seed.values()]
        for kind, difference in zip(by_seed, judged_known(found), strict=True):
            _say(f"{metric}, {kind} less plain", difference)
    return {"curves.svg": figure(panels, "Networks of 110 layers")}


def adam(results: Results) -> dict[str, str]:
    """Accuracy over learning rates for each beta_2, and over 1/(1 - beta_2) at some rates."""
    trials = results.trials().dropna(subset=["score"])
    beta, rate = "training.beta_2", "training.learning_rate"
    of_beta = [
        Line(f"β₂ = {value:g}", _points(group, rate), place)
        for place, (value, group) in enumerate(trials.groupby(beta))
    ]
    means = trials.groupby(rate)["score"].mean()
    best = means.idxmax()
    some = [r for r in (_nearest(means.index, best * f) for f in (0.1, 1, 10)) if r in means.index]
    averaged = trials.assign(memory=1 / (1 - trials[beta]))
    of_memory = [
        Line(f"learning rate {value:.2g}", _points(averaged[averaged[rate] == value], "memory"), p)
        for p, value in enumerate(dict.fromkeys(some))
    ]
    memory = Axis("1/(1 − β₂): steps that are averaged over", is_log=True)
    panels = [
        Panel("Learning rate", Axis("learning rate", is_log=True), ACCURACY, of_beta),
        Panel("β₂", memory, ACCURACY, of_memory),
    ]
    return {
        "adam.svg": figure(panels, "Adam: learning rate and beta_2"),
        "grid-and-random.svg": _grid_and_random(trials),
    }


def _grid_and_random(trials: pandas.DataFrame) -> str:
    """What the winner of a few trials is worth, if they are a grid or drawn at random.

    Of the nine learning rates a grid has three at equal distances, with one to four values of
    beta_2; each such grid is tried. The winner is chosen by its score under one seed, as a search
    does, and is worth the mean of its scores under the others.
    """
    draws = numpy.random.default_rng(0)
    grids: dict[int, dict[object, float]] = {3 * k: {} for k in range(1, 5)}
    randoms: dict[int, dict[object, float]] = {n: {} for n in range(1, 16)}
    for decay, some in trials.groupby("training.l2"):
        cells = some.pivot_table(
            index=["training.learning_rate", "training.beta_2"], columns="seed", values="score"
        )
        for seed in cells.columns:
            seen = cells[seed].to_numpy()
            worth = cells.drop(columns=seed).mean(axis=1).to_numpy()
            for size, of_grid in grids.items():
                chosen = [
                    [4 * rate + beta for rate in range(start, 9, 3) for beta in betas]
                    for start in range(3)
                    for betas in itertools.combinations(range(4), size // 3)
                ]
                of_grid[decay, seed] = _worth_of_winners(numpy.array(chosen), seen, worth)
            for size, of_random in randoms.items():
                places = numpy.argsort(draws.random((2000, len(seen))), axis=1)[:, :size]
                of_random[decay, seed] = _worth_of_winners(places, seen, worth)
    for size in grids:
        difference = paired_by_key(randoms[size], grids[size], objective=Objective())
        _say(f"random less grid, {size} trials", difference)
    lines = [
        Line("random", [Point(n, _middle(some)) for n, some in randoms.items()], 0),
        Line("grid of 3 learning rates", [Point(n, _middle(s)) for n, s in grids.items()], 1),
    ]
    panel = Panel("", Axis("trials"), Axis("accuracy of the winner, under other seeds"), lines)
    return figure([panel], "Grid and random search at equal budget")


def _worth_of_winners(searches: numpy.ndarray, seen: numpy.ndarray, worth: numpy.ndarray) -> float:
    winners = searches[numpy.arange(len(searches)), seen[searches].argmax(axis=1)]
    return float(worth[winners].mean())


def _middle(values: Mapping[object, float]) -> float:
    return math.fsum(values.values()) / len(values)


def densenet(results: Results) -> dict[str, str]:
    """Accuracy against parameters and against multiply-adds."""
    trials = results.trials().dropna(subset=["score"])
    theta = trials["model.compression"]
    kinds = {
        "ResNet": trials[theta.isna()],
        "DenseNet, θ = 1": trials[theta == 1],
        "DenseNet, θ = 0.5": trials[theta == 0.5],
    }
    panels = [
        Panel(
            "",
            Axis(title, is_log=True),
            ACCURACY,
            [Line(name, _points(rows, cost), p) for p, (name, rows) in enumerate(kinds.items())],
        )
        for title, cost in (("parameters", "parameters"), ("multiply-adds", "macs"))
    ]
    largest = trials[(theta == 0.5) & (trials["model.growth_rate"] == 12)]
    smallest = trials[trials["model.depth"] == 8]
    seeds = (rows.set_index("seed")["score"].to_dict() for rows in (largest, smallest))
    _say("DenseNet, k = 12, less ResNet-8", paired_by_key(*seeds, objective=Objective()))
    return {"size.svg": figure(panels, "DenseNet against ResNet")}


def feature_reuse(results: Results) -> dict[str, str]:
    """A heat map of each dense block of the trained network."""
    best = results.best()
    return {
        f"block-{place}.svg": heat_map(
            f"Dense block {place} after epoch {best.best_epoch}",
            block.sources,
            block.targets,
            [[math.nan if v is None else v for v in row] for row in block.relative()],
        )
        for place, block in enumerate(read_feature_reuse(results.folder, best) or (), start=1)
    }


DRAWN: dict[str, Callable[[Results], dict[str, str]]] = {
    "claim-vanishing-gradients": gradients,
    "claim-batch-normalization": batch_normalization,
    "claim-dropout": dropout,
    "claim-dropout-augmented": dropout,
    "claim-depth": depth,
    "claim-hundred-layers": hundred_layers,
    "claim-adam": adam,
    "claim-densenet": densenet,
    "claim-feature-reuse": feature_reuse,
}


if __name__ == "__main__":
    main()
