"""How many rows a step measures against, chosen on held out rows where fits take seconds."""

import math
import time
import warnings
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from certimetric._fit import bare_copy
from certimetric._validation import FloatArray, effective_jobs
from certimetric.learning._base import Labelled
from certimetric.learning._trials import learned
from certimetric.learning._validation_set import Validation, hold_out

if TYPE_CHECKING:
    from certimetric.learning.exact_radius import ExactRadius

__all__ = ["choose_shares", "usual_shares"]

Shares = tuple[float, float]
"""Of the first step and of the last."""

_USUAL = (0.05, 0.3)
_OTHERS = ((0.2, 0.6), (0.5, 1.0))
"""Larger ones, which few features for the rows may call for."""

_FEWEST_ROWS, _MOST_ROWS = 30, 20_000
"""Of a step, that others are measured against."""

_TRIED = 2500
"""Rows up to which shares are tried; with more of them they matter little."""

_PART = 0.25
"""Of the epochs of a fit; enough to tell."""

_GAIN = 0.01
"""Of the mean radius; less is not worth the time that more rows take."""

_SPLITS = 3
"""A third of the rows is held out, so many times."""


class Split(NamedTuple):
    """Rows to learn from and rows held out, and a seed."""

    parts: Validation
    seed: int


def usual_shares(n: int) -> Shares:
    """Shares of so many rows, from few to many."""
    first, last = (min(1.0, max(min(share, _MOST_ROWS / n), _FEWEST_ROWS / n)) for share in _USUAL)
    return first, last


def choose_shares(model: "ExactRadius", data: Labelled, epochs: int, deadline: float) -> Shares:
    """The usual shares, or larger ones under which held out rows have larger radii, and not by chance.

    Where half of the time until the deadline, by the monotonic clock, does not suffice for all of them, the
    best of those that were tried.
    """
    n = len(data.rows)
    best = usual_shares(n)
    others = [shares for shares in (_at_least(best, other) for other in _OTHERS) if shares != best]
    if n > _TRIED or np.bincount(data.codes).min() < 3 or not others:
        return best
    now, jobs = time.monotonic(), effective_jobs(model.n_jobs)
    end = now + (deadline - now) / 2
    rng = np.random.default_rng(model._generator().integers(2**31))
    splits = [
        Split(hold_out(data, 1 / 3, rng, jobs, "reference_share='auto'"), int(rng.integers(2**31)))
        for _ in range(_SPLITS)
    ]
    short = bare_copy(model).set_params(max_iter=math.ceil(_PART * epochs), progress=model.progress)
    radii = _radii(short, splits, best, end)
    for shares in others:
        found = _radii(short, splits, shares, end)
        if radii is None or found is None:
            break
        gain = found - radii
        if gain.mean() > max(gain.std() / math.sqrt(len(gain)), _GAIN * radii.mean()):
            best, radii = shares, found
    return best


def _at_least(usual: Shares, other: Shares) -> Shares:
    return max(usual[0], other[0]), max(usual[1], other[1])


def _radii(model: "ExactRadius", splits: list[Split], shares: Shares, end: float) -> FloatArray | None:
    """Radii of held out rows under what is learned with some shares; None where there was no time for it."""
    fits = [(parts.train, {"reference_share": shares, "random_state": seed}) for parts, seed in splits]
    found = []
    with warnings.catch_warnings():
        # Of rows that coincide a third may have no radius at all.
        warnings.simplefilter("ignore", ConvergenceWarning)
        label = f"shares {shares[0]:.3g} to {shares[1]:.3g}"
        with closing(learned(model, fits, label, end)) as trials:
            for split, trial in zip(splits, trials, strict=True):
                if trial.stop_reason_ != "max_iter":
                    return None
                found.append(split.parts.radii(trial.components_))
    return np.concatenate(found)
