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
from typing import Any

import numpy as np

from ._exact import TINY, Array, Place, Witness, gamma, grid_of, integers, norms, require
from ._format import Trees
from ._tree import Search, Way

__all__ = ["VoteProof"]

# What a weight costs for each number of its row.
_WEIGHED = 2**5


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

    def prove(self, trees: Trees, rule: str) -> None:
        """Refute every way to lose."""
        sizes, given = np.bincount(self.codes), trees.ways
        if self.count == len(self.codes) and rule == "plurality":
            # All rows vote wherever the point is, and their answer is the label.
            return
        half = self.count // 2
        every = Way(None, half, self.count - half, self.count - half, 0)
        ways = ways_against(self.count, self.own, sizes)
        if (None, half) in given or rule == "majority":
            ways = [every] if len(self.codes) - sizes[self.own] >= every.others else []
        self.meet(sorted(set(trees.judges)))
        self.places = self.shared_places(trees)
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

    def shared_places(self, trees: Trees) -> list[list[int]]:
        """Rows that coincide, in order: those that the tree is about, and their copies."""
        few = (self.nearer_own <= self.count // 2) & (self.nearer < self.count) & (self.codes != self.own)
        rows = self.mentioned(list(trees.ways.values())) | set(trees.judges)
        rows = {row for row in rows if row < len(self.codes)} | set(np.flatnonzero(few).tolist())
        copies = self.place.home.copies
        together = {copies[row][0]: copies[row] for row in rows if row in copies}
        rows |= {copy for place in together.values() for copy in place}
        found = defaultdict(list)
        for row in self.as_far(rows):
            found[tuple(self.coordinates(row).tolist())].append(row)
        return [place for place in found.values() if len(place) > 1]

    def as_far(self, rows: set[int]) -> list[int]:
        """Those that may be as far as another one, in order."""
        place, chosen = self.place, np.array(sorted(rows), dtype=int)
        order = chosen[np.argsort(place.low[chosen])]
        joined = np.zeros(len(order) + 1, dtype=bool)
        joined[1:-1] = place.low[order[1:]] <= np.maximum.accumulate(place.high[order])[:-1]
        return sorted(order[joined[1:] | joined[:-1]].tolist())

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

    def coordinates(self, row: int) -> Array:
        """What rows in one place have in common: G(x − z), or M(x − z)."""
        image = self.image(row)
        return image if self.place.home.metric.form is None else self.place.normal(image)

    def image(self, row: int) -> Array:
        """The image of x − z, in integers."""
        if row not in self.images:
            self.images[row] = self.place.embedded(row)
        return self.images[row]

    def square(self, row: int) -> int:
        """d²(z, x), as an integer."""
        if row not in self.squares:
            self.squares[row] = self.place.square(self.image(row))
        return self.squares[row]

    def surely_reaches_lower(self, rows: list[int], weights: list[float]) -> bool:
        """Whether bounds of the errors prove what :meth:`reaches_lower` asks for."""
        place, far, w = self.place, self.place.home.far, np.array(weights)
        place.spend(len(rows) * far.rows.shape[1])
        size, g = float(np.abs(w).sum()), gamma(len(rows) + far.rows.shape[1])
        # Then a sum of zero moves one weight by no more than 2 g times their size.
        if not abs(w.sum()) <= g * size:
            return False
        low, high = place.low[rows], place.high[rows]
        most = np.maximum(np.abs(low), np.abs(high)).max()
        N = w @ np.where(w > 0, low, high) - 4 * g * size * most
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
        return self.place.reaches(N, self.place.normal(v), self.lower)
