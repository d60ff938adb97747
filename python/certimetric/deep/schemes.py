"""Training schemes: each turns a batch into a loss, for any network, loss and optimiser."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from inspect import signature
from types import BuiltinFunctionType, FunctionType
from typing import Any, Literal

import torch
from pytorch_metric_learning.utils.loss_and_miner_utils import convert_to_triplets
from torch import Tensor, nn

from certimetric.deep.attacks import PGD
from certimetric.deep.embedding import embed, embed_all, evaluating
from certimetric.deep.evaluation import retrieval_scores
from certimetric.deep.losses import (
    Loss,
    PrototypeMarginLoss,
    check_prototypes,
    hardness,
    make_loss,
    of_triplets,
    triplet_margins,
)
from certimetric.deep.mining import Strategy, TripletMiner, Triplets
from certimetric.exceptions import CollapsedModelError, InputError

__all__ = [
    "ACT",
    "EST",
    "CertifiedPrototypes",
    "CertifiedTriplets",
    "HardnessManipulation",
    "Plain",
    "RobustOptimization",
    "Scheme",
]

_ROWS = 1000
"""Images of a class whose embeddings the first prototypes are made of, unless these are more."""

_NOISE = 1e-7
"""The embedding shift begins at 0, where its gradient is 0: it is taken from embeddings this far away."""


@dataclass
class Scheme:
    """``scheme(model, images, labels)`` is a loss to go backwards from.

    Parameters
    ----------
    loss : callable
        ``loss(embeddings, labels, triplets)``, such as :func:`make_loss` and all of pytorch-metric-learning.
    miner : callable
        ``miner(embeddings, labels)``, the triplets of a batch.
    """

    loss: Loss = field(default_factory=lambda: make_loss("triplet"))
    miner: Callable[[Tensor, Tensor], Triplets] = field(default_factory=TripletMiner)

    def __call__(
        self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """The loss of a batch.

        Parameters
        ----------
        model : torch.nn.Module
            Left in the mode in which it is; attacks ask it in evaluation mode.
        images : tensor of shape (b, C, H, W), in [0, 1]
        labels : tensor of shape (b,)
        generator : torch.Generator, optional
            Of triplets and of the random starts of attacks, on the CPU; default: PyTorch's own.
        """
        raise NotImplementedError

    def prepare(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        """Look at all images before a run begins, or goes on."""

    def quality(self, model: nn.Module, images: Tensor, labels: Tensor) -> float:
        """How good a model is by images that it was not trained on: mAP@R, or what the scheme is about."""
        embeddings = embed_all(model, images)
        try:
            found = retrieval_scores(embeddings, labels, nmi=False, n_jobs=torch.get_num_threads())
        except CollapsedModelError:
            # It may get over it.
            return 0.0
        return found.map_at_r

    def settings(self) -> dict[str, object]:
        """What tells this scheme from others: its fields, and numbers and words of its loss and its miner."""
        found: dict[str, object] = {"scheme": type(self).__name__}
        for part in fields(self):
            value = getattr(self, part.name)
            found[part.name] = _plain(value) if part.name in ("loss", "miner") else value
        return {name: value for name, value in found.items() if name not in self.state_dict()}

    def state_dict(self) -> dict[str, float]:
        """What one batch hands on to the next."""
        return {}

    def reset(self) -> None:
        """Begin anew."""

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from there."""
        if state:
            raise InputError(f"{type(self).__name__} keeps nothing between batches, got {sorted(state)}.")

    def _mine(self, embeddings: Tensor, labels: Tensor, generator: torch.Generator | None) -> Triplets:
        if generator is not None and isinstance(self.miner, TripletMiner):
            self.miner.generator = generator
        found = convert_to_triplets(self.miner(embeddings, labels), labels)
        if not len(found[0]):
            raise InputError(f"no triplet in the batch: {type(self.miner).__name__} found none.")
        anchors, positives, negatives = found
        return anchors, positives, negatives

    def _mined(
        self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Triplets]:
        """Clean embeddings in evaluation mode, and the triplets of them."""
        with evaluating(model), torch.no_grad():
            embeddings = embed(model, images)
        return embeddings, self._mine(embeddings, labels, generator)


