"""Fits inside of something larger: whole or not at all, and determined by its seed."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

__all__ = ["bare_copy", "fill_seeds", "fit_whole"]


def bare_copy(learner: Any) -> Any:
    """A learner of the same parameters that begins anew, tells nobody, and learns from all rows.

    Unlike a clone it has the parameters themselves: a callback may be nothing that can be copied.
    """
    alone = {"callback": None, "checkpoint": None, "progress": False}
    whole = {"early_stopping": False, "warm_start": False}
    return type(learner)(**learner.get_params(deep=False) | alone | whole)


def fit_whole(learner: Any, X: ArrayLike, y: ArrayLike) -> Any:
    """Fit a learner for whoever has no use for a part of a fit, and return it.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C ended the fit, which a learner by itself takes for the wish to keep what it has.
    """
    with warnings.catch_warnings():
        # It says that what was learned is kept.
        warnings.filterwarnings("ignore", ".* was interrupted", ConvergenceWarning)
        fitted = learner.fit(X, y)
    if getattr(fitted, "stop_reason_", "") == "interrupted":
        raise KeyboardInterrupt
    return fitted


def fill_seeds(learner: Any, random_state: int | np.random.RandomState | None) -> None:
    """Give a learner, and those in it, a seed wherever ``random_state`` is None.

    Nothing is drawn where all have one; with None as the source they stay as they are.
    """
    given = learner.get_params()
    # Sorted, because the order decides which one gets which.
    unset = sorted(k for k, v in given.items() if v is None and k.split("__")[-1] == "random_state")
    if unset and random_state is not None:
        rng = check_random_state(random_state)
        learner.set_params(**{name: int(rng.randint(2**31 - 1)) for name in unset})
