"""What a fit is determined by beside the data: parameters, by their content."""

import hashlib
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

__all__ = ["content", "determining"]

_NOT_OF_THE_RESULT = {"callback", "checkpoint", "n_jobs", "progress", "time_limit", "warm_start"}
"""Parameters that may differ without changing what is learned."""


def determining(learner: BaseEstimator) -> dict[str, Any]:
    """A learner's parameters that determine what it learns, and those of learners in it."""
    given = learner.get_params()
    return {name: v for name, v in given.items() if name.split("__")[-1] not in _NOT_OF_THE_RESULT}


def content(value: Any) -> Any:
    """What JSON has a word for, the same for equal numbers and for arrays of equal numbers.

    Of any other object it is the name of its class: the parameters of a learner are named by themselves.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Real | np.bool_):
        number = float(value)
        return int(number) if number.is_integer() else number
    if isinstance(value, list | tuple) or hasattr(value, "__array__"):
        return _content_of_array(np.asarray(value))
    return type(value).__qualname__


def _content_of_array(array: NDArray[Any]) -> Any:
    if array.ndim == 0:
        return content(array.item())
    if array.dtype.kind == "O":
        # Its bytes would be addresses.
        return [*array.shape, [content(value) for value in array.ravel().tolist()]]
    if array.dtype.kind in "biuf":
        array = array.astype(np.float64)
    return [*array.shape, hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()]
