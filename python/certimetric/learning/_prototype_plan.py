"""What a fit of prototypes goes by: its parameters, and in place of "auto" what suits the data."""

import math
from dataclasses import dataclass

import numpy as np

from certimetric._validation import FloatArray, IntArray
from certimetric.exceptions import InputError
from certimetric.learning._base import Labelled
from certimetric.learning._descent import Known, Values
from certimetric.learning._radii import Worth, signed_radii
from certimetric.metric import Mahalanobis

__all__ = ["Plan", "check_precision", "components_of", "first_rate"]

_GIVEN_UP = 0.1
"""With a decay, rows that are wrong by such a part of the cap do not count: few will ever be right."""

_COARSE = 0.05
"""The part of how far radii go that rounding may move a prototype by."""


@dataclass(frozen=True)
class Plan:
    """First prototypes, length of the first step, and share of the prototypes that a step is before."""

    cap: float
    decay: float | None
    """None: chosen by trials."""
    rate: float
    batch: int
    epochs: int
    metric: Mahalanobis
    start: FloatArray
    codes: IntArray
    share: float

    def draw(self, rng: np.random.Generator) -> IntArray:
        """The prototypes that a step is before; all of them where none would be."""
        drawn = np.flatnonzero(rng.random(len(self.codes)) < self.share)
        return drawn if len(drawn) else np.arange(len(self.codes))

    def decay_of(self, chosen: Known) -> float | None:
        """How fast radii lose worth; None where that is not chosen yet."""
        is_known = self.decay is not None or "decay" in chosen
        return self.worth(chosen).decay if is_known else None

    def worth(self, chosen: Known) -> Worth:
        """What radii are worth."""
        decay = float(chosen["decay"]) if self.decay is None else self.decay
        return Worth(self.cap if math.isinf(decay) else _GIVEN_UP * self.cap, self.cap, decay)

    def points(self, values: Values) -> tuple[FloatArray, IntArray]:
        """Prototypes and their codes."""
        return values["points"], self.codes

    def components(self, values: Values) -> FloatArray | None:
        """G; None for the Euclidean metric."""
        return values.get("components", components_of(self.metric))

    def radii(self, values: Values, rows: Labelled, cap: float, n_jobs: int) -> FloatArray:
        """Signed radii of rows, 0 where there is none."""
        anchors = rows.rows, rows.codes
        found = signed_radii(self.points(values), self.components(values), anchors, cap, n_jobs=n_jobs)
        return np.nan_to_num(found, nan=0.0)


def components_of(metric: Mahalanobis) -> FloatArray | None:
    """G; None for the Euclidean metric."""
    return None if metric.is_euclidean else metric.components_


def first_rate(far: float, features: int) -> float:
    """Of each coordinate, so that the length of a step is no more than a 30th of how far radii go."""
    return far / max(180.0, 30 * math.sqrt(features)) if math.isfinite(far) else 1.0


def check_precision(precision: str, rows: FloatArray, far: float) -> None:
    """Raise where rounding may move prototypes by more than a small part of how far radii go."""
    if precision == "float64":
        return
    limits = np.finfo(precision)
    largest = float(np.abs(rows).max())
    # Numbers below the smallest normal one are as far apart as those beside it.
    step = float(limits.eps) * max(float(np.linalg.norm(rows, axis=1).max()), float(limits.tiny))
    if largest > float(limits.max) / 4 or step > _COARSE * far:
        raise InputError(
            f"precision={precision!r} is too coarse: of numbers up to {largest:.3g} it moves rows "
            f"by {step:.2g}, and radii go no further than {far:.2g}. Shift or scale X, or take another."
        )
