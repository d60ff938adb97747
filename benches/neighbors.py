"""Exact nearest neighbours against FAISS's flat index and scikit-learn's brute force."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from _data import float32, load, made, random_metric
from _figures import Figure, Settings, Target, alternate, clock, compare
from _peers import flat_indexes
from certimetric import CertifiedKNeighborsClassifier

_FLAT = {1: Target(0.5), 11: Target(0.8)}
_BRUTE = Target(0.3)
_MAHALANOBIS = Target(50, at_least=True)


def euclidean(settings: Settings, count: int) -> Iterator[Figure]:
    """k nearest neighbours of test points of Fashion-MNIST."""
    data = load(settings.data, "fashion_mnist").points(settings.points)
    ours = CertifiedKNeighborsClassifier(n_jobs=settings.threads).fit(data.X, data.y)
    brute = NearestNeighbors(algorithm="brute", n_jobs=settings.threads).fit(data.X)
    (queries,) = float32([data.Z])
    with flat_indexes(data.X, settings.threads) as indexes:
        sides = {
            "ours": clock(lambda: ours.kneighbors(data.Z, count)),
            **{title: index.side(queries, count) for title, index in indexes.items()},
            "scikit-learn brute": clock(lambda: brute.kneighbors(data.Z, count)),
        }
        spent = alternate(sides, settings.repetitions)
    note = _agreement(ours.kneighbors(data.Z, count), brute.kneighbors(data.Z, count))
    work = f"kneighbors, k = {count}, {len(data.Z):,} points of {data.title}"
    for title in indexes:
        yield compare(work, spent, title, _FLAT[count])
    yield compare(work, spent, "scikit-learn brute", _BRUTE, note=note)


def mahalanobis(settings: Settings) -> Iterator[Figure]:
    """Nearest neighbours under a full matrix; few queries, as scikit-learn takes O(d²) for each pair."""
    data = made(10_000, 200, 20 if settings.quick else 100)
    matrix = random_metric(200, 10.0)
    ours = CertifiedKNeighborsClassifier(metric=matrix, n_jobs=settings.threads).fit(data.X, data.y)
    peer = NearestNeighbors(
        algorithm="brute", metric="mahalanobis", metric_params={"VI": matrix}, n_jobs=settings.threads
    ).fit(data.X)
    sides = {
        "ours": clock(lambda: ours.kneighbors(data.Z, 1)),
        "scikit-learn": clock(lambda: peer.kneighbors(data.Z, 1)),
    }
    spent = alternate(sides, min(settings.repetitions, 5))
    note = _agreement(ours.kneighbors(data.Z, 1), peer.kneighbors(data.Z, 1))
    work = f"kneighbors, full M, {len(data.Z)} points of made 10,000 × 200"
    yield compare(work, spent, "scikit-learn", _MAHALANOBIS, note=note)


_Answer = tuple[NDArray[np.float64], NDArray[np.int64]]


def _agreement(ours: _Answer, theirs: _Answer) -> str:
    """That both sides found the same neighbours."""
    deviation = float(np.max(np.abs(ours[0] - theirs[0]) / np.maximum(ours[0], np.finfo(np.float64).tiny)))
    different = int(np.count_nonzero(ours[1] != theirs[1]))
    return f"distances within {deviation:.1g} of scikit-learn's; {different} of {ours[1].size} rows differ"


CASES = {
    "k1": lambda settings: euclidean(settings, 1),
    "k11": lambda settings: euclidean(settings, 11),
    "mahalanobis": mahalanobis,
}
