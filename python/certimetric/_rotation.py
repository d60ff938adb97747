"""Principal axes of the embedded rows: a hint with which the Rust core orders its coordinates.

The core sums a distance coordinate by coordinate and gives up as soon as a bound is passed; along principal
axes that is soonest. The hint decides speed, never an answer: any finite matrix is safe, so a subsample and a
few leading axes do.
"""

import numpy as np

from certimetric._standard import in_standard_mode
from certimetric._validation import FloatArray

__all__ = ["principal_axes"]

_SAMPLE = 1536
_GRAM_SAMPLE = 2048
_DENSE = 1024
_LEADING = 256
_LARGEST = 4096


def principal_axes(rows: FloatArray, components: FloatArray | None) -> FloatArray | None:
    r"""Principal axes of :math:`(x - \bar x) G^\top`, leading first.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    components : ndarray of shape (p, d) or None
        G, or a factor of M; None for Euclidean, with p = d.

    Returns
    -------
    ndarray of shape (p, p) or None
        Axes in rows, finite and orthonormal up to rounding. None for p > 4096, where a dense matrix is too
        large.

    Notes
    -----
    Deterministic. Up to 1,024 dimensions one eigenvalue decomposition, O(p³), of at most 1,536 rows'
    covariance; above, the leading 256 axes from the Gram matrix of at most 2,048 rows, completed by one QR
    decomposition.
    """
    size = rows.shape[1] if components is None else components.shape[0]
    if size > _LARGEST:
        return None
    return in_standard_mode(_axes, rows, components, size)


def _axes(rows: FloatArray, components: FloatArray | None, size: int) -> FloatArray:
    sample = _SAMPLE if size <= _DENSE else _GRAM_SAMPLE
    try:
        embedded = _embedded_sample(rows, components, sample)
        axes = _from_covariance(embedded) if size <= _DENSE else _from_gram(embedded)
    except np.linalg.LinAlgError:
        axes = np.full((size, size), np.nan)
    return axes if np.isfinite(axes).all() else np.eye(size)


def _embedded_sample(rows: FloatArray, components: FloatArray | None, limit: int) -> FloatArray:
    count = min(len(rows), limit)
    sample = _scaled(rows[np.arange(count) * len(rows) // count])
    sample -= sample.mean(axis=0)
    # Centred rows may be tiny beside their mean; scaling again keeps their squares away from underflow.
    sample = _scaled(sample)
    return sample if components is None else _scaled(sample @ _scaled(components).T)


def _scaled(array: FloatArray) -> FloatArray:
    """A copy divided by the power of two that brings its largest magnitude into [1/2, 1)."""
    exponent = int(np.frexp(float(np.abs(array).max(initial=0.0)))[1])
    return np.ldexp(array, -exponent)


def _from_covariance(embedded: FloatArray) -> FloatArray:
    _, vectors = np.linalg.eigh(embedded.T @ embedded)
    return np.ascontiguousarray(vectors.T[::-1])


def _from_gram(embedded: FloatArray) -> FloatArray:
    values, vectors = np.linalg.eigh(embedded @ embedded.T)
    leading = vectors[:, ::-1][:, :_LEADING]
    # Directions without variance are noise; QR replaces them with any orthonormal completion.
    rank = int(np.count_nonzero(values[::-1][:_LEADING] > 1e-12 * max(values[-1], np.finfo(np.float64).tiny)))
    if rank == 0:
        return np.eye(embedded.shape[1])
    axes, _ = np.linalg.qr(embedded.T @ leading[:, :rank], mode="complete")
    return np.ascontiguousarray(axes.T)
