"""The tree of one way to lose a vote: which rows are inside A, which outside, and why a node is refuted.

What it has to show is in ``_votes.py``.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ._exact import LARGEST, require

if TYPE_CHECKING:
    from ._votes import VoteProof

__all__ = ["Search", "Way", "as_list"]

_SIDES = ("in", "out")
_OWN, _RIVAL, _THIRD = range(3)
_NODE = {"fixed", "closed", "rows", "before", "children"}

# What a row that a waiting node knows costs, for the memory.
_KEPT = 2**12


@dataclass(frozen=True)
class Way:
    """How many rows of each kind are in A: see the module."""

    rival: int | None
    own: int
    rivals: int
    others: int
    thirds: int

    @property
    def exact(self) -> bool:
        """Whether there are exactly ``own`` and ``others``."""
        return self.rival is not None


class Sides:
    """Rows that are known to be inside A, or outside."""

    def __init__(self, inside: set[int], outside: set[int]) -> None:
        self.inside, self.outside = inside, outside

    @property
    def size(self) -> int:
        return len(self.inside) + len(self.outside)

    def put(self, row: int, side: str) -> None:
        """Add a row."""
        (self.inside if side == "in" else self.outside).add(row)


class Search:
    """The tree of one way, for one point."""

    def __init__(self, proof: "VoteProof", way: Way) -> None:
        self.proof, self.way = proof, way
        codes, own = proof.codes, proof.own
        may = (codes != own) & (proof.nearer_own <= way.own) & (proof.nearer < proof.count)
        self.rivals = set(np.flatnonzero(may & ((codes == way.rival) | (not way.exact))).tolist())
        self.thirds = set(np.flatnonzero(may).tolist()) - self.rivals
        self.size = int(may.sum()) + sum(map(len, proof.places))

    def kind(self, row: int) -> int:
        code = self.proof.codes[row]
        return _OWN if code == self.proof.own else _RIVAL if self.way.rival in (None, code) else _THIRD

    def is_out(self, row: int, sides: Sides) -> bool:
        """Whether a row is outside."""
        return bool(self.out([row], sides))

    def out(self, rows: Iterable[int], sides: Sides) -> list[int]:
        """Those that are outside: they are known, judges say so, or A is full."""
        full = [self.is_full(kind, sides) for kind in (_OWN, _RIVAL, _THIRD)]
        rows = [row for row in rows if row not in sides.inside]
        return [row for row in rows if row in sides.outside or self.never(row) or full[self.kind(row)]]

    def never(self, row: int) -> bool:
        """Whether judges say that a row is outside."""
        return not (self.kind(row) == _OWN or row in self.rivals or row in self.thirds)

    def is_full(self, kind: int, sides: Sides) -> bool:
        own, rivals, thirds = self.tally(sides.inside)
        if kind == _OWN:
            return own >= self.way.own
        full = rivals + thirds >= self.way.others or (kind == _THIRD and thirds >= self.way.thirds)
        return self.way.exact and full

    def tally(self, rows: set[int]) -> list[int]:
        counts = [0, 0, 0]
        for row in rows:
            counts[self.kind(row)] += 1
        return counts

    def settle(self, sides: Sides) -> bool:
        """Add what counts imply; ``False``: they contradict."""
        while True:
            known = sides.size
            self.proof.place.spend(2**10 + 2**6 * (self.size + known))
            if sides.inside & sides.outside or self.out(sides.inside, Sides(set(), set())):
                return False
            if not (self.settle_places(sides) and self.settle_counts(sides)):
                return False
            if sides.size == known:
                return True

    def settle_counts(self, sides: Sides) -> bool:
        way, (own, rivals, thirds) = self.way, self.tally(sides.inside)
        if own > way.own or (way.exact and (thirds > way.thirds or rivals + thirds > way.others)):
            return False
        taken = sides.inside | sides.outside
        free = set() if self.is_full(_RIVAL, sides) else self.rivals - taken
        spare = set() if self.is_full(_THIRD, sides) else self.thirds - taken
        most = rivals + thirds + len(free) + min(len(spare), max(way.thirds - thirds, 0))
        if rivals + len(free) < way.rivals or most < way.others:
            return False
        if rivals + len(free) == way.rivals:
            sides.inside |= free
        if rivals + thirds + len(free) + len(spare) == way.others:
            sides.inside |= free | spare
        return True

    def settle_places(self, sides: Sides) -> bool:
        ties = []
        out = set(self.out((row for place in self.proof.places for row in place), sides))
        for place in self.proof.places:
            inside = [row for row in place if row in sides.inside]
            outside = [row for row in place if row in out]
            if inside and outside and outside[0] < inside[-1]:
                return False
            sides.inside.update(row for row in place if inside and row < inside[-1])
            sides.outside.update(row for row in place if outside and row > outside[0])
            if inside and outside:
                ties.append((inside[-1], outside[0]))
        return not ties or max(last for last, _ in ties) < min(first for _, first in ties)

    def walk(self, nodes: list[Any]) -> None:
        """Follow the tree from its root."""
        waiting = {0: Sides(set(), set())}
        for number, node in enumerate(nodes):
            if number not in waiting:
                continue
            sides = waiting.pop(number)
            require(type(node) is dict and node.keys() <= _NODE, "a node has other fields than a node has")
            if self.is_refuted(node, sides):
                continue
            for child, part in self.parts(node, sides):
                if type(child) is int:
                    require(number < child < len(nodes) and child not in waiting, "a child comes before")
                    self.proof.place.spend(_KEPT * part.size)
                    waiting[child] = part
                elif child is None:
                    require(not self.settle(part), "counts do not refute a child")
                else:
                    self.refute(child, part)
        require(not waiting, "a node is missing")

    def is_refuted(self, node: dict[str, Any], sides: Sides) -> bool:
        if not self.settle(sides):
            return True
        for entry in as_list(node.get("fixed", [])):
            row, side, by = as_list(entry, 3)
            row = self.proof.row(row)
            require(type(side) is str and side in _SIDES, "a row is neither in nor out")
            if row in sides.inside if side == "in" else self.is_out(row, sides):
                continue
            other = self.with_row(sides, row, _SIDES[1 - _SIDES.index(side)])
            if type(by) is dict:
                self.refute_one_of(by, other)
            else:
                self.refute(by, other)
            sides.put(row, side)
            if not self.settle(sides):
                return True
        if "closed" in node:
            self.refute(node["closed"], sides)
            return True
        require("rows" in node, "counts do not refute a node")
        return False

    def refute_one_of(self, by: dict[str, Any], sides: Sides) -> None:
        """By counts one of some rows would be outside, and each of them is refuted."""
        require(by.keys() == {"one_of"}, "a row is fixed for a reason that is none")
        parts = [as_list(part, 2) for part in as_list(by["one_of"])]
        together = Sides(set(sides.inside), set(sides.outside))
        for row, _ in parts:
            together.put(self.proof.row(row), "in")
        require(not self.settle(together), "by counts all of these rows may be inside")
        for row, weights in parts:
            self.refute(weights, self.with_row(sides, row, "out"))

    def parts(self, node: dict[str, Any], sides: Sides) -> Iterator[tuple[Any, Sides]]:
        """The children with what they know."""
        rows = [self.proof.row(row) for row in as_list(node["rows"])]
        before, children = node.get("before"), as_list(node.get("children"))
        require(type(before) is str and before in _SIDES, "a split has no side")
        after = _SIDES[1 - _SIDES.index(before)]
        require(len(children) - len(rows) in (0, 1), "a split has other children than rows")
        for row, child in zip(rows, children, strict=False):
            yield child, self.with_row(sides, row, after)
            sides = self.with_row(sides, row, str(before))
        yield (children[-1] if len(children) > len(rows) else None), sides

    def with_row(self, sides: Sides, row: int, side: str) -> Sides:
        """The same with one row more."""
        self.proof.place.spend(2**6 * sides.size)
        more = Sides(set(sides.inside), set(sides.outside))
        more.put(row, side)
        return more

    def refute(self, weights: Any, sides: Sides) -> None:
        """Weights prove that these sides need a perturbation of at least ``lower``."""
        if sides.inside & sides.outside:
            # No row can be on both.
            return
        rows, numbers = as_list(weights, 2)
        rows = [self.proof.row(row) for row in as_list(rows)]
        numbers = as_list(numbers)
        require(0 < len(rows) == len(numbers), "weights are not as many as their rows")
        out = set(self.out(rows, sides))
        for row, weight in zip(rows, numbers, strict=True):
            fine = type(weight) is int or (type(weight) is float and math.isfinite(weight))
            require(fine and 0 < abs(weight) <= LARGEST, "a weight is no number")
            if row not in (sides.inside if weight > 0 else out):
                # Then weights prove nothing, but none are needed where counts refute these sides.
                require(not self.settle(sides), f"row {row} is not where its weight says")
                return
        proof, numbers = self.proof, [float(weight) for weight in numbers]
        proven = proof.surely_reaches_lower(rows, numbers) or proof.reaches_lower(rows, numbers)
        require(proven, "weights do not prove lower")


def as_list(value: Any, length: int | None = None) -> list[Any]:
    """A list, of a length, or a refusal."""
    fine = type(value) in (list, tuple) and (length is None or len(value) == length)
    require(fine, "a part of the tree is not a list of the right length")
    return list(value)
