r"""The metric: a Mahalanobis distance given by its components.

:math:`d(u, v) = \lVert G (u - v) \rVert_2` with components ``G`` of shape (p, d); Euclidean is ``G = I``. The
stored components *are* the metric that is searched and certified: the classifier is a definite function of
them. Where a matrix ``M`` is given, its components are computed once (:meth:`Mahalanobis.from_matrix`) and
``GᵀG`` is certified, which equals ``M`` up to the rounding of one eigenvalue decomposition.
"""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.covariance import EmpiricalCovariance, LedoitWolf, ShrunkCovariance

from certimetric import _native
from certimetric._validation import FloatArray, as_rows, as_tolerance, check_count
from certimetric.exceptions import InputError, MetricError

__all__ = ["Mahalanobis"]


class Mahalanobis:
    r"""Mahalanobis metric :math:`d(u, v)^2 = (u - v)^\top M (u - v)`, with :math:`M = G^\top G`.

    Immutable. Make one with :meth:`euclidean`, :meth:`from_matrix`, :meth:`from_components` or
    :meth:`from_covariance`.

    Notes
    -----
    Rows X that are searched or certified must have :math:`\lVert G \rVert_2 \cdot \max |X|` of at most 1e150,
    with :attr:`spectral_norm_bound` for the norm, lest squared distances overflow. Radii do not depend on the
    scale of the metric: divide G by a power of two.

    Examples
    --------
    >>> import numpy as np
    >>> from certimetric import Mahalanobis
    >>> metric = Mahalanobis.from_matrix([[4.0, 0.0], [0.0, 1.0]])
    >>> metric.pair_distance(np.array([[[0.0, 0.0], [1.0, 0.0]]]))
    array([2.])
    """

    __slots__ = ("_components", "_n_features", "_norm")

    _components: FloatArray | None
    _n_features: int | None
    _norm: float | None  # computed when first asked for

    def __init__(self) -> None:
        raise TypeError("use Mahalanobis.euclidean, from_matrix, from_components or from_covariance")

    @classmethod
    def _make(cls, components: FloatArray | None, n_features: int | None) -> Self:
        metric = object.__new__(cls)
        object.__setattr__(metric, "_components", components)
        object.__setattr__(metric, "_n_features", n_features)
        object.__setattr__(metric, "_norm", None if components is not None else 1.0)
        return metric

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Mahalanobis is immutable: cannot set {name!r}")

    @classmethod
    def euclidean(cls, n_features: int | None = None) -> Self:
        """The Euclidean metric, of any number of features or of a given one."""
        return cls._make(None, None if n_features is None else check_count(n_features, "n_features"))

    @classmethod
    def from_components(cls, components: ArrayLike) -> Self:
        r"""Metric :math:`d(u, v) = \lVert G (u - v) \rVert_2`.

        Parameters
        ----------
        components : array-like of shape (p, d)
            G. Any p: low rank (p < d) is allowed. Copied.

        Raises
        ------
        InputError, InputTypeError
            Not a finite real matrix.
        """
        matrix = as_rows(components, "components").copy()
        matrix.flags.writeable = False
        return cls._make(matrix, matrix.shape[1])

    @classmethod
    def from_matrix(cls, matrix: ArrayLike, *, tol: float = 1e-10) -> Self:
        r"""Metric :math:`d(u, v)^2 = (u - v)^\top M (u - v)`.

        The components are ``sqrt(w) Vᵀ`` of the eigenvalue decomposition ``M = V diag(w) Vᵀ``, largest first;
        eigenvalues that are zero, or negative within ``tol``, are dropped, and none else.

        Parameters
        ----------
        matrix : array-like of shape (d, d)
            Symmetric positive semidefinite.
        tol : float, default=1e-10
            How far from symmetric, relative to the largest entry, and how negative an eigenvalue, relative to
            the largest one, may be through rounding.

        Raises
        ------
        MetricError
            Not square, not symmetric, or not positive semidefinite.
        InputError, InputTypeError
            Not a finite real matrix, or ``tol`` is not a number of at least 0.

        Notes
        -----
        Costs one symmetric eigenvalue decomposition, O(d³).
        """
        tolerance = as_tolerance(tol, "tol")
        symmetric, exponent = _checked_matrix(matrix, tolerance)
        values, vectors = np.linalg.eigh(symmetric)
        _check_semidefinite(values, tolerance)
        keep = np.flatnonzero(values > 0)[::-1]
        if keep.size == 0:
            # A row of zeros stands for M = 0, so that the components are never an empty array.
            return cls.from_components(np.zeros((1, len(values))))
        components = np.sqrt(values[keep])[:, None] * vectors.T[keep]
        return cls.from_components(np.ldexp(components, exponent))

    @classmethod
    def from_covariance(cls, X: ArrayLike, *, shrinkage: str | float | None = "ledoit-wolf") -> Self:
        r"""Metric with the inverse covariance of the data, :math:`M = \hat\Sigma^{-1}`.

        Parameters
        ----------
        X : array-like of shape (n, d)
        shrinkage : "ledoit-wolf", float in [0, 1] or None, default="ledoit-wolf"
            Estimator of the covariance: scikit-learn's ``LedoitWolf``, ``ShrunkCovariance(shrinkage)`` or
            ``EmpiricalCovariance``.

        Raises
        ------
        MetricError
            The covariance is singular (fewer samples than features, constant features), or ``shrinkage`` is
            none of the above.
        """
        rows = as_rows(X, "X")
        if len(rows) < 2:
            raise InputError(f"X has {len(rows)} row, but a covariance needs at least 2.")
        # A power of two changes no digit and keeps the squares of extreme values in range.
        exponent = int(np.frexp(float(np.abs(rows).max()))[1])
        values, vectors = np.linalg.eigh(_covariance(np.ldexp(rows, -exponent), shrinkage))
        if values[0] <= values.size * np.finfo(np.float64).eps * values[-1]:
            raise MetricError(
                f"the covariance of X is singular (smallest over largest eigenvalue: "
                f"{values[0] / values[-1] if values[-1] > 0 else 0.0:.3g}) and has no inverse. "
                "Use shrinkage='ledoit-wolf' or shrinkage=0.1, or remove constant and repeated features."
            )
        return cls.from_components(np.ldexp(vectors.T / np.sqrt(values)[:, None], -exponent))

    @property
    def n_features(self) -> int | None:
        """Number of features d; None for a Euclidean metric of any dimension."""
        return self._n_features

    @property
    def is_euclidean(self) -> bool:
        """Whether the metric is Euclidean by construction (components that happen to be I do not count)."""
        return self._components is None

    @property
    def components_(self) -> FloatArray:
        """G, ndarray of shape (p, d), read-only; the identity for a Euclidean metric of known dimension."""
        if self._components is not None:
            return self._components
        if self._n_features is None:
            # Not an AttributeError: hasattr() must not report a Euclidean metric as one without components.
            raise MetricError(
                "a Euclidean metric of unknown dimension has no matrix: use Mahalanobis.euclidean(n)"
            )
        return np.eye(self._n_features)

    @property
    def spectral_norm_bound(self) -> float:
        r"""An upper bound on :math:`\lVert G \rVert_2` that holds in exact arithmetic."""
        norm = self._norm
        if norm is None:
            norm = _native.spectral_norm_bound(self.components_)
            object.__setattr__(self, "_norm", norm)
        return norm

    def get_mahalanobis_matrix(self) -> FloatArray:
        """M = GᵀG, ndarray of shape (d, d), as metric-learn names it."""
        components = self.components_
        return components.T @ components

    def transform(self, X: ArrayLike) -> FloatArray:
        r"""Embedded rows :math:`G x`, in which the metric is Euclidean; shape (n, p)."""
        rows = as_rows(X, "X", self._n_features)
        return rows if self._components is None else rows @ self._components.T

    def pair_distance(self, pairs: ArrayLike) -> FloatArray:
        r"""Distances :math:`\lVert G (u - v) \rVert_2` (not squared) of pairs.

        Parameters
        ----------
        pairs : array-like of shape (n_pairs, 2, d)

        Returns
        -------
        ndarray of shape (n_pairs,)
        """
        array = np.asarray(pairs)
        if array.ndim != 3 or array.shape[1] != 2:
            raise InputError(f"pairs must have shape (n_pairs, 2, n_features); got shape {array.shape}.")
        flat = as_rows(array.reshape(-1, array.shape[2]), "pairs", self._n_features)
        differences = flat[0::2] - flat[1::2]
        embedded = differences if self._components is None else differences @ self._components.T
        return np.asarray(np.linalg.norm(embedded, axis=1), dtype=np.float64)

    def __str__(self) -> str:
        if self._components is None:
            return "Euclidean"
        return f"Mahalanobis, {len(self._components)} components of norm {self.spectral_norm_bound:.4g}"

    def __repr__(self) -> str:
        features = "any number of" if self._n_features is None else str(self._n_features)
        return f"<Mahalanobis metric: {self}, {features} features>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mahalanobis):
            return NotImplemented
        if self._components is None or other._components is None:
            return self._components is other._components and self._n_features == other._n_features
        return np.array_equal(self._components, other._components)

    def __hash__(self) -> int:
        return hash((self._n_features, None if self._components is None else self._components.tobytes()))

    def __reduce__(self) -> tuple[Any, ...]:
        if self._components is None:
            return (Mahalanobis.euclidean, (self._n_features,))
        return (Mahalanobis.from_components, (self._components,))


