"""NCA: neighbourhood components analysis, with memory bounded by tiles."""

import math
import time
import warnings
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import OptimizeResult, minimize
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from certimetric import _native
from certimetric._progress import Report, progress_line
from certimetric._validation import (
    FloatArray,
    as_positive,
    as_tolerance,
    check_count,
    check_flag,
    check_seed,
    effective_jobs,
)
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
    r"""Neighbourhood components analysis.

    .. math:: \max_G \sum_i \sum_{j : y_j = y_i} p_{ij}, \qquad
        p_{ij} = \frac{\exp(-d^2(i, j))}{\sum_{l \ne i} \exp(-d^2(i, l))}

    by L-BFGS: objective, starts and rule of the end are those of
    :class:`sklearn.neighbors.NeighborhoodComponentsAnalysis`, of which no matrix of n² is made here.

    Parameters
    ----------
    n_components : int, optional
        Rows p of G; default: the number of features.
    init : "auto", "pca", "lda", "identity", "random" or array-like of shape (p, d), default="auto"
        G at first: principal axes, those of linear discriminant analysis, the identity, or normal numbers.
        "auto" is "lda" where it has p axes, else "pca" for fewer components than features, else "identity".
    max_iter : int, default=50
        Iterations of L-BFGS, of one or a few values of the objective each.
    tol : float, default=1e-5
        An iteration that raises the objective by no more than this share of it is the last one, as is one
        with no larger entry in the gradient.
    callback : callable, optional
        ``callback(progress)`` after each iteration, with a :class:`FitProgress`; True ends the fit.
    time_limit : float, optional
        Seconds; an iteration that is not whole by then does not count, but for the first one.
    progress : bool, default=False
        A line on standard error.
    n_jobs : int, optional
        Threads; they change no bit of the result.
    random_state : int, RandomState or None, optional
        Of "random" and "pca".

    Attributes
    ----------
    components_ : ndarray of shape (p, d)
        G.
    n_iter_ : int
        Iterations made.
    stop_reason_ : str
        "converged", "max_iter", "callback", "time_limit", "interrupted" or "loss not finite".
    history_ : dict of str to ndarray
        ``loss`` of each iteration: the mean chance of a neighbour of another class.

    Notes
    -----
    A value costs n² p in binary32, or 128 n² for p of 256 and more where few pairs are near, and p + d for
    each pair whose chance is more than 1e-13 of the nearest one's; others are left out. Where these are
    most, it costs 2 n² (p + d). Memory beside X: n (d + 1.5 p) numbers, 32 matrices of d², and up to 512 n
    numbers in each thread. SciPy's optimiser keeps its state to itself: there are no checkpoints.

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
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.init = init
        self.max_iter = max_iter
        self.tol = tol
        self.callback = callback
        self.time_limit = time_limit
        self.progress = progress
        self.n_jobs = n_jobs
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
        jobs = effective_jobs(self.n_jobs)
        data = self._labelled(X, y)
        start = self._start(data)
        with progress_line(label="NCA", unit="iterations") if self.progress else nullcontext() as line:
            ascent = _Ascent(data, start, jobs, self.max_iter, self.callback, deadline, line)
            self.stop_reason_ = ascent.run(self.tol)
        if self.stop_reason_ in ("interrupted", "loss not finite"):
            what = "was interrupted" if self.stop_reason_ == "interrupted" else "has no finite objective"
            warnings.warn(
                f"NCA {what} in iteration {ascent.n_iter + 1}: what was learned by the end of "
                f"iteration {ascent.n_iter} is kept.",
                ConvergenceWarning,
                stacklevel=2,
            )
        is_at_once = self.stop_reason_ == "converged" and ascent.n_iter <= 1 and self.tol < _LOOSE
        if is_at_once and _any_is_wrong(data, jobs):
            warnings.warn(
                "NCA has converged in its first iteration: distances may be too small or too large to learn "
                "from. Scale X to a span of about 1.",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.components_, self.n_iter_ = ascent.components, ascent.n_iter
        self.history_ = {"loss": np.array(ascent.losses)}
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

    def _start(self, data: Labelled) -> FloatArray:
        """Components before the first iteration."""
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
        init = self.init
        if init == "auto":
            # Classes may be more than the directions that tell them apart.
            init = "lda" if size <= most["lda"] else "pca" if size < most["pca"] else "identity"
        return _started(init, size, data, check_random_state(self.random_state))


def _started(init: str, size: int, data: Labelled, rng: np.random.RandomState) -> FloatArray:
    """The components that a name stands for."""
    features = data.rows.shape[1]
    if init == "identity":
        return np.eye(size, features)
    if init == "random":
        return rng.standard_normal((size, features))
    rows = data.rows - data.rows.mean(axis=0)
    if init == "pca":
        found = PCA(size, random_state=rng).fit(rows).components_
    else:
        found = LinearDiscriminantAnalysis(n_components=size).fit(rows, data.codes).scalings_.T[:size]
    return np.ascontiguousarray(found, dtype=np.float64)


def _any_is_wrong(data: Labelled, n_jobs: int) -> bool:
    """Whether a row is nearest to one of another class, so that there is something to learn."""
    near = find_neighbors(data, 1, 1, n_jobs)
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
    """Why there is no other iteration."""


@dataclass
class _Ascent:
    """Iterations of L-BFGS, and what they have come to."""

    data: Labelled
    components: FloatArray
    jobs: int
    max_iter: int
    callback: Callback | None
    deadline: float
    line: Report | None
    n_iter: int = 0
    losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        # The mean changes nothing but the rounding, and may be far away. A power of two changes no digit.
        centred = self.data.rows - self.data.rows.mean(axis=0)
        self._size = int(np.frexp(np.abs(centred).max())[1])
        self._rows = np.ldexp(centred, -self._size, out=centred)

    def run(self, tol: float) -> str:
        """Learn; the reason of the end."""
        try:
            minimize(
                self._objective,
                self.components.ravel(),
                method="L-BFGS-B",
                jac=True,
                tol=tol,
                callback=self._watch,
                options={"maxiter": self.max_iter},
            )
        except _EndError as reason:
            return str(reason)
        except KeyboardInterrupt:
            if not self.n_iter:
                raise
            return "interrupted"
        return "max_iter" if self.n_iter >= self.max_iter else "converged"

    def _objective(self, flat: FloatArray) -> tuple[float, FloatArray]:
        """What is minimised: the negative of the sum of chances, with its gradient."""
        if self.n_iter and time.monotonic() >= self.deadline:
            raise _EndError("time_limit")
        if not np.isfinite(flat).all():
            raise _EndError("loss not finite")
        components = np.ldexp(flat.reshape(self.components.shape), self._size)
        chances, gradient = _native.neighbor_chances(self._rows, self.data.codes, components, self.jobs)
        return -chances, -np.ldexp(gradient, self._size).ravel()

    # SciPy tells the value as well where the parameter has this name.
    def _watch(self, intermediate_result: OptimizeResult) -> None:
        self.components = intermediate_result.x.reshape(self.components.shape).copy()
        self.losses.append(1.0 + float(intermediate_result.fun) / len(self._rows))
        self.n_iter += 1
        if self.line is not None:
            self.line(self.n_iter, self.max_iter)
        record = {"loss": self.losses[-1]}
        progress = FitProgress(self.n_iter, self.max_iter, {"components": self.components}, record)
        try:
            is_told_to_stop = self.callback is not None and says_stop(self.callback(progress))
        except StopIteration as error:
            # SciPy would take it for the end of the fit.
            raise RuntimeError("callback raised StopIteration") from error
        if is_told_to_stop:
            raise _EndError("callback")
