"""Upper ends of the spectral norms of matrices and convolutions, with rounding accounted for.

All is computed in binary64 with u = 2⁻⁵³. A sum of k products has, in any order, an error of at most γ_k
times the sum of the absolute products, γ_k = k u / (1 − k u) (Higham, 2002, §3.1); bounds are widened by it.
"""

import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["gamma", "gram_sums_up", "matrix_norm_up", "perron_up", "schur_up", "up"]

_U = 2.0**-53
_ROUNDS = 12
"""Squarings of the Gram matrix: the bound is within a factor n^(2^−14) of the norm."""
_SMALL = 2.0**-900
_NEAR = 2.0**-30, 2.0**30
"""Sizes of entries of matrices that may be near an isometry."""
_PERRON_STEPS = 50


def gamma(count: int) -> float:
    """γ_k, widened by the rounding of its own computation."""
    return count * _U / (1 - count * _U) * (1 + 4 * _U)


def up(value: float, count: int = 4) -> float:
    """Above ``value`` by ``count`` roundings at least."""
    return value * (1 + 2 * count * _U) + _SMALL


def matrix_norm_up(matrix: NDArray[np.float64]) -> float:
    """≥ ‖A‖₂: the least of the Gershgorin, the near-isometry and the Gram iteration bound.

    - ‖AᵀA‖₂ ≤ max_i Σ_j |AᵀA|_ij;
    - ‖AᵀA‖₂ ≤ 1 + ‖AᵀA − I‖_F, sharp where A has orthonormal columns;
    - ‖AᵀA‖₂ ≤ ‖(AᵀA)^(2^k)‖_F^(1/2^k) (Delattre et al., 2023), sharp for any.

    The cost is that of a dozen products of the smaller Gram matrix with itself.
    """
    A = np.asarray(matrix, dtype=np.float64)
    if A.shape[0] < A.shape[1]:
        A = A.T
    largest = float(np.abs(A).max(initial=0.0))
    if largest == 0:
        return 0.0
    # A power of 2: no rounding, and no overflow of squares.
    scale = 2.0 ** math.floor(math.log2(largest))
    A = A / scale
    gram = A.T @ A
    n = len(gram)
    # |computed − true|, entry by entry and in the Frobenius norm.
    entries = up(gamma(len(A)) * float((A * A).sum(axis=0).max()), len(A))
    error = n * entries
    rows = up(float(np.abs(gram).sum(axis=1).max()), n) + up(n * entries)
    squares = [rows, _power_bound(gram, error)]
    if _NEAR[0] < scale < _NEAR[1]:
        identity = 1 / scale**2
        away = gram.copy()
        away[np.diag_indices(n)] -= identity
        squares.append(up(identity + up(float(np.linalg.norm(away)), n * n) + up(error) + n * _U * identity))
    return up(scale * math.sqrt(min(squares)))


def _power_bound(gram: NDArray[np.float64], error: float) -> float:
    """≥ ‖S‖₂ of a symmetric S that is ``error`` away from ``gram`` in the Frobenius norm."""
    n = len(gram)
    exponent, log = 1.0, 0.0
    for _ in range(_ROUNDS):
        norm = up(float(np.linalg.norm(gram)), n * n)
        if norm <= 0 or not math.isfinite(norm):
            return math.inf
        # S = norm · T with ‖T‖_F ≤ 1 nearly; log collects the norms, each to its power.
        log += math.log(norm) / exponent
        scaled = gram / norm
        error = up(error / norm) + _U * n
        gram = scaled @ scaled
        # (T + E)² = T² + T E + E T + E²; the product rounds by γ ‖T‖_F².
        error = up(2 * error * (1 + error) + error * error + gamma(n) * (1 + 4 * n * n * _U))
        exponent *= 2
    last = up(float(np.linalg.norm(gram)), n * n) + error
    return up(math.exp(log + math.log(last) / exponent), 512)


def perron_up(sizes: NDArray[np.float64], terms: int) -> float:
    """≥ the spectral radius of a symmetric matrix ≥ 0: max_i (H p)_i / p_i for any p > 0 (Collatz, Wielandt).

    ``terms`` widens the result by that many roundings.
    """
    p = np.ones(len(sizes))
    for _ in range(_PERRON_STEPS):
        found = sizes @ p
        p = np.maximum(found / found.max(initial=_SMALL), 1e-9)
    return up(float((sizes @ p / p).max(initial=0.0)), terms + len(sizes))


def schur_up(weight: Tensor) -> float:
    """≥ ‖ |A| ‖₂ for the matrix or the convolution of a weight: √(largest row sum · largest column sum).

    Of a convolution of stride 1 they are sums over the weights of an output and of an input channel.
    """
    sizes = weight.abs().double()
    rows = sizes.flatten(1).sum(dim=1).max()
    columns = sizes.sum(dim=(0, *range(2, weight.ndim))).max()
    return up(math.sqrt(float(rows)) * math.sqrt(float(columns)), weight.numel())


def gram_sums_up(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """≥ Σ_j |W Wᵀ|_ij of the rows of a matrix, shape (h, h) before the sum: entries of |W Wᵀ|, rounded up."""
    gram = np.abs(weight @ weight.T)
    lengths = np.sqrt((weight * weight).sum(axis=1))
    error = gamma(weight.shape[1]) * np.outer(lengths, lengths)
    found: NDArray[np.float64] = (gram + error * (1 + weight.shape[1] * 8 * _U)) * (1 + 8 * _U)
    return found
