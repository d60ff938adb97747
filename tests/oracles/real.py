"""Real data sets for the oracles: those that ship with scikit-learn, and files where there are any."""

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import datasets

Array = NDArray[np.float64]

BUNDLED = ["iris", "wine", "breast_cancer", "digits"]


@dataclass(frozen=True)
class Split:
    """Training rows and test points, each with labels."""

    rows: Array
    labels: NDArray[np.int64]
    points: Array
    truth: NDArray[np.int64]

    def sample(self, n_rows: int, n_points: int) -> Self:
        """Some rows at random and the first points, every feature of all rows scaled to [0, 1]."""
        chosen = np.random.default_rng(1).permutation(len(self.rows))[:n_rows]
        lowest, span = self.rows.min(axis=0), np.ptp(self.rows, axis=0)
        rows, points = ((x - lowest) / np.where(span > 0, span, 1.0) for x in (self.rows, self.points))
        return type(self)(rows[chosen], self.labels[chosen], points[:n_points], self.truth[:n_points])


@functools.cache
def bundled(name: str) -> Split:
    """A shuffled split of a data set that ships with scikit-learn; twenty test points."""
    loaded = getattr(datasets, f"load_{name}")()
    order = np.random.default_rng(0).permutation(len(loaded.target))
    rows, labels = loaded.data[order].astype(np.float64), loaded.target[order].astype(np.int64)
    return Split(rows[20:], labels[20:], rows[:20], labels[:20])


@functools.cache
def from_file(name: str, n_points: int) -> Split:
    """One of the larger files, where ``CERTIMETRIC_DATA`` names the folder that has them."""
    folder = os.environ.get("CERTIMETRIC_DATA")
    if folder is None or not (Path(folder) / f"{name}.npz").exists():
        pytest.skip(f"CERTIMETRIC_DATA has no {name}.npz")
    with np.load(Path(folder) / f"{name}.npz", allow_pickle=False) as file:
        columns = [file[key] for key in ("X_train", "y_train", "X_test", "y_test")]
    rows, labels, points, truth = columns
    return Split(
        rows.astype(np.float64),
        labels.astype(np.int64),
        points[:n_points].astype(np.float64),
        truth[:n_points].astype(np.int64),
    )
