"""Which rows and which test points: data sets in [0, 1], test points shuffled, the first of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from certimetric import _formats, datasets
from certimetric._validation import FloatArray, check_magnitude
from certimetric.certificate import sha256_of_training
from certimetric.datasets import Scaler
from certimetric.exceptions import DataError

__all__ = ["PROTOCOLS", "TITLES", "Protocol", "Source", "Split", "count_training_rows", "load"]


@dataclass(frozen=True)
class Protocol:
    """How a data set becomes training rows and test points.

    Attributes
    ----------
    scale : str
        As for :meth:`Scaler.fit`, on the training set.
    points : int or None
        Number of test points, the first ones after shuffling; None: all.
    seed : int or None
        ``random_state`` of the shuffle; None: the order of the file.
    deviation : str
        What keeps our numbers from being those that were published, in words; empty: nothing.
    image : tuple of 2 ints or None
        Height and width, where rows are images.
    """

    scale: str = "minmax"
    points: int | None = 1000
    seed: int | None = 42
    deviation: str = ""
    image: tuple[int, int] | None = None

    def limited(self, points: int | None) -> "Protocol":
        """The same with another number of test points, if one is given."""
        if points is None or points == self.points:
            return self
        deviation = self.deviation or f"published over {self.points:,} test points"
        return replace(self, points=points, deviation=deviation)


PROTOCOLS = {
    "mnist": Protocol("255", image=(28, 28)),
    "fashion_mnist": Protocol("255", image=(28, 28)),
    "usps": Protocol(image=(16, 16)),
    "pendigits": Protocol(),
    "satimage": Protocol(),
    "splice": Protocol(points=None, deviation="published over 1,000 test points in another order"),
}
"""By data set, the protocol of the ARML paper. LIBSVM's Splice has its test rows in another order."""

TITLES = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "usps": "USPS",
    "pendigits": "Pendigits",
    "satimage": "Satimage",
    "splice": "Splice",
}


@dataclass(frozen=True)
class Source:
    """Files of a data set and the protocol for them.

    Attributes
    ----------
    name : str
    train : Path
    test : Path or None
        None: the training file has both halves.
    protocol : Protocol
    published : bool
        Whether ``name`` is that of a data set which published tables have.
    keys : mapping
        ``x_key``, ``y_key`` and ``label`` as for :func:`certimetric.datasets.read`.
    """

    name: str
    train: Path
    test: Path | None = None
    protocol: Protocol = field(default_factory=Protocol)
    published: bool = False
    keys: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Split:
    """Training rows and test points, scaled and in the order of the protocol.

    Attributes
    ----------
    name : str
    X, Z : ndarray of shape (n, d) and (m, d), float64
    y, t : ndarray of shape (n,) and (m,)
        Their labels.
    image : tuple of 2 ints or None
        Height and width, where rows are images.
    """

    name: str
    X: FloatArray
    y: NDArray[Any]
    Z: FloatArray
    t: NDArray[Any]
    image: tuple[int, int] | None = None

    @property
    def title(self) -> str:
        """Name and shape of the training set."""
        return f"{TITLES.get(self.name, self.name)} {len(self.X):,} × {self.X.shape[1]}"

    def points(self, count: int) -> "Split":
        """The same training set with the first test points only."""
        return replace(self, Z=self.Z[:count], t=self.t[:count])

    def rows(self, count: int) -> "Split":
        """The same test points with the first training rows only."""
        return replace(self, X=self.X[:count], y=self.y[:count])

    @cached_property
    def digest(self) -> str:
        """Hash of all values and labels: other data, scaling or test points have another one."""
        return sha256_of_training(self.X, self.y) + sha256_of_training(self.Z, self.t)


def load(source: Source, option: str = "test") -> Split:
    """Read a data set and apply its protocol.

    Scaled in place: the memory is that of the data as float64. ``option`` is what the caller calls the test
    file, for messages.

    Raises
    ------
    DataError
        As :func:`certimetric.datasets.read_halves`; also where test points have no labels.
    """
    train, test = datasets.read_halves(source.train, source.test, **source.keys, option=option)
    test.labels()
    scaler = Scaler.fit(train.X, source.protocol.scale)
    chosen = test.sample(source.protocol.points, source.protocol.seed)
    for data in (train, chosen):
        check_magnitude(scaler(data.X, out=data.X), f"{data.name}, scaled")
    image = source.protocol.image
    return Split(source.name, train.X, train.labels(), chosen.X, chosen.labels(), image)


def count_training_rows(path: Path) -> int:
    """Number of rows of an npz of both halves, by its labels: the rows themselves may be large."""
    with _formats.open_archive(path) as archive:
        for name in ("X_train", "y_train", "X_test", "y_test"):
            if name not in archive:
                raise DataError(f"{path}: has no array {name!r}; it has {', '.join(archive.files)}.")
        return len(archive["y_train"])
