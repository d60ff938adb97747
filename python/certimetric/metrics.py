"""Scores of certified robustness, for model selection with scikit-learn.

Radii are measured in the input space of the classifier: in a pipeline, the space of its final step.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from certimetric._validation import FloatArray, as_positive, as_radii
from certimetric.exceptions import InputError, InputTypeError

__all__ = ["certified_accuracy", "certified_accuracy_scorer", "mean_certified_radius"]


def certified_accuracy(estimator: Any, X: ArrayLike, y: ArrayLike, radius: float) -> float:
    r"""Share of points proven to be classified right within a radius, :math:`\frac1m \#\{lower > \epsilon\}`.

    Parameters
    ----------
    estimator : CertifiedKNeighborsClassifier, RobustPrototypes, Pipeline, or search over them
        Fitted. A pipeline's transformers are applied first, and the radius is measured in what they give.
    X : array-like of shape (m, d)
    y : array-like of shape (m,)
        True labels; one that the classifier has never seen counts as an error.
    radius : float
        ℓ2 norm ε, at least 0.

    Returns
    -------
    float
        Never above the true robust accuracy.

    Notes
    -----
    For more than one neighbour only "is r* > ε?" is decided, which costs less than r*.
    """
    level = float(as_radii(_scalar(radius), "radius"))
    return float((_proven_radii(estimator, X, y, level) > level).mean())


def mean_certified_radius(estimator: Any, X: ArrayLike, y: ArrayLike, cap: float) -> float:
    r"""Mean of :math:`\min(lower, cap)` over the points, in the ℓ2 norm.

    Parameters
    ----------
    estimator, X, y
        As in :func:`certified_accuracy`; a misclassified point counts 0.
    cap : float
        Largest radius that counts, so that a few huge or infinite ones do not decide the mean.
    """
    limit = as_positive(cap, "cap")
    if limit is None:
        raise InputError("cap must be finite: infinite radii have no mean.")
    return float(np.minimum(_proven_radii(estimator, X, y), limit).mean())


@dataclass(frozen=True)
class CertifiedAccuracyScorer:
    """Callable ``scorer(estimator, X, y)``; see :func:`certified_accuracy_scorer`."""

    radius: float

    def __call__(self, estimator: Any, X: ArrayLike, y: ArrayLike) -> float:
        return certified_accuracy(estimator, X, y, self.radius)


def certified_accuracy_scorer(radius: float) -> CertifiedAccuracyScorer:
    """Scorer for ``scoring=`` in ``GridSearchCV``, ``cross_val_score`` and the like.

    Parameters
    ----------
    radius : float
        ℓ2 norm, in the space of the classifier: of a pipeline's final step.

    Examples
    --------
    >>> from certimetric.metrics import certified_accuracy_scorer
    >>> certified_accuracy_scorer(0.5)
    CertifiedAccuracyScorer(radius=0.5)
    """
    return CertifiedAccuracyScorer(float(as_radii(_scalar(radius), "radius")))


def _scalar(radius: float) -> float:
    if np.ndim(radius) != 0:
        raise InputError(f"radius must be one number; got shape {np.shape(radius)}.")
    return radius


def _proven_radii(estimator: Any, X: ArrayLike, y: ArrayLike, level: float | None = None) -> FloatArray:
    """Lower ends, which only need to be right about ``level`` if it is given."""
    classifier, rows = _final_step(estimator, X)
    # About 0 and infinity no question can be asked.
    asks = level is not None and 0 < level < np.inf
    radii: FloatArray = classifier.certify(rows, y, eps=level if asks else None).lower
    return radii


def _final_step(estimator: Any, X: ArrayLike) -> tuple[Any, Any]:
    model = getattr(estimator, "best_estimator_", estimator)
    rows: Any = X
    if hasattr(model, "steps"):
        if len(model.steps) > 1:
            rows = model[:-1].transform(rows)
        model = model[-1]
    if not hasattr(model, "certify"):
        raise InputTypeError(
            "estimator must end in a CertifiedKNeighborsClassifier or RobustPrototypes; got "
            f"{type(model).__name__}."
        )
    return model, rows if hasattr(rows, "iloc") or isinstance(rows, np.ndarray) else np.asarray(rows)