def described(function: Callable[..., Any] | None) -> str:
    """What tells a function from another one: its name and what it was given beforehand."""
    if isinstance(function, partial):
        return f"{described(function.func)}{function.args}{sorted(function.keywords.items())}"
    return getattr(function, "__qualname__", type(function).__name__)


def _plain(part: object) -> dict[str, object]:
    """The type of an object, what it and its parts were made with where that is plain; a function's name."""
    if isinstance(part, FunctionType | BuiltinFunctionType | partial):
        return {"type": described(part)}
    # Other attributes may count what is found in batches.
    made = [signature(kind).parameters for kind in type(part).__mro__ if "__init__" in vars(kind)][:-1]
    values = {name: getattr(part, name, None) for names in made for name in names}
    known = {name: value for name, value in values.items() if isinstance(value, bool | int | float | str)}
    parts = part.named_children() if isinstance(part, nn.Module) else ()
    return {"type": type(part).__name__, **dict(sorted(known.items())), **{k: _plain(v) for k, v in parts}}


class Plain(Scheme):
    """The loss of the images as they are."""

    def __call__(
        self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """See :class:`Scheme`."""
        embeddings = embed(model, images)
        return self.loss(embeddings, labels, self._mine(embeddings, labels, generator))


@dataclass
class CertifiedTriplets(Scheme):
    """Triplets whose certified margin is too small, for networks that no distance grows through.

    Mean of [γ − t]₊ with t = (‖a − n‖² − ‖a − p‖²) / (2 ‖n − p‖), the distance by which the embedding of a
    must move before n is nearer than p; embeddings are as the network gives them, not of unit length.
    ``loss`` is not asked.

    Parameters
    ----------
    margin : float
        γ, an ℓ2 norm in image space where the constant of the network is 1.
    """

    margin: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.margin < torch.inf:
            raise InputError(f"margin must be positive and finite, got {self.margin}.")

    def __call__(
        self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """See :class:`Scheme`."""
        embeddings = model(images)
        parts = (embeddings[rows] for rows in self._mine(embeddings, labels, generator))
        return (self.margin - triplet_margins(*parts)).clamp(min=0).mean()


@dataclass
class CertifiedPrototypes(Scheme):
    """Certified margins of embeddings before points of each class, which are learned with the network.

    For networks that no distance grows through; embeddings are as the network gives them, not of unit
    length. A run begins with the k-means of each class and ends with a classifier,
    :meth:`CertifiedEmbeddingClassifier.fit_embeddings` of ``loss.points`` and ``loss.labels``. The miner is
    not asked.

    Parameters
    ----------
    loss : PrototypeMarginLoss, optional
        Default: made anew for each run, for its classes, from the two settings below, which count only then.
    n_prototypes : int
        Points for each class.
    margin : float
        γ, an ℓ2 norm in image space where the constant of the network is 1.
    """

    loss: Any = None
    n_prototypes: int = 20
    margin: float = 2.2

    def __post_init__(self) -> None:
        check_prototypes(self.n_prototypes, self.margin)
        self._makes = self.loss is None

    def settings(self) -> dict[str, object]:
        """As for all schemes; a loss that is made is told by its settings."""
        if self._makes:
            return {"scheme": type(self).__name__, "n_prototypes": self.n_prototypes, "margin": self.margin}
        return super().settings()

    def prepare(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        """Make the loss, from the embeddings of some images of each class."""
        if not self._makes:
            return
        classes = int(labels.max()) + 1
        most = max(_ROWS, self.n_prototypes)
        rows = torch.cat([(labels == code).nonzero()[:most, 0] for code in range(classes)])
        embeddings = embed_all(model, images[rows], normalized=False)
        loss = PrototypeMarginLoss(classes, embeddings.shape[1], self.n_prototypes, self.margin)
        loss.initialize(embeddings, labels[rows].to(embeddings.device))
        self.loss = loss.to(embeddings)

    def quality(self, model: nn.Module, images: Tensor, labels: Tensor) -> float:
        """The loss of these images, negative."""
        embeddings = embed_all(model, images, normalized=False)
        return -float(self.loss(embeddings, labels.to(embeddings.device)).detach())

    def __call__(
        self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """See :class:`Scheme`."""
        del generator
        if self.loss is None:
            raise InputError("CertifiedPrototypes has no points before prepare, which a Trainer calls.")
        return self.loss(model(images), labels)


@dataclass
class _Adversarial(Scheme):
    attack: PGD = field(default_factory=lambda: PGD(eps=77 / 255, step=3 / 255, steps=32))


@dataclass
class RobustOptimization(_Adversarial):
    """Robust optimisation of a metric loss (Panum et al., 2021).

    One role of the mined triplets is attacked, its partners frozen at their clean embeddings: positives and
    anchors go away from what they should be near, negatives and anchors to what they should be far from.
    The attacked images stand behind the batch, and the triplets point to them. The paper has an ℓ∞ ball of
    0.01, five steps of 2ε/5 and a random start.

    Parameters
    ----------
    role : {"positive", "negative", "anchor"}
    rate : float
        Share of triplets that are attacked, drawn anew in each batch.
    """

    role: Literal["positive", "negative", "anchor"] = "positive"
    rate: float = 1.0

    def __post_init__(self) -> None:
        if self.role not in ("positive", "negative", "anchor"):
            raise InputError(f"role must be 'positive', 'negative' or 'anchor', got {self.role!r}.")
        if not 0 <= self.rate <= 1:
            raise InputError(f"rate must be between 0 and 1, got {self.rate}.")

    def __call__(
        self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """See :class:`Scheme`."""
        clean, triplets = self._mined(model, images, labels, generator)
        place = ("anchor", "positive", "negative").index(self.role)
        chosen = (torch.rand(len(triplets[0]), generator=generator) < self.rate).to(images.device)
        if not chosen.any():
            embeddings = embed(model, images)
            return self.loss(embeddings, labels, triplets)
        anchors, positives, negatives = (clean[part[chosen]] for part in triplets)

        def objective(moved: Tensor) -> Tensor:
            found = embed(model, moved)
            if self.role == "positive":
                return torch.linalg.vector_norm(found - anchors, dim=1)
            if self.role == "negative":
                return -torch.linalg.vector_norm(found - anchors, dim=1)
            return hardness(found, positives, negatives)

        rows = triplets[place][chosen]
        with evaluating(model):
            moved = self.attack(objective, images[rows], generator)
        pointers = [part.clone() for part in triplets]
        pointers[place][chosen] = len(images) + torch.arange(len(rows), device=images.device)
        embeddings = embed(model, torch.cat([images, moved]))
        return self.loss(embeddings, torch.cat([labels, labels[rows]]), tuple(pointers))


class EST(_Adversarial):
    """Embedding-shifted training (Zhou et al., ECCV 2020): the loss where each embedding is far from its own.

    Each image maximises ‖φ(x + δ) − φ(x)‖; triplets are mined among what results.
    """

    def __call__(
        self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """See :class:`Scheme`."""
        with evaluating(model):
            with torch.no_grad():
                clean = embed(model, images)
            noise = torch.randint(-1, 2, clean.shape, generator=generator).to(clean)
            away = clean + _NOISE * noise
            moved = self.attack(
                lambda x: torch.linalg.vector_norm(embed(model, x) - away, dim=1), images, generator
            )
        embeddings = embed(model, moved)
        return self.loss(embeddings, labels, self._mine(embeddings, labels, generator))


class ACT(_Adversarial):
    """Anti-collapse triplets (Zhou et al., 2021): positives and negatives are drawn onto each other.

    Both minimise d(p, n); the loss is that of the clean anchors before them.
    """

    def __call__(
        self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """See :class:`Scheme`."""
        _, triplets = self._mined(model, images, labels, generator)

        def objective(moved: Tensor) -> Tensor:
            positives, negatives = embed(model, moved).chunk(2)
            return -torch.linalg.vector_norm(positives - negatives, dim=1)

        with evaluating(model):
            moved = self.attack(objective, images[torch.cat(triplets[1:])], generator)
        positives, negatives = embed(model, moved).chunk(2)
        anchors = embed(model, images[triplets[0]])
        return of_triplets(self.loss, (anchors, positives, negatives), labels, triplets)


def intra_class_structure(anchors: Tensor, attacked: Tensor, positives: Tensor) -> Tensor:
    """Mean of [d(a, ã) − d(a, p)]₊: an attacked anchor stays nearer to itself than to one of its class."""
    return hardness(anchors, attacked, positives).clamp(min=0).mean()


@dataclass
class HardnessManipulation(_Adversarial):
    """HM[source, destination] (Zhou & Patel, CVPR 2022): triplets become as hard as asked, and no harder.

    With H = d(a, p) − d(a, n), all three images of a triplet of the miner minimise ([H_D − H]₊)², so that
    an attack ends where H reaches the destination H_D: the hardness of the triplet that ``destination`` mines
    for the same anchor, a constant, or with ``"lga"`` (linear gradual adversary) −γ · min(γ, ℓ) / γ for the
    loss ℓ of the batch before. The ends of the range are plain training, at −2, and min-max training, at 2:
    no hardness is beyond them.

    Parameters
    ----------
    destination : strategy of :class:`TripletMiner`, float or "lga"
    margin : float
        γ of the triplet loss, for ``"lga"`` and semi-hard triplets.
    ics : float
        Weight λ of the intra-class structure [d(a, ã) − d(a, p)]₊, with ã the attacked anchor; 0.5 in the
        paper, 0 without.
    """

    destination: Strategy | float | Literal["lga"] = "lga"
    margin: float = 0.2
    ics: float = 0.0
    previous: float = field(default=torch.inf, init=False)

    def __post_init__(self) -> None:
        if not 0 < self.margin < torch.inf:
            raise InputError(f"margin must be positive and finite, got {self.margin}.")
        if not isinstance(self.destination, str) and not -torch.inf < self.destination < torch.inf:
            raise InputError(f"destination must be finite, got {self.destination}.")
        if not 0 <= self.ics < torch.inf:
            raise InputError(f"ics must be 0 or more, and finite, got {self.ics}.")
        self._other: TripletMiner | None = None
        if isinstance(self.destination, str) and self.destination != "lga":
            if not isinstance(self.miner, TripletMiner):
                raise InputError("destination can be a kind of triplets only where miner is a TripletMiner.")
            self._other = TripletMiner(self.destination, margin=self.margin, anchors=self.miner.anchors)

    def __call__(
        self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """See :class:`Scheme`."""
        clean, triplets = self._mined(model, images, labels, generator)
        destination = self._destination(clean, labels)

        def objective(moved: Tensor) -> Tensor:
            found = hardness(*embed(model, moved).chunk(3))
            return -(destination - found).clamp(min=0).square()

        with evaluating(model):
            moved = self.attack(objective, images[torch.cat(triplets)], generator)
        anchors, positives, negatives = embed(model, moved).chunk(3)
        loss = of_triplets(self.loss, (anchors, positives, negatives), labels, triplets)
        self.previous = float(loss.detach())
        if not self.ics:
            return loss
        own, positive = embed(model, images[torch.cat(triplets[:2])]).chunk(2)
        return loss + self.ics * intra_class_structure(own, anchors, positive)

    def _destination(self, clean: Tensor, labels: Tensor) -> Tensor | float:
        """H_D of each triplet, or of all."""
        if self._other is not None and isinstance(self.miner, TripletMiner):
            self._other.generator = self.miner.generator
            anchors, positives, negatives = self._other(clean, labels)
            return hardness(clean[anchors], clean[positives], clean[negatives])
        return -min(self.margin, self.previous) if self.destination == "lga" else float(self.destination)

    def reset(self) -> None:
        """Begin anew: no batch before."""
        self.previous = torch.inf

    def state_dict(self) -> dict[str, float]:
        """The loss of the batch before."""
        return {"previous": self.previous}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from there."""
        self.previous = float(state["previous"])
