"""The branch-and-bound oracle against the rational one on tiny sets, and on cases that paper decides."""

import math
import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from oracles import branching
from oracles.promises import root
from oracles.rational_knn import RationalKNearestNeighbors, Rule
from oracles.tiny import TinyCase, random_case

pytest.importorskip("daqp")
pytest.importorskip("clarabel")
pytestmark = pytest.mark.oracle

RULES: list[Rule] = ["plurality", "majority"]


class ClosedVotes(RationalKNearestNeighbors):
    """Pieces with all of their walls; only where rows coincide in the metric the index still decides."""

    def _precedences(self, point, thick):
        before, scale = super()._precedences(point, thick)
        return [[replace(w, strict=w.strict and not any(w.normal)) for w in row] for row in before], scale


def searched(case: TinyCase, label: int, k: int, rule: Rule) -> float:
    components = None if case.components is None else np.array(case.components)
    rows, labels = np.array(case.rows), np.array(case.labels)
    return branching.exact_radius(np.array(case.points[0]), label, rows, labels, k, rule, components)


def check_many(seed: int, cases: int) -> Counter[str]:
    rng, counts = random.Random(seed), Counter[str]()
    for number in range(cases):
        case = random_case(rng, n_points=1)
        k, rule = rng.randint(1, min(7, len(case.rows))), rng.choice(RULES)
        oracle = ClosedVotes(case.rows, case.labels, k, case.components)
        label = oracle.predict(case.points[0])
        radius = root(oracle.squared_radius(case.points[0], label, rule))
        open_too = RationalKNearestNeighbors(case.rows, case.labels, k, case.components)
        counts["equal"] += root(open_too.squared_radius(case.points[0], label, rule)) == radius
        found = searched(case, label, k, rule)
        assert found == pytest.approx(radius, rel=1e-8, abs=1e-9), f"case {number}: {case}, K = {k}, {rule}"
        counts["zero" if radius == 0 else "finite" if radius < math.inf else "infinite"] += 1
        counts[f"K = {k}, {rule}"] += radius not in (0, math.inf)
    return counts


def test_search_gives_the_rational_radius() -> None:
    counts = check_many(seed=41, cases=600)
    # The draw is not vacuous: all kinds of radii, and finite ones for odd and even K under both rules.
    assert min(counts[kind] for kind in ("zero", "finite", "infinite")) > 30
    assert counts["equal"] >= 595
    assert min(counts[f"K = {k}, {rule}"] for k in (1, 2, 3, 4, 5) for rule in RULES) > 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_search_gives_the_rational_radius_of_many_more(seed: int) -> None:
    assert check_many(seed=50 + seed, cases=4_000)["finite"] > 500


@pytest.mark.parametrize(("labels", "radius"), [([0, 0, 1], math.inf), ([0, 1, 0], 1.0)])
def test_coinciding_rows_enter_in_the_order_of_their_index(labels: list[int], radius: float) -> None:
    case = TinyCase([[0.0], [2.0], [2.0]], labels, None, [[0.0]])
    assert searched(case, 0, 1, "plurality") == pytest.approx(radius)


@pytest.mark.parametrize(
    ("label", "k", "rule", "radius"),
    [(0, 2, "plurality", 3.0), (0, 2, "majority", 2.0), (0, 3, "plurality", 2.5), (0, 3, "majority", 2.5)],
)
def test_votes_on_a_line(label: int, k: int, rule: Rule, radius: float) -> None:
    """Rows 0, 1 of class 0 and 4, 5 of class 1: a tie of votes goes to class 0, and is no majority."""
    case = TinyCase([[0.0], [1.0], [4.0], [5.0]], [0, 0, 1, 1], None, [[0.0]])
    assert searched(case, label, k, rule) == pytest.approx(radius)


def test_an_unfinished_search_is_an_error() -> None:
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(30, 2)), np.arange(30) % 2
    votes = (rows[0], int(labels[0]), rows, labels, 3, "majority")
    assert branching.exact_radius(*votes) > 0
    with pytest.raises(ArithmeticError, match="nodes"):
        branching.exact_radius(*votes, node_limit=0)
