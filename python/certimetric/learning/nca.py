"""NCA: scikit-learn's neighbourhood components analysis, as a learner of this library."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.neighbors import NeighborhoodComponentsAnalysis

from certimetric.learning._base import MetricLearner

__all__ = ["NCA"]


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
        data = self._labelled(X, y)
        # The mean changes nothing but the rounding, and may be far away.
        rows = data.rows - data.rows.mean(axis=0)
        learner = NeighborhoodComponentsAnalysis(**self.get_params(deep=False)).fit(rows, data.codes)
        self.components_ = np.ascontiguousarray(learner.components_, dtype=np.float64)
        self.n_iter_ = int(learner.n_iter_)
        return self
