"""Degenerate input is ordinary input: a valid interval, no NaN, no exception."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracles.promises import answers, broken_promises, oracle_of, unsound, vote_oracle_of
from oracles.rational_knn import Rule
from oracles.tiny import TinyCase, tiny_cases
from properties.data import Problem, make_problem, problems

SCALES = [1e-300, 1e-200, 1e-150, 1e-100, 1e-30, 1e30, 1e75, 1e100, 1e140, 1e146]
"""Times numbers up to 1,000; beyond 1e150 the library refuses a number."""


def scaled(case: TinyCase, factor: float, of_components: float = 1.0) -> TinyCase:
    def times(rows: list[list[float]], by: float) -> list[list[float]]:
        return [[value * by for value in row] for row in rows]

    components = None if case.components is None else times(case.components, of_components)
    # A power of two keeps a matrix semidefinite.
    matrix = None if case.matrix is None else times(case.matrix, 2.0 ** round(np.log2(of_components)))
    return TinyCase(times(case.rows, factor), case.labels, components, times(case.points, factor), matrix)


@given(tiny_cases(matrices=True), st.sampled_from(SCALES))
def test_interval_holds_at_extreme_scales(case: TinyCase, factor: float) -> None:
    extreme = scaled(case, factor)
    (answer,) = answers(extreme)
    assert not list(unsound(oracle_of(extreme), extreme.points[0], answer))


@given(
    tiny_cases(matrices=True),
    st.sampled_from(SCALES),
    st.sampled_from([1e-150, 1e-100, 1e-20, 1e20, 1e100, 1e149]),
)
def test_interval_holds_for_extreme_metrics(case: TinyCase, factor: float, of_components: float) -> None:
    if factor * of_components < 1e147:
        extreme = scaled(case, factor, of_components)
        (answer,) = answers(extreme)
        assert not list(unsound(oracle_of(extreme), extreme.points[0], answer))


@given(
    tiny_cases(matrices=True).filter(lambda case: len(case.rows) > 1),
    st.sampled_from(SCALES),
    st.sampled_from([1e-100, 1.0]),
    st.integers(2, 7),
    st.sampled_from(["plurality", "majority"]),
)
def test_interval_of_a_vote_holds_at_extreme_scales(
    case: TinyCase, factor: float, of_components: float, k: int, rule: Rule
) -> None:
    extreme, k = scaled(case, factor, of_components), min(k, len(case.rows))
    (answer,) = answers(extreme, None, k, rule=rule)
    assert not list(unsound(vote_oracle_of(extreme, k, rule), extreme.points[0], answer))


@given(tiny_cases(matrices=True), tiny_cases(matrices=True), st.sampled_from(SCALES))
def test_interval_holds_when_rows_differ_by_hundreds_of_decades(
    case: TinyCase, other: TinyCase, factor: float
) -> None:
    """Some rows at scale 1, some at an extreme one."""
    if len(case.points[0]) == len(other.points[0]):
        far = scaled(other, factor)
        mixed = replace(case, rows=case.rows[:4] + far.rows[:4], labels=case.labels[:4] + far.labels[:4])
        (answer,) = answers(mixed)
        assert not list(unsound(oracle_of(mixed), mixed.points[0], answer))


@given(st.lists(st.integers(-9, 9), min_size=4, max_size=8), st.integers(0, 2**32 - 1))
def test_interval_holds_for_subnormal_numbers(steps: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = [[step * 5e-324] for step in steps]
    case = TinyCase(values[1:], rng.integers(0, 2, size=len(values) - 1).tolist(), None, values[:1])
    (answer,) = answers(case)
    assert not list(unsound(oracle_of(case), case.points[0], answer))


@given(tiny_cases(matrices=True), st.integers(20, 52))
def test_interval_holds_for_nearly_tied_data_far_from_the_origin(case: TinyCase, exponent: int) -> None:
    """The shift leaves few bits, so ties and near ties abound; the oracle sees the stored numbers."""
    offset = 2.0**exponent
    shifted = replace(
        case,
        rows=[[value + offset for value in row] for row in case.rows],
        points=[[value + offset for value in row] for row in case.points],
    )
    (answer,) = answers(shifted)
    assert not list(broken_promises(oracle_of(shifted), shifted.points[0], answer))


@pytest.mark.parametrize("factor", SCALES)
@pytest.mark.parametrize("metric", ["euclidean", "full", "low_rank"])
def test_extreme_scales_with_hundreds_of_rows_give_valid_tight_intervals(factor: float, metric: str) -> None:
    plain = make_problem(3, 300, 8, "blobs", metric, n_points=20)
    problem = Problem(plain.rows * factor, plain.labels, plain.points * factor, plain.components)
    expected, cert = plain.certify(), problem.certify(return_adversarial=True)
    assert not np.isnan(cert.lower).any()
    assert not np.isnan(cert.upper).any()
    assert not np.isnan(cert.adversarial).any()
    assert np.all(cert.lower <= cert.upper)
    assert np.all(cert.lower <= expected.upper * factor * (1 + 1e-9))
    assert np.all(cert.upper >= expected.lower * factor * (1 - 1e-9))


@given(problems(max_rows=200, max_features=10))
def test_test_points_equal_to_training_rows_are_certified(problem: Problem) -> None:
    own = Problem(problem.rows, problem.labels, problem.rows, problem.components)
    cert = own.certify(return_adversarial=True)
    assert np.all(cert.lower <= cert.upper)
    distances, _ = own.fit().kneighbors(problem.rows, n_neighbors=1)
    assert not distances.any()


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_one_training_row_has_no_rival(seed: int, n_features: int) -> None:
    rng = np.random.default_rng(seed)
    problem = Problem(rng.normal(size=(1, n_features)), np.array([7]), rng.normal(size=(3, n_features)))
    cert = problem.certify()
    assert cert.predicted.tolist() == [7, 7, 7]
    assert np.all(np.isinf(cert.lower))
    assert np.all(np.isinf(cert.upper))


@given(problems(max_features=1, max_rows=300, metrics=["euclidean"]))
def test_on_the_line_the_radius_is_the_distance_to_the_nearest_wall(problem: Problem) -> None:
    """Walls are midpoints of neighbouring values with different labels (values made distinct)."""
    values, first = np.unique(problem.rows[:, 0], return_index=True)
    labels = problem.labels[first]
    walls = (values[1:] + values[:-1])[labels[1:] != labels[:-1]] / 2
    distinct = Problem(values[:, None], labels, problem.points)
    cert = distinct.certify()
    nearest = np.abs(problem.points - walls[None, :]).min(axis=1, initial=np.inf)
    slack = 1e-15 * np.abs(problem.points[:, 0])
    finite = np.isfinite(nearest)
    assert np.array_equal(finite, np.isfinite(cert.upper))
    assert np.all((cert.lower <= nearest * (1 + 1e-14) + slack)[finite])
    assert np.all((cert.upper >= nearest * (1 - 1e-14) - slack)[finite])


@given(problems(max_rows=200, max_features=8), st.floats(-1e6, 1e6), st.integers(1, 3))
def test_constant_features_do_not_change_the_radius(problem: Problem, value: float, width: int) -> None:
    """A perturbation of a feature in which all rows agree moves all squared distances alike (Euclidean)."""
    plain = Problem(problem.rows, problem.labels, problem.points)

    def widened(rows: np.ndarray) -> np.ndarray:
        return np.hstack([rows, np.full((len(rows), width), value)])

    wide = Problem(widened(plain.rows), plain.labels, widened(plain.points))
    here, there = plain.certify(), wide.certify()
    assert here.predicted.tolist() == there.predicted.tolist()
    assert np.all(here.lower <= there.upper)
    assert np.all(there.lower <= here.upper)


@pytest.mark.parametrize("metric", ["euclidean", "full", "low_rank", "tall", "blind"])
def test_all_rows_equal_under_two_labels_belong_to_the_first(metric: str) -> None:
    problem = make_problem(0, 40, 4, "blobs", metric)
    rows = np.repeat(problem.rows[:1], 40, axis=0)
    labels = np.arange(40) % 3
    cert = Problem(rows, labels, problem.points, problem.components).certify()
    assert cert.predicted.tolist() == [0] * len(problem.points)
    assert np.all(np.isinf(cert.lower))
    assert np.all(np.isinf(cert.upper))
