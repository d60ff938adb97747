"""What is asked about test points, checked once; and which part of the core answers it."""

from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Self

from certimetric import _native
from certimetric._progress import Callback
from certimetric._validation import FloatArray, IntArray, as_limit, as_radius, check_count
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

_LARGEST = 2**63 - 1
"""What the core takes; no search comes near it."""


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
    eps: float | None
    node_limit: int | None
    max_memory: int
    point_time_limit: float | None

    @classmethod
    def checked(
        cls,
        method: str,
        rule: str,
        eps: object,
        node_limit: object,
        max_memory: object,
        point_time_limit: object,
    ) -> Self:
        """From a caller's arguments."""
        check_choices(method=method, rule=rule)
        nodes = None if node_limit is None else check_count(node_limit, "node_limit", least=0)
        return cls(
            method,
            rule,
            as_radius(eps, "eps"),
            None if nodes is None else min(nodes, _LARGEST),
            min(check_count(max_memory, "max_memory", least=0, kind="a whole number of bytes"), _LARGEST),
            as_limit(point_time_limit, "point_time_limit"),
        )

    def ask(
        self,
        index: _native.Index,
        rows: FloatArray,
        codes: IntArray | None,
        n_neighbors: int,
        *,
        adversarial: bool,
        time_limit: float | None,
        n_jobs: int,
        progress: Callback | None,
    ) -> "Certificates":
        """The core's answer. The radius for a single neighbour needs no search, and has a way of its own."""
        if n_neighbors == 1 and self.method == "exact" and self.eps is None:
            return index.certify(rows, codes, adversarial, time_limit, n_jobs, progress)
        return index.certify_votes(
            rows,
            codes,
            n_neighbors,
            self.rule == "majority",
            self.method,
            self.eps,
            self.node_limit,
            self.max_memory,
            self.point_time_limit,
            adversarial,
            time_limit,
            n_jobs,
            progress,
        )
