"""The same tiny problem in larger clothes: what takes the library through its search leaves the oracle tiny.

Two ways to dress that change no radius:

*Constant features*, to which the metric is blind unless it is Euclidean: all distances to a point grow by the
same square, so the order of the rows and every half-space stay as they are.

*Far rows*, Euclidean metric only. Let all rows of the problem be within ``a`` of the test point, all others
beyond ``D``. After a move of ``R < (D − a) / 2`` the former are still nearer than any of the latter, so a
radius up to R is the same with and without them. Larger ones are not compared.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from certimetric.testing import Problem
from oracles.promises import Oracle, VoteOracle
from oracles.rational import Vector

FAR = 1000.0
"""Distance of the far rows in units of the largest number of the problem; its rows span 4 √d at most."""


@dataclass(frozen=True)
class Disguise:
    """What is added to a problem: constant features, far rows."""

    n_constant: int = 0
    n_far: int = 0

    def apply(self, problem: Problem, rng: np.random.Generator) -> Problem:
        """The larger problem; the tiny one's features and rows come first."""
        rows, labels, points = problem.rows, problem.labels, problem.points
        if self.n_far:
            ways = rng.normal(size=(self.n_far, rows.shape[1]))
            lengths = rng.uniform(1.0, 3.0, size=(self.n_far, 1)) * FAR * _extent(problem)
            ways *= lengths / np.linalg.norm(ways, axis=1, keepdims=True)
            rows = np.vstack([rows, ways])
            labels = np.append(labels, rng.integers(0, labels.max() + 2, size=self.n_far))
        constants = _extent(problem) * rng.uniform(-1.0, 1.0, size=self.n_constant)
        g, m = problem.components, problem.matrix
        return Problem(
            _with_columns(rows, constants),
            labels,
            _with_columns(points, constants),
            None if g is None else _with_columns(g, 0.0 * constants),
            None if m is None else np.pad(m, (0, self.n_constant)),
        )

    def largest_radius(self, problem: Problem) -> float:
        """Radii up to this one are those of the tiny problem."""
        return FAR / 10 * _extent(problem) if self.n_far else np.inf


def _extent(problem: Problem) -> float:
    return float(max(np.abs(problem.rows).max(), np.abs(problem.points).max()))


def _with_columns(rows: np.ndarray, constants: np.ndarray) -> np.ndarray:
    return np.hstack([rows, np.broadcast_to(constants, (len(rows), len(constants)))])


def draw_disguise(rng: np.random.Generator, problem: Problem) -> Disguise:
    """Nothing for four of five problems; else constant features up to several rungs, or some hundred rows."""
    choice = rng.random()
    if choice < 0.1:
        return Disguise(n_constant=int(rng.choice([1, 7, 62, 70, 130])))
    ordinary = 1e-100 < _extent(problem) < 1e100
    if choice < 0.2 and problem.components is None and problem.matrix is None and ordinary:
        return Disguise(n_far=int(rng.choice([20, 100, 300])))
    return Disguise()


class Undressed:
    """An oracle of the tiny problem that takes points of the larger one, and looks at each of them once."""

    def __init__(self, oracle: Oracle, tiny: Problem, dressed: Problem):
        self._oracle = oracle
        self._n_features = tiny.rows.shape[1]
        self._known: dict[Vector, tuple[int, Fraction | float]] = {}
        self.rows = dressed.rows.tolist()

    def _look_up(self, point: Vector) -> tuple[int, Fraction | float]:
        tiny = tuple(point[: self._n_features])
        if tiny not in self._known:
            self._known[tiny] = (self._oracle.predict(tiny), self._oracle.squared_radius(tiny))
        return self._known[tiny]

    def predict(self, point: Vector) -> int:
        return self._look_up(point)[0]

    def squared_radius(self, point: Vector, label: int | None = None) -> Fraction | float:
        predicted, radius = self._look_up(point)
        return Fraction(0) if label is not None and label != predicted else radius

    def is_thin(self, point: Vector) -> bool:
        """Whether the class loses on a mere face at r*, which a single neighbour never does."""
        return isinstance(self._oracle, VoteOracle) and self._oracle.is_thin(point[: self._n_features])

    def has_lost(self, point: Vector, label: int) -> bool:
        return self._oracle.has_lost(point[: self._n_features], label)
