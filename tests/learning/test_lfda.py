"""LFDA: eigenvectors of the scatters of the definition."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigh

from certimetric.exceptions import InputError, InputTypeError
from certimetric.learning import LFDA


def scatters_by_hand(rows, labels, near):
    """S_b and S_w as sums over pairs."""
    n = len(rows)
    distances = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    weights_b, weights_w = np.full((n, n), 1 / n), np.zeros((n, n))
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        inner = distances[np.ix_(own, own)]
        sigma = np.sort(inner, axis=1)[:, min(near, len(own) - 1)]
        for a, i in enumerate(own):
            for b, j in enumerate(own):
                scale = sigma[a] * sigma[b]
                affinity = np.exp(-(inner[a, b] ** 2) / scale) if scale > 0 else 0.0
                weights_w[i, j] = affinity / len(own)
                weights_b[i, j] = affinity * (1 / n - 1 / len(own))
    gaps = rows[:, None] - rows[None]
    return [np.einsum("ij,ija,ijb->ab", weights, gaps, gaps) / 2 for weights in (weights_b, weights_w)]


@settings(max_examples=settings().max_examples // 3)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 6))
def test_metric_is_that_of_the_generalised_eigenvectors(seed, d, near):
    rng = np.random.default_rng(seed)
    labels = np.arange(24) % 3
    rows = rng.normal(size=(24, d)) + labels[:, None]
    learner = LFDA(n_neighbors=near).fit(rows, labels)
    values, vectors = eigh(*scatters_by_hand(rows, labels, near))
    np.testing.assert_allclose(learner.eigenvalues_, values[::-1], rtol=1e-7, atol=1e-9)
    expected = vectors * np.maximum(values, 0) @ vectors.T
    np.testing.assert_allclose(
        learner.get_mahalanobis_matrix(), expected, rtol=1e-6, atol=1e-9 * np.abs(expected).max()
    )


@settings(max_examples=settings().max_examples // 3)
@given(st.integers(0, 2**32 - 1), st.integers(-500, 400))
def test_metric_follows_the_scale_of_the_data_exactly(seed, exponent):
    rng = np.random.default_rng(seed)
    labels = np.arange(20) % 2
    rows = rng.normal(size=(20, 3)) + labels[:, None]
    here, there = LFDA().fit(rows, labels), LFDA().fit(np.ldexp(rows, exponent), labels)
    np.testing.assert_array_equal(np.ldexp(there.components_, exponent), here.components_)


def test_metric_does_not_depend_on_how_many_rows_are_looked_at_at_a_time(blobs, monkeypatch):
    whole = LFDA().fit(*blobs)
    monkeypatch.setattr("certimetric.learning.lfda._TILE", 7)
    tiled = LFDA().fit(*blobs)
    np.testing.assert_allclose(tiled.get_mahalanobis_matrix(), whole.get_mahalanobis_matrix(), rtol=1e-9)


def test_memory_is_not_that_of_all_pairs():
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(6000, 3)), np.arange(6000) % 2
    tracemalloc.start()
    LFDA().fit(rows, labels)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Affinities of all pairs of a class are 72 MB each.
    assert most < 200e6


def test_data_too_small_for_their_components_are_refused(blobs):
    with pytest.raises(InputError, match=r"X spans .*e-31\d, too little for components"):
        LFDA().fit(blobs[0] * 1e-313, blobs[1])


def test_metric_does_not_depend_on_where_the_rows_are(blobs):
    rows, labels = blobs
    here, there = LFDA().fit(rows, labels), LFDA().fit(rows + 1000, labels)
    np.testing.assert_allclose(
        there.get_mahalanobis_matrix(), here.get_mahalanobis_matrix(), rtol=1e-6, atol=1e-8
    )


def test_leading_components_are_those_of_the_whole(blobs):
    whole, two = LFDA().fit(*blobs), LFDA(2).fit(*blobs)
    np.testing.assert_array_equal(two.components_, whole.components_[:2])
    np.testing.assert_array_equal(two.eigenvalues_, whole.eigenvalues_[:2])


def test_directions_in_which_no_rows_differ_are_left_out():
    rows = np.random.default_rng(0).normal(size=(30, 4))
    rows[:, 1], rows[:, 3] = 7.0, rows[:, 0] + rows[:, 2]
    learner = LFDA().fit(rows, np.arange(30) % 2)
    assert learner.components_.shape == (2, 4)
    np.testing.assert_allclose(learner.components_[:, 1], 0, atol=1e-12)


@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        (np.random.default_rng(0).normal(size=(6, 9)), [0, 0, 0, 1, 1, 1]),
        (np.repeat(np.random.default_rng(0).normal(size=(4, 3)), 4, axis=0), [0, 0, 0, 1] * 4),
        (np.random.default_rng(0).normal(size=(7, 2)), [0, 0, 1, 1, 1, 2, 3]),
        (np.arange(8.0)[:, None], [0, 1] * 4),
        ([[0.0, 0], [0, 0], [1, 0], [1, 0]], [0, 0, 1, 1]),
    ],
    ids=["n < d", "duplicates", "classes of one", "one feature", "no spread within classes"],
)
def test_degenerate_data_has_a_metric(rows, labels):
    learner = LFDA().fit(rows, labels)
    assert np.isfinite(learner.components_).all()
    assert np.abs(learner.components_).max() > 0


def test_rows_that_are_all_the_same_are_refused():
    with pytest.raises(InputError, match="rows that are all the same"):
        LFDA().fit(np.ones((6, 2)), [0, 0, 0, 1, 1, 1])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 5}, "n_components must be at most n_features = 4"),
        ({"n_components": 0}, "n_components must be at least 1"),
        ({"n_neighbors": 0}, "n_neighbors must be at least 1"),
    ],
)
def test_wrong_parameters_are_refused_by_name(blobs, parameters, message):
    with pytest.raises((InputError, InputTypeError), match=message):
        LFDA(**parameters).fit(*blobs)
