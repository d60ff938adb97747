"""ARML: a metric under which the closed-form radii of random triplets of near rows are large."""

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from certimetric._validation import IntArray, as_tolerance, check_count, check_word
from certimetric.learning._base import Labelled
from certimetric.learning._descent import Callback, Epoch, State, Values
from certimetric.learning._fitting import GradientLearner, initial_components
from certimetric.learning._triplets import LOSSES, TripletBackend, check_backend, make_backend

__all__ = ["ARML"]


class ARML(GradientLearner):
    r"""Adversarially robust metric learning.

    .. math:: \min_G \frac1n \sum_i \ell(\tilde\epsilon(x_i; x_i^+, x_i^-)), \qquad
        \tilde\epsilon = \frac{d^2(x_i, x_i^-) - d^2(x_i, x_i^+)}{2 \lVert M (x_i^+ - x_i^-) \rVert_2},

    where :math:`x_i^+` and :math:`x_i^-` are drawn, in every epoch anew, from the nearest rows of the class
    of :math:`x_i` and from those of other classes under the current metric; the numerator may be negative.
    Adam makes a step with the gradient of all rows, or one for each batch.

    Parameters
    ----------
    n_components : int, optional
        Rows p of G; default: the number of features.
    n_neighbors : int, default=10
        Number of nearest rows of each kind that are drawn from; all where there are fewer.
    loss : "negative", "hinge", "exponential", "logistic" or "perturbation", default="negative"
        ℓ(t): −t, max(0, hinge − t), exp(−t), log(1 + exp(−t)), or :class:`PerturbationLoss` with ``hinge``.
    hinge : float, default=1.0
        Radius, in the ℓ2 norm of the input, that is large enough for the hinge and the perturbation loss.
    max_iter : int, default=1000
        Epochs.
    learning_rate : float, default=1e-3
        Of Adam.
    batch_size : int, optional
        Rows of a step; default: all.
    init : "auto", "identity", "pca" or array-like of shape (p, d), default="auto"
        G at first; "auto" is the identity, or with fewer components than features the principal axes.
    backend : "native" or "torch", default="native"
        The Rust core, or PyTorch (extra ``torch``): the same objective and gradient up to rounding. Rows
        that are equally near may come in another order, so that other ones are drawn.
    device : str or None, default="cpu"
        Of PyTorch, such as "cuda". The Rust core has no other than the CPU, which None means too.
    dtype : "float64" or "float32", default="float64"
        Of PyTorch. The Rust core finds neighbours in binary32 and differentiates in binary64.
    warm_start : bool, default=False
        Go on with what the last ``fit`` learned: 50 epochs and then 100 are 100 epochs in one.
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
        parameters, the fit goes on from it, to the same bits; ``max_iter`` may be another.
    progress : bool, default=False
        A line on standard error.
    n_jobs : int, optional
        Threads; they change no bit of the result.
    random_state : int, RandomState or None, optional

    Attributes
    ----------
    components_ : ndarray of shape (p, d)
        G. Radii do not depend on its scale.
    n_iter_, best_iter_ : int
        Epochs made, and the one that ``components_`` is of.
    stop_reason_ : str
        "max_iter", "no better validation", "callback", "time_limit", "interrupted" or "loss not finite".
    history_ : dict of str to ndarray
        ``loss`` of each epoch; ``validation`` and ``validation_epoch``.

    Notes
    -----
    An epoch costs n² p / 2 for the neighbours and 2 n d (p + d / 2) for the gradient; memory 4 n p bytes
    beside X, and 16 matrices of d².

    References
    ----------
    Wang, Yang, Zhu, Chen, Wang: Provably Robust Metric Learning. NeurIPS 2020, arXiv 2006.07024.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from certimetric.learning import ARML
    >>> learner = ARML(max_iter=20, random_state=0).fit(*load_iris(return_X_y=True))
    >>> learner.components_.shape
    (4, 4)
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        n_neighbors: int = 10,
        loss: Literal["negative", "hinge", "exponential", "logistic", "perturbation"] = "negative",
        hinge: float = 1.0,
        max_iter: int = 1000,
        learning_rate: float = 1e-3,
        batch_size: int | None = None,
        init: str | ArrayLike = "auto",
        backend: Literal["native", "torch"] = "native",
        device: str | None = "cpu",
        dtype: Literal["float64", "float32"] = "float64",
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
        self.n_neighbors = n_neighbors
        self.loss = loss
        self.hinge = hinge
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.init = init
        self.backend = backend
        self.device = device
        self.dtype = dtype
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
        check_count(self.n_neighbors, "n_neighbors")
        check_word(self.loss, "loss", tuple(LOSSES))
        as_tolerance(self.hinge, "hinge")
        check_backend(self.backend, self.device, self.dtype)
        if self.batch_size is not None:
            check_count(self.batch_size, "batch_size")

    def _begin(self, data: Labelled) -> Values:
        return {"components": initial_components(self.init, self.n_components, data)}

    def _epochs(self, data: Labelled, jobs: int) -> Epoch:
        # No row has more neighbours than there are others.
        k = min(self.n_neighbors, len(data.rows) - 1)
        backend = make_backend(self.backend, data.rows, data.codes, k, jobs, self.device, self.dtype)
        return lambda state: self._epoch(state, backend)

    def _epoch(self, state: State, backend: TripletBackend) -> float:
        anchors, *near = draw(backend.neighbors(state.values["components"]), state.rng)
        order = np.arange(len(anchors)) if self.batch_size is None else state.rng.permutation(len(anchors))
        if not len(order):
            # No row has neighbours at finite distances.
            return math.nan
        size = self.batch_size or len(order)
        total = 0.0
        for start in range(0, len(order), size):
            state.check_time()
            rows = order[start : start + size]
            triplets = (anchors[rows], near[0][rows], near[1][rows])
            loss, gradient, _ = backend.objective(
                state.values["components"], triplets, (self.loss, float(self.hinge))
            )
            state.adam.step(state.values, {"components": gradient}, self.learning_rate)
            total += loss * len(rows)
        return total / len(order)


def draw(
    neighbors: tuple[IntArray, IntArray], rng: np.random.Generator
) -> tuple[IntArray, IntArray, IntArray]:
    """One triplet of each row that has both kinds of neighbours, uniformly: anchors, same, other."""
    anchors = np.flatnonzero((neighbors[0][:, 0] >= 0) & (neighbors[1][:, 0] >= 0))
    picked = []
    for near in neighbors:
        # Nearest first: where the last is there, all are, and mostly all rows have all of theirs.
        counts = near.shape[1] if (near[:, -1] >= 0).all() else (near[anchors] >= 0).sum(axis=1)
        picked.append(near[anchors, (rng.random(len(anchors)) * counts).astype(np.int64)])
    return anchors, picked[0], picked[1]
