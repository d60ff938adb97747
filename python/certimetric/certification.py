"""The result of a certification: a proven interval around the robustness radius of every test point."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from os import PathLike
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certimetric._validation import FloatArray, IntArray, as_radii
from certimetric.exceptions import InputError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from certimetric.display import CertifiedErrorDisplay

__all__ = ["STATUSES", "Certification", "RunInfo", "load_certification"]

STATUSES = ("exact", "bounded", "misclassified", "unfinished")


@dataclass(frozen=True)
class RunInfo:
    """How a certification was made.

    Attributes
    ----------
    norm : int
        The norm in which perturbations are measured, in input space: 2.
    n_neighbors : int
        K of the classifier.
    method, rule : str
        What was asked of :meth:`CertifiedKNeighborsClassifier.certify`.
    eps : float, tuple of float, or None
        The radius or radii that were asked about, ℓ2 norms; None: the radii of the points themselves.
    n_train, n_features : int
        Shape of the training set.
    metric : str
        The metric in words.
    elapsed : float or None
        Wall-clock seconds of the whole call; None: not kept.
    versions : dict of str to str
        Versions of certimetric, Python and the numerical libraries.
    """

    norm: int
    n_neighbors: int
    method: str
    rule: str
    eps: float | tuple[float, ...] | None
    n_train: int
    n_features: int
    metric: str
    elapsed: float | None
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def asked(self) -> tuple[float, ...]:
        """The radii that were asked about, in increasing order; empty: none."""
        if self.eps is None:
            return ()
        return self.eps if isinstance(self.eps, tuple) else (self.eps,)

    @property
    def ends_at_eps(self) -> bool:
        """Whether the search for a point ended where the radii that were asked about were decided.

        The ends of the intervals then say on which side of each of them the point's radius is, and no more.
        """
        return self.eps is not None and self.method == "exact" and self.n_neighbors > 1

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain Python values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What :meth:`to_dict` gave, also after it was JSON, which has lists for tuples."""
        eps = values["eps"]
        return cls(**{**values, "eps": tuple(eps) if isinstance(eps, list) else eps})


