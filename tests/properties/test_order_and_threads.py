"""The same answer always: whatever the batch, the number of threads and the order of rows."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from properties.data import Problem, assert_intervals_meet, bits, bits_of, make_problem, problems


@given(problems(max_rows=300, max_features=20))
def test_one_row_at_a_time_equals_all_rows_at_once(problem: Problem) -> None:
    clf = problem.fit()
    together = clf.certify(problem.points, return_adversarial=True)
    for k in range(len(problem.points)):
        alone = clf.certify(problem.points[k : k + 1], return_adversarial=True)
        assert bits(alone.lower) == bits(together.lower[k : k + 1])
        assert bits(alone.upper) == bits(together.upper[k : k + 1])
        assert bits(alone.adversarial) == bits(together.adversarial[k : k + 1])
        assert str(alone.status[0]) == str(together.status[k])


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["euclidean", "full", "low_rank"]))
def test_threads_do_not_change_a_bit(seed: int, metric: str) -> None:
    problem = make_problem(seed, 300, 10, "blobs", metric, n_points=150)
    clf = problem.fit()
    serial = clf.certify(problem.points, return_adversarial=True, n_jobs=1)
    for n_jobs in (2, 3, -1):
        assert bits_of(clf.certify(problem.points, return_adversarial=True, n_jobs=n_jobs)) == bits_of(serial)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_order_of_test_rows_does_not_change_a_bit(seed: int, shuffle: int) -> None:
    problem = make_problem(seed, 200, 8, "curved", "euclidean", n_points=120)
    order = np.random.default_rng(shuffle).permutation(len(problem.points))
    clf = problem.fit()
    here = clf.certify(problem.points, return_adversarial=True)
    there = clf.certify(problem.points[order], return_adversarial=True)
    assert bits(here.lower[order]) == bits(there.lower)
    assert bits(here.upper[order]) == bits(there.upper)
    assert bits(here.adversarial[order]) == bits(there.adversarial)


@given(problems(max_rows=300, max_features=20), st.booleans())
def test_asking_for_the_adversarial_points_does_not_change_a_bit(
    problem: Problem, given_labels: bool
) -> None:
    clf = problem.fit()
    truth = clf.predict(problem.points) if given_labels else None
    without = clf.certify(problem.points, return_adversarial=False)
    having = clf.certify(problem.points, truth, return_adversarial=True)
    assert bits(without.lower) == bits(having.lower)
    assert bits(without.upper) == bits(having.upper)


@given(problems(max_rows=200, kinds=["blobs", "uniform", "curved"]), st.integers(0, 2**32 - 1))
def test_order_of_training_rows_does_not_change_the_radius(problem: Problem, seed: int) -> None:
    """No ties, so the classifier is the same function; sums may run in another order, so not bit for bit."""
    order = np.random.default_rng(seed).permutation(len(problem.rows))
    shuffled = Problem(problem.rows[order], problem.labels[order], problem.points, problem.components)
    here, there = problem.certify(), shuffled.certify()
    assert here.predicted.tolist() == there.predicted.tolist()
    assert_intervals_meet(here.lower, here.upper, there.lower, there.upper, 1e-9)


@given(problems(max_rows=200))
def test_fitting_and_certifying_again_gives_the_same_bits(problem: Problem) -> None:
    first, again = problem.certify(return_adversarial=True), problem.certify(return_adversarial=True)
    assert bits_of(first) == bits_of(again)


@given(problems(max_rows=300, max_features=20), st.integers(1, 4))
def test_neighbors_do_not_depend_on_batch_or_threads(problem: Problem, k: int) -> None:
    clf = problem.fit()
    distances, indices = clf.kneighbors(problem.points, n_neighbors=k)
    for i in range(len(problem.points)):
        alone = clf.kneighbors(problem.points[i : i + 1], n_neighbors=k)
        assert bits(alone[0]) == bits(distances[i : i + 1])
        assert alone[1].tolist() == indices[i : i + 1].tolist()


@given(problems(max_rows=100))
def test_memory_layout_of_the_input_does_not_matter(problem: Problem) -> None:
    """Fortran order and strided views hold the same numbers."""
    wide = np.repeat(problem.points, 2, axis=1)[:, ::2]
    columns = Problem(np.asfortranarray(problem.rows), problem.labels, wide, problem.components)
    assert bits_of(columns.certify(return_adversarial=True)) == bits_of(
        problem.certify(return_adversarial=True)
    )


@given(problems(max_rows=100, kinds=["integers"]))
def test_integer_and_single_precision_input_mean_the_same_numbers(problem: Problem) -> None:
    expected = bits_of(problem.certify(return_adversarial=True))
    for dtype in (np.int32, np.int64, np.float32):
        other = Problem(
            problem.rows.astype(dtype), problem.labels, problem.points.astype(dtype), problem.components
        )
        assert bits_of(other.certify(return_adversarial=True)) == expected
