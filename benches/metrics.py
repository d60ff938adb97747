"""Certification under a full matrix M against the Euclidean metric, on the same points.

A learned matrix is full and has eigenvalues that spread over some powers of ten: random axes, log-uniform
eigenvalues, condition number of M 10 (well), 1,000 and 10,000 (ill).
"""

from collections.abc import Iterator

from _data import load, random_metric
from _figures import Figure, Settings, Target, alternate, clock, compare
from certimetric import CertifiedKNeighborsClassifier

_CONDITIONS = {10.0: Target(1.5), 1e3: Target(3.0), 1e4: Target(3.0)}


def measure(settings: Settings, name: str) -> Iterator[Figure]:
    """Time under random matrices over the Euclidean time, on one data set."""
    data = load(settings.data, name).points(settings.points)
    metrics = {
        f"M, condition {condition:g}": random_metric(data.X.shape[1], condition) for condition in _CONDITIONS
    }
    fitted = {
        title: CertifiedKNeighborsClassifier(metric=metric, n_jobs=settings.threads).fit(data.X, data.y)
        for title, metric in {"Euclidean": "euclidean", **metrics}.items()
    }
    sides = {
        title: clock(lambda classifier=classifier: classifier.certify(data.Z, data.t))
        for title, classifier in fitted.items()
    }
    spent = alternate(sides, settings.repetitions)
    for title, target in zip(metrics, _CONDITIONS.values(), strict=True):
        result = fitted[title].certify(data.Z, data.t)
        note = f"{result.programs.mean():.1f} programs and {result.steps.mean():.1f} steps a point"
        work = f"certify under a full {title}: {data.title}"
        yield compare(work, spent, "Euclidean", target, ours=title, note=note)


CASES = {name: lambda settings, name=name: measure(settings, name) for name in ("fashion_mnist", "satimage")}
