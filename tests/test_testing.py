"""The generators: each kind is what its name says, and all of it is input that the library accepts."""

import sys
from itertools import product

import numpy as np
import pytest
from hypothesis import given

import certimetric as cm
from certimetric import testing
from certimetric.exceptions import InputError, InputTypeError, MissingDependencyError
from certimetric.testing import KINDS, METRICS, SCALES, Problem, make_problem, problems, random_problem
from properties.data import bits


def arrays_of(problem: Problem) -> list[np.ndarray]:
    arrays = [problem.rows, problem.labels.astype(float), problem.points, problem.components, problem.matrix]
    return [array for array in arrays if array is not None]


@given(problems())
def test_every_problem_of_the_strategy_is_accepted(problem: Problem) -> None:
    clf = cm.CertifiedKNeighborsClassifier(metric=problem.metric).fit(problem.rows, problem.labels)
    cert = clf.certify(problem.points)
    assert cert.lower.shape == (len(problem.points),) == (6,)
    assert np.all(cert.lower <= cert.upper)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_metric_and_scale_is_accepted(kind: str) -> None:
    for seed, (metric, scale) in enumerate(product(METRICS, SCALES[KINDS.index(kind) % 3 :: 3])):
        problem = make_problem(seed, 5, 3, kind, metric, 2, scale)
        clf = cm.CertifiedKNeighborsClassifier(metric=problem.metric).fit(problem.rows, problem.labels)
        assert len(clf.certify(problem.points)) == 2


@pytest.mark.parametrize("seed", range(40))
def test_a_seed_makes_one_problem_and_its_snippet_the_same_bits(seed: int) -> None:
    problem, again = random_problem(seed), random_problem(seed)
    names: dict = {"np": np}
    exec(problem.snippet(), names)
    shown = Problem(**{name: names[name] for name in ("rows", "labels", "points", "components", "matrix")})
    for other in (again, shown):
        assert list(map(bits, arrays_of(other))) == list(map(bits, arrays_of(problem)))


def test_seeds_make_all_kinds_of_classes_metrics_and_sizes() -> None:
    drawn = [random_problem(seed) for seed in range(300)]
    assert {len(problem.rows) for problem in drawn} == set(range(1, 9))
    assert {problem.rows.shape[1] for problem in drawn} == {1, 2, 3}
    given = {(problem.components is None, problem.matrix is None) for problem in drawn}
    assert given == {(True, True), (False, True), (True, False)}
    assert {len(set(problem.labels.tolist())) for problem in drawn} >= {1, 2, 3, 4}


def rows_of(kind: str, seed: int, n_rows: int = 12) -> np.ndarray:
    return make_problem(seed, n_rows, 3, kind).rows


