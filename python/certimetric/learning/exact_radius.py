"""Exact-radius learning: a metric under which the training rows' own robustness radii are large."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from certimetric._validation import FloatArray
from certimetric.exceptions import InputError
from certimetric.learning._auto import check_auto_count, check_auto_length, check_auto_rate, given
from certimetric.learning._base import Labelled
from certimetric.learning._descent import Callback, Epoch, Known, State, Values
from certimetric.learning._fitting import GradientLearner, initial_components
from certimetric.learning._radii import Worth, anneal, radius_loss, reach, signed_radii, spread
from certimetric.learning._share import choose_shares

__all__ = ["ExactRadius", "normed"]

_STEPS = 1000
"""Steps of a fit by default."""

_NEAREST = 128
"""Rows of each kind that a row is measured against: farther ones hardly ever decide."""

_LENGTH = 1.2
"""Of a first step at most, as a spectral norm: one of Adam with a rate η may be as long as η d."""

_GIVEN_UP = 0.05
"""Rows that are wrong by such a part of the cap do not count: few will ever be right."""


@dataclass(frozen=True)
class _Plan:
    """What a fit goes by: the parameters, and in place of "auto" what suits the data."""

    shares: tuple[float, float] | None
    cap: float
    batch: int
    epochs: int
    rate: float


class ExactRadius(GradientLearner):
    r"""A metric that is learned on exact radii.

    .. math:: \max_G \frac1n \sum_i \max(\min(s_i, \text{cap}), -\text{cap}/20), \qquad
        s = \frac{\sum_k \lambda_k (d^2(x, x^-) - d^2(x, x^+_k))}
                 {2 \lVert M \sum_k \lambda_k (x^- - x^+_k) \rVert_2}, \quad \sum_k \lambda_k = 1,

    where s is the certified radius of a row x that the others classify right, with the active constraints of
    its program for λ, and otherwise minus the closed form of its nearest row of each kind. The objective is
    the area under the curve of certified accuracy up to the cap. In every step the radii are those before a
    random part of the rows, small at first, so that no few rows decide them: where there are many features
    for the rows that takes the place of a penalty. Adam makes the steps, and their length falls to 0 by half
    a cosine.

    Parameters
    ----------
    n_components : int, optional
        Rows p of G; default: the number of features.
    reference_share : float, tuple of 2 floats, or "auto", default="auto"
        Probability with which a row is one that others are measured against, in every step anew; of two, the
        first is that of the first step and the second that of the last. "auto" is (0.05, 0.3), or as much
        more as 30 rows take and as much less as 20,000 do; of up to 2,500 rows it is (0.2, 0.6) or (0.5, 1)
        where these are more and held out rows, three times a third, have radii that are larger then by a
        hundredth and by more than a standard error. Of the rows of a step the nearest 128 of each kind count.
    cap : float or "auto", default="auto"
        Radius beyond which nothing is gained. "auto" is 1.25 times the 95 % quantile before learning.
    max_iter : int or "auto", default="auto"
        Epochs. "auto" makes 1,000 steps.
    learning_rate : float or "auto", default="auto"
        Of the first step, for components with a Frobenius norm of √p, which every step restores. "auto" is
        0.01, and beyond 120 features 1.2 / d: a step of Adam may be as long as its rate times d.
    batch_size : int or "auto", default="auto"
        Rows of a step. "auto" is a quarter of the rows, and no more than 512.
    init : "auto", "identity", "pca" or array-like of shape (p, d), default="auto"
        G at first; "auto" is the identity, or with fewer components than features the principal axes.
    warm_start : bool, default=False
        Go on with what the last ``fit`` learned, in the epochs up to ``max_iter`` that it did not make.
    early_stopping : bool, default=False
        Hold out rows, certify them every 10 epochs, and keep the metric with the largest mean radius.
    validation_fraction : float, default=0.1
        Of the rows of each class, held out.
    n_iter_no_change : int, default=10
        End after so many validations without a better one.
    tol : float, default=0.0
        By how much a mean radius has to be better.
    callback : callable, optional
        ``callback(progress)`` after each epoch, with a :class:`FitProgress`; True ends the fit.
    time_limit : float, optional
        Seconds; an epoch that is not whole by then does not count.
    checkpoint : path, optional
        A file that keeps the fit, every minute and at its end. Where it is there, and of these data and
        parameters, the fit goes on from it, to the same bits; with another ``max_iter`` its steps are as long
        as they would be there.
    progress : bool, default=False
        A line on standard error.
    n_jobs : int, optional
        Threads; they change no bit of the result.
    random_state : int, RandomState or None, optional

    Attributes
    ----------
    components_ : ndarray of shape (p, d)
        G. Radii do not depend on its scale.
    reference_share_ : tuple of 2 floats, or None
        None where nothing was learned before it was chosen.
    cap_, batch_size_, max_iter_, learning_rate_ : float or int
        What the fit went by.
    n_iter_, best_iter_ : int
        Epochs made, and the one that ``components_`` is of.
    stop_reason_ : str
        "max_iter", "no better validation", "callback", "time_limit", "interrupted" or "loss not finite".
    history_ : dict of str to ndarray
        ``loss`` of each epoch; ``validation`` and ``validation_epoch``.

    Notes
    -----
    The gradient is that of the formula with λ and the rival held (envelope theorem). With q = reference_share
    an epoch costs n² q p for distances, 2 n q d (p + d) for each step, and for each row some programs of
    n q d or less; memory 8 n q (3 d + p) bytes and 16 matrices of d². Shares that are tried take nine fits
    of a quarter of the epochs before the first epoch, or as many as half of ``time_limit`` allows, which may
    then decide on the share. A fit that goes on keeps its share.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from certimetric.learning import ExactRadius
    >>> learner = ExactRadius(random_state=0).fit(*load_iris(return_X_y=True))
    >>> learner.components_.shape
    (4, 4)
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        reference_share: float | tuple[float, float] | Literal["auto"] = "auto",
        cap: float | Literal["auto"] = "auto",
        max_iter: int | Literal["auto"] = "auto",
        learning_rate: float | Literal["auto"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        init: str | ArrayLike = "auto",
        warm_start: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 0.0,
        callback: Callback | None = None,
        time_limit: float | None = None,
        checkpoint: str | Path | None = None,
        progress: bool = False,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.reference_share = reference_share
        self.cap = cap
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.init = init
        self.warm_start = warm_start
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.callback = callback
        self.time_limit = time_limit
        self.checkpoint = checkpoint
        self.progress = progress
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_auto_count(self.batch_size, "batch_size")
        check_auto_length(self.cap, "cap")
        shares = np.ravel(given(self.reference_share, 1.0)).tolist()
        if len(shares) not in (1, 2) or not all(isinstance(q, float | int) and 0 < q <= 1 for q in shares):
            raise InputError(
                "reference_share must be 'auto' or one or two numbers above 0 and up to 1, got "
                f"{self.reference_share!r}."
            )

    def _check_steps(self) -> None:
        check_auto_count(self.max_iter, "max_iter")
        check_auto_rate(self.learning_rate)

    def _settle(self, data: Labelled, jobs: int) -> None:
        n = len(data.rows)
        batch = min(given(self.batch_size, min(512, math.ceil(n / 4))), n)
        shares = None if isinstance(self.reference_share, str) else np.ravel(self.reference_share)
        self._plan = _Plan(
            None if shares is None else (float(shares[0]), float(shares[-1])),
            self._reach(data, jobs) if self.cap == "auto" else float(self.cap),
            batch,
            given(self.max_iter, math.ceil(_STEPS / math.ceil(n / batch))),
            given(self.learning_rate, min(1e-2, _LENGTH / data.rows.shape[1])),
        )
        self.cap_, self.learning_rate_ = self._plan.cap, self._plan.rate
        self.batch_size_, self.max_iter_ = self._plan.batch, self._plan.epochs

    def _reach(self, data: Labelled, jobs: int) -> float:
        """How far radii go before anything is learned."""
        rows = spread(len(data.rows))
        anchors = data.rows[rows], data.codes[rows]
        start = self._begin(data)["components"]
        return reach(signed_radii(data[:2], start, anchors, itself=rows, n_jobs=jobs))

    def _last_epoch(self) -> int:
        return self._plan.epochs

    def _begin(self, data: Labelled) -> Values:
        components = initial_components(self.init, self.n_components, data)
        if not components.any():
            raise InputError("init is zero everywhere: under that metric all rows coincide.")
        return {"components": normed(components)}

    def _prepare(self, state: State, data: Labelled, _: Callable[[], None]) -> None:
        if self._plan.shares is None and "shares" not in state.chosen:
            shares = choose_shares(self, data, self._plan.epochs, state.deadline)
            state.chosen["shares"] = np.array(shares)

    def _may_be_chosen(self, chosen: Known) -> bool:
        shares = chosen.get("shares", np.ones(2))
        are_shares = (
            shares.shape == (2,) and shares.dtype == np.float64 and bool(((shares > 0) & (shares <= 1)).all())
        )
        return chosen.keys() <= {"shares"} and are_shares

    def _take(self, state: State) -> None:
        super()._take(state)
        shares = state.chosen.get("shares", np.zeros(0)).tolist()
        self.reference_share_ = self._plan.shares or tuple(shares) or None

    def _epochs(self, data: Labelled, jobs: int) -> Epoch:
        plan = self._plan
        return lambda state: self._epoch(state, data, plan, jobs)

    def _epoch(self, state: State, data: Labelled, plan: _Plan, jobs: int) -> float:
        n = len(data.rows)
        batches = np.array_split(state.rng.permutation(n), math.ceil(n / plan.batch))
        total = 0.0
        first, last = plan.shares or state.chosen["shares"]
        for batch in batches:
            state.check_time()
            done = state.adam.count / (len(batches) * plan.epochs)
            share = first * (last / first) ** min(done, 1.0)
            kept = np.flatnonzero(state.rng.random(n) < share)
            if not len(kept):
                # A step before no rows: each of them has no radius.
                continue
            place = np.full(n, -1)
            place[kept] = np.arange(len(kept))
            found = radius_loss(
                (data.rows[kept], data.codes[kept]),
                state.values["components"],
                (data.rows[batch], data.codes[batch]),
                Worth(low=_GIVEN_UP * plan.cap, cap=plan.cap),
                itself=place[batch],
                nearest=_NEAREST,
                by=("components",),
                n_jobs=jobs,
            )
            state.adam.step(state.values, found.gradients, anneal(plan.rate, done))
            state.values["components"] = normed(state.values["components"])
            total += found.loss * len(batch)
        return total / n


def normed(components: FloatArray) -> FloatArray:
    """Components with the Frobenius norm of an identity of as many rows; radii do not depend on it."""
    # To magnitude one, so that no square vanishes.
    scaled: FloatArray = components / np.abs(components).max()
    return scaled * (math.sqrt(len(components)) / np.linalg.norm(scaled))
