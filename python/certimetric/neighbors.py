"""The classifier: exact k-nearest-neighbour prediction, and the proof of how far it can be trusted."""

import time
from dataclasses import replace
from typing import Any, Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from certimetric._assemble import as_certification, label_codes
from certimetric._batches import Budget
from certimetric._certificates import with_certificates
from certimetric._decide import decide
from certimetric._index import LazyIndex
from certimetric._progress import Callback
from certimetric._question import DEFAULT_MEMORY, Question, as_node_limit, check_choices
from certimetric._resolve import MetricLike, as_fitted_metric, check_range
from certimetric._validation import (
    FloatArray,
    IntArray,
    as_limit,
    check_count,
    check_magnitude,
    check_objects,
    effective_jobs,
    refuse_text,
)
from certimetric._versions import versions
from certimetric.certification import Certification, RunInfo

__all__ = ["CertifiedKNeighborsClassifier"]


# scikit-learn has no types: its classes are Any to mypy.
class CertifiedKNeighborsClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    r"""k-nearest-neighbour classifier with certified robustness radii.

    A definite function: squared distances :math:`(z - x)^\top M (z - x)` in exact arithmetic on the stored
    binary64 numbers, ties in distance to the lowest training row, plurality vote, ties in votes to the
    smallest label.

    Parameters
    ----------
    n_neighbors : int, default=1
        Number K of neighbours that vote, from 1 to all; even numbers are ordinary.
    weights : "uniform", default="uniform"
        Every neighbour has one vote. Certification knows no other weights.
    metric : "euclidean", Mahalanobis, array-like of shape (d, d), or learner, default="euclidean"
        A matrix is M, symmetric positive semidefinite; a learner is any object with ``components_`` or
        ``get_mahalanobis_matrix()``. What is stored, M or components, is the metric that is certified. A
        learner that is not fitted is cloned, and fitted to the training set.
    n_jobs : int, optional
        Number of threads, as in scikit-learn: None is 1 unless ``joblib.parallel_config`` says otherwise, -1
        all processors. It does not change any result.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    metric_ : Mahalanobis
        The metric that is used.
    n_features_in_, n_samples_fit_ : int
        Shape of the training set.
    feature_names_in_ : ndarray of str
        Names of the features, where ``X`` has names that are all strings.

    Notes
    -----
    The training rows are kept without a copy where they are C-contiguous float64 already: do not change them
    after ``fit``. Fitted classifiers can be pickled; the index is built again on first use.

    Range: magnitudes up to 1e150, and :math:`\lVert G \rVert_2 \cdot \max |X|` up to 1e150 too, for training
    rows and queries each. Some error bounds are absolute in units of the data's extent: radii many orders of
    magnitude below it, and values near 1e-300, get intervals that are valid but may be wide.

    Examples
    --------
    >>> from certimetric import CertifiedKNeighborsClassifier
    >>> clf = CertifiedKNeighborsClassifier().fit([[0.0, 0.0], [4.0, 0.0]], ["near", "far"])
    >>> clf.predict([[1.0, 5.0]])
    array(['near'], dtype='<U4')
    >>> float(clf.certify([[1.0, 5.0]]).upper.round(6)[0])
    1.0
    """

    classes_: NDArray[Any]
    n_features_in_: int

    def __init__(
        self,
        n_neighbors: int = 1,
        *,
        weights: str = "uniform",
        metric: MetricLike = "euclidean",
        n_jobs: int | None = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.weights = weights
        self.metric = metric
        self.n_jobs = n_jobs

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Store and index the training set.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : array-like of shape (n,)
            Class labels: integers, strings or booleans.

        Raises
        ------
        ValueError, TypeError
            NaN, infinity, magnitudes out of range (see the class), wrong shapes or types, ``n_neighbors`` out
            of 1 ... n, other ``weights``.

        Notes
        -----
        O(n d p) for the embedding and O(p³) for the principal axes that order the search.
        """
        refuse_text(X, "X")
        check_choices(weights=self.weights)
        rows, labels = validate_data(self, X, y, dtype=np.float64, order="C")
        rows = np.asarray(rows)
        check_magnitude(rows, "X")
        if labels.dtype.kind == "O":
            check_objects(labels)
        check_classification_targets(labels)
        check_count(self.n_neighbors, "n_neighbors", len(rows))
        jobs = effective_jobs(self.n_jobs)
        self.metric_ = as_fitted_metric(self.metric, rows, labels)
        check_range(self.metric_, rows, "X")
        self.classes_, codes = np.unique(labels, return_inverse=True)
        self.n_samples_fit_ = len(rows)
        self._index = LazyIndex(rows, codes.astype(np.int64), len(self.classes_), self.metric_)
        self._index.get(jobs)
        return self

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Predicted labels, ndarray of shape (m,); ties in votes go to the smallest label."""
        winners = self._votes(X).argmax(axis=1)
        labels: NDArray[Any] = self.classes_[winners]
        return labels

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Share of the neighbours' votes, ndarray of shape (m, n_classes), in the order of ``classes_``."""
        votes = self._votes(X)
        return np.asarray(votes / self._checked_neighbors(), dtype=np.float64)

    def _votes(self, X: ArrayLike) -> IntArray:
        check_is_fitted(self)
        rows = self._queries(X)
        jobs = effective_jobs(self.n_jobs)
        _, neighbors = self._index.get(jobs).kneighbors(rows, self._checked_neighbors(), True, jobs)
        votes = np.zeros((len(rows), len(self.classes_)), dtype=np.int64)
        np.add.at(votes, (np.arange(len(rows))[:, None], self._index.codes[neighbors]), 1)
        return votes

    def _checked_neighbors(self, value: object = None, *, others: bool = False) -> int:
        """The number of neighbours, of all training rows or of those that are other than one of them."""
        given = self.n_neighbors if value is None else value
        limit, limit_name = self.n_samples_fit_, "n_samples"
        if others:
            limit, limit_name = limit - 1, "n_samples - 1"
        return check_count(given, "n_neighbors", limit, limit_name)

    def _queries(self, X: ArrayLike) -> FloatArray:
        refuse_text(X, "X")
        rows = np.asarray(validate_data(self, X, dtype=np.float64, order="C", reset=False))
        check_magnitude(rows, "X")
        check_range(self.metric_, rows, "X")
        return rows

    @overload
    def kneighbors(
        self, X: ArrayLike | None = ..., n_neighbors: int | None = ..., return_distance: Literal[True] = ...
    ) -> tuple[FloatArray, IntArray]: ...
    @overload
    def kneighbors(
        self, X: ArrayLike | None, n_neighbors: int | None, return_distance: Literal[False]
    ) -> IntArray: ...
    @overload
    def kneighbors(
        self, X: ArrayLike | None = ..., n_neighbors: int | None = ..., *, return_distance: Literal[False]
    ) -> IntArray: ...
    def kneighbors(
        self, X: ArrayLike | None = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> tuple[FloatArray, IntArray] | IntArray:
        r"""Nearest training rows by :math:`\lVert G (z - x) \rVert_2`.

        Parameters
        ----------
        X : array-like of shape (m, d), optional
            Queries. Without them the training rows, none of which is its own neighbour.
        n_neighbors : int, optional
            Default: the parameter of the classifier.
        return_distance : bool, default=True

        Returns
        -------
        distances : ndarray of shape (m, k), float64
            Not squared; only with ``return_distance``.
        indices : ndarray of shape (m, k), int64
            Equal distances in increasing order of the row.
        """
        check_is_fitted(self)
        count = self._checked_neighbors(n_neighbors, others=X is None)
        jobs = effective_jobs(self.n_jobs)
        index = self._index.get(jobs)
        if X is None:
            distances, neighbors = _without_self(*index.kneighbors(self._index.rows, count + 1, False, jobs))
        else:
            distances, neighbors = index.kneighbors(self._queries(X), count, False, jobs)
        return (distances, neighbors) if return_distance else neighbors

    def certify(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        norm: float = 2,
        method: str = "exact",
        rule: str = "plurality",
        eps: ArrayLike | None = None,
        point_node_limit: int | None = None,
        point_time_limit: float | None = None,
        max_memory: int = DEFAULT_MEMORY,
        node_limit: int | None = None,
        time_limit: float | None = None,
        return_adversarial: bool = False,
        return_certificates: bool = False,
        n_jobs: int | None = None,
        progress: bool = False,
        callback: Callback | None = None,
    ) -> Certification:
        r"""Proven intervals around the robustness radii of test points.

        .. math::

            r^*(z) = \inf \{ \lVert \delta \rVert_2 : y(z) \text{ loses the vote at } z + \delta \}

        There are finitely many ways to lose: K-sets A of nearest rows with too few rows of the class. Each
        is a quadratic program in δ and a threshold T, :math:`\min \lVert \delta \rVert_2` subject to
        :math:`d^2(z + \delta, x_k) \le T` for rows in A and :math:`\ge T` for all others: half-spaces, as T
        is free and takes in what is quadratic in δ. The least of their values is r*.

        Parameters
        ----------
        X : array-like of shape (m, d)
            Test points.
        y : array-like of shape (m,), optional
            Labels to certify. A point that is predicted otherwise has radius 0 and the status
            "misclassified", and so has one whose label was not in the training set. Default: the predicted
            labels.
        norm : 2
            Norm of perturbations, in input space.
        method : "exact", "bound" or "attack"
            "exact": the radius itself, to rounding. "bound": a lower end without a search, the
            order-statistic bound over triplets [1]_; ``upper`` is infinite where nothing better comes for
            free. "attack": adversarial points without a search, an upper end; ``lower`` may be 0.
        rule : "plurality" or "majority"
            When the class c of a point loses with :math:`n_m` votes for class m. "plurality", the
            classifier's own vote: another class has more votes, or as many and a smaller label. "majority",
            the rule of published bounds: :math:`n_c \le K / 2`, so that the point is robust while more than
            half of its neighbours are of its class; at an even K a tie loses. It never gives a larger
            radius, and the same one for K = 1, or for two classes and odd K. With K = n the votes are the
            same everywhere: the radius is infinite, or 0.
        eps : float or array-like of shape (k,), optional
            Only decide whether r* is above this radius, or above each of these, ℓ2 norms, which costs much
            less than r*. Where it is proven, ``lower`` is above ``eps``, as a rule not by much; where the
            point is broken, ``upper`` is at most ``eps``. The other ends are valid, and may be 0 and
            infinity. Several radii are asked about from the largest down, each about the points that are
            still open at it; limits per point are for each radius, those of the call, ``node_limit`` and
            ``time_limit``, for all together. 0 may stand beside other radii: is r* above 0? Only
            ``method="exact"`` takes ``eps`` into account, and not for one neighbour, whose radius takes less
            time than a question about it: everywhere else the ends are those found without ``eps``.
        point_node_limit : int, optional
            Nodes of the search for each point, after which it is returned with the interval reached. 0: only
            what needs no search. The exact radius for one neighbour needs none, and has no nodes.
        point_time_limit : float, optional
            Seconds of search for each point, as ``point_node_limit``; 0 as well. Up to an eighth more goes
            into proofs of what the search found, and up to a fifth of a second into the bound, or a first
            adversarial point, where there is none by then. How far a point comes in a given time is up to the
            machine: only with a ``point_node_limit`` is the result the same each time.
        max_memory : int, default=268435456
            Bytes that the open nodes of a point may take, for each point that is being searched: one for
            every thread. Beyond it the search of the point goes depth first, which takes hardly any more
            memory but may visit many more nodes; the result is as valid. 0: depth first from the beginning.
        node_limit : int, optional
            Nodes of the searches for all points together. Points that need more are "unfinished", with the
            interval reached, or that which needs no search; which points those are is up to the threads.
        time_limit : float, optional
            Wall-clock seconds after which points not done are returned as they are: "unfinished", with an
            interval that is valid. 0: all of them, at once, with nothing known.
        return_adversarial : bool, default=False
            Also return adversarial points, m x d float64 more memory: at ``upper``, whatever was asked.
        return_certificates : bool, default=False
            Also return what a sceptic needs to check each interval with :mod:`certimetric.certificate`: some
            kB a point for one neighbour, and for several in proportion to the nodes of the search. It costs
            from a tenth of the time of the radius to twice as much again. Of a search that ended at a limit
            the lower end is then no higher than what its nodes had proven by themselves.
        n_jobs : int, optional
            Number of threads; default: the parameter of the classifier. It does not change the result.
        progress : bool, default=False
            Show points done, rate and time left on standard error; for the exact method with several
            neighbours also the share of the points done that is proven.
        callback : callable, optional
            Called with (points done, points in all) about ten times a second; for several ``eps`` anew for
            each, with the points that are asked about it.

        Returns
        -------
        Certification
            ``lower`` is a dual bound with its rounding error taken off; ``upper`` is the norm of a point at
            which the vote was taken again and lost, rounded up. Status "exact": the ends agree to rounding.
            "bounded": they do not, because of a limit per point, of ``eps`` or of the method.
            "misclassified": predicted otherwise, radius 0. "unfinished": ``time_limit`` or ``node_limit``
            came before the point was done.

        Raises
        ------
        UnknownLabelError
            ``y`` has text where ``classes_`` are numbers, or numbers where they are text.
        ValueError, TypeError
            Other input that cannot be certified; the message names the argument and what is available.
        KeyboardInterrupt
            On Ctrl-C, within about a tenth of a second.

        Notes
        -----
        One neighbour: minimum-norm quadratic programs [2]_, one per rival region that its lower bound cannot
        rule out, by a dual active-set method; nearly all training rows are ruled out by projected distances.
        Usually cheaper than one brute-force prediction of the same point.

        More neighbours: branch and bound over the rows in A, best first, with such a program at every node.
        The number of nodes grows with K and with the number of rows of several classes near the point, in
        the worst case exponentially. The limits keep the time in bounds, and ``max_memory`` the open
        nodes.

        A radius is infinite where the counts of rows forbid a loss, such as too few rows of other classes.
        Where only geometry forbids it, as it may with few features and many neighbours, the answer is
        "bounded": ``upper`` is infinite, and ``lower`` many times the extent of the data, or the distance to
        the data where that is larger, because a proof in floating point ends somewhere. Points very far
        from the data, from some 10¹² times its extent on, may have wide intervals under a vote of several:
        seen from there the rows hardly differ.

        References
        ----------
        .. [1] Wang, Liu, Yi, Jiang, Hsieh: Provably Robust Metric Learning. NeurIPS 2020 (arXiv 2006.07024).
        .. [2] Wang, Liu, Yi, Zhou, Hsieh: Evaluating the Robustness of Nearest Neighbor Classifiers: A
           Primal-Dual Perspective (arXiv 1906.03972).

        Examples
        --------
        >>> from certimetric import CertifiedKNeighborsClassifier
        >>> rows, labels = [[0.0], [1.0], [3.0], [7.0], [8.0]], ["a", "a", "a", "b", "b"]
        >>> clf = CertifiedKNeighborsClassifier(3).fit(rows, labels)
        >>> float(clf.certify([[1.0]]).lower.round(6)[0])
        3.5
        >>> clf.certify([[1.0]], eps=[2.0, 4.0]).certified_error([2.0, 4.0])
        array([0., 1.])
        """
        check_is_fitted(self)
        begun = time.perf_counter()
        check_choices(norm=norm)
        question = Question.checked(method, rule, eps, point_node_limit, max_memory, point_time_limit)
        nodes = as_node_limit(node_limit, "node_limit")
        n_neighbors = self._checked_neighbors()
        limit = as_limit(time_limit, "time_limit")
        jobs = effective_jobs(self.n_jobs if n_jobs is None else n_jobs)
        rows = self._queries(X)
        labels, codes = (None, None) if y is None else label_codes(y, self.classes_, len(rows))
        index = self._index.get(jobs)
        found = decide(
            question,
            index,
            rows,
            codes,
            n_neighbors,
            adversarial=return_adversarial or return_certificates,
            proofs=return_certificates,
            budget=Budget(limit, nodes),
            n_jobs=jobs,
            progress=progress,
            callback=callback,
        )
        run = self._run_info(question, time.perf_counter() - begun)
        cert = as_certification(found, self.classes_, labels, run)
        if return_certificates:
            cert = with_certificates(cert, found["proofs"] or [], rows, self.classes_, self._index)
        return cert if return_adversarial else replace(cert, adversarial=None)

    def _run_info(self, question: Question, elapsed: float) -> RunInfo:
        return RunInfo(
            norm=2,
            n_neighbors=int(self.n_neighbors),
            method=question.method,
            rule=question.rule,
            eps=question.eps if len(question.eps) > 1 else next(iter(question.eps), None),
            n_train=self.n_samples_fit_,
            n_features=self.n_features_in_,
            metric=str(self.metric_),
            elapsed=elapsed,
            versions=versions(),
        )


def _without_self(distances: FloatArray, neighbors: IntArray) -> tuple[FloatArray, IntArray]:
    """Drop each row from its own neighbours, unless many duplicates have crowded it out already."""
    itself = neighbors == np.arange(len(neighbors))[:, None]
    itself[~itself.any(axis=1), -1] = True
    shape = (len(neighbors), neighbors.shape[1] - 1)
    return distances[~itself].reshape(shape), neighbors[~itself].reshape(shape)
