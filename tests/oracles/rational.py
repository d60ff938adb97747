"""Exact robustness radius of a nearest-neighbour classifier on tiny data, by rational enumeration.

The classifier is a function on real points: squared distances ``(p − x_i)ᵀM(p − x_i)`` without rounding,
ties in distance to the lowest training index, the answer is the label of the nearest row. For a point ``z``
of class ``c`` the oracle returns ``r*²`` as a Fraction (or infinity), where

    r* = inf { ‖δ‖₂ : the answer at z + δ is not c }

and ``‖·‖₂`` is the input space's norm, never the metric's. ``r* = 0`` where the answer at ``z`` is not c.

**From the classifier to polyhedra.** The answer at ``p`` is not ``c`` exactly if some row ``j`` of another
class comes before every class-c row ``i`` in the order by (distance, index): ``d_j < d_i``, or ``d_j =
d_i`` and ``j < i``. With ``δ = p − z`` the inequality ``d_j² ≤ d_i²`` reads

    a_iᵀδ ≤ b_i,    a_i = 2 M (x_i − x_j),    b_i = d²(z, x_i) − d²(z, x_j),

where M is a symmetric matrix, or ``GᵀG`` for components G.

**Rows that coincide in the metric**, ``M(x_i − x_j) = 0``: both distances are equal everywhere, so the
index decides once and for all. If ``i < j`` then ``j`` never wins and contributes infinity; if ``j < i``
the constraint always holds.

**Strict and closed inequalities have the same infimum** for every other ``i``, if M is semidefinite; a matrix
that is not, even by rounding, is for :mod:`oracles.rational_knn`. At ``p = x_j`` the left distance is 0 and
``d_i² > 0``, so ``x_j`` satisfies all constraints strictly. If ``p`` satisfies them with equality allowed,
then by affinity every point of the half-open segment from ``p`` (excluded) to ``x_j`` satisfies them
strictly, and such points come arbitrarily near to ``p``. So ``r_j`` is the norm of the least-norm point of
the closed polyhedron, which is never empty, and ``r* = min_j r_j``.

**Enumeration.** Let ``δ`` be that least-norm point. By the Karush-Kuhn-Tucker conditions ``−δ = Σ λ_i a_i``
with ``λ ≥ 0`` over active constraints, and by Carathéodory's theorem for cones linearly independent ``a_i``
suffice, at most ``d`` of them. With that subset as rows of ``A``, ``δ = Aᵀμ`` and ``AAᵀμ = b`` with ``μ =
−λ ≤ 0``. Conversely a feasible ``δ = Aᵀμ`` with ``μ ≤ 0`` and ``Aδ = b`` satisfies the conditions, which
suffice since the problem is convex. The first subset that passes is therefore the answer.

A binary64 number is a rational with a power of two as denominator; everything is brought to a common
denominator first, so that the loops run on Python's integers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

Number = int | float | Fraction
Vector = Sequence[Number]
Integers = list[int]


@dataclass(frozen=True)
class ClosestRival:
    """The nearest cell of another class: squared distance, training row, perturbation to its closure."""

    squared_radius: Fraction
    row: int
    perturbation: list[Fraction]


class RationalNearestNeighbor:
    """``rows`` (n, d) and ``labels`` (n,) under components G (p, d) or a matrix M (d, d); else Euclidean."""

    def __init__(
        self,
        rows: Sequence[Vector],
        labels: Sequence[int],
        components: Sequence[Vector] | None = None,
        matrix: Sequence[Vector] | None = None,
    ):
        self.rows = [[Fraction(value) for value in row] for row in rows]
        self.labels = list(labels)
        self.matrix = matrix_of(len(self.rows[0]), components, matrix)
        self._matrix_scale = common_denominator(self.matrix)
        self._matrix = to_integers(self.matrix, self._matrix_scale)
        self._rows_scale = common_denominator(self.rows)

    def squared_distances(self, point: Vector) -> list[Fraction]:
        """d²(point, x_i) for every training row."""
        z, rows, scale = self._on_one_grid(point)
        unit = scale**2 * self._matrix_scale
        return [Fraction(self._square(subtract(z, x)), unit) for x in rows]

    def order(self, point: Vector) -> list[int]:
        """All training rows, nearest first, ties to the lowest index."""
        distances = self.squared_distances(point)
        return sorted(range(len(distances)), key=lambda i: (distances[i], i))

    def predict(self, point: Vector) -> int:
        """The label of the nearest row."""
        return self.labels[self.order(point)[0]]

    def has_lost(self, point: Vector, label: int) -> bool:
        """Whether the answer at the point is another label."""
        return self.predict(point) != label

    def squared_radius(self, point: Vector, label: int | None = None) -> Fraction | float:
        """``r*²`` of a point of true label ``label`` (None: the prediction); ``inf`` if nothing flips it."""
        predicted = self.predict(point)
        if label is not None and predicted != label:
            return Fraction(0)
        rival = self.closest_rival(point, predicted)
        return math.inf if rival is None else rival.squared_radius

    def closest_rival(self, point: Vector, label: int) -> ClosestRival | None:
        """The nearest cell of a class other than ``label``; None if there is none."""
        best: ClosestRival | None = None
        for row, other in enumerate(self.labels):
            if other == label:
                continue
            constraints = self.cell_constraints(point, label, row)
            if constraints is None:
                continue
            normals, offsets, scale = constraints
            numerators, denominator = least_norm_point(normals, offsets, len(point))
            delta = [Fraction(value, denominator * scale) for value in numerators]
            squared = sum((value * value for value in delta), Fraction(0))
            if best is None or squared < best.squared_radius:
                best = ClosestRival(squared, row, delta)
        return best

    def cell_constraints(
        self, point: Vector, label: int, j: int
    ) -> tuple[list[Integers], Integers, int] | None:
        """``a_iᵀδ ≤ b_i`` of row ``j`` against the class, δ in units of 1/scale; None: ``j`` never wins."""
        z, rows, scale = self._on_one_grid(point)
        rival_distance = self._square(subtract(z, rows[j]))
        normals, offsets = [], []
        for i, own in enumerate(self.labels):
            if own != label:
                continue
            pull = self._pull(subtract(rows[i], rows[j]))
            if not any(pull):
                if i < j:
                    return None
                continue
            normals.append([2 * entry for entry in pull])
            offsets.append(self._square(subtract(z, rows[i])) - rival_distance)
        return normals, offsets, scale

    def _on_one_grid(self, point: Vector) -> tuple[Integers, list[Integers], int]:
        exact = [Fraction(value) for value in point]
        scale = math.lcm(self._rows_scale, common_denominator([exact]))
        return to_integers([exact], scale)[0], to_integers(self.rows, scale), scale

    def _pull(self, vector: Integers) -> Integers:
        return [dot(row, vector) for row in self._matrix]

    def _square(self, vector: Integers) -> int:
        return dot(vector, self._pull(vector))


def matrix_of(
    n_features: int, components: Sequence[Vector] | None, matrix: Sequence[Vector] | None
) -> list[list[Fraction]]:
    """M itself, GᵀG, or the identity."""
    if matrix is not None:
        return [[Fraction(value) for value in row] for row in matrix]
    if components is None:
        return [[Fraction(i == j) for j in range(n_features)] for i in range(n_features)]
    columns = list(zip(*[[Fraction(value) for value in row] for row in components], strict=True))
    return [[sum((a * b for a, b in zip(u, v, strict=True)), Fraction(0)) for v in columns] for u in columns]


def least_norm_point(normals: list[Integers], offsets: Integers, n_features: int) -> tuple[Integers, int]:
    """Least-norm point of the non-empty polyhedron ``Aδ ≤ b``, as integers over one positive integer."""
    active, multipliers, determinant = least_norm_multipliers(normals, offsets, n_features)
    point = [0] * n_features
    for k, multiplier in zip(active, multipliers, strict=True):
        point = [value + multiplier * entry for value, entry in zip(point, normals[k], strict=True)]
    return point, determinant


def least_norm_multipliers(
    normals: list[Integers], offsets: Integers, n_features: int
) -> tuple[tuple[int, ...], Integers, int]:
    """The active constraints at that point, det·μ ≤ 0 and det, with ``δ = Aᵀμ``."""
    if all(offset >= 0 for offset in offsets):
        return (), [], 1
    for size in range(1, n_features + 1):
        for subset in combinations(range(len(normals)), size):
            active = [normals[i] for i in subset]
            solution = solve_gram_system(active, [offsets[i] for i in subset])
            if solution is None:
                continue
            multipliers, determinant = solution
            if any(multiplier > 0 for multiplier in multipliers):
                continue
            point = [dot(column, multipliers) for column in zip(*active, strict=True)]
            if all(dot(a, point) <= determinant * b for a, b in zip(normals, offsets, strict=True)):
                return subset, multipliers, determinant
    raise ArithmeticError("the polyhedron is empty, which a cell with its own row inside cannot be")


def solve_gram_system(rows: list[Integers], right: Integers) -> tuple[Integers, int] | None:
    """Solve ``AAᵀμ = b`` as (det·μ, det) by fraction-free elimination; None if the rows are dependent.

    ``AAᵀ`` is positive semi-definite, so its leading minors, which are the pivots, are positive unless the
    rows up to there are dependent: no exchange of rows is needed, and each division by the previous pivot is
    exact (Bareiss).
    """
    table = [[dot(row, other) for other in rows] + [b] for row, b in zip(rows, right, strict=True)]
    previous = 1
    for k in range(len(rows)):
        pivot = table[k][k]
        if pivot == 0:
            return None
        for i in range(len(rows)):
            if i != k:
                factor = table[i][k]
                table[i] = [
                    (pivot * u - factor * v) // previous for u, v in zip(table[i], table[k], strict=True)
                ]
        previous = pivot
    return [row[-1] for row in table], previous


def dot(u: Sequence[int], v: Sequence[int]) -> int:
    """Inner product of integer vectors."""
    return sum(a * b for a, b in zip(u, v, strict=True))


def subtract(u: Integers, v: Integers) -> Integers:
    """u − v."""
    return [a - b for a, b in zip(u, v, strict=True)]


def common_denominator(rows: Sequence[Sequence[Fraction]]) -> int:
    """The least integer that makes every entry an integer."""
    return math.lcm(*(value.denominator for row in rows for value in row))


def to_integers(rows: Sequence[Sequence[Fraction]], scale: int) -> list[Integers]:
    """Entries times ``scale``, which must be a multiple of every denominator."""
    return [[value.numerator * (scale // value.denominator) for value in row] for row in rows]


def square(value: float) -> Fraction | float:
    """The exact square of a binary64 number; infinity stays infinity."""
    return value if math.isinf(value) else Fraction(value) ** 2


def squared_distance(u: Vector, v: Vector) -> Fraction:
    """Exact squared Euclidean distance in input space."""
    return sum(((Fraction(a) - Fraction(b)) ** 2 for a, b in zip(u, v, strict=True)), Fraction(0))
