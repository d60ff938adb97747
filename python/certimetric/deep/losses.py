"""The losses of the papers, as objects of pytorch-metric-learning, and triplets of their own."""

from collections.abc import Callable
from typing import Any

import torch
from pytorch_metric_learning import losses as pml
from pytorch_metric_learning.distances import BaseDistance
from pytorch_metric_learning.reducers import MeanReducer
from torch import Tensor

from certimetric.deep.distances import EuclideanDistance
from certimetric.deep.mining import Triplets
from certimetric.exceptions import InputError

__all__ = ["Loss", "hardness", "make_loss", "of_triplets", "triplet_margins"]

Loss = Callable[..., Tensor]
"""``loss(embeddings, labels, triplets)``: any loss of pytorch-metric-learning."""


def make_loss(name: str, distance: BaseDistance | None = None, **settings: Any) -> Any:
    """A loss with the settings of the papers, over unit embeddings.

    - ``triplet``: mean of [d(a, p) − d(a, n) + γ]₊, γ = ``margin`` = 0.2;
    - ``contrastive``: d(a, p) of positive pairs and [γ − d(a, n)]₊ of negative ones, γ = ``neg_margin`` = 1,
      each the mean of those that are not 0;
    - ``margin`` (Wu et al., 2017): [d(a, p) − β + α]₊ + [β − d(a, n) + α]₊, α = ``margin`` = 0.2,
      β = ``beta`` = 1.2, over those that are not 0.

    Parameters
    ----------
    name : {"triplet", "contrastive", "margin"}
    distance : pytorch_metric_learning.distances.BaseDistance, optional
        Default: :class:`EuclideanDistance`.
    **settings
        Of the loss of pytorch-metric-learning, in place of these.

    Raises
    ------
    InputError
        An unknown name.
    """
    d = EuclideanDistance() if distance is None else distance
    if name == "triplet":
        return pml.TripletMarginLoss(**{"margin": 0.2, "distance": d, "reducer": MeanReducer(), **settings})
    if name == "contrastive":
        return pml.ContrastiveLoss(**{"pos_margin": 0, "neg_margin": 1, "distance": d, **settings})
    if name == "margin":
        return pml.MarginLoss(**{"margin": 0.2, "beta": 1.2, "distance": d, **settings})
    raise InputError(f"loss must be 'triplet', 'contrastive' or 'margin', got {name!r}.")


def of_triplets(
    loss: Loss, parts: tuple[Tensor, Tensor, Tensor], labels: Tensor, triplets: Triplets
) -> Tensor:
    """A loss over anchors, positives and negatives with embeddings of their own, each of shape (t, p)."""
    rows = torch.arange(3 * len(parts[0]), device=parts[0].device).chunk(3)
    return loss(torch.cat(parts), torch.cat([labels[part] for part in triplets]), tuple(rows))


def hardness(anchors: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """H = d(a, p) − d(a, n), shape (t,); large: a hard triplet (Zhou & Patel, CVPR 2022)."""
    d = torch.linalg.vector_norm
    return d(anchors - positives, dim=1) - d(anchors - negatives, dim=1)


def triplet_margins(anchors: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """(‖a − n‖² − ‖a − p‖²) / (2 ‖n − p‖): how far a may move before n is nearer than p, shape (t,).

    The signed distance of a from the plane between p and n; as a sum of products, which does not cancel. 0
    where n = p.
    """
    between = negatives - positives
    length = torch.linalg.vector_norm(between, dim=1)
    product = (between * (negatives + positives - 2 * anchors)).sum(dim=1)
    return product / (2 * torch.where(length > 0, length, torch.ones_like(length)))
