"""Reading data sets and metrics from files: the one place that does.

======================  ============================================================================
``.npz``                 ``X_train``, ``y_train``, ``X_test``, ``y_test``, or ``X`` and ``y``
``.npy``                 features only
``.csv``                 with or without a header; the label column by name, or else the last
``.parquet``             the label column by name, or else the last (extra ``io``)
``.libsvm``, ``.svm``    LIBSVM's sparse text, also ``.svmlight``, and compressed as ``.bz2`` or ``.gz``
======================  ============================================================================
"""

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.utils import shuffle

from certimetric import _formats
from certimetric._validation import FloatArray, as_rows
from certimetric.exceptions import CertimetricError, DataError
from certimetric.metric import Mahalanobis

__all__ = ["DataSet", "Scaler", "load_digits_split", "read", "read_halves", "read_metric"]

Split = Literal["train", "test"]


@dataclass(frozen=True)
class DataSet:
    """Rows with or without labels.

    Attributes
    ----------
    X : ndarray of shape (n, d), float64
    y : ndarray of shape (n,) or None
    name : str
        Where it comes from.
    """

    X: FloatArray
    y: NDArray[Any] | None
    name: str

    def labels(self) -> NDArray[Any]:
        """The labels; an error where there are none, or where one is not a class."""
        if self.y is None:
            raise DataError(f"{self.name}: has no labels, but they are needed here.")
        for number, label in enumerate(self.y.tolist(), start=1):
            if not (isinstance(label, str | int) or (isinstance(label, float) and label.is_integer())):
                raise DataError(
                    f"{self.name}: labels must be text or whole numbers, but row {number} has {label!r}."
                )
        return self.y

    def sample(self, count: int | None, seed: int | None = None) -> "DataSet":
        """The first rows, all without ``count``; in the order of a shuffle where there is a seed.

        The order is that of ``sklearn.utils.shuffle(random_state=seed)``.
        """
        order = np.arange(len(self.X))
        if seed is not None:
            order = shuffle(order, random_state=seed)
        chosen = order[:count]
        return DataSet(self.X[chosen], None if self.y is None else self.y[chosen], self.name)


def read(
    path: str | PathLike[str],
    split: Split | None = None,
    *,
    x_key: str | None = None,
    y_key: str | None = None,
    label: str | None = None,
    n_features: int | None = None,
) -> DataSet:
    """Read a data set; the suffix of the path says the format.

    Parameters
    ----------
    path : path-like
    split : "train", "test" or None
        Which half of an npz with both; other files have only one.
    x_key, y_key : str, optional
        Names of the arrays in an npz.
    label : str, optional
        Name of the label column of a CSV or Parquet file. Default: the last column.
    n_features : int, optional
        What the rows must have. A table of exactly that many columns has no label column.

    Raises
    ------
    DataError
        The file is missing, damaged, of another format than its suffix says, lacks a key or column, or holds
        data that is not finite real numbers.
    """
    source = Path(path)
    _formats.check_file(source)
    reader = _reader(source, split, x_key, y_key, label, n_features)
    rows, labels = _guarded(source, reader)
    try:
        features = as_rows(rows, "X", n_features)
    except CertimetricError as error:
        raise DataError(f"{source}: {error}") from error
    if labels is not None and labels.shape != (len(features),):
        raise DataError(f"{source}: {len(features)} rows, but labels of shape {labels.shape}.")
    return DataSet(features, labels, str(source))


def read_halves(
    train: Path,
    test: Path | None = None,
    *,
    x_key: str | None = None,
    y_key: str | None = None,
    label: str | None = None,
    option: str = "test",
) -> tuple[DataSet, DataSet]:
    """Read training and test data, the latter by default from the same npz.

    Parameters
    ----------
    train, test : Path
    x_key, y_key, label
        As for :func:`read`. The keys of an npz with both halves name its training half.
    option : str
        What the caller calls ``test``, for messages.

    Raises
    ------
    DataError
        As :func:`read`; also where there is no test data, or the training data has no labels.
    """
    rows = read(train, "train", x_key=x_key, y_key=y_key, label=label)
    rows.labels()
    if test is None and not _formats.has_test_split(train):
        raise DataError(f"{train}: has no X_test, so {option} must name a file of test data.")
    keys = {} if test is None else {"x_key": x_key, "y_key": y_key}
    points = read(test or train, "test", **keys, label=label, n_features=rows.X.shape[1])
    return rows, points


