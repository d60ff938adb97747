"""K-NN: the Euclidean rows of the ARML paper's Table 2 again, and the exact radii beside them.

``python benches/published_knn.py --data DIR`` recomputes the certified robust error at K = 11 by the
published bound (Wang, Liu, Yi, Jiang, Hsieh, "Provably Robust Metric Learning", NeurIPS 2020, arXiv
2006.07024; majority rule, the first 1,000 test points, shuffled by ``random_state=42``), and then by exact
search for both rules and several K, with the share of points whose radius is proven. The exit status is 1
where a number differs from the published one in its three digits, 2 where a data set is absent.
"""

import argparse
import sys
import time

import numpy as np

from _data import VARIABLE, Data, Skipped, folder, load
from certimetric import CertifiedKNeighborsClassifier

POINTS = 1000
PUBLISHED = {
    "pendigits": ((0, 0.1, 0.2, 0.3, 0.4, 0.5), (0.039, 0.126, 0.316, 0.577, 0.784, 0.937)),
    "satimage": ((0, 0.15, 0.30, 0.45, 0.60, 0.75), (0.101, 0.579, 0.842, 0.899, 0.927, 0.948)),
    "usps": ((0, 0.5, 1.0, 1.5, 2.0, 2.5), (0.063, 0.239, 0.586, 0.888, 0.977, 1.0)),
    "mnist": ((0, 0.5, 1.0, 1.5, 2.0, 2.5), (0.038, 0.134, 0.360, 0.618, 0.814, 0.975)),
    "fashion_mnist": ((0, 0.5, 1.0, 1.5, 2.0, 2.5), (0.160, 0.420, 0.650, 0.800, 0.895, 0.946)),
}
# Half a unit of the third digit, and a little for numbers that decimals do not hold.
_ROUNDING = 0.0005 + 1e-12


def line(title: str, numbers: object) -> str:
    return f"  {title:<24}" + "".join(f"{number:>8.3f}" for number in np.asarray(numbers))


def reproduce(name: str, data: Data, jobs: int) -> bool:
    """Print the published row and the bound's; whether they agree."""
    radii, published = PUBLISHED[name]
    classifier = CertifiedKNeighborsClassifier(11, n_jobs=jobs).fit(data.X, data.y)
    begun = time.perf_counter()
    result = classifier.certify(data.Z, data.t, method="bound", rule="majority")
    print(f"{data.title}, {len(data.Z):,} test points, bound in {time.perf_counter() - begun:.2f} s")
    ours = np.asarray(result.certified_error(radii))
    for title, numbers in (
        ("radius", radii),
        ("published bound, K = 11", published),
        ("bound, K = 11", ours),
    ):
        print(line(title, numbers))
    return bool((np.abs(ours - published) <= _ROUNDING).all())


def extend(name: str, data: Data, neighbors: list[int], limit: float, jobs: int) -> None:
    """Print the certified and the attacked error of exact search."""
    radii, _ = PUBLISHED[name]
    for k in neighbors:
        classifier = CertifiedKNeighborsClassifier(k, n_jobs=jobs).fit(data.X, data.y)
        for rule in ("majority", "plurality"):
            result = classifier.certify(data.Z, data.t, rule=rule, point_time_limit=limit)
            print(line(f"exact, {rule}, K = {k}", result.certified_error(radii)), end="")
            gap = np.max((result.upper - result.lower)[np.isfinite(result.upper)], initial=0.0)
            seconds = result.seconds[result.upper > 0]
            median = 1e3 * np.median(seconds)
            print(f"   {result.share_exact:.1%} proven, median {median:.1f} ms, widest {gap:.1e}")
            if result.share_exact < 1:
                print(line("  attacked", result.attack_error(radii)))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", metavar="DIR", help=f"folder of the npz files (default: ${VARIABLE})")
    parser.add_argument("--only", nargs="+", choices=PUBLISHED, default=list(PUBLISHED), help="data sets")
    parser.add_argument(
        "--neighbors", nargs="*", type=int, default=[3, 5, 7, 11], help="K of the exact search"
    )
    parser.add_argument("--points", type=int, default=POINTS, help="test points (default: 1000)")
    parser.add_argument("--limit", type=float, default=10.0, help="seconds a point (default: 10)")
    parser.add_argument("--jobs", type=int, default=-1, help="threads (default: all processors)")
    options = parser.parse_args()
    outcome: dict[str, str] = {}
    for name in options.only:
        try:
            data = load(folder(options.data), name).points(options.points)
        except Skipped as reason:
            outcome[name] = f"absent ({reason})"
            continue
        outcome[name] = "equal" if reproduce(name, data, options.jobs) else "DIFFERENT"
        extend(name, data, options.neighbors, options.limit, options.jobs)
    print("\n".join(f"{name}: {verdict}" for name, verdict in outcome.items()))
    if "DIFFERENT" in outcome.values():
        return 1
    return 0 if set(outcome.values()) == {"equal"} else 2


if __name__ == "__main__":
    sys.exit(main())
