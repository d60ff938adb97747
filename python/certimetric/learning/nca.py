"""NCA: neighbourhood components analysis, with memory bounded by tiles."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from certimetric import _native
from certimetric._validation import FloatArray, check_count
from certimetric.exceptions import InputError
from certimetric.learning._base import Labelled
from certimetric.learning._descent import Callback, Epoch, State, Values
from certimetric.learning._fitting import GradientLearner, initial_components
from certimetric.learning._large_margin import find_neighbors
from certimetric.learning._quasi_newton import QuasiNewton

__all__ = ["NCA"]

_INITS = ("auto", "pca", "lda", "identity", "random")

_LOOSE = 1e-3
"""A tolerance by which a fit may well end at once."""


class NCA(GradientLearner):
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
    warm_start : bool, default=False
        Go on from the last ``fit``.
    callback : callable, optional
        ``callback(progress)`` after each iteration, with a :class:`FitProgress`; True ends the fit.
    time_limit : float, optional
        Seconds; an iteration that is not whole by then does not count.
    checkpoint : path, optional
        A file that keeps the fit, every minute and at its end. Where it is there, and of these data and
        parameters, the fit goes on from it, to the same bits; ``max_iter`` may be another. ``random_state``
        is an integer then.
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
        Iterations made, in the messages epochs.
    stop_reason_ : str
        "converged", "max_iter", "callback", "time_limit", "interrupted" or "loss not finite".
    history_ : dict of str to ndarray
        ``loss`` of each iteration: the mean chance of a neighbour of another class.

    Notes
    -----
    A value costs n² p in binary32, or 128 n² for p of 256 and more where few pairs are near, and p + d for
    each pair whose chance is more than 1e-13 of the nearest one's; others are left out. Where these are
    most, it costs 2 n² (p + d). Memory beside X: n (d + 1.5 p) numbers, 64 matrices of p d, and up to 512 n
    numbers in each thread.

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

    early_stopping = False
    validation_fraction, n_iter_no_change = 0.1, 10

    def __init__(
        self,
        n_components: int | None = None,
        *,
        init: str | ArrayLike = "auto",
        max_iter: int = 50,
        tol: float = 1e-5,
        warm_start: bool = False,
        callback: Callback | None = None,
        time_limit: float | None = None,
        checkpoint: str | Path | None = None,
        progress: bool = False,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.init = init
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.callback = callback
        self.time_limit = time_limit
        self.checkpoint = checkpoint
        self.progress = progress
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.n_components is not None:
            check_count(self.n_components, "n_components")
        if isinstance(self.init, str) and self.init not in _INITS:
            raise InputError(f"init must be {', '.join(map(repr, _INITS))} or an array, got {self.init!r}.")
        if not np.isfinite(self.tol):
            raise InputError(f"tol must be finite, got {self.tol}.")

    def _check_steps(self) -> None:
        check_count(self.max_iter, "max_iter")

    def _begin(self, data: Labelled) -> Values:
        return QuasiNewton.begin(self._start(data))

    def _epochs(self, data: Labelled, jobs: int) -> Epoch:
        ascent = QuasiNewton(_objective(data, jobs), self.tol)

        def iteration(state: State) -> float:
            value = ascent.epoch(state)
            if state.converged and state.epoch == 0 and self.tol < _LOOSE and _any_is_wrong(data, jobs):
                warnings.warn(
                    "NCA has converged in its first iteration: distances may be too small or too large to "
                    "learn from. Scale X to a span of about 1.",
                    ConvergenceWarning,
                    stacklevel=5,
                )
            return 1.0 + value / len(data.rows)

        return iteration

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


def _objective(data: Labelled, jobs: int) -> Callable[[FloatArray], tuple[float, FloatArray]]:
    """What is minimised: the negative of the sum of chances, with its gradient."""
    # The mean changes nothing but the rounding, and may be far away. A power of two changes no digit.
    rows = data.rows - data.rows.mean(axis=0)
    size = int(np.frexp(np.abs(rows).max())[1])
    rows = np.ldexp(rows, -size, out=rows)

    def objective(components: FloatArray) -> tuple[float, FloatArray]:
        if not np.isfinite(components).all():
            return np.nan, np.zeros_like(components)
        chances, gradient = _native.neighbor_chances(rows, data.codes, np.ldexp(components, size), jobs)
        return -chances, -np.ldexp(gradient, size)

    return objective
