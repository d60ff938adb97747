"""Exact robustness radius of a classifier by K nearest neighbours on tiny data, by rational enumeration.

The classifier is a function on real points: rows in the order of (``‖G(p − x_i)‖²``, training index), without
rounding; the first K vote. With rule *plurality* the answer is the label with the most votes, ties to the
smallest label, and class ``c`` loses where the answer is another label; with rule *majority* it loses where
at most K/2 of the votes are its own. For a point ``z`` and a class ``c`` the oracle returns ``r*²``, where

    r* = inf { ‖δ‖₂ : c loses at z + δ },

``‖·‖₂`` is the input space's norm and the infimum over no point is infinity. K = n and even K are ordinary.

**From the classifier to polyhedra.** A vote depends on the *set* S of the K nearest rows only, and S is that
set exactly if each of its rows comes before each row outside: with ``u_i = x_i − z``

    2 (M u_t − M u_s)·δ ≤ ‖G u_t‖² − ‖G u_s‖²    for s in S, t outside, M = GᵀG,

``<`` in place of ``≤`` where t < s. The points at which c loses are thus the union of such *pieces* P_S over
the K-subsets S with a vote that c loses, and r* is the least of their distances from 0.

**A piece may be empty though its closure is not.** Rows that coincide in the metric give 0 ≤ 0 or 0 < 0; but
distinct rows do it as well: of four corners of a square the two of a diagonal are the two nearest at the
centre only, and there if their indices come first. So unlike for K = 1 the closure alone decides nothing.
Let δ* be the least-norm point of the closure (all ``≤``) and A its *active* half-spaces, those with equality.

    P_S is not empty  ⟺  some v has a·v ≤ 0 for every a in A, and a·v ≤ −1 for every strict one.

⟸: δ* + εv lies in P_S for all small ε > 0, so ‖δ*‖ is the infimum over P_S. ⟹: v = μ(p − δ*) for any p in
P_S and a large μ. The right side asks for a point of a closed polyhedron, which the same solver decides.

**The solver** visits the half-spaces in turn. Let x be the least-norm point of those before the k-th. If the
k-th holds at x, x stays. If not, the segment from x to any point where all k hold crosses the k-th wall: so
the least-norm point of all k lies in that wall, and they are contradictory if the wall has no point where the
others hold. That is the same problem in one dimension less, on the affine subspace where some walls hold with
equality; its normals are independent, so the recursion ends. Nothing rests on this argument: a least-norm
point is checked by the Karush-Kuhn-Tucker conditions, a contradiction by Farkas' lemma (non-negative weights
with which the normals add up to 0 and the offsets to less than 0), in integers, each time.

**Pruning.** No point of a piece is nearer to 0 than its farthest single half-space. Pieces are visited by
this bound, and those whose bound reaches the best distance so far are left out.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations
from operator import itemgetter
from typing import Literal

from oracles.rational import (
    Integers,
    Vector,
    common_denominator,
    dot,
    matrix_of,
    solve_gram_system,
    subtract,
    to_integers,
)

Rule = Literal["plurality", "majority"]


@dataclass(frozen=True)
class HalfSpace:
    """``normal·δ ≤ offset``, with ``<`` where it is strict."""

    normal: Integers
    offset: int
    strict: bool

    def squared_distance(self) -> Fraction | float:
        """Squared distance from 0; infinity where it is known to be empty."""
        if not any(self.normal):
            return Fraction(0) if self.offset > 0 or (self.offset == 0 and not self.strict) else math.inf
        return Fraction(min(self.offset, 0) ** 2, dot(self.normal, self.normal))

    def slack(self, delta: Sequence[Fraction]) -> Fraction:
        """What is left of the offset at δ; negative outside."""
        return self.offset - sum((a * x for a, x in zip(self.normal, delta, strict=True)), Fraction(0))


@dataclass(frozen=True)
class ClosestLoss:
    """The nearest piece where the class loses.

    ``perturbation`` is the least-norm point of the piece's closure. ``inside`` lies in the piece, and so does
    every point of the segment between them but perhaps the first. The two are equal if r* is attained.
    """

    squared_radius: Fraction
    neighbors: tuple[int, ...]
    perturbation: list[Fraction]
    inside: list[Fraction]


class RationalKNearestNeighbors:
    """``rows`` (n, d) and ``labels`` (n,) under components G (p, d) or a matrix M (d, d); else Euclidean."""

    def __init__(
        self,
        rows: Sequence[Vector],
        labels: Sequence[int],
        n_neighbors: int,
        components: Sequence[Vector] | None = None,
        matrix: Sequence[Vector] | None = None,
    ):
        if not 1 <= n_neighbors <= len(rows):
            raise ValueError(f"n_neighbors = {n_neighbors} of {len(rows)} rows")
        self.rows = [[Fraction(value) for value in row] for row in rows]
        self.labels = list(labels)
        self.n_neighbors = n_neighbors
        exact = matrix_of(len(self.rows[0]), components, matrix)
        # A factor of M changes neither the order of the rows nor a half-space.
        self._matrix = to_integers(exact, common_denominator(exact))

    def neighbors(self, point: Vector) -> list[int]:
        """The K nearest rows, nearest first, ties to the lowest index."""
        squared, _, _ = self._seen_from(point)
        return sorted(range(len(squared)), key=lambda i: (squared[i], i))[: self.n_neighbors]

    def predict(self, point: Vector) -> int:
        """The label with the most votes, ties to the smallest label."""
        return self.plurality(self.neighbors(point))

    def plurality(self, neighbors: Iterable[int]) -> int:
        """The vote of a set of rows."""
        votes = Counter(self.labels[i] for i in neighbors)
        return min(votes, key=lambda label: (-votes[label], label))

    def loses(self, neighbors: Iterable[int], label: int, rule: Rule = "plurality") -> bool:
        """Whether ``label`` loses where these are the K nearest rows."""
        if rule == "plurality":
            return self.plurality(neighbors) != label
        return 2 * sum(self.labels[i] == label for i in neighbors) <= self.n_neighbors

    def squared_radius(
        self, point: Vector, label: int | None = None, rule: Rule = "plurality"
    ) -> Fraction | float:
        """``r*²`` of a point of class ``label`` (None: the prediction); ``inf`` if it never loses."""
        loss = self.closest_loss(point, self.predict(point) if label is None else label, rule)
        return math.inf if loss is None else loss.squared_radius

    def closest_loss(
        self, point: Vector, label: int, rule: Rule = "plurality", *, thick: bool = False
    ) -> ClosestLoss | None:
        """The nearest piece where ``label`` loses, None if there is none.

        With ``thick`` only pieces with interior count: the infimum over whole neighbourhoods where it loses.
        """
        before, scale = self._precedences(point, thick)
        best: ClosestLoss | None = None
        for bound, subset, walls in sorted(self._losing_pieces(before, label, rule), key=itemgetter(0, 1)):
            limit = math.inf if best is None else best.squared_radius
            if bound >= limit:
                break
            best = closest_point_of_piece(subset, walls, limit, len(point)) or best
        return None if best is None else _in_units(best, scale)

    def _losing_pieces(
        self, before: list[list[HalfSpace]], label: int, rule: Rule
    ) -> Iterator[tuple[Fraction | float, tuple[int, ...], list[HalfSpace]]]:
        """Squared distance that no point of the piece undercuts, K-subset, half-spaces."""
        for subset in combinations(range(len(before)), self.n_neighbors):
            if self.loses(subset, label, rule):
                walls = [before[s][t] for s in subset for t in range(len(before)) if t not in subset]
                yield max((wall.squared_distance() for wall in walls), default=Fraction(0)), subset, walls

    def _precedences(self, point: Vector, thick: bool) -> tuple[list[list[HalfSpace]], int]:
        """Where row s comes before row t, for all s and t; δ in units of 1/scale."""
        squared, pulls, scale = self._seen_from(point)
        n = len(squared)
        before = [
            [HalfSpace(subtract(pulls[t], pulls[s]), squared[t] - squared[s], t < s) for t in range(n)]
            for s in range(n)
        ]
        if thick:
            # The interior; where rows coincide in the metric the index still decides.
            before = [
                [replace(wall, strict=wall.strict or any(wall.normal)) for wall in row] for row in before
            ]
        return before, scale

    def _seen_from(self, point: Vector) -> tuple[Integers, list[Integers], int]:
        """d²(z, x_i) and 2M(x_i − z) up to a common factor, the x_i − z in units of 1/scale."""
        offsets = [[x - Fraction(z) for x, z in zip(row, point, strict=True)] for row in self.rows]
        scale = common_denominator(offsets)
        grid = to_integers(offsets, scale)
        pulls = [[2 * dot(row, vector) for row in self._matrix] for vector in grid]
        return [dot(vector, pull) // 2 for vector, pull in zip(grid, pulls, strict=True)], pulls, scale


def _in_units(loss: ClosestLoss, scale: int) -> ClosestLoss:
    return ClosestLoss(
        loss.squared_radius / scale**2,
        loss.neighbors,
        [value / scale for value in loss.perturbation],
        [value / scale for value in loss.inside],
    )


def closest_point_of_piece(
    subset: tuple[int, ...], walls: list[HalfSpace], limit: Fraction | float, n_features: int
) -> ClosestLoss | None:
    """The infimum over one piece; None if it is empty or no nearer than the squared distance ``limit``."""
    delta = least_norm_point([wall.normal for wall in walls], [wall.offset for wall in walls], n_features)
    if delta is None:
        return None
    squared = sum((value * value for value in delta), Fraction(0))
    if squared >= limit:
        return None
    inside = point_inside(walls, delta)
    return None if inside is None else ClosestLoss(squared, subset, delta, inside)


def point_inside(walls: list[HalfSpace], delta: list[Fraction]) -> list[Fraction] | None:
    """A point of the piece, on a ray from δ in its closure; None if the piece is empty."""
    active = [wall for wall in walls if wall.slack(delta) == 0]
    inward = least_norm_point([wall.normal for wall in active], [-int(w.strict) for w in active], len(delta))
    if inward is None:
        return None
    step = Fraction(1)
    for wall in walls:
        approach = wall.offset - wall.slack(inward)
        if approach > 0:
            step = min(step, wall.slack(delta) / approach / 2)
    inside = [x + step * v for x, v in zip(delta, inward, strict=True)]
    assert all(wall.slack(inside) > 0 or (wall.slack(inside) == 0 and not wall.strict) for wall in walls)
    return inside


def least_norm_point(normals: list[Integers], offsets: Integers, n_features: int) -> list[Fraction] | None:
    """Least-norm point of ``Aδ ≤ b``; None if it is empty. Either answer is proven before it is returned."""
    tight, feasible = binding_rows(normals, offsets, n_features, len(normals), [])
    if not feasible:
        assert is_contradiction([normals[k] for k in tight], [offsets[k] for k in tight])
        return None
    solved = solve_gram_system([normals[k] for k in tight], [offsets[k] for k in tight])
    assert solved is not None
    multipliers, denominator = solved
    point = combine([normals[k] for k in tight], multipliers, n_features)
    assert all(multiplier <= 0 for multiplier in multipliers)
    assert all(dot(normals[k], point) == denominator * offsets[k] for k in tight)
    assert all(dot(a, point) <= denominator * b for a, b in zip(normals, offsets, strict=True))
    return [Fraction(value, denominator) for value in point]


def binding_rows(
    normals: list[Integers], offsets: Integers, n_features: int, count: int, tight: list[int]
) -> tuple[list[int], bool]:
    """Rows whose walls meet in the least-norm point of the first ``count`` rows and the walls ``tight``.

    With False: independent rows and a last one that depends on them, which together have no point.
    """
    binding, k = tight, 0
    while True:
        solved = solve_gram_system([normals[i] for i in binding], [offsets[i] for i in binding])
        if solved is None:
            return binding, False
        point = combine([normals[i] for i in binding], solved[0], n_features)
        while k < count and dot(normals[k], point) <= solved[1] * offsets[k]:
            k += 1
        if k == count:
            return binding, True
        binding, feasible = binding_rows(normals, offsets, n_features, k, [*tight, k])
        if not feasible:
            return binding, False
        k += 1


def is_contradiction(normals: list[Integers], offsets: Integers) -> bool:
    """Farkas' lemma for independent rows and a last row in their span: weights that add up to 0 ≤ −1."""
    *independent, last = normals
    solved = solve_gram_system(independent, [dot(row, last) for row in independent])
    assert solved is not None
    shares, denominator = solved
    weights = [*(-share for share in shares), denominator]
    total = combine(normals, weights, len(last))
    return min(weights) >= 0 and not any(total) and dot(weights, offsets) < 0


def combine(rows: list[Integers], weights: Integers, n_features: int) -> Integers:
    """Σ weight · row."""
    return [sum(w * row[k] for w, row in zip(weights, rows, strict=True)) for k in range(n_features)]
