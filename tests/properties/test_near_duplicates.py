"""Two rows of different classes that nearly coincide, while another rival is almost as near.

Coordinates in binary32 misplace the boundary between the two by their own error times distance over
separation: whatever is decided there must be a proof, not a number.
"""

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import certimetric as cm

RADIUS = 0.1
FEATURES = 6


def near_duplicates(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """Rows, labels, the test point, the way to the nearly coincident pair's boundary, and how far that is."""
    rng = np.random.default_rng(seed)
    axes = np.eye(FEATURES)
    nearest = -0.91 * axes[1]
    across = np.array([np.sqrt(1 - (0.05 / 0.91) ** 2), 0.05 / 0.91, *np.zeros(FEATURES - 2)])
    separation = 10 ** rng.uniform(-5, -2.5)
    boundary = RADIUS * (1 - 10 ** rng.uniform(-4.5, -2.5))
    own = axes[2] + (boundary - separation / 2) * axes[1]
    other = axes[2] + (boundary + separation / 2) * axes[1]
    rotation = np.linalg.qr(rng.normal(size=(FEATURES, FEATURES)))[0]
    shift = rng.normal(size=FEATURES)
    close = np.array([nearest, nearest + 0.3 * across, own, other]) @ rotation + shift
    far = 2 * rng.normal(size=(8, FEATURES)) + shift + np.where(np.arange(FEATURES) < 3, 8, 0)
    labels = np.array([0, 1, 0, 1] + [0] * 8)
    way = close[3] - close[2]
    return np.vstack([close, far]), labels, shift, way / np.linalg.norm(way), boundary


@pytest.mark.parametrize("metric", ["euclidean", "identity"])
@given(seed=st.integers(0, 2**32 - 1))
def test_lower_end_is_below_any_adversarial_point(metric: str, seed: int) -> None:
    rows, labels, point, way, boundary = near_duplicates(seed)
    given_metric = "euclidean" if metric == "euclidean" else cm.Mahalanobis.from_components(np.eye(FEATURES))
    classifier = cm.CertifiedKNeighborsClassifier(metric=given_metric).fit(rows, labels)
    cert = classifier.certify(point[None])
    assert cert.status[0] == "exact"
    assert cert.upper[0] - cert.lower[0] <= 1e-9 * cert.upper[0]
    for beyond in (1e-9, 1e-7, 1e-5):
        moved = point + boundary * (1 + beyond) * way
        if classifier.predict(moved[None]) != cert.predicted:
            assert cert.lower[0] <= np.linalg.norm(moved - point) * (1 + 1e-12)
            return
    pytest.fail("the construction no longer crosses a boundary")


@pytest.mark.parametrize("tiny", [1e-305, 1e-318, 5e-324])
@pytest.mark.parametrize("components", [None, np.eye(2), np.diag([1.0, 1e-305]), 1e-300 * np.eye(2)])
def test_numbers_at_the_end_of_the_range_give_numbers(tiny: float, components: np.ndarray | None) -> None:
    rows = np.array([[0.0, 0.0], [1.0, 1.0], [tiny, 0.0], [0.0, tiny]])
    metric = "euclidean" if components is None else cm.Mahalanobis.from_components(components)
    cert = cm.CertifiedKNeighborsClassifier(metric=metric).fit(rows, [0, 1, 1, 0]).certify(rows)
    assert not np.isnan(cert.lower).any()
    assert not np.isnan(cert.upper).any()
    assert np.all(cert.lower <= cert.upper)
    assert not np.isnan(cm.pairwise_distances(rows, metric=metric)).any()


def test_any_number_of_jobs_is_served() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 3))
    labels = np.arange(50) % 2
    classifier = cm.CertifiedKNeighborsClassifier().fit(rows, labels)
    many, one = classifier.certify(rows + 0.01, n_jobs=10**6), classifier.certify(rows + 0.01, n_jobs=1)
    assert many.lower.tolist() == one.lower.tolist()


@pytest.mark.parametrize(
    ("rows", "labels", "point"),
    [
        # A constraint as long as the gap between two rows: its multiplier is of the order of its inverse.
        *[([[0.0], [gap], [-3.0]], [0, 1, 0], [-2.0]) for gap in (1e-14, 1e-12, 1e-9, 1e-6)],
        ([[-1.0], [0.5], [0.5 + 1e-12]], [0, 0, 1], [-0.5]),
        ([[0.0, 0.0], [1e-12, 0.0], [-3.0, 0.0], [0.0, 0.0], [0.0, 0.0]], [0, 1, 0, 0, 0], [-2.0, 0.0]),
        # Squares of the radius that underflow.
        ([[0.0], [1.0], [1e-200]], [0, 0, 1], [0.0]),
        ([[0.0], [0.0], [1e-100], [2.077546e-318]], [0, 0, 0, 1], [0.0]),
        # … also in the units of the data's extent.
        ([[0.0], [1e-175], [1e149]], [0, 1, 1], [0.0]),
        # Multipliers that pass the range of binary32, and then sums of rows that do.
        (
            [[2e-60, 2e-60], [0.0, 2e-60], [-1e-60, 1e-60], [1.0, 3.0], [2.0, 3.0], [4.0, -4.0], [4.0, 4.0]],
            [0, 0, 1, 0, 0, 0, 0],
            [0.75, -2.0],
        ),
    ],
)
def test_adversarial_point_of_conflicting_rows_that_nearly_coincide(
    rows: list[list[float]], labels: list[int], point: list[float]
) -> None:
    classifier = cm.CertifiedKNeighborsClassifier().fit(np.array(rows), labels)
    cert = classifier.certify(np.array([point]), return_adversarial=True)
    assert classifier.predict(cert.adversarial)[0] == 1
    # Not np.linalg.norm: its squares underflow.
    assert cert.upper[0] >= max(abs(cert.adversarial[0] - point))
    # The point is made of binary64 numbers of the size of the rows.
    assert 0 <= cert.upper[0] - cert.lower[0] <= 1e-9 * cert.upper[0] + 1e-14 * np.abs(rows).max()


