"""Which radii a table has, where nobody has said so."""

import numpy as np

from certimetric._validation import FloatArray
from certimetric.certification import Certification, quantile

__all__ = ["nice_radii"]


def nice_radii(cert: Certification, count: int = 6) -> FloatArray:
    """Zero and about ``count`` round radii up to where nine tenths of the points are broken."""
    # Where no point is known to be broken but those that are wrong, up to what is proven.
    broken = np.isfinite(cert.upper) & (cert.upper > 0)
    ends = cert.upper if broken.any() else cert.lower
    finite = ends[np.isfinite(ends)]
    # Where fewer than a tenth have any radius, up to the largest.
    last = (quantile(finite, 0.9) or float(finite.max())) if len(finite) else 0.0
    if last <= 0:
        return np.array([0.0, 1.0])
    exponent = np.floor(np.log10(last / count))
    step = min((s * 10.0**exponent for s in (1.0, 2.0, 2.5, 5.0, 10.0)), key=lambda s: abs(last / s - count))
    return np.asarray(step * np.arange(count + 1), dtype=np.float64)
