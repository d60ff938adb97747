"""Exact certification of 1-NN against FAISS's prediction of the same points.

FAISS says which label is predicted; certimetric also proves how far that label holds. Both have their index
built beforehand. Points that are misclassified have radius 0 and cost a prediction only, as in the published
protocol; the figure with every point certified for its predicted label stands in the note.
"""

import statistics
from collections.abc import Iterator

import numpy as np

from _data import Data, float32, load
from _figures import Figure, Settings, Target, alternate, clock, compare, ratios
from _peers import FlatIndex, flat_indexes
from certimetric import CertifiedKNeighborsClassifier

TARGETS = {
    "fashion_mnist": Target(0.4, aim=0.25),
    "mnist": Target(0.5, aim=0.35),
    "usps": Target(1.0),
    "satimage": Target(2.5),
    "pendigits": Target(2.5),
}


def measure(settings: Settings, name: str) -> Iterator[Figure]:
    """Ratios of certification to prediction on one data set."""
    data = load(settings.data, name).points(settings.points)
    classifier = CertifiedKNeighborsClassifier(n_jobs=settings.threads).fit(data.X, data.y)
    (queries,) = float32([data.Z])
    with flat_indexes(data.X, settings.threads) as indexes:
        # A search stands before each certification: neither finds the index in the caches.
        first, *others = ((title, index.side(queries, 1)) for title, index in indexes.items())
        sides = dict(
            [
                ("ours", clock(lambda: classifier.certify(data.Z, data.t))),
                first,
                ("ours, all", clock(lambda: classifier.certify(data.Z))),
                *others,
            ]
        )
        spent = alternate(sides, settings.repetitions)
        agreement = "; " + _agreement(data, classifier, next(iter(indexes.values())))
    for title in indexes:
        every = statistics.median(ratios(spent["ours, all"], spent[title]))
        work = f"certify {len(data.Z):,} points of {data.title}"
        note = f"every point for its predicted label: {every:.3g} ×{agreement}"
        yield compare(work, spent, title, TARGETS[name], note=note)
        agreement = ""


def _agreement(data: Data, classifier: CertifiedKNeighborsClassifier, index: FlatIndex) -> str:
    """How often the predictions differ, and how tight the intervals are."""
    result = classifier.certify(data.Z, data.t)
    _, _, rows = index.search(*float32([data.Z]), 1)
    different = int(np.count_nonzero(data.y[rows[:, 0]] != result.predicted))
    positive = result.upper > 0
    gap = float(np.max(1.0 - result.lower[positive] / result.upper[positive], initial=0.0))
    return f"predictions differ at {different}; widest interval {gap:.1g}; {result.share_exact:.1%} exact"


CASES = {name: lambda settings, name=name: measure(settings, name) for name in TARGETS}
