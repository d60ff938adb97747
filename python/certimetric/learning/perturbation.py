r"""The perturbation loss: triplets whose radius is too small cost what is missing.

.. math:: \ell(t) = \tau^2 - \min(\max(t, 0), \tau)^2, \qquad
    t = \frac{d^2(z, x^-) - d^2(z, x^+)}{2 \lVert M (x^+ - x^-) \rVert_2},

where t is the signed radius of the triplet: how far z may move until :math:`x^-` is as near as :math:`x^+`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from certimetric._resolve import MetricLike, as_metric, check_range
from certimetric._validation import FloatArray, IntArray, as_positive, as_rows, effective_jobs
from certimetric.exceptions import InputError, InputTypeError
from certimetric.learning._pairs import Sides, Triplets

__all__ = ["PerturbationLoss", "perturbation_loss"]


@dataclass(frozen=True)
class PerturbationLoss:
    r"""Mean of :math:`\tau^2 - \min(\max(t, 0), \tau)^2` over triplets with signed radii t.

    A term for any learner of triplets. It is constant, and has no gradient, where z is nearer to :math:`x^-`;
    so it stands beside a loss that draws such triplets to the right side.

    Parameters
    ----------
    radius : float
        τ, an ℓ2 norm in input space: triplets with a larger radius cost nothing.

    Raises
    ------
    InputError, InputTypeError
        ``radius`` is not a positive finite number.

    Notes
    -----
    Costs ``n d (p + d)`` for n rows and ``d`` for each distinct pair. Where :math:`M x^+ = M x^-` the radius
    is 0.

    References
    ----------
    Yang, Guo, Dong, Xue: TPAMI 2022, arXiv 2006.05945.

    Examples
    --------
    >>> from certimetric.learning import PerturbationLoss
    >>> loss = PerturbationLoss(radius=1.0)
    >>> value, gradient = loss([[1.0]], [[0.0], [1.0], [2.0]], [[0, 1, 2]])
    >>> value
    0.0
    """

    radius: float

    def __post_init__(self) -> None:
        if self.radius is None or as_positive(self.radius, "radius") is None:
            raise InputError(f"radius must be a finite number, got {self.radius!r}.")

    def __call__(
        self, metric: MetricLike, X: ArrayLike, triplets: ArrayLike, *, n_jobs: int | None = None
    ) -> tuple[float, FloatArray]:
        """Value, and gradient with respect to M.

        Parameters
        ----------
        metric : Mahalanobis, matrix M of shape (d, d), or fitted learner
        X : array-like of shape (n, d)
        triplets : array-like of shape (t, 3), int
            Rows (z, same, other) of X.
        n_jobs : int, optional
            Threads.

        Returns
        -------
        value : float
        gradient : ndarray of shape (d, d), symmetric

        Raises
        ------
        ValueError, TypeError
            Shapes that do not fit, NaN, rows that do not exist, no triplet.
        """
        rows = as_rows(X, "X")
        found = as_metric(metric, rows.shape[1])
        check_range(found, rows, "X")
        known = Triplets(rows - rows.mean(axis=0), _as_triplets(triplets, len(rows)), effective_jobs(n_jobs))
        value, slopes = self.of_sides(known.measure(found.components_))
        return value, known.gradient(found.components_, slopes)

    def with_components(
        self, components: ArrayLike, X: ArrayLike, triplets: ArrayLike, *, n_jobs: int | None = None
    ) -> tuple[float, FloatArray]:
        """Value, and gradient of shape (p, d) with respect to components G; see :meth:`__call__`."""
        matrix = as_rows(components, "components")
        value, gradient = self(_Components(matrix), X, triplets, n_jobs=n_jobs)
        return value, 2 * matrix @ gradient

    def of_sides(self, sides: Sides) -> tuple[float, Sides]:
        """Value, and its derivatives, for triplets with these squares of their sides."""
        lengths = np.sqrt(sides.across)
        safe = np.where(lengths > 0, lengths, 1.0)
        radii = np.where(lengths > 0, (sides.far - sides.near) / (2 * safe), 0.0)
        kept = np.clip(radii, 0.0, self.radius)
        counted = np.where(kept < self.radius, kept, 0.0) / len(kept)
        slope = counted / safe
        value = float(np.mean(self.radius**2 - kept**2))
        return value, Sides(slope, -slope, slope * kept / safe)


@dataclass(frozen=True)
class _Components:
    """What stands for a metric where its components were given."""

    components_: FloatArray


def _as_triplets(triplets: ArrayLike, count: int) -> IntArray:
    array = np.asarray(triplets)
    if array.ndim != 2 or array.shape[1] != 3 or not len(array):
        raise InputError(f"triplets must have shape (n_triplets, 3), with one at least; got {array.shape}.")
    if array.dtype.kind not in "iu":
        raise InputTypeError(f"triplets must be integers, rows of X; got {array.dtype}.")
    if array.min() < 0 or array.max() >= count:
        raise InputError(
            f"triplets must be rows of X, from 0 to {count - 1}; got {array.min()} to {array.max()}."
        )
    return np.ascontiguousarray(array, dtype=np.int64)


def perturbation_loss(components: Any, anchors: Any, same: Any, other: Any, radius: float) -> Any:
    r"""The same loss of PyTorch tensors, a term for a loss of one's own (extra ``torch``).

    .. math:: \frac1T \sum_k \left[ \tau^2 - \min(\max(t_k, 0), \tau)^2 \right]

    Parameters
    ----------
    components : tensor of shape (p, d)
        G.
    anchors, same, other : tensors of shape (T, d)
        The rows z, :math:`x^+` and :math:`x^-` of triplets. Gradients reach all four tensors.
    radius : float
        τ, an ℓ2 norm of the space of the rows.

    Returns
    -------
    tensor of shape ()

    Examples
    --------
    >>> import torch                                                           # doctest: +SKIP
    >>> G = torch.eye(2, requires_grad=True)                                   # doctest: +SKIP
    >>> perturbation_loss(G, *torch.rand(3, 5, 2), radius=0.3).backward()      # doctest: +SKIP
    """
    tau = PerturbationLoss(radius).radius
    return (tau**2 - signed_radii(components, anchors, same, other).clamp(0, tau) ** 2).mean()


def signed_radii(components: Any, anchors: Any, same: Any, other: Any) -> Any:
    """The radii t of triplets as PyTorch tensors, shape (T,), negative where the triplet is wrong.

    Arguments are those of :func:`perturbation_loss`; components None are the identity. Products are of
    differences, which do not cancel. The cost is that of two products with G.
    """
    differences, sums = other - same, other - anchors + same - anchors
    if components is None:
        products, normals = (differences * sums).sum(dim=1), differences
    else:
        images = differences @ components.T
        products, normals = (images * (sums @ components.T)).sum(dim=1), images @ components
    squares = (normals**2).sum(dim=1)
    # A radius of 0 where the two coincide, and no division by 0 in the gradient either.
    lengths = (squares + (squares == 0)).sqrt()
    return products / (2 * lengths)
