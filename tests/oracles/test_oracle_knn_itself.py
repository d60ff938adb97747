"""The rational oracle for K neighbours against faces, rays, balls, its own witness: ways without K-sets."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import combinations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles.rational import RationalNearestNeighbor, solve_gram_system
from oracles.rational_knn import RationalKNearestNeighbors, Rule, least_norm_point
from oracles.tiny import TinyCase, random_case, tiny_cases

Point = list[Fraction]
RULES: list[Rule] = ["plurality", "majority"]
ORIGIN = [Fraction(0), Fraction(0)]


@dataclass(frozen=True)
class Vote:
    """A tiny case with one test point, a number of neighbours and a rule; the class is the prediction."""

    case: TinyCase
    k: int
    rule: Rule = "plurality"

    @cached_property
    def point(self) -> Point:
        return fractions(self.case.points[0])

    @cached_property
    def components(self) -> list[Point]:
        d = len(self.point)
        return [
            fractions(row) for row in self.case.components or [[i == j for j in range(d)] for i in range(d)]
        ]

    @cached_property
    def images(self) -> list[Point]:
        return [self.embed(fractions(row)) for row in self.case.rows]

    def embed(self, vector: Point) -> Point:
        return [inner(row, vector) for row in self.components]

    def oracle(self) -> RationalKNearestNeighbors:
        return RationalKNearestNeighbors(self.case.rows, self.case.labels, self.k, self.case.components)

    def label(self) -> int:
        return self.oracle().predict(self.point)

    def squared_radius(self) -> Fraction | float:
        return self.oracle().squared_radius(self.point, None, self.rule)

    def neighbors(self, point: Point, direction: Point | None = None) -> list[int]:
        """From the definition: the K nearest rows at p, or at p + εv for every small ε > 0.

        ‖G(p + εv − x)‖² = ‖G(p − x)‖² + 2ε⟨Gv, G(p − x)⟩ + ε²‖Gv‖², and the last is the same for all rows.
        """
        moved = self.embed(direction or [Fraction(0)] * len(point))
        gaps = [shifted(self.embed(point), image, -1) for image in self.images]
        keys = [(inner(gap, gap), inner(moved, gap), i) for i, gap in enumerate(gaps)]
        return [i for _, _, i in sorted(keys)[: self.k]]

    def lead(self, i: int, j: int, point: Point) -> Fraction:
        """How much larger the squared distance to row i is than that to row j: affine in the point."""
        near, far = (shifted(self.embed(point), self.images[row], -1) for row in (j, i))
        return inner(far, far) - inner(near, near)

    def loses(self, label: int, point: Point, direction: Point | None = None) -> bool:
        votes = [self.case.labels[i] for i in self.neighbors(point, direction)]
        if self.rule == "majority":
            return votes.count(label) < self.k // 2 + 1
        return min(set(votes), key=lambda own: (-votes.count(own), own)) != label


def fractions(values) -> Point:
    return [Fraction(value) for value in values]


def inner(u, v) -> Fraction:
    return sum((a * b for a, b in zip(u, v, strict=True)), Fraction(0))


def shifted(point: Point, direction: Sequence[Fraction | int], share: Fraction | int = 1) -> Point:
    return [a + share * b for a, b in zip(point, direction, strict=True)]


@st.composite
def votes(draw: st.DrawFn, max_features: int = 3) -> Vote:
    case = draw(tiny_cases().filter(lambda case: len(case.points[0]) <= max_features))
    return Vote(case, draw(st.integers(1, len(case.rows))), draw(st.sampled_from(RULES)))


def random_vote(rng: random.Random) -> Vote:
    case = random_case(rng, n_points=1)
    return Vote(case, rng.randint(1, len(case.rows)), rng.choice(RULES))


def crowded_vote(rng: random.Random) -> Vote:
    """Rows from nine points of the plane, or five of a line: coincident and cocircular rows abound."""
    n_features, reach = rng.choice([(1, 2), (2, 1), (2, 1)])
    n_rows = rng.randint(3, 7)
    rows = [[float(rng.randint(-reach, reach)) for _ in range(n_features)] for _ in range(n_rows)]
    components = [[float(rng.randint(-1, 2)) for _ in range(n_features)] for _ in range(rng.randint(1, 2))]
    point = [rng.randint(-4, 4) / 2 for _ in range(n_features)]
    case = TinyCase(
        rows,
        [rng.randrange(3) for _ in rows],
        components if rng.random() < 0.4 and any(map(any, components)) else None,
        [point],
    )
    return Vote(case, rng.randint(1, n_rows), rng.choice(RULES))


def square_vote(rng: random.Random) -> Vote:
    """Four corners of a square, diagonals of two classes: one may win at the centre and nowhere else."""
    corners = [([1.0, 0.0], 0), ([-1.0, 0.0], 0), ([0.0, 1.0], 1), ([0.0, -1.0], 1)]
    rng.shuffle(corners)
    if rng.random() < 0.5:
        corners.append(([float(rng.randint(-2, 2)), 2.0], rng.randrange(3)))
    point = [rng.randint(-2, 2) / 2, rng.randint(-2, 2) / 2]
    case = TinyCase([row for row, _ in corners], [label for _, label in corners], None, [point])
    return Vote(case, rng.choice([2, 2, 3]), rng.choice(RULES))


# One dimension, K = 3. The nearest rows are 0, 1, 3 until p = 7/2, where 7 is as near as 0; then 1, 3, 7
# until p = 9/2, where 8 is as near as 1; then 3, 7, 8. From z = 1 the walls lie at a distance of 5/2 and 7/2.
LINE = [[0], [1], [3], [7], [8]]
SQUARE = [[1, 0], [-1, 0], [0, 1], [0, -1]]


@pytest.mark.parametrize(
    ("rows", "labels", "k", "point", "label", "plurality", "majority"),
    [
        # Votes 000, 001, 011: lost beyond the second wall.
        (LINE, [0, 0, 0, 1, 1], 3, [1], 0, Fraction(49, 4), Fraction(49, 4)),
        # Votes 001, 012, 121: between the walls one vote each, and class 0 is the smallest.
        (LINE, [0, 0, 1, 2, 1], 3, [1], 0, Fraction(49, 4), Fraction(25, 4)),
        # Votes 221, 210, 101: the tie goes to class 0.
        (LINE, [2, 2, 1, 0, 1], 3, [1], 2, Fraction(25, 4), Fraction(25, 4)),
        # K = n: the vote is the same everywhere.
        (LINE, [0, 0, 1, 1, 1], 5, [1], 1, math.inf, math.inf),
        (LINE, [0, 0, 1, 1, 1], 5, [1], 0, 0, 0),
        # Two of five votes win a plurality, never a majority.
        (LINE, [0, 0, 1, 2, 3], 5, [1], 0, math.inf, 0),
        # Even K: votes 00 and 01; a tie is won by the smaller label, but it is no majority.
        ([[0], [2], [4]], [0, 0, 1], 2, [0], 0, math.inf, 4),
        ([[0], [2], [4]], [1, 1, 0], 2, [0], 1, 4, 4),
        # Of three coincident rows the first two enter first: rows 2 and 3 are never the two nearest.
        ([[0], [0], [0], [5]], [0, 0, 1, 1], 2, [0], 0, math.inf, Fraction(25, 4)),
        # ... and with another order row 0 leaves last.
        ([[0], [0], [0], [5]], [1, 0, 0, 1], 2, [0], 0, Fraction(25, 4), 0),
        # A class without rows has lost everywhere.
        (LINE, [0, 0, 1, 1, 1], 1, [1], 7, 0, 0),
        # The diagonal of label 1 wins at the centre only, where all rows are as near: its indices come first.
        (SQUARE, [1, 1, 0, 0], 2, [0, 1], 0, 1, 0),
        # The same rows, one of the other diagonal first: it wins nowhere.
        ([SQUARE[2], *SQUARE[:2], SQUARE[3]], [0, 1, 1, 0], 2, [0, 1], 0, math.inf, 0),
    ],
)
def test_radius_by_hand(rows, labels, k, point, label, plurality, majority) -> None:
    oracle = RationalKNearestNeighbors(rows, labels, k)
    assert oracle.squared_radius(point, label) == plurality
    assert oracle.squared_radius(point, label, "majority") == majority


def test_metric_decides_the_order_and_the_input_norm_the_radius() -> None:
    """Only the first feature counts, three-fold: the walls of the line, whatever the second feature."""
    rows = [[x, 5 * (-1) ** x] for (x,) in LINE]
    oracle = RationalKNearestNeighbors(rows, [0, 0, 1, 2, 1], 3, [[3, 0]])
    assert oracle.squared_radius([1, 40], 0) == Fraction(49, 4)
    assert oracle.squared_radius([1, 40], 0, "majority") == Fraction(25, 4)


def test_single_losing_point_counts_unless_interior_is_asked_for() -> None:
    oracle = RationalKNearestNeighbors(SQUARE, [1, 1, 0, 0], 2)
    loss = oracle.closest_loss([0, 1], 0)
    assert loss is not None
    assert (loss.neighbors, loss.perturbation, loss.inside) == ((0, 1), [0, -1], [0, -1])
    assert oracle.closest_loss([0, 1], 0, thick=True) is None


@pytest.mark.parametrize("k", [0, 6])
def test_number_of_neighbors_is_between_one_and_n(k: int) -> None:
    with pytest.raises(ValueError, match="n_neighbors"):
        RationalKNearestNeighbors(LINE, [0, 0, 0, 1, 1], k)


@given(tiny_cases(), st.sampled_from(RULES))
def test_one_neighbor_is_the_other_oracle(case: TinyCase, rule: Rule) -> None:
    expected = RationalNearestNeighbor(case.rows, case.labels, case.components).squared_radius(case.points[0])
    assert Vote(case, 1, rule).squared_radius() == expected


def test_one_neighbor_is_the_other_oracle_on_a_thousand_random_points() -> None:
    rng, finite = random.Random(1), 0
    for _ in range(100):
        case = random_case(rng)
        oracle = RationalKNearestNeighbors(case.rows, case.labels, 1, case.components)
        other = RationalNearestNeighbor(case.rows, case.labels, case.components)
        for point in case.points:
            label = rng.choice(case.labels)
            radius = oracle.squared_radius(point, label)
            assert radius == other.squared_radius(point, label)
            finite += 0 < radius < math.inf
    assert finite > 200


@given(votes())
def test_neighbors_and_prediction_follow_the_definition(vote: Vote) -> None:
    oracle = vote.oracle()
    assert oracle.neighbors(vote.point) == vote.neighbors(vote.point)
    assert not Vote(vote.case, vote.k).loses(vote.label(), vote.point)


@given(votes(), st.data())
def test_radius_is_zero_where_the_class_has_lost(vote: Vote, data: st.DataObject) -> None:
    label = data.draw(st.sampled_from(vote.case.labels))
    if vote.loses(label, vote.point):
        assert vote.oracle().squared_radius(vote.point, label, vote.rule) == 0


@given(votes(), st.booleans())
def test_witness_attains_the_radius(vote: Vote, thick: bool) -> None:
    """Beyond the oracle's point, by any share of the way inside, its K-set is the nearest and loses."""
    label = vote.label()
    loss = vote.oracle().closest_loss(vote.point, label, vote.rule, thick=thick)
    if loss is None:
        return
    assert inner(loss.perturbation, loss.perturbation) == loss.squared_radius
    wall, inside = shifted(vote.point, loss.perturbation), shifted(vote.point, loss.inside)
    inward = [b - a for a, b in zip(wall, inside, strict=True)]
    for share in (Fraction(1, 10**30), Fraction(1, 1000), Fraction(1)):
        beyond = shifted(wall, inward, share)
        assert sorted(vote.neighbors(beyond)) == list(loss.neighbors)
        assert vote.loses(label, beyond)
    if not any(inward):
        assert vote.loses(label, wall)


