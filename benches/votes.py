"""Certification of K-NN: the bound, the attack, the exact radius and one question about it.

There is no peer that answers the same question: the bound is compared with our exact 1-NN certification of
the same points, the attack and a question about one radius with our own exact radii; times a point are given,
and the share that is proven within a second.
"""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from _data import Data, load
from _figures import Figure, Settings, Target, alternate, clock, compare, duration
from certimetric import Certification, CertifiedKNeighborsClassifier

SMALL = ("pima", "pendigits", "satimage", "splice", "usps")
LARGE = ("fashion_mnist", "mnist")
# Radii at which the published tables count errors, in the middle of each.
EPS = {"pendigits": 0.3, "satimage": 0.3, "usps": 1.0, "mnist": 1.0, "fashion_mnist": 1.0}
_SECOND = 1.0


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
        "exact": clock(lambda: voting.certify(data.Z, data.t, **options)),
        "question": clock(lambda: voting.certify(data.Z, data.t, eps=EPS[name], **options)),
    }
    spent = alternate(sides, settings.repetitions)
    exact = voting.certify(data.Z, data.t, **options)
    found = {m: voting.certify(data.Z, data.t, method=m, **options) for m in ("bound", "attack")}
    live = exact.upper > 0
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


def exact(settings: Settings, name: str) -> Iterator[Figure]:
    """The share of radii that are proven within a second a point, by K and rule."""
    points = settings.points if name in SMALL else (50 if settings.quick else settings.points)
    data = load(settings.data, name).points(points)
    for k in (11,) if settings.quick else (3, 5, 7, 11):
        classifier = fitted(data, k, settings)
        for rule in ("majority", "plurality"):
            begun = time.perf_counter()
            result = classifier.certify(data.Z, data.t, rule=rule, point_time_limit=10.0)
            elapsed = time.perf_counter() - begun
            yield proven(f"exact, {rule}, K = {k}: {data.title}", result, elapsed, name in LARGE)


def proven(work: str, result: Certification, elapsed: float, large: bool) -> Figure:
    """One line: the share proven within a second, and what a point takes."""
    live = result.upper > 0
    seconds, share = result.seconds[live], np.isin(result.status[live], ("exact",))
    in_time = float(np.mean(share & (seconds <= _SECOND)))
    quantiles = [duration(float(q)) for q in np.quantile(seconds, [0.5, 0.95, 1.0])]
    nodes = result.nodes[live]
    return Figure(
        work,
        f"{quantiles[0]} a point",
        "proven within 1 s",
        [in_time],
        unit="",
        target=Target(0.97 if large else 1.0, at_least=True),
        note=(
            f"median / 95 % / most: {' / '.join(quantiles)}; mean {duration(float(seconds.mean()))}; "
            f"nodes {np.median(nodes):.0f} / {nodes.mean():.0f} / {nodes.max()}\n"
            f"{share.mean():.1%} proven in all; {len(seconds)} points with r* > 0 in {elapsed:.1f} s"
        ),
    )


CASES = {
    **{f"bounds/{name}": lambda settings, name=name: bounds(settings, name) for name in EPS},
    **{f"exact/{name}": lambda settings, name=name: exact(settings, name) for name in (*SMALL, *LARGE)},
}
