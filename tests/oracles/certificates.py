"""Certificates of tiny data in rational arithmetic, as tight as binary64 allows; and whether one is true.

For every row ``j`` of another class the multipliers of the least-norm point of its cell are a witness.
Rounded to binary64 they prove, of each row, a bound whose square is rational; ``lower`` is the last binary64
number that all rows allow, and ``upper`` the first that reaches the adversarial point.
"""

import math
from fractions import Fraction
from typing import Any

from certimetric.certificate import (
    Verdict,
    Verifier,
    decode,
    encode,
    sha256_of_matrix,
    sha256_of_metric,
    sha256_of_training,
)
from oracles.rational import RationalNearestNeighbor, Vector, least_norm_multipliers, square, squared_distance
from oracles.rational_knn import RationalKNearestNeighbors
from oracles.tiny import TinyCase

Witness = tuple[list[int], list[float]]
Certificate = dict[str, Any]


class BothCheckers:
    """The checker and its plain form, which has to accept whatever the fast one does."""

    def __init__(self, *training: Any, **metric: Any) -> None:
        self.fast, self.plain = (Verifier(*training, **metric, plain=plain) for plain in (False, True))

    def verify(self, certificate: Any) -> Verdict:
        """The stricter verdict."""
        return self.verdicts(certificate)[0]

    def verify_leniently(self, certificate: Any) -> Verdict:
        """That of the plain form: a certificate that it accepts has to be true."""
        return self.verdicts(certificate)[1]

    def verdicts(self, certificate: Any) -> tuple[Verdict, Verdict]:
        fast, plain = self.fast.verify(certificate), self.plain.verify(certificate)
        assert plain or not fast, plain.reason
        return fast, plain


def exact_oracle(case: TinyCase) -> RationalNearestNeighbor:
    return RationalNearestNeighbor(case.rows, case.labels, case.components, case.matrix)


def name_of_metric(case: TinyCase) -> str:
    """What certificates call the metric."""
    if case.matrix is not None:
        return sha256_of_matrix(case.matrix)
    return "euclidean" if case.components is None else sha256_of_metric(case.components)


def make_certificate(case: TinyCase, point: list[float], label: int | None = None) -> Certificate:
    """The best certificate of a point for K = 1; without a label, of its prediction."""
    oracle = exact_oracle(case)
    predicted = oracle.predict(point)
    label = predicted if label is None else label
    certificate = frame(case, point, label, predicted)
    if label != predicted:
        return certificate | {"lower": 0.0, "upper": 0.0}
    witnesses = make_witnesses(oracle, point, label)
    lower = floor_root(proven(oracle, point, label, witnesses))
    certificate["lower"] = None if lower == math.inf else lower
    # Of a radius that is 0 in binary64 nothing is to be proven.
    certificate["witnesses"] = [*map(list, witnesses)] if lower > 0 else []
    adversarial = lost_point(oracle, point, label)
    if adversarial is not None:
        certificate["adversarial"] = encode(adversarial)
        certificate["upper"] = ceil_root(squared_distance(adversarial, point))
    return certificate


def frame(case: TinyCase, point: list[float], label: int, predicted: int) -> Certificate:
    """All fields, with nothing claimed of the radius."""
    return {
        "format": "certimetric.certificate",
        "version": 1,
        "training": sha256_of_training(case.rows, case.labels),
        "metric": name_of_metric(case),
        "norm": 2,
        "n_neighbors": 1,
        "rule": "plurality",
        "index": 0,
        "point": encode(point),
        "label": label,
        "predicted": predicted,
        "lower": 0.0,
        "upper": None,
        "adversarial": None,
        "witnesses": [],
        "tree": None,
    }


def make_witnesses(oracle: RationalNearestNeighbor, point: list[float], label: int) -> list[Witness]:
    """One witness for each row of another class that needs one; none where the radius is 0."""
    found = [witness_against(oracle, point, label, j) for j in others(oracle, label)]
    if any(witness == ([], []) for witness in found):
        return []
    return [witness for witness in found if witness is not None]


def others(oracle: RationalNearestNeighbor, label: int) -> list[int]:
    return [j for j, other in enumerate(oracle.labels) if other != label]


