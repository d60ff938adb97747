"""The one place where arguments become what the Rust core takes: C-contiguous float64, finite, in range."""

import datetime as dt
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import joblib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.utils import check_random_state

from certimetric.exceptions import InputError, InputTypeError

__all__ = [
    "LARGEST",
    "FloatArray",
    "IntArray",
    "as_eps",
    "as_labels",
    "as_limit",
    "as_positive",
    "as_radii",
    "as_rows",
    "as_tolerance",
    "broadcast_rows",
    "check_columns",
    "check_count",
    "check_magnitude",
    "check_objects",
    "effective_jobs",
    "refuse_text",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LARGEST = 1e150
"""Largest magnitude of a coordinate: the sum of the squares of differences must stay below 1.8e308."""

_KINDS = {
    "U": "strings",
    "S": "bytes",
    "c": "complex numbers",
    "M": "dates",
    "m": "time spans",
    "V": "records",
}

_NOT_NUMBERS = (str, bytes, dt.date, dt.timedelta, np.datetime64, np.timedelta64)


def as_rows(rows: ArrayLike, name: str, n_features: int | None = None) -> FloatArray:
    """Data as a C-contiguous float64 matrix, without a copy where it is one already.

    Parameters
    ----------
    rows : array-like of shape (n, d)
    name : str
        The argument's name, for messages.
    n_features : int, optional
        The number of columns it must have.

    Returns
    -------
    ndarray of shape (n, d), float64

    Raises
    ------
    InputTypeError
        Sparse, complex, text, dates or objects that are not numbers.
    InputError
        Not two-dimensional, empty, NaN or infinite, a magnitude above 1e150, or another number of columns.
    """
    array = _to_float64(rows, name)
    if array.ndim != 2:
        raise InputError(
            f"{name} must be two-dimensional, (n_samples, n_features); got shape {array.shape}. "
            f"Use {name}.reshape(1, -1) for one sample, {name}.reshape(-1, 1) for one feature."
        )
    if 0 in array.shape:
        raise InputError(
            f"{name} is empty: it has shape {array.shape} and needs at least one row and one column."
        )
    check_columns(array, name, n_features)
    check_magnitude(array, name)
    return array


def _to_float64(values: ArrayLike, name: str) -> FloatArray:
    if sparse.issparse(values):
        raise InputTypeError(f"{name} is a sparse matrix, but a dense array is needed: use {name}.toarray().")
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"{name} is not a rectangular array of numbers: {error}") from error
    if array.dtype.kind in _KINDS:
        raise InputTypeError(
            f"{name} holds {_KINDS[array.dtype.kind]} ({array.dtype}), but real numbers are needed."
        )
    if array.dtype.kind == "O":
        array = _from_objects(array, name)
    # Numbers of more than 64 bits may become infinity or NaN, which callers refuse.
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(array, dtype=np.float64) if array.ndim else np.asarray(array, np.float64)


def _from_objects(array: NDArray[Any], name: str) -> FloatArray:
    for value in array.flat:
        if not isinstance(value, Real | np.bool_):
            raise InputTypeError(
                f"{name} is an object array that holds {value!r}, but real numbers are needed."
            )
        _float(value, name)
    return array.astype(np.float64)


def refuse_text(rows: ArrayLike, name: str) -> None:
    """Raise on text and dates, which scikit-learn's validation would quietly turn into numbers.

    So it does with numbers in objects, but not with those that are too large.
    """
    if sparse.issparse(rows):
        return
    try:
        array = np.asarray(rows)
    except ValueError:
        # Not rectangular, say: scikit-learn's message is the better one.
        return
    kind = array.dtype.kind
    if kind in "USMm":
        raise InputTypeError(f"{name} holds {_KINDS[kind]} ({array.dtype}), but real numbers are needed.")
    if kind != "O":
        return
    for value in array.flat:
        if isinstance(value, _NOT_NUMBERS):
            raise InputTypeError(f"{name} holds {value!r}, but real numbers are needed.")
        if isinstance(value, Integral):
            _float(value, name)


def check_columns(array: FloatArray, name: str, n_features: int | None) -> None:
    """Raise unless a matrix has the given number of columns."""
    if n_features is not None and array.shape[1] != n_features:
        raise InputError(f"{name} has {array.shape[1]} features, but {n_features} are expected.")


def check_magnitude(array: FloatArray, name: str) -> None:
    """Raise on NaN, infinity, and magnitudes above 1e150 (whose squares would overflow)."""
    # Two reductions instead of isfinite + abs: no temporary of the size of the data.
    low, high = float(array.min(initial=0.0)), float(array.max(initial=0.0))
    if np.isnan(low) or np.isnan(high):
        raise InputError(f"{name} contains NaN.")
    if np.isinf(low) or np.isinf(high):
        raise InputError(f"{name} contains infinity.")
    if max(-low, high) > LARGEST:
        raise InputError(
            f"{name} contains the magnitude {max(-low, high):.3g}; the largest allowed is {LARGEST:g}, "
            "because squared distances would overflow. Rescale the data."
        )


def as_labels(y: ArrayLike, count: int) -> NDArray[Any]:
    """One label for each of ``count`` rows."""
    labels = np.asarray(y)
    if labels.shape != (count,):
        raise InputError(f"y must have shape ({count},), one label for each row of X; got {labels.shape}.")
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise InputError("y contains NaN.")
    if labels.dtype.kind in "OU":
        check_objects(y)
    return labels


