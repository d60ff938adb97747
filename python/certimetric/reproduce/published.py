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
            "pendigits": (0.032, 0.119, 0.347, 0.606, 0.829, 0.969),
            "satimage": (0.108, 0.642, 0.864, 0.905, 0.928, 0.951),
            "splice": (0.320, 0.513, 0.677, 0.800, 0.854, 0.880),
            "usps": (0.045, 0.224, 0.585, 0.864, 0.970, 0.999),
            "fashion_mnist": (0.145, 0.381, 0.606, 0.790, 0.879, 0.943),
            "mnist": (0.033, 0.112, 0.274, 0.521, 0.788, 0.945),
        },
        "nca": {
            "pendigits": (0.034, 0.202, 0.586, 0.911, 0.997, 1.0),
            "satimage": (0.103, 0.710, 0.885, 0.915, 0.940, 0.963),
            "splice": (0.130, 0.252, 0.404, 0.584, 0.733, 0.836),
            "usps": (0.056, 0.384, 0.888, 0.987, 1.0, 1.0),
            "fashion_mnist": (0.116, 0.538, 0.834, 0.950, 0.998, 1.0),
            "mnist": (0.025, 0.140, 0.452, 0.839, 0.977, 1.0),
        },
        "lmnn": {
            "pendigits": (0.029, 0.183, 0.570, 0.912, 0.995, 0.999),
            "satimage": (0.092, 0.665, 0.871, 0.912, 0.944, 0.969),
            "splice": (0.190, 0.345, 0.533, 0.697, 0.814, 0.874),
            "usps": (0.046, 0.825, 1.0, 1.0, 1.0, 1.0),
            "fashion_mnist": (0.142, 0.756, 0.991, 1.0, 1.0, 1.0),
            "mnist": (0.032, 0.641, 0.999, 1.0, 1.0, 1.0),
        },
        "itml": {
            "pendigits": (0.049, 0.308, 0.794, 0.991, 1.0, 1.0),
            "satimage": (0.127, 0.807, 0.979, 1.0, 1.0, 1.0),
            "splice": (0.306, 0.488, 0.679, 0.809, 0.862, 0.882),
            "usps": (0.060, 0.720, 0.999, 1.0, 1.0, 1.0),
            "fashion_mnist": (0.163, 0.672, 0.929, 0.998, 1.0, 1.0),
            "mnist": (0.073, 0.571, 0.928, 1.0, 1.0, 1.0),
        },
        "lfda": {
            "pendigits": (0.042, 0.236, 0.603, 0.912, 0.998, 1.0),
            "satimage": (0.125, 0.836, 0.919, 0.956, 0.992, 1.0),
            "splice": (0.264, 0.434, 0.605, 0.760, 0.845, 0.872),
            "usps": (0.098, 1.0, 1.0, 1.0, 1.0, 1.0),
            "fashion_mnist": (0.211, 1.0, 1.0, 1.0, 1.0, 1.0),
            "mnist": (0.152, 1.0, 1.0, 1.0, 1.0, 1.0),
        },
        "arml": {
            "pendigits": (0.028, 0.115, 0.344, 0.598, 0.823, 0.967),
            "satimage": (0.095, 0.605, 0.839, 0.899, 0.920, 0.946),
            "splice": (0.130, 0.233, 0.370, 0.526, 0.652, 0.758),
            "usps": (0.043, 0.204, 0.565, 0.857, 0.970, 0.999),
            "fashion_mnist": (0.127, 0.348, 0.568, 0.763, 0.859, 0.928),
            "mnist": (0.024, 0.089, 0.222, 0.455, 0.757, 0.924),
        },
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
            "pendigits": (0.039, 0.126, 0.316, 0.577, 0.784, 0.937),
            "satimage": (0.101, 0.579, 0.842, 0.899, 0.927, 0.948),
            "splice": (0.333, 0.558, 0.826, 0.965, 0.988, 0.996),
            "usps": (0.063, 0.239, 0.586, 0.888, 0.977, 1.0),
            "fashion_mnist": (0.160, 0.420, 0.650, 0.800, 0.895, 0.946),
            "mnist": (0.038, 0.134, 0.360, 0.618, 0.814, 0.975),
        },
        "nca": {
            "pendigits": (0.038, 0.196, 0.607, 0.884, 0.997, 1.0),
            "satimage": (0.117, 0.670, 0.886, 0.915, 0.936, 0.961),
            "splice": (0.103, 0.209, 0.415, 0.659, 0.824, 0.921),
            "usps": (0.072, 0.367, 0.903, 0.986, 1.0, 1.0),
            "fashion_mnist": (0.144, 0.557, 0.832, 0.946, 1.0, 1.0),
            "mnist": (0.030, 0.175, 0.528, 0.870, 0.986, 1.0),
        },
        "lmnn": {
            "pendigits": (0.034, 0.180, 0.568, 0.898, 0.993, 0.999),
            "satimage": (0.105, 0.613, 0.855, 0.914, 0.944, 0.961),
            "splice": (0.149, 0.332, 0.630, 0.851, 0.969, 0.994),
            "usps": (0.062, 0.856, 1.0, 1.0, 1.0, 1.0),
            "fashion_mnist": (0.158, 0.792, 0.991, 1.0, 1.0, 1.0),
            "mnist": (0.040, 0.669, 1.0, 1.0, 1.0, 1.0),
        },
        "itml": {
            "pendigits": (0.060, 0.334, 0.773, 0.987, 1.0, 1.0),
            "satimage": (0.130, 0.768, 0.959, 1.0, 1.0, 1.0),
            "splice": (0.279, 0.571, 0.843, 0.974, 0.995, 0.997),
            "usps": (0.082, 0.696, 0.999, 1.0, 1.0, 1.0),
            "fashion_mnist": (0.236, 0.784, 0.949, 1.0, 1.0, 1.0),
            "mnist": (0.106, 0.731, 0.943, 1.0, 1.0, 1.0),
        },
        "lfda": {
            "pendigits": (0.047, 0.228, 0.595, 0.904, 1.0, 1.0),
            "satimage": (0.128, 0.779, 0.904, 0.958, 0.995, 1.0),
            "splice": (0.242, 0.471, 0.705, 0.906, 0.987, 0.997),
            "usps": (0.134, 1.0, 1.0, 1.0, 1.0, 1.0),
            "fashion_mnist": (0.291, 1.0, 1.0, 1.0, 1.0, 1.0),
            "mnist": (0.237, 1.0, 1.0, 1.0, 1.0, 1.0),
        },
        "arml": {
            "pendigits": (0.035, 0.114, 0.308, 0.568, 0.780, 0.937),
            "satimage": (0.103, 0.540, 0.824, 0.898, 0.920, 0.943),
            "splice": (0.128, 0.221, 0.345, 0.509, 0.666, 0.819),
            "usps": (0.057, 0.203, 0.527, 0.867, 0.971, 0.997),
            "fashion_mnist": (0.152, 0.371, 0.589, 0.755, 0.856, 0.924),
            "mnist": (0.034, 0.101, 0.276, 0.537, 0.760, 0.951),
        },
    },
)
