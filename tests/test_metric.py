"""Mahalanobis metrics: what they promise about components, matrices and distances."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NeighborhoodComponentsAnalysis

from certimetric import Mahalanobis
from certimetric._resolve import as_metric
from certimetric.exceptions import InputError, InputTypeError, MetricError, UnfittedMetricError


def random_matrix(rng, size, rank=None):
    factor = rng.normal(size=(rank or size, size))
    return factor.T @ factor


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_components_of_a_matrix_reproduce_it(rng, rank):
    matrix = random_matrix(rng, 6, rank)
    components = Mahalanobis.from_matrix(matrix).components_
    np.testing.assert_allclose(components.T @ components, matrix, rtol=1e-12, atol=1e-12)


def test_a_matrix_is_stored_to_the_last_bit(rng):
    matrix = random_matrix(rng, 6)
    metric = Mahalanobis.from_matrix(matrix)
    np.testing.assert_array_equal(metric.get_mahalanobis_matrix(), matrix)
    np.testing.assert_array_equal(metric.matrix_, matrix)
    matrix[0, 0] = 0.0
    assert metric.matrix_[0, 0] != 0.0
    with pytest.raises(ValueError, match="read-only"):
        metric.matrix_[0, 0] = 1.0
    assert Mahalanobis.from_components(np.eye(2)).matrix_ is None


def test_of_a_matrix_that_is_asymmetric_within_the_tolerance_the_mean_is_stored(rng):
    matrix = random_matrix(rng, 4)
    matrix[0, 1] = np.nextafter(matrix[0, 1], np.inf)
    stored = Mahalanobis.from_matrix(matrix).matrix_
    np.testing.assert_array_equal(stored, (matrix + matrix.T) / 2)
    np.testing.assert_array_equal(stored, stored.T)


@pytest.mark.parametrize("exponent", [-900, -301, 0, 301, 900])
def test_components_scale_with_the_matrix_by_powers_of_two(rng, exponent):
    matrix = random_matrix(rng, 4)
    plain = Mahalanobis.from_matrix(matrix).components_
    even = exponent - exponent % 2
    scaled = Mahalanobis.from_matrix(np.ldexp(matrix, even)) if even < 450 else None
    if scaled is None:
        with pytest.raises(InputError, match="M contains the magnitude"):
            Mahalanobis.from_matrix(np.ldexp(matrix, even))
        return
    np.testing.assert_array_equal(scaled.components_, np.ldexp(plain, even // 2))


def test_zero_matrix_gives_distance_zero():
    metric = Mahalanobis.from_matrix(np.zeros((3, 3)))
    assert metric.pair_distance(np.arange(6.0).reshape(1, 2, 3)) == [0.0]


def test_rounding_of_a_singular_matrix_is_forgiven():
    vector = np.array([[1.0, 1 / 3, 1 / 7]])
    metric = Mahalanobis.from_matrix(vector.T @ vector - 1e-14 * np.eye(3))
    np.testing.assert_array_equal(metric.matrix_, vector.T @ vector - 1e-14 * np.eye(3))


def test_indefinite_matrix_is_refused_with_its_eigenvalue():
    with pytest.raises(MetricError, match=r"M must be positive semidefinite.*-0\.5 times"):
        Mahalanobis.from_matrix(np.diag([2.0, -1.0]))


def test_asymmetric_matrix_is_refused_with_the_entries():
    with pytest.raises(MetricError, match=r"M must be symmetric, but M\[0, 1\].*1\.0.*M\[1, 0\].*0\.0"):
        Mahalanobis.from_matrix([[1.0, 1.0], [0.0, 1.0]])


@pytest.mark.parametrize(
    ("tol", "error", "message"),
    [
        (np.nan, InputError, "tol must be at least 0 and not NaN, got nan"),
        (-1e-10, InputError, "tol must be at least 0 and not NaN, got -1e-10"),
        ("1e-10", InputTypeError, "tol must be a number, got '1e-10' of type str"),
        (None, InputTypeError, "tol must be a number, got None of type NoneType"),
        (True, InputTypeError, "tol must be a number, got True of type bool"),
        ([1e-10], InputTypeError, r"tol must be a number, got \[1e-10\] of type list"),
    ],
)
def test_a_tolerance_that_is_no_number_of_at_least_zero_is_refused(tol, error, message):
    with pytest.raises(error, match=message):
        Mahalanobis.from_matrix(np.eye(2), tol=tol)


@pytest.mark.parametrize("tol", [0, 0.0, np.float32(1e-3), np.inf])
def test_a_tolerance_may_be_zero_infinite_or_of_numpy(tol):
    np.testing.assert_array_equal(
        Mahalanobis.from_matrix(np.eye(2), tol=tol).transform(np.eye(2)) ** 2, np.eye(2)[::-1]
    )


def test_rectangular_matrix_is_refused_with_its_shape():
    with pytest.raises(MetricError, match=r"M must be square.*\(2, 3\)"):
        Mahalanobis.from_matrix(np.ones((2, 3)))


def test_inverse_covariance_whitens_the_data(rng):
    rows = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 4))
    embedded = Mahalanobis.from_covariance(rows, shrinkage=None).transform(rows)
    np.testing.assert_allclose(np.cov(embedded.T, bias=True), np.eye(4), atol=1e-10)


def test_shrinkage_is_the_one_of_scikit_learn(rng):
    rows = rng.normal(size=(30, 5))
    expected = np.linalg.inv(LedoitWolf().fit(rows).covariance_)
    np.testing.assert_allclose(
        Mahalanobis.from_covariance(rows).get_mahalanobis_matrix(), expected, rtol=1e-9
    )


@pytest.mark.parametrize("scale", [1e-140, 1e150])
def test_covariance_of_extreme_values_stays_in_range(rng, scale):
    rows = rng.uniform(-1, 1, size=(50, 3))
    plain = Mahalanobis.from_covariance(rows).components_ / scale
    np.testing.assert_allclose(Mahalanobis.from_covariance(rows * scale).components_, plain, rtol=1e-9)


def test_singular_covariance_is_refused_and_shrinkage_proposed(rng):
    rows = np.c_[rng.normal(size=(20, 2)), np.ones(20)]
    with pytest.raises(MetricError, match=r"covariance of X is singular.*shrinkage='ledoit-wolf'"):
        Mahalanobis.from_covariance(rows, shrinkage=None)


@pytest.mark.parametrize("shrinkage", ["oas", -0.1, 1.5, True])
def test_unknown_shrinkage_is_refused(shrinkage):
    with pytest.raises(MetricError, match=r"shrinkage must be 'ledoit-wolf', a number in \[0, 1\] or None"):
        Mahalanobis.from_covariance(np.eye(3), shrinkage=shrinkage)


def test_pair_distance_agrees_with_the_matrix(rng):
    matrix, pairs = random_matrix(rng, 3), rng.normal(size=(10, 2, 3))
    difference = pairs[:, 0] - pairs[:, 1]
    expected = np.sqrt(np.einsum("ni,ij,nj->n", difference, matrix, difference))
    np.testing.assert_allclose(Mahalanobis.from_matrix(matrix).pair_distance(pairs), expected, rtol=1e-12)


def test_spectral_norm_bound_is_at_least_the_norm_and_close(rng):
    components = rng.normal(size=(5, 8))
    norm = np.linalg.norm(components, 2)
    bound = Mahalanobis.from_components(components).spectral_norm_bound
    assert norm * (1 - 1e-14) <= bound <= 1.5 * norm
    by_matrix = Mahalanobis.from_matrix(components.T @ components).spectral_norm_bound
    assert norm * (1 - 1e-14) <= by_matrix <= 1.5 * norm


def test_metric_cannot_be_changed_through_its_arrays(rng):
    given = rng.normal(size=(2, 3))
    metric = Mahalanobis.from_components(given)
    before = metric.components_.copy()
    given[:] = 0
    with pytest.raises(ValueError, match="read-only"):
        metric.components_[0, 0] = 1.0
    with pytest.raises(AttributeError, match="immutable"):
        metric._components = given
    np.testing.assert_array_equal(metric.components_, before)


@pytest.mark.parametrize(
    "metric",
    [
        Mahalanobis.euclidean(),
        Mahalanobis.euclidean(3),
        Mahalanobis.from_components([[1.0, 2.0]]),
        Mahalanobis.from_matrix([[2.0, 1.0], [1.0, 3.0]]),
    ],
)
def test_copies_are_equal_and_hash_equally(metric):
    for other in (pickle.loads(pickle.dumps(metric)), copy.deepcopy(metric)):
        assert other == metric
        assert hash(other) == hash(metric)
        if not metric.is_euclidean:
            np.testing.assert_array_equal(other.components_, metric.components_)
    assert metric != Mahalanobis.from_components([[1.0, 3.0]])


def test_metrics_of_other_kinds_are_not_equal_though_their_arrays_are():
    metrics = [make(np.eye(2)) for make in (Mahalanobis.from_matrix, Mahalanobis.from_components)]
    metrics.append(Mahalanobis.euclidean(2))
    for number, metric in enumerate(metrics):
        assert [metric == other for other in metrics] == [number == k for k in range(3)]


def test_the_sign_of_zero_makes_no_other_metric():
    for make in (Mahalanobis.from_matrix, Mahalanobis.from_components):
        metrics = [make([[1.0, zero], [zero, 1.0]]) for zero in (0.0, -0.0)]
        assert metrics[0] == metrics[1]
        assert hash(metrics[0]) == hash(metrics[1])


def test_repr_tells_the_shape():
    assert repr(Mahalanobis.from_components(np.ones((2, 5)))).startswith(
        "<Mahalanobis metric: Mahalanobis, 2 comp"
    )
    assert "matrix of 2 rows and norm" in repr(Mahalanobis.from_matrix(np.diag([2.0, 1.0])))
    assert "Euclidean" in repr(Mahalanobis.euclidean())


def test_euclidean_has_identity_components_once_the_dimension_is_known():
    np.testing.assert_array_equal(as_metric("euclidean", 3).components_, np.eye(3))
    with pytest.raises(MetricError, match="unknown dimension"):
        _ = Mahalanobis.euclidean().components_


def test_components_of_a_learner_are_preferred_to_its_matrix():
    class Learner:
        components_ = np.array([[2.0, 0.0]])

        def get_mahalanobis_matrix(self):
            raise AssertionError

    np.testing.assert_array_equal(as_metric(Learner(), 2).components_, Learner.components_)


def test_learner_with_only_a_matrix_is_accepted(rng):
    matrix = random_matrix(rng, 3)

    class Learner:
        def get_mahalanobis_matrix(self):
            return matrix

    np.testing.assert_allclose(as_metric(Learner(), 3).get_mahalanobis_matrix(), matrix, rtol=1e-12)


def test_fitted_nca_of_scikit_learn_is_a_metric(rng):
    rows, labels = rng.normal(size=(30, 4)), np.arange(30) % 2
    learner = NeighborhoodComponentsAnalysis(n_components=2, max_iter=5, random_state=0).fit(rows, labels)
    np.testing.assert_array_equal(as_metric(learner, 4).components_, learner.components_)


def test_unfitted_learner_is_refused_by_name():
    with pytest.raises(UnfittedMetricError, match=r"NeighborhoodComponentsAnalysis.*fit it first"):
        as_metric(NeighborhoodComponentsAnalysis(), 4)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("manhattan", "metric must be 'euclidean'.*'manhattan'"),
        (np.eye(3), r"must have shape \(4, 4\); got shape \(3, 3\)"),
        (np.ones((2, 4)), r"must have shape \(4, 4\).*from_components"),
        (Mahalanobis.from_components(np.eye(3)), "metric is for 3 features, but the data has 4"),
        (7, "metric must be 'euclidean'.*7 of type int"),
    ],
)
def test_what_is_no_metric_is_refused(metric, message):
    with pytest.raises(MetricError, match=message):
        as_metric(metric, 4)
