"""Fits to parts of the rows, before the first epoch, that say what a parameter should be."""

import math
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

from certimetric._fit import bare_copy, fit_whole
from certimetric._progress import Report, line_if
from certimetric.learning._base import Labelled
from certimetric.learning._descent import FitProgress

__all__ = ["learned"]

Fit = tuple[Labelled, dict[str, Any]]
"""Rows to learn from, and the parameters that only this fit has."""


def learned(model: Any, fits: Sequence[Fit], what: str, end: float) -> Generator[Any]:
    """Copies of a learner, each fitted to its rows; those that are left share the time until ``end``.

    ``end`` is by the monotonic clock; ``what`` is tried, as the progress line of the learner says.
    """
    with line_if(model.progress, f"{type(model).__name__} tries {what}", "epochs") as report:
        for place, (train, parameters) in enumerate(fits):
            trial = bare_copy(model).set_params(**parameters)
            left = max((end - time.monotonic()) / (len(fits) - place), 1e-9)
            trial.set_params(
                time_limit=left if math.isfinite(left) else None, callback=_teller(report, place, len(fits))
            )
            yield fit_whole(trial, train.rows, train.codes)


def _teller(report: Report, place: int, fits: int) -> Callable[[FitProgress], None]:
    """A callback that counts the epochs of all fits, of which each has as many."""

    def tell(progress: FitProgress) -> None:
        report(place * progress.max_iter + progress.epoch, fits * progress.max_iter)

    return tell
