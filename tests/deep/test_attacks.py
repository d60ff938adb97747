"""Projected gradients: where they may go, and where they must arrive."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs PyTorch: the extra torch")

from certimetric.deep import PGD, embed
from certimetric.exceptions import InputError

pytestmark = pytest.mark.torch


def images_of(seed, dtype=torch.float32):
    rng = np.random.default_rng(seed)
    images = rng.random((5, 2, 4, 3))
    # Black, white and nearly so.
    images[rng.random(images.shape) < 0.2] = 0
    images[rng.random(images.shape) < 0.2] = 1
    images[rng.random(images.shape) < 0.1] = 1 - 2.0**-24
    return torch.from_numpy(images).to(dtype)


@given(
    seed=st.integers(0, 10_000),
    eps=st.sampled_from([0.0, 1e-9, 1e-6, 0.01, 8 / 255, 77 / 255, 0.9, 3.0, 1e10]),
    norm=st.sampled_from(["linf", "l2"]),
    steps=st.integers(1, 4),
    random_start=st.booleans(),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
def test_no_image_leaves_the_ball_or_the_range_not_by_rounding_either(
    seed, eps, norm, steps, random_start, dtype
):
    images = images_of(seed, dtype)
    direction = torch.from_numpy(np.random.default_rng(seed).normal(size=images.shape)).to(dtype)
    attack = PGD(eps, step=None if eps == 0 else eps, steps=steps, norm=norm, random_start=random_start)
    generator = torch.Generator().manual_seed(seed)
    moved = attack(lambda x: (direction * x).flatten(1).sum(dim=1), images, generator)
    pairs = zip(moved.double().flatten(1).tolist(), images.double().flatten(1).tolist(), strict=True)
    for after, before in pairs:
        away = [abs(Fraction(a) - Fraction(b)) for a, b in zip(after, before, strict=True)]
        length = max(away) if norm == "linf" else sum(a * a for a in away)
        assert length <= (Fraction(eps) if norm == "linf" else Fraction(eps) ** 2)
    assert moved.min() >= 0
    assert moved.max() <= 1


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
@pytest.mark.parametrize("steps", [1, 7])
def test_a_linear_objective_gains_eps_times_the_dual_norm(norm, dual, steps):
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.uniform(0.4, 0.6, (3, 1, 5, 5)))
    weights = torch.from_numpy(rng.normal(size=(3, 1, 5, 5)))
    attack = PGD(0.1, steps=steps, norm=norm)
    moved = attack(lambda x: (weights * x).flatten(1).sum(dim=1), images)
    gain = (weights * (moved - images)).flatten(1).sum(dim=1)
    np.testing.assert_allclose(
        gain, 0.1 * torch.linalg.vector_norm(weights.flatten(1), dual, dim=1), rtol=1e-9
    )


def test_where_the_gradient_is_zero_nothing_moves():
    images = images_of(1)
    for norm in ("linf", "l2"):
        assert torch.equal(
            PGD(0.3, steps=3, norm=norm)(lambda x: 0 * x.flatten(1).sum(dim=1), images), images
        )


def test_where_the_gradient_is_not_a_number_nothing_moves():
    images = torch.full((1, 1, 2, 2), 0.5)
    for norm in ("linf", "l2"):
        moved = PGD(0.1, steps=2, norm=norm)(lambda x: (x - 0.5).square().sum(dim=(1, 2, 3)).sqrt(), images)
        assert torch.equal(moved, images)


def test_gradients_too_small_for_their_squares_still_give_a_direction():
    images = torch.full((1, 1, 2, 2), 0.5)
    moved = PGD(0.1, steps=1, norm="l2")(lambda x: 1e-30 * x[:, 0, 0, 0], images)
    assert moved[0, 0, 0, 0] > 0.599


def test_a_larger_ball_or_more_steps_reach_as_far(network, small):
    images, _ = small
    targets = embed(network, images).detach().roll(1, dims=0)

    def reached(attack):
        with torch.no_grad():
            return float((embed(network, attack(objective, images)) - targets).norm(dim=1).mean())

    def objective(x):
        return -(embed(network, x) - targets).norm(dim=1)

    found = [reached(PGD(eps, steps=10)) for eps in (0.0, 0.02, 0.05, 0.1, 0.3)]
    assert found == sorted(found, reverse=True)
    assert reached(PGD(0.1, step=0.01, steps=20)) <= reached(PGD(0.1, step=0.01, steps=5)) + 1e-3


def test_parameters_get_no_gradient_and_starts_come_from_the_generator(network, small):
    images, _ = small
    attack = PGD(0.1, step=0.02, steps=2, random_start=True)

    def objective(x):
        return network(x).sum(dim=1)

    first = attack(objective, images, torch.Generator().manual_seed(1))
    again = attack(objective, images, torch.Generator().manual_seed(1))
    other = attack(objective, images, torch.Generator().manual_seed(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not first.requires_grad
    assert all(value.grad is None for value in network.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"eps": -1.0}, "eps must be 0 or more, and finite, got -1.0"),
        ({"eps": float("nan")}, "eps must be 0 or more"),
        ({"eps": 0.1, "step": 0.0}, "step must be positive"),
        ({"eps": 0.1, "steps": 0}, "steps must be an integer, 1 or more, got 0"),
        ({"eps": 0.1, "norm": "l1"}, "norm must be 'linf' or 'l2', got 'l1'"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        PGD(**arguments)
