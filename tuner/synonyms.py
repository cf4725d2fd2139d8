"""What other tools call it: for messages about names that are not known, and for the guide."""

from __future__ import annotations

from collections.abc import Iterator

COMING_FROM: dict[str, dict[str, str]] = {
    "keras-tuner": {
        "max_trials": "search.max_trials",
        "executions_per_trial": "search.replicates",
        "project_name": "name",
        "hp.Choice('x', [a, b])": "x: {choice: [a, b]}",
        "hp.Float('x', a, b, sampling='log')": "x: {min: a, max: b, scale: log}",
        "hp.Int('x', a, b, step=s)": "x: {min: a, max: b, step: s}",
        "hp.conditional_scope": "model: {choice: [{family: …, …}, …]}",
        "min_value": "min",
        "max_value": "max",
        "sampling": "scale",
        "BayesianOptimization": "search.method: bayesian",
        "Hyperband(factor=3)": "search: {method: hyperband, reduction: 3}",
        "EarlyStopping": "search.stop: {rule: patience, epochs: 5}",
        "results_summary()": "tuner report NAME",
    },
    "Optuna": {
        "n_trials": "search.max_trials",
        "timeout": "search.budget",
        "n_jobs": "tuner run --workers N",
        "study_name": "name",
        "sampler": "search.method",
        "pruner": "search.stop",
        "TPESampler": "search.method: tpe",
        "SuccessiveHalvingPruner": "search.stop: {rule: asha}",
        "MedianPruner": "search.stop: {rule: median}",
        "maximize": "objective.direction: max",
        "minimize": "objective.direction: min",
        "suggest_categorical('x', [a, b])": "x: {choice: [a, b]}",
        "suggest_float('x', a, b, log=True)": "x: {min: a, max: b, scale: log}",
        "low": "min",
        "high": "max",
        "study.best_trial": "tuner show NAME best",
    },
    "Weights & Biases": {
        "values": "choice",
        "distribution": "scale",
        "log_uniform_values": "scale: log",
        "parameters": "model",
        "goal": "objective.direction",
        "early_terminate": "search.stop",
        "run_cap": "search.max_trials",
        "wandb agent": "tuner run EXPERIMENT",
    },
    "scikit-learn": {
        "n_iter": "search.max_trials",
        "random_state": "search.seed",
        "scoring": "objective.metric",
        "param_grid": "model",
        "best_params_": "tuner show NAME best",
    },
    "Hydra": {
        "-m lr=0.1,0.01": "-S 'training.learning_rate={choice: [0.1, 0.01]}'",
        "key=value": "-S section.key=value",
        "sweeper": "search.method",
    },
    "Ray Tune": {
        "num_samples": "search.max_trials",
        "scheduler": "search.stop",
        "time_budget_s": "search.budget",
        "grace_period": "min_epochs",
        "reduction_factor": "reduction",
        "resources_per_trial": "resources: {cpu: 2, gpu: 0.5}",
        "tune.loguniform(a, b)": "{min: a, max: b, scale: log}",
    },
}
"""Tool → its word → ours, as the guide shows them."""

_SHORT = {
    **dict.fromkeys(("lr", "eta", "alpha", "rate", "init_lr", "step_size"), "learning_rate"),
    **dict.fromkeys(("num_epochs", "n_epochs", "nb_epoch", "max_epoch", "iterations"), "epochs"),
    **dict.fromkeys(("bs", "batch", "batchsize", "minibatch_size"), "batch_size"),
    **dict.fromkeys(("beta1", "b1"), "beta_1"),
    **dict.fromkeys(("beta2", "b2"), "beta_2"),
    **dict.fromkeys(("eps",), "epsilon"),
    **dict.fromkeys(("wd", "decay"), "weight_decay"),
    **dict.fromkeys(("lambda", "l2_reg", "regularization", "reg"), "l2"),
    **dict.fromkeys(("opt", "optim"), "optimizer"),
    **dict.fromkeys(("dropout_rate", "drop_rate", "drop"), "dropout"),
    **dict.fromkeys(("num_layers", "n_layers", "layers"), "depth"),
    **dict.fromkeys(("arch", "architecture", "network", "net", "class"), "family"),
    **dict.fromkeys(("units", "hidden_size", "num_units"), "hidden_units"),
    **dict.fromkeys(("k", "growth"), "growth_rate"),
    **dict.fromkeys(("acc",), "accuracy"),
    **dict.fromkeys(("val_acc", "valid_acc", "validation_accuracy"), "val_accuracy"),
    **dict.fromkeys(("validation_loss", "valid_loss"), "val_loss"),
    **dict.fromkeys(("bayes", "bayesian_optimization", "gp", "gaussian_process"), "bayesian"),
    **dict.fromkeys(("optuna", "parzen", "hyperopt", "bohb"), "tpe"),
    **dict.fromkeys(("random_search", "randomsearch", "randomized"), "random"),
    **dict.fromkeys(("grid_search", "gridsearch", "cartesian"), "grid"),
    **dict.fromkeys(("halving", "successive_halving", "sha"), "asha"),
    **dict.fromkeys(("early_stopping", "earlystopping"), "patience"),
    **dict.fromkeys(("num_trials", "trials", "max_evals", "n_calls"), "max_trials"),
    **dict.fromkeys(("repeats", "n_repeats", "num_seeds", "seeds"), "replicates"),
    **dict.fromkeys(("algorithm", "algo", "strategy", "oracle"), "method"),
    **dict.fromkeys(("lower", "minimum", "start", "from"), "min"),
    **dict.fromkeys(("upper", "maximum", "stop_value", "to"), "max"),
    **dict.fromkeys(("options", "categorical", "choices", "grid_values"), "choice"),
    **dict.fromkeys(("prior", "log_scale"), "scale"),
    **dict.fromkeys(("num_workers", "jobs", "parallelism", "processes"), "workers"),
    **dict.fromkeys(("cpus", "num_cpus", "threads", "num_threads", "cores"), "cpu"),
    **dict.fromkeys(("gpus", "num_gpus"), "gpu"),
    **dict.fromkeys(("val_split", "validation_split", "val_size", "holdout"), "validation"),
    **dict.fromkeys(("augmentation", "transforms", "aug"), "augment"),
    **dict.fromkeys(("fp16", "amp", "dtype", "mixed_precision"), "precision"),
    **dict.fromkeys(("framework", "engine"), "backend"),
    **dict.fromkeys(("random_seed", "rng_seed"), "seed"),
}
"""What people type without thinking of a tool."""


def our_names(word: str) -> Iterator[str]:
    """What we call what somebody calls `word`; dotted where it has its place."""
    if name := _SHORT.get(word.lower()):
        yield name
    for theirs in COMING_FROM.values():
        if name := theirs.get(word):
            yield name
