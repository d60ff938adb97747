"""Certified errors of learned metrics and prototypes, against published ones of the same test points.

Each learner sees the training set of Wang et al. (NeurIPS 2020), scaled as they did, and is certified on
their test points: the first 1,000 of a shuffle. Of Splice there is another order of rows about, so all are
taken. A learner has its defaults and a seed; nothing is chosen on test points.

    python benches/learning.py --data DIR [--sets splice,satimage] [--learners metric,area] [--seeds 2]
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from _data import Data, Skipped, folder, load
from certimetric import CertifiedKNeighborsClassifier
from certimetric.learning import ARML, ExactRadius, RobustPrototypes
from certimetric.reproduce.published import ARML_TABLE_1

_SETS = ("splice", "satimage", "pendigits", "usps")
_IMAGES = {"mnist": (28, 28), "fashion_mnist": (28, 28)}
_WIDE = ("splice",)
"""Sets whose classes overlap so much that a metric has to come before prototypes."""

_ARML = {
    "mnist": (0.024, 0.089, 0.222, 0.455, 0.757, 0.924),
    "fashion_mnist": (0.127, 0.348, 0.568, 0.763, 0.859, 0.928),
    "usps": (0.043, 0.204, 0.565, 0.857, 0.970, 0.999),
    "pendigits": (0.028, 0.115, 0.344, 0.598, 0.823, 0.967),
    "satimage": (0.095, 0.605, 0.839, 0.899, 0.920, 0.946),
    # Of all test points, by the authors' code; the published row is of 1,000 in another order.
    "splice": (0.114, 0.211, 0.345, 0.514, 0.647, 0.761),
}
"""The authors' metric."""

Learner = Callable[[Data, int, int], Any]


def _prototypes(**options: Any) -> Learner:
    def fit(data: Data, seed: int, jobs: int) -> Any:
        metric = (
            ExactRadius(n_jobs=jobs, random_state=seed).fit(data.X, data.y) if data.name in _WIDE else None
        )
        own = {"metric": metric or "euclidean", "shifts": _IMAGES.get(data.name)}
        return RobustPrototypes(**own, **options, n_jobs=jobs, random_state=seed).fit(data.X, data.y)

    return fit


def _metric(kind: type) -> Learner:
    def fit(data: Data, seed: int, jobs: int) -> Any:
        learner = kind(n_jobs=jobs, random_state=seed).fit(data.X, data.y)
        return CertifiedKNeighborsClassifier(metric=learner, n_jobs=jobs).fit(data.X, data.y)

    return fit


LEARNERS: dict[str, Learner] = {
    "arml": _metric(ARML),
    "metric": _metric(ExactRadius),
    "clean": _prototypes(objective="clean"),
    "area": _prototypes(objective="area"),
}


@dataclass(frozen=True)
class Row:
    """Errors at the radii of a table, their mean, and seconds to learn."""

    data: str
    learner: str
    seed: int
    errors: list[float]
    mean: float
    seconds: float


def measure(data: Data, name: str, seed: int, jobs: int) -> Row:
    """Learn and certify."""
    begun = time.perf_counter()
    model = LEARNERS[name](data, seed, jobs)
    seconds = time.perf_counter() - begun
    errors = model.certify(data.Z, data.t).certified_error(ARML_TABLE_1.radii[data.name])
    return Row(data.name, name, seed, np.round(errors, 4).tolist(), float(np.mean(errors)), seconds)


def line(title: str, errors: Any, mean: float, rest: str = "") -> str:
    """A row of the table."""
    return f"{title:24}" + " ".join(f"{error:.3f}" for error in errors) + f" | {mean:.4f} {rest}"


def table(data: Data, learners: list[str], seeds: int, jobs: int) -> list[Row]:
    """One data set: what is known first."""
    radii = ARML_TABLE_1.radii[data.name]
    print(line(data.name, radii, float(np.mean(radii))))
    euclidean = CertifiedKNeighborsClassifier(n_jobs=jobs).fit(data.X, data.y)
    plain = euclidean.certify(data.Z, data.t).certified_error(radii)
    print(line("  euclidean", plain, float(np.mean(plain))))
    print(line("  ARML, published", _ARML[data.name], float(np.mean(_ARML[data.name]))))
    rows = []
    for name in learners:
        for seed in range(seeds):
            row = measure(data, name, seed, jobs)
            print(line(f"  {name}, seed {seed}", row.errors, row.mean, f"{row.seconds:.1f} s"), flush=True)
            rows.append(row)
    return rows


def main() -> int:
    """Print the tables; with ``--json`` write them too."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", help="folder of the data sets")
    parser.add_argument("--sets", default=",".join(_SETS))
    parser.add_argument("--learners", default="metric,clean,area", help=f"of {', '.join(LEARNERS)}")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--points", type=int, help="test points; default: those of the published tables")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    for name in arguments.sets.split(","):
        try:
            data = load(folder(arguments.data), name)
        except Skipped as reason:
            print(f"{name}: left out: {reason}")
            continue
        points = arguments.points or (len(data.Z) if name == "splice" else 1000)
        rows += table(data.points(points), arguments.learners.split(","), arguments.seeds, arguments.jobs)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
