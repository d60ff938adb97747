"""The lower end of a radius under a vote.

The class c loses at ``z + δ`` where A, the set of the K nearest rows, has too few of its rows. A *way* to
lose says how many of each kind A has: at most ``own`` rows of c and, of all others together (``rival`` null),
at least K − own; or exactly ``own`` rows of c, against a rival class that wins with them. Either
``own = K // 2`` and no rival, which takes in every loss, or all ways of all rivals have to be refuted below
``lower``:

- *Judges.* A row is outside A if K judges are always nearer than it, or ``own + 1`` judges of c.
- *Weights.* For rows inside A with ``s_k > 0`` and outside with ``s_k < 0``, ``Σ s_k = 0``: at ``z + δ`` no
  row inside is farther than one outside, so that ``Σ s_k d²(z + δ, x_k) = N − 2 ⟨M v, δ⟩ ≤ 0`` with
  ``N = Σ s_k d²(z, x_k)`` and ``v = Σ s_k x_k``. Where ``N > 0`` and ``N² ≥ (2 lower)² ‖M v‖²`` that needs
  ``‖δ‖ ≥ lower``.
- *Counts.* Rows in one place come in the order of their indices; so do all rows at the distance of the last
  row of A, among them every place with rows both inside and outside.

A node of a way's tree fixes rows, each because the other side is refuted; then it is refuted itself, or
split: child t has the first t of some rows ``before`` and the next one on the other side. All of them
``before`` is the last child, or refuted by counts.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._exact import LARGEST, TINY, Array, Place, Witness, gamma, grid_of, integers, norms, require

__all__ = ["VoteProof"]

_SIDES = ("in", "out")
_OWN, _RIVAL, _THIRD = range(3)

# What a row that a waiting node knows costs, for the memory; and a weight, for each number of its row.
_KEPT, _WEIGHED = 2**12, 2**5


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


def ways_against(count: int, own: int, sizes: Array) -> list[Way]:
    """All ways in which a class can lose to a rival with so many votes, if there are enough rows."""
    found = []
    for rival in np.flatnonzero(sizes).tolist():
        lead = int(rival > own)
        for votes in range((count - lead) // 2 + 1) if rival != own else ():
            way = Way(rival, votes, votes + lead, count - votes, count - 2 * votes - lead)
            thirds = int(sizes.sum() - sizes[own] - sizes[rival])
            enough = votes <= sizes[own] and way.rivals <= sizes[rival]
            if enough and sizes[rival] + min(thirds, way.thirds) >= way.others:
                found.append(way)
    return found


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
            right = row in (sides.inside if weight > 0 else out)
            require(right, f"row {row} is not where its weight says")
        proof, numbers = self.proof, [float(weight) for weight in numbers]
        proven = proof.surely_reaches_lower(rows, numbers) or proof.reaches_lower(rows, numbers)
        require(proven, "weights do not prove lower")


_NODE = {"fixed", "closed", "rows", "before", "children"}


class VoteProof:
    """What the ways of one certificate share.

    Parameters
    ----------
    place : Place
    own : int
        Code of the class.
    count : int
        K.
    lower : float
    """

    def __init__(self, place: Place, own: int, count: int, lower: float) -> None:
        self.place, self.own, self.count, self.lower = place, own, count, lower
        self.codes = place.home.codes
        self.images: dict[int, Array] = {}
        self.squares: dict[int, int] = {}

    def prove(self, tree: Any, rule: str) -> None:
        """Refute every way to lose."""
        require(type(tree) is dict and tree.keys() == {"judges", "ways"}, "there is no tree")
        sizes = np.bincount(self.codes)
        if self.count == len(self.codes) and rule == "plurality":
            # All rows vote wherever the point is, and their answer is the label.
            return
        given = {}
        for way in as_list(tree["ways"]):
            require(type(way) is dict and way.keys() == {"rival", "own", "nodes"}, "a way is not one")
            fine = type(way["own"]) is int and type(way["rival"]) in (str, int, float, bool, type(None))
            require(fine, "a way is not one")
            given[way["rival"], way["own"]] = as_list(way["nodes"])
        half = self.count // 2
        every = Way(None, half, self.count - half, self.count - half, 0)
        ways = ways_against(self.count, self.own, sizes)
        if (None, half) in given or rule == "majority":
            ways = [every] if len(self.codes) - sizes[self.own] >= every.others else []
        self.meet(sorted({self.row(row) for row in as_list(tree["judges"])}))
        self.places = self.shared_places(tree)
        for way in ways:
            name = None if way.rival is None else self.place.home.classes[way.rival][1]
            require(
                (name, way.own) in given, f"the way of {name!r} with {way.own} rows of the class is missing"
            )
            Search(self, way).walk(given[name, way.own])

    def row(self, row: Any) -> int:
        """A row's number, checked."""
        require(type(row) is int and 0 <= row < len(self.codes), "a row is not the number of one")
        return int(row)

    def meet(self, judges: list[int]) -> None:
        """Count for each row the judges that are always nearer: those of the class, and all."""
        self.nearer_own, self.nearer = np.zeros((2, len(self.codes)), dtype=int)
        others = np.flatnonzero(self.codes != self.own)
        for judge in judges:
            witness = Witness(self.place, np.array([judge]), np.array([1.0]))
            sure = witness.surely(others, self.lower)
            doubt = ~sure & witness.maybe(others, self.lower)
            sure[doubt] = [row != judge and witness.proves(row, self.lower) for row in others[doubt].tolist()]
            self.nearer[others] += sure
            self.nearer_own[others] += sure if self.codes[judge] == self.own else 0

    def shared_places(self, tree: dict[str, Any]) -> list[list[int]]:
        """Rows that coincide, in order: those that the tree is about, and their copies."""
        few = (self.nearer_own <= self.count // 2) & (self.nearer < self.count) & (self.codes != self.own)
        rows = {row for way in tree["ways"] for row in self.mentioned(way["nodes"])} | set(tree["judges"])
        rows = {row for row in rows if row < len(self.codes)} | set(np.flatnonzero(few).tolist())
        copies = self.place.home.copies
        together = {copies[row][0]: copies[row] for row in rows if row in copies}
        rows |= {copy for place in together.values() for copy in place}
        found = defaultdict(list)
        for row in sorted(rows):
            found[tuple(self.image(row).tolist())].append(row)
        return [place for place in found.values() if len(place) > 1]

    def mentioned(self, values: Any) -> set[int]:
        """All integers in nested lists and dictionaries."""
        found, waiting = set(), [values]
        while waiting:
            value = waiting.pop()
            self.place.spend(2**8)
            if type(value) is int and value >= 0:
                found.add(value)
            elif type(value) in (list, dict):
                waiting.extend(value if type(value) is list else value.values())
        return found

    def image(self, row: int) -> Array:
        """G(x − z), in integers."""
        if row not in self.images:
            self.images[row] = self.place.embedded(row)
        return self.images[row]

    def square(self, row: int) -> int:
        """d²(z, x), as an integer."""
        if row not in self.squares:
            image = self.image(row)
            self.squares[row] = int(image @ image)
        return self.squares[row]

    def surely_reaches_lower(self, rows: list[int], weights: list[float]) -> bool:
        """Whether bounds of the errors prove what :meth:`reaches_lower` asks for."""
        place, far, w = self.place, self.place.home.far, np.array(weights)
        place.spend(len(rows) * far.rows.shape[1])
        size, g = float(np.abs(w).sum()), gamma(len(rows) + far.rows.shape[1])
        # Then a sum of zero moves one weight by no more than 2 g times their size.
        if not abs(w.sum()) <= g * size:
            return False
        most = place.high[rows] ** 2
        N = w @ np.where(w > 0, place.low[rows] ** 2, most) - 4 * g * size * most.max()
        length = norms((w @ far.rows[rows])[None])[0] * (1 + g)
        length += np.abs(w) @ far.doubt[rows] * (1 + g) + 4 * g * size * far.norms[rows].max()
        proven = N * (1 - g) > (2 * (self.lower + TINY) * length + TINY) * (1 + g)
        return bool(proven and math.isfinite(N))

    def reaches_lower(self, rows: list[int], weights: list[float]) -> bool:
        """Whether N and v prove the lower end, with a sum of zero by the largest weight."""
        numbers = np.array(weights)
        whole = integers(numbers, grid_of(numbers)).tolist()
        largest = max(range(len(whole)), key=lambda at: abs(whole[at]))
        sign = whole[largest] > 0
        whole[largest] -= sum(whole)
        if whole[largest] == 0 or (whole[largest] > 0) != sign:
            return False
        N, v = 0, self.image(rows[0]) * 0
        self.place.spend(_WEIGHED * len(rows) * v.size)
        for weight, row in zip(whole, rows, strict=True):
            N, v = N + weight * self.square(row), v + weight * self.image(row)
        G = self.place.home.whole_G
        return self.place.reaches(N, self.place.times(None if G is None else G.T, v), self.lower)


def as_list(value: Any, length: int | None = None) -> list[Any]:
    """A list, of a length, or a refusal."""
    fine = type(value) in (list, tuple) and (length is None or len(value) == length)
    require(fine, "a part of the tree is not a list of the right length")
    return list(value)
