r"""The metric: a Mahalanobis distance, given by its components or by its matrix.

:math:`d(u, v)^2 = (u - v)^\top M (u - v)`. What is stored in binary64 *is* the metric that is searched and
certified: components ``G`` of shape (p, d), with ``M = GᵀG`` in exact arithmetic, or the symmetric matrix
``M`` itself; Euclidean is ``M = I``. For a stored ``M`` a factor ``G`` with ``GᵀG ≈ M`` is computed once. It
makes the search fast, and decides no answer.
"""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.covariance import EmpiricalCovariance, LedoitWolf, ShrunkCovariance

from certimetric import _native
from certimetric._standard import in_standard_mode
from certimetric._validation import FloatArray, as_rows, as_tolerance, check_count
from certimetric.exceptions import InputError, MetricError

__all__ = ["Mahalanobis", "as_native"]


class Mahalanobis:
    r"""Mahalanobis metric :math:`d(u, v)^2 = (u - v)^\top M (u - v)`.

    Given by M, or by components G as :math:`M = G^\top G`. Immutable. Make one with :meth:`euclidean`,
    :meth:`from_matrix`, :meth:`from_components` or :meth:`from_covariance`.

    Notes
    -----
    Rows X that are searched or certified must have :math:`\sqrt{\lVert M \rVert_2} \cdot \max |X|` of at
    most 1e150, with :attr:`spectral_norm_bound` for the root, lest squared distances overflow. Radii do not
    depend on the scale of the metric: divide G by a power of two, or M by one of four.

    Examples
    --------
    >>> import numpy as np
    >>> from certimetric import Mahalanobis
    >>> metric = Mahalanobis.from_matrix([[4.0, 0.0], [0.0, 1.0]])
    >>> metric.pair_distance(np.array([[[0.0, 0.0], [1.0, 0.0]]]))
    array([2.])
    """

    __slots__ = ("_components", "_matrix", "_n_features", "_norm")

    _components: FloatArray | None
    _matrix: FloatArray | None
    _n_features: int | None
    _norm: float | None  # computed when first asked for

    def __init__(self) -> None:
        raise TypeError("use Mahalanobis.euclidean, from_matrix, from_components or from_covariance")

    @classmethod
    def _make(
        cls, components: FloatArray | None, n_features: int | None, matrix: FloatArray | None = None
    ) -> Self:
        metric = object.__new__(cls)
        for array in (components, matrix):
            if array is not None:
                array.flags.writeable = False
        object.__setattr__(metric, "_components", components)
        object.__setattr__(metric, "_matrix", matrix)
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
        copy = as_rows(components, "components").copy()
        return cls._make(copy, copy.shape[1])

    @classmethod
    def from_matrix(cls, matrix: ArrayLike, *, tol: float = 1e-10) -> Self:
        r"""Metric :math:`d(u, v)^2 = (u - v)^\top M (u - v)`.

        The metric is that of the stored binary64 numbers of M, to the last digit. :attr:`components_` are
        computed: ``sqrt(w) Vᵀ`` of the eigenvalue decomposition ``M ≈ V diag(w) Vᵀ``, largest first, without
        eigenvalues that are zero or negative.

        Parameters
        ----------
        matrix : array-like of shape (d, d)
            Symmetric positive semidefinite. Copied; where it is asymmetric within ``tol``, the metric is that
            of ``(M + Mᵀ) / 2`` in binary64.
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

        A matrix that should be semidefinite has, once rounded, an eigenvalue a little below 0 as often as
        not. It is a metric all the same: rows are ordered by ``(z - x)ᵀ M (z - x)``, which may then be
        negative, and a distance whose square is negative is 0. The larger its negative part, the wider
        intervals may be.
        """
        array, tolerance = as_rows(matrix, "M"), as_tolerance(tol, "tol")
        if array.shape[0] != array.shape[1]:
            raise MetricError(f"M must be square, (n_features, n_features); got shape {array.shape}.")
        stored, components = in_standard_mode(_symmetric_and_factor, array, tolerance)
        return cls._make(components, len(stored), stored)

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
        """Whether the metric is Euclidean by construction (G or M that happens to be I does not count)."""
        return self._components is None

    @property
    def components_(self) -> FloatArray:
        """G, ndarray of shape (p, d), read-only; the identity for a Euclidean metric of known dimension.

        Of a metric that is given by M it is computed, and GᵀG equals M up to rounding.
        """
        if self._components is not None:
            return self._components
        if self._n_features is None:
            # Not an AttributeError: hasattr() must not report a Euclidean metric as one without components.
            raise MetricError(
                "a Euclidean metric of unknown dimension has no matrix: use Mahalanobis.euclidean(n)"
            )
        return np.eye(self._n_features)

    @property
    def matrix_(self) -> FloatArray | None:
        """M, ndarray of shape (d, d), read-only, where the metric is given by it; else None."""
        return self._matrix

    @property
    def spectral_norm_bound(self) -> float:
        r"""An upper bound on :math:`\sqrt{\lVert M \rVert_2}` that holds in exact arithmetic."""
        norm = self._norm
        if norm is None:
            norm = _native.spectral_norm_bound(as_native(self), self.components_.shape[1])
            object.__setattr__(self, "_norm", norm)
        return norm

    def get_mahalanobis_matrix(self) -> FloatArray:
        """M, ndarray of shape (d, d), as metric-learn names it: as stored, or GᵀG with rounding."""
        if self._matrix is not None:
            return self._matrix.copy()
        components = self.components_
        return components.T @ components

    def transform(self, X: ArrayLike) -> FloatArray:
        r"""Embedded rows :math:`G x`, in which the metric is Euclidean up to rounding; shape (n, p)."""
        rows = as_rows(X, "X", self._n_features)
        return rows if self._components is None else rows @ self._components.T

    def pair_distance(self, pairs: ArrayLike) -> FloatArray:
        r"""Distances :math:`\lVert G (u - v) \rVert_2` (not squared) of pairs, by :attr:`components_`.

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
        if self._matrix is not None:
            size = self.spectral_norm_bound**2
            return f"Mahalanobis, matrix of {len(self._matrix)} rows and norm {size:.4g}"
        return f"Mahalanobis, {len(self._components)} components of norm {self.spectral_norm_bound:.4g}"

    def __repr__(self) -> str:
        features = "any number of" if self._n_features is None else str(self._n_features)
        return f"<Mahalanobis metric: {self}, {features} features>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mahalanobis):
            return NotImplemented
        kind, array = self._stored
        other_kind, other_array = other._stored
        if array is None or other_array is None:
            return kind == other_kind and self._n_features == other._n_features
        return kind == other_kind and np.array_equal(array, other_array)

    def __hash__(self) -> int:
        kind, array = self._stored
        # Equal numbers have equal bytes but for the sign of zero.
        return hash((kind, self._n_features, None if array is None else (array + 0.0).tobytes()))

    def __reduce__(self) -> tuple[Any, ...]:
        if self._components is None:
            return (Mahalanobis.euclidean, (self._n_features,))
        if self._matrix is None:
            return (Mahalanobis.from_components, (self._components,))
        return (_restored, (self._matrix, self._components))

    @property
    def _stored(self) -> tuple[str, FloatArray | None]:
        """What defines the metric, and what that is."""
        if self._matrix is not None:
            return "matrix", self._matrix
        return "euclidean" if self._components is None else "components", self._components


def as_native(metric: Mahalanobis) -> tuple[FloatArray, FloatArray | None] | None:
    """What the Rust core takes: None is Euclidean; else G, and M where that is what defines the metric."""
    return None if metric.is_euclidean else (metric.components_, metric.matrix_)


def _restored(matrix: FloatArray, components: FloatArray) -> Mahalanobis:
    """The metric of M with the factor that it had: another machine might compute other last digits."""
    return Mahalanobis._make(components.copy(), len(matrix), matrix.copy())


def _symmetric_and_factor(array: FloatArray, tol: float) -> tuple[FloatArray, FloatArray]:
    """The M that is stored for an array, and G with ``GᵀG ≈ M``."""
    largest = _check_symmetric(array, tol)
    stored = array.copy() if np.array_equal(array, array.T) else (array + array.T) / 2
    # An even power of two changes no digit of M or of G.
    half = int(np.frexp(largest)[1]) // 2
    values, vectors = np.linalg.eigh(np.ldexp(stored, -2 * half))
    _check_semidefinite(values, tol)
    keep = np.flatnonzero(values > 0)[::-1]
    if keep.size == 0:
        # A row of zeros stands for M = 0, so that the components are never an empty array.
        return stored, np.zeros((1, len(values)))
    return stored, np.ldexp(np.sqrt(values[keep])[:, None] * vectors.T[keep], half)


def _check_symmetric(array: FloatArray, tol: float) -> float:
    """Raise where an array is not; return its largest magnitude."""
    largest = float(np.abs(array).max())
    gap = np.abs(array - array.T)
    row, column = np.unravel_index(int(gap.argmax()), gap.shape)
    if gap[row, column] > tol * largest:
        raise MetricError(
            f"M must be symmetric, but M[{row}, {column}] = {float(array[row, column])!r} and "
            f"M[{column}, {row}] = {float(array[column, row])!r}. If this is rounding, use (M + M.T) / 2."
        )
    return largest


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
