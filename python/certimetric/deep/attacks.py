"""Projected gradient ascent within a ball around each image and within [0, 1]."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from certimetric.exceptions import InputError

__all__ = ["PGD", "Objective"]

Objective = Callable[[Tensor], Tensor]
"""Images of shape (n, C, H, W) to values of shape (n,), or a value for several images; it is maximised."""


@dataclass(frozen=True)
class PGD:
    """Projected gradient ascent (Madry et al., 2018): x ← Π(x + step · direction), from x itself.

    The direction is sign(∇) for ℓ∞ and ∇ / ‖∇‖₂ for ℓ2; Π is the projection onto the ball of radius
    ``eps`` and onto [0, 1]. Where the gradient is 0, an image stays where it is. No image leaves the ball,
    not by rounding either.

    Parameters
    ----------
    eps : float
        Radius of the ball.
    step : float, optional
        Length of a step in the norm of the ball; default: 2 · eps / steps.
    steps : int
        One step has the length eps (the fast gradient sign method).
    norm : {"linf", "l2"}
    random_start : bool
        Begin at a random point of the ball instead of at x.

    Raises
    ------
    InputError
        A radius or a length that is not positive and finite, no steps, an unknown norm.
    """

    eps: float
    step: float | None = None
    steps: int = 32
    norm: str = "linf"
    random_start: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.eps) and self.eps >= 0):
            raise InputError(f"eps must be 0 or more, and finite, got {self.eps}.")
        if self.step is not None and not (math.isfinite(self.step) and self.step > 0):
            raise InputError(f"step must be positive and finite, got {self.step}.")
        if not isinstance(self.steps, int) or isinstance(self.steps, bool) or self.steps < 1:
            raise InputError(f"steps must be an integer, 1 or more, got {self.steps!r}.")
        if self.norm not in ("linf", "l2"):
            raise InputError(f"norm must be 'linf' or 'l2', got {self.norm!r}.")

    def __call__(
        self, objective: Objective, images: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images within the ball at which the objective is larger, as far as the steps have found.

        The cost is that of ``steps`` forward and backward passes. Parameters of networks get no gradients.

        Parameters
        ----------
        objective : callable
            See :data:`Objective`.
        images : tensor of shape (n, C, H, W), in [0, 1]
        generator : torch.Generator, optional
            For the random start.
        """
        images = images.detach()
        ball = _Box(images, self.eps) if self.norm == "linf" else _Ball(images, self.eps)
        length = self.eps if self.steps == 1 else self.step or 2 * self.eps / self.steps
        moved = ball.random(generator) if self.random_start else images
        for _ in range(self.steps):
            moved = moved.detach().requires_grad_()
            with torch.enable_grad():
                value = objective(moved).sum()
            (gradient,) = torch.autograd.grad(value, moved)
            with torch.no_grad():
                # Of a root at 0, say: no direction.
                gradient = torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
                moved = ball.project(moved + length * ball.direction(gradient))
        return moved.detach()


class _Box:
    """The ℓ∞ ball and [0, 1]: bounds are rounded inwards, once."""

    def __init__(self, images: Tensor, eps: float) -> None:
        exact = images.double()
        upper = (exact + eps).clamp(max=1).to(images.dtype)
        lower = (exact - eps).clamp(min=0).to(images.dtype)
        # Differences of binary64 numbers round themselves.
        always = torch.full_like(images, images.dtype == torch.float64, dtype=torch.bool)
        above, below = upper.double() - exact > eps, exact - lower.double() > eps
        self.upper = torch.where(above | always, torch.nextafter(upper, images), upper)
        self.lower = torch.where(below | always, torch.nextafter(lower, images), lower)

    def random(self, generator: torch.Generator | None) -> Tensor:
        share = torch.rand(self.upper.shape, generator=generator, dtype=self.upper.dtype).to(
            self.upper.device
        )
        return self.project(self.lower + share * (self.upper - self.lower))

    def direction(self, gradient: Tensor) -> Tensor:
        return gradient.sign()

    def project(self, moved: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(moved, self.lower), self.upper)


class _Ball:
    """The ℓ2 ball and [0, 1]: clamping after scaling moves no coordinate away from that of the image."""

    def __init__(self, images: Tensor, eps: float) -> None:
        self.images = images
        self.wide = torch.promote_types(images.dtype, torch.float32)
        # Each coordinate of x + δ rounds by at most half a unit of the last place of 1, δ by a few.
        unit = torch.finfo(images.dtype).eps
        room = eps * 4 * unit + math.sqrt(images[0].numel()) * unit
        self.eps = max(0.0, eps - room)

    def random(self, generator: torch.Generator | None) -> Tensor:
        shape, dtype = self.images.shape, self.images.dtype
        away = torch.randn(shape, generator=generator, dtype=dtype)
        share = torch.rand(shape[0], generator=generator, dtype=dtype) ** (1 / self.images[0].numel())
        away = self.direction(away) * (self.eps * share).reshape(-1, 1, 1, 1)
        return self.project(self.images + away.to(self.images.device))

    def direction(self, gradient: Tensor) -> Tensor:
        # The largest entry first, so that squares neither overflow nor vanish.
        gradient = gradient.to(self.wide)
        scaled = gradient / _positive(gradient.abs().amax(dim=(1, 2, 3), keepdim=True))
        return scaled / _positive(_length(scaled))

    def project(self, moved: Tensor) -> Tensor:
        away = moved.to(self.wide) - self.images
        share = (self.eps / _positive(_length(away))).clamp(max=1)
        return (self.images + share * away).to(self.images.dtype).clamp(0, 1)


def _length(tensor: Tensor) -> Tensor:
    return torch.linalg.vector_norm(tensor, dim=(1, 2, 3), keepdim=True)


def _positive(lengths: Tensor) -> Tensor:
    """The same, with 1 for 0: what is divided by it is 0 too."""
    return torch.where(lengths > 0, lengths, torch.ones_like(lengths))
