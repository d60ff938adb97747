"""ITML: the metric nearest to the Euclidean one that holds pairs of one class near and other pairs far."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.distance import pdist
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from certimetric import _native
from certimetric._validation import FloatArray, IntArray, as_positive, as_tolerance, check_count
from certimetric.exceptions import InputError
from certimetric.learning._base import Labelled
from certimetric.learning._descent import Callback, Epoch, State, Values
from certimetric.learning._fitting import GradientLearner
from certimetric.metric import Mahalanobis

__all__ = ["ITML"]

_ROWS_FOR_BOUNDS = 2000


class ITML(GradientLearner):
    r"""Information-theoretic metric learning.

    .. math:: \min_{M \succeq 0} D_{ld}(M, I) + \gamma D_{ld}(\xi, \xi_0) \quad \text{with} \quad
        d^2(i, j) \le \xi_{ij} \text{ for near pairs}, \quad d^2(i, j) \ge \xi_{ij} \text{ for far pairs}

    with the LogDet divergence :math:`D_{ld}(A, B) = \operatorname{tr}(A B^{-1}) - \log\det(A B^{-1}) - d`.
    Pairs are drawn: near ones of one class, far ones of two. The slack variables ξ begin at two bounds.

    Parameters
    ----------
    n_constraints : int, optional
        Number of near pairs, and of far ones; default: 20 times the squared number of classes. There are
        fewer where the data has fewer.
    gamma : float, default=1.0
        γ; infinity: the bounds are kept.
    bounds : tuple of 2 floats, optional
        ξ₀ of near and of far pairs, squared distances. Default, as in published code: the 5th and the 95th
        percentile of the Euclidean distances, not squared, of the rows of the pairs, or of 2,000 of them.
    max_iter : int, default=1000
        Sweeps over all pairs.
    tol : float, default=1e-3
        Relative change of the multipliers in a sweep that is small enough to end.
    callback : callable, optional
        ``callback(progress)`` after each sweep, with a :class:`FitProgress` whose values are ``matrix``, M,
        the ``bounds`` ξ and the ``multipliers`` of the pairs; True ends the fit.
    time_limit : float, optional
        Seconds, after which no other sweep begins.
    checkpoint : path, optional
        A file that keeps the fit, every minute and at its end. Where it is there, and of these data and
        parameters, the fit goes on from it, to the same bits. ``random_state`` is an integer then.
    progress : bool, default=False
        A line on standard error.
    random_state : int, RandomState or None, optional
        Of the pairs.

    Attributes
    ----------
    components_ : ndarray of shape (p, d)
        G.
    bounds_ : ndarray of shape (2,)
    n_iter_ : int
        Sweeps made.
    stop_reason_ : str
        "converged", "max_iter", "callback", "time_limit", "interrupted" or "loss not finite".
    history_ : dict of str to ndarray
        ``loss``, the objective after each sweep, which comes to its least value under the constraints as
        these come to hold, up or down; ``change`` of the multipliers in each.

    Notes
    -----
    A sweep costs 2 d² for each pair. Where ``max_iter`` ends it there is a ``ConvergenceWarning``.

    References
    ----------
    Davis, Kulis, Jain, Sra, Dhillon: Information-theoretic metric learning. ICML 2007.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from certimetric.learning import ITML
    >>> ITML(gamma=0.1, random_state=0).fit(*load_iris(return_X_y=True)).components_.shape
    (4, 4)
    """

    # A dual method goes on from its own multipliers only, and its early metrics are of no use.
    warm_start = early_stopping = False
    validation_fraction, n_iter_no_change = 0.1, 10
    n_jobs = None

    def __init__(
        self,
        n_constraints: int | None = None,
        *,
        gamma: float = 1.0,
        bounds: tuple[float, float] | None = None,
        max_iter: int = 1000,
        tol: float = 1e-3,
        callback: Callback | None = None,
        time_limit: float | None = None,
        checkpoint: str | Path | None = None,
        progress: bool = False,
        random_state: Any = None,
    ) -> None:
        self.n_constraints = n_constraints
        self.gamma = gamma
        self.bounds = bounds
        self.max_iter = max_iter
        self.tol = tol
        self.callback = callback
        self.time_limit = time_limit
        self.checkpoint = checkpoint
        self.progress = progress
        self.random_state = random_state

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.n_constraints is not None:
            check_count(self.n_constraints, "n_constraints")
        if self.gamma is None or as_tolerance(self.gamma, "gamma") == 0:
            raise InputError(f"gamma must be positive, got {self.gamma}.")
        if self.bounds is None:
            return
        if np.shape(self.bounds) != (2,):
            raise InputError(f"bounds must be two numbers, for near and for far pairs; got {self.bounds!r}.")
        for bound in self.bounds:
            if as_positive(bound, "bounds") is None:
                raise InputError(f"bounds must be finite, got {self.bounds!r}.")

    def _check_steps(self) -> None:
        check_count(self.max_iter, "max_iter")

    def _settle(self, data: Labelled, jobs: int) -> None:  # noqa: ARG002 - others share work out
        """Draw the pairs."""
        rng = check_random_state(self.random_state)
        count = 20 * len(data.classes) ** 2 if self.n_constraints is None else self.n_constraints
        # More distinct pairs there are not.
        count = min(count, len(data.rows) ** 2)
        near, far = (draw_pairs(data.codes, count, rng, same) for same in (True, False))
        self._pairs = np.concatenate([near, far])
        self._signs = np.repeat([1.0, -1.0], [len(near), len(far)])
        self.bounds_ = self._bounds(data.rows[np.unique(self._pairs)], rng)

    def _bounds(self, rows: FloatArray, rng: np.random.RandomState) -> FloatArray:
        if self.bounds is not None:
            return np.asarray(self.bounds, dtype=np.float64)
        if len(rows) > _ROWS_FOR_BOUNDS:
            rows = rows[rng.choice(len(rows), _ROWS_FOR_BOUNDS, replace=False)]
        distances = pdist(rows)
        distances = distances[distances > 0]
        # Where all rows are the same no pair binds anything, whatever its bound.
        return np.percentile(distances, (5, 95)) if len(distances) else np.ones(2)

    def _begin(self, data: Labelled) -> Values:
        return {
            "matrix": np.eye(data.rows.shape[1]),
            "bounds": self._first_bounds(),
            "multipliers": np.zeros(len(self._signs)),
        }

    def _first_bounds(self) -> FloatArray:
        near, far = self.bounds_
        return np.asarray(np.where(self._signs > 0, near, far))

    def _epochs(self, data: Labelled, jobs: int) -> Epoch:  # noqa: ARG002 - pairs come one by one
        differences = data.rows[self._pairs[:, 0]] - data.rows[self._pairs[:, 1]]
        first = self._first_bounds()

        def sweep(state: State) -> float:
            matrix, bounds, before = (state.values[name] for name in ("matrix", "bounds", "multipliers"))
            matrix, bounds, multipliers = _native.bregman_sweep(
                matrix, differences, self._signs, bounds, before, float(self.gamma)
            )
            state.values = {"matrix": matrix, "bounds": bounds, "multipliers": multipliers}
            size = float(np.linalg.norm(before) + np.linalg.norm(multipliers))
            change = float(np.abs(multipliers - before).sum()) / size if size > 0 else 0.0
            state.history.setdefault("change", []).append(change)
            state.converged = change <= self.tol
            slack = self.gamma * _divergence(bounds / first) if np.isfinite(self.gamma) else 0.0
            values = np.asarray(np.linalg.eigvalsh(matrix))
            if values.min() > 0:
                return _divergence(values) + slack
            if state.epoch:
                return np.nan
            raise InputError(
                f"X has differences of {np.abs(differences).max():.3g}, with which ITML, that begins with "
                "M = I, comes to no metric in binary64. Scale X to a span of about 1."
            )

        return sweep

    def _learned(self, values: Values) -> None:
        if self.stop_reason_ == "max_iter":
            warnings.warn(
                f"ITML ends after {self.n_iter_} sweeps with a change of {self.history_['change'][-1]:.2g} "
                "in the last one; a larger max_iter or a smaller gamma brings it nearer to the solution.",
                ConvergenceWarning,
                stacklevel=4,
            )
        self.components_ = Mahalanobis.from_matrix(values["matrix"]).components_


def _divergence(ratios: FloatArray) -> float:
    """LogDet divergence of diagonal matrices, by the ratios of their entries; of eigenvalues: from I."""
    return float(np.sum(ratios - np.log(ratios) - 1))


def draw_pairs(codes: IntArray, count: int, rng: np.random.RandomState, same: bool) -> IntArray:
    """Up to ``count`` distinct pairs (m, 2) of rows, of one class or of two, in random order.

    The first row is uniform over all rows that have a partner, the second over its partners.
    """
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    starts = np.cumsum(sizes) - sizes
    partners = sizes[codes] - 1 if same else len(codes) - sizes[codes]
    anchors = np.flatnonzero(partners > 0)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    found = np.empty(0, dtype=np.int64)
    # As many rounds as published code has: small data may not have so many pairs.
    for _ in range(10):
        first = rng.choice(anchors, count - len(found))
        step = 1 + (rng.random_sample(len(first)) * partners[first]).astype(np.int64)
        begin, size = starts[codes[first]], sizes[codes[first]]
        # Cyclically on from the row itself within its class, or from the end of its class through the others.
        within = begin + (place[first] - begin + step) % size
        beyond = (begin + size + step - 1) % len(codes)
        second = order[within if same else beyond]
        found = np.unique(np.concatenate([found, first * len(codes) + second]))
        if len(found) == count:
            break
    rng.shuffle(found)
    return np.stack(np.divmod(found, len(codes)), axis=1)
