"""Data of the benchmarks: real sets scaled as the published tables have it, and made ones."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from certimetric.reproduce import PROTOCOLS, Protocol, Source
from certimetric.reproduce import Split as Data
from certimetric.reproduce import load as load_split

VARIABLE = "CERTIMETRIC_DATA"


class Skipped(Exception):  # noqa: N818 - not an error: the figure is left out, with its reason
    """A figure cannot be measured here; the message says why."""


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
    """A real data set in [0, 1], all test points shuffled: the protocol of the published tables."""
    protocol = replace(PROTOCOLS.get(name, Protocol()), points=None)
    data = load_split(Source(name, locate(directory, name), protocol=protocol))
    return replace(data, y=data.y.astype(np.int64), t=data.t.astype(np.int64))


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
