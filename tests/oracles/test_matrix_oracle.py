"""A metric given by a matrix is that of the stored numbers: rational oracles, whatever their rounding."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import certimetric as cm
from certimetric.certificate import Verifier
from certimetric.testing import METRICS, Problem, problems
from oracles.promises import VoteOracle, answers, unsound
from oracles.rational import RationalNearestNeighbor
from oracles.rational_knn import RationalKNearestNeighbors, Rule
from oracles.tiny import TinyCase

MATRICES = [metric for metric in METRICS if metric.startswith("matrix")]
SCALES = [1.0, 2.0**-400, 1e-150, 2.0**400, 1e140]


def case_of(problem: Problem) -> TinyCase:
    assert problem.matrix is not None
    rows, points = problem.rows.tolist(), problem.points.tolist()
    return TinyCase(rows, problem.labels.tolist(), None, points, problem.matrix.tolist())


@given(
    problems(metrics=MATRICES, scales=SCALES, max_rows=7, n_points=2),
    st.integers(1, 4),
    st.sampled_from(["plurality", "majority"]),
    st.sampled_from(["exact", "exact", "bound", "attack"]),
)
def test_interval_contains_the_exact_radius(problem: Problem, k: int, rule: Rule, method: str) -> None:
    case, k = case_of(problem), min(k, len(problem.rows))
    oracle = VoteOracle(RationalKNearestNeighbors(case.rows, case.labels, k, None, case.matrix), rule)
    for point, answer in zip(case.points, answers(case, None, k, rule=rule, method=method), strict=True):
        assert not list(unsound(oracle, point, answer))


@given(problems(metrics=MATRICES, scales=SCALES, max_rows=7, n_points=2))
def test_neighbors_are_in_the_exact_order(problem: Problem) -> None:
    case = case_of(problem)
    oracle = RationalNearestNeighbor(case.rows, case.labels, matrix=case.matrix)
    _, found = cm.kneighbors(problem.points, problem.rows, len(case.rows), metric=problem.matrix)
    assert found.tolist() == [oracle.order(point) for point in case.points]


@given(problems(metrics=MATRICES, scales=SCALES, max_rows=7, n_points=2), st.integers(1, 4))
def test_certificates_are_accepted_under_the_matrix_and_under_nothing_else(problem: Problem, k: int) -> None:
    k = min(k, len(problem.rows))
    clf = cm.CertifiedKNeighborsClassifier(k, metric=problem.matrix).fit(problem.rows, problem.labels)
    cert = clf.certify(problem.points, return_certificates=True)
    verifier = Verifier(problem.rows, problem.labels, matrix=problem.matrix)
    other = Verifier(problem.rows, problem.labels, clf.metric_.components_)
    for line in cert.certificates:
        verdict = verifier.verify(line)
        assert verdict, verdict.reason
        assert "metric is not" in other.verify(line).reason


@dataclass(frozen=True)
class NearTie:
    """Two rows that the matrix orders otherwise than the components that are computed from it."""

    matrix: np.ndarray
    rows: np.ndarray
    order: list[int]


def near_ties(seed: int) -> Iterator[NearTie]:
    """Rows on two rays, some last digits from equally far from 0, which is the point that is asked about."""
    rng = np.random.default_rng(seed)
    while True:
        factor = rng.normal(size=(4, 4))
        matrix = factor.T @ factor
        g = cm.Mahalanobis.from_matrix(matrix).components_
        first, ray = rng.normal(size=(2, 4))
        length = np.sqrt((first @ matrix @ first) / (ray @ matrix @ ray))
        for step in range(-6, 7):
            rows = np.array([first, ray * (length + step * np.spacing(length))])
            given_by = ({"matrix": matrix.tolist()}, {"components": g.tolist()})
            orders = [RationalNearestNeighbor(rows.tolist(), [0, 1], **m).order([0.0] * 4) for m in given_by]
            if orders[0] != orders[1]:
                yield NearTie(matrix, rows, orders[0])


@pytest.mark.parametrize("seed", range(5))
def test_a_near_tie_is_decided_by_the_matrix_and_not_by_its_components(seed: int) -> None:
    tie, point = next(near_ties(seed)), np.zeros((1, 4))
    _, found = cm.kneighbors(point, tie.rows, 2, metric=tie.matrix)
    assert found[0].tolist() == tie.order
    clf = cm.CertifiedKNeighborsClassifier(1, metric=tie.matrix).fit(tie.rows, [0, 1])
    assert clf.predict(point).tolist() == tie.order[:1]
    by_components = cm.Mahalanobis.from_components(clf.metric_.components_)
    other = cm.CertifiedKNeighborsClassifier(1, metric=by_components).fit(tie.rows, [0, 1])
    assert other.predict(point).tolist() == tie.order[1:]
    cert = clf.certify(point, tie.order[:1], return_certificates=True)
    assert cert.status.tolist() != ["misclassified"]
    assert Verifier(tie.rows, [0, 1], matrix=tie.matrix).verify(cert.certificates[0])


@pytest.mark.parametrize("condition", [1.0, 1e3, 1e6])
def test_radii_under_a_well_conditioned_matrix_are_known_to_nine_digits(condition: float) -> None:
    """Data that vary most where the metric sees least, as under an inverse covariance."""
    rng = np.random.default_rng(3)
    turn, _ = np.linalg.qr(rng.normal(size=(12, 12)))
    labels = rng.integers(0, 4, size=600)
    rows = (rng.normal(size=(600, 12)) + 0.7 * labels[:, None]) * np.geomspace(1, condition**0.5, 12) @ turn
    matrix = np.linalg.inv(np.cov(rows.T))
    matrix = (matrix + matrix.T) / 2
    clf = cm.CertifiedKNeighborsClassifier(1, metric=matrix).fit(rows[:500], labels[:500])
    cert = clf.certify(rows[500:])
    assert set(cert.status) == {"exact"}
    far = cert.upper > 1e-3 * np.linalg.norm(rows[500:], axis=1)
    assert far.sum() > 5
    assert (1 - cert.lower[far] / cert.upper[far]).max() <= 1e-9
