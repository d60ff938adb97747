"""What one answer of ``certify`` promises, checked in exact arithmetic; each broken promise is a sentence."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

import certimetric as cm
from oracles.rational import RationalNearestNeighbor, Vector, square, squared_distance
from oracles.rational_knn import RationalKNearestNeighbors, Rule
from oracles.tiny import TinyCase

STATUSES = {"exact", "bounded", "misclassified", "unfinished"}
TIGHT = 1e-9
RESOLVED = 1.01e-12


@dataclass(frozen=True)
class Answer:
    """One row of the result of ``certify``."""

    lower: float
    upper: float
    status: str
    predicted: int
    adversarial: list[float]


def metric_of(case: TinyCase) -> Any:
    """The case's metric as the library takes it."""
    if case.matrix is not None:
        return cm.Mahalanobis.from_matrix(case.matrix)
    return "euclidean" if case.components is None else cm.Mahalanobis.from_components(case.components)


def fit_case(case: TinyCase, k: int = 1) -> Any:
    """The library's classifier, fitted on a tiny case."""
    clf = cm.CertifiedKNeighborsClassifier(n_neighbors=k, metric=metric_of(case))
    return clf.fit(np.array(case.rows), np.array(case.labels))


def oracle_of(case: TinyCase) -> RationalNearestNeighbor:
    """The rational classifier on the same numbers."""
    return RationalNearestNeighbor(case.rows, case.labels, case.components, case.matrix)


@dataclass(frozen=True)
class VoteOracle:
    """The rational vote of k neighbours under one rule, with the methods of the one neighbour's oracle."""

    votes: RationalKNearestNeighbors
    rule: Rule

    @property
    def rows(self) -> list[list[Fraction]]:
        return self.votes.rows

    def predict(self, point: Vector) -> int:
        return self.votes.predict(point)

    def has_lost(self, point: Vector, label: int) -> bool:
        return self.votes.loses(self.votes.neighbors(point), label, self.rule)

    def squared_radius(self, point: Vector, label: int | None = None) -> Fraction | float:
        if label is not None and self.predict(point) != label:
            return Fraction(0)
        return self.votes.squared_radius(point, label, self.rule)

    def is_thin(self, point: Vector) -> bool:
        """Whether the class loses on a mere face at r*, which few points hit, and in a volume only beyond."""
        label = self.predict(point)
        loss, thick = (self.votes.closest_loss(point, label, self.rule, thick=only) for only in (False, True))
        return loss is not None and (thick is None or loss.squared_radius < thick.squared_radius)


class Oracle(Protocol):
    """What the promises are checked against."""

    rows: Sequence[Vector]

    def predict(self, point: Vector) -> int: ...
    def has_lost(self, point: Vector, label: int) -> bool: ...
    def squared_radius(self, point: Vector, label: int | None = None) -> Fraction | float: ...


def vote_oracle_of(case: TinyCase, k: int, rule: Rule) -> VoteOracle:
    """The rational vote on the same numbers."""
    return VoteOracle(
        RationalKNearestNeighbors(case.rows, case.labels, k, case.components, case.matrix), rule
    )


def answers(case: TinyCase, labels: list[int] | None = None, k: int = 1, **options: Any) -> list[Answer]:
    """The library's answers for all test points of a case, with adversarial points."""
    truth = None if labels is None else np.array(labels)
    cert = fit_case(case, k).certify(np.array(case.points), truth, return_adversarial=True, **options)
    columns = (cert.lower, cert.upper, cert.status, cert.predicted, cert.adversarial)
    return [
        Answer(float(lower), float(upper), str(status), int(predicted), adversarial.tolist())
        for lower, upper, status, predicted, adversarial in zip(*columns, strict=True)
    ]


def broken_promises(
    oracle: Oracle, point: list[float], answer: Answer, label: int | None = None
) -> Iterator[str]:
    """Every promise that ``answer`` for ``point`` (of true class ``label``, if given) breaks."""
    yield from unsound(oracle, point, answer, label)
    if math.isfinite(answer.upper):
        reached = squared_distance(answer.adversarial, point)
        # The error bound of the norm is far below the width that counts as exact.
        if reached < square(answer.upper * (1 - 1e-12)):
            yield f"adversarial point lies at {root(reached)!r}, well inside upper {answer.upper!r}"


def unsound(oracle: Oracle, point: list[float], answer: Answer, label: int | None = None) -> Iterator[str]:
    """The promises that hold at any scale: interval, status, label, changed label."""
    predicted = oracle.predict(point)
    radius = oracle.squared_radius(point, label)
    correct = label is None or label == predicted
    if answer.predicted != predicted:
        yield f"predicted {answer.predicted}, exactly {predicted}"
    if not 0 <= answer.lower <= answer.upper:
        yield f"[{answer.lower}, {answer.upper}] is no interval of radii"
        return
    if not square(answer.lower) <= radius:
        yield f"lower {answer.lower!r} exceeds r* = {root(radius)!r}"
    if not radius <= square(answer.upper):
        yield f"upper {answer.upper!r} is below r* = {root(radius)!r}"
    if answer.status not in STATUSES:
        yield f"unknown status {answer.status!r}"
    if (answer.status == "misclassified") == correct:
        yield f"status {answer.status} though the answer is {'right' if correct else 'wrong'}"
    if answer.status == "exact" and not is_tight(answer) and not is_tight(answer, reach(oracle, point)):
        yield f"status exact with interval [{answer.lower!r}, {answer.upper!r}]"
    if correct and math.isfinite(answer.upper):
        if not oracle.has_lost(answer.adversarial, predicted):
            yield f"at the adversarial point {answer.adversarial} the class has not lost"
        reached = squared_distance(answer.adversarial, point)
        if reached > square(answer.upper):
            yield f"adversarial point lies at {root(reached)!r}, beyond upper {answer.upper!r}"


def reach(oracle: Oracle, point: Vector) -> float:
    """Distance to the farthest row."""
    return root(max(squared_distance(point, row) for row in oracle.rows))


def is_tight(answer: Answer, farthest: float = 0.0) -> bool:
    """Whether the interval is narrow: [∞, ∞], nine digits, or what binary64 resolves at ``farthest``.

    The last clause is for points next to a wall, whose radius is far below the distance to the rows; the
    constant is a few steps of the subnormal grid.
    """
    if answer.lower == answer.upper:
        return True
    width = max(TIGHT * answer.upper, RESOLVED * farthest, 1e-322)
    return math.isfinite(answer.upper) and answer.upper - answer.lower <= width


def root(square_of_it: Fraction | float) -> float:
    """Square root for messages, also where the square itself has no binary64 number."""
    if isinstance(square_of_it, float) or not square_of_it:
        return math.sqrt(square_of_it)
    half = (square_of_it.numerator.bit_length() - square_of_it.denominator.bit_length()) // 2
    return math.ldexp(math.sqrt(square_of_it / Fraction(4) ** half), half)
