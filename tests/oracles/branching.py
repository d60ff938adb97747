"""The exact radius of K-NN by branch and bound over sets of neighbours, every node a general QP solver's.

A class c *loses* where the K nearest rows, the set A, have too few votes for c. Both rules are unions of
conditions "at most ``cap`` rows of A are of c, at least ``need`` of them are of the rivals":

- *majority*: cap = ⌊K/2⌋, rivals = all other classes, need = K − cap;
- *plurality*: for a class m ≠ c and every a, cap = a, rivals = m, need = a (a + 1 where c < m, since ties in
  votes go to the smallest label).

A *node* decides about some rows that they are in A, about others that they are not; its value is that of
:mod:`oracles.relaxation`, a lower bound for all completions. A node whose value reaches the incumbent is
closed. At any other a row is chosen and both decisions are tried. An incumbent is the value of a losing K-set
with all other rows outside, which is the definition of the radius. So the radius is exact to the solver's
tolerance whatever row is chosen: the choice only makes it fast.

Two things leave rows out. No row beyond ``d_(K) + 2 ‖G‖₂ U`` is in A while ‖δ‖ ≤ U. And with row j in A, all
rows of the class but ``cap`` are at least as far as j: so the norm is no less than the (cap + 1)-th largest
triplet radius of j, which is the published bound.

Rows that coincide in the metric enter A in the order of their index. Any other tie goes to the adversary: the
value is the distance to the *closed* pieces where c loses, below r* only where such a piece has no interior.
"""

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from oracles.quadratic import GAP, Array
from oracles.rational_knn import Rule
from oracles.relaxation import Pair, Relaxation, Scene

Labels = NDArray[np.int64]
Mask = NDArray[np.bool_]
State = NDArray[np.int8]

INSIDE, FREE, OUTSIDE = 1, 0, -1
STARTS = 20
"""Rows of other classes at which an incumbent is looked for."""


@dataclass(frozen=True)
class Loss:
    """At most ``cap`` of the K nearest rows are of the class, at least ``need`` of them ``rivals``."""

    rivals: Mask
    need: int
    cap: int


