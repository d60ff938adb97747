"""How fast radii lose worth, so that prototypes are as often right as the plain 1-NN."""

import math
import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from certimetric._resolve import as_fitted_metric
from certimetric._validation import as_positive
from certimetric.exceptions import InputError
from certimetric.learning._base import Labelled
from certimetric.learning._validation_set import hold_out
from certimetric.metric import Mahalanobis
from certimetric.neighbors import CertifiedKNeighborsClassifier

if TYPE_CHECKING:
    from certimetric.learning.prototypes import RobustPrototypes

__all__ = ["choose_decay"]

_SHARES = (1, 2, 4, 8, 16, 32)
"""Decays that may be tried, as parts of the cap, the longest first."""

_HELD_OUT = 6000
"""Rows held out in all, as far as a third at a time and three times go: few errors are mostly chance."""


class Split(NamedTuple):
    """Rows to learn from and rows held out, the metric, and which of these the plain 1-NN has wrong."""

    train: Labelled
    held_out: Labelled
    metric: Mahalanobis
    wrong: NDArray[np.bool_]
    seed: int


class Trial(NamedTuple):
    """Held out rows that prototypes have wrong, and those that they or the plain 1-NN alone have wrong."""

    wrong: int
    apart: int

    def serves(self, most: int) -> bool:
        """Whether no more are wrong than by the plain 1-NN, by a standard error of the difference."""
        return self.wrong + math.sqrt(self.apart) <= most


def choose_decay(model: "RobustPrototypes", data: Labelled, cap: float) -> float:
    """The longest decay with which fewer held out rows are wrong than by the plain 1-NN of the others."""
    rng = np.random.default_rng(model._generator().integers(2**31))
    # Half of the time that there is, whatever it is.
    end = time.monotonic() + (as_positive(model.time_limit, "time_limit") or math.inf) / 2
    n, most_rows = len(data.rows), int(np.bincount(data.codes).max())
    if most_rows < 3:
        raise InputError(
            f"objective='clean' holds out a third of the rows, but no class of y has more than {most_rows}."
        )
    times = min(3, math.ceil(3 * _HELD_OUT / n))
    fraction = min(1 / 3, _HELD_OUT / (times * n))
    splits = [_split(model, data, fraction, rng) for _ in range(times)]
    most = sum(int(split.wrong.sum()) for split in splits)
    trials: dict[int, Trial] = {}
    for share in _SHARES:
        if trials and time.monotonic() >= end:
            break
        trials[share] = _try(model, splits, cap / share, end)
        if trials[share].serves(most):
            # One between the two on whose sides the standard lies.
            longer = share / math.sqrt(2)
            between = share > 1 and time.monotonic() < end and _try(model, splits, cap / longer, end)
            return cap / (longer if between and between.serves(most) else share)
    # None better by more than chance: the longest that is no worse, or the best.
    as_good = [share for share, trial in trials.items() if trial.wrong <= most]
    if as_good:
        return cap / min(as_good)
    best = min(trials, key=lambda share: trials[share])
    count = sum(len(split.wrong) for split in splits)
    warnings.warn(
        f"RobustPrototypes has {trials[best].wrong} of {count} held out rows wrong, and the plain 1-NN "
        f"{most}. More prototypes or epochs may help.",
        ConvergenceWarning,
        stacklevel=4,
    )
    return cap / best


def _split(model: "RobustPrototypes", data: Labelled, fraction: float, rng: np.random.Generator) -> Split:
    parts = hold_out(data, fraction, rng, 1, "objective='clean'")
    train, held_out = parts.train, parts.held_out
    metric = as_fitted_metric(model.metric, train.rows, train.codes)
    plain = CertifiedKNeighborsClassifier(metric=metric, n_jobs=model.n_jobs).fit(train.rows, train.codes)
    wrong = plain.predict(held_out.rows) != held_out.codes
    return Split(train, held_out, metric, wrong, int(rng.integers(2**31)))


def _try(model: "RobustPrototypes", splits: Sequence[Split], decay: float, end: float) -> Trial:
    """What prototypes that are learned with a decay have wrong."""
    wrong = apart = 0
    for place, split in enumerate(splits):
        trial = clone(model).set_params(decay=decay, metric=split.metric)
        trial.set_params(callback=None, checkpoint=None, early_stopping=False, warm_start=False)
        trial.set_params(precision="float64")
        # What each of the splits that are left may take.
        left = max((end - time.monotonic()) / (len(splits) - place), 1e-9)
        trial.set_params(time_limit=left if math.isfinite(left) else None, random_state=split.seed)
        trial.fit(split.train.rows, split.train.codes)
        if trial.stop_reason_ == "interrupted":
            # Nothing of the fit itself is there to be kept.
            raise KeyboardInterrupt
        found = trial.predict(split.held_out.rows) != split.held_out.codes
        wrong, apart = wrong + int(found.sum()), apart + int((found != split.wrong).sum())
    return Trial(wrong, apart)
