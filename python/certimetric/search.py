"""Exact neighbours, distances and triplet radii as plain functions of arrays.

Results are exact to binary64 rounding wherever the data's origin lies, ties go to the lowest index, and
neither the number of threads nor the number of queries changes a bit of them.
"""

from typing import Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from certimetric import _native
from certimetric._resolve import MetricLike, as_metric, check_range
from certimetric._rotation import principal_axes
from certimetric._validation import (
    FloatArray,
    IntArray,
    as_labels,
    as_rows,
    broadcast_rows,
    check_count,
    effective_jobs,
)
from certimetric.metric import Mahalanobis, as_native

__all__ = ["build_index", "kneighbors", "pairwise_distances", "triplet_radius"]


def _metric_of(metric: MetricLike, **arguments: FloatArray) -> Mahalanobis:
    """The metric of some arguments, given by their names; all are in its range."""
    resolved = as_metric(metric, next(iter(arguments.values())).shape[1])
    for name, rows in arguments.items():
        check_range(resolved, rows, name)
    return resolved


def build_index(
    rows: FloatArray, codes: IntArray, n_classes: int, metric: Mahalanobis, n_jobs: int = 1
) -> _native.Index:
    """Training rows prepared for search and certification.

    Parameters
    ----------
    rows : ndarray of shape (n, d), float64, C-contiguous
        Borrowed, not copied: they must not change as long as the index is in use.
    codes : ndarray of shape (n,), int64
        Class codes 0 ... n_classes - 1.
    n_classes : int
    metric : Mahalanobis
    n_jobs : int
        Number of threads.
    """
    rotation = principal_axes(rows, None if metric.is_euclidean else metric.components_)
    return _native.Index(rows, codes, n_classes, as_native(metric), rotation, n_jobs)


def kneighbors(
    Z: ArrayLike,
    X: ArrayLike,
    n_neighbors: int = 1,
    *,
    y: ArrayLike | None = None,
    metric: MetricLike = "euclidean",
    squared: bool = False,
    n_jobs: int | None = None,
) -> tuple[FloatArray, IntArray]:
    r"""The k nearest rows of ``X`` by :math:`(z - x)^\top M (z - x)`, over all rows or per class.

    Parameters
    ----------
    Z : array-like of shape (m, d)
        Queries.
    X : array-like of shape (n, d)
        Rows to search.
    n_neighbors : int, default=1
        k, at most n.
    y : array-like of shape (n,), optional
        Labels of ``X``: search each class on its own.
    metric : "euclidean", Mahalanobis, array-like of shape (d, d), or fitted learner
    squared : bool, default=False
        Return squared distances.
    n_jobs : int, optional
        Number of threads, as in scikit-learn; it does not change the result.

    Returns
    -------
    distances : ndarray of shape (m, k), or (m, n_classes, k) with ``y``, float64
        Increasing; ``inf`` where a class has fewer than k rows.
    indices : ndarray of the same shape, int64
        Rows of ``X``; equal distances in increasing order; -1 where a class has fewer than k rows. Classes
        are in the order of ``numpy.unique(y)``.

    Raises
    ------
    InputError, InputTypeError
        Wrong shapes, types or values of an argument, which is named.

    Notes
    -----
    Builds an index of ``X`` at each call, a few passes over the data; to search the same rows again and again
    use :class:`CertifiedKNeighborsClassifier`. Memory: one rotated copy of ``X`` and the results.
    """
    rows = as_rows(X, "X")
    queries = as_rows(Z, "Z", rows.shape[1])
    count = check_count(n_neighbors, "n_neighbors", len(rows))
    resolved = _metric_of(metric, X=rows, Z=queries)
    jobs = effective_jobs(n_jobs)
    if y is None:
        index = build_index(rows, np.zeros(len(rows), dtype=np.int64), 1, resolved, jobs)
        return index.kneighbors(queries, count, squared, jobs)
    classes, codes = np.unique(as_labels(y, len(rows)), return_inverse=True)
    index = build_index(rows, codes.astype(np.int64), len(classes), resolved, jobs)
    return index.kneighbors_per_class(queries, count, squared, jobs)


