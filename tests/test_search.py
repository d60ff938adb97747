"""Neighbours, distances and triplets against straightforward NumPy."""

import warnings

import numpy as np
import pytest
from scipy.stats import ortho_group

import certimetric as cm
from certimetric._rotation import principal_axes
from certimetric.exceptions import InputError


def brute(queries, rows, components=None, matrix=None):
    """Squared distances in long double precision."""
    differences = queries[:, None, :].astype(np.longdouble) - rows[None, :, :].astype(np.longdouble)
    if matrix is not None:
        return np.einsum("mni,ij,mnj->mn", differences, matrix.astype(np.longdouble), differences)
    if components is not None:
        differences = differences @ components.T.astype(np.longdouble)
    return (differences**2).sum(axis=2)


@pytest.fixture(params=["euclidean", "full", "low rank"])
def components(request, rng):
    shapes = {"euclidean": None, "full": (7, 7), "low rank": (3, 7)}
    shape = shapes[request.param]
    return None if shape is None else rng.normal(size=shape)


def as_argument(components):
    return "euclidean" if components is None else cm.Mahalanobis.from_components(components)


@pytest.mark.parametrize("k", [1, 5, 300])
def test_kneighbors_equals_brute_force(rng, components, k):
    rows, queries = rng.normal(size=(300, 7)), rng.normal(size=(40, 7))
    distances, indices = cm.kneighbors(queries, rows, k, metric=as_argument(components))
    squares = brute(queries, rows, components)
    np.testing.assert_array_equal(indices, np.argsort(squares, axis=1, kind="stable")[:, :k])
    expected = np.sqrt(np.take_along_axis(squares, indices, axis=1)).astype(float)
    np.testing.assert_allclose(distances, expected, rtol=1e-12)


@pytest.mark.parametrize("spread", [1.0, 1e3, 1e5])
def test_distances_by_a_matrix_keep_their_digits(rng, spread):
    """Rows that spread most where the metric sees least: an inverse covariance of condition ``spread²``."""
    stretch, turn = np.geomspace(1.0, spread, 7), ortho_group.rvs(7, random_state=1)
    rows, queries = (rng.normal(size=(count, 7)) * stretch @ turn for count in (300, 40))
    matrix = np.linalg.inv(np.cov(rows.T))
    matrix = (matrix + matrix.T) / 2
    squares = brute(queries, rows, matrix=matrix)
    distances, indices = cm.kneighbors(queries, rows, 5, metric=matrix)
    np.testing.assert_array_equal(indices, np.argsort(squares, axis=1, kind="stable")[:, :5])
    expected = np.sqrt(np.take_along_axis(squares, indices, axis=1)).astype(float)
    np.testing.assert_allclose(distances, expected, rtol=1e-9)
    found = cm.pairwise_distances(queries, rows, metric=matrix, squared=True)
    np.testing.assert_allclose(found, squares.astype(float), rtol=1e-7)
    same, other = rows[:40], rows[40:80]
    gaps = squares[:, 40:80].diagonal() - squares[:, :40].diagonal()
    lengths = np.linalg.norm((other - same) @ matrix, axis=1)
    radii = cm.triplet_radius(queries, same, other, matrix)
    np.testing.assert_allclose(radii, gaps.astype(float) / (2 * lengths), rtol=1e-8, atol=1e-10 * spread)


def test_ties_go_to_the_lowest_index(rng):
    rows = np.repeat(rng.normal(size=(4, 3)), 5, axis=0)[rng.permutation(20)]
    distances, indices = cm.kneighbors(rows, rows, 5)
    for query, found in enumerate(indices):
        np.testing.assert_array_equal(found, np.flatnonzero((rows == rows[query]).all(axis=1)))
    assert (distances == 0).all()


def test_distances_are_accurate_far_from_the_origin(rng):
    offset = 2.0**30
    rows = np.round(rng.normal(size=(50, 4)) * 1024) / 1024
    near, _ = cm.kneighbors(rows[:10], rows, 3)
    far, _ = cm.kneighbors(rows[:10] + offset, rows + offset, 3)
    np.testing.assert_array_equal(near, far)


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e100, 1e150])
def test_neighbors_do_not_depend_on_a_power_of_two(rng, scale):
    factor = 2.0 ** np.floor(np.log2(scale))
    rows = rng.uniform(-1, 1, size=(60, 5))
    _, plain = cm.kneighbors(rows[:20], rows, 4)
    distances, scaled = cm.kneighbors(rows[:20] * factor, rows * factor, 4)
    np.testing.assert_array_equal(scaled, plain)
    assert np.isfinite(distances).all()


def test_per_class_search_equals_a_search_of_each_class(rng):
    rows, queries = rng.normal(size=(60, 4)), rng.normal(size=(9, 4))
    labels = np.array(["b", "a", "c"])[rng.integers(0, 3, 60)]
    distances, indices = cm.kneighbors(queries, rows, 5, y=labels)
    assert distances.shape == indices.shape == (9, 3, 5)
    for number, label in enumerate("abc"):
        members = np.flatnonzero(labels == label)
        alone, positions = cm.kneighbors(queries, rows[members], 5)
        np.testing.assert_array_equal(indices[:, number], members[positions])
        np.testing.assert_array_equal(distances[:, number], alone)


