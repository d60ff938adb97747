"""The perturbation loss: its value is that of the triplets' radii, its gradients are gradients."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import certimetric as cm
from certimetric.exceptions import InputError, InputTypeError
from certimetric.learning import ARML, PerturbationLoss, perturbation_loss

seeds = st.integers(0, 2**32 - 1)
# Each example takes some calls of the core.
fewer = settings(max_examples=settings().max_examples // 3)


def draw(seed, d, p=None, count=9):
    rng = np.random.default_rng(seed)
    triplets = np.array([rng.choice(12, 3, replace=False) for _ in range(count)])
    return rng.normal(size=(p or d, d)), rng.normal(size=(12, d)), triplets


def by_radii(components, rows, triplets, tau):
    """The definition, from the library's closed form of a radius."""
    radii = cm.triplet_radius(*rows[triplets.T], metric=cm.Mahalanobis.from_components(components))
    return np.mean(np.where(radii >= 0, np.maximum(tau**2 - radii**2, 0), tau**2))


@fewer
@given(seeds, st.integers(1, 5), st.integers(1, 6), st.floats(0.01, 5))
def test_value_is_that_of_the_radii(seed, d, p, tau):
    components, rows, triplets = draw(seed, d, p)
    value, _ = PerturbationLoss(tau).with_components(components, rows, triplets)
    assert value == pytest.approx(by_radii(components, rows, triplets, tau), rel=1e-9, abs=1e-12)


def away_from_kinks(components, rows, triplets, tau):
    radii = cm.triplet_radius(*rows[triplets.T], metric=cm.Mahalanobis.from_components(components))
    return np.abs(radii).min() > 1e-3 and np.abs(radii - tau).min() > 1e-3 and np.abs(radii).max() < 10


@fewer
@given(seeds, st.integers(1, 5), st.floats(0.3, 3))
def test_gradient_of_the_matrix_is_that_of_finite_differences(seed, d, tau):
    components, rows, triplets = draw(seed, d)
    assume(away_from_kinks(components, rows, triplets, tau))
    loss, matrix = PerturbationLoss(tau), components.T @ components + np.eye(d)
    _, gradient = loss(matrix, rows, triplets)
    direction = np.random.default_rng(seed).normal(size=(d, d))
    direction += direction.T
    step = 1e-6
    above, below = (loss(matrix + s * direction, rows, triplets)[0] for s in (step, -step))
    assert (above - below) / (2 * step) == pytest.approx(np.sum(gradient * direction), rel=1e-4, abs=1e-4)
    np.testing.assert_array_equal(gradient, gradient.T)


@fewer
@given(seeds, st.integers(1, 5), st.integers(1, 5), st.floats(0.3, 3))
def test_gradient_of_components_is_that_of_finite_differences(seed, d, p, tau):
    components, rows, triplets = draw(seed, d, p)
    assume(away_from_kinks(components, rows, triplets, tau))
    # Metrics in which a pair nearly coincides have large second derivatives.
    assume(np.linalg.cond(components @ components.T) < 1e3)
    loss = PerturbationLoss(tau)
    _, gradient = loss.with_components(components, rows, triplets)
    direction = np.random.default_rng(seed).normal(size=(p, d))
    above, below = (
        loss.with_components(components + s * direction, rows, triplets)[0] for s in (1e-6, -1e-6)
    )
    assert (above - below) / 2e-6 == pytest.approx(np.sum(gradient * direction), rel=1e-3, abs=1e-3)


@fewer
@given(seeds, st.integers(1, 5))
def test_gradient_of_an_active_term_is_the_published_one(seed, d):
    components, rows, triplets = draw(seed, d, count=1)
    matrix = components.T @ components + np.eye(d)
    i, j, k = rows[triplets[0]]
    ij, ik, jk = i - j, i - k, j - k
    gap, normal = ik @ matrix @ ik - ij @ matrix @ ij, matrix @ jk
    assume(gap > 1e-3)
    a = gap / (normal @ normal)
    expected = a**2 / 4 * (np.outer(normal, jk) + np.outer(jk, normal))
    expected += a / 2 * (np.outer(ij, ij) - np.outer(ik, ik))
    _, gradient = PerturbationLoss(100.0)(matrix, rows, triplets)
    np.testing.assert_allclose(gradient, expected, rtol=1e-7, atol=1e-12 * (1 + a**2))


@fewer
@given(seeds, st.integers(1, 5), st.floats(1e-3, 1e3))
def test_value_does_not_depend_on_the_scale_of_the_metric(seed, d, factor):
    components, rows, triplets = draw(seed, d)
    loss = PerturbationLoss(0.7)
    value, gradient = loss.with_components(components, rows, triplets)
    again, scaled = loss.with_components(factor * components, rows, triplets)
    assert again == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(factor * scaled, gradient, rtol=1e-6, atol=1e-9 * (1 + np.abs(gradient).max()))


