"""LFDA: directions in which classes lie apart while rows that are near within a class stay near."""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from certimetric._validation import FloatArray, check_count
from certimetric.exceptions import InputError
from certimetric.learning._base import Labelled, MetricLearner

__all__ = ["LFDA"]

_SMALLEST = 1e-10
"""A spread within the classes of less than this share of the whole counts as this share."""

_TILE = 1024
"""Rows whose affinities to all others of the class are kept at a time."""


class LFDA(MetricLearner):
    r"""Local Fisher discriminant analysis.

    .. math:: S_b v = \lambda S_w v, \qquad v^\top S_w v = 1, \qquad
        S = \tfrac12 \sum_{ij} W_{ij} (x_i - x_j)(x_i - x_j)^\top

    Within a class of :math:`n_c` rows :math:`W^w = A / n_c` and :math:`W^b = A (1/n - 1/n_c)`; between
    classes they are 0 and 1/n. The affinity is
    :math:`A_{ij} = \exp(-\lVert x_i - x_j \rVert^2 / (\sigma_i \sigma_j))` with :math:`\sigma_i` the distance
    to a near row of the class. The rows of G are :math:`\sqrt{\max(\lambda, 0)} \, v` of the largest λ.

    Parameters
    ----------
    n_components : int, optional
        Rows p of G; default: the number of features. There are fewer where the rows of X span fewer.
    n_neighbors : int, optional
        σ is the distance to this near row of the class, or to the farthest where there are fewer; default:
        7, or with up to 7 features one less than these.

    Attributes
    ----------
    components_ : ndarray of shape (p, d)
        G.
    eigenvalues_ : ndarray of shape (p,)
        λ, in falling order, each above −1; where classes have no spread of their own it is 1e10.

    Notes
    -----
    Costs n_c² d for each class, and d³; memory: some matrices of n_c². The published tables of robust
    metrics come from code with other affinities and :math:`\sqrt{\lambda + 2}` for lengths: their numbers for
    LFDA are not those of its definition.

    References
    ----------
    Sugiyama: Dimensionality reduction of multimodal labeled data by local Fisher discriminant analysis.
    JMLR 2007.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from certimetric.learning import LFDA
    >>> LFDA(2).fit_transform(*load_iris(return_X_y=True)).shape
    (150, 2)
    """

    def __init__(self, n_components: int | None = None, *, n_neighbors: int | None = None) -> None:
        self.n_components = n_components
        self.n_neighbors = n_neighbors

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
            NaN, infinity, wrong shapes or types, a single class, rows that are all the same, parameters
            out of range.
        """
        if self.n_neighbors is not None:
            check_count(self.n_neighbors, "n_neighbors")
        data = self._labelled(X, y)
        features = data.rows.shape[1]
        size = features
        if self.n_components is not None:
            size = check_count(self.n_components, "n_components", features, "n_features")
        near = min(7, features - 1) if self.n_neighbors is None else self.n_neighbors
        # A power of two changes no digit of the directions, and keeps squares in range.
        exponent = int(np.frexp(float(np.ptp(data.rows, axis=0).max()))[1])
        scaled = data._replace(rows=np.ldexp(data.rows - data.rows.mean(axis=0), -exponent))
        values, directions = _discriminants(*_scatters(scaled, max(near, 1)))
        self.eigenvalues_ = values[:size]
        lengths = np.sqrt(np.maximum(self.eigenvalues_, 0.0))
        with np.errstate(over="ignore"):
            components = np.ldexp(lengths[:, None] * directions[:size], -exponent)
        if not np.isfinite(components).all():
            raise InputError(f"X spans {2.0**exponent:.3g}, too little for components in binary64. Scale X.")
        self.components_ = components
        return self


def _scatters(data: Labelled, near: int) -> tuple[FloatArray, FloatArray]:
    """S_b + S_w, whose weights are A / n within classes and 1 / n between them, and S_w; of centred rows."""
    rows, codes, classes = data
    n = len(rows)
    within = np.zeros((rows.shape[1], rows.shape[1]))
    # Between all rows 1 / n; then those of one class get theirs.
    mixture = rows.T @ rows
    for code in range(len(classes)):
        own = rows[codes == code]
        local, whole = _local_scatter(own, near), _scatter(own)
        within += local / len(own)
        mixture += (local - len(own) * whole) / n
    return mixture, within


def _scatter(rows: FloatArray) -> FloatArray:
    """Σ (x − mean)(x − mean)ᵀ."""
    centred = rows - rows.mean(axis=0)
    return np.asarray(centred.T @ centred)


def _local_scatter(rows: FloatArray, near: int) -> FloatArray:
    """½ Σ A_ij (x_i − x_j)(x_i − x_j)ᵀ, some rows of A at a time."""
    rows = rows - rows.mean(axis=0)
    near = min(near, len(rows) - 1)
    tiles = [slice(start, start + _TILE) for start in range(0, len(rows), _TILE)]
    sigma = np.sqrt(np.concatenate([_near_squares(_squares_to_all(rows, tile), near) for tile in tiles]))
    degrees, product = np.zeros(len(rows)), np.zeros((rows.shape[1], rows.shape[1]))
    for tile in tiles:
        scale = np.outer(sigma[tile], sigma)
        exponents = _squares_to_all(rows, tile) / np.where(scale > 0, scale, 1.0)
        affinity = np.where(scale > 0, np.exp(-exponents), 0.0)
        degrees[tile] = affinity.sum(axis=1)
        product += rows[tile].T @ (affinity @ rows)
    return np.asarray(rows.T @ (degrees[:, None] * rows) - product)


def _squares_to_all(rows: FloatArray, tile: slice) -> FloatArray:
    """Squared distances of some rows to all."""
    part, squares = rows[tile], (rows**2).sum(axis=1)
    distances = np.maximum(squares[tile, None] + squares - 2 * part @ rows.T, 0.0)
    distances[np.arange(len(part)), tile.start + np.arange(len(part))] = 0.0
    return np.asarray(distances)


def _near_squares(distances: FloatArray, near: int) -> FloatArray:
    """Each row's squared distance to the row of that place; place 0 is the row itself."""
    return np.asarray(np.partition(distances, near, axis=1)[:, near])


def _discriminants(mixture: FloatArray, within: FloatArray) -> tuple[FloatArray, FloatArray]:
    """λ in falling order and directions (p, d) with vᵀ S_w v = 1, in the range of the mixture.

    Where the mixture is I the spread within classes ω is between 0 and 1, and λ = (1 − ω) / ω.
    """
    sizes, axes = np.linalg.eigh(mixture)
    kept = sizes > len(sizes) * np.finfo(np.float64).eps * sizes[-1]
    if not kept.any():
        raise InputError("X has rows that are all the same, but LFDA needs two that differ.")
    whitening = axes[:, kept] / np.sqrt(sizes[kept])
    spreads, turned = np.linalg.eigh(whitening.T @ within @ whitening)
    spreads = np.maximum(spreads, _SMALLEST)
    directions = (whitening @ turned).T / np.sqrt(spreads)[:, None]
    return (1 - spreads) / spreads, directions