def _checked_matrix(matrix: ArrayLike, tol: float) -> tuple[FloatArray, int]:
    """The symmetric part of M divided by an even power of two, and half of that power's exponent."""
    array = as_rows(matrix, "M")
    if array.shape[0] != array.shape[1]:
        raise MetricError(f"M must be square, (n_features, n_features); got shape {array.shape}.")
    largest = float(np.abs(array).max())
    gap = np.abs(array - array.T)
    row, column = np.unravel_index(int(gap.argmax()), gap.shape)
    if gap[row, column] > tol * largest:
        raise MetricError(
            f"M must be symmetric, but M[{row}, {column}] = {float(array[row, column])!r} and "
            f"M[{column}, {row}] = {float(array[column, row])!r}. If this is rounding, use (M + M.T) / 2."
        )
    half = int(np.frexp(largest)[1]) // 2
    scaled = np.ldexp(array, -2 * half)
    return (scaled + scaled.T) / 2, half


def _check_semidefinite(values: FloatArray, tol: float) -> None:
    smallest, largest = float(values[0]), float(values[-1])
    if smallest < -tol * max(largest, -smallest):
        relative = smallest / max(largest, -smallest)
        raise MetricError(
            "M must be positive semidefinite, but its smallest eigenvalue is negative: "
            f"{relative:.3g} times the largest magnitude (allowed: {-tol:.3g})."
        )


def _covariance(rows: FloatArray, shrinkage: str | float | None) -> FloatArray:
    estimator: Any
    if shrinkage is None:
        estimator = EmpiricalCovariance(store_precision=False)
    elif isinstance(shrinkage, str) and shrinkage == "ledoit-wolf":
        estimator = LedoitWolf(store_precision=False)
    elif isinstance(shrinkage, float | int) and not isinstance(shrinkage, bool) and 0 <= shrinkage <= 1:
        estimator = ShrunkCovariance(store_precision=False, shrinkage=float(shrinkage))
    else:
        raise MetricError(f"shrinkage must be 'ledoit-wolf', a number in [0, 1] or None; got {shrinkage!r}.")
    return np.asarray(estimator.fit(rows).covariance_, dtype=np.float64)
