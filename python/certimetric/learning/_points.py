"""Where prototypes begin, and images that are moved a little."""

import math

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans
from threadpoolctl import threadpool_limits

from certimetric._validation import FloatArray, IntArray
from certimetric.learning._base import Labelled

__all__ = ["centres", "default_count", "shifted"]

_LARGE = 3000
"""Rows of a class from which on the centres are found in batches."""

_MOVED = 0.4
"""Share of the images that are moved: few prototypes cannot follow many."""


def default_count(data: Labelled, *, is_varied: bool) -> int:
    """Prototypes a class that suit so many rows: 5 times the root of a class's rows.

    Of varied rows, which stand for more than themselves, twice as many, or half of the rows where that lies
    between.
    """
    rows = len(data.rows) / len(data.classes)
    few, many = 5 * math.sqrt(rows), 10 * math.sqrt(rows)
    return max(1, round(max(few, min(many, rows / 2)) if is_varied else few))


def centres(data: Labelled, per_class: int, seed: int) -> tuple[FloatArray, IntArray]:
    """K-means of each class: centres (n, d), and their codes. A class of fewer rows gives each of them."""
    found, codes = [], []
    # In units in which squares neither overflow nor underflow.
    unit = 2.0 ** max(-1022, min(1022, int(np.frexp(np.abs(data.rows).max())[1])))
    # The sums of several threads come in any order.
    with threadpool_limits(limits=1):
        for code in range(len(data.classes)):
            rows = data.rows[data.codes == code]
            if len(rows) > per_class:
                kind = KMeans if len(rows) < _LARGE else MiniBatchKMeans
                rows = kind(per_class, n_init=1, random_state=seed).fit(rows / unit).cluster_centers_ * unit
            found.append(rows)
            codes.append(np.full(len(rows), code, dtype=np.int64))
    return np.ascontiguousarray(np.concatenate(found), dtype=np.float64), np.concatenate(codes)


def shifted(rows: FloatArray, shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """Images, two in five moved by one pixel up, down, left or right; what comes in repeats the edge."""
    images = rows.reshape(-1, *shape).copy()
    height, width = shape
    where = np.where(rng.random(len(images)) < _MOVED, rng.integers(4, size=len(images)), -1)
    for direction, (down, right) in enumerate([(0, 1), (2, 1), (1, 0), (1, 2)]):
        wide = np.pad(images[where == direction], ((0, 0), (1, 1), (1, 1)), mode="edge")
        images[where == direction] = wide[:, down : down + height, right : right + width]
    return images.reshape(len(rows), -1)
