"""Robust prototypes: a 1-NN classifier whose training set is learned on exact radii."""

import hashlib
import math
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from certimetric import datasets
from certimetric._resolve import MetricLike, as_fitted_metric
from certimetric._validation import FloatArray, IntArray, as_positive, check_count, check_flag, check_word
from certimetric.certification import Certification
from certimetric.exceptions import DataError, InputError
from certimetric.learning._auto import check_auto_count, check_auto_rate, given
from certimetric.learning._base import Labelled
from certimetric.learning._decay import choose_decay
from certimetric.learning._descent import Callback, Epoch, Known, State, Values
from certimetric.learning._fitting import GradientLearner
from certimetric.learning._points import centres, default_count, shifted
from certimetric.learning._prototype_plan import Plan, check_precision, components_of, first_rate
from certimetric.learning._radii import anneal, radius_loss, reach, signed_radii, spread
from certimetric.learning._validation_set import Validation
from certimetric.learning.exact_radius import normed
from certimetric.metric import Mahalanobis
from certimetric.neighbors import CertifiedKNeighborsClassifier

__all__ = ["RobustPrototypes"]

_METRIC_RATE = 1e-3
"""Learning rate of components, which have a Frobenius norm of √p."""

_KEPT, _MANY = 0.25, 4
"""Share of the prototypes that a step is before, where there are that many a class on the average."""

_STEPS, _FEWEST_EPOCHS = (800, 3200), (10, 40)
"""Steps of a fit by default, and epochs at least; and where moved images are to be right as well."""


def _shortest(values: FloatArray) -> NDArray[np.floating]:
    """The same numbers in the smallest format that holds them."""
    with np.errstate(over="ignore"):
        formats = [values.astype(name) for name in ("float16", "float32", "float64")]
    return next(short for short in formats if np.array_equal(short, values))