@pytest.mark.parametrize("components", [None, np.eye(1)])
def test_distances_far_below_the_extent_of_the_data_keep_their_digits(components: np.ndarray | None) -> None:
    metric = "euclidean" if components is None else cm.Mahalanobis.from_components(components)
    distances = cm.pairwise_distances([[8e-78]], [[0.0], [1.0]], metric=metric)
    np.testing.assert_allclose(distances, [[8e-78, 1.0]], rtol=1e-14)


@pytest.mark.parametrize("separation", [1e-3, 1e-8, 1e-13])
def test_distances_between_rows_that_nearly_coincide_in_a_metric_keep_their_digits(separation: float) -> None:
    rng = np.random.default_rng(0)
    rows, components = rng.normal(size=(50, 6)), rng.normal(size=(4, 6))
    queries = rows + separation * rng.normal(size=rows.shape)
    distances, neighbors = cm.kneighbors(queries, rows, 1, metric=cm.Mahalanobis.from_components(components))
    apart = (queries - rows[neighbors[:, 0]]) @ components.T
    np.testing.assert_allclose(distances[:, 0], np.linalg.norm(apart, axis=1), rtol=1e-12)


def test_length_of_a_subnormal_perturbation_is_not_rounded_down() -> None:
    tiny = 2.0**-1074
    rows = np.zeros((3, 100))
    rows[1], rows[2] = 1485 * tiny, 700.0
    classifier = cm.CertifiedKNeighborsClassifier().fit(rows, [0, 1, 1])
    cert = classifier.certify(np.zeros((1, 100)), return_adversarial=True)
    steps = cert.adversarial[0] / tiny
    assert cert.upper[0] / tiny >= np.sqrt(np.sum(steps**2))


def crowded(n_rows: int, n_features: int, ratio: float) -> tuple[Any, np.ndarray]:
    """Rows that differ in two of three values of one direction, and hardly at all in any other."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(n_rows, n_features))
    rows[:, 0] = rng.integers(0, 3, n_rows)
    rotation = np.linalg.qr(rng.normal(size=(n_features, n_features)))[0]
    metric = cm.Mahalanobis.from_components(rotation * np.r_[1.0, np.full(n_features - 1, ratio)])
    return cm.CertifiedKNeighborsClassifier(metric=metric).fit(rows, rng.integers(0, 2, n_rows)), rows


def test_many_rows_that_nearly_tie_do_not_need_exact_arithmetic_each() -> None:
    begun = time.perf_counter()
    classifier, rows = crowded(1_000, 20, 1e-9)
    cert = classifier.certify(rows[:4] + 0.01)
    assert np.all(cert.lower <= cert.upper)
    assert time.perf_counter() - begun < 10


def test_a_point_that_takes_long_heeds_the_time_limit() -> None:
    classifier, rows = crowded(1_000, 150, 1e-8)
    begun = time.perf_counter()
    cert = classifier.certify(rows[:20] + 0.01, time_limit=0.2)
    assert time.perf_counter() - begun < 5
    assert "unfinished" in cert.status
    assert np.all(cert.lower <= cert.upper)


@pytest.mark.parametrize("magnitude", [1e8, 1e140])
def test_features_that_the_metric_does_not_see_cost_no_digits(magnitude: float) -> None:
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(500, 4)), rng.integers(0, 2, 500)
    components = rng.normal(size=(3, 4)) * [1, 1, 1, 0]
    points = rng.normal(size=(5, 4))
    radii = []
    for factor in (1.0, magnitude):
        stretch = np.array([1.0, 1.0, 1.0, factor])
        metric = cm.Mahalanobis.from_components(components)
        classifier = cm.CertifiedKNeighborsClassifier(metric=metric).fit(rows * stretch, labels)
        cert = classifier.certify(points * stretch)
        assert set(cert.status) == {"exact"}
        radii.append(cert.upper)
    np.testing.assert_allclose(radii[0], radii[1], rtol=1e-9)
