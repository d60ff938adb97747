"""What is asked about each test point of a problem, and the library's answers to it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from certimetric import _native
from oracles.promises import Answer
from oracles.rational_knn import Rule

RULES: tuple[Rule, ...] = ("plurality", "majority")
MOST_NEIGHBORS = 7

OPTIONS: dict[str, dict[str, Any]] = {
    "exact": {},
    "bound": {"method": "bound"},
    "attack": {"method": "attack"},
    "stopped": {"point_node_limit": 3},
    "decide": {},
}
"""Ways to ask; "decide" is about one radius, which depends on the answers to "exact"."""


@dataclass(frozen=True)
class Question:
    """A number of neighbours, a rule, a way to ask, and whether true labels are given."""

    k: int
    rule: Rule
    way: str
    labelled: bool

    def ask(
        self, clf: Any, points: np.ndarray, labels: np.ndarray, eps: float | None
    ) -> tuple[list[Answer], list[int | None], list[str]]:
        """The answers for all points, the labels that were asked about, and certificates."""
        options = {**OPTIONS[self.way], **({"eps": eps} if self.way == "decide" else {})}
        truth = labels if self.labelled else None
        cert = clf.set_params(n_neighbors=self.k).certify(
            points, truth, rule=self.rule, return_adversarial=True, return_certificates=True, **options
        )
        columns = (cert.lower, cert.upper, cert.status, cert.predicted, cert.adversarial)
        found = [Answer(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]
        truths = [None] * len(points) if truth is None else truth.tolist()
        return found, truths, cert.certificates.tolist()

    def digits(self, clf: Any, points: np.ndarray) -> list[str]:
        """What the most delicate comparison of distances of each point needed."""
        index = clf._index.get()
        if self.k == 1:
            found = index.certify(points, None)
        else:
            found = index.certify_votes(points, None, self.k, self.rule == "majority", "exact")
        return [_native.DIGITS[number] for number in found["digits"]]


def questions(rng: np.random.Generator, n_rows: int) -> Iterator[Question]:
    """One neighbour in three ways; some number of several by both rules in all ways."""
    for way in ("exact", "bound", "attack"):
        yield Question(1, RULES[int(rng.integers(2))], way, bool(rng.random() < 0.2))
    if n_rows > 1:
        k = int(rng.integers(2, min(MOST_NEIGHBORS, n_rows) + 1))
        for rule in RULES:
            for way in OPTIONS:
                yield Question(k, rule, way, bool(rng.random() < 0.2))


def radius_to_decide(rng: np.random.Generator, answers: list[Answer]) -> float:
    """Next to one of the radii found, or far from all of them."""
    finite = [answer.upper for answer in answers if 0 < answer.upper < np.inf]
    chosen = float(rng.choice(finite)) if finite else 1.0
    # Never 0, which is no radius to ask about alone.
    return max(chosen * float(rng.choice([1e-6, 0.5, 0.999, 1.0, 1.001, 2.0])), 5e-324)
