"""Both ends of the interval hold against ways to compute r* that share nothing with the library."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import quadratic
from properties.data import KINDS, METRICS, Array, Labels, Problem, make_problem, problems


def predictions(problem: Problem, points: Array) -> Labels:
    """Labels by brute force in extended precision."""
    _, nearest = quadratic.extended_neighbors(points, problem.rows, 1, problem.components)
    labels: Labels = problem.labels[nearest[:, 0]]
    return labels


@given(problems(), st.integers(0, 2**32 - 1))
def test_no_perturbation_shorter_than_lower_changes_the_answer(problem: Problem, seed: int) -> None:
    """Random directions, and the way towards every row of another class, stopped just before ``lower``."""
    rng = np.random.default_rng(seed)
    cert = problem.certify()
    for k, z in enumerate(problem.points):
        # Less the rounding of z + length·ray.
        length = min(cert.lower[k], 1e6) * (1 - 1e-12) - 1e-15 * float(np.linalg.norm(z))
        towards = problem.rows[problem.labels != cert.predicted[k]] - z
        rays = np.vstack([rng.normal(size=(100, len(z))), towards])
        norms = np.linalg.norm(rays, axis=1)
        rays = rays[norms > 0] / norms[norms > 0, None]
        if length > 0:
            assert set(predictions(problem, z + length * rays)) == {cert.predicted[k]}


@given(problems())
def test_upper_is_not_below_the_best_triplet_bound(problem: Problem) -> None:
    cert = problem.certify()
    for k, z in enumerate(problem.points):
        floor = quadratic.triplet_floor(
            z, cert.predicted[k], problem.rows, problem.labels, problem.components
        )
        assert cert.upper[k] >= floor * (1 - 1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("n_rows", "n_features"), [(300, 2), (400, 5), (500, 40), (600, 12)])
def test_interval_contains_the_quadratic_oracle_on_screened_data(
    n_rows: int, n_features: int, kind: str, metric: str
) -> None:
    pytest.importorskip("daqp")
    pytest.importorskip("clarabel")
    problem = make_problem(n_rows + n_features, n_rows, n_features, kind, metric, n_points=8)
    cert = problem.certify()
    for k, z in enumerate(problem.points):
        radius = quadratic.exact_radius(
            z, cert.predicted[k], problem.rows, problem.labels, problem.components
        )
        assert cert.lower[k] <= radius * (1 + 1e-7) + 1e-12
        assert cert.upper[k] >= radius * (1 - 1e-7) - 1e-12
        assert cert.status[k] == "exact" or radius < 1e-6


@settings(max_examples=60)
@given(problems(max_rows=250, max_features=30))
def test_ordinary_data_is_certified_to_nine_digits(problem: Problem) -> None:
    cert = problem.certify()
    ordinary = (cert.upper > 1e-6) & np.isfinite(cert.upper)
    assert np.all(cert.upper[ordinary] - cert.lower[ordinary] <= 1e-9 * cert.upper[ordinary])
    assert set(cert.status[ordinary]) <= {"exact"}


@pytest.mark.parametrize("metric", METRICS)
def test_many_features_are_certified_to_nine_digits(metric: str) -> None:
    cert = make_problem(7, 500, 200, "blobs", metric, n_points=30).certify()
    certified = np.isfinite(cert.upper) & (cert.upper > 0)
    assert set(cert.status[certified]) == {"exact"}


@given(problems(max_rows=250, max_features=30))
def test_prediction_is_the_label_of_the_nearest_row(problem: Problem) -> None:
    assert problem.fit().predict(problem.points).tolist() == predictions(problem, problem.points).tolist()