@given(votes(), st.integers(0, 2**32))
def test_no_point_nearer_than_the_radius_loses(vote: Vote, seed: int) -> None:
    """Random directions; shares of the radius up to all but a millionth, any length where it is infinite."""
    rng, label, radius = random.Random(seed), vote.label(), vote.squared_radius()
    for _ in range(20):
        ray = [Fraction(rng.randint(-9, 9)) for _ in vote.point]
        if not any(ray):
            continue
        reach = Fraction(rng.randint(1, 10**6), 10**4)
        if isinstance(radius, Fraction):
            ratio = radius / inner(ray, ray)
            root = math.isqrt(ratio.numerator * ratio.denominator * 10**12)
            reach = Fraction(root, ratio.denominator * 10**6) * rng.choice(
                [Fraction(1, 2), 1 - Fraction(1, 10**6)]
            )
            if reach == 0:
                continue
        assert not vote.loses(label, shifted(vote.point, ray, reach))


def first_loss_along_ray(vote: Vote, label: int, ray: Point) -> Fraction | None:
    """The least t ≥ 0 at which the class loses, or just beyond which it does; None if it never does.

    Each difference of two squared distances is affine in t: between its roots the K-set is constant.
    """
    start, step = vote.point, shifted(vote.point, ray)
    roots = {Fraction(0)}
    for i, j in combinations(range(len(vote.case.rows)), 2):
        gap, slope = vote.lead(i, j, start), vote.lead(i, j, step)
        if gap != slope:
            roots.add(gap / (gap - slope))
    for t in sorted(root for root in roots if root >= 0):
        at = shifted(start, ray, t)
        if vote.loses(label, at) or vote.loses(label, at, ray):
            return t
    return None


