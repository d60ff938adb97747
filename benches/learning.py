"""Certified errors of what learners make, over several seeds, beside the published errors of ARML.

Data, test points and learners are those of ``certimetric reproduce arml-table1``, which has one seed. A
learner has its defaults; nothing is chosen on test points. Behind a mean over seeds stands how far it is
above ARML at the radius where that is most.

    python benches/learning.py --data DIR [--sets splice,satimage] [--learners prototypes-clean] [--seeds 5]
"""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from _data import Skipped, folder, locate
from certimetric import CertifiedKNeighborsClassifier
from certimetric._fit import fit_whole
from certimetric.reproduce import PROTOCOLS, Source, load
from certimetric.reproduce.metrics import METRICS, PROTOTYPES
from certimetric.reproduce.protocol import Split
from certimetric.reproduce.published import ARML_TABLE_1

_SETS = ("splice", "satimage", "pendigits", "usps")
_LEARNERS = ("exact-radius", "prototypes-clean", "prototypes-area")


@dataclass(frozen=True)
class Row:
    """Errors at the radii of a table, and seconds to learn."""

    data: str
    learner: str
    seed: int
    errors: list[float]
    seconds: float


def measure(split: Split, name: str, seed: int, jobs: int) -> Row:
    """Learn and certify."""
    make: Any = {**METRICS, **PROTOTYPES}[name]
    model = make(split)
    known = model.get_params()
    given = {"random_state": seed, "metric__random_state": seed, "n_jobs": jobs, "metric__n_jobs": jobs}
    model.set_params(**{parameter: value for parameter, value in given.items() if parameter in known})
    begun = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit_whole(model, split.X, split.y)
    seconds = time.perf_counter() - begun
    if name in METRICS:
        model = CertifiedKNeighborsClassifier(metric=model, n_jobs=jobs).fit(split.X, split.y)
    errors = model.certify(split.Z, split.t).certified_error(ARML_TABLE_1.radii[split.name])
    return Row(split.name, name, seed, np.round(errors, 4).tolist(), seconds)


def line(title: str, errors: Sequence[float], rest: str = "") -> str:
    """Errors, and their mean."""
    shown = " ".join(f"{error:.3f}" for error in errors)
    return f"  {title:28}{shown} | {np.mean(errors):.4f} {rest}"


def table(split: Split, learners: Sequence[str], seeds: int, jobs: int) -> list[Row]:
    """One data set: what is known first."""
    published = ARML_TABLE_1.errors["arml"][split.name]
    print(f"{split.title}, {len(split.Z):,} test points")
    print(line("radius", ARML_TABLE_1.radii[split.name]))
    print(line("ARML, published", published))
    rows = []
    for name in learners:
        found = []
        for seed in range(seeds):
            found.append(measure(split, name, seed, jobs))
            print(line(f"{name}, seed {seed}", found[-1].errors, f"{found[-1].seconds:.1f} s"), flush=True)
        errors = np.array([row.errors for row in found])
        print(line("  mean", errors.mean(axis=0).tolist(), f"{(errors.mean(axis=0) - published).max():+.3f}"))
        print(line("  standard deviation", errors.std(axis=0).tolist()), flush=True)
        rows += found
    return rows


def main() -> int:
    """Print the tables; with ``--json`` write them too."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", help="folder of the data sets")
    parser.add_argument("--sets", default=",".join(_SETS))
    parser.add_argument("--learners", default=",".join(_LEARNERS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    for name in arguments.sets.split(","):
        try:
            path = locate(folder(arguments.data), name)
        except Skipped as reason:
            print(f"{name}: left out: {reason}")
            continue
        split = load(Source(name, path, protocol=PROTOCOLS[name], published=True))
        rows += table(split, arguments.learners.split(","), arguments.seeds, arguments.jobs)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
