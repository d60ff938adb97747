"""The loss of exact radii, and what a learner reads off the data before it begins."""

import math
from typing import NamedTuple

import numpy as np

from certimetric import _native
from certimetric._validation import FloatArray, IntArray

__all__ = ["RadiusLoss", "Worth", "anneal", "radius_loss", "reach", "signed_radii", "spread"]

_SAMPLE = 2000
"""Rows whose radii say how far radii go."""

Points = tuple[FloatArray, IntArray]
"""Rows (n, d) and their class codes (n,)."""


class Worth(NamedTuple):
    """What a signed radius s counts for.

    The loss is minus the integral of a weight: 1 for negative s, exp(−s / decay) for others, and 0 for radii
    of ``cap`` or more and for rows that are wrong by ``low`` or more. Lengths are ℓ2 in input space.
    """

    low: float = math.inf
    cap: float = math.inf
    decay: float = math.inf


class RadiusLoss(NamedTuple):
    """Mean loss, signed radii (m,), and the gradients that were asked for, like what they are by."""

    loss: float
    radii: FloatArray
    gradients: dict[str, FloatArray]


def radius_loss(
    points: Points,
    components: FloatArray | None,
    anchors: Points,
    worth: Worth,
    *,
    itself: IntArray | None = None,
    nearest: int | None = None,
    by: tuple[str, ...] = (),
    n_jobs: int = 1,
) -> RadiusLoss:
    """The loss of anchors before points, and its gradients by "points" or "components".

    Radii are no more than the cap; NaN where there is none: no point of the class, or points that coincide.
    ``itself`` has for each anchor the point that is left out, −1 for none; with ``nearest`` the others that
    are not among so many nearest of their kind, of the anchor's class or not, are left out as well.
    """
    loss, radii, by_components, by_points = _native.radius_objective(
        *points,
        components,
        *anchors,
        (worth.low, worth.cap, worth.decay),
        itself=itself,
        nearest=nearest,
        by_components="components" in by,
        by_points="points" in by,
        n_jobs=n_jobs,
    )
    gradients = {"components": by_components, "points": by_points}
    return RadiusLoss(loss, radii, {name: found for name, found in gradients.items() if found is not None})


def signed_radii(
    points: Points,
    components: FloatArray | None,
    anchors: Points,
    cap: float = math.inf,
    *,
    itself: IntArray | None = None,
    n_jobs: int = 1,
) -> FloatArray:
    """Signed radii of anchors, ndarray of shape (m,)."""
    return radius_loss(points, components, anchors, Worth(cap=cap), itself=itself, n_jobs=n_jobs).radii


def reach(radii: FloatArray) -> float:
    """A radius that few rows pass, now or when something has been learned: 1.25 times the 95 % quantile."""
    sizes = np.abs(radii[np.isfinite(radii)])
    longest = 1.25 * float(np.quantile(sizes, 0.95)) if len(sizes) else 0.0
    return longest if longest > 0 else math.inf


def spread(n: int) -> IntArray:
    """Rows spread over all of them, as many as it takes to know how far radii go."""
    return np.unique(np.linspace(0, n - 1, min(n, _SAMPLE)).astype(np.int64))


def anneal(rate: float, done: float) -> float:
    """A learning rate that falls to 0 by half a cosine; ``done`` is the part of the steps behind it."""
    return rate * (1 + math.cos(math.pi * min(done, 1.0))) / 2