@settings(max_examples=40)
@given(votes())
def test_no_ray_loses_before_the_radius(vote: Vote) -> None:
    """Exact first losses along a fan of rays and towards every row are never nearer than r*."""
    z, label, radius = vote.point, vote.label(), vote.squared_radius()
    fan = [[Fraction(value) for value in ray] for ray in product((-1, 0, 1), repeat=len(z))]
    towards = [[Fraction(x) - a for a, x in zip(z, row, strict=True)] for row in vote.case.rows]
    for ray in filter(any, fan + towards):
        t = first_loss_along_ray(vote, label, ray)
        if t is not None:
            assert t * t * inner(ray, ray) >= radius


def walls_of(vote: Vote) -> list[tuple[Point, Fraction]]:
    """The lines n·δ = c of the plane where two rows are equally near."""
    z, walls = vote.point, set()
    for i, j in combinations(range(len(vote.case.rows)), 2):
        base = vote.lead(i, j, z)
        u, v = (vote.lead(i, j, shifted(z, axis)) - base for axis in ([1, 0], [0, 1]))
        if u or v:
            walls.add((u / (u or v), v / (u or v), -base / (u or v)))
    return [([u, v], offset) for u, v, offset in sorted(walls)]


def corners(walls: list[tuple[Point, Fraction]]) -> list[Point]:
    """0, its foot on every line, and all intersections: each closed face's least-norm point is among them."""
    feet = [[offset / inner(normal, normal) * value for value in normal] for normal, offset in walls]
    meetings = [
        [(e * d - b * f) / (a * d - b * c), (a * f - e * c) / (a * d - b * c)]
        for ((a, b), e), ((c, d), f) in combinations(walls, 2)
        if a * d != b * c
    ]
    distinct = {tuple(corner) for corner in [ORIGIN, *feet, *meetings]}
    return sorted(map(list, distinct), key=lambda corner: inner(corner, corner))


