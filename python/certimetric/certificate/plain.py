"""The whole check of a certificate in one file, as plainly as it can be said: integers, no filter, no haste.

``__init__.py`` and ``_votes.py`` in this folder say what has to be shown; their checker is fast, as bounds of
errors come before its integers. This one has every distance in integers, for data of up to a million numbers,
and no limit. All numbers are integers times a power of two: N and M v are homogeneous in each of these units,
which cancel, but for that of rows and points, in which ``lower`` is taken too.
"""

from fractions import Fraction
from typing import Any

import numpy as np

from ._exact import LARGEST, Array, grid_of, integers, require
from ._format import Trees
from ._tree import Way, as_list

__all__ = ["prove"]

OWN, RIVAL, THIRD = range(3)
Sides = dict[int, bool]


def prove(claim: dict[str, Any], rows: Array, codes: Array, classes: list[Any], metric: Any) -> None:
    """All that a certificate claims of its point, or a refusal; metric is (G, M), one None or both."""
    z, p, count, lower, upper = (claim[n] for n in ("point", "adversarial", "n_neighbors", "lower", "upper"))
    grid = min(grid_of(numbers) for numbers in (rows, z, z if p is None else p))
    here = Place(rows, codes, metric, z, grid)
    own = int(here.votes(count, len(classes)).argmax())
    right = claim["predicted"] == claim["label"]
    require(claim["predicted"] == classes[own], "predicted is not what the nearest rows say")
    require(right or lower == upper == 0, "the label is missed, but the ends not 0")
    require(p is not None or not right or upper == np.inf, "upper has no adversarial point")
    unit = Fraction(2) ** grid
    if p is not None:
        gap = integers(p, grid) - integers(z, grid)
        near = upper == np.inf or gap @ gap <= (Fraction(upper) / unit) ** 2
        require(near, "the adversarial point is beyond upper")
        votes = Place(rows, codes, metric, p, grid).votes(count, len(classes))
        kept = votes.argmax() == own if claim["rule"] == "plurality" else 2 * votes[own] > count
        require(not (right and kept), "the adversarial point does not change the answer")
    if lower > 0 and len(classes) > 1:
        proof = Proof(here, own, count, None if lower == np.inf else Fraction(lower) / unit)
        if claim["tree"] is not None:
            proof.follow(claim["tree"], claim["rule"], [name for _, name in classes])
        else:
            require(count == 1, "lower of several neighbours has no tree")
            proof.cover(claim["witnesses"])


class Place:
    """A point: images G (x - z) of all rows, or x - z, and squared distances."""

    def __init__(self, rows: Array, codes: Array, metric: Any, z: Array, grid: int) -> None:
        self.codes = codes
        self.G, self.M = (None if A is None else integers(A, grid_of(A)) for A in metric)
        gaps = integers(rows, grid) - integers(z, grid)
        self.images = gaps if self.G is None else gaps @ self.G.T
        # What rows in one place have in common: G (x - z), or M (x - z).
        self.places = self.images if self.M is None else self.images @ self.M
        self.squares = (self.images * self.places).sum(axis=1)

    def normals(self, images: Array) -> Array:
        """M v, from images of v."""
        matrix = self.G if self.M is None else self.M
        return images if matrix is None else np.asarray(images @ matrix)

    def votes(self, count: int, classes: int) -> Array:
        nearest = sorted(range(len(self.codes)), key=lambda row: (self.squares[row], row))[:count]
        return np.bincount(self.codes[nearest], minlength=classes)


