"""The loss of exact radii: its radii are those that are certified, its gradients those of their changes."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

import certimetric as cm
from certimetric import testing
from certimetric.learning._radii import Worth, anneal, radius_loss, reach, signed_radii

Array = NDArray[np.float64]

PROBLEMS = testing.problems(
    kinds=["blobs", "uniform"],
    metrics=["euclidean", "full", "low_rank", "tall"],
    scales=[1.0],
    min_rows=6,
    max_rows=25,
    max_features=5,
)


def certified(problem: testing.Problem, points: Array, labels: Array) -> Array:
    """Radii by the certifier, 0 where a point is wrong."""
    metric = "euclidean" if problem.components is None else problem.metric
    model = cm.CertifiedKNeighborsClassifier(metric=metric).fit(problem.rows, problem.labels)
    return model.certify(points, labels).lower


def labelled(problem: testing.Problem) -> tuple[Array, NDArray[np.int64]]:
    return problem.rows, problem.labels.astype(np.int64)


def anchors(problem: testing.Problem) -> tuple[Array, NDArray[np.int64]]:
    """The problem's points, with the labels of some rows."""
    return problem.points, labelled(problem)[1][: len(problem.points)]


def same(found: Array, radii: Array) -> None:
    """Equal where the certifier says that a point is right, and not positive where it is wrong."""
    right = radii > 1e-9
    np.testing.assert_allclose(
        found[right & np.isfinite(radii)], radii[right & np.isfinite(radii)], rtol=1e-9
    )
    assert not np.any(found[~right] > 1e-8)


@given(PROBLEMS)
def test_radii_are_those_that_are_certified(problem):
    assume(len(problem.rows) >= len(problem.points))
    found = signed_radii(labelled(problem), problem.components, anchors(problem))
    same(found, certified(problem, *anchors(problem)))


@given(PROBLEMS)
def test_a_row_left_out_has_the_radius_before_the_rest(problem):
    rows, codes = labelled(problem)
    found = signed_radii((rows, codes), problem.components, (rows, codes), itself=np.arange(len(rows)))
    for row in (0, len(rows) // 2):
        rest = np.arange(len(rows)) != row
        metric = "euclidean" if problem.components is None else problem.metric
        model = cm.CertifiedKNeighborsClassifier(metric=metric).fit(rows[rest], codes[rest])
        same(found[[row]], model.certify(rows[[row]], codes[[row]]).lower)


@given(PROBLEMS, st.integers(0, 2**32 - 1), st.booleans())
def test_gradients_are_the_changes_of_certified_radii(problem, seed, by_metric):
    rng = np.random.default_rng(seed)
    rows, codes = labelled(problem)
    components = np.eye(rows.shape[1]) if problem.components is None else problem.components
    points = anchors(problem)
    found = radius_loss((rows, codes), components, points, Worth(), by=("points", "components"))
    right = found.radii > 1e-3
    assume(right.any())
    # The mean over the points that are right, so that nothing else moves it.
    points = points[0][right], points[1][right]
    found = radius_loss((rows, codes), components, points, Worth(), by=("points", "components"))
    direction = rng.normal(size=(components if by_metric else rows).shape)
    claim = -np.sum(found.gradients["components" if by_metric else "points"] * direction)

    def mean(step: float) -> float:
        G = components + step * direction if by_metric else components
        X = rows if by_metric else rows + step * direction
        model = cm.CertifiedKNeighborsClassifier(metric=cm.Mahalanobis.from_components(G)).fit(X, codes)
        return float(model.certify(*points).lower.mean())

    step = 1e-6
    ahead, here, behind = mean(step), mean(0.0), mean(-step)
    assume(np.isfinite([ahead, here, behind]).all())
    slopes = (ahead - here) / step, (here - behind) / step
    # Where the slopes on both sides differ, another cell or another constraint takes over.
    assume(abs(slopes[0] - slopes[1]) < 1e-3 * (1 + abs(claim)))
    assert np.mean(slopes) == pytest.approx(claim, rel=1e-3, abs=1e-3)


@given(PROBLEMS, st.floats(0.01, 1.0), st.floats(0.01, 1.0), st.sampled_from([0.1, np.inf]))
def test_the_loss_is_what_its_radii_are_worth(problem, low, cap, decay):
    found = radius_loss(labelled(problem), problem.components, anchors(problem), Worth(low, cap, decay))
    radii = np.clip(found.radii[np.isfinite(found.radii)], -low, cap)
    worth = radii if np.isinf(decay) else np.where(radii > 0, decay * -np.expm1(-radii / decay), radii)
    assert found.loss == pytest.approx(-worth.mean() if len(radii) else 0.0, abs=1e-12)


@pytest.mark.parametrize("components", [None, np.diag([1.0, 0.5, 0.0])])
def test_threads_change_no_bit(rng, components):
    rows, codes = rng.normal(size=(150, 3)), rng.integers(3, size=150)
    points = rng.normal(size=(700, 3)), rng.integers(3, size=700)
    one, three = (
        radius_loss(
            (rows, codes), components, points, Worth(0.5, 1.0, 0.3), by=("points", "components"), n_jobs=n
        )
        for n in (1, 3)
    )
    assert one.loss == three.loss
    assert np.array_equal(one.radii, three.radii)
    assert all(np.array_equal(one.gradients[name], three.gradients[name]) for name in one.gradients)
    assert len(one.gradients) == (1 if components is None else 2)


def test_points_that_coincide_do_not_count():
    rows, codes = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]]), np.array([0, 1, 1])
    points = np.array([[0.0, 3.0], [0.9, 0.0]]), np.array([0, 1])
    found = radius_loss((rows, codes), None, points, Worth(), by=("points",))
    assert np.isnan(found.radii[0])
    assert found.loss == -found.radii[1]
    assert np.isfinite(found.gradients["points"]).all()


def test_a_class_without_points_has_no_radius():
    rows, codes = np.array([[0.0], [1.0]]), np.array([0, 0])
    found = signed_radii((rows, codes), None, (np.array([[2.0], [3.0]]), np.array([1, 0])), cap=5.0)
    assert np.isnan(found[0])
    assert found[1] == 5.0


def test_reach_is_beyond_most_radii_and_never_zero():
    assert reach(np.linspace(0, 1, 101)) == pytest.approx(1.25 * 0.95)
    assert reach(np.array([0.0, np.nan, np.inf])) == np.inf


def test_the_rate_falls_from_its_start_to_zero():
    rates = [anneal(0.5, step / 10) for step in range(12)]
    assert rates[0] == 0.5
    assert rates[10] == rates[11] == 0.0
    assert rates == sorted(rates, reverse=True)