def faces_at(walls: list[tuple[Point, Fraction]], corner: Point, thick: bool) -> Iterator[Point]:
    """A direction into each face of the arrangement whose closure holds the corner; 0 for its own face.

    Lines through the corner cut its neighbourhood into rays and sectors. A sector between two neighbouring
    rays holds their sum; with a single line the two sectors hold its normals.
    """
    normals = [normal for normal, offset in walls if inner(normal, corner) == offset]
    rays = [[sign * -b, sign * a] for a, b in normals for sign in (1, -1)]
    sides = [[sign * value for value in normal] for normal in normals for sign in (1, -1)]
    sums = [shifted(u, v) for u, v in combinations(rays, 2)]
    for direction in [ORIGIN, *rays, *sides, *sums]:
        if not thick or all(inner(normal, direction) for normal in normals):
            yield direction


def squared_radius_by_faces(vote: Vote, thick: bool) -> Fraction | float:
    """Of all corners where some adjoining face loses (one of the plane's open cells, if ``thick``)."""
    walls, label = walls_of(vote), vote.label()
    for corner in corners(walls):
        at = shifted(vote.point, corner)
        if any(vote.loses(label, at, direction) for direction in faces_at(walls, corner, thick)):
            return inner(corner, corner)
    return math.inf


def in_the_plane(vote: Vote) -> Vote:
    """A line as the plane's first axis, under a metric that does not see the second."""
    case = vote.case
    if len(case.points[0]) == 2:
        return vote
    flat = TinyCase(
        [[*row, 0.0] for row in case.rows],
        case.labels,
        [[*row, 0.0] for row in case.components or [[1.0]]],
        [[*point, 0.0] for point in case.points],
    )
    return Vote(flat, vote.k, vote.rule)


