"""Distances for the losses and miners of pytorch-metric-learning: exact near 0, and learnable."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from pytorch_metric_learning.distances import BaseDistance
from torch import Tensor, nn

from certimetric._validation import FloatArray
from certimetric.exceptions import InputError
from certimetric.metric import Mahalanobis

__all__ = ["EuclideanDistance", "MahalanobisDistance"]


class EuclideanDistance(BaseDistance):
    """d(x, y) = ‖x − y‖₂, by differences.

    The distance of pytorch-metric-learning goes by inner products, which lose half of the digits where points
    are near each other. Its gradient is 0 where x = y.

    Parameters
    ----------
    normalize_embeddings : bool
        Bring rows to length 1 first; those of :func:`certimetric.deep.embed` have it already.
    """

    def __init__(self, normalize_embeddings: bool = False, **kwargs: Any) -> None:
        super().__init__(normalize_embeddings=normalize_embeddings, p=2, power=1, **kwargs)

    def compute_mat(self, query_emb: Tensor, ref_emb: Tensor | None) -> Tensor:
        """All distances, shape (n, m)."""
        others = query_emb if ref_emb is None else ref_emb
        return torch.cdist(query_emb, others, compute_mode="donot_use_mm_for_euclid_dist")

    def pairwise_distance(self, query_emb: Tensor, ref_emb: Tensor) -> Tensor:
        """Row by row, shape (n,)."""
        return torch.linalg.vector_norm(query_emb - ref_emb, dim=1)


class MahalanobisDistance(EuclideanDistance):
    """d(x, y) = ‖G (x − y)‖₂ with a matrix G that is learned like any parameter.

    It plugs into the losses and miners of pytorch-metric-learning as ``distance=``; what it has learned goes
    into the certifier as :attr:`metric_`.

    Parameters
    ----------
    n_features : int
    n_components : int, optional
        Rows of G; default: ``n_features``. G begins as the (first rows of the) identity.
    components : array-like of shape (q, n_features), optional
        G to begin with, in place of the two above.

    Raises
    ------
    InputError
        Sizes that are not positive, or components that are not a finite matrix.
    """

    def __init__(
        self,
        n_features: int | None = None,
        n_components: int | None = None,
        *,
        components: ArrayLike | None = None,
    ) -> None:
        super().__init__()
        if components is None:
            if n_features is None or n_features < 1:
                raise InputError(f"n_features must be 1 or more, got {n_features}.")
            rows = n_features if n_components is None else n_components
            if not 1 <= rows <= n_features:
                raise InputError(f"n_components must be between 1 and n_features = {n_features}, got {rows}.")
            components = np.eye(rows, n_features)
        start = np.asarray(components, dtype=np.float32)
        if start.ndim != 2 or 0 in start.shape or not np.isfinite(start).all():
            raise InputError(f"components must be a finite matrix (q, d), got shape {start.shape}.")
        self.components = nn.Parameter(torch.from_numpy(start.copy()))

    def compute_mat(self, query_emb: Tensor, ref_emb: Tensor | None) -> Tensor:
        """All distances, shape (n, m)."""
        others = query_emb if ref_emb is None else ref_emb
        return super().compute_mat(query_emb @ self.components.T, others @ self.components.T)

    def pairwise_distance(self, query_emb: Tensor, ref_emb: Tensor) -> Tensor:
        """Row by row, shape (n,)."""
        return torch.linalg.vector_norm((query_emb - ref_emb) @ self.components.T, dim=1)

    def get_mahalanobis_matrix(self) -> FloatArray:
        """M = Gᵀ G, shape (d, d), float64."""
        G = self.components_
        return G.T @ G

    @property
    def components_(self) -> FloatArray:
        """G, shape (q, d), float64."""
        found: FloatArray = self.components.detach().cpu().double().numpy()
        return found

    @property
    def metric_(self) -> Mahalanobis:
        """What has been learned, for the certifier."""
        return Mahalanobis.from_components(self.components_)
