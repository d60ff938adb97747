"""Data that breaks certifiers, for tests of your own: ties, duplicates, extreme scales, ill metrics.

Everything comes from a seed. :func:`make_problem` and :func:`random_problem` need numpy alone;
:func:`problems` is a strategy of hypothesis that draws the arguments of the former, so that a failure
shrinks to few rows and is one call again.

==================  ====================================================================================
``grid``            integers from -2 to 2: exact ties of distances and votes, rows that coincide
``duplicates``      rows that come back, as often as not in another class
``cospherical``     rows equally far from a centre, exactly
``near_ties``       rows equally far from a centre but for the last digits
``collinear``       rows on one line, exactly or up to rounding
``clusters``        rows 1e-12 apart
``decades``         magnitudes from 1 down to subnormal numbers in one data set
``remote``          test points up to 300 orders of magnitude away from all rows
``lonely``          a class for every row
``blobs``           ordinary data, as are ``uniform``, ``integers`` from -5 to 5, ``curved`` (near a surface)
==================  ====================================================================================

Metrics are Euclidean or given by components G: ``full``, ``low_rank``, ``tall`` (more rows than columns),
``diagonal``, ``blind`` (a column of zeros), ``grid`` (small integers, so that ties stay ties), ``ill``
(condition 1e16), ``nearly_singular`` (rows that differ in last digits), ``huge`` and ``tiny``; or by a matrix
M: ``matrix`` and, with the same words, ``matrix_low_rank`` and so on (``matrix_ill`` has condition 1e12), and
``matrix_indefinite``, of low rank but for the last digits of its entries.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from certimetric import _recipes
from certimetric._optional import require
from certimetric._validation import LARGEST, FloatArray, IntArray, check_count
from certimetric.exceptions import InputError
from certimetric.metric import Mahalanobis

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = ["KINDS", "METRICS", "NASTY", "SCALES", "Problem", "make_problem", "problems", "random_problem"]

NASTY = tuple(_recipes.NASTY)
"""Kinds of data that are chosen for the trouble they make."""

KINDS = (*NASTY, *_recipes.ORDINARY)
"""All kinds of data."""

METRICS = _recipes.METRICS
"""All kinds of metrics."""

SCALES = (1.0, 5e-324, 2.0**-1060, 1e-300, 1e-200, 2.0**-512, 1e-30, 1e30, 2.0**256, 1e100, 1e140, 1e150)
"""Factors of the data: powers of two keep ties, others change last digits; 1 is ordinary."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A training set, test points and a metric, all in the range that the library accepts.

    Attributes
    ----------
    rows : ndarray of shape (n, d), float64
    labels : ndarray of shape (n,), int64
    points : ndarray of shape (m, d), float64
        Test points.
    components : ndarray of shape (p, d), float64, or None
        G of the metric.
    matrix : ndarray of shape (d, d), float64, or None
        M of the metric. Where both are None, it is Euclidean.
    """

    rows: FloatArray
    labels: IntArray
    points: FloatArray
    components: FloatArray | None = None
    matrix: FloatArray | None = None

    @property
    def metric(self) -> Any:
        """The metric as :class:`~certimetric.CertifiedKNeighborsClassifier` takes it."""
        if self.matrix is not None:
            return Mahalanobis.from_matrix(self.matrix)
        return "euclidean" if self.components is None else Mahalanobis.from_components(self.components)

    def snippet(self) -> str:
        """Lines of Python that make the same arrays, to the last bit; they import numpy as ``np``."""
        shown = {"rows": self.rows, "labels": self.labels, "points": self.points}
        lines = [f"{name} = np.array({array.tolist()})" for name, array in shown.items()]
        for name, array in (("components", self.components), ("matrix", self.matrix)):
            lines.append(f"{name} = " + ("None" if array is None else f"np.array({array.tolist()})"))
        return "\n".join(lines)


def make_problem(
    seed: int,
    n_rows: int = 8,
    n_features: int = 2,
    kind: str = "grid",
    metric: str = "euclidean",
    n_points: int = 6,
    scale: float = 1.0,
) -> Problem:
    """A problem of one kind; the same arguments make the same one.

    Parameters
    ----------
    seed : int
        At least 0.
    n_rows, n_features, n_points : int
        Shapes: training rows n, features d, test points m.
    kind : str
        One of :data:`KINDS`.
    metric : str
        One of :data:`METRICS`.
    scale : float
        Factor of the data, positive. Data and metric that would pass the range of the library (magnitudes of
        1e150, for the data and for its product with the norm of G) are brought back to its end.

    Returns
    -------
    Problem
        Of two to four classes, as far as the rows go round; of n for ``kind="lonely"``.

    Raises
    ------
    ValueError, TypeError
        An unknown kind or metric, a count below 1, a scale that is not positive and finite.
    """
    sizes = {"n_rows": n_rows, "n_features": n_features, "n_points": n_points}
    n, d, m = (check_count(value, name) for name, value in sizes.items())
    _check_choice("kind", kind, KINDS)
    _check_choice("metric", metric, METRICS)
    if not 0 < scale < np.inf:
        raise InputError(f"scale must be positive and finite, got {scale!r}.")
    rng = np.random.default_rng(check_count(seed, "seed", least=0))
    n_classes = int(rng.integers(2, 5))
    recipe = _recipes.nasty if kind in NASTY else _recipes.ordinary
    rows, labels, points = recipe(rng, kind, n, m, d, n_classes)
    matrix = _recipes.matrix(rng, d, metric)
    plain = matrix is not None or metric == "euclidean"
    components = None if plain else _recipes.components(rng, d, metric)
    factor = min(scale, _room(rows, points))
    rows, points = rows * factor, points * factor
    if components is not None:
        # The Frobenius norm is at least the spectral one; the squares of its entries may not overflow.
        peak = np.abs(components).max()
        norm = np.linalg.norm(components / peak) * peak
        components = components * min(1.0, _room(rows, points) / norm)
    if matrix is not None:
        peak = np.abs(matrix).max()
        norm = np.sqrt(np.linalg.norm(matrix / peak)) * np.sqrt(peak)
        matrix = matrix * min(1.0, _room(rows, points) / norm) ** 2
    return Problem(rows, labels, points, components, matrix)


def _check_choice(name: str, value: object, available: Sequence[str]) -> None:
    if value not in available:
        raise InputError(f"{name} must be one of {', '.join(available)}; got {value!r}.")


def _check_not_empty(**choices: Sequence[object]) -> None:
    for name, values in choices.items():
        if len(values) == 0:
            raise InputError(f"{name} is empty, but at least one is needed.")


def _room(*arrays: FloatArray) -> float:
    """What all numbers may be multiplied by without passing the largest one allowed, nor 1e150 itself."""
    largest = max(1.0, *(float(np.abs(array).max()) for array in arrays))
    # A hundredth for rounding, and for the bound on the norm of G that the library computes.
    return 0.99 * LARGEST / largest


def random_problem(
    seed: int,
    *,
    kinds: Sequence[str] = KINDS,
    metrics: Sequence[str] = METRICS,
    scales: Sequence[float] = SCALES,
    max_rows: int = 8,
    max_features: int = 3,
    n_points: int = 6,
) -> Problem:
    """A problem whose kind, metric, scale and size come from the seed as well.

    Two in five at least have the Euclidean metric if it is among ``metrics``, three in four at least the
    first of ``scales``.

    Raises
    ------
    ValueError, TypeError
        As for :func:`make_problem`; an empty sequence.
    """
    rng = np.random.default_rng([check_count(seed, "seed", least=0), 1])
    _check_not_empty(kinds=kinds, metrics=metrics, scales=scales)
    euclidean = "euclidean" in metrics and rng.random() < 0.4
    metric = "euclidean" if euclidean else str(rng.choice(list(metrics)))
    return make_problem(
        seed,
        int(rng.integers(1, check_count(max_rows, "max_rows") + 1)),
        int(rng.integers(1, check_count(max_features, "max_features") + 1)),
        str(rng.choice(list(kinds))),
        metric,
        n_points,
        float(scales[0] if rng.random() < 0.75 else rng.choice(scales)),
    )


def problems(
    *,
    kinds: Sequence[str] = KINDS,
    metrics: Sequence[str] = METRICS,
    scales: Sequence[float] = SCALES,
    min_rows: int = 1,
    max_rows: int = 8,
    max_features: int = 3,
    n_points: int = 6,
) -> "SearchStrategy[Problem]":
    """A strategy of problems for hypothesis.

    Examples shrink to the first kind, metric and scale, and to few rows and features.

    Raises
    ------
    MissingDependencyError
        hypothesis is not installed; the extra ``testing`` has it.

    Examples
    --------
    >>> from hypothesis import given
    >>> from certimetric import CertifiedKNeighborsClassifier, testing
    >>> @given(testing.problems())
    ... def test_intervals_are_intervals(problem):
    ...     clf = CertifiedKNeighborsClassifier(metric=problem.metric).fit(problem.rows, problem.labels)
    ...     cert = clf.certify(problem.points)
    ...     assert (cert.lower <= cert.upper).all()
    """
    _check_not_empty(kinds=kinds, metrics=metrics, scales=scales)
    st = require("hypothesis.strategies", extra="testing")
    strategy: SearchStrategy[Problem] = st.builds(
        make_problem,
        seed=st.integers(0, 2**32 - 1),
        n_rows=st.integers(min_rows, max_rows),
        n_features=st.integers(1, max_features),
        kind=st.sampled_from(list(kinds)),
        metric=st.sampled_from(list(metrics)),
        n_points=st.just(n_points),
        scale=st.sampled_from(list(scales)),
    )
    return strategy