def test_small_classes_are_padded():
    distances, indices = cm.kneighbors([[0.0]], [[1.0], [2.0], [4.0]], 2, y=[0, 1, 1])
    np.testing.assert_array_equal(indices, [[[0, -1], [1, 2]]])
    np.testing.assert_array_equal(distances, [[[1.0, np.inf], [2.0, 4.0]]])


def test_squared_distances_are_squares(rng):
    rows = rng.normal(size=(30, 3))
    plain, _ = cm.kneighbors(rows[:5], rows, 4)
    squares, _ = cm.kneighbors(rows[:5], rows, 4, squared=True)
    np.testing.assert_allclose(squares, plain**2, rtol=1e-14)


def test_threads_and_batches_do_not_change_a_bit(rng):
    rows, queries = rng.normal(size=(500, 6)), rng.normal(size=(64, 6))
    whole = cm.kneighbors(queries, rows, 7, n_jobs=1)
    threads = cm.kneighbors(queries, rows, 7, n_jobs=3)
    single = [cm.kneighbors(queries[i : i + 1], rows, 7) for i in range(len(queries))]
    for part in (0, 1):
        np.testing.assert_array_equal(whole[part], threads[part])
        np.testing.assert_array_equal(whole[part], np.concatenate([one[part] for one in single]))


def test_pairwise_distances_equal_brute_force(rng, components):
    left, right = rng.normal(size=(20, 7)), rng.normal(size=(33, 7))
    found = cm.pairwise_distances(left, right, metric=as_argument(components), squared=True)
    np.testing.assert_allclose(found, brute(left, right, components).astype(float), rtol=1e-12)


def test_pairwise_distances_of_one_set_are_symmetric_with_zero_diagonal(rng, components):
    rows = rng.normal(size=(25, 7)) + 1e6
    found = cm.pairwise_distances(rows, metric=as_argument(components), n_jobs=2)
    np.testing.assert_array_equal(found, found.T)
    assert (np.diag(found) == 0).all()


def test_triplet_radius_equals_the_closed_form(rng, components):
    query, same, other = rng.normal(size=(3, 30, 7))
    matrix = np.eye(7) if components is None else components.T @ components
    numerator = brute(query, other, components).diagonal() - brute(query, same, components).diagonal()
    expected = numerator / (2 * np.linalg.norm((same - other) @ matrix, axis=1))
    found = cm.triplet_radius(query, same, other, as_argument(components))
    assert (found < 0).any()
    np.testing.assert_allclose(found, expected.astype(float), rtol=1e-10)


def test_triplet_perturbation_has_that_norm_and_reaches_the_bisector(rng, components):
    query, same, other = rng.normal(size=(3, 30, 7))
    metric = as_argument(components)
    radii, steps = cm.triplet_radius(query, same, other, metric, return_perturbation=True)
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), np.maximum(radii, 0), rtol=1e-10)
    at_bisector = cm.triplet_radius(query + steps, same, other, metric)
    np.testing.assert_allclose(at_bisector[radii > 0], 0, atol=1e-10)


def test_single_rows_are_repeated(rng):
    query, same, other = rng.normal(size=(5, 3)), rng.normal(size=(1, 3)), rng.normal(size=(1, 3))
    found = cm.triplet_radius(query, same, other)
    full = cm.triplet_radius(query, np.repeat(same, 5, axis=0), np.repeat(other, 5, axis=0))
    np.testing.assert_array_equal(found, full)
    with pytest.raises(InputError, match="X_same has 2 rows, but 1 or 5 are expected"):
        cm.triplet_radius(query, np.ones((2, 3)), other)


def test_coincident_triplet_has_radius_zero():
    found = cm.triplet_radius([[1.0, 2.0]], [[3.0, 4.0]], [[3.0, 4.0]])
    np.testing.assert_array_equal(found, [0.0])


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (40, 7), (30, 1100), (5000, 3)])
def test_principal_axes_are_orthonormal_and_lead_with_the_variance(rng, shape):
    rows = rng.normal(size=shape) * np.linspace(1, 3, shape[1])
    axes = principal_axes(rows, None)
    np.testing.assert_allclose(axes @ axes.T, np.eye(shape[1]), atol=1e-9)
    variances = ((rows - rows.mean(axis=0)) @ axes.T).var(axis=0)
    assert variances[0] >= 0.99 * variances.max()


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e150])
def test_principal_axes_do_not_depend_on_the_scale(rng, scale):
    factor = 2.0 ** np.floor(np.log2(scale))
    rows = rng.uniform(-1, 1, size=(50, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = principal_axes(rows * factor, None)
    np.testing.assert_array_equal(found, principal_axes(rows, None))


def test_principal_axes_of_constant_rows_are_finite():
    assert np.isfinite(principal_axes(np.full((4, 3), 1e150), None)).all()
    assert np.isfinite(principal_axes(np.zeros((4, 1100)), None)).all()


def test_principal_axes_of_very_many_dimensions_are_left_to_the_core(rng):
    assert principal_axes(rng.normal(size=(2, 8193)), None) is None
