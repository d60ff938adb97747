"""The rational oracle against ways that know no polyhedra: line scans, rays, grids, its own witness."""

import math
import random
from fractions import Fraction
from itertools import combinations, pairwise, product

import pytest
from hypothesis import given, settings

from oracles.rational import RationalNearestNeighbor, solve_gram_system, squared_distance
from oracles.tiny import TinyCase, random_case, tiny_cases


def classifier_of(case: TinyCase) -> RationalNearestNeighbor:
    return RationalNearestNeighbor(case.rows, case.labels, case.components)


def squared_radius_by_scanning_the_line(clf: RationalNearestNeighbor, z: Fraction) -> Fraction | float:
    """On the line the answer changes only where two rows are equally near: probe every piece."""
    xs = sorted({row[0] for row in clf.rows})
    walls = sorted({(a + b) / 2 for a, b in combinations(xs, 2)} | {z})
    ends = [walls[0] - 1, *walls, walls[-1] + 1]
    label = clf.predict([z])
    # A piece is a wall or the open interval between two; the infimum over a piece is its nearest end.
    reached = [abs(wall - z) for wall in walls if clf.predict([wall]) != label]
    for low, high in pairwise(ends):
        if clf.predict([(low + high) / 2]) != label:
            reached += [abs(end - z) for end in (low, high) if end in walls]
    return min(reached) ** 2 if reached else math.inf


def first_flip_along_ray(
    clf: RationalNearestNeighbor, z: list[Fraction], ray: list[Fraction]
) -> Fraction | None:
    """The least t ≥ 0 from which z + t·ray, or points just beyond, have another label; None if there is none.

    Each difference of two squared distances is affine in t: between roots the answer is constant.
    """

    def at(t: Fraction) -> list[Fraction]:
        return [a + t * b for a, b in zip(z, ray, strict=True)]

    start, step = clf.squared_distances(z), clf.squared_distances(at(Fraction(1)))
    roots = {Fraction(0)}
    for i, j in combinations(range(len(clf.rows)), 2):
        slope = (step[i] - step[j]) - (start[i] - start[j])
        if slope:
            roots.add(-(start[i] - start[j]) / slope)
    times = sorted(t for t in roots if t >= 0)
    label = clf.predict(z)
    for t, following in pairwise([*times, times[-1] + 1]):
        if clf.predict(at(t)) != label or clf.predict(at((t + following) / 2)) != label:
            return t
    return None


@given(tiny_cases())
def test_witness_attains_the_radius(case: TinyCase) -> None:
    """Moved by any share towards its row, the oracle's perturbation changes the answer: r* is no larger."""
    clf, z = classifier_of(case), case.points[0]
    label = clf.predict(z)
    rival = clf.closest_rival(z, label)
    if rival is None:
        return
    wall = [Fraction(a) + b for a, b in zip(z, rival.perturbation, strict=True)]
    assert squared_distance(wall, z) == rival.squared_radius
    for share in (Fraction(1, 10**30), Fraction(1, 1000), Fraction(1)):
        inside = [a + share * (b - a) for a, b in zip(wall, clf.rows[rival.row], strict=True)]
        assert clf.predict(inside) != label


@settings(max_examples=40)
@given(tiny_cases())
def test_no_ray_flips_before_the_radius(case: TinyCase) -> None:
    """Exact flips along rays, towards every row and along a fan, are never nearer than r*."""
    clf = classifier_of(case)
    z = [Fraction(value) for value in case.points[0]]
    radius = clf.squared_radius(z)
    fan = [list(map(Fraction, ray)) for ray in product((-1, 0, 1), repeat=len(z)) if any(ray)]
    towards = [[x - a for a, x in zip(z, row, strict=True)] for row in clf.rows if row != z]
    for ray in fan + towards:
        t = first_flip_along_ray(clf, z, ray)
        if t is not None:
            assert t * t * sum(value * value for value in ray) >= radius


@given(tiny_cases().filter(lambda case: len(case.points[0]) == 1))
def test_on_the_line_it_equals_a_scan_of_all_pieces(case: TinyCase) -> None:
    clf, z = classifier_of(case), Fraction(case.points[0][0])
    assert clf.squared_radius([z]) == squared_radius_by_scanning_the_line(clf, z)


