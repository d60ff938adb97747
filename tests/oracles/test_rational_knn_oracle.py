"""Votes of several neighbours against the rational oracle: every K, both rules, ties, duplicates, metrics."""

import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles.promises import Answer, VoteOracle, answers, broken_promises, is_tight, root, vote_oracle_of
from oracles.rational import square
from oracles.rational_knn import Rule
from oracles.tiny import TinyCase, random_case, tiny_cases

RULES: list[Rule] = ["plurality", "majority"]
MOST_NEIGHBORS = 7


@dataclass(frozen=True)
class Asked:
    """A tiny case, a number of neighbours and a rule. Its repr reproduces it."""

    case: TinyCase
    k: int
    rule: Rule

    def oracle(self) -> VoteOracle:
        return vote_oracle_of(self.case, self.k, self.rule)

    def answers(self, labels: list[int] | None = None, **options: object) -> list[Answer]:
        return answers(self.case, labels, self.k, rule=self.rule, **options)


@st.composite
def asked_cases(draw: st.DrawFn) -> Asked:
    case = draw(tiny_cases(matrices=True))
    k = draw(st.integers(1, min(MOST_NEIGHBORS, len(case.rows))))
    return Asked(case, k, draw(st.sampled_from(RULES)))


@given(asked_cases(), st.sampled_from(["exact", "bound", "attack"]))
def test_interval_contains_the_exact_radius_whatever_the_method(asked: Asked, method: str) -> None:
    (answer,) = asked.answers(method=method)
    assert not list(broken_promises(asked.oracle(), asked.case.points[0], answer))


LIMITS = [{"point_node_limit": 0}, {"point_node_limit": 3}, {"max_memory": 0}, {"point_time_limit": 0.0}]


@given(asked_cases(), st.sampled_from(LIMITS))
def test_interval_contains_the_exact_radius_whatever_the_limit(asked: Asked, limit: dict[str, float]) -> None:
    (answer,) = asked.answers(**limit)
    assert not list(broken_promises(asked.oracle(), asked.case.points[0], answer))


@given(asked_cases(), st.data())
def test_interval_is_zero_where_the_true_label_is_missed(asked: Asked, data: st.DataObject) -> None:
    label = data.draw(st.sampled_from([*asked.case.labels, 77]), label="true label")
    (answer,) = asked.answers([label])
    assert not list(broken_promises(asked.oracle(), asked.case.points[0], answer, label))
    if asked.oracle().predict(asked.case.points[0]) != label:
        assert (answer.lower, answer.upper, answer.status) == (0.0, 0.0, "misclassified")


@given(asked_cases(), st.sampled_from([1e-6, 0.5, 0.999, 1.001, 2.0]))
def test_answer_about_one_radius_is_that_of_the_exact_one(asked: Asked, share: float) -> None:
    (point,), oracle = asked.case.points, asked.oracle()
    radius = root(oracle.squared_radius(point))
    eps = share * radius if 0 < radius < math.inf else share
    (answer,) = asked.answers(eps=eps)
    assert not list(broken_promises(oracle, point, answer))
    if answer.lower > eps:
        assert oracle.squared_radius(point) > square(eps)
    if answer.upper <= eps:
        assert oracle.squared_radius(point) <= square(eps)


@pytest.mark.parametrize("rule", RULES)
@given(case=tiny_cases())
def test_all_rows_vote_the_same_everywhere(rule: Rule, case: TinyCase) -> None:
    asked = Asked(case, len(case.rows), rule)
    (answer,) = asked.answers()
    lost = asked.oracle().has_lost(case.points[0], answer.predicted)
    assert answer.lower == answer.upper == (0.0 if lost else math.inf)
    assert answer.status == "exact"


def random_asked(rng: random.Random) -> Asked:
    case = random_case(rng, matrices=True, n_points=2)
    return Asked(case, rng.randint(1, min(MOST_NEIGHBORS, len(case.rows))), rng.choice(RULES))


def integer_asked(rng: random.Random) -> Asked:
    """Rows of a small grid, some twice: coincident, equidistant and cocircular rows abound."""
    n_features, n_rows, reach = rng.randint(1, 3), rng.randint(2, 8), rng.choice([1, 2, 5])
    rows = [[float(rng.randint(-reach, reach)) for _ in range(n_features)] for _ in range(n_rows)]
    points = [[rng.randint(-2 * reach, 2 * reach) / 2 for _ in range(n_features)] for _ in range(2)]
    components = [[float(rng.randint(-1, 2)) for _ in range(n_features)] for _ in range(rng.randint(1, 3))]
    labels = [rng.randrange(rng.choice([2, 2, 3, 4])) for _ in rows]
    metric = components if rng.random() < 0.4 and any(map(any, components)) else None
    k = rng.randint(1, min(MOST_NEIGHBORS, n_rows))
    return Asked(TinyCase(rows, labels, metric, points), k, rng.choice(RULES))


def check(asked: Asked, rng: random.Random, where: str) -> Iterator[str]:
    """Asserts every promise for the points of one case; what is worth counting about each."""
    oracle, points = asked.oracle(), asked.case.points
    labels = [rng.choice(asked.case.labels) for _ in points] if rng.random() < 0.3 else None
    for k, (point, answer) in enumerate(zip(points, asked.answers(labels), strict=True)):
        label = None if labels is None else labels[k]
        broken = list(broken_promises(oracle, point, answer, label))
        assert not broken, f"{broken} for point {k}, label {label}, of {asked}, {where}"
        radius = oracle.squared_radius(point, label)
        yield "points"
        yield answer.status
        yield "zero" if radius == 0 else "infinite" if radius == math.inf else "finite"
        if 0 < radius < math.inf and not oracle.is_thin(point):
            yield "thick"
            if is_tight(answer):
                yield "tight"


def check_many(seed: int, cases: int) -> Counter[str]:
    rng, counts = random.Random(seed), Counter[str]()
    for number in range(cases):
        asked = rng.choice([random_asked, integer_asked])(rng)
        counts.update(check(asked, rng, where=f"case {number} of seed {seed}"))
    print(counts)
    # The draw is not vacuous, and a proof is the rule where the class loses on more than a face.
    assert min(counts[kind] for kind in ("zero", "finite", "infinite", "misclassified")) > cases / 50
    assert counts["tight"] >= 0.95 * counts["thick"]
    return counts


def test_every_promise_on_a_thousand_random_points() -> None:
    assert check_many(seed=21, cases=500)["points"] == 1_000


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_every_promise_on_a_hundred_thousand_random_points(seed: int) -> None:
    assert check_many(seed=100 + seed, cases=5_000)["points"] == 10_000


def corner_case() -> Asked:
    """Four corners of a square: at the centre all tie, and the two of one class have the lower indices."""
    rows = [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
    return Asked(TinyCase(rows, [1, 1, 0, 0], None, [[0.0, 0.75]]), 2, "plurality")


def test_a_class_that_loses_at_one_point_only_has_a_valid_interval() -> None:
    asked = corner_case()
    assert asked.oracle().is_thin(asked.case.points[0])
    for swapped in (asked, replace(asked, rule="majority"), replace(asked, k=3)):
        (answer,) = swapped.answers()
        assert not list(broken_promises(swapped.oracle(), asked.case.points[0], answer))


@settings(max_examples=50)
@given(tiny_cases(), st.data())
def test_majority_is_never_proven_beyond_a_broken_plurality(case: TinyCase, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, min(MOST_NEIGHBORS, len(case.rows))), label="k")
    (majority,), (plurality,) = (Asked(case, k, rule).answers() for rule in ("majority", "plurality"))
    assert majority.lower <= plurality.upper
