"""Exact robustness radii of nearest-neighbour classifiers under Mahalanobis metrics.

A point goes in, a proven interval around its robustness radius comes out.

>>> import certimetric as cm
>>> clf = cm.CertifiedKNeighborsClassifier().fit([[0.0, 0.0], [2.0, 0.0]], [0, 1])
>>> float(clf.certify([[0.5, 0.0]], [0]).upper.round(9)[0])
0.5
"""

import functools
import warnings
from importlib import import_module
from typing import TYPE_CHECKING

__all__ = [
    "Certification",
    "CertifiedKNeighborsClassifier",
    "Mahalanobis",
    "__version__",
    "kneighbors",
    "learning",
    "load_certification",
    "metrics",
    "pairwise_distances",
    "show_versions",
    "triplet_radius",
]

_HOMES = {
    "Certification": "certification",
    "CertifiedKNeighborsClassifier": "neighbors",
    "Mahalanobis": "metric",
    "__version__": "_versions",
    "kneighbors": "search",
    "load_certification": "certification",
    "pairwise_distances": "search",
    "show_versions": "_versions",
    "triplet_radius": "search",
}
"""Where names are from."""

_MODULES = (
    "certificate",
    "certification",
    "datasets",
    "display",
    "exceptions",
    "learning",
    "metric",
    "metrics",
    "neighbors",
    "search",
    "testing",
)

if TYPE_CHECKING:
    from certimetric import learning, metrics
    from certimetric._versions import __version__, show_versions
    from certimetric.certification import Certification, load_certification
    from certimetric.metric import Mahalanobis
    from certimetric.neighbors import CertifiedKNeighborsClassifier
    from certimetric.search import kneighbors, pairwise_distances, triplet_radius
else:
    # On first use: the numerical libraries take seconds to import, and the command line listens to Ctrl-C
    # before that. Type checkers read the imports above.
    def __getattr__(name: str) -> object:
        if name in _MODULES:
            value = import_module(f"{__name__}.{name}")
        elif name in _HOMES:
            value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        _warn_of_debug_build()
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})


@functools.cache
def _warn_of_debug_build() -> None:
    from certimetric._versions import native_build

    if native_build()["profile"] == "debug":
        warnings.warn(
            "certimetric's core is a debug build, many times slower than: maturin develop --release",
            RuntimeWarning,
            stacklevel=3,
        )