class Proof:
    """That a class does not lose before a perturbation of length ``lower``, None for any length."""

    def __init__(self, place: Place, own: int, count: int, lower: Fraction | None) -> None:
        self.place, self.own, self.count, self.lower, self.codes = place, own, count, lower, place.codes

    def row(self, value: Any) -> int:
        require(type(value) is int and 0 <= value < len(self.codes), "a row is not the number of one")
        return int(value)

    def needs_lower(self, terms: list[tuple[int, int]], ties: bool = False) -> bool:
        """Whether N - 2 <M v, d> <= 0 needs a d of length lower, for N and v of terms (k, s)."""
        N = sum(s * self.place.squares[k] for k, s in terms)
        v = self.place.normals(sum(s * self.place.images[k] for k, s in terms))
        if not v.any():
            return bool(N > 0 or (N == 0 and ties))
        return bool(N > 0 and self.lower is not None and (2 * self.lower) ** 2 * (v @ v) <= N * N)

    def comes_before(self, witness: list[tuple[int, int]], j: int) -> bool:
        """Whether below lower one row of a witness of rows and weights comes before row j."""
        total, first = sum(w for _, w in witness), min(i for i, _ in witness)
        return self.needs_lower([(j, total), *((i, -w) for i, w in witness)], ties=first < j)

    def cover(self, witnesses: list[tuple[Array, Array]]) -> None:
        """One neighbour: other classes' rows have witnesses, or the class an earlier row in their place."""
        same = all((self.codes[rows] == self.own).all() for rows, _ in witnesses)
        require(same, "a witness has another class")
        pairs = [list(zip(i.tolist(), integers(w, grid_of(w)).tolist(), strict=True)) for i, w in witnesses]
        first: dict[Any, int] = {}
        for row, image in enumerate(map(tuple, self.place.images)):
            if self.codes[row] == self.own:
                first.setdefault(image, row)
            elif image not in first:
                proven = any(self.comes_before(witness, row) for witness in pairs)
                require(proven, f"no witness proves lower of row {row}")

    def follow(self, trees: Trees, rule: str, names: list[Any]) -> None:
        """Several neighbours: every way to lose is refuted."""
        judges, rows = set(trees.judges), range(len(self.codes))
        beaten = [[i for i in judges if i != j and self.comes_before([(i, 1)], j)] for j in rows]
        self.nearer = [(len(them), sum(self.codes[i] == self.own for i in them)) for them in beaten]
        together: dict[Any, list[int]] = {}
        for row, place in enumerate(map(tuple, self.place.places)):
            together.setdefault(place, []).append(row)
        self.places = [rows for rows in together.values() if len(rows) > 1]
        for way in self.ways(rule, (None, self.count // 2) in trees.ways):
            name = None if way.rival is None else names[way.rival]
            require((name, way.own) in trees.ways, f"the way of {name!r} with {way.own} own rows is missing")
            Tree(self, way).walk(trees.ways[name, way.own])

    def ways(self, rule: str, at_once: bool) -> list[Way]:
        """All ways to lose for which there are enough rows; one stands for all where it is there."""
        K, sizes = self.count, np.bincount(self.codes).tolist()
        if len(self.codes) == K and rule == "plurality":
            return []
        rest = sum(sizes) - sizes[self.own]
        if at_once or rule == "majority":
            return [Way(None, K // 2, K - K // 2, K - K // 2, 0)] if rest >= K - K // 2 else []
        found = []
        for rival, size in enumerate(sizes):
            lead = int(rival > self.own)
            for own in range((K - lead) // 2 + 1) if rival != self.own else ():
                way = Way(rival, own, own + lead, K - own, K - 2 * own - lead)
                enough = size + min(rest - size, way.thirds) >= way.others
                if own <= sizes[self.own] and way.rivals <= size and enough:
                    found.append(way)
        return found


class Tree:
    """The search of one way: at each node some rows are known to be inside A (True) or outside (False)."""

    def __init__(self, proof: Proof, way: Way) -> None:
        self.proof, self.way, self.exact = proof, way, way.rival is not None
        kinds = {proof.own: OWN, way.rival: RIVAL}
        self.kinds = [kinds.get(code, THIRD if self.exact else RIVAL) for code in proof.codes.tolist()]
        near = [own <= way.own and every < proof.count for every, own in proof.nearer]
        self.may = [kind == OWN or fine for kind, fine in zip(self.kinds, near, strict=True)]

    def walk(self, nodes: list[Any]) -> None:
        """Every node from the root on is refuted, or split into nodes that come later."""
        waiting: dict[int, Sides | None] = {0: {}}
        for number, node in enumerate(nodes):
            if number in waiting:
                require(type(node) is dict, "a node is not one")
                sides = waiting.pop(number)
                if sides is None or not self.settle(sides) or self.is_refuted(node, sides):
                    continue
                for child, part in self.parts(node, sides):
                    if type(child) is int:
                        require(number < child < len(nodes) and child not in waiting, "a child comes before")
                        waiting[child] = part
                    elif child is None:
                        require(part is None or not self.settle(part), "counts do not refute a child")
                    else:
                        self.refute(child, part)
        require(not waiting, "a node is missing")

    def is_refuted(self, node: dict[str, Any], sides: Sides) -> bool:
        """Add the rows that a node fixes, because the other side is refuted, and see whether it is then."""
        for entry in as_list(node.get("fixed", [])):
            row, side, by = as_list(entry, 3)
            row, inside = self.proof.row(row), is_inside(side)
            if sides.get(row) is True if inside else self.is_out(row, sides):
                continue
            refute = self.refute_one_of if type(by) is dict else self.refute
            refute(by, put(sides, row, not inside))
            more = put(sides, row, inside)
            if more is None or not self.settle(more):
                return True
            sides.update(more)
        if "closed" in node:
            self.refute(node["closed"], sides)
        return "closed" in node

    def refute_one_of(self, by: dict[str, Any], sides: Sides | None) -> None:
        """By counts one of some rows would be outside, and each of them is refuted there."""
        require(by.keys() == {"one_of"}, "a row is fixed for a reason that is none")
        parts, together = [as_list(part, 2) for part in as_list(by["one_of"])], sides
        for row, _ in parts:
            together = put(together, self.proof.row(row), True)
        require(together is None or not self.settle(together), "by counts all of these rows may be inside")
        for row, weights in parts:
            self.refute(weights, put(sides, self.proof.row(row), False))

    def parts(self, node: dict[str, Any], sides: Sides | None) -> Any:
        """The children with what they know: child t has t rows on one side, and the next on the other."""
        rows, before = list(map(self.proof.row, as_list(node.get("rows")))), is_inside(node.get("before"))
        children = as_list(node.get("children"))
        require(len(children) - len(rows) in (0, 1), "a split has other children than rows")
        for row, child in zip(rows, children, strict=False):
            yield child, put(sides, row, not before)
            sides = put(sides, row, before)
        yield (children[-1] if len(children) > len(rows) else None), sides

    def refute(self, given: Any, sides: Sides | None) -> None:
        """Weights prove that these sides need a perturbation of length lower."""
        if sides is None:
            return
        rows, weights = map(as_list, as_list(given, 2))
        require(0 < len(rows) == len(weights), "weights are not as many as their rows")
        for row, weight in zip(map(self.proof.row, rows), weights, strict=True):
            require(type(weight) in (int, float) and 0 < abs(weight) <= LARGEST, "a weight is no number")
            if not (sides.get(row) is True if weight > 0 else self.is_out(row, sides)):
                # Then weights prove nothing, but none are needed where counts refute these sides.
                require(not self.settle(sides), f"row {row} is not where its weight says")
                return
        numbers = np.array(weights, dtype=float)
        exact = integers(numbers, grid_of(numbers)).tolist()
        # Rounding leaves a sum that is not 0: the largest weight takes it.
        at = max(range(len(exact)), key=lambda k: abs(exact[k]))
        rest = exact[at] - sum(exact)
        fine, exact[at] = rest * exact[at] > 0, rest
        require(
            fine and self.proof.needs_lower([*zip(rows, exact, strict=True)]), "weights do not prove lower"
        )

    def tally(self, sides: Sides) -> list[int]:
        inside = [self.kinds[row] for row, is_in in sides.items() if is_in]
        return [inside.count(kind) for kind in (OWN, RIVAL, THIRD)]

    def is_full(self, kind: int, sides: Sides) -> bool:
        """Whether A has no place for one more row of a kind."""
        (own, rivals, thirds), way = self.tally(sides), self.way
        full = rivals + thirds >= way.others or (kind == THIRD and thirds >= way.thirds)
        return own >= way.own if kind == OWN else self.exact and full

    def is_out(self, row: int, sides: Sides) -> bool:
        """Whether a row is outside: it is known, judges say so, or A is full."""
        return not (
            sides[row] if row in sides else self.may[row] and not self.is_full(self.kinds[row], sides)
        )

    def settle(self, sides: Sides) -> bool:
        """Add what counts and places imply; False: they contradict."""
        known = -1
        while len(sides) > known:
            known = len(sides)
            wrong = any(inside and self.is_out(row, {}) for row, inside in sides.items())
            if wrong or not (self.settle_places(sides) and self.settle_counts(sides)):
                return False
        return True

    def settle_counts(self, sides: Sides) -> bool:
        way, (own, rivals, thirds) = self.way, self.tally(sides)
        if own > way.own or (self.exact and (thirds > way.thirds or rivals + thirds > way.others)):
            return False
        full = [self.is_full(kind, sides) for kind in (OWN, RIVAL, THIRD)]
        left = [row for row, kind in enumerate(self.kinds) if self.may[row] and not full[kind]]
        free, spare = (
            [k for k in left if self.kinds[k] == kind and k not in sides] for kind in (RIVAL, THIRD)
        )
        most = rivals + thirds + len(free) + min(len(spare), max(way.thirds - thirds, 0))
        if rivals + len(free) < way.rivals or most < way.others:
            return False
        if rivals + len(free) == way.rivals:
            sides.update(dict.fromkeys(free, True))
        if rivals + thirds + len(free) + len(spare) == way.others:
            sides.update(dict.fromkeys(free + spare, True))
        return True

    def settle_places(self, sides: Sides) -> bool:
        """Rows in one place come in order, and so do all at the distance of the last row of A."""
        places, ties = self.proof.places, []
        out = {row for place in places for row in place if self.is_out(row, sides)}
        for place in places:
            inside, outside = [row for row in place if sides.get(row)], [row for row in place if row in out]
            if inside and outside and outside[0] < inside[-1]:
                return False
            sides.update({row: True for row in place if inside and row < inside[-1]})
            sides.update({row: False for row in place if outside and row > outside[0]})
            if inside and outside:
                ties.append((inside[-1], outside[0]))
        return not ties or max(last for last, _ in ties) < min(first for _, first in ties)


def is_inside(side: Any) -> bool:
    require(type(side) is str and side in ("in", "out"), "a row is neither in nor out")
    return bool(side == "in")


def put(sides: Sides | None, row: int, inside: bool) -> Sides | None:
    """The same sides with one row more; None: it cannot be there."""
    return None if sides is None or sides.get(row, inside) != inside else {**sides, row: inside}
