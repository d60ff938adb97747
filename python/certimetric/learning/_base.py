"""What all learners of metrics share: the data that they take, and the metric that they give."""

import json
import math
from collections.abc import Mapping
from numbers import Integral, Real
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from certimetric._files import check_npz, writing
from certimetric._validation import FloatArray, IntArray, check_magnitude, check_objects, refuse_text
from certimetric._versions import versions
from certimetric.exceptions import InputError
from certimetric.metric import Mahalanobis

__all__ = ["Labelled", "MetricLearner"]


class Labelled(NamedTuple):
    """Training rows with their classes as codes."""

    rows: FloatArray
    codes: IntArray
    classes: NDArray[Any]


_SHORT = 16
"""Entries of an array that is written out in the description of a metric."""


# scikit-learn has no types: its classes are Any to mypy.
class MetricLearner(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    r"""A transformer :math:`x \mapsto G x` whose Euclidean distances are the metric that was learned.

    Fitted, it may be given wherever a metric is asked for: ``CertifiedKNeighborsClassifier(metric=learner)``.

    Attributes
    ----------
    components_ : ndarray of shape (p, d)
        G.
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Names of the features, where ``X`` has names that are all strings.
    """

    components_: FloatArray
    classes_: NDArray[Any]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    def _labelled(self, X: ArrayLike, y: ArrayLike) -> Labelled:
        """Training data as it is needed: finite, in range, of two classes, one of which has two samples."""
        refuse_text(X, "X")
        given = np.asarray(y)
        if given.ndim == 1 and given.dtype.kind == "O":
            # Before anything compares them, which missing labels cannot be.
            check_objects(given)
        if given.dtype.kind in "mMV":
            raise InputError(f"y has {given.dtype} labels, but labels are integers, strings or booleans.")
        rows, labels = validate_data(self, X, y, dtype=np.float64, order="C")
        check_magnitude(rows, "X")
        check_classification_targets(labels)
        classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
        name = type(self).__name__
        if len(classes) < 2:
            raise InputError(f"y has one class, {classes.tolist()[0]!r}, but {name} needs two or more.")
        if counts.max() < 2:
            raise InputError(f"y has one sample of each class, but {name} needs two of one class.")
        self.classes_ = classes
        return Labelled(rows, codes.astype(np.int64), classes)

    @property
    def metric_(self) -> Mahalanobis:
        """The metric that was learned."""
        check_is_fitted(self, "components_")
        return Mahalanobis.from_components(self.components_)

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def get_mahalanobis_matrix(self) -> FloatArray:
        """M = GᵀG, ndarray of shape (d, d)."""
        return self.metric_.get_mahalanobis_matrix()

    def pair_distance(self, pairs: ArrayLike) -> FloatArray:
        r"""Distances :math:`\lVert G (u - v) \rVert_2` (not squared) of pairs of shape (n_pairs, 2, d)."""
        return self.metric_.pair_distance(pairs)

    def transform(self, X: ArrayLike) -> FloatArray:
        r"""Rows :math:`G x`, ndarray of shape (m, p), in which the metric is Euclidean."""
        return self._rows(X) @ self.components_.T

    def _rows(self, X: ArrayLike) -> FloatArray:
        """Rows like those that were learned from."""
        check_is_fitted(self, "components_")
        refuse_text(X, "X")
        rows = np.asarray(validate_data(self, X, dtype=np.float64, order="C", reset=False))
        check_magnitude(rows, "X")
        return rows

    def _saved(self) -> dict[str, NDArray[Any]]:
        """The arrays of a file."""
        return {"components_": self.components_}

    def save(self, path: str | PathLike[str], **notes: Any) -> None:
        """Write the metric as npz, without pickle: :func:`certimetric.datasets.read_metric` reads it.

        Beside ``components_`` there is ``about``, JSON with the learner's name, its parameters, what the fit
        settled on (numbers and words such as ``n_iter_``), versions, and ``notes``.

        Raises
        ------
        InputError
            The name does not end in ``.npz``.
        OutputError
            It cannot be written; what was there is left.
        """
        check_is_fitted(self, "components_")
        check_npz(path, "path")
        about = {
            **notes,
            "learner": type(self).__name__,
            "parameters": self.get_params(deep=False),
            "settled": {name: value for name, value in vars(self).items() if _is_settled(name, value)},
            "versions": versions(),
        }
        with writing(path) as file:
            np.savez_compressed(
                file, allow_pickle=False, about=np.array(json.dumps(_plain(about))), **self._saved()
            )


def _is_settled(name: str, value: Any) -> bool:
    return name.endswith("_") and not name.startswith("_") and isinstance(value, Real | str)


def _plain(value: Any) -> Any:
    """What JSON has a word for; large arrays in short."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        # Infinity and NaN have no word there.
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple) or hasattr(value, "__array__"):
        array = np.asarray(value)
        return f"array of shape {array.shape}" if array.size > _SHORT else _plain_list(array.tolist())
    return repr(value)


def _plain_list(values: Any) -> Any:
    return [_plain_list(value) for value in values] if isinstance(values, list) else _plain(values)
