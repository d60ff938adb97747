"""Epoch after epoch, until there is a reason to stop; and what is left then.

    state ──► epoch (the learner's) ──► finite? ──► score ──► callback ──► checkpoint ──► state
                │                         │ no                   │ stop       (a file)
                └── Ctrl-C, time limit ───┴──────────────────────┴──► the best state so far

A state is whole between epochs only. An epoch that fails, is interrupted or runs out of time leaves the
state before it. Before the first epoch a learner may choose by trials what its parameters leave to the data.
"""

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from certimetric._progress import line_if
from certimetric._validation import LARGEST, FloatArray
from certimetric.exceptions import OutputError
from certimetric.learning._adam import Adam

__all__ = ["Best", "Callback", "Descent", "FitProgress", "Known", "State", "Values", "says_stop"]

Values = dict[str, FloatArray]
"""What is learned, by name."""

Known = dict[str, NDArray[Any]]
"""What is known by trials, by name; of a whole fit."""


class FitProgress(NamedTuple):
    """What a callback is told after an epoch.

    Attributes
    ----------
    epoch : int
        Number of the epoch, from 1.
    max_iter : int
        Number of epochs in all.
    values : dict of str to ndarray
        What has been learned so far, such as ``components``. Not to be changed.
    record : dict of str to float
        Numbers of the epoch: ``loss``, and ``validation`` where there was one.
    """

    epoch: int
    max_iter: int
    values: Values
    record: dict[str, float]


Callback = Callable[[FitProgress], object]
"""Called after each epoch; where it returns True the fit ends there."""


def says_stop(answer: object) -> bool:
    """Whether a callback ends the fit; what else it returns is not meant for us, comparisons of NumPy are."""
    return isinstance(answer, bool | np.bool_) and bool(answer)


class Best(NamedTuple):
    """The values of the epoch with the highest score."""

    score: float
    epoch: int
    values: Values


@dataclass
class State:
    """All that the next epoch depends on. Its arrays are its own: an epoch writes to those of a copy."""

    values: Values
    rng: np.random.Generator
    adam: Adam = field(default_factory=Adam)
    epoch: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    best: Best | None = None
    stale: int = 0
    """Scores since the best one."""
    converged: bool = False
    """Whether another epoch would change nothing worth it; an epoch says so."""
    chosen: Known = field(default_factory=dict)
    """What was chosen by trials before the first epoch."""
    trials: Known = field(default_factory=dict)
    deadline: float = math.inf
    """By the monotonic clock."""

    def copy(self) -> "State":
        """The same, which an epoch that goes wrong does not change."""
        # Seeded, because the system's entropy takes its time.
        rng = np.random.Generator(type(self.rng.bit_generator)(0))
        rng.bit_generator.state = self.rng.bit_generator.state
        history = {name: list(numbers) for name, numbers in self.history.items()}
        values = {name: value.copy() for name, value in self.values.items()}
        copied = replace(self, values=values, rng=rng, adam=self.adam.copy(), history=history)
        copied.chosen, copied.trials = dict(self.chosen), dict(self.trials)
        return copied

    def check_time(self) -> None:
        """To be called between the steps of an epoch: raises where there is no time for another one."""
        if self.is_late():
            raise OutOfTimeError

    def is_late(self) -> bool:
        """Whether the deadline is over."""
        return time.monotonic() >= self.deadline

    def is_finite(self) -> bool:
        """Whether there is neither NaN nor infinity in what is learned, nor what no metric takes."""
        # Not so for NaN.
        return all(bool(np.abs(value).max(initial=0.0) <= LARGEST) for value in self.values.values())


class OutOfTimeError(Exception):
    """There is no time for the rest of an epoch."""


Epoch = Callable[[State], float]
"""Changes a state by one epoch and returns its mean loss."""

Prepare = Callable[[State, Callable[[], None]], None]
"""Adds what it finds out to ``trials`` and ``chosen`` of a state, and says each time that it may be saved."""


