"""What a caller may give as ``metric=``, and the one function that makes a :class:`Mahalanobis` of it."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError

from certimetric._fit import fill_seeds, fit_whole
from certimetric._validation import LARGEST, FloatArray
from certimetric.exceptions import MetricError, UnfittedMetricError
from certimetric.metric import Mahalanobis

__all__ = ["MetricLike", "as_fitted_metric", "as_metric", "check_range"]

# A fitted learner is any object with `components_` or `get_mahalanobis_matrix()`: no common type exists for
# them.
MetricLike = str | Mahalanobis | ArrayLike | Any

_KINDS = "'euclidean', a Mahalanobis, a PSD matrix or a fitted learner"


def as_metric(metric: MetricLike, n_features: int) -> Mahalanobis:
    """The metric that an argument stands for.

    Parameters
    ----------
    metric : "euclidean", Mahalanobis, array-like of shape (d, d), or fitted learner
        A matrix is taken as M, symmetric positive semidefinite. A learner is any object with ``components_``
        (preferred) or ``get_mahalanobis_matrix()``.
    n_features : int
        Number of features d of the data.

    Returns
    -------
    Mahalanobis
        With ``n_features`` known.

    Raises
    ------
    MetricError
        Unknown name, wrong shape, or not positive semidefinite.
    UnfittedMetricError
        A learner that has not been fitted.
    """
    found = _resolve(metric, n_features)
    if found.n_features != n_features:
        raise MetricError(f"metric is for {found.n_features} features, but the data has {n_features}.")
    return found


def as_fitted_metric(
    metric: MetricLike,
    rows: FloatArray,
    labels: NDArray[Any],
    random_state: int | np.random.RandomState | None = None,
) -> Mahalanobis:
    """The same for training data: an estimator that is not fitted is cloned and fitted to them.

    Parameters
    ----------
    metric, rows, labels
    random_state : int, RandomState or None
        Where the clone has none, it gets seeds that are drawn from this one.

    Raises
    ------
    KeyboardInterrupt
        Also where the estimator itself would keep what it had learned before Ctrl-C.
    """
    try:
        return as_metric(metric, rows.shape[1])
    except UnfittedMetricError:
        if not isinstance(metric, BaseEstimator):
            raise
        learner = clone(metric)
        fill_seeds(learner, random_state)
        return as_metric(fit_whole(learner, rows, labels), rows.shape[1])


def _resolve(metric: MetricLike, n_features: int) -> Mahalanobis:
    if isinstance(metric, str):
        if metric != "euclidean":
            raise MetricError(f"metric must be {_KINDS}; got {metric!r}.")
        return Mahalanobis.euclidean(n_features)
    if isinstance(metric, Mahalanobis):
        known = metric.n_features is not None or not metric.is_euclidean
        return metric if known else Mahalanobis.euclidean(n_features)
    if isinstance(metric, np.ndarray | list | tuple) or hasattr(metric, "__array__"):
        return _from_array(metric, n_features)
    return _from_learner(metric)


def _from_array(metric: ArrayLike, n_features: int) -> Mahalanobis:
    shape = np.shape(metric)
    if shape != (n_features, n_features):
        raise MetricError(
            f"metric, given as a matrix M, must have shape ({n_features}, {n_features}); got shape {shape}. "
            "For components use Mahalanobis.from_components."
        )
    return Mahalanobis.from_matrix(metric)


def _from_learner(learner: Any) -> Mahalanobis:
    name = type(learner).__name__
    try:
        components = getattr(learner, "components_", None)
        if components is not None:
            return Mahalanobis.from_components(components)
        if hasattr(learner, "get_mahalanobis_matrix"):
            return Mahalanobis.from_matrix(learner.get_mahalanobis_matrix())
    except (NotFittedError, AttributeError) as error:
        raise UnfittedMetricError(f"metric {name} is not fitted: call its fit first ({error}).") from error
    if hasattr(learner, "fit"):
        raise UnfittedMetricError(
            f"metric {name} has neither components_ nor get_mahalanobis_matrix(): fit it first, "
            "or use a learner of Mahalanobis metrics."
        )
    raise MetricError(f"metric must be {_KINDS}; got {learner!r} of type {name}.")


def check_range(metric: Mahalanobis, rows: FloatArray, name: str) -> None:
    """Raise where embedded rows could pass 1e150, so that no squared distance overflows."""
    if metric.is_euclidean:
        return
    largest = float(max(-rows.min(), rows.max()))
    # Division instead of a product: the product itself may overflow.
    if largest > 0 and metric.spectral_norm_bound > LARGEST / largest:
        raise MetricError(
            f"metric (norm {metric.spectral_norm_bound:.3g}) times {name} (magnitudes up to {largest:.3g}) "
            f"passes {LARGEST:g}: squared distances would overflow. Rescale the metric: radii stay the same."
        )
