"""The losses of the papers, as objects of pytorch-metric-learning, and triplets of their own."""

import math
from collections.abc import Callable
from typing import Any

import torch
from pytorch_metric_learning import losses as pml
from pytorch_metric_learning.distances import BaseDistance
from pytorch_metric_learning.reducers import MeanReducer
from sklearn.cluster import KMeans
from torch import Tensor, nn

from certimetric.deep.distances import EuclideanDistance
from certimetric.deep.mining import Triplets
from certimetric.exceptions import InputError
from certimetric.learning.perturbation import signed_radii

__all__ = [
    "Loss",
    "PrototypeMarginLoss",
    "check_prototypes",
    "hardness",
    "make_loss",
    "of_triplets",
    "triplet_margins",
]

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

    The signed distance of a from the plane between p and n; 0 where n = p.
    """
    found: Tensor = signed_radii(None, anchors, positives, negatives)
    return found


def check_prototypes(n_prototypes: int, margin: float) -> None:
    """Refuse numbers of points and margins that are not positive."""
    if n_prototypes < 1:
        raise InputError(f"n_prototypes must be 1 or more, got {n_prototypes}.")
    if not 0 < margin < math.inf:
        raise InputError(f"margin must be positive and finite, got {margin}.")


class PrototypeMarginLoss(nn.Module):
    """Mean of [γ − t]₊, t the certified margin of an embedding before learned points of all classes.

    With p the nearest point of the own class, t = min over points q of other classes of
    (‖z − q‖² − ‖z − p‖²) / (2 ‖q − p‖): how far z must move at least before some q is nearer than p. Behind
    a network of constant 1 it is a lower end of the radius of the image under the nearest-prototype
    classifier, :meth:`CertifiedEmbeddingClassifier.fit_embeddings` of ``points`` and ``labels``.

    Parameters
    ----------
    n_classes, n_components : int
        Classes, which are 0 … n_classes − 1, and dimensions of the embedding.
    n_prototypes : int
        Points for each class.
    margin : float
        γ, an ℓ2 norm.

    Attributes
    ----------
    points : parameter of shape (n_classes · n_prototypes, n_components)
        Random until :meth:`initialize`.
    labels : tensor of shape (n_classes · n_prototypes,)

    Raises
    ------
    InputError
        Sizes or a margin that are not positive.
    """

    labels: Tensor

    def __init__(self, n_classes: int, n_components: int, n_prototypes: int = 1, margin: float = 2.0) -> None:
        super().__init__()
        check_prototypes(n_prototypes, margin)
        if n_components < 1:
            raise InputError(f"n_components must be 1 or more, got {n_components}.")
        if n_classes < 2:
            raise InputError(f"n_classes must be 2 or more, got {n_classes}.")
        self.n_prototypes, self.margin = n_prototypes, margin
        self.points = nn.Parameter(torch.randn(n_classes * n_prototypes, n_components))
        self.register_buffer("labels", torch.arange(n_classes).repeat_interleave(n_prototypes))

    def initialize(self, embeddings: Tensor, labels: Tensor, seed: int = 0) -> None:
        """Begin with the k-means of each class, or its mean.

        Parameters
        ----------
        embeddings : tensor of shape (n, n_components)
        labels : tensor of shape (n,)
        seed : int

        Raises
        ------
        InputError
            A class with fewer rows than points.
        """
        for code in self.labels.unique().tolist():
            rows = embeddings[labels == code].detach().cpu().numpy()
            if len(rows) < self.n_prototypes:
                raise InputError(f"class {code} has {len(rows)} rows for {self.n_prototypes} points.")
            means = KMeans(self.n_prototypes, n_init=1, random_state=seed).fit(rows).cluster_centers_
            with torch.no_grad():
                self.points[self.labels == code] = torch.from_numpy(means).to(self.points)

    def margins(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Of each embedding its t, shape (n,); negative where a point of another class is nearest."""
        is_own = labels[:, None] == self.labels
        distances = torch.cdist(embeddings, self.points)
        nearest = distances.masked_fill(~is_own, math.inf).argmin(dim=1)
        own = self.points[nearest]
        between = torch.cdist(own, self.points)
        products = embeddings @ self.points.T - (embeddings * own).sum(dim=1, keepdim=True)
        squares = self.points.square().sum(dim=1) - own.square().sum(dim=1, keepdim=True)
        values = (squares - 2 * products) / (2 * torch.where(between > 0, between, torch.ones_like(between)))
        return values.masked_fill(is_own, math.inf).amin(dim=1)

    def forward(self, embeddings: Tensor, labels: Tensor, triplets: object = None) -> Tensor:  # noqa: ARG002 - as all losses
        """The loss; triplets are not asked for."""
        return (self.margin - self.margins(embeddings, labels)).clamp(min=0).mean()