@fewer
@given(seeds, st.integers(1, 5))
def test_value_does_not_depend_on_the_place_of_the_rows(seed, d):
    components, rows, triplets = draw(seed, d)
    there = rows + np.random.default_rng(seed).integers(-50, 50, size=d)
    loss = PerturbationLoss(0.7)
    value, gradient = loss.with_components(components, rows, triplets)
    again, moved = loss.with_components(components, there, triplets)
    assert again == pytest.approx(value, rel=1e-7)
    np.testing.assert_allclose(moved, gradient, atol=1e-7 * (1 + np.abs(gradient).max()))


def test_a_triplet_on_the_wrong_side_costs_the_whole_and_has_no_gradient():
    value, gradient = PerturbationLoss(0.5)(np.eye(1), [[0.0], [3.0], [1.0]], [[0, 1, 2]])
    assert value == 0.25
    assert gradient == 0


@pytest.mark.parametrize("components", [np.eye(2), [[1.0, 0.0]]])
def test_rows_that_coincide_in_the_metric_have_radius_zero(components):
    rows = [[0.0, 0.0], [1.0, 2.0], [1.0, 2.0 if len(components) == 2 else -7.0]]
    value, gradient = PerturbationLoss(0.5).with_components(components, rows, [[0, 1, 2]])
    assert value == 0.25
    np.testing.assert_array_equal(gradient, np.zeros_like(components))


@pytest.mark.parametrize("n_jobs", [2, 5])
def test_threads_change_no_bit(n_jobs):
    components, rows, _ = draw(1, 4)
    triplets = np.random.default_rng(0).integers(0, 12, size=(20_000, 3))
    loss = PerturbationLoss(1.0)
    one, many = (loss.with_components(components, rows, triplets, n_jobs=jobs) for jobs in (1, n_jobs))
    assert one[0] == many[0]
    np.testing.assert_array_equal(one[1], many[1])


@pytest.mark.parametrize(
    ("triplets", "message"),
    [
        ([[0, 1]], r"must have shape \(n_triplets, 3\)"),
        (np.empty((0, 3), dtype=int), "with one at least"),
        ([[0, 1, 3]], "from 0 to 2; got 0 to 3"),
        ([[-1, 1, 2]], "got -1 to 2"),
        ([[0.0, 1.0, 2.0]], "must be integers"),
    ],
)
def test_triplets_that_are_none_are_refused(triplets, message):
    with pytest.raises((InputError, InputTypeError), match=message):
        PerturbationLoss(1.0)(np.eye(2), np.zeros((3, 2)), triplets)


@pytest.mark.parametrize("radius", [0, -1.0, np.nan, np.inf, None, "1", True])
def test_a_radius_that_is_none_is_refused(radius):
    with pytest.raises((InputError, InputTypeError), match="radius must be"):
        PerturbationLoss(radius)


def test_learners_of_triplets_take_it_as_their_loss():
    rng = np.random.default_rng(3)
    labels = np.arange(60) % 2
    rows = rng.normal(size=(60, 3)) + 2 * labels[:, None] * [1, 0, 0]
    history = ARML(loss="perturbation", hinge=2.0, max_iter=60, learning_rate=0.05, random_state=0)
    losses = history.fit(rows, labels).history_["loss"]
    assert losses[-10:].mean() < losses[:10].mean()


@pytest.mark.torch
class TestTensors:
    """With PyTorch."""

    @pytest.fixture
    def torch(self):
        return pytest.importorskip("torch")

    @fewer
    @given(seed=seeds, d=st.integers(1, 5), p=st.integers(1, 5), tau=st.floats(0.1, 3))
    def test_gradient_agrees_with_that_of_tensors(self, seed, d, p, tau):
        torch = pytest.importorskip("torch")
        components, rows, triplets = draw(seed, d, p)
        assume(np.linalg.cond(components @ components.T) < 1e6)
        expected, gradient = PerturbationLoss(tau).with_components(components, rows, triplets)
        G = torch.tensor(components, requires_grad=True)
        loss = perturbation_loss(G, *torch.tensor(rows[triplets.T]), tau)
        loss.backward()
        assert float(loss.detach()) == pytest.approx(expected, rel=1e-9, abs=1e-12)
        np.testing.assert_allclose(G.grad, gradient, rtol=1e-6, atol=1e-8 * (1 + np.abs(gradient).max()))

    def test_gradients_reach_the_rows(self, torch):
        G, rows = torch.eye(2, dtype=torch.float64), torch.tensor([[[0.0, 0]], [[1.0, 0]], [[2.5, 1]]])
        parts = [part.double().requires_grad_() for part in rows]
        assert torch.autograd.gradcheck(lambda *parts: perturbation_loss(G, *parts, 5.0), parts)

    def test_coincident_rows_have_a_gradient_of_zero(self, torch):
        G = torch.eye(2, requires_grad=True)
        perturbation_loss(G, torch.zeros(1, 2), torch.ones(1, 2), torch.ones(1, 2), 0.5).backward()
        assert (G.grad == 0).all()
