"""The perturbation of least norm that brings some training rows before others, by a general QP solver.

For rows i *inside* and o *outside*, seen from a point z in the metric of components G,

    min ‖δ‖₂  s.t.  d²(z + δ, x_i) ≤ t ≤ d²(z + δ, x_o)    for all i and o, t free,

is solved without t: one half-space for each pair (i, o), since what is quadratic in δ cancels in
``d²(z + δ, x_i) − d²(z + δ, x_o)``. The most violated pair is added until none is left.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from oracles.quadratic import GAP, Array, least_norm

Indices = NDArray[np.intp]
Pair = tuple[int, int]
"""A row inside and a row outside."""


class Relaxation(NamedTuple):
    """A proven bound on the norm, the least point, the pairs that prove it."""

    bound: float
    delta: Array
    pairs: list[Pair]


class Scene:
    """Training rows (n, d) seen from z in the metric of components G (p, d)."""

    def __init__(self, z: Array, rows: Array, g: Array):
        # Not a matrix product: rows that are equal must stay equal to the last bit.
        self.images = np.einsum("ij,kj->ik", rows - z, g)
        self.pulls = 2 * self.images @ g
        self.squared = np.einsum("ij,ij->i", self.images, self.images)

    def order(self) -> Indices:
        """All rows, nearest to z first, ties to the lowest index."""
        return np.argsort(self.squared, kind="stable")

    def heights(self, delta: Array) -> Array:
        """``d²(z + δ, x_k)`` up to a term that is common to all rows."""
        return self.squared - self.pulls @ delta

    def coinciding(self) -> list[Pair]:
        """Neighbouring pairs of rows at distance 0 in the metric, the lower index first."""
        _, where, counts = np.unique(self.images, axis=0, return_inverse=True, return_counts=True)
        groups = (np.flatnonzero(where.ravel() == group) for group in np.flatnonzero(counts > 1))
        return [pair for group in groups for pair in itertools.pairwise(group.tolist())]

    def relax(self, inside: Indices, outside: Indices, pairs: list[Pair], limit: float) -> Relaxation:
        """Least δ with all rows inside at most as far as all outside, or a bound that reaches ``limit``.

        ``pairs`` are those to begin with, of the same rows.
        """
        delta, weights, bound = np.zeros(self.pulls.shape[1]), np.zeros(0), 0.0
        while True:
            if pairs:
                delta, weights, bound = least_norm(*self._half_spaces(pairs))
            worst = self._worst(inside, outside, delta, bound)
            if bound >= limit or worst is None or worst in pairs:
                proof = [pair for pair, weight in zip(pairs, weights, strict=True) if weight > 0]
                return Relaxation(bound, delta, proof)
            pairs = [*pairs, worst]

    def _worst(self, inside: Indices, outside: Indices, delta: Array, bound: float) -> Pair | None:
        """The farthest row inside and the nearest outside, if they are the wrong way round."""
        if not (len(inside) and len(outside)):
            return None
        heights = self.heights(delta)
        i, o = int(inside[heights[inside].argmax()]), int(outside[heights[outside].argmin()])
        apart = float(np.linalg.norm(self.pulls[o] - self.pulls[i]))
        rounding = GAP * bound * apart + 1e-14 * max(self.squared[i], self.squared[o])
        return (i, o) if heights[i] - heights[o] > rounding else None

    def _half_spaces(self, pairs: Sequence[Pair]) -> tuple[Array, Array]:
        """``a·δ ≤ b``, a of length 1: the first row of a pair is at most as far as the second."""
        i, o = np.array(pairs).T
        normals = self.pulls[o] - self.pulls[i]
        lengths = np.linalg.norm(normals, axis=1)
        return normals / lengths[:, None], self._lead(i, o) / lengths

    def _lead(self, i: Indices, o: Indices) -> Array:
        """``d²(z, x_o) − d²(z, x_i)`` as a product, which does not cancel."""
        return np.einsum("ij,ij->i", self.images[o] - self.images[i], self.images[o] + self.images[i])

    def triplet_radii(self, own: Indices, j: int) -> Array:
        """Distances at which row j, all others left out, overtakes each of the rows ``own``."""
        apart = np.linalg.norm(self.pulls[own] - self.pulls[j], axis=1)
        lead = np.maximum(self._lead(own, np.full_like(own, j)), 0.0)
        return np.divide(lead, apart, out=np.zeros_like(lead), where=apart > 0)
