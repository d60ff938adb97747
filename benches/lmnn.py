"""LMNN against metric-learn: whole fits of both ways, and the objective that each side ends with.

metric-learn needs an older scikit-learn, so it runs in an interpreter of its own, with as many threads.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from _data import Data, Skipped, load, made
from _figures import Figure, Settings, Side, Spent, Target, alternate, clock, compare
from certimetric.learning import LMNN
from certimetric.learning._base import Labelled
from certimetric.learning._large_margin import AllImpostors, find_neighbors

_FEW = 1000
"""Rows beyond which a fit of metric-learn is timed once."""


def peer(settings: Settings, data: Path, components: Path) -> Side:
    """A fit of metric-learn's, which leaves its components behind."""
    worker = Path(__file__).with_name("_lmnn_worker.py")
    threads = {f"{name}_NUM_THREADS": str(settings.threads) for name in ("OMP", "OPENBLAS", "MKL")}

    def fit() -> Spent:
        done = subprocess.run(
            [settings.metric_learn_python, worker, data, components],
            env={**os.environ, **threads},
            stdout=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            raise Skipped("metric-learn did not run in the interpreter of --metric-learn-python; see above")
        return Spent(*json.loads(done.stdout))

    return fit


def against_metric_learn(settings: Settings, read: Callable[[Settings], Data]) -> Iterator[Figure]:
    if settings.metric_learn_python is None:
        raise Skipped("needs metric-learn: name an interpreter that has it by --metric-learn-python")
    data = read(settings)
    X, y = data.X, data.y
    learner = LMNN(n_jobs=settings.threads)
    fixed = LMNN(n_jobs=settings.threads, perturbation=10.0)
    with tempfile.TemporaryDirectory() as folder:
        path, components = Path(folder) / "data.npz", Path(folder) / "components.npy"
        np.savez(path, X=X, y=y)
        sides = {
            "LMNN": clock(lambda: learner.fit(X, y)),
            "LMNN-PL": clock(lambda: fixed.fit(X, y)),
            "metric-learn": peer(settings, path, components),
        }
        few = len(X) <= _FEW
        spent = alternate(sides, 3 if few and not settings.quick else 1, warm_up=int(few))
        theirs = np.load(components)
    classes, codes = np.unique(y, return_inverse=True)
    known = Labelled(X, codes, classes)
    targets = find_neighbors(known, 3, 1, settings.threads).same
    objective = AllImpostors(known, targets, 0.5, settings.threads)
    ends = [objective(found)[0] for found in (learner.components_, theirs)]
    for name in ("LMNN", "LMNN-PL"):
        work = f"a fit of {name}, {data.title}"
        yield compare(work, spent, "metric-learn", Target(1, at_least=True), ours=name)
    values = [ends[0] / ends[1]]
    work = "its objective over metric-learn's at the end"
    yield Figure(work, f"{ends[0]:,.0f}", f"metric-learn {ends[1]:,.0f}", values, target=Target(1.0))


def _large(settings: Settings) -> Data:
    if settings.quick:
        raise Skipped("metric-learn takes minutes: not in a quick run")
    return made(5000, 50, 0)


# Without ties, which Splice has, both sides have the same targets.
CASES = {
    "vowel": partial(against_metric_learn, read=lambda settings: load(settings.data, "vowel")),
    "made": partial(against_metric_learn, read=_large),
}
