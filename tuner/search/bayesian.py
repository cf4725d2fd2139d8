"""Bayesian optimization: a model of the scores so far says where most is to be hoped for."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tuner.experiment.experiment import Experiment
from tuner.experiment.space import SearchSpace
from tuner.experiment.trial import Configuration
from tuner.search.coordinates import Coordinates, Point, UnitAxis
from tuner.search.learning import Knowledge, LearningSearch, Model, learning_search

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

# It looks for the best among points that are drawn once, and neighbours of the best that are known.
_NUM_DRAWN = 1_000
_NUM_BEST, _NUM_NEIGHBOURS = 5, 40
# A fit takes n^3 operations: 200 results say what 1,000 say, and 60 how smooth the surface is.
_MOST_FITTED, _MOST_FOR_SCALES = 200, 60
_MAX_ITERATIONS = 30
# Where the search for the best kernel begins, and within which bounds; places are of [0, 1] and
# values of a standard normal variable.
_SCALE, _SCALES = 0.5, (0.05, 20.0)
_NOISE, _NOISES = 0.05, (1e-3, 1.0)
_VARIANCES = (0.05, 20.0)
_PULL = 1.0  # back to the start: 1 / variance of a logarithm
_APART = 0.7  # between two options without an order: as far as such on the scale of a number
_MIDDLE = 0.5  # of a value that a branch does not have


class GaussianProcess(Model):
    """A Gaussian process over the open values (Matérn 5/2, a length scale for each, noise).

    Wants the point with the highest expected improvement over the best that it expects of those
    that are known. What is being trained counts as somewhat worse than expected (mean -
    deviation), so that the next one lies elsewhere. Source: Snoek et al. 2012, Practical Bayesian
    Optimization of Machine Learning Algorithms.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._space = space
        self._seed = seed
        self._coordinates = Coordinates(space)

    def load(self) -> None:
        """Import scikit-learn, and draw the points."""
        import sklearn.gaussian_process  # noqa: F401

        _ = self._drawn

    def proposals(self, known: Knowledge, seed: int) -> Iterator[Point]:
        """Points of the space, that of the highest expected improvement first."""
        import numpy as np

        ended = sorted(known.ended, key=lambda entry: -entry[1])
        near = list(self._neighbours((point for point, _ in ended[:_NUM_BEST]), seed))
        with _undisturbed():
            fitted = [ended[place] for place in _spread(len(ended), _MOST_FITTED)]
            process = self._fitted(fitted, known.waiting)
            vectors = np.concatenate([self._drawn[1], self._matrix(near)])
            gains = _expected_improvement(process, vectors)
        candidates = [*self._drawn[0], *near]
        for index in np.argsort(-gains, kind="stable"):
            yield candidates[index]

    def _fitted(self, known: Sequence[tuple[Point, float]], waiting: Sequence[Point]) -> Any:
        """The process after these values, from the best one down."""
        import numpy as np

        x, y = self._matrix([point for point, _ in known]), np.array([value for _, value in known])
        few = list(_spread(len(known), _MOST_FOR_SCALES))
        kernel = _kernel(x[few], y[few])
        process = _process(kernel, x, y)
        if not waiting:
            return process
        at = self._matrix(waiting)
        mean, deviation = process.predict(at, return_std=True)
        return _process(kernel, np.concatenate([x, at]), np.concatenate([y, mean - deviation]))

    @cached_property
    def _drawn(self) -> tuple[list[Point], Matrix]:
        """Points that constraints admit, and their vectors; the same for every proposal."""
        rng, points = random.Random(f"{self._seed}/drawn"), []
        for _ in range(_NUM_DRAWN):
            point = Point(*self._space.draw(rng))
            if self._space.branches[point.branch].admits(point.values):
                points.append(point)
        return points, self._matrix(points)

    def _neighbours(self, points: Iterable[Point], seed: int) -> Iterator[Point]:
        rng = random.Random(f"{seed}/neighbours")
        for point in points:
            yield from (self._coordinates.near(point, rng) for _ in range(_NUM_NEIGHBOURS))

    def _matrix(self, points: Sequence[Point]) -> Matrix:
        import numpy as np

        rows = [[x for part in self._parts(point) for x in part] for point in points]
        return np.array(rows, dtype=float).reshape(len(points), self._width)

    @cached_property
    def _width(self) -> int:
        any_point = Point(*self._space.draw(random.Random(0)))
        return sum(map(len, self._parts(any_point)))

    def _parts(self, point: Point) -> Iterator[list[float]]:
        """Its branch, then each dimension: a place, or a number for each option without order."""
        branches = self._coordinates.branches
        if len(branches) > 1:
            yield _indicators(point.branch, len(branches))
        here = branches[point.branch]
        for dimension in self._coordinates.dimensions:
            value = point.values[dimension.axis.name] if dimension in here else None
            yield _coordinates_of(dimension, value, dimension in here)