@pytest.mark.parametrize("seed", range(5))
class TestKinds:
    def test_duplicates_come_back(self, seed: int) -> None:
        assert len(np.unique(rows_of("duplicates", seed), axis=0)) <= 6

    def test_some_duplicates_are_in_two_classes(self, seed: int) -> None:
        problem = make_problem(seed, 30, 2, "duplicates")
        labelled = np.column_stack([problem.rows, problem.labels])
        assert len(np.unique(labelled, axis=0)) > len(np.unique(problem.rows, axis=0))

    def test_cospherical_rows_are_equally_far_from_a_place_exactly(self, seed: int) -> None:
        problem = make_problem(seed, 12, 3, "cospherical", n_points=60)
        squares = ((problem.rows[:, None] - problem.points[None]) ** 2).sum(axis=2)
        assert np.any(squares.min(axis=0) == squares.max(axis=0))

    def test_near_ties_differ_in_their_last_digits(self, seed: int) -> None:
        problem = make_problem(seed, 12, 3, "near_ties", n_points=60)
        squares = ((problem.rows[:, None] - problem.points[None]) ** 2).sum(axis=2)
        spread = np.ptp(squares, axis=0) / squares.max(axis=0)
        assert 0 < spread.min() < 1e-14

    def test_collinear_rows_have_rank_one(self, seed: int) -> None:
        rows = rows_of("collinear", seed)
        assert np.linalg.matrix_rank(rows - rows[0], tol=1e-10) <= 1

    def test_clusters_have_rows_that_nearly_coincide(self, seed: int) -> None:
        distances = cm.pairwise_distances(rows_of("clusters", seed))
        assert np.any((distances > 0) & (distances < 1e-11))

    def test_every_row_of_the_lonely_is_a_class(self, seed: int) -> None:
        assert len(set(make_problem(seed, 12, 3, "lonely").labels.tolist())) == 12

    def test_ill_metrics_have_a_condition_of_1e16(self, seed: int) -> None:
        values = np.linalg.svd(make_problem(seed, metric="ill", n_features=3).components)[1]
        assert values[0] / values[-1] > 1e15

    def test_nearly_singular_metrics_are_singular_but_for_last_digits(self, seed: int) -> None:
        g = make_problem(seed, metric="nearly_singular", n_features=3).components
        assert 0 < np.ptp(g, axis=0).max() < 1e-15

    def test_ill_matrices_have_a_condition_of_1e12(self, seed: int) -> None:
        values = np.linalg.eigvalsh(make_problem(seed, metric="matrix_ill", n_features=3).matrix)
        assert 1e11 < values[-1] / values[0] < 1e13

    @pytest.mark.parametrize("metric", [metric for metric in METRICS if metric.startswith("matrix")])
    def test_matrices_are_symmetric(self, seed: int, metric: str) -> None:
        matrix = make_problem(seed, metric=metric, n_features=3).matrix
        np.testing.assert_array_equal(matrix, matrix.T)
        assert matrix.any()

    def test_a_huge_scale_goes_to_the_end_of_the_range(self, seed: int) -> None:
        problem = make_problem(seed, scale=1e300)
        assert 1e149 < max(np.abs(problem.rows).max(), np.abs(problem.points).max()) <= 1e150


def test_some_indefinite_matrices_are_so_and_by_last_digits_only() -> None:
    problems = (make_problem(seed, metric="matrix_indefinite", n_features=3) for seed in range(40))
    shares = [(values[0] / values[-1]) for values in (np.linalg.eigvalsh(p.matrix) for p in problems)]
    assert -1e-15 < min(shares) < -1e-17


def test_decades_reach_subnormal_numbers() -> None:
    smallest = [np.abs(rows_of("decades", seed)[rows_of("decades", seed) != 0]).min() for seed in range(20)]
    assert min(smallest) < np.finfo(float).tiny


def test_remote_points_are_so_far_away_that_squares_of_their_distances_overflow() -> None:
    made = [make_problem(seed, kind="remote") for seed in range(20)]
    farthest = max(np.abs(p.points).max() / np.abs(p.rows).max() for p in made)
    assert 1e160 < farthest < 1e301


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"kind": "blob"}, InputError, "kind must be one of grid, .*; got 'blob'"),
        ({"metric": "rank"}, InputError, "metric must be one of euclidean, .*; got 'rank'"),
        ({"scale": 0.0}, InputError, "scale must be positive and finite, got 0.0"),
        ({"scale": np.inf}, InputError, "scale must be positive and finite, got inf"),
        ({"n_rows": 0}, InputError, "n_rows must be at least 1"),
        ({"n_features": 1.5}, InputTypeError, "n_features must be an integer"),
        ({"n_points": 0}, InputError, "n_points must be at least 1"),
        ({"seed": -1}, InputError, "seed must be at least 0"),
    ],
)
def test_mistakes_are_named(arguments: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make_problem(**{"seed": 0, **arguments})


@pytest.mark.parametrize("name", ["kinds", "metrics", "scales"])
def test_an_empty_choice_is_named(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} is empty"):
        random_problem(0, **{name: []})
    with pytest.raises(InputError, match=f"{name} is empty"):
        problems(**{name: []})


def test_without_hypothesis_the_error_names_the_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis.strategies", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'certimetric\[testing\]'"):
        testing.problems()
    assert random_problem(0).rows.ndim == 2
