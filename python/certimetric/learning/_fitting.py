"""What learners by gradients share: parameters of the descent, validation, checkpoints, going on."""

import hashlib
import json
import time
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from certimetric._files import check_npz, check_writable
from certimetric._validation import (
    FloatArray,
    as_positive,
    as_rows,
    as_tolerance,
    check_count,
    check_flag,
    check_seed,
    effective_jobs,
)
from certimetric.exceptions import DataError, InputError, InputTypeError
from certimetric.learning._base import Labelled, MetricLearner
from certimetric.learning._checkpoint import load_state, save_state
from certimetric.learning._descent import Callback, Descent, Epoch, Known, State, Values
from certimetric.learning._settings import content, determining
from certimetric.learning._validation_set import Validation, hold_out

__all__ = ["GradientLearner", "check_rate", "initial_components"]


class GradientLearner(MetricLearner):
    """A learner that goes down a gradient, epoch after epoch.

    Attributes
    ----------
    n_iter_ : int
        Epochs made.
    best_iter_ : int
        The epoch that ``components_`` is of: the last one, or the one with the best validation score.
    stop_reason_ : str
        "max_iter", "converged", "no better validation", "callback", "time_limit", "interrupted" or
        "loss not finite".
    history_ : dict of str to ndarray
        ``loss`` of each epoch; with ``early_stopping`` the scores, ``validation``, and their epochs,
        ``validation_epoch``.
    """

    # Numbers, or "auto" where a learner has it.
    max_iter: Any
    learning_rate: Any
    warm_start: bool
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    tol: float
    callback: Callback | None
    time_limit: float | None
    checkpoint: str | Path | None
    progress: bool
    n_jobs: int | None
    random_state: Any
    _state: State

    @abstractmethod
    def _begin(self, data: Labelled) -> Values:
        """What is learned, as it is before the first epoch."""

    @abstractmethod
    def _epochs(self, data: Labelled, jobs: int) -> Epoch:
        """What an epoch does."""

    def _settle(self, data: Labelled, jobs: int) -> None:
        """Choose what the parameters leave to the data; called once, before anything is learned."""

    def _prepare(self, state: State, data: Labelled, keep: Callable[[], None]) -> None:
        """Choose by trials what parameters leave to the data, before the first epoch; see ``Descent``."""

    def _holds_out(self) -> bool:
        """Whether rows are held out for validation."""
        return bool(self.early_stopping)

    def _last_epoch(self) -> int:
        """Epochs in all."""
        return int(self.max_iter)

    def _score(self, validation: Validation, values: Values) -> float:
        """What the best epoch has most of."""
        return validation.score(values["components"])

    def _check_parameters(self) -> None:
        """Raise for parameters that are wrong whatever the data."""
        self._check_steps()
        for name in ("warm_start", "early_stopping", "progress"):
            check_flag(getattr(self, name), name)
        check_seed(self.random_state)
        as_positive(self.time_limit, "time_limit")
        as_tolerance(self.tol, "tol")
        check_count(self.n_iter_no_change, "n_iter_no_change")
        fraction = as_tolerance(self.validation_fraction, "validation_fraction")
        if not 0 < fraction < 1:
            raise InputError(f"validation_fraction must be between 0 and 1, got {fraction}.")
        if self.callback is not None and not callable(self.callback):
            raise InputTypeError(f"callback must be callable or None, got {self.callback!r}.")
        if self.checkpoint is not None:
            self._check_checkpoint(self.checkpoint)

    def _check_checkpoint(self, path: object) -> None:
        """Raise where a checkpoint could not be kept, or not be gone on from."""
        if not isinstance(path, str | PathLike):
            raise InputTypeError(f"checkpoint must be a path or None, got {path!r}.")
        check_npz(path, "checkpoint")
        check_writable(path, "checkpoint")
        if not isinstance(self.random_state, Integral):
            raise InputError(
                "checkpoint needs an integer as random_state, so that a fit that goes on splits and draws as "
                f"before; got {self.random_state!r}."
            )

    def _check_steps(self) -> None:
        """The part of it that is about how many steps there are, and how long ones."""
        check_count(self.max_iter, "max_iter")
        check_rate(self.learning_rate)

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn from labelled rows.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : array-like of shape (n,)
            Class labels: integers, strings or booleans. A class of one sample is a rival of others, no more.

        Raises
        ------
        ValueError, TypeError
            NaN, infinity, wrong shapes or types, a single class, continuous targets, parameters out of range.
        DataError
            ``checkpoint`` is damaged, or of another fit.
        OutputError
            ``checkpoint`` cannot be written; found out before anything is learned.

        Notes
        -----
        Ctrl-C ends the fit with a ``ConvergenceWarning`` and what was learned so far; so does a loss that is
        not finite, with its epoch. A callback that returns True and ``time_limit`` end it without a warning.
        Where a checkpoint cannot be written later, such as on a full disk, there is a ``RuntimeWarning``.
        """
        begun = time.monotonic()
        self._check_parameters()
        data = self._labelled(X, y)
        jobs = effective_jobs(self.n_jobs)
        rng = self._generator()
        validation = None
        if self._holds_out():
            validation = hold_out(data, self.validation_fraction, rng, jobs)
        train = data if validation is None else validation.train
        self._settle(train, jobs)
        state, save = self._first_state(data, train, rng)
        if validation and self.warm_start and state.best is not None:
            # The rows that are held out may be others than those of the fit before.
            score = self._score(validation, state.best.values)
            state.best = state.best._replace(score=score)
        limit = as_positive(self.time_limit, "time_limit")
        descent = Descent(
            type(self).__name__,
            self._last_epoch(),
            # Of what is over already nothing is left.
            time_limit=None if limit is None else max(limit - (time.monotonic() - begun), 1e-9),
            score=partial(self._score, validation) if validation and self.early_stopping else None,
            patience=self.n_iter_no_change,
            tol=self.tol,
            callback=self.callback,
            save=save,
            progress=bool(self.progress),
            prepare=lambda state, keep: self._prepare(state, train, keep),
        )
        state, self.stop_reason_ = descent.run(state, self._epochs(train, jobs))
        self._take(state)
        return self

    def _generator(self) -> np.random.Generator:
        # Also of a RandomState and of None, as scikit-learn has it.
        return np.random.default_rng(check_random_state(self.random_state).randint(2**31, size=4))

    def _first_state(
        self, data: Labelled, train: Labelled, rng: np.random.Generator
    ) -> tuple[State, Callable[[State], None] | None]:
        """The state to go on from, of a checkpoint, the last fit or new; and what keeps later ones."""
        known = getattr(self, "_state", None) if self.warm_start else None
        if known is not None:
            if not self._is_like(known, train):
                raise InputError("warm_start goes on with what was learned, but X or init has another shape.")
            known = known.copy()
            known.stale, known.converged = 0, False
            # Perhaps of other rows; a choice is only what epochs were made by.
            known.trials.clear()
            if not known.epoch:
                known.chosen.clear()
        if self.checkpoint is None:
            return known or State(self._begin(train), rng), None
        path, fingerprint = Path(self.checkpoint), self._fingerprint(data)
        if path.exists():
            known = load_state(path, fingerprint)
            if not (self._is_like(known, train) and self._may_be_chosen(known.chosen)):
                raise DataError(f"{path}: is a damaged checkpoint: it lacks a part of what is learned.")
        return known or State(self._begin(train), rng), partial(save_state, path, fingerprint=fingerprint)

    def _is_like(self, state: State, data: Labelled) -> bool:
        """Whether a state has all that is learned, in arrays of the same shapes."""
        shapes = {name: value.shape for name, value in self._begin(data).items()}
        return shapes == {name: value.shape for name, value in state.values.items()}

    def _may_be_chosen(self, chosen: Known) -> bool:
        """Whether what a checkpoint tells as chosen is what trials choose."""
        return not chosen

    def _fingerprint(self, data: Labelled) -> str:
        """Of all that the result depends on."""
        hashed = hashlib.sha256()
        # Epochs in all may be others in the fit that goes on.
        settings = {k: content(v) for k, v in determining(self).items() if k != "max_iter"}
        hashed.update(json.dumps([type(self).__name__, settings], sort_keys=True).encode())
        for array in (data.rows, data.codes):
            hashed.update(f"{array.shape}{array.dtype}".encode())
            hashed.update(np.ascontiguousarray(array).tobytes())
        return hashed.hexdigest()

    def _take(self, state: State) -> None:
        self._state = state
        best = state.best
        values = state.values if best is None else best.values
        self.n_iter_ = state.epoch
        self.best_iter_ = state.epoch if best is None else best.epoch
        self.history_ = {name: np.array(numbers) for name, numbers in state.history.items()}
        self._learned(values)

    def _learned(self, values: Values) -> None:
        """Give what was learned its public names."""
        self.components_ = values["components"]


def check_rate(value: object) -> None:
    """Raise unless a learning rate is positive and finite."""
    if as_positive(value, "learning_rate") is None:
        raise InputError(f"learning_rate must be a finite number, got {value!r}.")


def initial_components(init: str | ArrayLike, n_components: int | None, data: Labelled) -> FloatArray:
    """Components before the first epoch.

    Parameters
    ----------
    init : "auto", "identity", "pca" or array-like of shape (p, d)
        "auto" is the identity for p = d, and else the leading principal axes.
    n_components : int or None
        p; None is d, or the number of rows of an array.
    data : Labelled
    """
    features = data.rows.shape[1]
    if not isinstance(init, str):
        components = as_rows(init, "init", features).copy()
        if n_components not in (None, len(components)):
            raise InputError(f"n_components is {n_components}, but init has {len(components)} rows.")
        return components
    if init not in ("auto", "identity", "pca"):
        raise InputError(f"init must be 'auto', 'identity', 'pca' or an array, got {init!r}.")
    size = (
        features
        if n_components is None
        else check_count(n_components, "n_components", features, "n_features")
    )
    if init == "identity" or (init == "auto" and size == features):
        return np.eye(size, features)
    centred = data.rows - data.rows.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return np.ascontiguousarray(vectors.T[::-1][:size])