def check_against_faces(vote: Vote) -> tuple[Fraction | float, Fraction | float]:
    """Both radii, with and without pieces that have no interior."""
    radii = []
    for thick in (False, True):
        loss = vote.oracle().closest_loss(vote.point, vote.label(), vote.rule, thick=thick)
        radii.append(math.inf if loss is None else loss.squared_radius)
        assert radii[-1] == squared_radius_by_faces(in_the_plane(vote), thick), (vote, thick)
    return radii[0], radii[1]


@settings(max_examples=50)
@given(votes(max_features=2))
def test_up_to_two_dimensions_it_equals_a_search_of_all_faces(vote: Vote) -> None:
    check_against_faces(vote)


def test_it_equals_a_search_of_all_faces_where_rows_are_crowded() -> None:
    rng = random.Random(5)
    radii = [check_against_faces(draw(rng)) for draw in (crowded_vote, square_vote) for _ in range(50)]
    # Neither all trivial, nor without pieces that have no interior.
    assert sum(0 < radius < math.inf for radius, _ in radii) > 20
    assert any(radius < thick for radius, thick in radii)


@given(tiny_cases(), st.data())
def test_majority_is_lost_no_later_than_the_plurality(case: TinyCase, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(case.rows)), label="k")
    plurality, majority = (Vote(case, k, rule).squared_radius() for rule in RULES)
    assert majority <= plurality
    if len(set(case.labels)) < 3 and (k % 2 or Vote(case, k).label() == max(case.labels)):
        assert majority == plurality


@given(tiny_cases(), st.sampled_from(RULES))
def test_all_rows_vote_the_same_everywhere(case: TinyCase, rule: Rule) -> None:
    for label in set(case.labels):
        oracle = RationalKNearestNeighbors(case.rows, case.labels, len(case.rows), case.components)
        lost = oracle.loses(range(len(case.rows)), label, rule)
        assert oracle.squared_radius(case.points[0], label, rule) == (0 if lost else math.inf)


@given(votes(), st.integers(-3, 3))
def test_translation_and_scale_do_what_they_should(vote: Vote, shift: int) -> None:
    """x ↦ 3x + shift: squared distances and r*² grow nine-fold."""

    def moved(row: list[float]) -> Point:
        return [3 * Fraction(value) + shift for value in row]

    rows = [moved(row) for row in vote.case.rows]
    oracle = RationalKNearestNeighbors(rows, vote.case.labels, vote.k, vote.case.components)
    radius = oracle.squared_radius(moved(vote.case.points[0]), None, vote.rule)
    assert radius == 9 * vote.squared_radius()


def least_norm_point_by_active_sets(normals, offsets, n_features) -> Point | None:
    """The feasible point Aᵀμ of least norm, over independent rows A with equality and any signs of μ."""
    feasible = []
    for size in range(n_features + 1):
        for active in combinations(range(len(normals)), size):
            rows = [normals[k] for k in active]
            solved = solve_gram_system(rows, [offsets[k] for k in active])
            if solved is not None:
                point = [
                    Fraction(sum(mu * row[k] for mu, row in zip(solved[0], rows, strict=True)), solved[1])
                    for k in range(n_features)
                ]
                if all(inner(a, point) <= b for a, b in zip(normals, offsets, strict=True)):
                    feasible.append(point)
    return min(feasible, key=lambda point: inner(point, point), default=None)


def test_least_norm_point_is_the_least_of_all_active_sets() -> None:
    rng, found, empty = random.Random(4), 0, 0
    for _ in range(400):
        n_features, n_rows = rng.randint(1, 3), rng.randint(0, 7)
        normals = [[rng.randint(-2, 2) for _ in range(n_features)] for _ in range(n_rows)]
        offsets = [rng.randint(-3, 2) for _ in range(n_rows)]
        point = least_norm_point(normals, offsets, n_features)
        assert point == least_norm_point_by_active_sets(normals, offsets, n_features)
        found += point is not None and any(point)
        empty += point is None
    assert found > 50
    assert empty > 50


@pytest.mark.slow
def test_a_thousand_radii_equal_a_search_of_all_faces() -> None:
    rng = random.Random(6)
    counts = {"zero": 0, "finite": 0, "infinite": 0, "thin": 0}
    for _ in range(1_000):
        vote = rng.choice([random_vote, crowded_vote, square_vote])(rng)
        if len(vote.point) == 3:
            continue
        radius, thick = check_against_faces(vote)
        counts["thin"] += radius < thick
        counts["zero" if radius == 0 else "finite" if radius < math.inf else "infinite"] += 1
    print(counts)
    assert min(counts.values()) > 10
