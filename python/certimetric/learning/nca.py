"""NCA: scikit-learn's neighbourhood components analysis, as a learner of this library."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.neighbors import NeighborhoodComponentsAnalysis

from certimetric._validation import FloatArray, as_tolerance, check_count
from certimetric.exceptions import InputError
from certimetric.learning._base import Labelled, MetricLearner
from certimetric.learning._fitting import initial_components

__all__ = ["NCA"]

_INITS = ("auto", "pca", "lda", "identity", "random")


class NCA(MetricLearner):
    r"""Neighbourhood components analysis, by scikit-learn.

    .. math:: \max_G \sum_i \sum_{j : y_j = y_i} p_{ij}, \qquad
        p_{ij} = \frac{\exp(-d^2(i, j))}{\sum_{l \ne i} \exp(-d^2(i, l))}

    Parameters
    ----------
    n_components, init, max_iter, tol, random_state
        As of :class:`sklearn.neighbors.NeighborhoodComponentsAnalysis`.

    Attributes
    ----------
    components_ : ndarray of shape (p, d)
        G.
    n_iter_ : int
        Iterations made.

    Notes
    -----
    Costs n² (p + d) an iteration; memory: some matrices of n².

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
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.init = init
        self.max_iter = max_iter
        self.tol = tol
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
        """
        self._check_parameters()
        data = self._labelled(X, y)
        given = {**self.get_params(deep=False), "init": self._first(data)}
        # The mean changes nothing but the rounding, and may be far away.
        rows = data.rows - data.rows.mean(axis=0)
        learner = NeighborhoodComponentsAnalysis(**given).fit(rows, data.codes)
        self.components_ = np.ascontiguousarray(learner.components_, dtype=np.float64)
        self.n_iter_ = int(learner.n_iter_)
        return self

    def _check_parameters(self) -> None:
        """Raise for parameters that are wrong whatever the data."""
        if self.n_components is not None:
            check_count(self.n_components, "n_components")
        if isinstance(self.init, str) and self.init not in _INITS:
            raise InputError(f"init must be {', '.join(map(repr, _INITS))} or an array, got {self.init!r}.")
        check_count(self.max_iter, "max_iter")
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
        most = {"pca": min(n, features), "lda": min(features, len(data.classes) - 1)}.get(self.init, features)
        if size > most:
            raise InputError(f"init={self.init!r} has {most} components here, but n_components is {size}.")
        return self.init
