"""How fast radii lose worth, so that prototypes are as often right as the plain 1-NN."""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from certimetric._resolve import as_fitted_metric
from certimetric.exceptions import InputError
from certimetric.learning._base import Labelled
from certimetric.learning._descent import Known, State
from certimetric.learning._trials import learned
from certimetric.learning._validation_set import hold_out
from certimetric.metric import Mahalanobis
from certimetric.neighbors import CertifiedKNeighborsClassifier

if TYPE_CHECKING:
    from certimetric.learning.prototypes import RobustPrototypes

__all__ = ["choose_decay"]

_SHARES = (1, 2, 4, 8, 16, 32)
"""Decays that may be tried, as parts of the cap, the longest first."""

_WORTH_HALF = 0.9
"""Where half a decay leaves so many of the rows wrong, it is worth the radii that it costs."""

_HELD_OUT = 6000
"""Rows held out in all, as far as a third at a time and three times go: few errors are mostly chance."""


class Split(NamedTuple):
    """Rows to learn from and rows held out, the metric, and which of these the plain 1-NN has wrong."""

    train: Labelled
    held_out: Labelled
    metric: Mahalanobis
    wrong: NDArray[np.bool_]
    seed: int

    @property
    def size(self) -> int:
        """Rows to learn from."""
        return len(self.train.rows)


@dataclass(frozen=True)
class Trial:
    """Which held out rows prototypes have wrong, and whether there was time to learn them."""

    wrong: NDArray[np.bool_]
    is_whole: bool = True

    @property
    def count(self) -> int:
        return int(self.wrong.sum())

    def lead(self, other: "Trial") -> float:
        """How many fewer are wrong, less a standard error of the difference."""
        return other.count - self.count - math.sqrt((self.wrong != other.wrong).sum())

    def serves(self, plain: "Trial") -> bool:
        """Whether no more are wrong than by the plain 1-NN."""
        return self.is_whole and self.lead(plain) >= 0

    def pays_after(self, longer: "Trial") -> bool:
        """Whether much fewer are wrong than with a longer decay, and not by chance."""
        return self.is_whole and self.lead(longer) > 0 and self.count <= _WORTH_HALF * longer.count


@dataclass
class Trials:
    """Fits by decays of which half is a share of two, a quarter of four; each is made once."""

    model: "RobustPrototypes"
    splits: Sequence[Split]
    cap: float
    end: float
    """By the monotonic clock. The first trial has a little time in any case."""
    kept: Known
    """Those that are whole, for a fit that goes on."""
    keep: Callable[[], None]
    known: dict[float, Trial] = field(default_factory=dict)

    def of(self, share: float) -> Trial:
        """The cap over ``share`` is the decay."""
        if share not in self.known:
            self.known[share] = self._kept(share) or self._made(share)
        return self.known[share]

    def may(self, share: float) -> bool:
        """Whether there is a trial, or time for it."""
        return share in self.known or self._kept(share) is not None or time.monotonic() < self.end

    def _made(self, share: float) -> Trial:
        trial = _try(self.model, self.splits, self.cap / share, self.end)
        if trial.is_whole:
            self.kept[self._name(share)] = trial.wrong
            self.keep()
        return trial

    def _kept(self, share: float) -> Trial | None:
        wrong = self.kept.get(self._name(share))
        # Of a file, which may be damaged.
        is_one = wrong is not None and wrong.dtype == np.bool_ and wrong.shape == (self.rows,)
        return Trial(wrong) if wrong is not None and is_one else None

    @property
    def rows(self) -> int:
        """Rows held out."""
        return sum(len(split.wrong) for split in self.splits)

    def _name(self, share: float) -> str:
        """With the epochs: a fit that goes on may have others."""
        return f"{share!r} in {self.model._trial_epochs(self.splits[0].size)}"


