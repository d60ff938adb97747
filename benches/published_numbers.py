"""The Euclidean rows of the ARML paper's Table 1, again: ``python benches/published_numbers.py --data DIR``.

Certified robust error of 1-NN (exact) on the first 1,000 test points, shuffled by ``random_state=42``; Wang,
Liu, Yi, Jiang, Hsieh, "Provably Robust Metric Learning", NeurIPS 2020, arXiv 2006.07024. The exit status is 1
where a number differs from the published one in its three digits, 2 where a data set is absent.
"""

import argparse
import sys
import time

import numpy as np

from _data import VARIABLE, Skipped, folder, load
from certimetric import CertifiedKNeighborsClassifier

POINTS = 1000
PUBLISHED = {
    "mnist": ((0, 0.5, 1.0, 1.5, 2.0, 2.5), (0.033, 0.112, 0.274, 0.521, 0.788, 0.945)),
    "fashion_mnist": ((0, 0.5, 1.0, 1.5, 2.0, 2.5), (0.145, 0.381, 0.606, 0.790, 0.879, 0.943)),
    "usps": ((0, 0.5, 1.0, 1.5, 2.0, 2.5), (0.045, 0.224, 0.585, 0.864, 0.970, 0.999)),
    "pendigits": ((0, 0.1, 0.2, 0.3, 0.4, 0.5), (0.032, 0.119, 0.347, 0.606, 0.829, 0.969)),
    "satimage": ((0, 0.15, 0.30, 0.45, 0.60, 0.75), (0.108, 0.642, 0.864, 0.905, 0.928, 0.951)),
}
# Half a unit of the third digit, and a little for numbers that decimals do not hold.
_ROUNDING = 0.0005 + 1e-12


def reproduce(name: str, directory: str | None, jobs: int) -> bool:
    """Print one data set's rows; whether they agree."""
    data = load(folder(directory), name).points(POINTS)
    begun = time.perf_counter()
    result = CertifiedKNeighborsClassifier(n_jobs=jobs).fit(data.X, data.y).certify(data.Z, data.t)
    elapsed = time.perf_counter() - begun
    radii, published = PUBLISHED[name]
    ours = np.asarray(result.certified_error(radii))
    broken = np.asarray(result.attack_error(radii))
    difference = ours - published
    print(
        f"{data.title}, {len(data.Z):,} test points, {elapsed:.2f} s with fit, {result.share_exact:.1%} exact"
    )
    for title, numbers in (("radius", radii), ("published", published), ("ours", ours)):
        print(f"  {title:<12}" + "".join(f"{number:>8.3f}" for number in numbers))
    print(f"  {'difference':<12}" + "".join(f"{number:>+8.3f}" for number in difference))
    if not np.array_equal(ours, broken):
        print(f"  {'at least':<12}" + "".join(f"{number:>8.3f}" for number in broken))
    return bool((np.abs(difference) <= _ROUNDING).all())


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", metavar="DIR", help=f"folder of the npz files (default: ${VARIABLE})")
    parser.add_argument("--jobs", type=int, default=-1, help="threads (default: all processors)")
    options = parser.parse_args()
    outcome: dict[str, str] = {}
    for name in PUBLISHED:
        try:
            outcome[name] = "equal" if reproduce(name, options.data, options.jobs) else "DIFFERENT"
        except Skipped as reason:
            outcome[name] = f"absent ({reason})"
    print("\n".join(f"{name}: {verdict}" for name, verdict in outcome.items()))
    if "DIFFERENT" in outcome.values():
        return 1
    return 0 if set(outcome.values()) == {"equal"} else 2


if __name__ == "__main__":
    sys.exit(main())
