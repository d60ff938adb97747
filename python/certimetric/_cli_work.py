"""What the commands do: read, scale, fit, certify."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Option, echo

from certimetric import _formats, datasets
from certimetric._assemble import label_codes
from certimetric._parts import Parts
from certimetric._resume import certify_in_parts
from certimetric._validation import (
    FloatArray,
    as_limit,
    check_count,
    check_magnitude,
    effective_jobs,
)
from certimetric.certification import Certification
from certimetric.datasets import DataSet, Scaler
from certimetric.exceptions import InputError
from certimetric.metric import Mahalanobis
from certimetric.neighbors import CertifiedKNeighborsClassifier

__all__ = [
    "LARGEST_SEED",
    "Jobs",
    "Keys",
    "Prepared",
    "Reference",
    "Rows",
    "Search",
    "Source",
    "Training",
    "certify",
    "demo",
    "fit_reference",
    "metric_of",
    "prepare",
    "scaled",
]

LARGEST_SEED = 2**32 - 1
"""What NumPy's generator takes."""

_NAMED = ("euclidean", "covariance")
"""Metrics that are no files."""

Jobs = Annotated[int | None, Option("--jobs", help="Threads; -1: all processors.")]


@dataclass(frozen=True, kw_only=True)
class Keys:
    """Where features and labels are in files of data: options that are seldom needed."""

    x_key: Annotated[str | None, Option("--x-key", help="Name of the features in an npz.")] = None
    y_key: Annotated[str | None, Option("--y-key", help="Name of the labels in an npz.")] = None
    label: Annotated[
        str | None, Option("--label", help="Label column of a csv or parquet; default: the last.")
    ] = None

    @property
    def keys(self) -> dict[str, Any]:
        """As arguments of the readers."""
        return {"x_key": self.x_key, "y_key": self.y_key, "label": self.label}

    def check_keys(self, files: Sequence[Path]) -> None:
        """Raise on a name that no file has a use for, before anything is read."""
        for option, value, purpose, kinds in (
            ("--x-key", self.x_key, "names the features in an npz", ("npz",)),
            ("--y-key", self.y_key, "names the labels in an npz", ("npz",)),
            ("--label", self.label, "names the label column of a csv or parquet", ("csv", "parquet")),
        ):
            if value is None:
                continue
            given = [_formats.kind_of(path) for path in files]
            if not set(given) & set(kinds):
                raise InputError(f"{option} {purpose}, but the data is {' and '.join(dict.fromkeys(given))}.")


@dataclass(frozen=True)
class Rows(Keys):
    """Training data: the options of every command."""

    train: Annotated[Path, Option("--train", help="Training data: npz, npy, csv, parquet or libsvm.")]
    scale: Annotated[
        Literal["minmax", "255", "none"], Option("--scale", help="Scaling fitted on the training data.")
    ] = "none"

    @property
    def data(self) -> dict[str, Path | None]:
        """The files of data, by option."""
        return {"--train": self.train}

    @property
    def inputs(self) -> dict[str, Path | None]:
        """The files that are read, by option."""
        return self.data

    def check(self) -> None:
        """Names that no file has a use for, before anything is read."""
        self.check_keys([path for path in self.data.values() if path is not None])


@dataclass(frozen=True)
class Training(Rows):
    """Training data and metric: the options of every command about a classifier."""

    metric: Annotated[
        str, Option("--metric", help="euclidean, covariance, or a file (npz with G or M, npy with M).")
    ] = "euclidean"

    @property
    def inputs(self) -> dict[str, Path | None]:
        """See :attr:`Rows.inputs`."""
        return {**self.data, "--metric": None if self.metric in _NAMED else Path(self.metric)}


@dataclass(frozen=True)
class Source(Training):
    """Files and choices of a run: the options that ``certify`` and ``predict`` share."""

    test: Annotated[
        Path | None, Option("--test", help="Test data; default: the test half of the training npz.")
    ] = None
    neighbors: Annotated[int, Option("-k", "--neighbors", help="Number of neighbours that vote.")] = 1
    limit: Annotated[
        int | None, Option("--limit", min=1, help="Only the first N test points (after shuffling).")
    ] = None
    seed: Annotated[
        int | None,
        Option(
            "--seed",
            min=0,
            max=LARGEST_SEED,
            help="Shuffle the test points with this seed, before --limit; default: as they come.",
        ),
    ] = None
    jobs: Jobs = None

    @property
    def data(self) -> dict[str, Path | None]:
        """See :attr:`Rows.data`."""
        return {**super().data, "--test": self.test}

    def check(self) -> None:
        """Numbers out of range and names that no file has a use for, before anything is read."""
        check_count(self.neighbors, "--neighbors")
        effective_jobs(self.jobs, "--jobs")
        super().check()


