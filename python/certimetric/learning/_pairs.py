"""Squared distances of pairs and triplets of rows under a metric, and gradients of what depends on them.

All gradients are with respect to the matrix M; that with respect to components is 2 G times it.
"""

from typing import NamedTuple

import numpy as np

from certimetric import _native
from certimetric._validation import FloatArray, IntArray

__all__ = ["Pairs", "Sides", "Triplets", "Weighted"]


Weighted = tuple[IntArray, IntArray, FloatArray]
"""Rows of pairs, the first ones in order, and a weight for each."""


class Pairs:
    r"""Pairs (a, b) of rows, in any order and number; what is computed is computed once for each.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Around the origin.
    first, second : ndarray of shape (m,), int64
    n_jobs : int
        Threads.
    """

    def __init__(self, rows: FloatArray, first: IntArray, second: IntArray, n_jobs: int) -> None:
        self.rows, self.n_jobs = rows, n_jobs
        keys = np.minimum(first, second) * len(rows) + np.maximum(first, second)
        distinct, self.places = np.unique(keys, return_inverse=True)
        self.first, self.second = np.divmod(distinct, len(rows))

    def squares(self, images: FloatArray) -> FloatArray:
        r""":math:`\lVert a - b \rVert_2^2` of the pairs' rows in ``images``, ndarray of shape (m,)."""
        return _native.pair_squares(images, self.first, self.second, self.n_jobs)[self.places]

    def outer(self, weights: FloatArray) -> FloatArray:
        r""":math:`\sum w_{ab} (a - b)(a - b)^\top`, the gradient of :math:`\sum w_{ab} d^2(a, b)`."""
        return _native.pair_outer(self.rows, [self.weighted(weights)], self.n_jobs)

    def weighted(self, weights: FloatArray) -> Weighted:
        """The distinct pairs, each with the sum of its weights."""
        total = np.asarray(np.bincount(self.places, weights, minlength=len(self.first)), dtype=np.float64)
        return self.first, self.second, total


class Sides(NamedTuple):
    """One number for each of the three sides of every triplet (z, same, other)."""

    near: FloatArray
    """Of z and same."""
    far: FloatArray
    """Of z and other."""
    across: FloatArray
    """Of same and other."""


class Triplets:
    """Triplets (z, same, other) of rows.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Around the origin.
    triplets : ndarray of shape (t, 3), int64
    n_jobs : int
        Threads.
    """

    def __init__(self, rows: FloatArray, triplets: IntArray, n_jobs: int) -> None:
        self.rows = rows
        z, same, other = triplets.T
        self.near, self.far = Pairs(rows, z, same, n_jobs), Pairs(rows, z, other, n_jobs)
        self.across = Pairs(rows, same, other, n_jobs)

    def measure(self, components: FloatArray) -> Sides:
        r""":math:`d^2(z, x^+)`, :math:`d^2(z, x^-)` and :math:`\lVert M (x^+ - x^-) \rVert_2^2`."""
        images = self.rows @ components.T
        normals = images @ components
        across = self.across.squares(normals)
        # What is below the rounding of the two products is none.
        rounding = 4 * sum(components.shape) * np.finfo(np.float64).eps * np.abs(normals).max()
        across = np.where(across > rounding**2, across, 0.0)
        return Sides(self.near.squares(images), self.far.squares(images), across)

    def gradient(self, components: FloatArray, slopes: Sides) -> FloatArray:
        """Of a function of what :meth:`measure` gives, from its derivatives: ndarray of shape (d, d)."""
        across = components.T @ (components @ self.across.outer(slopes.across))
        return self.near.outer(slopes.near) + self.far.outer(slopes.far) + (across + across.T)
