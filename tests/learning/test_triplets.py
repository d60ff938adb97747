"""Near rows and the objective of triplets, by both backends."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from certimetric import triplet_radius
from certimetric.learning._triplets import LOSSES, make_backend

BACKENDS = ["native", pytest.param("torch", marks=pytest.mark.torch)]


@pytest.fixture(autouse=True)
def _torch_where_it_is_asked_for(request):
    if request.node.get_closest_marker("torch"):
        pytest.importorskip("torch")


def backend(name, rows, codes, k=3, n_jobs=1):
    return make_backend(name, rows, np.asarray(codes), k, n_jobs, "cpu", "float64")


def data(seed, n=40, d=3, classes=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.integers(classes, size=n), rng.normal(size=(d, d)), rng


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("seed", range(3))
def test_neighbours_are_the_nearest_of_both_kinds(name, seed):
    rows, codes, G, _ = data(seed)
    # Two rows of a class of their own: one neighbour of the same kind, and 3 are asked for.
    codes[:2] = 3
    found = backend(name, rows, codes).neighbors(G)
    distances = np.linalg.norm((rows[:, None] - rows[None]) @ G.T, axis=2)
    np.fill_diagonal(distances, np.inf)
    same = codes[:, None] == codes[None]
    for near, allowed in zip(found, (same, ~same), strict=True):
        hidden = np.where(allowed, distances, np.inf)
        order = np.argsort(hidden, axis=1)[:, :3]
        expected = np.where(np.take_along_axis(hidden, order, axis=1) < np.inf, order, -1)
        np.testing.assert_array_equal(near, expected)


@pytest.mark.parametrize("name", BACKENDS)
def test_margins_are_the_signed_radii_of_triplets(name):
    rows, codes, G, rng = data(0)
    triplets = tuple(rng.integers(len(rows), size=(3, 50)))
    _, _, margins = backend(name, rows, codes).objective(G, triplets, ("negative", 0.0))
    z, same, other = (rows[index] for index in triplets)
    expected = triplet_radius(z, same, other, metric=G.T @ G)
    apart = triplets[1] != triplets[2]
    np.testing.assert_allclose(margins[apart], expected[apart], rtol=1e-9, atol=1e-12)
    assert np.isnan(margins[~apart]).all()


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("components", [1, 2, 4])
def test_gradient_is_that_of_finite_differences(name, loss, components):
    rng = np.random.default_rng(components)
    rows, codes, G = rng.normal(size=(30, 4)), rng.integers(2, size=30), rng.normal(size=(components, 4))
    triplets = tuple(rng.permutation(30)[:24].reshape(3, 8))
    made = backend(name, rows, codes)

    def at(G):
        return made.objective(G, triplets, (loss, 0.2))

    value, gradient, margins = at(G)
    counted = {"negative": -margins, "hinge": np.maximum(0, 0.2 - margins), "exponential": np.exp(-margins)}
    counted["perturbation"] = 0.2**2 - np.clip(margins, 0, 0.2) ** 2
    np.testing.assert_allclose(value, counted.get(loss, np.logaddexp(0, -margins)).mean())
    for place in np.ndindex(G.shape):
        step = np.zeros_like(G)
        step[place] = 1e-6
        slope = (at(G + step)[0] - at(G - step)[0]) / 2e-6
        np.testing.assert_allclose(gradient[place], slope, rtol=1e-5, atol=1e-7)


@pytest.mark.torch
@pytest.mark.parametrize("loss", LOSSES)
def test_both_backends_agree(loss):
    rows, codes, G, rng = data(4, n=200, d=6)
    triplets = tuple(rng.integers(len(rows), size=(3, 500)))
    native, torch = (
        backend(name, rows, codes).objective(G, triplets, (loss, 0.5)) for name in ("native", "torch")
    )
    np.testing.assert_allclose(native[0], torch[0], rtol=1e-12)
    np.testing.assert_allclose(native[1], torch[1], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(native[2], torch[2], rtol=1e-9, atol=1e-12)


GRID = st.integers(-16, 16).map(lambda x: x / 4)


@given(
    rows=arrays(float, (9, 2), elements=GRID),
    G=arrays(float, (2, 2), elements=GRID),
    scale=st.integers(-300, 300),
)
def test_the_scale_of_the_metric_changes_nothing_but_the_gradients_own(rows, G, scale):
    made, triplets = backend("native", rows, [0] * 9), tuple(np.arange(9).reshape(3, 3))
    loss, gradient, margins = made.objective(G, triplets, ("negative", 0.0))
    other_loss, other_gradient, other_margins = made.objective(2.0**scale * G, triplets, ("negative", 0.0))
    np.testing.assert_array_equal(margins, other_margins)
    assert loss == other_loss
    np.testing.assert_array_equal(gradient, 2.0**scale * other_gradient)
    assert np.isfinite(gradient).all()
    # Along G itself nothing changes, so the gradient is at right angles to it.
    assert abs((gradient * G).sum()) <= 1e-9 * np.linalg.norm(gradient) * np.linalg.norm(G) + 1e-12


def test_margins_move_with_rotations_of_the_data():
    rows, codes, G, rng = data(5)
    Q = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    triplets = tuple(rng.permutation(39).reshape(3, 13))
    plain = backend("native", rows, codes).objective(G, triplets, ("logistic", 0.0))
    turned = backend("native", np.ascontiguousarray(rows @ Q.T), codes).objective(
        np.ascontiguousarray(G @ Q.T), triplets, ("logistic", 0.0)
    )
    np.testing.assert_allclose(plain[2], turned[2], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(plain[1] @ Q.T, turned[1], rtol=1e-9, atol=1e-12)