@dataclass(frozen=True)
class Search:
    """What ``certify`` asks about each point, and how long: options with the names of its arguments."""

    method: Annotated[
        Literal["exact", "bound", "attack"],
        Option("--method", help="The radius itself, or only a lower or an upper end without a search."),
    ] = "exact"
    rule: Annotated[
        Literal["plurality", "majority"],
        Option("--rule", help="When a class loses: to another one, or without more than half of the votes."),
    ] = "plurality"
    point_node_limit: Annotated[
        int | None,
        Option("--point-node-limit", min=0, help="Nodes of the search for each point; default: no limit."),
    ] = None
    point_time_limit: Annotated[
        float | None, Option("--point-time-limit", help="Seconds for each point; default: no limit.")
    ] = None
    max_memory: Annotated[
        str,
        Option(
            "--max-memory",
            help="What the search for each point may keep, such as 64MB or 1GiB; beyond it the search goes "
            "depth first.",
        ),
    ] = "256MiB"
    node_limit: Annotated[
        int | None,
        Option("--node-limit", min=0, help="Nodes of the search for all points; default: no limit."),
    ] = None
    time_limit: Annotated[
        float | None, Option("--time-limit", help="Seconds for the whole run; default: no limit.")
    ] = None

    def check(self) -> None:
        """Numbers out of range, before anything is read."""
        as_limit(self.time_limit, "--time-limit")
        as_limit(self.point_time_limit, "--point-time-limit")
        parse_size(self.max_memory)

    def arguments(self) -> dict[str, Any]:
        """The options as arguments of the classifier's ``certify``."""
        return {**asdict(self), "max_memory": parse_size(self.max_memory)}


_UNITS: dict[str, int] = {"b": 1} | {
    f"{prefix}{infix}b": base**power
    for power, prefix in enumerate("kmgt", 1)
    for infix, base in (("", 1000), ("i", 1024))
}


def parse_size(text: str) -> int:
    """Bytes from ``256MB``: a whole number, and a unit whose case does not matter; without one, of bytes."""
    size = re.fullmatch(r"([0-9]+) ?([a-z]*)", text.strip().lower())
    unit = (size[2] or "b") if size else ""
    if size is None or unit not in _UNITS:
        raise InputError(
            "--max-memory must be a whole number with B, kB, MB, GB or TB (powers of 1000) or KiB, MiB, GiB "
            f"or TiB (powers of 1024), such as 256MB; got {text!r}."
        )
    return int(size[1]) * _UNITS[unit]


@dataclass(frozen=True)
class Reference:
    """Scaled training rows, what scales test points, and the metric."""

    X: FloatArray
    scaler: Scaler
    metric: Mahalanobis


@dataclass(frozen=True)
class Prepared:
    """A fitted classifier and scaled test points."""

    classifier: CertifiedKNeighborsClassifier
    test: DataSet


def prepare(source: Source) -> Prepared:
    """Read both files, scale by the training set, fit."""
    source.check()
    train, test = datasets.read_halves(source.train, source.test, **source.keys, option="--test")
    check_count(source.neighbors, "--neighbors", len(train.X))
    test = test.sample(source.limit, source.seed)
    reference = fit_reference(source, train)
    points = DataSet(reference.scaler(test.X), test.y, test.name)
    check_magnitude(points.X, "scaled test data")
    classifier = CertifiedKNeighborsClassifier(source.neighbors, metric=reference.metric, n_jobs=source.jobs)
    return Prepared(classifier.fit(reference.X, train.labels()), points)


def fit_reference(training: Training, data: DataSet) -> Reference:
    """Scale the training data, and make the metric."""
    rows, scaler = scaled(training, data)
    metric = metric_of(training.metric, rows)
    _compare_scales(training)
    return Reference(rows, scaler, metric)


def _compare_scales(training: Training) -> None:
    """Say so where a metric was learned from rows in other units."""
    if training.metric in _NAMED:
        return
    learned = datasets.read_notes(training.metric).get("scale", training.scale)
    if learned != training.scale:
        echo(
            f"certimetric: {training.metric} was learned with --scale {learned}, but here it is --scale "
            f"{training.scale}.",
            err=True,
        )


def scaled(rows: Rows, data: DataSet) -> tuple[FloatArray, Scaler]:
    """The training rows as ``--scale`` has them, and what scales others so."""
    scaler = Scaler.fit(data.X, rows.scale)
    values = scaler(data.X)
    check_magnitude(values, "scaled training data")
    return values, scaler


def metric_of(choice: str, rows: FloatArray) -> Mahalanobis:
    """The metric that ``--metric`` names."""
    if choice == "euclidean":
        return Mahalanobis.euclidean()
    if choice == "covariance":
        return Mahalanobis.from_covariance(rows)
    if not Path(choice).exists():
        raise InputError(
            "--metric must be euclidean, covariance or a file, as `certimetric learn` writes; there is no "
            f"file {choice!r}."
        )
    return datasets.read_metric(choice)


def certify(
    prepared: Prepared,
    search: Search,
    radii: FloatArray | None,
    *,
    adversarial: bool = False,
    certificates: bool = False,
    progress: bool = False,
    parts: Parts | None = None,
) -> Certification:
    """Certify the test points; without labels, their predictions. With parts, what is finished is kept.

    Adversarial points are wanted at the radii themselves, so that with them it is not enough to decide some;
    and whether a radius is 0 is no question on its own.
    """
    classifier, test = prepared.classifier, prepared.test
    if test.y is not None:
        label_codes(test.y, classifier.classes_, len(test.X), f"test data {test.name}")
    eps = None if radii is None or adversarial or not radii.any() else radii
    wanted = {"return_adversarial": adversarial, "return_certificates": certificates}
    options = {**search.arguments(), **wanted, "eps": eps, "progress": progress}
    if parts is None:
        return classifier.certify(test.X, test.y, **options)
    return certify_in_parts(classifier, test.X, test.y, parts, **options)


def demo(seed: int, jobs: int | None, *, progress: bool) -> dict[str, tuple[Certification, DataSet]]:
    """Certify the digits under the Euclidean metric and under the inverse covariance."""
    effective_jobs(jobs, "--jobs")
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
