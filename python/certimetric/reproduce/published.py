"""Published numbers, as they were published: certified robust errors to three digits."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ARML_TABLE_1", "ARML_TABLE_2", "Published"]

_ARML = 'Wang, Liu, Yi, Jiang, Hsieh, "Provably Robust Metric Learning", NeurIPS 2020, arXiv 2006.07024'

_IMAGES = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)
_TENTHS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
# The quick ones first: a run goes through them in this order.
_RADII = {
    "pendigits": _TENTHS,
    "satimage": (0.0, 0.15, 0.30, 0.45, 0.60, 0.75),
    "splice": _TENTHS,
    "usps": _IMAGES,
    "fashion_mnist": _IMAGES,
    "mnist": _IMAGES,
}


@dataclass(frozen=True)
class Published:
    """One published table.

    Attributes
    ----------
    source : str
        Where it is.
    n_neighbors : int
        K of the classifier.
    rule, method : str
        How its radii are certified, as arguments of :meth:`CertifiedKNeighborsClassifier.certify`.
    radii : mapping of str to tuple of float
        By data set, the ℓ2 norms at which errors are counted.
    errors : mapping of str to mapping of str to tuple of float
        By metric and data set, the shares of test points that are not certified.
    """

    source: str
    n_neighbors: int
    rule: str
    method: str
    radii: Mapping[str, tuple[float, ...]]
    errors: Mapping[str, Mapping[str, tuple[float, ...]]]


ARML_TABLE_1 = Published(
    source=f"{_ARML}, Table 1",
    n_neighbors=1,
    rule="plurality",
    method="exact",
    radii=_RADII,
    errors={
        "euclidean": {
            "mnist": (0.033, 0.112, 0.274, 0.521, 0.788, 0.945),
            "fashion_mnist": (0.145, 0.381, 0.606, 0.790, 0.879, 0.943),
            "usps": (0.045, 0.224, 0.585, 0.864, 0.970, 0.999),
            "pendigits": (0.032, 0.119, 0.347, 0.606, 0.829, 0.969),
            "satimage": (0.108, 0.642, 0.864, 0.905, 0.928, 0.951),
            "splice": (0.320, 0.513, 0.677, 0.800, 0.854, 0.880),
        }
    },
)

ARML_TABLE_2 = Published(
    source=f"{_ARML}, Table 2",
    n_neighbors=11,
    rule="majority",
    method="bound",
    radii=_RADII,
    errors={
        "euclidean": {
            "mnist": (0.038, 0.134, 0.360, 0.618, 0.814, 0.975),
            "fashion_mnist": (0.160, 0.420, 0.650, 0.800, 0.895, 0.946),
            "usps": (0.063, 0.239, 0.586, 0.888, 0.977, 1.0),
            "pendigits": (0.039, 0.126, 0.316, 0.577, 0.784, 0.937),
            "satimage": (0.101, 0.579, 0.842, 0.899, 0.927, 0.948),
            "splice": (0.333, 0.558, 0.826, 0.965, 0.988, 0.996),
        }
    },
)