def check_objects(y: ArrayLike) -> None:
    """Raise on what no classifier has for a label, such as None: it would pass for a label never seen."""
    # As objects again: a list of text and NaN has become text all through.
    for row, label in enumerate(np.asarray(y, dtype=object).tolist()):
        if not isinstance(label, str | bytes | Real | np.generic):
            raise InputError(f"y has {label!r} at row {row}, but labels are text or numbers.")
        if isinstance(label, float | np.floating) and np.isnan(label):
            raise InputError(f"y contains NaN, at row {row}.")


def broadcast_rows(arrays: Mapping[str, FloatArray]) -> list[FloatArray]:
    """Repeat matrices of one row so that all have the same number of rows; the keys are their names."""
    count = max(len(array) for array in arrays.values())
    for name, array in arrays.items():
        if len(array) not in (1, count):
            raise InputError(f"{name} has {len(array)} rows, but 1 or {count} are expected.")
    return [
        np.ascontiguousarray(np.broadcast_to(array, (count, array.shape[1]))) for array in arrays.values()
    ]


def check_count(
    value: object,
    name: str,
    limit: int | None = None,
    limit_name: str = "n_samples",
    least: int = 1,
    kind: str = "an integer",
) -> int:
    """A whole number of at least ``least``, and of at most ``limit``."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Integral):
        raise InputTypeError(f"{name} must be {kind}, got {value!r} of type {type(value).__name__}.")
    count = int(value)
    if count < least:
        raise InputError(f"{name} must be at least {least}, got {count}.")
    if limit is not None and count > limit:
        raise InputError(f"{name} must be at most {limit_name} = {limit}, got {count}.")
    return count


def check_flag(value: object, name: str) -> None:
    """Raise unless it is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise InputTypeError(f"{name} must be True or False, got {value!r} of type {type(value).__name__}.")


def check_word(value: object, name: str, words: Sequence[str]) -> None:
    """Raise unless it is one of some words."""
    if not isinstance(value, str) or value not in words:
        *first, last = map(repr, words)
        raise InputError(f"{name} must be {', '.join(first)} or {last}, got {value!r}.")


def check_seed(value: Any, name: str = "random_state") -> None:
    """Raise unless it is what scikit-learn draws with."""
    try:
        check_random_state(value)
    except ValueError as error:
        raise InputError(
            f"{name} must be an integer from 0 to 2**32 - 1, a RandomState or None, got {value!r}."
        ) from error


def as_positive(value: object, name: str) -> float | None:
    """A positive number; None and infinity both mean "without limit" and give None."""
    if value is None:
        return None
    number = _as_number(value, name, "a number or None")
    if not number > 0:
        raise InputError(f"{name} must be positive, got {number}.")
    return None if np.isinf(number) else number


def as_tolerance(value: object, name: str, kind: str = "a number") -> float:
    """A number of at least 0; infinity is allowed."""
    number = _as_number(value, name, kind)
    if not number >= 0:
        raise InputError(f"{name} must be at least 0 and not NaN, got {number}.")
    return number


def as_limit(value: object, name: str) -> float | None:
    """A number of at least 0; None and infinity both mean "without limit" and give None."""
    limit = np.inf if value is None else as_tolerance(value, name, "a number or None")
    return None if np.isinf(limit) else limit


def _as_number(value: object, name: str, kind: str) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        raise InputTypeError(f"{name} must be {kind}, got {value!r} of type {type(value).__name__}.")
    return _float(value, name)


def _float(value: Real | np.bool_, name: str) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise InputError(f"{name} contains a number that is too large for binary64.") from error


def as_radii(radii: ArrayLike, name: str = "radii") -> FloatArray:
    """Radii as a float64 array of zero or one dimension: no NaN, none negative; infinity is allowed."""
    array = _to_float64(radii, name)
    if np.asarray(radii).dtype.kind == "b":
        raise InputTypeError(f"{name} must be numbers, got {radii!r}.")
    if array.ndim > 1:
        raise InputError(f"{name} must be a number or one-dimensional; got shape {array.shape}.")
    if np.isnan(array).any() or (array < 0).any():
        raise InputError(f"{name} must be at least 0 and not NaN, got {np.array2string(array, threshold=8)}.")
    return array


def as_eps(value: ArrayLike | None, name: str) -> tuple[float, ...]:
    """Radii to decide, in increasing order, each once; empty where None was given.

    All are finite, and one is positive: 0 is a radius only beside others.
    """
    if value is None:
        return ()
    if isinstance(value, str | bytes):
        raise InputTypeError(f"{name} must be a number, a sequence of numbers or None, got {value!r}.")
    radii = np.unique(as_radii(value, name))
    if len(radii) == 0:
        raise InputError(f"{name} is empty: give a radius, or None for the radii of the points themselves.")
    if np.isinf(radii[-1]):
        raise InputError(f"{name} must be finite: no radius is above infinity.")
    if radii[-1] == 0:
        raise InputError(f"{name} must be positive; 0 is allowed beside other radii.")
    return tuple(radii.tolist())


def effective_jobs(n_jobs: object, name: str = "n_jobs") -> int:
    """Number of threads: None is 1 or what ``joblib.parallel_config`` says; -1 is all processors."""
    if n_jobs is not None and (isinstance(n_jobs, bool | np.bool_) or not isinstance(n_jobs, Integral)):
        raise InputTypeError(
            f"{name} must be an integer or None, got {n_jobs!r} of type {type(n_jobs).__name__}."
        )
    if n_jobs == 0:
        raise InputError(f"{name} must not be 0: use 1 for one thread, -1 for all processors.")
    return max(1, int(joblib.effective_n_jobs(n_jobs)))
