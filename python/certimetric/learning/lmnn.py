"""LMNN: near rows of the same class pull, rows of other classes within a margin of them push."""

import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning

from certimetric._validation import as_positive, as_tolerance, check_count
from certimetric.exceptions import InputError
from certimetric.learning._base import Labelled
from certimetric.learning._descent import Callback, Epoch, Values
from certimetric.learning._fitting import GradientLearner, initial_components
from certimetric.learning._large_margin import AllImpostors, FixedTriplets, MarginObjective, find_neighbors
from certimetric.learning._line_descent import LineDescent, along_components, along_matrix

__all__ = ["LMNN"]

_LARGEST = 1e60
"""Fourth powers of distances stay below 1.8e308, and so do sums of them."""

_LOOSE = 1e-3
"""A share of the objective by which a fit may well end at once."""


class LMNN(GradientLearner):
    r"""Large margin nearest neighbours, also with the perturbation loss (LMNN-PL).

    .. math:: \min_G \; \mu \sum_{ij} d^2(i, j) + (1 - \mu) \sum_{ijl} [1 + d^2(i, j) - d^2(i, l)]_+

    over the targets j of a row i, its nearest rows of the same class in the Euclidean metric, and all rows l
    of other classes. With ``perturbation`` λ the sums are means over triplets (i, j, l) that are fixed, each
    target with each of the nearest rows of other classes, and

    .. math:: \lambda \operatorname{mean}_{ijl} \left( \tau^2 - \min(\max(t_{ijl}, 0), \tau)^2 \right)

    is added, the :class:`PerturbationLoss` of their signed radii t. Then M = GᵀG is what descends; after each
    step it is projected onto the semidefinite matrices of rank p at most. A step is 1 % longer than the last
    one; it is halved until the objective falls.

    Parameters
    ----------
    n_components : int, optional
        Rows p of G; default: the number of features.
    n_neighbors : int, default=3
        Number of targets of a row; all of its class where there are fewer.
    perturbation : float or "auto", optional
        λ, the weight of the perturbation loss; default: none, and impostors sought anew at each step.
        0 leaves the fixed triplets only; "auto" is 1/τ², with which a triplet costs up to 1, like a margin.
    radius : float, optional
        τ, an ℓ2 norm of the input: triplets with a larger radius cost nothing. Default: the median of the
        positive radii of the triplets in the Euclidean metric.
    n_impostors : int, default=10
        Number of rows of other classes in the fixed triplets of a row.
    pull : float, default=0.5
        μ, between 0 and 1.
    max_iter : int, default=1000
        Epochs, of one step each.
    first_step : float, optional
        Length of the first step; default: one that changes G, or M, by a tenth.
    convergence_tol : float, default=1e-7
        A step that lowers the objective by no more than this share of it is the last one.
    init : "auto", "identity", "pca" or array-like of shape (p, d), default="auto"
        G at first; "auto" is the identity, or with fewer components than features the principal axes.
    warm_start : bool, default=False
        Go on with what the last ``fit`` learned.
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
        Seconds.
    checkpoint : path, optional
        A file that keeps the fit, every minute and at its end. Where it is there, and of these data and
        parameters, the fit goes on from it.
    progress : bool, default=False
        A line on standard error.
    n_jobs : int, optional
        Threads; they change no bit of the result.
    random_state : int, RandomState or None, optional
        Of the validation set; nothing else is random.

    Attributes
    ----------
    components_ : ndarray of shape (p, d)
        G. Its scale is that of the margin 1; radii do not depend on it.
    n_iter_, best_iter_ : int
        Epochs made, and the one that ``components_`` is of.
    stop_reason_ : str
        "converged", "max_iter", "no better validation", "callback", "time_limit", "interrupted" or
        "loss not finite".
    history_ : dict of str to ndarray
        ``loss`` of each epoch, the objective, which never rises; ``validation`` and ``validation_epoch``.

    Notes
    -----
    An epoch costs n² (p + d) / 2, or 2 n d (p + d) where impostors are few, below n² / 16 and 16 n k or two
    million, and G has changed little: pairs that may become some are kept, and sought anew when a bound of
    how far rows have moved says so, of 256 features or more mostly along 128 axes. With ``perturbation`` it
    costs 2 n d (p + d), and d for each pair of the triplets, of which there are up to n k (2 + q) with k
    targets and q impostors. Memory: n (p + d) numbers, 10 for each triplet, and up to 200 MB or 1,600 n k
    bytes for pairs.

    References
    ----------
    Weinberger, Saul: Distance metric learning for large margin nearest neighbor classification. JMLR 2009.
    Yang, Guo, Dong, Xue: TPAMI 2022, arXiv 2006.05945.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from certimetric.learning import LMNN
    >>> learner = LMNN(perturbation=10.0, max_iter=20).fit(*load_iris(return_X_y=True))
    >>> bool(learner.history_["loss"][-1] < learner.history_["loss"][0])
    True
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        n_neighbors: int = 3,
        perturbation: float | Literal["auto"] | None = None,
        radius: float | None = None,
        n_impostors: int = 10,
        pull: float = 0.5,
        max_iter: int = 1000,
        first_step: float | None = None,
        convergence_tol: float = 1e-7,
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
        self.n_neighbors = n_neighbors
        self.perturbation = perturbation
        self.radius = radius
        self.n_impostors = n_impostors
        self.pull = pull
        self.max_iter = max_iter
        self.first_step = first_step
        self.convergence_tol = convergence_tol
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
        check_count(self.n_neighbors, "n_neighbors")
        check_count(self.n_impostors, "n_impostors")
        as_tolerance(self.convergence_tol, "convergence_tol")
        if as_tolerance(self.pull, "pull") > 1:
            raise InputError(f"pull must be between 0 and 1, got {self.pull}.")
        if self.radius is not None and as_positive(self.radius, "radius") is None:
            raise InputError(f"radius must be a finite number or None, got {self.radius}.")
        given = self.perturbation
        known = given is None or (isinstance(given, str) and given == "auto")
        if not known and not np.isfinite(as_tolerance(given, "perturbation")):
            raise InputError(f"perturbation must be a finite number, 'auto' or None, got {given}.")

    def _check_steps(self) -> None:
        check_count(self.max_iter, "max_iter")
        if self.first_step is not None and as_positive(self.first_step, "first_step") is None:
            raise InputError(f"first_step must be a finite number or None, got {self.first_step}.")

    def _begin(self, data: Labelled) -> Values:
        span = float(np.ptp(data.rows, axis=0).max())
        if span > _LARGEST:
            raise InputError(
                f"X spans {span:.3g}, but LMNN compares squared distances with a margin of 1 and takes up to "
                f"{_LARGEST:g}. Rescale the data."
            )
        components = initial_components(self.init, self.n_components, data)
        return {"components": components, "step": np.array(0.0)}

    def _epochs(self, data: Labelled, jobs: int) -> Epoch:
        move = along_components if self.perturbation is None else along_matrix
        tol = float(self.convergence_tol)
        return LineDescent(self._objective(data, jobs), move, self.first_step, tol).epoch

    def _learned(self, values: Values) -> None:
        super()._learned(values)
        is_loose = self.convergence_tol > _LOOSE
        if self.n_iter_ == 1 and self.stop_reason_ == "converged" and not is_loose:
            warnings.warn(
                "LMNN has converged in its first epoch: beside the margin of 1 distances may be too small or "
                "too large to learn from. Scale X to a span of about 1.",
                ConvergenceWarning,
                stacklevel=4,
            )
        if not self.components_.any():
            warnings.warn(
                "LMNN has learned M = 0, by which all rows are the same. Scale X to a span of about 1, or "
                "take a smaller perturbation or pull.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _objective(self, data: Labelled, jobs: int) -> MarginObjective:
        near = find_neighbors(data, self.n_neighbors, self.n_impostors, jobs)
        if self.perturbation is None:
            return AllImpostors(data, near.same, self.pull, jobs)
        weight = None if self.perturbation == "auto" else float(self.perturbation)
        return FixedTriplets(data, near, self.pull, weight, self.radius, jobs)
