"""Data sets and metrics for the properties: large enough to be screened, small enough for brute force."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

import certimetric as cm
from certimetric import testing

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


METRICS = ["euclidean", "full", "low_rank", "tall", "diagonal", "blind"]
MATRICES = ["matrix", "matrix_low_rank", "matrix_diagonal", "matrix_blind"]
KINDS = ["blobs", "uniform", "integers", "curved"]


@dataclass(frozen=True, eq=False)
class Problem(testing.Problem):
    """A problem with a number of neighbours that vote."""

    n_neighbors: int = 1

    def fit(self) -> Any:
        return cm.CertifiedKNeighborsClassifier(self.n_neighbors, metric=self.metric).fit(
            self.rows, self.labels
        )

    def certify(self, **options: Any) -> Any:
        return self.fit().certify(self.points, **options)


def make_problem(
    seed: int, n_rows: int, n_features: int, kind: str, metric: str, n_points: int = 6
) -> Problem:
    return Problem(**vars(testing.make_problem(seed, n_rows, n_features, kind, metric, n_points)))


def problems(
    max_rows: int = 60, max_features: int = 8, metrics: list[str] = METRICS, kinds: list[str] = KINDS
) -> st.SearchStrategy[Problem]:
    """Ordinary problems at scale 1."""
    drawn = testing.problems(
        kinds=kinds, metrics=metrics, scales=[1.0], min_rows=4, max_rows=max_rows, max_features=max_features
    )
    return drawn.map(lambda problem: Problem(**vars(problem)))


def assert_same_radii(first: Any, second: Any, scale: float = 1.0, tolerance: float = 1e-8) -> None:
    """Both results hold intervals around one radius: ``second`` is ``first`` times ``scale``."""
    assert first.predicted.tolist() == second.predicted.tolist()
    assert_intervals_meet(first.lower * scale, first.upper * scale, second.lower, second.upper, tolerance)


def assert_intervals_meet(
    lower: Array, upper: Array, other_lower: Array, other_upper: Array, tolerance: float
) -> None:
    """Intervals of radii equal up to rounding of the data: they overlap, and their upper ends are near."""
    assert np.all(lower <= other_upper * (1 + tolerance))
    assert np.all(other_lower <= upper * (1 + tolerance))
    finite = np.isfinite(upper) & np.isfinite(other_upper) & (upper > 1e-6)
    assert np.array_equal(np.isfinite(upper), np.isfinite(other_upper))
    np.testing.assert_allclose(other_upper[finite], upper[finite], rtol=tolerance * 10)


def bits(values: Array) -> list[int]:
    """The bit patterns, for comparisons that forgive nothing."""
    return np.ascontiguousarray(values, dtype=np.float64).view(np.uint64).ravel().tolist()


def bits_of(cert: Any) -> tuple[list[int], list[int], list[int], list[str], list[int]]:
    """Everything that must not change, of a result with adversarial points."""
    status = [str(value) for value in cert.status]
    return bits(cert.lower), bits(cert.upper), bits(cert.adversarial), status, cert.predicted.tolist()
