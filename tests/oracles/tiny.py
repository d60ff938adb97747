"""Tiny data sets on which the rational oracle answers at once, drawn at random or by hypothesis.

Small integers produce what real data seldom has and code often gets wrong: ties, duplicates, the same row
under two labels, test points on a cell's wall. A tie is exact on the grid and stays exact under the metrics
drawn here.
"""

import random
from dataclasses import dataclass, replace

from hypothesis import strategies as st

Matrix = list[list[float]]

NASTY = [0.1, 1 / 3, 1e-8, 1 + 2**-52, 2**-30, 3.0000000000000004]
"""Numbers without a short binary expansion, or next to one that has."""


@dataclass(frozen=True)
class TinyCase:
    """A training set, components G or a matrix M (else Euclidean), test points. Its repr reproduces it."""

    rows: Matrix
    labels: list[int]
    components: Matrix | None
    points: Matrix
    matrix: Matrix | None = None


def with_matrix(case: TinyCase) -> TinyCase:
    """The same under a matrix that is semidefinite to the last digit: GᵀG of integers, else diagonal."""
    if case.components is None:
        return case
    width = range(len(case.points[0]))
    if all(value == int(value) for row in case.components for value in row):
        matrix = [[sum(row[i] * row[j] for row in case.components) for j in width] for i in width]
    else:
        matrix = [[abs(case.components[0][i]) * (i == j) for j in width] for i in width]
    return replace(case, components=None, matrix=matrix) if any(map(any, matrix)) else case


def random_case(rng: random.Random, n_points: int = 10, matrices: bool = False) -> TinyCase:
    """One data set of at most 8 rows in at most 3 dimensions, and some test points.

    With ``matrices`` half of the metrics that are not Euclidean are given by M.
    """
    n_features = rng.randint(1, 3)
    n_rows = rng.randint(1, 8)
    n_classes = rng.choice([1, 2, 2, 2, 3])
    number = rng.choice([_coarse, _coarse, _fine, _real])

    def matrix(height: int) -> Matrix:
        return [[number(rng) for _ in range(n_features)] for _ in range(height)]

    rows, points = matrix(n_rows), matrix(n_points)
    if rng.random() < 0.3:
        rows[-1] = list(rng.choice(rows))
    if rng.random() < 0.3:
        points[0] = list(rng.choice(rows))
    if rng.random() < 0.2:
        points[-1] = [(a + b) / 2 for a, b in zip(rng.choice(rows), rng.choice(rows), strict=True)]
    labels = [rng.randrange(n_classes) for _ in range(n_rows)]
    case = TinyCase(rows, labels, _random_components(rng, n_features), points)
    return with_matrix(case) if matrices and rng.random() < 0.5 else case


def _coarse(rng: random.Random) -> float:
    return float(rng.randint(-2, 2))


def _fine(rng: random.Random) -> float:
    return float(rng.randint(-20, 20))


def _real(rng: random.Random) -> float:
    return rng.choice(NASTY) * rng.choice([-1, 1]) if rng.random() < 0.1 else rng.gauss(0.0, 1.0)


def _random_components(rng: random.Random, n_features: int) -> Matrix | None:
    if rng.random() < 0.4:
        return None
    height = rng.randint(1, 3)
    number = rng.choice([_coarse, _real])
    components = [[number(rng) for _ in range(n_features)] for _ in range(height)]
    if rng.random() < 0.15:
        for row in components:
            row[0] = 0.0
    return components if any(map(any, components)) else None


def _numbers() -> st.SearchStrategy[st.SearchStrategy[float]]:
    grid = st.integers(-3, 3).map(float)
    wide = st.integers(-1000, 1000).map(float)
    real = st.floats(-8, 8, allow_subnormal=False) | st.sampled_from(NASTY)
    return st.sampled_from([grid, wide, real])


def _matrices(number: st.SearchStrategy[float], height: int, width: int) -> st.SearchStrategy[Matrix]:
    return st.lists(st.lists(number, min_size=width, max_size=width), min_size=height, max_size=height)


@st.composite
def metrics(draw: st.DrawFn, n_features: int) -> Matrix | None:
    """Euclidean, or components up to 3 × d: low rank, zero columns and repeated rows included, G = 0 not."""
    if draw(st.booleans()):
        return None
    number = draw(st.sampled_from([st.integers(-2, 2).map(float), st.floats(-2, 2, allow_subnormal=False)]))
    components = draw(_matrices(number, draw(st.integers(1, 3)), n_features))
    return components if any(map(any, components)) else None


@st.composite
def tiny_cases(draw: st.DrawFn, euclidean: bool = False, matrices: bool = False) -> TinyCase:
    """A data set with one test point; about half have a duplicated row or a point on a row or a wall.

    With ``matrices`` half of the metrics that are not Euclidean are given by M.
    """
    n_features = draw(st.integers(1, 3))
    n_rows = draw(st.integers(1, 8))
    number = draw(_numbers())
    rows = draw(_matrices(number, n_rows, n_features))
    point = draw(_matrices(number, 1, n_features))[0]
    coincidence = draw(st.sampled_from(["none", "none", "none", "rows", "point", "middle"]))
    i, j = draw(st.integers(0, n_rows - 1)), draw(st.integers(0, n_rows - 1))
    if coincidence == "rows":
        rows[j] = list(rows[i])
    elif coincidence == "point":
        point = list(rows[i])
    elif coincidence == "middle":
        point = [(a + b) / 2 for a, b in zip(rows[i], rows[j], strict=True)]
    labels = draw(st.lists(st.integers(0, 2), min_size=n_rows, max_size=n_rows))
    components = None if euclidean else draw(metrics(n_features))
    case = TinyCase(rows, labels, components, [point])
    return with_matrix(case) if matrices and draw(st.booleans()) else case
