"""Exact robustness radii of nearest-neighbour classifiers under Mahalanobis metrics.

A point goes in, a proven interval around its robustness radius comes out.

>>> import certimetric as cm
>>> clf = cm.CertifiedKNeighborsClassifier().fit([[0.0, 0.0], [2.0, 0.0]], [0, 1])
>>> float(clf.certify([[0.5, 0.0]], [0]).upper.round(9)[0])
0.5
"""

import warnings

from certimetric import metrics
from certimetric._versions import native_build, show_versions
from certimetric.certification import Certification, load_certification
from certimetric.metric import Mahalanobis
from certimetric.neighbors import CertifiedKNeighborsClassifier
from certimetric.search import kneighbors, pairwise_distances, triplet_radius

__all__ = [
    "Certification",
    "CertifiedKNeighborsClassifier",
    "Mahalanobis",
    "__version__",
    "kneighbors",
    "load_certification",
    "metrics",
    "pairwise_distances",
    "show_versions",
    "triplet_radius",
]

_build = native_build()
__version__: str = _build["version"]

if _build["profile"] == "debug":
    warnings.warn(
        "certimetric's core is a debug build, many times slower than: maturin develop --release",
        RuntimeWarning,
        stacklevel=2,
    )
