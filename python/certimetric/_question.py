"""What is asked about test points, checked once; and which part of the core answers it."""

from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Self

from numpy.typing import ArrayLike

from certimetric import _native
from certimetric._progress import Callback
from certimetric._validation import FloatArray, IntArray, as_eps, as_limit, check_count
from certimetric.exceptions import InputError

if TYPE_CHECKING:
    from certimetric._native import Certificates

__all__ = ["CHOICES", "DEFAULT_MEMORY", "Question", "check_choices"]

CHOICES: dict[str, tuple[object, ...]] = {
    "norm": (2,),
    "method": ("exact", "bound", "attack"),
    "rule": ("plurality", "majority"),
    "weights": ("uniform",),
}
"""What may be chosen by name; the first is the default."""

DEFAULT_MEMORY = 256 * 2**20
"""Bytes of open nodes for each point that is being searched."""

_NEAR_ZERO = 1e-9
"""Radius 0 is asked about as this share of the smallest other one: there is no question below it."""

LARGEST = 2**63 - 1
"""What the core takes; no search comes near it."""


def as_node_limit(value: object, name: str) -> int | None:
    """A number of nodes, 0 as well, or none."""
    return None if value is None else min(check_count(value, name, least=0), LARGEST)


def check_choices(**choices: object) -> None:
    """Raise on what is not among :data:`CHOICES`, with what is."""
    for name, value in choices.items():
        # Types too: True equals 1, and an `in` cannot compare arrays.
        if type(value) is bool or not isinstance(value, str | Real) or value not in CHOICES[name]:
            available = " or ".join(map(repr, CHOICES[name]))
            raise InputError(
                f"{name} must be {available}; got {value!r}. "
                f"Leave it out for the default, {CHOICES[name][0]!r}."
            )


@dataclass(frozen=True)
class Question:
    """The part of the arguments of ``certify`` that says what a point's answer is."""

    method: str
    rule: str
    eps: tuple[float, ...]
    point_node_limit: int | None
    max_memory: int
    point_time_limit: float | None

    @classmethod
    def checked(
        cls,
        method: str,
        rule: str,
        eps: ArrayLike | None,
        point_node_limit: object,
        max_memory: object,
        point_time_limit: object,
    ) -> Self:
        """From a caller's arguments."""
        check_choices(method=method, rule=rule)
        return cls(
            method,
            rule,
            as_eps(eps, "eps"),
            as_node_limit(point_node_limit, "point_node_limit"),
            min(check_count(max_memory, "max_memory", least=0, kind="a whole number of bytes"), LARGEST),
            as_limit(point_time_limit, "point_time_limit"),
        )

    def levels(self, n_neighbors: int) -> list[float]:
        """What is to be decided, one after the other; empty: no radius, but the ends that the method finds.

        The largest comes first: a point that is proven there needs no other question, and those that are
        broken there are often few. The radius for a single neighbour takes less time than a question.
        """
        if not self.eps or self.method != "exact" or n_neighbors == 1:
            return []
        positive = [radius for radius in self.eps if radius > 0]
        near_zero = [_NEAR_ZERO * positive[0]] if len(positive) < len(self.eps) else []
        # The product of a tiny radius may underflow.
        return [level for level in positive[::-1] + near_zero if level > 0]

    def ask(
        self,
        index: _native.Index,
        rows: FloatArray,
        codes: IntArray | None,
        n_neighbors: int,
        *,
        beyond: float | None,
        adversarial: bool,
        proofs: bool = False,
        node_limit: int | None,
        time_limit: float | None,
        n_jobs: int,
        progress: Callback | None,
    ) -> "Certificates":
        """The core's answer, about one of the :meth:`levels` or about none.

        The radius for a single neighbour needs no search, and has a way of its own.
        """
        if n_neighbors == 1 and self.method == "exact":
            return index.certify(rows, codes, adversarial, proofs, time_limit, n_jobs, progress)
        return index.certify_votes(
            rows,
            codes,
            n_neighbors,
            self.rule == "majority",
            self.method,
            beyond,
            self.point_node_limit,
            self.max_memory,
            self.point_time_limit,
            adversarial,
            proofs,
            node_limit,
            time_limit,
            n_jobs,
            progress,
        )
