"""Recipes of :mod:`certimetric.testing`: rows, test points, labels and metrics, from a seeded generator.

An ordinary recipe draws rows and test points from one cloud. A nasty one draws few rows that stand in a
relation which rounding destroys, and the places where that relation matters; test points are these places and
the neighbourhood of rows and of midpoints between them, where answers change.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from certimetric._validation import FloatArray, IntArray

__all__ = ["METRICS", "NASTY", "ORDINARY", "components", "matrix", "nasty", "ordinary"]

Generator = np.random.Generator


class Sketch(NamedTuple):
    """Rows (n, d) and places (s, d) worth a test point."""

    rows: FloatArray
    places: FloatArray


def ordinary(
    rng: Generator, kind: str, n_rows: int, n_points: int, n_features: int, n_classes: int
) -> tuple[FloatArray, IntArray, FloatArray]:
    """Rows, labels and test points from one cloud; labels follow a direction with some noise."""
    total = n_rows + n_points
    cloud = ORDINARY[kind](rng, total, n_features, n_classes)
    direction = rng.normal(size=n_features)
    # The noise makes radii of all sizes.
    score = cloud @ direction + 0.3 * np.std(cloud @ direction) * rng.normal(size=total)
    labels = np.searchsorted(np.quantile(score, np.arange(1, n_classes) / n_classes), score)
    return cloud[:n_rows], labels[:n_rows].astype(np.int64), cloud[n_rows:]


def _blobs(rng: Generator, count: int, n_features: int, n_classes: int) -> FloatArray:
    centers = 3 * rng.normal(size=(n_classes, n_features))
    return np.asarray(centers[rng.integers(0, n_classes, size=count)] + rng.normal(size=(count, n_features)))


def _uniform(rng: Generator, count: int, n_features: int, _: int) -> FloatArray:
    return rng.random((count, n_features))


def _integers(rng: Generator, count: int, n_features: int, _: int) -> FloatArray:
    return rng.integers(-5, 6, size=(count, n_features)).astype(float)


def _curved(rng: Generator, count: int, n_features: int, _: int) -> FloatArray:
    rows: FloatArray = np.sin(rng.normal(size=(count, 2)) @ rng.normal(size=(2, n_features)))
    rows += 0.05 * rng.normal(size=rows.shape)
    return rows


ORDINARY: dict[str, Callable[[Generator, int, int, int], FloatArray]] = {
    "blobs": _blobs,
    "uniform": _uniform,
    "integers": _integers,
    "curved": _curved,
}


def nasty(
    rng: Generator, kind: str, n_rows: int, n_points: int, n_features: int, n_classes: int
) -> tuple[FloatArray, IntArray, FloatArray]:
    """Rows, labels that ignore where the rows are, so that the closest differ in class, and test points."""
    sketch = NASTY[kind](rng, n_rows, n_features)
    alone = kind == "lonely"
    labels = rng.permutation(n_rows) if alone else rng.integers(0, n_classes, size=n_rows)
    points = np.array([_point(rng, sketch) for _ in range(n_points)])
    return sketch.rows, labels, points.reshape(n_points, n_features)


def _point(rng: Generator, sketch: Sketch) -> FloatArray:
    """A special place, a row, a midpoint, one of these with its last digits changed, or any point nearby."""
    rows, places = sketch
    i, j = rng.integers(len(rows), size=2)
    choice = rng.integers(5)
    if choice == 0:
        return np.asarray(places[rng.integers(len(places))])
    if choice == 1:
        return np.asarray(rows[i])
    if choice == 2:
        return np.asarray((rows[i] + rows[j]) / 2)
    if choice == 3:
        return _nudged(rng, (rows[i] + rows[j]) / 2)
    spread = np.abs(rows - rows[i]).max() + np.abs(rows[i]).max() * 2.0**-20
    return np.asarray(rows[i] + spread * rng.normal(size=len(rows[i])))


def _nudged(rng: Generator, values: FloatArray) -> FloatArray:
    """Each number as it is, or the next binary64 number below or above."""
    steps = rng.integers(-1, 2, size=values.shape)
    return np.where(steps == 0, values, np.nextafter(values, np.inf * np.where(steps < 0, -1, 1)))


def _grid(rng: Generator, count: int, n_features: int) -> Sketch:
    """Integers from -2 to 2: exact ties, rows that coincide; places between them."""
    rows = rng.integers(-2, 3, size=(count, n_features)).astype(float)
    return Sketch(rows, rng.integers(-6, 7, size=(4, n_features)) / 2)


def _duplicates(rng: Generator, count: int, n_features: int) -> Sketch:
    """Half as many different rows as rows: the same row comes back, as often as not in another class."""
    base = rng.normal(size=((count + 1) // 2, n_features))
    return Sketch(base[rng.integers(len(base), size=count)], base)


def _cospherical(rng: Generator, count: int, n_features: int) -> Sketch:
    """Rows equally far from an integer centre, exactly: one vector with its entries and signs exchanged."""
    radius = rng.integers(0, 6, size=n_features)
    center = rng.integers(-4, 5, size=n_features)
    rows = [center + rng.choice([-1, 1], n_features) * rng.permutation(radius) for _ in range(count)]
    return Sketch(np.array(rows, dtype=float), center[None].astype(float))


def _near_ties(rng: Generator, count: int, n_features: int) -> Sketch:
    """Rows equally far from a centre but for the rounding, with their last digits changed on top."""
    radius, center = rng.normal(size=n_features), rng.normal(size=n_features)
    rows = [center + rng.choice([-1, 1], n_features) * rng.permutation(radius) for _ in range(count)]
    return Sketch(_nudged(rng, np.array(rows)), center[None])


def _collinear(rng: Generator, count: int, n_features: int) -> Sketch:
    """Rows on one line, exactly (integers) or up to rounding."""
    exact = rng.random() < 0.5
    start, way = rng.integers(-3, 4, size=(2, n_features)) if exact else rng.normal(size=(2, n_features))
    rows = start + rng.integers(-4, 5, size=(count, 1)) * way
    return Sketch(rows.astype(float), (start + rng.integers(-8, 9, size=(3, 1)) / 2 * way).astype(float))


def _clusters(rng: Generator, count: int, n_features: int) -> Sketch:
    """A few places with rows 1e-12 apart around each."""
    base = rng.normal(size=((count + 2) // 3, n_features))
    rows = base[rng.integers(len(base), size=count)] + 1e-12 * rng.normal(size=(count, n_features))
    return Sketch(rows, base)


def _decades(rng: Generator, count: int, n_features: int) -> Sketch:
    """Magnitudes from 1 down to where binary64 ends, each number its own."""
    depth = rng.choice([3.0, 20.0, 160.0, 323.0])
    rows = rng.normal(size=(count, n_features)) * 10.0 ** -rng.uniform(0, depth, size=(count, n_features))
    return Sketch(rows, np.zeros((1, n_features)))


def _remote(rng: Generator, count: int, n_features: int) -> Sketch:
    """Rows that are near to one another for places that are many orders of magnitude away."""
    away = 10.0 ** rng.uniform(0, rng.choice([10.0, 160.0, 300.0]), size=(4, 1))
    return Sketch(rng.normal(size=(count, n_features)), away * rng.normal(size=(4, n_features)))


def _lonely(rng: Generator, count: int, n_features: int) -> Sketch:
    """A class for every row."""
    return Sketch(rng.normal(size=(count, n_features)), np.zeros((1, n_features)))


NASTY: dict[str, Callable[[Generator, int, int], Sketch]] = {
    "grid": _grid,
    "duplicates": _duplicates,
    "cospherical": _cospherical,
    "near_ties": _near_ties,
    "collinear": _collinear,
    "clusters": _clusters,
    "decades": _decades,
    "remote": _remote,
    "lonely": _lonely,
}


METRICS = (
    "euclidean",
    "full",
    "low_rank",
    "tall",
    "diagonal",
    "blind",
    "grid",
    "ill",
    "nearly_singular",
    "huge",
    "tiny",
    "matrix",
    "matrix_low_rank",
    "matrix_diagonal",
    "matrix_blind",
    "matrix_grid",
    "matrix_ill",
    "matrix_indefinite",
    "matrix_huge",
    "matrix_tiny",
)


def matrix(rng: Generator, n_features: int, metric: str) -> FloatArray | None:
    """M (d, d) of a metric that is given by it, symmetric, and semidefinite up to rounding; else None."""
    if not metric.startswith("matrix"):
        return None
    kind = metric.removeprefix("matrix").removeprefix("_")
    like = {"": "full", "ill": "full", "indefinite": "low_rank", "huge": "full", "tiny": "full"}.get(
        kind, kind
    )
    g = components(rng, n_features, like)
    if kind == "ill":
        g = _with_condition(g, 1e6)
    m = g.T @ g * {"huge": 1e140, "tiny": 1e-150}.get(kind, 1.0)
    if kind == "indefinite":
        m = np.tril(_nudged(rng, m))
        m += np.tril(m, -1).T
    return (m + m.T) / 2


def components(rng: Generator, n_features: int, metric: str) -> FloatArray:
    """G (p, d) of a metric, not 0."""
    height = {"low_rank": max(1, n_features // 2), "tall": n_features + 2}.get(metric, n_features)
    g = rng.normal(size=(height, n_features))
    if metric == "diagonal":
        return np.diag(np.exp(rng.normal(size=n_features)))
    if metric == "blind" and n_features > 1:
        g[:, rng.integers(n_features)] = 0.0
    if metric == "grid":
        g = rng.integers(-2, 3, size=(int(rng.integers(1, 4)), n_features)).astype(float)
        g[0, 0] += not g.any()
    if metric == "ill":
        g = _with_condition(g, 1e16)
    if metric == "nearly_singular":
        g = _nudged(rng, np.broadcast_to(g[:1], (n_features + 1, n_features)))
    if metric in ("huge", "tiny"):
        g *= {"huge": 1e140, "tiny": 1e-150}[metric]
    return g


def _with_condition(g: FloatArray, condition: float) -> FloatArray:
    """The same singular vectors, with singular values from 1 down to 1 over the condition."""
    left, _, right = np.linalg.svd(g)
    return np.asarray(left * np.geomspace(1.0, 1.0 / condition, len(left)) @ right)
