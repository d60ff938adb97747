"""The certified error at a few radii: one question for each, about the points that are not broken yet.

And which radii, where nobody has said so.
"""

import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certimetric._validation import FloatArray
from certimetric.certification import Certification, quantile
from certimetric.neighbors import CertifiedKNeighborsClassifier

__all__ = ["certify_at", "nice_radii"]

_NEAR_ZERO = 1e-9
"""Radius 0 is asked about as this share of the smallest other one: there is no question below it."""


def certify_at(
    classifier: CertifiedKNeighborsClassifier,
    X: FloatArray,
    y: NDArray[Any] | None,
    radii: FloatArray,
    *,
    time_limit: float | None = None,
    **options: Any,
) -> Certification:
    """One result whose intervals decide each of some radii, as far as the limits allow.

    Parameters
    ----------
    classifier : CertifiedKNeighborsClassifier
        Fitted.
    X, y, time_limit, **options
        As for :meth:`CertifiedKNeighborsClassifier.certify`, without adversarial points. The time limit is
        for all questions together.
    radii : ndarray of shape (k,)
        ℓ2 norms.
    """
    begun = time.perf_counter()
    levels = _questions(radii)
    if not len(levels):
        return classifier.certify(X, y, time_limit=time_limit, **options)
    first, *others = levels.tolist()
    total = classifier.certify(X, y, eps=first, time_limit=time_limit, **options)
    for eps in others:
        left = None if time_limit is None else max(time_limit - (time.perf_counter() - begun), 0.0)
        # A point that is broken within a radius is broken within all larger ones.
        asked = np.flatnonzero(total.upper > eps)
        if len(asked):
            labels = None if y is None else y[asked]
            answer = classifier.certify(X[asked], labels, eps=eps, time_limit=left, **options)
            total = _merged(total, asked, answer)
    run = replace(total.run, eps=float(levels[-1]), elapsed=time.perf_counter() - begun)
    return replace(total, run=run)


def _questions(radii: FloatArray) -> FloatArray:
    positive = np.unique(radii[(radii > 0) & np.isfinite(radii)])
    near_zero = positive[:1] * _NEAR_ZERO if (radii == 0).any() else positive[:0]
    return np.concatenate([near_zero[near_zero > 0], positive])


def _merged(total: Certification, asked: NDArray[np.intp], answer: Certification) -> Certification:
    """What is known after another answer about some of the points."""
    arrays = {name: array.copy() for name, array in total.to_dict().items()}
    new = answer.to_dict()
    for name in ("seconds", "programs", "steps", "nodes"):
        arrays[name][asked] += new[name]
    arrays["lower"][asked] = np.maximum(arrays["lower"][asked], new["lower"])
    arrays["status"][asked] = new["status"]
    closer = new["upper"] < arrays["upper"][asked]
    # A point that this question did not reach in time keeps the prediction that an earlier one brought.
    reached = np.array([label is not None for label in new["predicted"].tolist()])
    for name, better in (("upper", closer), ("rival", closer), ("predicted", reached)):
        arrays[name][asked[better]] = new[name][better]
    parts: dict[str, Any] = {"y": None, **arrays}
    return replace(answer, **parts)


def nice_radii(cert: Certification, count: int = 6) -> FloatArray:
    """Zero and about ``count`` round radii up to where nine tenths of the points are broken."""
    # Where no point is known to be broken, up to what is proven.
    ends = cert.upper if np.isfinite(cert.upper).any() else cert.lower
    finite = ends[np.isfinite(ends)]
    last = quantile(finite, 0.9) if len(finite) else 0.0
    if last <= 0:
        return np.array([0.0, 1.0])
    exponent = np.floor(np.log10(last / count))
    step = min((s * 10.0**exponent for s in (1.0, 2.0, 2.5, 5.0, 10.0)), key=lambda s: abs(last / s - count))
    return np.asarray(step * np.arange(count + 1), dtype=np.float64)