@dataclass(frozen=True, eq=False, repr=False)
class Certification:
    r"""Intervals :math:`lower \le r^* \le upper` around the robustness radii of m test points.

    The radius r* of a point is the infimum of the ℓ2 norms, in input space, of the perturbations that change
    the classifier's answer from the certified label (under the majority rule: that leave this label no more
    than half of the votes); 0 where they are lost already, infinite where no perturbation loses them. Both
    ends hold in exact real arithmetic on the given binary64 numbers. Arrays are read-only.

    Attributes
    ----------
    lower, upper : ndarray of shape (m,), float64
        Ends of the intervals, as ℓ2 norms (not squared). ``upper`` is infinite where no adversarial point is
        known.
    status : ndarray of shape (m,), str
        "exact" (the ends agree to rounding), "bounded" (they do not: a limit per point came first, or no more
        was asked), "misclassified" (radius 0) or "unfinished" (a limit of the whole call came first). The
        interval is valid whatever the status.
    predicted : ndarray of shape (m,)
        Predicted labels. With unfinished points an object array, in which None is a point that was not
        reached.
    y : ndarray of shape (m,) or None
        The labels that were certified; None: the predicted ones.
    rival : ndarray of shape (m,), int64
        Nearest training row of another class at the adversarial point; -1 where there is none.
    adversarial : ndarray of shape (m, d), float64, or None
        Adversarial points, on request; a row without one repeats the test point.
    seconds : ndarray of shape (m,), float64, or None
        Processor time of each point; None: not kept, see :meth:`without_times`.
    programs, steps : ndarray of shape (m,), int64
        Quadratic programs begun and active-set steps taken.
    nodes : ndarray of shape (m,), int64
        Nodes of the search over sets of neighbours; 0 for a single neighbour, which needs none.
    run : RunInfo
        How it was made.
    certificates : ndarray of shape (m,), object, or None
        On request, for each point a line of JSON that :mod:`certimetric.certificate` checks without the
        library's solver; None for a point that the time limit left out.

    Examples
    --------
    >>> from certimetric import CertifiedKNeighborsClassifier
    >>> clf = CertifiedKNeighborsClassifier().fit([[0.0], [2.0]], ["a", "b"])
    >>> clf.certify([[0.5]], ["a"]).certified_error([0.0, 0.4, 0.6])
    array([0., 0., 1.])
    """

    lower: FloatArray
    upper: FloatArray
    status: NDArray[np.str_]
    predicted: NDArray[Any]
    y: NDArray[Any] | None
    rival: IntArray
    adversarial: FloatArray | None
    seconds: FloatArray | None
    programs: IntArray
    steps: IntArray
    nodes: IntArray
    run: RunInfo
    certificates: NDArray[np.object_] | None = None

    def __post_init__(self) -> None:
        for name, array in self._arrays().items():
            if len(array) != len(self.lower):
                raise InputError(f"{name} has {len(array)} rows, but lower has {len(self.lower)}.")
            view = array.view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "run"}
        return {name: value for name, value in values.items() if value is not None}

    def __len__(self) -> int:
        return len(self.lower)

    def __getitem__(self, rows: int | slice | Sequence[int] | NDArray[Any]) -> Self:
        """The result for some of the points: an index, a slice, a mask or an array of indices."""
        chosen = np.arange(len(self))[rows]
        parts: dict[str, Any] = {n: array[np.atleast_1d(chosen)] for n, array in self._arrays().items()}
        return replace(self, **parts)

    def without_times(self) -> Self:
        """The same without ``seconds`` and ``run.elapsed``, the only parts that a clock has a say in.

        What is left depends on data, arguments and versions alone, so that the files of two runs have the
        same bytes; unless one was limited in time, where a clock decides how far a search comes.
        """
        return replace(self, seconds=None, run=replace(self.run, elapsed=None))

    def certified_error(self, radii: ArrayLike) -> FloatArray | float:
        r"""Share of points that are not proven robust, :math:`\frac1m \#\{lower \le \epsilon\}`.

        At ``0`` it is the clean error plus the share of exact ties. Never below the true robust error.

        Parameters
        ----------
        radii : float or array-like of shape (k,)
            ℓ2 norms ε.

        Returns
        -------
        float or ndarray of shape (k,)
        """
        return _share_at_most(self.lower, radii)

    def attack_error(self, radii: ArrayLike) -> FloatArray | float:
        r"""Share of points that are known to be broken, :math:`\frac1m \#\{upper \le \epsilon\}`.

        Never above the true robust error; equal to :meth:`certified_error` where all intervals are tight.
        """
        return _share_at_most(self.upper, radii)

    def certified_accuracy(self, radii: ArrayLike) -> FloatArray | float:
        r"""Share of points that are right and proven robust: one minus :meth:`certified_error`."""
        return 1.0 - self.certified_error(radii)

    @property
    def midpoints(self) -> FloatArray:
        """(lower + upper) / 2, ndarray of shape (m,); infinite where ``upper`` is."""
        # Halves first: infinity stays infinity and the sum cannot overflow.
        return self.lower / 2 + self.upper / 2

    @property
    def median(self) -> float:
        """Median of the midpoints of the intervals; infinite where more than half of them are."""
        return quantile(self.midpoints, 0.5)

    @property
    def share_exact(self) -> float:
        """Share of points whose radius is known to rounding: status "exact" or "misclassified"."""
        return float(np.isin(self.status, ("exact", "misclassified")).mean()) if len(self) else 1.0

    def summary(self) -> str:
        """The result in a few lines of text."""
        from certimetric._summary import summary

        return summary(self)

    def __repr__(self) -> str:
        shares = ", ".join(
            f"{np.mean(self.status == s):.1%} {s}" for s in STATUSES if (self.status == s).any()
        )
        # Ends that were not asked for have no median that says anything.
        whole = len(self) and self.run.method == "exact" and not self.run.ends_at_eps
        middle = f", median radius {self.median:.4g}" if whole else ""
        return f"<Certification of {len(self)} points: {shares or 'empty'}{middle}>"

    def to_dict(self) -> dict[str, NDArray[Any]]:
        """The arrays by name, without those that are None."""
        return self._arrays()

    def to_arrow(self) -> "pa.Table":
        """A ``pyarrow.Table``, one row a point, with the run in the schema's metadata (extra ``io``)."""
        from certimetric._tables import to_arrow

        return to_arrow(self)

    def to_pandas(self) -> "pd.DataFrame":
        """A ``pandas.DataFrame``, one row a point, without the adversarial points (extra ``io``)."""
        from certimetric._tables import to_pandas

        return to_pandas(self)

    def to_polars(self) -> "pl.DataFrame":
        """A ``polars.DataFrame``, one row a point, without the adversarial points (extra ``io``)."""
        from certimetric._tables import to_polars

        return to_polars(self)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the result to a file; the suffix says how.

        The file takes its name when it is whole. A write that fails leaves what was there before.

        Parameters
        ----------
        path : path-like
            ``.npz`` and ``.parquet`` (extra ``io``) keep everything exactly and are what :meth:`load` reads;
            ``.csv`` and ``.json`` leave out the adversarial points.

        Raises
        ------
        InputError
            Another suffix.
        OutputError
            The file cannot be written: no such folder, no space left, no permission.
        """
        from certimetric._tables import save

        save(self, path)

    def save_certificates(self, path: str | PathLike[str]) -> None:
        """Write the certificates to a file, a line for each point that has one.

        Parameters
        ----------
        path : path-like
            ``.jsonl``, ``.jsonl.gz`` or ``.jsonl.zst`` (extra ``io``), which ``certimetric verify`` reads.

        Raises
        ------
        InputError
            Certified without ``return_certificates=True``.
        DataError
            Another suffix.
        """
        from certimetric._certificates import save

        save(self, path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "Certification":
        """Read what :meth:`save` wrote as npz or Parquet: every array bit for bit, and the run.

        Raises
        ------
        DataError
            The file is missing, is not what its suffix says (Parquet, where that is not ``.npz``), or was not
            written by :meth:`save`.
        """
        from certimetric._tables import load

        return load(path)

    def plot(self, radii: ArrayLike | None = None, ax: "Axes | None" = None) -> "CertifiedErrorDisplay":
        """Draw the certified error over the radius (extra ``plot``).

        With ``method="attack"`` it is the error under attack. Where the search ended at the radii that were
        asked about, the curve does too: it has a mark at each, and between them a band for the robust error.
        """
        from certimetric.display import CertifiedErrorDisplay

        return CertifiedErrorDisplay.from_certification(self, radii=radii, ax=ax)

    def plot_examples(
        self,
        X: ArrayLike,
        shape: tuple[int, ...] = (28, 28),
        n: int = 8,
        indices: Sequence[int] | None = None,
    ) -> "Figure":
        """Draw test images, their closest adversarial images and the amplified differences (extra ``plot``).

        Parameters
        ----------
        X : array-like of shape (m, d)
            The test points that were certified, in the same order.
        shape : tuple of int, default=(28, 28)
            Height and width, or height, width and colour channels, with product d.
        n : int, default=8
            Number of points: those with the smallest radii.
        indices : sequence of int, optional
            The points themselves, instead of the n closest.

        Raises
        ------
        InputError
            Certified without ``return_adversarial=True``, or shapes that do not fit.
        """
        from certimetric._gallery import plot_examples

        return plot_examples(self, X, shape, n, indices)


def load_certification(path: str | PathLike[str]) -> Certification:
    """Read a result that :meth:`Certification.save` wrote as npz or Parquet."""
    return Certification.load(path)


def _share_at_most(bounds: FloatArray, radii: ArrayLike) -> FloatArray | float:
    levels = as_radii(radii)
    if len(bounds) == 0:
        raise InputError("the certification has no points, so no shares of them.")
    shares = np.searchsorted(np.sort(bounds), levels, side="right") / len(bounds)
    return float(shares) if levels.ndim == 0 else np.asarray(shares, dtype=np.float64)


def quantile(values: FloatArray, share: float) -> float:
    """A quantile: one of the values, or the mean of two; interpolation would make inf - inf."""
    if len(values) == 0:
        return float("nan")
    ordered = np.sort(values)
    position = share * (len(ordered) - 1)
    low, high = ordered[int(np.floor(position))], ordered[int(np.ceil(position))]
    return float(low if low == high else low / 2 + high / 2)
