"""The Euclidean rows of the ARML paper's Tables 1 and 2, again.

``python benches/published_numbers.py --data DIR``: certified robust error on the first 1,000 test points,
shuffled by ``random_state=42``, of 1-NN (exact) and of 11-NN by the published bound (majority rule); Wang,
Liu, Yi, Jiang, Hsieh, "Provably Robust Metric Learning", NeurIPS 2020, arXiv 2006.07024. ``--exact K ...``
adds what is published nowhere: the exact radii of K-NN for both rules, with the share of points for which
they are proven. The exit status is 1 where a number differs from the published one in its three digits, 2
where a data set is absent.
"""

import argparse
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from _data import VARIABLE, Data, Skipped, folder, load
from certimetric import CertifiedKNeighborsClassifier

POINTS = 1000
RADII = {
    "mnist": (0, 0.5, 1.0, 1.5, 2.0, 2.5),
    "fashion_mnist": (0, 0.5, 1.0, 1.5, 2.0, 2.5),
    "usps": (0, 0.5, 1.0, 1.5, 2.0, 2.5),
    "pendigits": (0, 0.1, 0.2, 0.3, 0.4, 0.5),
    "satimage": (0, 0.15, 0.30, 0.45, 0.60, 0.75),
}
ONE = {
    "mnist": (0.033, 0.112, 0.274, 0.521, 0.788, 0.945),
    "fashion_mnist": (0.145, 0.381, 0.606, 0.790, 0.879, 0.943),
    "usps": (0.045, 0.224, 0.585, 0.864, 0.970, 0.999),
    "pendigits": (0.032, 0.119, 0.347, 0.606, 0.829, 0.969),
    "satimage": (0.108, 0.642, 0.864, 0.905, 0.928, 0.951),
}
ELEVEN = {
    "mnist": (0.038, 0.134, 0.360, 0.618, 0.814, 0.975),
    "fashion_mnist": (0.160, 0.420, 0.650, 0.800, 0.895, 0.946),
    "usps": (0.063, 0.239, 0.586, 0.888, 0.977, 1.0),
    "pendigits": (0.039, 0.126, 0.316, 0.577, 0.784, 0.937),
    "satimage": (0.101, 0.579, 0.842, 0.899, 0.927, 0.948),
}
# By table: K, how the radii are certified, the published rows.
TABLES: dict[int, tuple[int, dict[str, Any], dict[str, tuple[float, ...]]]] = {
    1: (1, {}, ONE),
    2: (11, {"method": "bound", "rule": "majority"}, ELEVEN),
}
# Half a unit of the third digit, and a little for numbers that decimals do not hold.
_ROUNDING = 0.0005 + 1e-12


def line(title: str, numbers: ArrayLike) -> str:
    return f"  {title:<26}" + "".join(f"{number:>8.3f}" for number in np.asarray(numbers))


def reproduce(table: int, name: str, data: Data, jobs: int) -> bool:
    """Print one published row and ours; whether they agree."""
    k, options, rows = TABLES[table]
    begun = time.perf_counter()
    result = (
        CertifiedKNeighborsClassifier(k, n_jobs=jobs).fit(data.X, data.y).certify(data.Z, data.t, **options)
    )
    elapsed = time.perf_counter() - begun
    ours = np.asarray(result.certified_error(RADII[name]))
    difference = ours - rows[name]
    print(f"Table {table}, K = {k}, {data.title}, {len(data.Z):,} test points, {elapsed:.2f} s with fit")
    shown = {"radius": RADII[name], "published": rows[name], "ours": ours, "difference": difference}
    print("\n".join(line(title, numbers) for title, numbers in shown.items()))
    return bool((np.abs(difference) <= _ROUNDING).all())


def extend(name: str, data: Data, neighbors: list[int], limit: float, jobs: int) -> None:
    """Print the certified error of exact search, and the attacked one where they differ."""
    for k in neighbors:
        classifier = CertifiedKNeighborsClassifier(k, n_jobs=jobs).fit(data.X, data.y)
        for rule in ("majority", "plurality"):
            result = classifier.certify(data.Z, data.t, rule=rule, point_time_limit=limit)
            live = np.isfinite(result.upper) & (result.upper > 0)
            width = np.max(1 - result.lower[live] / result.upper[live], initial=0.0)
            median = 1e3 * np.median(result.seconds[live])
            print(line(f"exact, {rule}, K = {k}", result.certified_error(RADII[name])), end="")
            print(f"   {result.share_exact:.1%} proven, median {median:.1f} ms, widest {width:.1g} of it")
            if result.share_exact < 1:
                print(line("  attacked", result.attack_error(RADII[name])))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", metavar="DIR", help=f"folder of the npz files (default: ${VARIABLE})")
    parser.add_argument("--only", nargs="+", choices=RADII, default=list(RADII), help="data sets")
    parser.add_argument("--tables", nargs="+", type=int, choices=TABLES, default=list(TABLES))
    parser.add_argument(
        "--exact", nargs="+", type=int, default=[], metavar="K", help="exact radii for these K"
    )
    parser.add_argument("--points", type=int, default=POINTS, help="test points (default: 1000)")
    parser.add_argument(
        "--limit", type=float, default=10.0, help="seconds a point of exact search (default: 10)"
    )
    parser.add_argument("--jobs", type=int, default=-1, help="threads (default: all processors)")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    outcome: dict[str, str] = {}
    for name in options.only:
        try:
            data = load(folder(options.data), name).points(options.points)
        except Skipped as reason:
            outcome[name] = f"absent ({reason})"
            continue
        equal = [reproduce(table, name, data, options.jobs) for table in options.tables]
        outcome[name] = "equal" if all(equal) else "DIFFERENT"
        extend(name, data, options.exact, options.limit, options.jobs)
    print("\n".join(f"{name}: {verdict}" for name, verdict in outcome.items()))
    if "DIFFERENT" in outcome.values():
        return 1
    return 0 if set(outcome.values()) == {"equal"} else 2


if __name__ == "__main__":
    sys.exit(main())
