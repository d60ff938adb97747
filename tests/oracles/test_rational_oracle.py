"""The library against the rational oracle, on tiny data full of ties, duplicates, degenerate metrics."""

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import certimetric as cm
from oracles.promises import answers, broken_promises, fit_case, is_tight, metric_of, oracle_of
from oracles.rational import squared_distance
from oracles.tiny import TinyCase, random_case, tiny_cases


@given(tiny_cases(matrices=True))
def test_interval_contains_the_exact_radius(case: TinyCase) -> None:
    for point, answer in zip(case.points, answers(case), strict=True):
        assert not list(broken_promises(oracle_of(case), point, answer))


@given(tiny_cases(matrices=True), st.data())
def test_interval_is_zero_exactly_where_the_true_label_is_missed(case: TinyCase, data: st.DataObject) -> None:
    label = data.draw(st.sampled_from(case.labels), label="true label")
    (answer,) = answers(case, [label])
    assert not list(broken_promises(oracle_of(case), case.points[0], answer, label))
    if oracle_of(case).predict(case.points[0]) != label:
        assert (answer.lower, answer.upper, answer.status) == (0.0, 0.0, "misclassified")


@given(tiny_cases(matrices=True))
def test_prediction_is_the_exact_one(case: TinyCase) -> None:
    assert fit_case(case).predict(np.array(case.points)).tolist() == [
        oracle_of(case).predict(p) for p in case.points
    ]


@given(tiny_cases(matrices=True))
def test_neighbors_are_in_the_exact_order_for_every_k(case: TinyCase) -> None:
    order = oracle_of(case).order(case.points[0])
    rows, points = np.array(case.rows), np.array(case.points)
    for k in range(1, len(order) + 1):
        _, indices = cm.kneighbors(points, rows, k, metric=metric_of(case))
        assert indices[0].tolist() == order[:k]


@given(tiny_cases(matrices=True))
def test_distances_are_accurate_and_zero_only_where_they_are(case: TinyCase) -> None:
    exact = oracle_of(case).squared_distances(case.points[0])
    squared = cm.pairwise_distances(
        np.array(case.points), np.array(case.rows), metric=metric_of(case), squared=True
    )[0]
    # Entries of G(z − x) may cancel: the error is relative to ‖M‖·‖z − x‖², not to the squared distance.
    gain = float(sum(map(sum, [map(abs, row) for row in oracle_of(case).matrix])))
    for value, truth, row in zip(squared.tolist(), exact, case.rows, strict=True):
        slack = 1e-14 * gain * float(squared_distance(row, case.points[0]))
        assert abs(value - float(truth)) <= slack + 1e-300
        assert value == 0.0 or row != case.points[0]


@given(st.lists(st.integers(-50, 50).map(float), min_size=9, max_size=9))
def test_triplet_radius_is_the_signed_closed_form(values: list[float]) -> None:
    z, same, other = values[:3], values[3:6], values[6:]
    numerator = squared_distance(z, other) - squared_distance(z, same)
    (radius,) = cm.triplet_radius(
        np.array([z]), np.array([same]), np.array([other]), metric="euclidean"
    ).tolist()
    if same == other:
        assert radius == 0.0
    else:
        expected = float(numerator) / (2 * math.sqrt(squared_distance(same, other)))
        assert math.isclose(radius, expected, rel_tol=1e-13, abs_tol=1e-300)


@st.composite
def integer_cases(draw: st.DrawFn) -> TinyCase:
    """Ordinary data: integers, a Euclidean metric; neither walls nor radii are ill-conditioned."""
    d, n = draw(st.integers(1, 3)), draw(st.integers(1, 8))
    vector = st.lists(st.integers(-100, 100).map(float), min_size=d, max_size=d)
    rows = draw(st.lists(vector, min_size=n, max_size=n))
    return TinyCase(rows, draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)), None, [draw(vector)])


@given(integer_cases())
def test_ordinary_integers_are_certified_to_nine_digits(case: TinyCase) -> None:
    """Except for r* = 0, a test point on a wall, where no interval has a small relative width."""
    (answer,) = answers(case)
    if oracle_of(case).squared_radius(case.points[0]) > 0:
        assert is_tight(answer)
        assert answer.status == "exact"


@given(tiny_cases(matrices=True))
def test_radius_is_infinite_where_no_point_changes_the_answer(case: TinyCase) -> None:
    radius = oracle_of(case).squared_radius(case.points[0])
    (answer,) = answers(case)
    if radius == math.inf:
        assert answer.upper == math.inf
    if len(set(case.labels)) == 1:
        assert answer.lower == answer.upper == math.inf


def check_many(seed: int, data_sets: int) -> dict[str, int]:
    """Every promise on random data sets, half of the points with true labels given; counts by status."""
    rng = random.Random(seed)
    counts = {"points": 0, "tight": 0, "infinite": 0, "zero": 0}
    for _ in range(data_sets):
        case = random_case(rng, matrices=True)
        oracle = oracle_of(case)
        labels = [rng.choice(case.labels) for _ in case.points] if rng.random() < 0.5 else None
        for k, (point, answer) in enumerate(zip(case.points, answers(case, labels), strict=True)):
            label = None if labels is None else labels[k]
            broken = list(broken_promises(oracle, point, answer, label))
            assert not broken, f"{broken} for point {k}, label {label}, of {case}"
            radius = oracle.squared_radius(point, label)
            counts["points"] += 1
            counts["tight"] += is_tight(answer)
            counts["infinite"] += radius == math.inf
            counts["zero"] += radius == Fraction(0)
            counts[answer.status] = counts.get(answer.status, 0) + 1
    return counts


def test_every_promise_on_two_thousand_random_points() -> None:
    counts = check_many(seed=11, data_sets=200)
    assert counts["points"] == 2_000
    # The draw is not vacuous: neither all trivial nor all degenerate.
    assert counts["exact"] > 500
    assert counts["misclassified"] > 200


@pytest.mark.slow
def test_every_promise_on_a_hundred_thousand_random_points() -> None:
    counts = check_many(seed=12, data_sets=10_000)
    print(counts)
    assert counts["points"] >= 100_000