def losses(labels: Labels, label: int, k: int, rule: Rule) -> Iterator[Loss]:
    """The conditions under which ``label`` loses; their union is the rule."""
    if rule == "majority":
        yield Loss(labels != label, k - k // 2, k // 2)
        return
    for rival in np.unique(labels[labels != label]):
        ahead = int(label < rival)
        for cap in range((k - ahead) // 2 + 1):
            # With no vote at all the class loses to whoever has one.
            yield Loss(labels == rival, max(cap + ahead, 1), cap)


def loses(votes: Labels, label: int, rule: Rule) -> bool:
    """Whether ``label`` loses this vote."""
    if rule == "majority":
        return bool(2 * np.count_nonzero(votes == label) <= len(votes))
    classes, counts = np.unique(votes, return_counts=True)
    return bool(classes[np.argmax(counts)] != label)


def only(chosen: NDArray[np.intp], n_rows: int) -> State:
    """These rows inside, all others outside."""
    state = np.full(n_rows, OUTSIDE, np.int8)
    state[chosen] = INSIDE
    return state


@dataclass(order=True)
class Node:
    """Decisions about the rows, under one way to lose."""

    bound: float
    number: int
    loss: Loss = field(compare=False)
    state: State = field(compare=False)
    relaxation: Relaxation = field(compare=False)


class Search:
    """Best-first search over the nodes of all ways in which ``label`` loses; ``radius`` is the incumbent."""

    def __init__(
        self, scene: Scene, labels: Labels, label: int, k: int, rule: Rule, radius: float = math.inf
    ):
        self.scene, self.labels, self.label, self.k, self.rule = scene, labels, label, k, rule
        self.radius = radius
        self.nodes = 0
        self._own, self._all = labels == label, np.ones(len(labels), dtype=bool)
        self._coinciding = scene.coinciding()
        self._heap: list[Node] = []
        self._tried: set[bytes] = set()

    def run(self, node_limit: int) -> float:
        """The radius; an error if it is not proven within the limit."""
        self._entries = self._entry_radii()
        for loss in losses(self.labels, self.label, self.k, self.rule):
            self._push(loss, np.zeros(len(self.labels), np.int8), [])
        while self._heap and self._heap[0].bound < self.radius * (1 - GAP):
            if self.nodes > node_limit:
                raise ArithmeticError(f"{self._heap[0].bound} ≤ r* ≤ {self.radius} after {self.nodes} nodes")
            self._expand(heapq.heappop(self._heap))
        return self.radius

    def evaluate(self, whole: State) -> None:
        """The distance at which exactly these rows are the K nearest, as an incumbent."""
        key = whole.tobytes()
        if key not in self._tried and not any(whole[i] < whole[j] for i, j in self._coinciding):
            self._tried.add(key)
            inside, outside = np.flatnonzero(whole == INSIDE), np.flatnonzero(whole == OUTSIDE)
            self.radius = min(self.radius, self.scene.relax(inside, outside, [], self.radius).bound)

    def _entry_radii(self) -> Array:
        """For each cap and row: how far at least, where the row is in A."""
        own = np.flatnonzero(self._own)
        entries = np.zeros((self.k, len(self._own)))
        for j in np.flatnonzero(~self._own):
            largest = np.sort(self.scene.triplet_radii(own, j))[::-1][: self.k]
            entries[: len(largest), j] = largest
        return entries

    def _expand(self, node: Node) -> None:
        heights = self.scene.heights(node.relaxation.delta)
        self._propose(node, heights)
        row = self._undecided(node, heights)
        for decision in () if row is None else (INSIDE, OUTSIDE):
            state = node.state.copy()
            state[row] = decision
            self._push(node.loss, state, node.relaxation.pairs)

    def _push(self, loss: Loss, state: State, pairs: list[Pair]) -> None:
        """A new node, unless its counts cannot be met or its value reaches the incumbent."""
        state[(state == FREE) & (self._entries[loss.cap] >= self.radius)] = OUTSIDE
        if not self._propagate(loss, state):
            return
        self.nodes += 1
        inside, outside = np.flatnonzero(state == INSIDE), np.flatnonzero(state == OUTSIDE)
        relaxation = self.scene.relax(inside, outside, pairs, self.radius)
        if relaxation.bound < self.radius:
            heapq.heappush(self._heap, Node(relaxation.bound, self.nodes, loss, state, relaxation))

    def _propose(self, node: Node, heights: Array) -> None:
        """Try the K rows of least height, ties to the adversary, that respect the decisions."""
        tie = 1e-9 * self.scene.squared.max()
        favoured = heights - tie * node.loss.rivals + tie * self._own
        chosen = np.lexsort((favoured, -node.state))[: self.k]
        if loses(self.labels[chosen], self.label, self.rule):
            self.evaluate(only(chosen, len(heights)))

    def _undecided(self, node: Node, heights: Array) -> int | None:
        """A row that spoils the vote at the node's point, else one that the vote needs, else any."""
        state, loss = node.state, node.loss
        free, inside = state == FREE, state == INSIDE
        closer = free & (heights < heights[inside].max(initial=-math.inf))
        for rows, most in ((self._own, loss.cap), (self._all, self.k)):
            if closer.any() and np.count_nonzero(rows & (closer | inside)) > most:
                return self._least(rows & closer, heights)
        for rows, least in ((loss.rivals, loss.need), (~self._own, self.k - loss.cap)):
            if np.count_nonzero(rows & inside) < least:
                return self._least(rows & free, self._entries[loss.cap])
        return self._least(free, heights) if free.any() else None

    @staticmethod
    def _least(rows: Mask, values: Array) -> int:
        return int(np.flatnonzero(rows)[values[rows].argmin()])

    def _propagate(self, loss: Loss, state: State) -> bool:
        """Decide what follows from the counts and the coincidences; False if they contradict each other."""
        while True:
            before = state.copy()
            if not (self._count(loss, state) and self._align(state)):
                return False
            if np.array_equal(before, state):
                return True

    def _count(self, loss: Loss, state: State) -> bool:
        """Rows of a kind that are all needed go inside; rows of a kind that has its share, outside."""
        for rows, least, most in (
            (self._own, 0, loss.cap),
            (loss.rivals, loss.need, self.k),
            (~self._own, self.k - loss.cap, self.k),
            (self._all, self.k, self.k),
        ):
            inside, free = np.count_nonzero(rows & (state == INSIDE)), rows & (state == FREE)
            possible = inside + np.count_nonzero(free)
            if inside > most or possible < least:
                return False
            if inside == most or possible == least:
                state[free] = OUTSIDE if inside == most else INSIDE
        return True

    def _align(self, state: State) -> bool:
        """Of rows that coincide, the lower index is in A if the higher one is."""
        for first, second in self._coinciding:
            if state[first] == OUTSIDE and state[second] == INSIDE:
                return False
            if state[second] == INSIDE:
                state[first] = INSIDE
            if state[first] == OUTSIDE:
                state[second] = OUTSIDE
        return True


def exact_radius(
    z: Array,
    label: int,
    rows: Array,
    labels: Labels,
    k: int,
    rule: Rule,
    components: Array | None = None,
    node_limit: int = 100_000,
) -> float:
    """``r*`` of a point of class ``label``, to a relative 1e-8; inf if the class never loses."""
    g = np.eye(rows.shape[1]) if components is None else components
    scene = Scene(z, rows, g)
    nearest = scene.order()
    if loses(labels[nearest[:k]], label, rule):
        return 0.0
    first = Search(scene, labels, label, k, rule)
    for j in nearest[labels[nearest] != label][:STARTS]:
        chosen = Scene(rows[j], rows, g).order()[:k]
        if loses(labels[chosen], label, rule):
            first.evaluate(only(chosen, len(rows)))
    distances = np.sqrt(scene.squared)
    near = distances <= distances[nearest[k - 1]] * (1 + 1e-9) + 2 * np.linalg.norm(g, 2) * first.radius
    return Search(Scene(z, rows[near], g), labels[near], label, k, rule, first.radius).run(node_limit)
