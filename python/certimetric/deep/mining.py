"""Triplets of a batch, one for each anchor: which positive, which negative."""

from typing import Literal, get_args

import torch
from pytorch_metric_learning.miners import BaseMiner
from torch import Tensor

from certimetric.deep.distances import EuclideanDistance
from certimetric.exceptions import InputError

__all__ = ["Strategy", "TripletMiner", "Triplets"]

Triplets = tuple[Tensor, Tensor, Tensor]
"""Rows of anchors, positives and negatives, each of shape (t,)."""

Strategy = Literal["random", "semihard", "softhard", "hard", "distance"]

_NEAREST = 0.5
"""Distances below count as this in distance-weighted sampling, lest few pairs have all the weight."""


class TripletMiner(BaseMiner):
    """One triplet (a, p, n) for each anchor of a batch, as a miner of pytorch-metric-learning.

    With d the distance of unit embeddings, the negative is drawn, each with the same chance, from

    - ``random``: all negatives;
    - ``semihard`` (Schroff et al., 2015): those with d(a, p) < d(a, n) < d(a, p) + margin;
    - ``softhard`` (Xuan et al., 2020): those nearer than the farthest positive; the positive from those
      farther than the nearest negative;
    - ``hard``: only the nearest;
    - ``distance`` (Wu et al., 2017): all, with weights 1 / q(d) for q the density of distances on the sphere,
      d ≥ 0.5.

    Where no row qualifies, any positive or negative does. As in the published code, anchors are the rows
    0, 2, 4, … of a batch of pairs and the positive is the row behind, if the strategy does not choose it.

    Parameters
    ----------
    strategy : {"random", "semihard", "softhard", "hard", "distance"}
    margin : float
        For ``semihard``.
    anchors : {"pairs", "all"}
        ``all``: each row that has another one of its class is an anchor, its positive is drawn.
    generator : torch.Generator, optional
        On the CPU; default: PyTorch's own.

    Raises
    ------
    InputError
        Unknown names; in a call: a batch without any triplet, or not of pairs.
    """

    def __init__(
        self,
        strategy: Strategy = "random",
        *,
        margin: float = 0.2,
        anchors: Literal["pairs", "all"] = "pairs",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(distance=EuclideanDistance())
        if strategy not in get_args(Strategy):
            raise InputError(f"strategy must be one of {', '.join(get_args(Strategy))}; got {strategy!r}.")
        if anchors not in ("pairs", "all"):
            raise InputError(f"anchors must be 'pairs' or 'all', got {anchors!r}.")
        self.strategy, self.margin, self.anchors, self.generator = strategy, margin, anchors, generator

    def mine(self, embeddings: Tensor, labels: Tensor, ref_emb: Tensor, ref_labels: Tensor) -> Triplets:
        """See the class; rows of positives and negatives are those of ``ref_emb``."""
        if ref_emb is not embeddings:
            raise InputError("TripletMiner takes all rows of a triplet from one batch; ref_emb is another.")
        anchors, pairs = self._anchors(labels, ref_labels)
        distances = self.distance(embeddings[anchors], ref_emb)
        is_negative = labels[anchors, None] != ref_labels
        is_positive = ~is_negative
        is_positive[torch.arange(len(anchors)), anchors] = False
        if self.strategy == "softhard":
            nearest = distances.masked_fill(~is_negative, torch.inf).amin(dim=1, keepdim=True)
            positives = self._draw(is_positive & (distances > nearest), is_positive)
        else:
            positives = self._draw(is_positive, is_positive) if pairs is None else pairs
        return (
            anchors,
            positives,
            self._negatives(distances, is_negative, is_positive, positives, embeddings.shape[1]),
        )

    def _anchors(self, labels: Tensor, ref_labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Rows of anchors, and of their positives where the batch has pairs."""
        same = labels[:, None] == ref_labels
        if self.anchors == "pairs":
            if len(labels) % 2 or not torch.equal(labels[0::2], labels[1::2]):
                raise InputError(
                    "labels of a batch must come in pairs, rows 0 and 1 of one class, 2 and 3, and so on "
                    "(PairSampler makes such batches); anchors='all' takes any batch."
                )
            anchors = torch.arange(0, len(labels), 2, device=labels.device)
        else:
            anchors = (same.sum(dim=1) > 1).nonzero()[:, 0]
        anchors = anchors[~same[anchors].all(dim=1)]
        if not len(anchors):
            raise InputError("no triplet in the batch: it needs two classes, one with two images at least.")
        return anchors, anchors + 1 if self.anchors == "pairs" else None

    def _negatives(
        self, distances: Tensor, is_negative: Tensor, is_positive: Tensor, positives: Tensor, dimensions: int
    ) -> Tensor:
        if self.strategy == "hard":
            return distances.masked_fill(~is_negative, torch.inf).argmin(dim=1)
        if self.strategy == "semihard":
            own = distances.gather(1, positives[:, None])
            return self._draw(is_negative & (distances > own) & (distances < own + self.margin), is_negative)
        if self.strategy == "softhard":
            farthest = distances.masked_fill(~is_positive, -torch.inf).amax(dim=1, keepdim=True)
            return self._draw(is_negative & (distances < farthest), is_negative)
        if self.strategy == "distance":
            return self._pick(_rarity(distances, is_negative, dimensions))
        return self._draw(is_negative, is_negative)

    def _draw(self, preferred: Tensor, others: Tensor) -> Tensor:
        """One of the preferred columns of each row, or of the others where there is none."""
        chosen = torch.where(preferred.any(dim=1, keepdim=True), preferred, others)
        return self._pick(chosen.double())

    def _pick(self, weights: Tensor) -> Tensor:
        found = torch.multinomial(weights.cpu(), 1, generator=self.generator)[:, 0]
        return found.to(weights.device)


def _rarity(distances: Tensor, is_negative: Tensor, dimensions: int) -> Tensor:
    """1 / q(d) with log q = (p − 2) log d + (p − 3)/2 · log(1 − d²/4), scaled to 1 at most in each row."""
    d = distances.double().clamp(min=_NEAREST)
    inside = (1 - d.square() / 4).clamp(min=1e-12)
    log_weights = -(dimensions - 2) * d.log() - (dimensions - 3) / 2 * inside.log()
    log_weights = log_weights.masked_fill(~is_negative, -torch.inf)
    weights = (log_weights - log_weights.amax(dim=1, keepdim=True)).exp()
    # Of embeddings that are not finite any negative will do: their loss is not finite, which ends a run.
    return torch.where(weights.isfinite(), weights, is_negative.double())