def _reader(
    source: Path,
    split: Split | None,
    x_key: str | None,
    y_key: str | None,
    label: str | None,
    n_features: int | None,
) -> Callable[[], tuple[Any, NDArray[Any] | None]]:
    kind = _formats.kind_of(source)
    if kind == "npz":
        return lambda: _formats.read_npz(source, split, x_key, y_key)
    if kind == "npy":
        return lambda: (_formats.read_npy(source), None)
    if kind == "csv":
        return lambda: _formats.read_csv(source, label, n_features)
    if kind == "parquet":
        return lambda: _formats.read_parquet(source, label, n_features)
    return lambda: _formats.read_libsvm(source, n_features)


def _guarded(source: Path, reader: Callable[[], Any]) -> Any:
    """Run a reader; whatever a damaged file makes it raise becomes one line that names the file."""
    try:
        return reader()
    except CertimetricError:
        raise
    except _formats.READ_ERRORS as error:
        reason = _formats.first_line(error)
        raise DataError(f"{source}: cannot be read as {_formats.kind_of(source)}: {reason}") from error


def read_metric(path: str | PathLike[str]) -> Mahalanobis:
    """Read a metric from an npz or npy file.

    An npz has components (``components_``, ``components`` or ``G``) or a matrix (``M``); an npy is M.

    Raises
    ------
    DataError
        As :func:`read`; also where M is not symmetric positive semidefinite.
    """
    source = Path(path)
    _formats.check_file(source)
    kind, array = _guarded(source, lambda: _formats.read_metric_array(source))
    try:
        return Mahalanobis.from_components(array) if kind == "components" else Mahalanobis.from_matrix(array)
    except CertimetricError as error:
        raise DataError(f"{source}: {error}") from error


def read_notes(path: str | PathLike[str]) -> dict[str, Any]:
    """What a file of :meth:`MetricLearner.save` tells of a metric beside its numbers; empty for others.

    Raises
    ------
    DataError
        As :func:`read`.
    """
    source = Path(path)
    _formats.check_file(source)
    notes: dict[str, Any] = _guarded(source, lambda: _formats.read_notes(source))
    return notes


@dataclass(frozen=True)
class Scaler:
    r"""Affine scaling of features, :math:`(x - offset) / scale`, fitted on a training set."""

    offset: FloatArray
    scale: FloatArray

    @classmethod
    def fit(cls, X: FloatArray, kind: str = "none") -> "Scaler":
        """Fit a scaler.

        Parameters
        ----------
        X : ndarray of shape (n, d)
        kind : "minmax", "255" or "none"
            Each feature to [0, 1] (a constant one to 0), division by 255, or nothing.
        """
        zeros, ones = np.zeros(X.shape[1]), np.ones(X.shape[1])
        if kind == "none":
            return cls(zeros, ones)
        if kind == "255":
            return cls(zeros, 255.0 * ones)
        if kind != "minmax":
            raise DataError(f"scale must be 'minmax', '255' or 'none'; got {kind!r}.")
        low, span = X.min(axis=0), np.ptp(X, axis=0)
        return cls(low, np.where(span > 0, span, 1.0))

    def __call__(self, X: FloatArray, out: FloatArray | None = None) -> FloatArray:
        """Scaled rows: a new array, or ``out``, which may be ``X`` itself."""
        scaled = np.subtract(X, self.offset, out=out)
        scaled /= self.scale
        return scaled


def load_digits_split(seed: int = 0) -> tuple[DataSet, DataSet]:
    """Scikit-learn's handwritten digits in [0, 1]: 1,347 x 64 for training, 450 for testing."""
    digits = load_digits()
    parts = train_test_split(
        digits.data / 16.0, digits.target, test_size=0.25, stratify=digits.target, random_state=seed
    )
    train_rows, test_rows, train_labels, test_labels = parts
    return DataSet(train_rows, train_labels, "digits, training"), DataSet(
        test_rows, test_labels, "digits, test"
    )