class RobustPrototypes(ClassifierMixin, GradientLearner):  # type: ignore[misc]
    r"""A 1-NN classifier whose few points are learned so that radii are large.

    .. math:: \max_P \frac1n \sum_i W(s_i), \qquad
        s = \frac{\sum_k \lambda_k (d^2(x, p^-) - d^2(x, p^+_k))}
                 {2 \lVert M \sum_k \lambda_k (p^- - p^+_k) \rVert_2}, \quad \sum_k \lambda_k = 1,

    where s is the certified radius of a training row x before the prototypes P, with the active constraints
    of its program for λ, and negative for rows that are wrong. W grows by exp(−s / decay) for each unit of s,
    so that with a short decay small radii come first. Prototypes begin as the k-means of each class. In every
    step the radii are those before a random quarter of them, so that no few of them decide; Adam makes the
    steps, and their length falls to 0 by half a cosine.

    Parameters
    ----------
    n_prototypes : int or "auto", default="auto"
        Prototypes of each class. "auto" is 5 times the root of the mean number of rows of a class; for
        "clean" with ``shifts`` twice as many, or half of these rows where that lies between.
    eps : float, optional
        The one radius, ℓ2 in input space, that matters: radii of 1.5 times as much and beyond count alike.
        Default: as far as the radii go.
    objective : "area" or "clean", default="area"
        "area": the largest radii, whatever it costs at radius 0. "clean": the longest of some decays with
        which fewer rows that are held out are wrong than by the plain 1-NN of the others, by a standard error
        of the difference; where there is none, the longest with which no more are wrong. It is halved while
        that leaves a tenth fewer wrong, by more than chance. Up to 6,000 rows are held out, a third at a
        time and up to three times, and with each decay that is tried, seven at most, prototypes are learned
        as often, with ``shifts`` in half of the epochs that so many rows would have; then the fit is of all
        rows. A ``ConvergenceWarning`` tells where more are wrong with every decay.
    decay : float, optional
        A radius, for a user who wants none chosen. Default: infinite for "area".
    metric : "euclidean", Mahalanobis, array-like of shape (d, d), or learner, default="euclidean"
        The metric, or with ``learn_metric`` the one to begin with. A learner that is not fitted is cloned,
        and fitted to the rows that are not held out, with seeds by ``random_state`` where it has none.
    learn_metric : bool, default=False
        Learn components too. It costs n d² for each step, and helps where there are many rows for d².
    shifts : tuple of 2 ints, optional
        Height and width of images in rows: in each step two in five are moved by one pixel.
    precision : "float64", "float32" or "float16", default="float64"
        What prototypes are rounded to at the end, for a small file; the rounded ones are certified.
        "float16" has three digits, enough for features between 0 and 1.
    max_iter : int or "auto", default="auto"
        Epochs. "auto" makes 800 steps and 10 epochs at least, and for "clean" with ``shifts`` 3,200 and 40.
    learning_rate : float or "auto", default="auto"
        Of each coordinate in the first step, in units of the data. "auto" is a 180th of how far radii go, and
        beyond 36 features that over 30 √d: steps of Adam grow with √d.
    batch_size : int or "auto", default="auto"
        Rows of a step. "auto" is a quarter of the rows, and no more than 256.
    warm_start : bool, default=False
        Go on with what the last ``fit`` learned, in the epochs up to ``max_iter`` that it did not make.
    early_stopping : bool, default=False
        Hold out rows, and keep the prototypes of the best of every tenth epoch.
    validation_fraction : float, default=0.1
        Of the rows of each class, held out.
    n_iter_no_change : int, default=10
        End after so many validations without a better one.
    tol : float, default=0.0
        By how much a validation has to be better.
    callback : callable, optional
        ``callback(progress)`` after each epoch, with a :class:`FitProgress`; True ends the fit.
    time_limit : float, optional
        Seconds; an epoch that is not whole by then does not count. A metric that is learned first takes as
        many of them as it takes, and more.
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
    prototypes_ : ndarray of shape (n_prototypes, d)
    prototype_labels_ : ndarray of shape (n_prototypes,)
    components_ : ndarray of shape (p, d)
        G; the identity for the Euclidean metric.
    classifier_ : CertifiedKNeighborsClassifier
        The 1-NN of the prototypes.
    cap_ : float
    decay_ : float, or None
        Radii count up to the cap; rows that are wrong count up to −cap, or with a finite decay a tenth of it.
        The decay is None where the fit ended before it was chosen.
    batch_size_, learning_rate_, max_iter_ : int or float
        What the fit went by.
    n_iter_, best_iter_ : int
        Epochs made, and the one that the prototypes are of.
    stop_reason_ : str
        "max_iter", "no better validation", "callback", "time_limit", "interrupted" or "loss not finite".
    history_ : dict of str to ndarray
        ``loss`` of each epoch; ``validation`` and ``validation_epoch``.

    Notes
    -----
    With P prototypes an epoch costs n P p for distances and for each row some programs of P d or less. Decays
    are tried before the first epoch, in half of ``time_limit``, which may then decide on the decay. Ctrl-C
    then leaves the k-means; ``checkpoint`` keeps which rows were wrong with each decay. A fit that goes on
    after an epoch keeps its decay.

    References
    ----------
    Saralajew, Holdijk, Villmann: Fast Adversarial Robustness Certification of Nearest Prototype Classifiers
    for Arbitrary Seminorms. NeurIPS 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from certimetric.learning import RobustPrototypes
    >>> X, y = load_iris(return_X_y=True)
    >>> model = RobustPrototypes(n_prototypes=3, max_iter=20, random_state=0).fit(X, y)
    >>> model.prototypes_.shape
    (9, 4)
    >>> radii = model.certify(X, y).lower
    """

    def __init__(
        self,
        n_prototypes: int | Literal["auto"] = "auto",
        *,
        eps: float | None = None,
        objective: Literal["area", "clean"] = "area",
        decay: float | None = None,
        metric: MetricLike = "euclidean",
        learn_metric: bool = False,
        shifts: tuple[int, int] | None = None,
        precision: Literal["float64", "float32", "float16"] = "float64",
        max_iter: int | Literal["auto"] = "auto",
        learning_rate: float | Literal["auto"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
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
        self.n_prototypes = n_prototypes
        self.eps = eps
        self.objective = objective
        self.decay = decay
        self.metric = metric
        self.learn_metric = learn_metric
        self.shifts = shifts
        self.precision = precision
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.batch_size = batch_size
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
        check_auto_count(self.n_prototypes, "n_prototypes")
        check_auto_count(self.batch_size, "batch_size")
        as_positive(self.eps, "eps")
        as_positive(self.decay, "decay")
        check_word(self.objective, "objective", ("area", "clean"))
        check_word(self.precision, "precision", ("float64", "float32", "float16"))
        check_flag(self.learn_metric, "learn_metric")
        if self.shifts is not None:
            if not isinstance(self.shifts, tuple | list) or len(self.shifts) != 2:
                raise InputError(f"shifts must be a height and a width, or None; got {self.shifts!r}.")
            for length in self.shifts:
                check_count(length, "shifts")

    def _check_steps(self) -> None:
        check_auto_count(self.max_iter, "max_iter")
        check_auto_rate(self.learning_rate)

    def _settle(self, data: Labelled, jobs: int) -> None:
        n, features = data.rows.shape
        if self.shifts is not None and math.prod(self.shifts) != features:
            raise InputError(f"shifts is {self.shifts}, but X has {features} features.")
        metric = as_fitted_metric(self.metric, data.rows, data.codes, self.random_state)
        seed = int(self._generator().integers(2**31))
        count = given(self.n_prototypes, default_count(data, is_varied=self._is_varied))
        points = centres(data, count, seed)
        start, codes = self._known_points() or points
        rows = spread(n)
        anchors = data.rows[rows], data.codes[rows]
        far = reach(signed_radii(points, components_of(metric), anchors, n_jobs=jobs))
        check_precision(self.precision, data.rows, far)
        batch, epochs = self._lengths(n)
        eps = as_positive(self.eps, "eps")
        cap = far if eps is None else 1.5 * eps
        # Where no row has a radius there is nothing to choose.
        is_chosen = self.objective == "clean" and self.decay is None and math.isfinite(cap)
        self._plan = Plan(
            cap=cap,
            decay=None if is_chosen else as_positive(self.decay, "decay") or math.inf,
            rate=given(self.learning_rate, first_rate(far, features)),
            batch=batch,
            epochs=epochs,
            metric=metric,
            start=start,
            codes=codes,
            share=_KEPT if len(codes) >= _MANY * len(data.classes) else 1.0,
        )
        self.cap_, self.batch_size_ = cap, batch
        self.learning_rate_, self.max_iter_ = self._plan.rate, self._plan.epochs

    def _prepare(self, state: State, data: Labelled, keep: Callable[[], None]) -> None:
        if self._plan.decay is None and "decay" not in state.chosen:
            state.chosen["decay"] = np.array(choose_decay(self, data, self._plan.cap, state, keep))

    def _may_be_chosen(self, chosen: Known) -> bool:
        decay = chosen.get("decay", np.ones(()))
        return (
            chosen.keys() <= {"decay"} and decay.shape == () and decay.dtype == np.float64 and bool(decay > 0)
        )

    def _take(self, state: State) -> None:
        super()._take(state)
        self.decay_ = self._plan.decay_of(state.chosen)

    @property
    def _is_varied(self) -> bool:
        """To be right where all rows are takes more if images that were moved are to be right as well."""
        return self.objective == "clean" and self.shifts is not None

    def _lengths(self, n: int) -> tuple[int, int]:
        """Rows of a step, and epochs, for so many rows."""
        batch = min(given(self.batch_size, min(256, math.ceil(n / 4))), n)
        fewest, steps = _FEWEST_EPOCHS[self._is_varied], _STEPS[self._is_varied]
        return batch, given(self.max_iter, max(fewest, math.ceil(steps / math.ceil(n / batch))))

    def _trial_epochs(self, n: int) -> int:
        """Epochs that say whether a decay serves: where they are many, half of them."""
        _, epochs = self._lengths(n)
        return math.ceil(epochs / 2) if self._is_varied else epochs

    def _known_points(self) -> tuple[FloatArray, IntArray] | None:
        """The prototypes and their codes that a warm start goes on with; None where it begins anew."""
        known = getattr(self, "_state", None) if self.warm_start else None
        if known is None:
            return None
        labels = self.prototype_labels_
        if not np.array_equal(np.unique(labels), self.classes_):
            raise InputError(
                "warm_start goes on with the last prototypes, but those of y are of other classes."
            )
        counts = np.unique(labels, return_counts=True)[1]
        if not isinstance(self.n_prototypes, str) and counts.max() != self.n_prototypes:
            raise InputError(
                f"n_prototypes is {self.n_prototypes}, but warm_start goes on with {counts.max()} of a class."
            )
        return known.values["points"], np.searchsorted(self.classes_, labels)

    def _last_epoch(self) -> int:
        return self._plan.epochs

    def _begin(self, _: Labelled) -> Values:
        values = {"points": self._plan.start}
        if self.learn_metric:
            if not self._plan.metric.components_.any():
                raise InputError("metric is zero everywhere: by it all rows coincide.")
            values["components"] = normed(self._plan.metric.components_)
        return values

    def _fingerprint(self, data: Labelled) -> str:
        # The metric is an object in most cases, of which only its components are known.
        metric = self._plan.metric.components_
        return f"{super()._fingerprint(data)}-{hashlib.sha256(metric.tobytes()).hexdigest()}"

    def _epochs(self, data: Labelled, jobs: int) -> Epoch:
        plan = self._plan
        return lambda state: self._epoch(state, data, plan, jobs)

    def _epoch(self, state: State, data: Labelled, plan: Plan, jobs: int) -> float:
        n = len(data.rows)
        batches = np.array_split(state.rng.permutation(n), math.ceil(n / plan.batch))
        total, slopes = 0.0, np.zeros_like(plan.start)
        worth = plan.worth(state.chosen)
        for batch in batches:
            state.check_time()
            rows = data.rows[batch]
            if self.shifts is not None:
                rows = shifted(rows, self.shifts, state.rng)
            kept = plan.draw(state.rng)
            found = radius_loss(
                (state.values["points"][kept], plan.codes[kept]),
                plan.components(state.values),
                (rows, data.codes[batch]),
                worth,
                by=("points", "components") if self.learn_metric else ("points",),
                n_jobs=jobs,
            )
            slopes[kept] = found.gradients["points"]
            gradients = {**found.gradients, "points": slopes}
            self._step(state, gradients, anneal(1.0, state.adam.count / (len(batches) * plan.epochs)), jobs)
            slopes[kept] = 0.0
            total += found.loss * len(batch)
        return total / n

    def _step(self, state: State, gradients: Values, share: float, n_jobs: int) -> None:
        rates = {"points": share * self._plan.rate, "components": share * _METRIC_RATE}
        state.adam.step(state.values, gradients, rates, n_jobs)
        if self.learn_metric:
            state.values["components"] = normed(state.values["components"])

    def _score(self, validation: Validation, values: Values) -> float:
        """The mean radius, 0 where there is none or a row is wrong."""
        plan = self._plan
        radii = plan.radii(values, validation.held_out, plan.cap, validation.n_jobs)
        return float(np.clip(radii, 0.0, plan.cap).mean())

    def _learned(self, values: Values) -> None:
        plan = self._plan
        metric = plan.metric
        if self.learn_metric:
            metric = Mahalanobis.from_components(values["components"])
        rounded = values["points"].astype(self.precision).astype(np.float64)
        self._hold(rounded, self.classes_[plan.codes], metric)

    def _hold(self, prototypes: FloatArray, labels: NDArray[Any], metric: Mahalanobis) -> None:
        self.prototypes_, self.prototype_labels_ = prototypes, labels
        self.components_ = metric.components_
        self.classifier_ = CertifiedKNeighborsClassifier(metric=metric, n_jobs=self.n_jobs)
        self.classifier_.fit(prototypes, labels)

    @property
    def metric_(self) -> Mahalanobis:
        """The metric, given or learned."""
        check_is_fitted(self, "components_")
        return self.classifier_.metric_

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Labels of the nearest prototypes, ndarray of shape (m,)."""
        rows = self._rows(X)
        labels: NDArray[Any] = self._classifier.predict(rows)
        return labels

    def certify(self, X: ArrayLike, y: ArrayLike | None = None, **options: Any) -> Certification:
        """Proven intervals around the radii of test points.

        Parameters
        ----------
        X : array-like of shape (m, d)
        y : array-like of shape (m,), optional
        **options
            As of :meth:`certimetric.CertifiedKNeighborsClassifier.certify`.
        """
        rows = self._rows(X)
        return self._classifier.certify(rows, y, **options)

    @property
    def _classifier(self) -> CertifiedKNeighborsClassifier:
        """The 1-NN of the prototypes, with as many threads as the parameter says by now."""
        self.classifier_.n_jobs = self.n_jobs
        return self.classifier_

    def _saved(self) -> dict[str, NDArray[Any]]:
        # Labels that are objects would need pickle.
        return {
            "X": _shortest(self.prototypes_),
            "y": np.array(self.prototype_labels_.tolist()),
            **super()._saved(),
        }

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """What :meth:`save` wrote: a fitted classifier, with the parameters of a new one.

        Raises
        ------
        DataError
            The file is missing, damaged, or has no prototypes, labels or components.
        """
        points, metric = datasets.read(path), datasets.read_metric(path)
        features = points.X.shape[1]
        if metric.components_.shape[1] != features:
            raise DataError(
                f"{path}: has points of {features} features, but components of {metric.components_.shape[1]}."
            )
        if np.array_equal(metric.components_, np.eye(features)):
            metric = Mahalanobis.euclidean(features)
        model = cls(metric=metric)
        model.n_features_in_ = features
        model.classes_ = np.unique(points.labels())
        model._hold(points.X, points.labels(), metric)
        return model