def pairwise_distances(
    X: ArrayLike,
    Y: ArrayLike | None = None,
    *,
    metric: MetricLike = "euclidean",
    squared: bool = False,
    n_jobs: int | None = None,
) -> FloatArray:
    r"""All distances :math:`\sqrt{(x - y)^\top M (x - y)}`, accurate for nearly equal rows too.

    Parameters
    ----------
    X : array-like of shape (m, d)
    Y : array-like of shape (n, d), optional
        Default: ``X``.
    metric : "euclidean", Mahalanobis, array-like of shape (d, d), or fitted learner
    squared : bool, default=False
        Return squared distances.
    n_jobs : int, optional
        Number of threads; it does not change the result.

    Returns
    -------
    ndarray of shape (m, n), float64
        Identical rows are at distance 0 exactly.

    Raises
    ------
    InputError, InputTypeError
        Wrong shapes, types or values of an argument, which is named.

    Notes
    -----
    O(m n p) time. Differences are formed first, so nothing cancels where the data lies far from the origin.
    """
    left = as_rows(X, "X")
    right = left if Y is None else as_rows(Y, "Y", left.shape[1])
    resolved = _metric_of(metric, X=left, Y=right)
    return _native.pairwise_distances(left, right, as_native(resolved), squared, effective_jobs(n_jobs))


@overload
def triplet_radius(
    Z: ArrayLike,
    X_same: ArrayLike,
    X_other: ArrayLike,
    metric: MetricLike = ...,
    *,
    return_perturbation: Literal[False] = ...,
    n_jobs: int | None = ...,
) -> FloatArray: ...
@overload
def triplet_radius(
    Z: ArrayLike,
    X_same: ArrayLike,
    X_other: ArrayLike,
    metric: MetricLike = ...,
    *,
    return_perturbation: Literal[True],
    n_jobs: int | None = ...,
) -> tuple[FloatArray, FloatArray]: ...
def triplet_radius(
    Z: ArrayLike,
    X_same: ArrayLike,
    X_other: ArrayLike,
    metric: MetricLike = "euclidean",
    *,
    return_perturbation: bool = False,
    n_jobs: int | None = None,
) -> FloatArray | tuple[FloatArray, FloatArray]:
    r"""Smallest perturbation of z after which x⁻ is at least as close as x⁺, in closed form.

    .. math::

        \tilde\epsilon = \frac{d^2(z, x^-) - d^2(z, x^+)}{2 \lVert M (x^+ - x^-) \rVert_2}

    Parameters
    ----------
    Z, X_same, X_other : array-like of shape (m, d)
        Rows z, x⁺ and x⁻; an argument of one row is repeated.
    metric : "euclidean", Mahalanobis, array-like of shape (d, d), or fitted learner
    return_perturbation : bool, default=False
        Also return the perturbation that attains the radius.
    n_jobs : int, optional
        Number of threads; it does not change the result.

    Returns
    -------
    radii : ndarray of shape (m,), float64
        Signed, in the input space's ℓ2 norm: negative where x⁻ is the closer one already; 0 where the two
        coincide under the metric. It does not depend on the metric's scale.
    perturbations : ndarray of shape (m, d), float64
        Only with ``return_perturbation``; zero where the radius is not positive.

    Raises
    ------
    InputError, InputTypeError
        Wrong shapes, types or values of an argument, which is named.

    References
    ----------
    Wang, Liu, Yi, Jiang, Hsieh: Provably Robust Metric Learning, NeurIPS 2020 (arXiv 2006.07024).
    """
    given = {"Z": as_rows(Z, "Z")}
    for name, argument in (("X_same", X_same), ("X_other", X_other)):
        given[name] = as_rows(argument, name, given["Z"].shape[1])
    resolved = _metric_of(metric, **given)
    queries, same, other = broadcast_rows(given)
    radii, perturbations = _native.triplet_radius(
        queries, same, other, as_native(resolved), return_perturbation, effective_jobs(n_jobs)
    )
    return radii if perturbations is None else (radii, perturbations)
