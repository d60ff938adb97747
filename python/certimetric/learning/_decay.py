"""How fast radii lose worth, so that prototypes are as often right as the plain 1-NN."""

import math
import time
import warnings
from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from certimetric._resolve import as_fitted_metric
from certimetric._validation import as_positive
from certimetric.learning._base import Labelled
from certimetric.learning._validation_set import hold_out
from certimetric.neighbors import CertifiedKNeighborsClassifier

if TYPE_CHECKING:
    from certimetric.learning.prototypes import RobustPrototypes

__all__ = ["choose_decay"]

_SHARES = (1, 2, 4, 8, 16, 32)
"""Decays that are tried, as parts of the cap, the longest first."""

_MOST_ROWS, _HELD_OUT = 12_000, 2_000
"""Rows that the choice is made with, and those of them that are held out: a third at most."""


def choose_decay(model: "RobustPrototypes", data: Labelled, cap: float) -> float:
    """The longest decay with which held out rows are right as often as by the plain 1-NN of the others."""
    rng = np.random.default_rng(model._generator().integers(2**31))
    data = part(data, rng)
    fraction = min(1 / 3, _HELD_OUT / len(data.rows))
    split = hold_out(data, fraction, rng, 1, "objective='clean'")
    (rows, codes, _), (held_out, truth, _) = split.train, split.held_out
    metric = as_fitted_metric(model.metric, rows, codes)
    plain = CertifiedKNeighborsClassifier(metric=metric, n_jobs=model.n_jobs).fit(rows, codes)
    most = int(np.sum(plain.predict(held_out) != truth))
    seed = int(rng.integers(2**31))
    found: list[tuple[int, int]] = []
    # Half of the time that there is, whatever it is.
    end = time.monotonic() + (as_positive(model.time_limit, "time_limit") or math.inf) / 2
    for share in _SHARES:
        left = end - time.monotonic()
        if found and left <= 0:
            break
        trial = clone(model).set_params(objective="area", decay=cap / share, metric=metric, random_state=seed)
        trial.set_params(callback=None, checkpoint=None, early_stopping=False, warm_start=False)
        trial.set_params(time_limit=max(left, 1e-9) if math.isfinite(left) else None)
        trial.fit(rows, codes)
        if trial.stop_reason_ == "interrupted":
            # Nothing of the fit itself is there to be kept.
            raise KeyboardInterrupt
        found.append((int(np.sum(trial.predict(held_out) != truth)), share))
        if found[-1][0] <= most:
            break
    wrong, share = min(found)
    if wrong > most:
        warnings.warn(
            f"RobustPrototypes has {wrong} of {len(truth)} held out rows wrong, and the plain 1-NN {most}. "
            "More prototypes or epochs may help.",
            ConvergenceWarning,
            stacklevel=4,
        )
    return cap / share


def part(data: Labelled, rng: np.random.Generator) -> Labelled:
    """A stratified part of the rows, as many as the choice is made with."""
    if len(data.rows) <= _MOST_ROWS:
        return data
    seed = int(rng.integers(2**31))
    rows, _, codes, _ = train_test_split(
        data.rows, data.codes, train_size=_MOST_ROWS, stratify=data.codes, random_state=seed
    )
    return Labelled(np.ascontiguousarray(rows), codes, data.classes)
