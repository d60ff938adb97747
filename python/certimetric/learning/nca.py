"""NCA: scikit-learn's neighbourhood components analysis, as a learner of this library."""

import math
import time
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NeighborhoodComponentsAnalysis

from certimetric._progress import Report, progress_line
from certimetric._validation import FloatArray, as_positive, as_tolerance, check_count, check_flag, check_seed
from certimetric.exceptions import InputError, InputTypeError
from certimetric.learning._base import Labelled, MetricLearner
from certimetric.learning._descent import Callback, FitProgress, says_stop
from certimetric.learning._fitting import initial_components
from certimetric.learning._large_margin import find_neighbors

__all__ = ["NCA"]

_INITS = ("auto", "pca", "lda", "identity", "random")

_LOOSE = 1e-3
"""A tolerance by which a fit may well end at once."""


class NCA(MetricLearner):
    r"""Neighbourhood components analysis, by scikit-learn.

    .. math:: \max_G \sum_i \sum_{j : y_j = y_i} p_{ij}, \qquad
        p_{ij} = \frac{\exp(-d^2(i, j))}{\sum_{l \ne i} \exp(-d^2(i, l))}

    Parameters
    ----------
    n_components, init, max_iter, tol, random_state
        As of :class:`sklearn.neighbors.NeighborhoodComponentsAnalysis`.
    callback : callable, optional
        ``callback(progress)`` after each iteration, with a :class:`FitProgress` whose record is empty; True
        ends the fit.
    time_limit : float, optional
        Seconds, after which no other iteration begins.
    progress : bool, default=False
        A line on standard error.

    Attributes
    ----------
    components_ : ndarray of shape (p, d)
        G.
    n_iter_ : int
        Iterations made.
    stop_reason_ : str
        "converged", "max_iter", "callback", "time_limit" or "interrupted".

    Notes
    -----
    Costs n² (p + d) an iteration; memory: some matrices of n². scikit-learn's optimiser keeps its state to
    itself: there are no checkpoints.

    References
    ----------
    Goldberger, Hinton, Roweis, Salakhutdinov: Neighbourhood components analysis. NIPS 2004.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from certimetric.learning import NCA
    >>> NCA(2, random_state=0).fit(*load_iris(return_X_y=True)).components_.shape
    (2, 4)
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        init: str | ArrayLike = "auto",
        max_iter: int = 50,
        tol: float = 1e-5,
        callback: Callback | None = None,
        time_limit: float | None = None,
        progress: bool = False,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.init = init
        self.max_iter = max_iter
        self.tol = tol
        self.callback = callback
        self.time_limit = time_limit
        self.progress = progress
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn from labelled rows.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : array-like of shape (n,)
            Class labels: integers, strings or booleans.

        Raises
        ------
        ValueError, TypeError
            NaN, infinity, wrong shapes or types, a single class, continuous targets, parameters out of range.

        Notes
        -----
        Ctrl-C after the first iteration ends the fit with a ``ConvergenceWarning`` and what was learned so
        far.
        """
        limit = as_positive(self.time_limit, "time_limit")
        deadline = math.inf if limit is None else time.monotonic() + limit
        self._check_parameters()
        data = self._labelled(X, y)
        own = {name: getattr(self, name) for name in ("n_components", "max_iter", "tol", "random_state")}
        # The mean changes nothing but the rounding, and may be far away.
        rows = data.rows - data.rows.mean(axis=0)
        with progress_line(label="NCA", unit="iterations") if self.progress else nullcontext() as line:
            watch = _Watch(self.max_iter, data.rows.shape[1], self.callback, deadline, line)
            learner = NeighborhoodComponentsAnalysis(**own, init=self._first(data), callback=watch)
            try:
                learner.fit(rows, data.codes)
                watch.components = learner.components_
                self.stop_reason_ = "max_iter" if watch.n_iter >= self.max_iter else "converged"
            except _EndError as reason:
                self.stop_reason_ = str(reason)
            except KeyboardInterrupt:
                if watch.components is None:
                    raise
                self.stop_reason_ = "interrupted"
        if self.stop_reason_ == "interrupted":
            warnings.warn(
                f"NCA was interrupted in iteration {watch.n_iter + 1}: what was learned by the end of "
                f"iteration {watch.n_iter} is kept.",
                ConvergenceWarning,
                stacklevel=2,
            )
        is_at_once = self.stop_reason_ == "converged" and watch.n_iter <= 1 and self.tol < _LOOSE
        if is_at_once and _any_is_wrong(data):
            warnings.warn(
                "NCA has converged in its first iteration: distances may be too small or too large to learn "
                "from. Scale X to a span of about 1.",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.components_ = np.ascontiguousarray(watch.components, dtype=np.float64)
        self.n_iter_ = watch.n_iter
        return self

    def _check_parameters(self) -> None:
        """Raise for parameters that are wrong whatever the data."""
        if self.n_components is not None:
            check_count(self.n_components, "n_components")
        if isinstance(self.init, str) and self.init not in _INITS:
            raise InputError(f"init must be {', '.join(map(repr, _INITS))} or an array, got {self.init!r}.")
        check_count(self.max_iter, "max_iter")
        check_flag(self.progress, "progress")
        check_seed(self.random_state)
        if self.callback is not None and not callable(self.callback):
            raise InputTypeError(f"callback must be callable or None, got {self.callback!r}.")
        if not np.isfinite(as_tolerance(self.tol, "tol")):
            raise InputError(f"tol must be finite, got {self.tol}.")

    def _first(self, data: Labelled) -> str | FloatArray:
        """``init``, where it goes with the data."""
        n, features = data.rows.shape
        size = features
        if self.n_components is not None:
            size = check_count(self.n_components, "n_components", features, "n_features")
        if not isinstance(self.init, str):
            components = initial_components(self.init, self.n_components, data)
            if len(components) > features:
                raise InputError(f"init has {len(components)} rows, but X has {features} features.")
            return components
        most = {"pca": min(n, features), "lda": _discriminants(data, size)}
        if size > most.get(self.init, features):
            found = most[self.init]
            raise InputError(f"init={self.init!r} has {found} components here, but n_components is {size}.")
        if self.init == "auto" and most["lda"] < size <= len(data.classes) - 1:
            # scikit-learn would count classes alone, and learn fewer components than it was asked for.
            return "pca" if size < most["pca"] else "identity"
        return self.init


def _any_is_wrong(data: Labelled) -> bool:
    """Whether a row is nearest to one of another class, so that there is something to learn."""
    near = find_neighbors(data, 1, 1, 1)
    own, other = (
        np.linalg.norm(data.rows - data.rows[rows[:, 0]], axis=1) + np.where(rows[:, 0] < 0, np.inf, 0.0)
        for rows in near
    )
    return bool((other < own).any())


def _discriminants(data: Labelled, most: int) -> int:
    """How many directions tell the classes apart: fewer than there are classes and features."""
    centred = data.rows - data.rows.mean(axis=0)
    means = np.array([centred[data.codes == code].mean(axis=0) for code in range(len(data.classes))])
    return int(min(most, np.linalg.matrix_rank(means), len(data.classes) - 1))


class _EndError(Exception):
    """Why no other iteration begins."""


@dataclass
class _Watch:
    """What scikit-learn calls after each iteration."""

    max_iter: int
    features: int
    callback: Callback | None
    deadline: float
    line: Report | None
    components: FloatArray | None = None
    n_iter: int = 0

    def __call__(self, transformation: FloatArray, _: int) -> None:
        # Its own count begins at the first value of the objective.
        self.components, self.n_iter = transformation.reshape(-1, self.features).copy(), self.n_iter + 1
        if self.line is not None:
            self.line(self.n_iter, self.max_iter)
        progress = FitProgress(self.n_iter, self.max_iter, {"components": self.components}, {})
        try:
            is_told_to_stop = self.callback is not None and says_stop(self.callback(progress))
        except StopIteration as error:
            # SciPy would take it for the end of the fit.
            raise RuntimeError("callback raised StopIteration") from error
        if is_told_to_stop:
            raise _EndError("callback")
        if time.monotonic() >= self.deadline:
            raise _EndError("time_limit")
