"""Objectives of large-margin learners: near rows of the class pull, rows of other classes push.

Both are functions of the components that give their value and the gradient with respect to the matrix M.
"""

from typing import NamedTuple, Protocol

import numpy as np

from certimetric import _native
from certimetric._validation import FloatArray, IntArray
from certimetric.exceptions import InputError
from certimetric.learning._base import Labelled
from certimetric.learning._pairs import Pairs, Sides, Triplets
from certimetric.learning.perturbation import PerturbationLoss

__all__ = ["AllImpostors", "FixedTriplets", "MarginObjective", "Neighbors", "find_neighbors"]

_SMALLEST = 1e-150
"""Of radii with a weight of their own: its square is above the smallest binary64 number."""


class MarginObjective(Protocol):
    """A function of components G."""

    def __call__(self, components: FloatArray) -> tuple[float, FloatArray]:
        """Value, and gradient (d, d) with respect to M = GᵀG."""
        ...


class Neighbors(NamedTuple):
    """The nearest rows of each row, nearest first; −1 where there are no more."""

    same: IntArray
    """(n, k)"""
    other: IntArray
    """(n, q)"""


def find_neighbors(data: Labelled, n_same: int, n_other: int, n_jobs: int) -> Neighbors:
    """The nearest rows in the Euclidean metric."""
    rows, codes, classes = data
    most = len(rows) - 1
    n_same, n_other = min(n_same, most), min(n_other, most)
    search = _native.Neighborhood(rows, codes, len(classes), max(n_same, n_other))
    same, other = search.find(rows, np.eye(rows.shape[1]), n_jobs)
    return Neighbors(same[:, :n_same], other[:, :n_other])


class AllImpostors:
    r"""Sums over all rows, with the impostors of the metric at hand.

    .. math:: \mu \sum_{ij} d^2(i, j) + (1 - \mu) \sum_{ijl} [1 + d^2(i, j) - d^2(i, l)]_+

    over targets j of i and all l of other classes.
    """

    def __init__(self, data: Labelled, targets: IntArray, pull: float, n_jobs: int) -> None:
        self.rows, self.codes = data.rows - data.rows.mean(axis=0), data.codes
        self.pull, self.n_jobs = pull, n_jobs
        self.present = targets >= 0
        self.targets = Pairs(self.rows, np.nonzero(self.present)[0], targets[self.present], n_jobs)
        self.impostors = _native.Impostors()

    def __call__(self, components: FloatArray) -> tuple[float, FloatArray]:
        """See :class:`MarginObjective`.

        Cost: ``n² (p + d) / 2``, or where impostors are few and G has changed little ``2 n d (p + d)``.
        """
        push = 1 - self.pull
        images = self.rows @ components.T
        near = self.targets.squares(images)
        limits = np.full(self.present.shape, -np.inf)
        limits[self.present] = 1 + near
        found, few, outer = self.impostors.find(self.rows, images, self.codes, limits, self.n_jobs)
        counts = found[self.present]
        lists = [self.targets.weighted(self.pull + push * counts.astype(np.float64))]
        if few is not None:
            first, second, times, reached = few
            lists.append((first, second, -push * times))
        gradient = _native.pair_outer(self.rows, lists, self.n_jobs)
        if outer is not None:
            # The impostors' squared distances are ⟨M, outer⟩.
            reached = float(np.sum((components @ outer) * components))
            gradient -= push * outer
        pushed = float(counts @ (1 + near)) - reached
        return float(self.pull * near.sum() + push * pushed), gradient


class FixedTriplets:
    r"""Means over targets and over triplets that stay as they are, and the perturbation loss as a third term.

    .. math:: \mu \operatorname{mean} d^2(i, j) + (1 - \mu) \operatorname{mean} [1 + d^2(i, j) - d^2(i, l)]_+
        + \lambda \operatorname{mean} \ell(i, j, l)
    """

    def __init__(
        self,
        data: Labelled,
        near: Neighbors,
        pull: float,
        weight: float | None,
        radius: float | None,
        n_jobs: int,
    ) -> None:
        self.rows = data.rows - data.rows.mean(axis=0)
        self.pull = pull
        i, slot = np.nonzero(near.same >= 0)
        self.targets = Pairs(self.rows, i, near.same[i, slot], n_jobs)
        self.triplets = Triplets(self.rows, _triplets(near), n_jobs)
        self.loss = PerturbationLoss(self._median_radius() if radius is None else radius)
        if weight is None and self.loss.radius < _SMALLEST:
            found = f"it is {self.loss.radius:.3g}, {'the median of X' if radius is None else 'as given'}"
            raise InputError(f"radius must be at least {_SMALLEST} where perturbation='auto'; {found}.")
        # Without a weight of its own a triplet costs between 0 and 1.
        self.weight = self.loss.radius**-2 if weight is None else weight

    def _median_radius(self) -> float:
        """The median radius of the triplets in the Euclidean metric; 1 where no radius is positive."""
        sides = self.triplets.measure(np.eye(self.rows.shape[1]))
        right = (sides.far > sides.near) & (sides.across > 0)
        radii = (sides.far - sides.near)[right] / (2 * np.sqrt(sides.across[right]))
        return float(np.median(radii)) if len(radii) else 1.0

    def __call__(self, components: FloatArray) -> tuple[float, FloatArray]:
        """See :class:`MarginObjective`. Cost: ``2 n d (p + d)``, and ``d`` for each distinct pair."""
        push = 1 - self.pull
        pairs = self.targets.squares(self.rows @ components.T)
        sides = self.triplets.measure(components)
        gaps = 1 + sides.near - sides.far
        hinge = push * (gaps > 0) / len(gaps)
        lost, slopes = self.loss.of_sides(sides)
        slopes = Sides(
            self.weight * slopes.near + hinge, self.weight * slopes.far - hinge, self.weight * slopes.across
        )
        value = self.pull * pairs.mean() + float(hinge @ gaps) + self.weight * lost
        gradient = self.targets.outer(np.full(len(pairs), self.pull / len(pairs)))
        return float(value), gradient + self.triplets.gradient(components, slopes)


def _triplets(near: Neighbors) -> IntArray:
    """Every row with each of its targets and each of its impostors, (t, 3)."""
    present = (near.same >= 0)[:, :, None] & (near.other >= 0)[:, None, :]
    i, j, k = np.nonzero(present)
    return np.column_stack([i, near.same[i, j], near.other[i, k]])
