"""What the commands do: read, scale, fit, certify."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.utils import shuffle

from certimetric import _formats, datasets
from certimetric._validation import FloatArray, check_magnitude
from certimetric.certification import Certification
from certimetric.datasets import DataSet, Scaler
from certimetric.exceptions import DataError
from certimetric.metric import Mahalanobis
from certimetric.neighbors import CertifiedKNeighborsClassifier

__all__ = ["Keys", "Prepared", "Source", "certify", "demo", "prepare"]


@dataclass(frozen=True)
class Keys:
    """Where in a file the features and labels are."""

    x_key: str | None = None
    y_key: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class Source:
    """Files and choices of a run, as given on the command line."""

    train: Path
    test: Path | None
    metric: str
    neighbors: int
    scale: str
    limit: int | None
    seed: int | None
    jobs: int | None
    keys: Keys


@dataclass(frozen=True)
class Prepared:
    """A fitted classifier and scaled test points."""

    classifier: CertifiedKNeighborsClassifier
    test: DataSet


def prepare(source: Source) -> Prepared:
    """Read both files, scale by the training set, fit."""
    keys = source.keys
    train = datasets.read(source.train, "train", x_key=keys.x_key, y_key=keys.y_key, label=keys.label)
    labels = train.labels()
    test = _subset(_read_test(source, train.X.shape[1]), source)
    scaler = Scaler.fit(train.X, source.scale)
    rows = scaler(train.X)
    check_magnitude(rows, "scaled training data")
    scaled = DataSet(scaler(test.X), test.y, test.name)
    check_magnitude(scaled.X, "scaled test data")
    classifier = CertifiedKNeighborsClassifier(
        source.neighbors, metric=_metric(source.metric, rows), n_jobs=source.jobs
    )
    return Prepared(classifier.fit(rows, labels), scaled)


def _read_test(source: Source, n_features: int) -> DataSet:
    keys = source.keys
    if source.test is None and not _formats.has_test_split(source.train):
        raise DataError(f"{source.train}: has no X_test, so --test must name a file of test data.")
    path = source.train if source.test is None else source.test
    x_key = None if source.test is None else keys.x_key
    y_key = None if source.test is None else keys.y_key
    return datasets.read(path, "test", x_key=x_key, y_key=y_key, label=keys.label, n_features=n_features)


def _subset(test: DataSet, source: Source) -> DataSet:
    order = np.arange(len(test.X))
    if source.seed is not None:
        order = shuffle(order, random_state=source.seed)
    chosen = order[: source.limit]
    return DataSet(test.X[chosen], None if test.y is None else test.y[chosen], test.name)


def _metric(choice: str, rows: FloatArray) -> Mahalanobis:
    if choice == "euclidean":
        return Mahalanobis.euclidean()
    if choice == "covariance":
        return Mahalanobis.from_covariance(rows)
    return datasets.read_metric(choice)


def certify(
    prepared: Prepared, time_limit: float | None, *, adversarial: bool = False, progress: bool = False
) -> Certification:
    """Certify the test points; without labels, their predictions."""
    return prepared.classifier.certify(
        prepared.test.X,
        prepared.test.y,
        time_limit=time_limit,
        return_adversarial=adversarial,
        progress=progress,
    )


def demo(seed: int, jobs: int | None, *, progress: bool) -> dict[str, tuple[Certification, DataSet]]:
    """Certify the digits under the Euclidean metric and under the inverse covariance."""
    train, test = datasets.load_digits_split(seed)
    metrics = {
        "Euclidean": Mahalanobis.euclidean(),
        "inverse covariance": Mahalanobis.from_covariance(train.X),
    }
    results = {}
    for name, metric in metrics.items():
        classifier = CertifiedKNeighborsClassifier(metric=metric, n_jobs=jobs).fit(train.X, train.labels())
        cert = classifier.certify(test.X, test.y, return_adversarial=True, progress=progress)
        results[name] = (cert, test)
    return results