def _coordinates_of(dimension: UnitAxis, value: Any, is_open: bool) -> list[float]:
    if dimension.is_ordered:
        return [dimension.place(value) if is_open else _MIDDLE]
    assert dimension.points is not None
    return _indicators(dimension.index(value) if is_open else None, len(dimension.points))


def _indicators(chosen: int | None, count: int) -> list[float]:
    return [_APART * (number == chosen) for number in range(count)]


def _kernel(x: Matrix, y: Matrix) -> Any:
    """The kernel of the highest marginal likelihood; of few results one near where it began."""
    from scipy.optimize import minimize
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    smooth = Matern([_SCALE] * x.shape[1], _SCALES, nu=2.5)
    kernel = ConstantKernel(1.0, _VARIANCES) * smooth + WhiteKernel(_NOISE, _NOISES)
    process, start = _process(kernel, x, y), kernel.theta

    def loss(theta: Matrix) -> tuple[float, Matrix]:
        value, gradient = process.log_marginal_likelihood(theta, True, clone_kernel=False)
        off = theta - start
        return 0.5 * _PULL * float(off @ off) - value, _PULL * off - gradient

    options = {"maxiter": _MAX_ITERATIONS}
    best = minimize(loss, start, jac=True, bounds=kernel.bounds, options=options)
    return kernel.clone_with_theta(best.x)


def _process(kernel: Any, x: Matrix, y: Matrix) -> Any:
    """The process with this kernel as it is; `alpha` is for equal points alone."""
    from sklearn.gaussian_process import GaussianProcessRegressor

    process = GaussianProcessRegressor(kernel, alpha=1e-8, optimizer=None, copy_X_train=False)
    return process.fit(x, y)


def _expected_improvement(process: Any, vectors: Matrix) -> Matrix:
    """Over the best that is expected where something is known, of the value without noise."""
    import numpy as np
    from scipy.special import ndtr

    best = process.predict(process.X_train_).max()
    mean, deviation = process.predict(vectors, return_std=True)
    noise = process.kernel_.k2.noise_level
    deviation = np.sqrt(np.maximum(deviation**2 - noise, 1e-12))
    z = (mean - best) / deviation
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    gains: Matrix = deviation * (z * ndtr(z) + density)
    return gains


def _spread(count: int, most: int) -> Iterator[int]:
    """So many places of a list at most: its first ones, and of the others some all over it."""
    if count <= most:
        yield from range(count)
        return
    first = most // 2
    step = (count - first) / (most - first)
    yield from range(first)
    yield from (first + int(number * step) for number in range(most - first))


@contextmanager
def _undisturbed() -> Iterator[None]:
    """One thread, which is quicker here and leaves the cores to the training; nothing is checked
    that was made here."""
    import sklearn
    from threadpoolctl import threadpool_limits

    trusting = sklearn.config_context(assume_finite=True, skip_parameter_validation=True)
    with threadpool_limits(1), trusting:
        yield


def make_bayesian(
    experiment: Experiment, can_build: Callable[[Configuration], bool] | None = None
) -> LearningSearch:
    """The search of an experiment."""
    model = GaussianProcess(experiment.space, experiment.search.seed)
    return learning_search(experiment, model, can_build)
