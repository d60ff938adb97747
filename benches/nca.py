"""NCA against scikit-learn: whole fits of both from the same start, and the objective that each ends with.

Both have the same objective, optimiser and number of iterations; scikit-learn takes differences of all pairs
in every iteration, and a matrix of n².
"""

import warnings
from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NeighborhoodComponentsAnalysis

from _data import Skipped, load
from _figures import Figure, Settings, Target, alternate, clock, compare
from certimetric.learning import NCA

_FEW = 1000
"""Rows beyond which a fit of scikit-learn's is timed once."""


def chances(X: NDArray[np.float64], y: NDArray[np.int64], components: NDArray[np.float64]) -> float:
    """The mean chance of a neighbour of one's own class: an oracle of both sides, of NumPy and SciPy."""
    images = (X - X.mean(axis=0)) @ components.T
    squared = cdist(images, images, "sqeuclidean")
    np.fill_diagonal(squared, np.inf)
    return float((softmax(-squared, axis=1) * (y[:, None] == y)).sum(axis=1).mean())


def fits(settings: Settings, name: str, target: float) -> Iterator[Figure]:
    """The published setting: from the identity, 100 iterations at most."""
    data = load(settings.data, name)
    X, y = data.X, data.y
    if settings.quick and len(X) > _FEW:
        raise Skipped("scikit-learn takes minutes: not in a quick run")
    ours = NCA(init="identity", max_iter=100, tol=1e-9, n_jobs=settings.threads)
    peer = NeighborhoodComponentsAnalysis(init="identity", max_iter=100, tol=1e-9)
    sides = {"NCA": clock(lambda: ours.fit(X, y)), "scikit-learn": clock(lambda: peer.fit(X, y))}
    few = len(X) <= _FEW
    with warnings.catch_warnings():
        # Of scikit-learn's, where it makes all its iterations.
        warnings.simplefilter("ignore", ConvergenceWarning)
        spent = alternate(sides, 3 if few else 1, warm_up=int(few))
    note = f"{ours.n_iter_} and {peer.n_iter_} iterations"
    work = f"a fit of NCA, {data.title}"
    yield compare(work, spent, "scikit-learn", Target(target, at_least=True), ours="NCA", note=note)
    ends = [chances(X, y, found.components_) for found in (ours, peer)]
    work = f"the chance it ends with over scikit-learn's, {data.title}"
    yield Figure(
        work,
        f"{ends[0]:.5f}",
        f"scikit-learn {ends[1]:.5f}",
        [ends[0] / ends[1]],
        target=Target(0.999, at_least=True),
    )


CASES = {
    "splice": partial(fits, name="splice", target=1.0),
    "satimage": partial(fits, name="satimage", target=5.0),
    "pendigits": partial(fits, name="pendigits", target=5.0),
}
