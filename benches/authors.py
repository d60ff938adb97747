"""Certification against the public exact code of the ARML paper, on the same points.

One neighbour: exact norms. Several, named ``votes-...``: the bound over all triplets, which that code takes
pair by pair. That code is binary32 PyTorch and runs here on the processor, in an interpreter of its own with
the same number of threads. Both sides take the same points in the same batches, in turns; a ratio is that of
a batch. No batch is begun after the time budget. It needs a checkout of the code, and is skipped without one.
"""

import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from _data import Data, Skipped, load
from _figures import Figure, Settings, Target, duration
from certimetric import Certification, CertifiedKNeighborsClassifier
from certimetric.datasets import load_digits_split

# Above the rounding of a binary32 norm: a norm lower by more is not the minimum by any reading.
_BINARY32 = 1e-5


@dataclass(frozen=True)
class Plan:
    """A target, how many points make a batch, how many are certified in all, the number of neighbours."""

    target: Target
    batch: int
    quick_points: int
    points: int
    k: int = 1

    @property
    def question(self) -> dict[str, Any]:
        """What the public code answers: the exact radius, or the majority's bound."""
        return {} if self.k == 1 else {"method": "bound", "rule": "majority"}


PLANS = {
    "digits": Plan(Target(500, at_least=True), 100, 100, 400),
    "satimage": Plan(Target(1000, at_least=True), 100, 100, 400),
    "fashion_mnist": Plan(Target(10_000, at_least=True), 50, 10, 100),
    "votes-pendigits": Plan(Target(100, at_least=True), 5, 5, 15, k=11),
    "votes-satimage": Plan(Target(100, at_least=True), 5, 5, 15, k=11),
}


class PublicCode:
    """The authors' solver in its own interpreter; a context manager."""

    def __init__(self, settings: Settings, data: Data, k: int) -> None:
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / "data.npz"
        np.savez(path, X=data.X, y=data.y, Z=data.Z, t=data.t)
        worker = Path(__file__).with_name("_authors_worker.py")
        self._process = subprocess.Popen(
            [settings.authors_python, worker, settings.authors, path, str(settings.threads), str(k)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.facts = self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            raise Skipped("the public code did not run in the interpreter of --authors-python; see above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def certify(self, first: int, last: int) -> tuple[list[float], list[float]]:
        """Norms and seconds of the points ``first ... last - 1``."""
        self._process.stdin.write(f"{first} {last}\n")
        self._process.stdin.flush()
        answer = self._answer()
        return answer["norms"], answer["seconds"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._folder.cleanup()


def measure(settings: Settings, name: str) -> Iterator[Figure]:
    """Speed-up over the public code on one data set."""
    if settings.authors is None:
        raise Skipped(
            "needs the public code: name a checkout by --authors, and its Python by --authors-python"
        )
    plan = PLANS[name]
    file = name.removeprefix("votes-")
    data = (digits() if file == "digits" else load(settings.data, file)).points(plan.points)
    wanted = plan.quick_points if settings.quick else plan.points
    classifier = CertifiedKNeighborsClassifier(plan.k, n_jobs=settings.threads).fit(data.X, data.y)
    certify = partial(classifier.certify, **plan.question)
    certify(data.Z, data.t)
    norms: list[float] = []
    theirs, ours = [], []
    begun = time.perf_counter()
    with PublicCode(settings, data, plan.k) as code:
        while len(norms) < wanted and time.perf_counter() - begun < settings.budget:
            batch = slice(len(norms), min(len(norms) + plan.batch, wanted))
            found, seconds = code.certify(batch.start, batch.stop)
            norms += found
            theirs.append(sum(seconds))
            ours.append(_median_of_three(certify, data, batch))
        facts = code.facts
    done = len(norms)
    result = certify(data.Z[:done], data.t[:done])
    # Of a bound only the lower end is known, and theirs is the same number.
    farthest = result.upper if plan.k == 1 else result.lower
    whole = f"time a point; overall {sum(theirs) / sum(ours):,.0f} ×; torch {facts['torch']}"
    yield Figure(
        f"{'certify' if plan.k == 1 else f'bound, K = {plan.k},'} {done} points of {data.title}",
        duration(sum(ours) / done),
        f"public code {duration(sum(theirs) / done)}",
        [b / a for a, b in zip(ours, theirs, strict=True)],
        target=plan.target,
        note=f"{whole}\n{below(np.array(norms), result.lower, farthest)}",
    )


def _median_of_three(certify: Callable[..., Certification], data: Data, batch: slice) -> float:
    """Median seconds of three runs of a batch: one run of a few points is too short to time."""
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        certify(data.Z[batch], data.t[batch])
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def digits() -> Data:
    """Scikit-learn's digits, split as in the package's demonstration."""
    train, test = load_digits_split()
    return Data("digits", train.X, train.labels(), test.X, test.labels())


def below(norms: NDArray[np.float64], lower: NDArray[np.float64], upper: NDArray[np.float64]) -> str:
    """How often the public code's norms lie outside of the proven intervals, or off a proven bound."""
    positive = lower > 0
    count = max(int(np.count_nonzero(positive)), 1)
    short = np.count_nonzero(positive & (norms < lower)) / count
    clear = np.count_nonzero(positive & (norms < lower * (1 - _BINARY32))) / count
    long = np.count_nonzero(positive & (norms > upper * (1 + _BINARY32))) / count
    labels = int(np.count_nonzero(positive != (norms > 0)))
    return (
        f"its norms: {short:.0%} below the proven lower bound ({clear:.0%} by more than {_BINARY32:g}), "
        f"{long:.0%} above the upper by more than {_BINARY32:g}; {labels} labels differ"
    )


CASES = {name: lambda settings, name=name: measure(settings, name) for name in PLANS}