def choose_decay(
    model: "RobustPrototypes", data: Labelled, cap: float, state: State, keep: Callable[[], None]
) -> float:
    """The longest decay with which held out rows are as often right as by the plain 1-NN of the others.

    Half of it, and half of that, where much fewer are wrong then. What is tried is put into ``trials`` of the
    state, from which it is known by a fit that goes on, and ``keep()`` is called each time.
    """
    # Half of the time that there is, whatever it is.
    now = time.monotonic()
    end = now + (state.deadline - now) / 2
    splits = _splits(model, data)
    plain = Trial(np.concatenate([split.wrong for split in splits]))
    trials = Trials(model, splits, cap, end, state.trials, keep)
    share = _longest(trials, plain)
    while 2 * share <= _SHARES[-1] and trials.may(2 * share):
        if not trials.of(2 * share).pays_after(trials.of(share)):
            break
        share *= 2
    if (count := trials.of(share).count) > plain.count:
        warnings.warn(
            f"RobustPrototypes has {count} of {len(plain.wrong)} held out rows wrong, and the plain 1-NN "
            f"{plain.count}. More prototypes or epochs may help.",
            ConvergenceWarning,
            stacklevel=6,
        )
    return cap / share


def _longest(trials: Trials, plain: Trial) -> float:
    """The share of the longest decay that serves; else of one that does no harm, else of the best."""
    for share in map(float, _SHARES):
        if trials.known and not trials.may(share):
            break
        if trials.of(share).serves(plain):
            # Perhaps one between the two on whose sides the standard lies.
            longer = share / math.sqrt(2)
            has_more = share > 1 and trials.may(longer) and trials.of(longer).serves(plain)
            return longer if has_more else share
    # What was learned in too little time says nothing of its decay.
    whole = {share: tried for share, tried in trials.known.items() if tried.is_whole} or trials.known
    harmless = [share for share, tried in whole.items() if tried.count <= plain.count]
    return min(harmless) if harmless else min(whole, key=lambda share: whole[share].count)


def _splits(model: "RobustPrototypes", data: Labelled) -> list[Split]:
    """Rows held out, as few times as it takes to have many of them."""
    rng = np.random.default_rng(model._generator().integers(2**31))
    n, most_rows = len(data.rows), int(np.bincount(data.codes).max())
    if most_rows < 3:
        raise InputError(
            f"objective='clean' holds out a third of the rows, but no class of y has more than {most_rows}."
        )
    times = min(3, math.ceil(3 * _HELD_OUT / n))
    fraction = min(1 / 3, _HELD_OUT / (times * n))
    return [_split(model, data, fraction, rng) for _ in range(times)]


def _split(model: "RobustPrototypes", data: Labelled, fraction: float, rng: np.random.Generator) -> Split:
    parts = hold_out(data, fraction, rng, 1, "objective='clean'")
    train, held_out = parts.train, parts.held_out
    metric = as_fitted_metric(model.metric, train.rows, train.codes, model.random_state)
    plain = CertifiedKNeighborsClassifier(metric=metric, n_jobs=model.n_jobs).fit(train.rows, train.codes)
    wrong = plain.predict(held_out.rows) != held_out.codes
    return Split(train, held_out, metric, wrong, int(rng.integers(2**31)))


def _try(model: "RobustPrototypes", splits: Sequence[Split], decay: float, end: float) -> Trial:
    """What prototypes that are learned with a decay have wrong."""
    fits = [
        (
            split.train,
            {
                "decay": decay,
                "metric": split.metric,
                "precision": "float64",
                "max_iter": model._trial_epochs(split.size),
                "random_state": split.seed,
            },
        )
        for split in splits
    ]
    wrong, is_whole = [], True
    with closing(learned(model, fits, f"decay {decay:.3g}", end)) as trials:
        for split, trial in zip(splits, trials, strict=True):
            is_whole = is_whole and trial.stop_reason_ != "time_limit"
            wrong.append(trial.predict(split.held_out.rows) != split.held_out.codes)
    return Trial(np.concatenate(wrong), is_whole)
