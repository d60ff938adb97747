"""Rows in one place with different labels, under a vote: the lowest indices come first everywhere.

The nearest adversarial points are often those at which such a place is the last one that is reached, and only
its first rows vote. No perturbation takes its rows apart.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from properties.data import Problem

RULES = ["plurality", "majority"]


def with_copy(seed: int) -> Problem:
    """Random rows, two of which are in one place with different labels."""
    rng = np.random.default_rng(seed)
    count, features = int(rng.integers(7, 30)), int(rng.integers(2, 5))
    rows, labels = rng.normal(size=(count, features)), rng.integers(0, 2 + seed % 2, count)
    copy, row = rng.choice(count, 2, replace=False)
    rows[copy], labels[copy] = rows[row], (labels[row] + 1) % 2
    k = int(rng.integers(2, min(8, count)))
    return Problem(rows, labels, rng.normal(size=(5, features)), n_neighbors=k)


@given(st.integers(0, 2**32 - 1), st.sampled_from(RULES))
def test_radii_beside_two_rows_in_one_place_are_exact(seed: int, rule: str) -> None:
    cert = with_copy(seed).certify(rule=rule)
    assert np.all((cert.status == "exact") | np.isinf(cert.upper))


@given(st.integers(0, 2**32 - 1), st.sampled_from(RULES))
def test_copies_of_all_rows_change_no_radius(seed: int, rule: str) -> None:
    """Of rows that all come twice, five vote as three of them do: two have two votes, the last has one."""
    rng = np.random.default_rng(seed)
    rows, labels = rng.normal(size=(20, 3)), rng.integers(0, 2, 20)
    once = Problem(rows, labels, rng.normal(size=(4, 3)), n_neighbors=3)
    twice = replace(once, rows=np.repeat(rows, 2, axis=0), labels=np.repeat(labels, 2), n_neighbors=5)
    cert, other = once.certify(rule=rule), twice.certify(rule=rule)
    np.testing.assert_allclose(other.upper, cert.upper, rtol=1e-9)
    assert set(other.status) <= {"exact", "misclassified"}


@pytest.mark.parametrize("rule", RULES)
def test_a_place_that_is_reached_last_gives_its_first_rows(rule: str) -> None:
    """On a line: 1/2 below 0 the row at −4 comes before the two at 3, where the rival has the lower index."""
    problem = Problem(
        np.array([[3.0], [3.0], [-4.0], [-0.5]]), np.array([1, 0, 1, 0]), np.zeros((1, 1)), n_neighbors=3
    )
    cert = problem.certify(rule=rule)
    assert cert.status[0] == "exact"
    np.testing.assert_allclose([cert.lower[0], cert.upper[0]], 0.5, rtol=1e-9)
    turned = replace(problem, labels=np.array([0, 1, 1, 0])).certify(rule=rule)
    # With the class itself first at 3, its two rows are always among the three.
    assert turned.upper[0] == np.inf
    assert turned.lower[0] > 1e3
