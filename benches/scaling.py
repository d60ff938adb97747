"""How time and memory grow: with the training set, with threads, at fit, and at the peak."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from _data import VARIABLE, Data, load, locate, made
from _figures import Figure, Settings, Target, alternate, clock, compare, duration, middle
from certimetric import CertifiedKNeighborsClassifier

_LINEAR = Target(1.0)
_SHARES = (8, 4, 2, 1)


def growth(settings: Settings, data: Data, work: str) -> Iterator[Figure]:
    """The exponent b of time ~ n^b, by least squares of the logarithms."""
    sizes = [len(data.X) // share for share in _SHARES]
    sides = {}
    for size in sizes:
        part = data.rows(size)
        classifier = CertifiedKNeighborsClassifier(n_jobs=settings.threads).fit(part.X, part.y)
        sides[f"n = {size:,}"] = clock(lambda c=classifier: c.certify(data.Z, data.t))
    spent = alternate(sides, settings.repetitions)
    turns = np.array([[s.wall for s in times] for times in spent.values()]).T
    exponents = [float(np.polyfit(np.log(sizes), np.log(turn), 1)[0]) for turn in turns]
    times = ", ".join(f"{side}: {duration(middle(t))}" for side, t in spent.items())
    last = duration(float(np.median(turns[:, -1])))
    yield Figure(work, last, "-", exponents, "(exponent)", _LINEAR, times, spent)


def growth_real(settings: Settings) -> Iterator[Figure]:
    data = load(settings.data, "fashion_mnist").points(settings.points)
    yield from growth(settings, data, f"growth with n: {data.title}")


def growth_made(settings: Settings) -> Iterator[Figure]:
    n = 200_000 if settings.quick else 1_000_000
    yield from growth(settings, made(n, 32, settings.points), f"growth with n: made {n:,} × 32")


def threads(settings: Settings) -> Iterator[Figure]:
    """Speed-up of two threads over one."""
    data = load(settings.data, "fashion_mnist").points(settings.points)
    classifier = CertifiedKNeighborsClassifier().fit(data.X, data.y)
    sides = {
        "2 threads": clock(lambda: classifier.certify(data.Z, data.t, n_jobs=2)),
        "1 thread": clock(lambda: classifier.certify(data.Z, data.t, n_jobs=1)),
    }
    spent = alternate(sides, settings.repetitions)
    work = f"two threads over one: {data.title}"
    yield compare(work, spent, "1 thread", Target(1.8, at_least=True), ours="2 threads")


def fit(settings: Settings) -> Iterator[Figure]:
    """Seconds of ``fit``."""
    data = load(settings.data, "fashion_mnist").points(1)
    side = clock(lambda: CertifiedKNeighborsClassifier(n_jobs=settings.threads).fit(data.X, data.y))
    spent = alternate({"fit": side}, 3)
    times = [s.wall for s in spent["fit"]]
    work = f"fit: {data.title}"
    yield Figure(work, duration(middle(spent["fit"])), "-", times, "s", Target(3.0), spent=spent)


def memory(settings: Settings) -> Iterator[Figure]:
    """Peak memory of a fresh process, less the data as float64."""
    points = 2_000 if settings.quick else 10_000
    locate(settings.data, "mnist")
    program = Path(__file__).with_name("_peak_memory.py")
    done = subprocess.run(
        [sys.executable, str(program), str(points), str(settings.threads)],
        env={**os.environ, VARIABLE: str(settings.data)},
        stdout=subprocess.PIPE,
        check=True,
    )
    found = json.loads(done.stdout)
    stages = ("imports", "loaded", "fitted", "certified")
    note = "peak after " + ", ".join(f"{stage}: {found[stage]:.0f} MB" for stage in stages)
    work = f"peak memory less the data, {points:,} points of MNIST"
    above = found["certified"] - found["data"]
    total, data = f"{found['certified']:,.0f} MB", f"data {found['data']:,.0f} MB"
    yield Figure(work, total, data, [above], "MB", Target(400.0), note)


CASES = {
    "growth": growth_real,
    "growth-made": growth_made,
    "threads": threads,
    "fit": fit,
    "memory": memory,
}
