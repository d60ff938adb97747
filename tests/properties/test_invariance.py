"""What must not change the radius, and what must scale it."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ortho_group

from properties.data import MATRICES, Problem, assert_same_radii, bits, problems


def moved(problem: Problem, shift: np.ndarray) -> Problem:
    return Problem(problem.rows + shift, problem.labels, problem.points + shift, problem.components)


def scaled(problem: Problem, factor: float) -> Problem:
    return Problem(problem.rows * factor, problem.labels, problem.points * factor, problem.components)


def with_components(problem: Problem, factor: float) -> Problem:
    components = np.eye(problem.rows.shape[1]) if problem.components is None else problem.components
    return Problem(problem.rows, problem.labels, problem.points, components * factor)


@given(problems(kinds=["integers"]), st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_radius_is_invariant_under_exact_translation(problem: Problem, exponent: int, seed: int) -> None:
    """Integers moved by integers: all differences stay the same numbers, wherever the origin lies."""
    shift = np.random.default_rng(seed).integers(-(2**exponent), 2**exponent + 1, size=problem.rows.shape[1])
    there = moved(problem, shift.astype(float))
    here, away = problem.certify(), there.certify()
    assert here.predicted.tolist() == away.predicted.tolist()
    # The adversarial point itself is rounded to the grid of binary64 around the new origin.
    grid = float(np.spacing(2.0**exponent + 8)) * 4
    assert np.all(here.lower <= away.upper)
    assert np.all(away.lower <= here.upper)
    finite = np.isfinite(here.upper)
    assert np.array_equal(finite, np.isfinite(away.upper))
    wide = grid * 100 * np.sqrt(problem.rows.shape[1]) + 1e-8 * here.upper[finite]
    assert np.all(np.abs(here.lower[finite] - away.lower[finite]) <= 1e-8 * here.upper[finite] + wide)


@given(problems(kinds=["integers"]), st.integers(0, 2**32 - 1))
def test_neighbors_are_invariant_under_exact_translation(problem: Problem, seed: int) -> None:
    shift = np.random.default_rng(seed).integers(-(2**30), 2**30, size=problem.rows.shape[1]).astype(float)
    k = min(5, len(problem.rows))
    distances, indices = problem.fit().kneighbors(problem.points, n_neighbors=k)
    there_distances, there_indices = (
        moved(problem, shift).fit().kneighbors(problem.points + shift, n_neighbors=k)
    )
    assert indices.tolist() == there_indices.tolist()
    np.testing.assert_allclose(there_distances, distances, rtol=1e-13, atol=1e-300)


@given(problems(metrics=["euclidean"], kinds=["blobs", "uniform", "curved"]), st.integers(0, 1000))
def test_euclidean_radius_is_invariant_under_rotation(problem: Problem, seed: int) -> None:
    d = problem.rows.shape[1]
    q = ortho_group.rvs(d, random_state=seed) if d > 1 else -np.eye(1)
    assert_same_radii(
        problem.certify(), Problem(problem.rows @ q, problem.labels, problem.points @ q).certify()
    )


@given(problems(metrics=["full", "low_rank", "tall"], kinds=["blobs", "uniform"]), st.integers(0, 1000))
def test_radius_is_invariant_under_rotation_of_the_components(problem: Problem, seed: int) -> None:
    """G and QG are the same metric: GᵀQᵀQG = GᵀG."""
    assert problem.components is not None
    p = len(problem.components)
    q = ortho_group.rvs(p, random_state=seed) if p > 1 else -np.eye(1)
    rotated = Problem(problem.rows, problem.labels, problem.points, q @ problem.components)
    assert_same_radii(problem.certify(), rotated.certify(), tolerance=1e-7)


@given(problems(), st.integers(-30, 30))
def test_radius_scales_with_the_data_bit_for_bit_for_powers_of_two(problem: Problem, exponent: int) -> None:
    factor = 2.0**exponent
    here, there = (
        problem.certify(return_adversarial=True),
        scaled(problem, factor).certify(return_adversarial=True),
    )
    assert bits(here.lower * factor) == bits(there.lower)
    assert bits(here.upper * factor) == bits(there.upper)
    assert bits(here.adversarial * factor) == bits(there.adversarial)
    assert list(here.status) == list(there.status)


@given(problems(), st.integers(-30, 30))
def test_radius_is_invariant_under_powers_of_two_in_the_metric_bit_for_bit(
    problem: Problem, exponent: int
) -> None:
    here, there = with_components(problem, 1.0).certify(), with_components(problem, 2.0**exponent).certify()
    assert bits(here.lower) == bits(there.lower)
    assert bits(here.upper) == bits(there.upper)


@given(problems(metrics=MATRICES), st.sampled_from([-200, -31, 1, 200]))
def test_radius_is_invariant_under_powers_of_four_in_a_matrix_bit_for_bit(
    problem: Problem, exponent: int
) -> None:
    assert problem.matrix is not None
    here, there = problem.certify(), replace(problem, matrix=problem.matrix * 4.0**exponent).certify()
    assert bits(here.lower) == bits(there.lower)
    assert bits(here.upper) == bits(there.upper)


@given(problems(kinds=["blobs", "uniform"]), st.floats(1e-3, 1e3))
def test_radius_is_invariant_under_scaling_of_the_metric(problem: Problem, factor: float) -> None:
    assert_same_radii(
        with_components(problem, 1.0).certify(), with_components(problem, factor).certify(), tolerance=1e-7
    )


@given(problems(kinds=["blobs", "uniform"]), st.floats(1e-3, 1e3))
def test_radius_scales_with_the_data(problem: Problem, factor: float) -> None:
    assert_same_radii(problem.certify(), scaled(problem, factor).certify(), scale=factor, tolerance=1e-7)


@given(problems(), st.permutations(["alpha", "beta", "gamma", "delta"]))
def test_radius_does_not_depend_on_the_names_of_the_classes(problem: Problem, names: list[str]) -> None:
    renamed = Problem(problem.rows, np.array(names)[problem.labels], problem.points, problem.components)
    here, there = problem.certify(), renamed.certify()
    assert np.array(names)[here.predicted].tolist() == list(there.predicted)
    assert bits(here.lower) == bits(there.lower)
    assert bits(here.upper) == bits(there.upper)