def witness_against(
    oracle: RationalNearestNeighbor, point: list[float], label: int, j: int
) -> Witness | None:
    """Rows and weights; no rows where the cell has the point; None where a row of the class is the same."""
    own = [i for i, other in enumerate(oracle.labels) if other == label]
    gaps = oracle.squared_distances(oracle.rows[j])
    before = next((i for i in own if i < j and gaps[i] == 0), None)
    if before is not None:
        return None if repeats(oracle, label, j) else ([before], [1.0])
    constraints = oracle.cell_constraints(point, label, j)
    assert constraints is not None
    normals, offsets, _ = constraints
    active, multipliers, _ = least_norm_multipliers(normals, offsets, len(point))
    apart = [i for i in own if gaps[i] != 0]
    largest = max((-value for value in multipliers), default=1)
    pairs = [(apart[k], float(Fraction(-m, largest))) for k, m in zip(active, multipliers, strict=True)]
    return [i for i, weight in pairs if weight > 0], [weight for _, weight in pairs if weight > 0]


def repeats(oracle: RationalNearestNeighbor, label: int, j: int) -> bool:
    """Whether a row of the class and of a lower index has the same numbers."""
    return any(oracle.labels[i] == label and oracle.rows[i] == oracle.rows[j] for i in range(j))


def proven(
    oracle: RationalNearestNeighbor, point: Vector, label: int, witnesses: list[Witness]
) -> Fraction | float:
    """The square of what all witnesses together prove of the lower end."""
    worst: Fraction | float = math.inf
    for j in others(oracle, label):
        if not repeats(oracle, label, j):
            worst = min(
                worst, max((bound(oracle, point, j, each) for each in witnesses), default=Fraction(0))
            )
    return worst


def bound(oracle: RationalNearestNeighbor, point: Vector, j: int, witness: Witness) -> Fraction | float:
    """``N² / (4 ‖M v‖²)`` of a row, from the format's formulas with a matrix M in fractions."""
    distances = oracle.squared_distances(point)
    weights = [Fraction(weight) for weight in witness[1]]
    excess = sum(
        (w * (distances[j] - distances[i]) for i, w in zip(witness[0], weights, strict=True)), Fraction(0)
    )
    v = [Fraction(0)] * len(oracle.rows[j])
    for i, w in zip(witness[0], weights, strict=True):
        v = [s + w * (a - b) for s, a, b in zip(v, oracle.rows[j], oracle.rows[i], strict=True)]
    pull = [sum(m * x for m, x in zip(row, v, strict=True)) for row in oracle.matrix]
    length = sum(x * x for x in pull)
    if length == 0:
        return math.inf if excess > 0 or (excess == 0 and min(witness[0]) < j) else Fraction(0)
    return excess**2 / (4 * length) if excess > 0 else Fraction(0)


def lost_point(oracle: RationalNearestNeighbor, point: list[float], label: int) -> list[float] | None:
    """A point at which the class is lost: the closest one, or after a few steps from it towards its row."""
    rival = oracle.closest_rival(point, label)
    if rival is None:
        return None
    exact = [Fraction(a) + b for a, b in zip(point, rival.perturbation, strict=True)]
    row = oracle.rows[rival.row]
    for step in (0, *(Fraction(2) ** -k for k in range(60, -1, -4))):
        moved = [float(a + step * (b - a)) for a, b in zip(exact, row, strict=True)]
        if oracle.has_lost(moved, label):
            return moved
    raise ArithmeticError("a row is inside its own cell")


def floor_root(value: Fraction | float) -> float:
    """The last binary64 number whose square is not above a value."""
    if isinstance(value, float):
        return value
    half = (value.numerator.bit_length() - value.denominator.bit_length()) // 2 - 60
    root = math.ldexp(math.isqrt(math.floor(value / Fraction(4) ** half)), half)
    while Fraction(root) ** 2 > value:
        root = math.nextafter(root, 0)
    while Fraction(math.nextafter(root, math.inf)) ** 2 <= value:
        root = math.nextafter(root, math.inf)
    return root


def ceil_root(value: Fraction) -> float:
    """The first binary64 number whose square is not below a value."""
    root = floor_root(value)
    return root if Fraction(root) ** 2 == value else math.nextafter(root, math.inf)


def is_true(certificate: Certificate, case: TinyCase) -> bool:
    """Whether what an accepted certificate claims holds, by the exact radius and not by its witnesses."""
    point, label, k = decode(certificate["point"]).tolist(), certificate["label"], certificate["n_neighbors"]
    lower, upper = (math.inf if certificate[end] is None else certificate[end] for end in ("lower", "upper"))
    if k == 1:
        predicted = exact_oracle(case).predict(point)
        radius = exact_oracle(case).squared_radius(point, label)
    else:
        votes = RationalKNearestNeighbors(case.rows, case.labels, k, case.components, case.matrix)
        predicted = votes.predict(point)
        radius = (
            votes.squared_radius(point, label, certificate["rule"]) if predicted == label else Fraction(0)
        )
    same = certificate["predicted"] == predicted and type(certificate["predicted"]) is not bool
    return same and square(float(lower)) <= radius <= square(float(upper))
