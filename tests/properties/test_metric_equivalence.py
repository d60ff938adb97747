"""Where a metric on X equals the Euclidean one on X Gᵀ, and where it must not: radii live in input space."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ortho_group

import certimetric as cm
from properties.data import Problem, assert_same_radii, problems


def embedded(problem: Problem) -> Problem:
    """The same comparisons with the metric moved into the data."""
    assert problem.components is not None
    g = problem.components
    return Problem(problem.rows @ g.T, problem.labels, problem.points @ g.T)


@given(problems(metrics=["full", "low_rank", "tall", "diagonal"], kinds=["blobs", "uniform", "curved"]))
def test_predictions_equal_the_euclidean_ones_on_embedded_data(problem: Problem) -> None:
    assert (
        problem.fit().predict(problem.points).tolist()
        == embedded(problem).fit().predict(embedded(problem).points).tolist()
    )


@given(problems(metrics=["full", "low_rank", "tall", "diagonal"], kinds=["blobs", "uniform", "curved"]))
def test_neighbors_equal_the_euclidean_ones_on_embedded_data(problem: Problem) -> None:
    k = min(7, len(problem.rows))
    distances, indices = cm.kneighbors(problem.points, problem.rows, k, metric=problem.metric)
    image = embedded(problem)
    image_distances, image_indices = cm.kneighbors(image.points, image.rows, k, metric="euclidean")
    assert indices.tolist() == image_indices.tolist()
    size = np.abs(image.rows).max() + np.abs(image.points).max()
    np.testing.assert_allclose(distances, image_distances, rtol=1e-10, atol=1e-13 * size)


@given(problems(metrics=["euclidean"], kinds=["blobs", "uniform"]), st.integers(0, 1000))
def test_radius_equals_the_euclidean_one_for_orthogonal_components(problem: Problem, seed: int) -> None:
    d = problem.rows.shape[1]
    q = ortho_group.rvs(d, random_state=seed) if d > 1 else -np.eye(1)
    with_metric = Problem(problem.rows, problem.labels, problem.points, q)
    assert_same_radii(problem.certify(), with_metric.certify())
    assert_same_radii(problem.certify(), embedded(with_metric).certify())


@given(problems(metrics=["euclidean"], kinds=["blobs", "uniform"]), st.sampled_from([0.01, 0.5, 3.0, 1e4]))
def test_scaled_identity_keeps_the_radius_that_scaled_data_would_scale(
    problem: Problem, factor: float
) -> None:
    d = problem.rows.shape[1]
    with_metric = Problem(problem.rows, problem.labels, problem.points, factor * np.eye(d))
    assert_same_radii(problem.certify(), with_metric.certify())
    assert_same_radii(problem.certify(), embedded(with_metric).certify(), scale=factor)


@given(problems(metrics=["full", "diagonal", "low_rank"], kinds=["blobs", "uniform"]))
def test_radius_is_at_least_the_embedded_radius_over_the_spectral_norm(problem: Problem) -> None:
    """‖Gδ‖ ≤ ‖G‖₂‖δ‖, so a cell at input distance r lies within ‖G‖₂ r in the embedding."""
    assert problem.components is not None
    here, image = problem.certify(), embedded(problem).certify()
    norm = np.linalg.norm(problem.components, 2)
    assert np.all(image.lower <= here.upper * norm * (1 + 1e-7))


def test_radius_in_an_unseen_direction_costs_the_seen_part_only() -> None:
    """G = (1, 0): two rows 2 apart in x and 100 apart in y; the wall is at distance 1 whatever y is."""
    rows, labels = np.array([[0.0, 0.0], [2.0, 100.0]]), np.array([0, 1])
    metric = cm.Mahalanobis.from_components(np.array([[1.0, 0.0]]))
    clf = cm.CertifiedKNeighborsClassifier(n_neighbors=1, metric=metric).fit(rows, labels)
    cert = clf.certify(np.array([[0.0, 7.0]]))
    np.testing.assert_allclose([cert.lower[0], cert.upper[0]], 1.0, rtol=1e-9)


def test_radius_is_measured_in_input_space_under_a_stretched_metric() -> None:
    """Stretching an axis tenfold in the metric moves the wall, but the answer is in units of the input.

    Rows (1, 1) and (3, −1), G = diag(1, 10), by hand:
    numerator d²(z, x⁻) − d²(z, x⁺) = 109 − 101 = 8, ‖M(x⁺ − x⁻)‖ = ‖(−2, 200)‖, radius 8 / (2·‖(−2, 200)‖).
    """
    rows, labels = np.array([[1.0, 1.0], [3.0, -1.0]]), np.array([0, 1])
    metric = cm.Mahalanobis.from_components(np.diag([1.0, 10.0]))
    clf = cm.CertifiedKNeighborsClassifier(n_neighbors=1, metric=metric).fit(rows, labels)
    cert = clf.certify(np.zeros((1, 2)))
    np.testing.assert_allclose([cert.lower[0], cert.upper[0]], 8 / (2 * np.hypot(2, 200)), rtol=1e-9)


@given(problems(metrics=["full", "low_rank", "tall", "blind"], kinds=["blobs", "uniform"], max_features=5))
def test_metric_as_matrix_gives_the_radius_of_its_components(problem: Problem) -> None:
    """From M the components are recomputed, with rounding: the radii agree to what that costs."""
    assert problem.components is not None
    matrix = problem.components.T @ problem.components
    eigenvalues = np.linalg.eigvalsh(matrix)
    kept = eigenvalues[eigenvalues > 1e-12 * eigenvalues[-1]]
    if kept[-1] < 1e6 * kept[0]:
        clf = cm.CertifiedKNeighborsClassifier(n_neighbors=1, metric=cm.Mahalanobis.from_matrix(matrix))
        other = clf.fit(problem.rows, problem.labels).certify(problem.points)
        here = problem.certify()
        assert other.predicted.tolist() == here.predicted.tolist()
        np.testing.assert_allclose(other.upper, here.upper, rtol=1e-5, atol=1e-7)
