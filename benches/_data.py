"""Data of the benchmarks: real sets scaled as the published tables have it, and made ones."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import shuffle

VARIABLE = "CERTIMETRIC_DATA"
_IMAGES_OF_BYTES = ("mnist", "fashion_mnist")
_TITLES = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "usps": "USPS",
    "pendigits": "Pendigits",
    "satimage": "Satimage",
    "digits": "digits",
}


class Skipped(Exception):  # noqa: N818 - not an error: the figure is left out, with its reason
    """A figure cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Data:
    """Rows and labels, float64; test points in the order of the protocol."""

    name: str
    X: NDArray[np.float64]
    y: NDArray[np.int64]
    Z: NDArray[np.float64]
    t: NDArray[np.int64]

    @property
    def title(self) -> str:
        return f"{_TITLES.get(self.name, self.name)} {len(self.X):,} × {self.X.shape[1]}"

    def points(self, count: int) -> "Data":
        """The same training set with the first test points only."""
        return replace(self, Z=self.Z[:count], t=self.t[:count])

    def rows(self, count: int) -> "Data":
        """The same test points with the first training rows only."""
        return replace(self, X=self.X[:count], y=self.y[:count])


def folder(given: str | Path | None) -> Path | None:
    """The folder of the data sets: as given, or as the environment says."""
    named = given or os.environ.get(VARIABLE)
    return Path(named) if named else None


def locate(directory: Path | None, name: str) -> Path:
    """The file of a real data set; a figure that needs it is skipped where it is absent."""
    if directory is None:
        raise Skipped(f"needs {name}.npz: name its folder by --data or {VARIABLE}")
    path = directory / f"{name}.npz"
    if not path.is_file():
        raise Skipped(f"{name}.npz is not in {directory}")
    return path


def load(directory: Path | None, name: str) -> Data:
    """A real data set in [0, 1], test points shuffled: the protocol of the ARML paper.

    Images of bytes are divided by 255; other features are scaled by the minimum and maximum of the training
    set. Scaled in place, so that a measurement of memory sees the data and little else.
    """
    with np.load(locate(directory, name), allow_pickle=False) as arrays:
        X, Z = arrays["X_train"].astype(np.float64), arrays["X_test"].astype(np.float64)
        y, t = arrays["y_train"].astype(np.int64), arrays["y_test"].astype(np.int64)
    scale_to_unit(X, Z, images=name in _IMAGES_OF_BYTES)
    order = shuffle(np.arange(len(Z)), random_state=42)
    return Data(name, X, y, Z[order], t[order])


def scale_to_unit(X: NDArray[np.float64], Z: NDArray[np.float64], *, images: bool) -> None:
    if images:
        offset, scale = 0.0, 255.0
    else:
        offset = X.min(axis=0)
        span = X.max(axis=0) - offset
        scale = np.where(span > 0, span, 1.0)
    for rows in (X, Z):
        rows -= offset
        rows /= scale


def made(n: int, d: int, points: int, seed: int = 0) -> Data:
    """Ten classes of twenty Gaussian clusters each, with variances that fall like 1 / k along the axes."""
    rng = np.random.default_rng(seed)
    axes = np.arange(1, d + 1) ** -0.5
    centres = rng.normal(size=(200, d)) * axes
    which = rng.integers(0, len(centres), n + points)
    rows = centres[which] + 0.5 * rng.normal(size=(n + points, d)) * axes
    labels = which % 10
    return Data(f"made {n}", rows[:n], labels[:n], rows[n:], labels[n:])


def random_metric(d: int, condition: float, seed: int = 0) -> NDArray[np.float64]:
    """A full matrix M with log-uniform eigenvalues, 1 to ``condition``, along random axes."""
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.normal(size=(d, d)))
    values = np.geomspace(1.0, condition, d)
    matrix = (axes * values) @ axes.T
    return (matrix + matrix.T) / 2


def float32(arrays: Iterable[NDArray[np.float64]]) -> tuple[NDArray[np.float32], ...]:
    """C-contiguous binary32 copies."""
    return tuple(np.ascontiguousarray(a, dtype=np.float32) for a in arrays)
