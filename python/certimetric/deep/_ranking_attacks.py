"""What the ten attacks of the robustness score want of an embedding, and how far they come."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

__all__ = ["ATTACKS", "Asked", "Gallery", "RankingAttack"]

_TOP_SHARE = 0.01
"""Candidates and queries of CA− and QA− are drawn from this share of the gallery, the nearest."""
_NOISE = 1e-7
_TOP_KEPT = 4
_SMALLEST = 1e-12
"""Squares of distances below have no gradient: that of the root has no bounds there."""


@dataclass(frozen=True)
class Gallery:
    """Clean embeddings of all images, which are queries and candidates alike.

    Attributes
    ----------
    embeddings : tensor of shape (N, p)
    codes : tensor of shape (N,)
        Classes.
    """

    embeddings: Tensor
    codes: Tensor

    @cached_property
    def _moved(self) -> tuple[Tensor, Tensor]:
        """Their mean, and rows around it: inner products lose the digits of points far away."""
        mean = self.embeddings.mean(dim=0)
        return mean, self.embeddings - mean

    def distances(self, found: Tensor) -> Tensor:
        """Of some embeddings from all rows, shape (b, N); differentiable in ``found``."""
        mean, rows = self._moved
        found = found - mean
        squares = rows.square().sum(dim=1) + found.square().sum(dim=1, keepdim=True) - 2 * found @ rows.T
        return squares.clamp(min=_SMALLEST).sqrt()


@dataclass(frozen=True)
class Asked:
    """Some images of the gallery that are to be attacked.

    Attributes
    ----------
    gallery : Gallery
    rows : tensor of shape (b,)
        Which they are.
    draws : tensor of shape (b,)
        A random number in [0, 1) for each: which other image the attack is about.
    """

    gallery: Gallery
    rows: Tensor
    draws: Tensor

    @property
    def clean(self) -> Tensor:
        """Their clean embeddings."""
        return self.gallery.embeddings[self.rows]

    def others(self) -> Tensor:
        """Distances from all rows, infinite from the own one, shape (b, N)."""
        return self.gallery.distances(self.clean).scatter(1, self.rows[:, None], torch.inf)

    def any_row(self) -> Tensor:
        """A random row of the gallery for each."""
        return (self.draws * len(self.gallery.codes)).long()

    def near_row(self) -> Tensor:
        """A random one of the nearest hundredth."""
        count = max(1, int(_TOP_SHARE * len(self.gallery.codes)))
        nearest = self.others().topk(count, largest=False).indices
        return nearest.gather(1, (self.draws * count).long()[:, None])[:, 0]


class RankingAttack(ABC):
    """An attack for some images: made from what is asked, it values embeddings."""

    names: ClassVar[tuple[str, ...]]
    """Of the numbers that it yields."""

    def __init__(self, asked: Asked) -> None:
        self.asked, self.gallery = asked, asked.gallery

    @abstractmethod
    def objective(self, found: Tensor) -> Tensor:
        """What is maximised, shape (b,)."""

    @abstractmethod
    def raw(self, found: Tensor) -> tuple[Tensor, ...]:
        """The numbers of the table for each image, before they become scores."""

    @staticmethod
    @abstractmethod
    def scores(*raw: float) -> tuple[float, ...]:
        """Between 0 and 100; large: the model withstands."""

    def hits(self, found: Tensor) -> Tensor:
        """100 where the nearest row other than the own one is of the own class, 0 elsewhere (R@1)."""
        distances = self.gallery.distances(found).scatter(1, self.asked.rows[:, None], torch.inf)
        nearest = self.gallery.codes[distances.argmin(dim=1)]
        return 100.0 * (nearest == self.gallery.codes[self.asked.rows])


def _rank(target: Tensor, distances: Tensor) -> Tensor:
    """Share of the gallery in % that is nearer than the target."""
    return 100 * (distances < target).double().mean(dim=1)


class _Candidate(RankingAttack):
    """The attacked image is a candidate; the query is another image and stays."""

    sign: ClassVar[int]

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        queries = self.gallery.embeddings[asked.any_row() if self.sign > 0 else asked.near_row()]
        self.queries, self.distances = queries, self.gallery.distances(queries)

    def _own(self, found: Tensor) -> Tensor:
        return torch.linalg.vector_norm(found - self.queries, dim=1)[:, None]

    def objective(self, found: Tensor) -> Tensor:
        return -(self.sign * (self._own(found) - self.distances)).clamp(min=0).mean(dim=1)

    def raw(self, found: Tensor) -> tuple[Tensor, ...]:
        return (_rank(self._own(found), self.distances),)


class _Query(RankingAttack):
    """The attacked image is the query; a candidate is to rise or to sink."""

    sign: ClassVar[int]

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        self.candidates = (asked.any_row() if self.sign > 0 else asked.near_row())[:, None]

    def objective(self, found: Tensor) -> Tensor:
        distances = self.gallery.distances(found)
        target = distances.gather(1, self.candidates)
        return -(self.sign * (target - distances)).clamp(min=0).mean(dim=1)

    def raw(self, found: Tensor) -> tuple[Tensor, ...]:
        distances = self.gallery.distances(found)
        return (_rank(distances.gather(1, self.candidates), distances),)


class _Rises:
    """Random ones rise: in the ideal case not at all, and half of the gallery stays before them."""

    sign = +1

    @staticmethod
    def scores(*raw: float) -> tuple[float, ...]:
        return (min(100.0, 2 * raw[0]),)


class _Sinks:
    """One of the nearest hundredth sinks."""

    sign = -1

    @staticmethod
    def scores(*raw: float) -> tuple[float, ...]:
        return (100 - raw[0],)


class CandidateRises(_Rises, _Candidate):
    """CA+: the image rises among the answers to a random query."""

    names = ("CA+",)


class CandidateSinks(_Sinks, _Candidate):
    """CA−: it sinks among the answers to a query that is near."""

    names = ("CA-",)


class QueryRaises(_Rises, _Query):
    """QA+: a random candidate rises among the answers to the image."""

    names = ("QA+",)


class QuerySinks(_Sinks, _Query):
    """QA−: a near candidate sinks."""

    names = ("QA-",)


class TargetedMismatch(RankingAttack):
    """TMA (Tolias et al., 2019): the cosine with a random image."""

    names = ("TMA",)

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        self.targets = self.gallery.embeddings[asked.any_row()]

    def objective(self, found: Tensor) -> Tensor:
        return (found * self.targets).sum(dim=1)

    def raw(self, found: Tensor) -> tuple[Tensor, ...]:
        return (self.objective(found).clamp(-1, 1),)

    @staticmethod
    def scores(*raw: float) -> tuple[float, ...]:
        return (min(100.0, 100 * (1 - raw[0])),)


class EmbeddingShift(RankingAttack):
    """ES: far away from the own embedding; its length and R@1 behind it."""

    names = ("ES:D", "ES:R")

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        # At its own embedding the gradient is 0: some way to go, the same for all.
        away = torch.randint(0, 2, asked.clean.shape[1:], generator=torch.Generator().manual_seed(0))
        self.start = asked.clean + _NOISE * (2 * away - 1).to(asked.clean)

    def objective(self, found: Tensor) -> Tensor:
        return torch.linalg.vector_norm(found - self.start, dim=1)

    def raw(self, found: Tensor) -> tuple[Tensor, ...]:
        shift = torch.linalg.vector_norm(found - self.asked.clean, dim=1)
        return shift.clamp(max=2), self.hits(found)

    @staticmethod
    def scores(*raw: float) -> tuple[float, ...]:
        shift, recall = raw
        return 50 * (2 - shift), recall


class LearningToMisrank(RankingAttack):
    """LTM (Wang et al., 2020): the farthest of other classes is to be nearer than the nearest of the own."""

    names = ("LTM",)

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        self.is_same = self.gallery.codes[asked.rows, None] == self.gallery.codes

    def objective(self, found: Tensor) -> Tensor:
        distances = self.gallery.distances(found)
        unmatched = distances.masked_fill(self.is_same, -torch.inf).amax(dim=1)
        # The own clean embedding is one of the class, as in the published code.
        matched = distances.masked_fill(~self.is_same, torch.inf).amin(dim=1)
        return -(unmatched - matched).clamp(min=0)

    def raw(self, found: Tensor) -> tuple[Tensor, ...]:
        return (self.hits(found),)

    @staticmethod
    def scores(*raw: float) -> tuple[float, ...]:
        return raw


class GreedyMisranking(RankingAttack):
    """GTM: towards the nearest image of another class."""

    names = ("GTM",)

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        is_same = self.gallery.codes[asked.rows, None] == self.gallery.codes
        nearest = self.gallery.distances(asked.clean).masked_fill(is_same, torch.inf).argmin(dim=1)
        self.targets = self.gallery.embeddings[nearest]

    def objective(self, found: Tensor) -> Tensor:
        return -torch.linalg.vector_norm(found - self.targets, dim=1)

    def raw(self, found: Tensor) -> tuple[Tensor, ...]:
        return (self.hits(found),)

    @staticmethod
    def scores(*raw: float) -> tuple[float, ...]:
        return raw


class GreedyTranslocation(RankingAttack):
    """GTT: the nearest other image is to leave the nearest four."""

    names = ("GTT",)

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        self.first = asked.others().argmin(dim=1, keepdim=True)

    def objective(self, found: Tensor) -> Tensor:
        distances = self.gallery.distances(found)
        return -(distances - distances.gather(1, self.first)).clamp(min=0).mean(dim=1)

    def raw(self, found: Tensor) -> tuple[Tensor, ...]:
        distances = self.gallery.distances(found).scatter(1, self.asked.rows[:, None], torch.inf)
        nearest = distances.topk(min(_TOP_KEPT, distances.shape[1] - 1), largest=False).indices
        return (100.0 * (nearest == self.first).any(dim=1),)

    @staticmethod
    def scores(*raw: float) -> tuple[float, ...]:
        return raw


ATTACKS: tuple[type[RankingAttack], ...] = (
    CandidateRises,
    CandidateSinks,
    QueryRaises,
    QuerySinks,
    TargetedMismatch,
    EmbeddingShift,
    LearningToMisrank,
    GreedyMisranking,
    GreedyTranslocation,
)
"""In the order of the published table; the embedding shift has two of its ten numbers."""
