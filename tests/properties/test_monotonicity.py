"""Which way the radius moves when training rows are added.

For a fixed label c, a new row of another class can only enlarge the region where c loses, so r* does not
grow; a new row of class c can only shrink it, so r* does not fall. In terms of intervals around the old and
the new radius: ``new.lower ≤ old.upper`` in the first case and ``old.lower ≤ new.upper`` in the second. New
rows come last, where they lose ties of distance; an other-class row then still does not help c, and a
class-c row still does not harm it.
"""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from properties.data import Array, Problem, assert_intervals_meet, problems


def certify_with(problem: Problem, row: Array, label: int, truth: Array) -> Any:
    """Certify against the old predictions after one more row."""
    rows, labels = np.vstack([problem.rows, row]), np.append(problem.labels, label)
    return Problem(rows, labels, problem.points, problem.components).certify(y=truth)


def new_row(problem: Problem, seed: int) -> Array:
    """A row near the data: a copy of one, a test point, or something in between."""
    rng = np.random.default_rng(seed)
    a, b = problem.rows[rng.integers(len(problem.rows))], problem.points[rng.integers(len(problem.points))]
    share = float(rng.choice([0.0, 1.0, rng.random()]))
    row: Array = (1 - share) * a + share * b
    return row


@given(problems(), st.integers(0, 2**32 - 1))
def test_another_row_of_another_class_does_not_raise_the_radius(problem: Problem, seed: int) -> None:
    old = problem.certify()
    row = new_row(problem, seed)
    for label in np.unique(problem.labels):
        new = certify_with(problem, row, label, old.predicted)
        rivals = old.predicted != label
        assert np.all(new.lower[rivals] <= old.upper[rivals])


@given(problems(), st.integers(0, 2**32 - 1))
def test_another_row_of_the_class_does_not_lower_its_radius(problem: Problem, seed: int) -> None:
    old = problem.certify()
    row = new_row(problem, seed)
    for label in np.unique(problem.labels):
        new = certify_with(problem, row, label, old.predicted)
        own = old.predicted == label
        assert np.all(old.lower[own] <= new.upper[own])


@given(problems(), st.integers(0, 2**32 - 1))
def test_a_row_of_a_new_class_does_not_raise_the_radius(problem: Problem, seed: int) -> None:
    old = problem.certify()
    new = certify_with(problem, new_row(problem, seed), 99, old.predicted)
    assert np.all(new.lower <= old.upper)


@given(problems())
def test_repeating_the_training_set_changes_no_radius(problem: Problem) -> None:
    """A copy further down never wins a tie, so the classifier is the same function."""
    twice = Problem(
        np.vstack([problem.rows, problem.rows]),
        np.append(problem.labels, problem.labels),
        problem.points,
        problem.components,
    )
    old, new = problem.certify(), twice.certify()
    assert old.predicted.tolist() == new.predicted.tolist()
    assert_intervals_meet(old.lower, old.upper, new.lower, new.upper, 1e-8)


@given(problems())
def test_merging_the_other_classes_changes_no_radius(problem: Problem) -> None:
    """Only "c or not c" counts, not which class wins instead."""
    old = problem.certify()
    for label in np.unique(old.predicted):
        merged = np.where(problem.labels == label, label, -1)
        new = Problem(problem.rows, merged, problem.points, problem.components).certify()
        own = old.predicted == label
        assert np.all(new.predicted[own] == label)
        assert_intervals_meet(old.lower[own], old.upper[own], new.lower[own], new.upper[own], 1e-8)
