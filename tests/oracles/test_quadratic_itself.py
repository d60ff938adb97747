"""The quadratic-programming oracle against the rational one, and its solvers against each other."""

import numpy as np
import pytest

from oracles import quadratic
from oracles.rational import RationalNearestNeighbor

pytest.importorskip("daqp")
pytest.importorskip("clarabel")
pytestmark = pytest.mark.oracle


def rational(rows: np.ndarray, labels: np.ndarray, components: np.ndarray | None) -> RationalNearestNeighbor:
    return RationalNearestNeighbor(
        rows.tolist(), labels.tolist(), None if components is None else components.tolist()
    )


def random_set(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    rng = np.random.default_rng(seed)
    d = int(rng.integers(1, 4))
    rows, labels = rng.normal(size=(7, d)), np.array([0, 1, 0, 1, 2, 0, 1])
    components = None if seed % 2 else rng.normal(size=(int(rng.integers(1, 4)), d))
    return rows, labels, rng.normal(size=d), components


@pytest.mark.parametrize("seed", range(60))
def test_quadratic_programs_give_the_rational_radius(seed: int) -> None:
    rows, labels, z, components = random_set(seed)
    oracle = rational(rows, labels, components)
    label = oracle.predict(z.tolist())
    exact = float(oracle.squared_radius(z.tolist())) ** 0.5
    assert quadratic.exact_radius(z, label, rows, labels, components) == pytest.approx(exact, rel=1e-8)
    assert quadratic.triplet_floor(z, label, rows, labels, components) <= exact * (1 + 1e-12)


def test_all_solvers_agree_in_many_dimensions() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        normals = rng.normal(size=(60, 12))
        normals /= np.linalg.norm(normals, axis=1)[:, None]
        offsets = normals @ rng.normal(size=12) + rng.random(60)
        first, *others = (
            solve(normals, offsets)[0] for solve in (quadratic._daqp, quadratic._clarabel, quadratic._nnls)
        )
        for other in others:
            np.testing.assert_allclose(other, first, atol=1e-8)


def test_contradictory_half_spaces_have_no_point() -> None:
    """Three normals that add up to zero, in twenty directions; a fourth half-space changes nothing."""
    for seed in range(20):
        u, v, w = np.random.default_rng(seed).normal(size=(3, 5))
        normals = np.array([u, v, -u - v, w])
        lengths = np.linalg.norm(normals, axis=1)
        offsets = np.array([-1.0, -1.0, 1.0, 1.0]) / lengths
        assert quadratic.least_norm(normals / lengths[:, None], offsets).bound == np.inf
        # Half-spaces that touch in one plane have points.
        offsets[2] *= 2
        assert quadratic.least_norm(normals / lengths[:, None], offsets).bound < np.inf


def test_extended_neighbors_equal_the_rational_order() -> None:
    for seed in range(20):
        rows, labels, z, components = random_set(seed)
        oracle = rational(rows, labels, components)
        _, order = quadratic.extended_neighbors(z[None], rows, len(rows), components)
        assert order[0].tolist() == oracle.order(z.tolist())
