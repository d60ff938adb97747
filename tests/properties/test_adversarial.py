"""The adversarial point: it changes the answer, and it lies at ``upper``."""

import numpy as np
from hypothesis import given

from oracles.rational import square, squared_distance
from properties.data import Problem, problems


@given(problems(max_rows=250, max_features=20))
def test_adversarial_point_changes_the_prediction(problem: Problem) -> None:
    clf = problem.fit()
    cert = clf.certify(problem.points, return_adversarial=True)
    found = np.isfinite(cert.upper)
    if found.any():
        assert np.all(clf.predict(cert.adversarial[found]) != cert.predicted[found])


@given(problems(max_rows=250, max_features=20))
def test_adversarial_point_lies_at_upper(problem: Problem) -> None:
    """Exactly not beyond; inside by no more than the rounding of a norm."""
    cert = problem.certify(return_adversarial=True)
    for z, moved, upper in zip(problem.points, cert.adversarial, cert.upper, strict=True):
        if np.isfinite(upper):
            reached = squared_distance(moved, z)
            assert reached <= square(upper)
            assert reached >= square(upper * (1 - 1e-12))


@given(problems(max_rows=100))
def test_adversarial_point_of_a_point_that_was_wrong_already_is_the_point(problem: Problem) -> None:
    clf = problem.fit()
    predicted = clf.predict(problem.points)
    classes = np.unique(problem.labels)
    wrong = classes[(np.searchsorted(classes, predicted) + 1) % len(classes)]
    cert = clf.certify(problem.points, wrong, return_adversarial=True)
    if len(classes) > 1:
        assert set(cert.status) == {"misclassified"}
        assert not cert.lower.any()
        assert not cert.upper.any()
        np.testing.assert_array_equal(cert.adversarial, problem.points)


@given(problems(max_rows=100))
def test_adversarial_point_is_finite_even_where_there_is_none(problem: Problem) -> None:
    one_class = Problem(problem.rows, np.zeros_like(problem.labels), problem.points, problem.components)
    cert = one_class.certify(return_adversarial=True)
    assert np.all(np.isinf(cert.lower))
    assert np.all(np.isinf(cert.upper))
    np.testing.assert_array_equal(cert.adversarial, problem.points)


@given(problems(max_rows=100, metrics=["blind"], max_features=4).filter(lambda p: p.rows.shape[1] > 1))
def test_perturbation_leaves_features_alone_that_the_metric_does_not_see(problem: Problem) -> None:
    """It would only lengthen it: a share s of the length costs s²/2, and 1e-9 is the width allowed."""
    assert problem.components is not None
    unseen = ~problem.components.any(axis=0)
    cert = problem.certify(return_adversarial=True)
    found = np.isfinite(cert.upper) & (cert.upper > 1e-6)
    moved = np.linalg.norm((cert.adversarial - problem.points)[:, unseen], axis=1)
    assert np.all(moved[found] <= 1e-4 * cert.upper[found])
