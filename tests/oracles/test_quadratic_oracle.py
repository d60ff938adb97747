"""The library on real data against a general QP solver, and its neighbours against brute force."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import certimetric as cm
from oracles import quadratic
from oracles.rational import RationalNearestNeighbor, squared_distance
from oracles.real import BUNDLED, Split, bundled, from_file

pytest.importorskip("daqp")
pytest.importorskip("clarabel")
pytestmark = pytest.mark.oracle

Array = NDArray[np.float64]

FILES = {"satimage": 12, "pendigits": 12, "usps": 5}
"""Test points per file: the oracle needs every constraint of a class, seconds on usps under a full metric."""


def components_of(kind: str, n_features: int) -> Array | None:
    """Euclidean, a full well-conditioned G, one of rank 3, and one whose singular values span six decades."""
    rng = np.random.default_rng(5)
    if kind == "euclidean":
        return None
    if kind == "low_rank":
        return rng.normal(size=(min(3, n_features), n_features))
    g = rng.normal(size=(n_features, n_features)) / math.sqrt(n_features)
    return np.logspace(0, -6, n_features)[:, None] * g if kind == "ill_conditioned" else g


def fitted(split: Split, components: Array | None) -> Any:
    metric = "euclidean" if components is None else cm.Mahalanobis.from_components(components)
    return cm.CertifiedKNeighborsClassifier(n_neighbors=1, metric=metric).fit(split.rows, split.labels)


def assert_intervals_contain_the_oracle(
    split: Split, components: Array | None, tolerance: float = 1e-7
) -> None:
    cert = fitted(split, components).certify(split.points, return_adversarial=True)
    for k, z in enumerate(split.points):
        radius = quadratic.exact_radius(z, cert.predicted[k], split.rows, split.labels, components)
        slack = tolerance * radius + 1e-12
        assert cert.lower[k] <= radius + slack, f"point {k}: lower {cert.lower[k]}, oracle {radius}"
        assert cert.upper[k] >= radius - slack, f"point {k}: upper {cert.upper[k]}, oracle {radius}"
        floor = quadratic.triplet_floor(z, cert.predicted[k], split.rows, split.labels, components)
        assert cert.upper[k] >= floor * (1 - 1e-9)
        assert float(squared_distance(cert.adversarial[k], z)) <= cert.upper[k] ** 2 * (1 + 1e-15)


@pytest.mark.parametrize("kind", ["euclidean", "full", "low_rank"])
@pytest.mark.parametrize("name", BUNDLED)
def test_interval_contains_the_radius_of_the_quadratic_programs(name: str, kind: str) -> None:
    split = bundled(name)
    few = 8 if name == "digits" else len(split.points)
    split = replace(split, points=split.points[:few], truth=split.truth[:few])
    assert_intervals_contain_the_oracle(split, components_of(kind, split.rows.shape[1]))


@pytest.mark.data
@pytest.mark.parametrize("kind", ["euclidean", "low_rank"])
@pytest.mark.parametrize("name", FILES)
def test_interval_contains_the_radius_on_files(name: str, kind: str) -> None:
    split = from_file(name, FILES[name])
    assert_intervals_contain_the_oracle(split, components_of(kind, split.rows.shape[1]))


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["full", "ill_conditioned"])
@pytest.mark.parametrize("name", FILES)
def test_interval_contains_the_radius_on_files_under_a_full_metric(name: str, kind: str) -> None:
    split = from_file(name, FILES[name])
    assert_intervals_contain_the_oracle(split, components_of(kind, split.rows.shape[1]), tolerance=1e-5)


@pytest.mark.parametrize("kind", ["euclidean", "full", "low_rank"])
@pytest.mark.parametrize("name", BUNDLED)
def test_real_data_is_certified_to_nine_digits(name: str, kind: str) -> None:
    split = bundled(name)
    cert = fitted(split, components_of(kind, split.rows.shape[1])).certify(split.points, split.truth)
    right = cert.predicted == split.truth
    assert right.sum() > 5
    assert set(cert.status[right]) == {"exact"}
    assert np.all(cert.upper[right] - cert.lower[right] <= 1e-9 * cert.upper[right])
    assert set(cert.status[~right]) <= {"misclassified"}
    assert not cert.upper[~right].any()


@pytest.mark.parametrize("kind", ["euclidean", "low_rank"])
@pytest.mark.parametrize("name", BUNDLED)
def test_neighbors_equal_brute_force_settled_exactly(name: str, kind: str) -> None:
    """Extended precision proposes, rationals decide: real data is full of near ties in decimals."""
    split, k = bundled(name), 7
    components = components_of(kind, split.rows.shape[1])
    metric = "euclidean" if components is None else cm.Mahalanobis.from_components(components)
    distances, indices = cm.kneighbors(split.points, split.rows, k, metric=metric)
    squared, proposed = quadratic.extended_neighbors(split.points, split.rows, k + 10, components)
    np.testing.assert_allclose(distances, np.sqrt(squared[:, :k]).astype(float), rtol=1e-12, atol=1e-300)
    for point, candidates, found in zip(split.points, np.sort(proposed, axis=1), indices, strict=True):
        exact = RationalNearestNeighbor(
            split.rows[candidates].tolist(),
            split.labels[candidates].tolist(),
            None if components is None else components.tolist(),
        )
        assert candidates[exact.order(point.tolist())[:k]].tolist() == found.tolist()
