"""Data sets and metrics for the properties: large enough to be screened, small enough for brute force."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

import certimetric as cm

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Problem:
    """A training set, test points, components G (None: Euclidean) and a number of neighbours."""

    rows: Array
    labels: Labels
    points: Array
    components: Array | None = None
    n_neighbors: int = 1

    @property
    def metric(self) -> Any:
        return "euclidean" if self.components is None else cm.Mahalanobis.from_components(self.components)

    def fit(self) -> Any:
        return cm.CertifiedKNeighborsClassifier(self.n_neighbors, metric=self.metric).fit(
            self.rows, self.labels
        )

    def certify(self, **options: Any) -> Any:
        return self.fit().certify(self.points, **options)


def make_problem(
    seed: int, n_rows: int, n_features: int, kind: str, metric: str, n_points: int = 6
) -> Problem:
    """``kind``: blobs | uniform | integers | curved (near a surface); ``metric``: see make_components."""
    rng = np.random.default_rng(seed)
    n_classes = int(rng.integers(2, 5))
    total = n_rows + n_points
    if kind == "integers":
        rows = rng.integers(-5, 6, size=(total, n_features)).astype(float)
    elif kind == "uniform":
        rows = rng.random((total, n_features))
    elif kind == "curved":
        rows = np.sin(rng.normal(size=(total, 2)) @ rng.normal(size=(2, n_features)))
        rows += 0.05 * rng.normal(size=rows.shape)
    else:
        centers = 3 * rng.normal(size=(n_classes, n_features))
        rows = centers[rng.integers(0, n_classes, size=total)] + rng.normal(size=(total, n_features))
    direction = rng.normal(size=n_features)
    # Labels follow a direction with some noise, so that radii of all sizes occur.
    score = rows @ direction + 0.3 * np.std(rows @ direction) * rng.normal(size=total)
    labels = np.searchsorted(np.quantile(score, np.arange(1, n_classes) / n_classes), score)
    components = make_components(rng, n_features, metric)
    return Problem(rows[:n_rows], labels[:n_rows].astype(np.int64), rows[n_rows:], components)


def make_components(rng: np.random.Generator, n_features: int, metric: str) -> Array | None:
    """Components: euclidean (None) | full | low_rank (p < d) | tall (p > d) | diagonal | blind (zeros)."""
    if metric == "euclidean":
        return None
    height = {"low_rank": max(1, n_features // 2), "tall": n_features + 2}.get(metric, n_features)
    g = rng.normal(size=(height, n_features))
    if metric == "diagonal":
        g = np.diag(np.exp(rng.normal(size=n_features)))
    if metric == "blind" and n_features > 1:
        g[:, rng.integers(n_features)] = 0.0
    return g


METRICS = ["euclidean", "full", "low_rank", "tall", "diagonal", "blind"]
KINDS = ["blobs", "uniform", "integers", "curved"]


def problems(
    max_rows: int = 60, max_features: int = 8, metrics: list[str] = METRICS, kinds: list[str] = KINDS
) -> st.SearchStrategy[Problem]:
    """Seeded problems; shrinking leads to fewer rows and features."""
    return st.builds(
        make_problem,
        seed=st.integers(0, 2**32 - 1),
        n_rows=st.integers(4, max_rows),
        n_features=st.integers(1, max_features),
        kind=st.sampled_from(kinds),
        metric=st.sampled_from(metrics),
    )


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
