"""Certification of K-NN: the bound, the attack, the exact radius and one question about it.

The bound is compared with our exact 1-NN certification of the same points and with the published bound over
all triplets, the attack and a question about one radius with our own exact radii. No other library proves the
exact radius: the peer is a branch and bound in Python whose programs a general QP solver solves, on sets that
are small enough for it. On the others times a point are given, and the share that is proven within a second.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from _data import Data, load
from _figures import Figure, Settings, Target, alternate, clock, compare, duration
from _vote_peers import branch_and_bound, published_bound
from certimetric import CertifiedKNeighborsClassifier

SMALL = ("pima", "pendigits", "satimage", "splice", "usps")
LARGE = ("fashion_mnist", "mnist")
# Radii at which the published tables count errors, in the middle of each.
EPS = {"pendigits": 0.3, "satimage": 0.3, "usps": 1.0, "mnist": 1.0, "fashion_mnist": 1.0}
# The published bound and ours may differ by the rounding of either, whichever is larger.
_ROUNDING = 1e-9
# Seconds for the few points whose radius takes minutes.
_PATIENCE = 10.0
# Our runs of a few points are too short to be timed once.
_OFTEN = 10


@dataclass(frozen=True)
class Plan:
    """Training rows and test points for the published bound, and how many times slower it is to be.

    The cost of a point grows with rows² d.
    """

    rows: int
    quick_rows: int
    points: int
    times: float


PUBLIC = {
    "pendigits": Plan(7494, 7494, 5, 20),
    "satimage": Plan(4435, 4435, 5, 20),
    "fashion_mnist": Plan(4000, 2000, 2, 500),
}
# Training rows at which the general solver's search takes well below a minute.
SOLVER = {"pima": 537, "pendigits": 1000, "satimage": 1000}


def fitted(data: Data, k: int, settings: Settings) -> CertifiedKNeighborsClassifier:
    return CertifiedKNeighborsClassifier(k, n_jobs=settings.threads).fit(data.X, data.y)


def bounds(settings: Settings, name: str) -> Iterator[Figure]:
    """Cost of the bound and of the attack at K = 11, and how near they come."""
    data = load(settings.data, name).points(settings.points if name in SMALL else 100)
    nearest, voting = fitted(data, 1, settings), fitted(data, 11, settings)
    options: dict[str, Any] = {"rule": "majority"}
    sides = {
        "1-NN": clock(lambda: nearest.certify(data.Z, data.t)),
        "bound": clock(lambda: voting.certify(data.Z, data.t, method="bound", **options)),
        "attack": clock(lambda: voting.certify(data.Z, data.t, method="attack", **options)),
        "exact": clock(lambda: voting.certify(data.Z, data.t, point_time_limit=_PATIENCE, **options)),
        "question": clock(lambda: voting.certify(data.Z, data.t, eps=EPS[name], **options)),
    }
    spent = alternate(sides, settings.repetitions)
    exact = voting.certify(data.Z, data.t, point_time_limit=_PATIENCE, **options)
    found = {m: voting.certify(data.Z, data.t, method=m, **options) for m in ("bound", "attack")}
    live = (exact.upper > 0) & (exact.status == "exact")
    low, high = (
        found["bound"].lower[live] / exact.upper[live],
        found["attack"].upper[live] / exact.lower[live],
    )
    title = f"{data.title}, K = 11, {len(data.Z):,} points"
    note = f"median {np.median(low):.3f} of the radius, at least {low.min():.3f}"
    yield compare(f"bound: {title}", spent, "1-NN", Target(3.0), ours="bound", note=note)
    note = f"median {np.median(high):.4f} of the radius, 95 % within {np.quantile(high, 0.95):.3f}"
    yield compare(f"attack: {title}", spent, "bound", Target(2.0), ours="attack", note=note)
    work = f"is r* > {EPS[name]:g}? {title}"
    yield compare(work, spent, "exact", Target(0.5), ours="question")


@dataclass(frozen=True)
class Goal:
    """The share of points that is to be proven within some seconds each."""

    share: float
    seconds: float


# By rule, on the large sets; on the small ones everything is proven within a second.
LARGE_GOALS = {"majority": Goal(0.99, 1.0), "plurality": Goal(0.97, 2.0)}
MANY_NEIGHBORS = {"pima": (21, 31), "satimage": (21, 31), "spambase": (21, 31)}


def exact(settings: Settings, name: str) -> Iterator[Figure]:
    """The share of radii that are proven in time, by K and rule."""
    large = name in LARGE
    data = load(settings.data, name).points(50 if large and settings.quick else settings.points)
    for k in (11,) if settings.quick else (3, 4, 5, 7, 10, 11):
        for rule in ("majority", "plurality"):
            goal = LARGE_GOALS[rule] if large else Goal(1.0, 1.0)
            yield proven(data, k, rule, goal, settings, limit=10.0)


def many(settings: Settings, name: str) -> Iterator[Figure]:
    """The same for numbers of neighbours at which the search is hard."""
    data = load(settings.data, name).points(100 if settings.quick else 300)
    for k in MANY_NEIGHBORS[name]:
        yield proven(data, k, "majority", Goal(0.98, 3.0), settings, limit=3.0)


def proven(data: Data, k: int, rule: str, goal: Goal, settings: Settings, *, limit: float) -> Figure:
    """One line: the share proven in time, and what a point takes."""
    classifier = fitted(data, k, settings)
    begun = time.perf_counter()
    result = classifier.certify(data.Z, data.t, rule=rule, point_time_limit=limit)
    elapsed = time.perf_counter() - begun
    live = result.upper > 0
    seconds, share = result.seconds[live], result.status[live] == "exact"
    in_time = float(np.mean(share & (seconds <= goal.seconds)))
    quantiles = [duration(float(q)) for q in np.quantile(seconds, [0.5, 0.95, 1.0])]
    nodes = result.nodes[live]
    return Figure(
        f"exact, {rule}, K = {k}: {data.title}",
        f"{quantiles[0]} a point",
        f"proven within {goal.seconds:g} s",
        [in_time],
        unit="",
        target=Target(goal.share, at_least=True),
        note=(
            f"median / 95 % / most: {' / '.join(quantiles)}; mean {duration(float(seconds.mean()))}; "
            f"nodes {np.median(nodes):.0f} / {nodes.mean():.0f} / {nodes.max()}\n"
            f"{share.mean():.1%} proven in all; {len(seconds)} points with r* > 0 in {elapsed:.1f} s"
        ),
    )


def correct(data: Data, k: int, settings: Settings, count: int) -> Data:
    """The first test points that are correctly classified, the only ones that the public code looks at."""
    right = np.flatnonzero(fitted(data, k, settings).predict(data.Z[: 10 * count]) == data.t[: 10 * count])
    return replace(data, Z=data.Z[right[:count]], t=data.t[right[:count]])


def public(settings: Settings, name: str) -> Iterator[Figure]:
    """The bound against the published one over all triplets: speed, and the least ratio of the two."""
    plan = PUBLIC[name]
    rows = plan.quick_rows if settings.quick else plan.rows
    data = correct(load(settings.data, name).rows(rows), 11, settings, plan.points)
    classifier = fitted(data, 11, settings)
    bounds: dict[str, Any] = {"method": "bound", "rule": "majority"}
    theirs = np.zeros(len(data.Z))

    def triplets() -> None:
        theirs[:] = [published_bound(z, label, data, 11) for z, label in zip(data.Z, data.t, strict=True)]

    sides = {
        "ours": clock(lambda: classifier.certify(data.Z, data.t, **bounds)),
        "all triplets": clock(triplets),
    }
    # Their pass takes seconds: it needs no warm-up, and few turns.
    spent = alternate(sides, 2 if settings.quick else 3, warm_up=0)
    title = f"{data.title}, K = 11, {len(data.Z)} points"
    yield compare(f"bound: {title}", spent, "all triplets", Target(plan.times, at_least=True))
    live = theirs > 0
    ratio = classifier.certify(data.Z, data.t, **bounds).lower[live] / theirs[live]
    yield Figure(
        f"least of ours over theirs: {title}",
        "ours",
        "all triplets",
        [float(ratio.min(initial=math.inf))],
        unit="",
        target=Target(1 - _ROUNDING, at_least=True),
        note=f"of {len(ratio)} points with a bound above 0; largest {ratio.max(initial=0.0):.3g}",
    )


def solver(settings: Settings, name: str) -> Iterator[Figure]:
    """The exact radius against branch and bound over a general QP solver."""
    search = branch_and_bound()
    data = load(settings.data, name)
    # The files are not in random order.
    kept = np.random.default_rng(0).permutation(len(data.X))[: SOLVER[name]]
    data = replace(data, X=data.X[kept], y=data.y[kept])
    for k in (3,) if settings.quick else (3, 5):
        few = correct(data, k, settings, 5 if settings.quick else 20)
        for rule in ("majority", "plurality"):
            yield against_solver(few, k, rule, fitted(few, k, settings), search)


def against_solver(
    data: Data, k: int, rule: str, classifier: CertifiedKNeighborsClassifier, search: Callable[..., float]
) -> Figure:
    """The speed-up on the same points, and how far the radii are apart."""
    radii = np.zeros(len(data.Z))

    def theirs() -> None:
        radii[:] = [
            search(z, label, data.X, data.y, k, rule) for z, label in zip(data.Z, data.t, strict=True)
        ]

    sides = {
        "ours": clock(lambda: classifier.certify(data.Z, data.t, rule=rule)),
        "DAQP search": clock(theirs),
    }
    spent = alternate(sides, 2, warm_up=1)
    result = classifier.certify(data.Z, data.t, rule=rule)
    outside = np.maximum(result.lower - radii, radii - result.upper).max()
    work = f"exact, {rule}, K = {k}: {data.title}, {len(data.Z)} points"
    spread = f"radii of {radii.min():.3g} to {radii.max():.3g}"
    note = f"its {spread} lie at most {max(outside, 0.0):.1g} outside of our intervals"
    return compare(work, spent, "DAQP search", Target(20, at_least=True), note=note)


CASES = {
    **{f"bounds/{name}": lambda settings, name=name: bounds(settings, name) for name in EPS},
    **{f"public/{name}": lambda settings, name=name: public(settings, name) for name in PUBLIC},
    **{f"solver/{name}": lambda settings, name=name: solver(settings, name) for name in SOLVER},
    **{f"exact/{name}": lambda settings, name=name: exact(settings, name) for name in (*SMALL, *LARGE)},
    **{f"many/{name}": lambda settings, name=name: many(settings, name) for name in MANY_NEIGHBORS},
}