@dataclass(frozen=True)
class Descent:
    """When to stop, and whom to tell.

    Parameters
    ----------
    name : str
        Of the learner, for messages.
    max_iter : int
        Epochs in all, those before a checkpoint among them.
    time_limit : float or None
        Seconds; an epoch that is not whole by then does not count.
    score : callable or None
        ``score(values)``, the larger the better: the best values are what is left.
    score_every : int
        Epochs between two scores.
    patience : int
        So many scores without a better one end the fit.
    tol : float
        By how much a score has to be better.
    callback : callable or None
    save : callable or None
        ``save(state)`` keeps a checkpoint; called every ``save_every`` seconds and at the end.
    save_every : float
    progress : bool
    prepare : callable or None
        ``prepare(state, keep)`` chooses before the first epoch what is left to the data; each call of
        ``keep()`` may save what it knows by then.
    """

    name: str
    max_iter: int
    time_limit: float | None = None
    score: Callable[[Values], float] | None = None
    score_every: int = 10
    patience: int = 10
    tol: float = 0.0
    callback: Callback | None = None
    save: Callable[[State], None] | None = None
    save_every: float = 60.0
    progress: bool = False
    prepare: Prepare | None = None

    def run(self, state: State, epoch: Epoch) -> tuple[State, str]:
        """The state at the end, and why it is one; ``best`` is there if scores were asked for."""
        if not state.is_finite():
            raise ValueError(f"{self.name} begins with values that are not finite")
        reason, place, saved = "", "before", time.monotonic()
        limit = math.inf if self.time_limit is None else self.time_limit
        state = replace(state, deadline=saved + limit)

        def keep(every: float = self.save_every) -> None:
            nonlocal saved
            if time.monotonic() - saved >= every:
                self._keep(state)
                saved = time.monotonic()

        try:
            if self.prepare is not None and not self._is_done(state):
                self.prepare(state, keep)
            place = "in"
            with line_if(self.progress, self.name, "epochs") as report:
                while not (reason := reason or self._is_done(state)):
                    state, reason = self._after(state, epoch)
                    report(state.epoch, self.max_iter)
                    if not reason and self._is_told_to_stop(state):
                        reason = "callback"
                    keep()
        except OutOfTimeError:
            reason = "time_limit"
        except KeyboardInterrupt:
            reason = "interrupted"
            self._warn(state, f"was interrupted {place} epoch {state.epoch + 1}", stacklevel=4)
        finally:
            # Whatever a callback raises, say: what was learned is not lost with it.
            if reason or state.epoch or state.trials:
                keep(0.0)
        return state, reason

    def _keep(self, state: State) -> None:
        """Save what is learned; where that fails the fit is worth more than its checkpoint."""
        try:
            if self.save is not None:
                self.save(state)
        except OutputError as error:
            message = f"{self.name} has no checkpoint of epoch {state.epoch}: {error}"
            warnings.warn(message, RuntimeWarning, stacklevel=5)

    def _is_done(self, state: State) -> str:
        """Why there is no other epoch; empty: there is one."""
        if state.converged:
            return "converged"
        if state.epoch >= self.max_iter:
            return "max_iter"
        if self.score is not None and state.stale >= self.patience:
            return "no better validation"
        return "time_limit" if state.is_late() else ""

    def _after(self, state: State, epoch: Epoch) -> tuple[State, str]:
        """The state after one more epoch; or the same, and why it is the last one."""
        following = state.copy()
        loss = epoch(following)
        following.epoch += 1
        if not (math.isfinite(loss) and following.is_finite()):
            what = f"a loss of {loss}" if not math.isfinite(loss) else "numbers that no metric takes"
            self._warn(state, f"has {what} in epoch {following.epoch} and stops", stacklevel=5)
            return state, "loss not finite"
        following.history.setdefault("loss", []).append(float(loss))
        self._score(following)
        return following, ""

    def _score(self, state: State) -> None:
        if self.score is None or (state.epoch % self.score_every and state.epoch < self.max_iter):
            return
        score = float(self.score(state.values))
        state.history.setdefault("validation", []).append(score)
        state.history.setdefault("validation_epoch", []).append(float(state.epoch))
        if state.best is None or score > state.best.score + self.tol:
            state.best, state.stale = Best(score, state.epoch, dict(state.values)), 0
        else:
            state.stale += 1

    def _is_told_to_stop(self, state: State) -> bool:
        if self.callback is None:
            return False
        record = {name: numbers[-1] for name, numbers in state.history.items()}
        return says_stop(self.callback(FitProgress(state.epoch, self.max_iter, state.values, record)))

    def _warn(self, state: State, what: str, stacklevel: int) -> None:
        kept = state.epoch if state.best is None else state.best.epoch
        left = f"what was learned by the end of epoch {kept}" if kept else "what it began with"
        warnings.warn(f"{self.name} {what}: {left} is kept.", ConvergenceWarning, stacklevel=stacklevel)