def test_in_the_plane_it_equals_the_finest_of_many_rays() -> None:
    """Of 300 rays the least flip is within a percent of r*, where the cell is no thin wedge; never below."""
    rng, near, total = random.Random(1), 0, 0
    angles = [2 * math.pi * k / 300 for k in range(300)]
    rays = [[Fraction(math.cos(angle)), Fraction(math.sin(angle))] for angle in angles]
    while total < 12:
        case = random_case(rng, n_points=1)
        clf, z = classifier_of(case), [Fraction(value) for value in case.points[0]]
        radius = clf.squared_radius(z)
        if len(z) != 2 or not 0 < radius < math.inf:
            continue
        flips = [
            t * t * squared_distance(ray, [0, 0])
            for ray in rays
            if (t := first_flip_along_ray(clf, z, ray)) is not None
        ]
        assert flips
        assert min(flips) >= radius
        near += min(flips) <= radius * Fraction(101, 100)
        total += 1
    assert near >= 10


def test_points_of_a_grid_with_another_answer_lie_outside_the_radius() -> None:
    rng = random.Random(2)
    for _ in range(30):
        case = random_case(rng, n_points=1)
        clf, z = classifier_of(case), case.points[0]
        if len(z) != 2:
            continue
        label, radius = clf.predict(z), clf.squared_radius(z)
        for u, v in product(range(-8, 9), repeat=2):
            p = [Fraction(z[0]) + Fraction(u, 3), Fraction(z[1]) + Fraction(v, 3)]
            if clf.predict(p) != label:
                assert squared_distance(p, z) >= radius


def test_elimination_solves_the_gram_system() -> None:
    rng = random.Random(3)
    for _ in range(300):
        size = rng.randint(1, 3)
        rows = [[rng.randint(-5, 5) for _ in range(3)] for _ in range(size)]
        right = [rng.randint(-5, 5) for _ in range(size)]
        gram = [[sum(a * b for a, b in zip(u, v, strict=True)) for v in rows] for u in rows]
        solution = solve_gram_system(rows, right)
        if solution is not None:
            numerators, determinant = solution
            assert determinant > 0
            products = [sum(g * x for g, x in zip(row, numerators, strict=True)) for row in gram]
            assert products == [determinant * b for b in right]


@pytest.mark.parametrize(
    ("rows", "labels", "components", "point", "expected"),
    [
        ([[0.0], [2.0]], [0, 1], None, [0.0], 1),
        ([[0.0], [2.0]], [0, 0], None, [0.0], math.inf),
        # The wall lies at 1 and belongs to row 0; row 1 wins just beyond it.
        ([[0.0], [2.0]], [0, 1], None, [1.0], 0),
        # The same row under two labels: the second never wins.
        ([[0.0], [0.0]], [0, 1], None, [5.0], math.inf),
        # ... but where the first of three is of the other class, the last does not protect its class.
        ([[0.0], [4.0], [0.0]], [1, 0, 0], None, [3.0], 1),
        # A metric that does not see the second feature; the perturbation is measured with both.
        ([[0.0, 0.0], [2.0, 9.0]], [0, 1], [[5.0, 0.0]], [0.0, 100.0], 1),
        # A metric blind to the only difference between two rows: the first wins everywhere.
        ([[0.0, 0.0], [0.0, 9.0]], [0, 1], [[5.0, 0.0]], [7.0, 7.0], math.inf),
        # A sheared metric: the triplet formula by hand, numerator 4 over 2·‖(2, 2)‖.
        ([[0.0, 0.0], [2.0, 0.0]], [0, 1], [[1.0, 1.0]], [0.0, 0.0], Fraction(1, 2)),
    ],
)
def test_radius_by_hand(rows, labels, components, point, expected) -> None:
    assert RationalNearestNeighbor(rows, labels, components).squared_radius(point) == expected


def test_radius_of_a_misclassified_point_is_zero() -> None:
    assert RationalNearestNeighbor([[0.0], [2.0]], [0, 1]).squared_radius([0.0], label=1) == 0
