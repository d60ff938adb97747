"""All figures, as ratios to other libraries in one run: ``python benches/run.py --data DIR``.

A ratio is measured in turns (A B A B ...) after a warm-up, with the same number of threads on both sides; the
median is quoted, with the smallest and the largest. "≤" bounds ours over the peer, "≥" the speed-up.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import threadpoolctl

import arml
import attacks
import authors
import certificates
import certification
import deep
import exact_radius
import lmnn
import metrics
import nca
import neighbors
import scaling
import votes
from _data import VARIABLE, Skipped, folder
from _figures import Figure, Settings
from _report import heading, machine, row, write

Case = Callable[[Settings], Iterator[Figure]]

FAMILIES = {
    "certification": certification.CASES,
    "certificates": certificates.CASES,
    "neighbors": neighbors.CASES,
    "metrics": metrics.CASES,
    "scaling": scaling.CASES,
    "votes": votes.CASES,
    "attacks": attacks.CASES,
    "authors": authors.CASES,
    "arml": arml.CASES,
    "exact_radius": exact_radius.CASES,
    "lmnn": lmnn.CASES,
    "nca": nca.CASES,
    "deep": deep.CASES,
}
CASES: dict[str, Case] = {
    f"{family}/{name}": case for family, cases in FAMILIES.items() for name, case in cases.items()
}
RESULTS = Path(__file__).parent / "results" / "bench.json"


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", metavar="DIR", help=f"folder of the npz files (default: ${VARIABLE})")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", default=[""], help="families or cases: " + ", ".join(CASES)
    )
    parser.add_argument("--quick", action="store_true", help="fewer points and repetitions: a look only")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where to write the figures")
    parser.add_argument("--threads", type=int, default=2, help="threads of both sides (default: 2)")
    parser.add_argument("--authors", type=Path, metavar="PATH", help="checkout of the public exact code")
    parser.add_argument(
        "--authors-python", default=sys.executable, metavar="EXE", help="interpreter that has PyTorch"
    )
    parser.add_argument(
        "--metric-learn-python", metavar="EXE", help="interpreter that has metric-learn and what it needs"
    )
    parser.add_argument(
        "--budget",
        type=float,
        default=600.0,
        metavar="S",
        help="seconds for the public code on each data set",
    )
    options = parser.parse_args(given)
    unknown = [name for name in options.only if not any(case.startswith(name) for case in CASES)]
    if unknown:
        parser.error(f"no such figure: {', '.join(unknown)}; there are {', '.join(CASES)}")
    return options


def main() -> None:
    options = arguments()
    settings = Settings(
        folder(options.data),
        options.quick,
        options.threads,
        options.authors,
        options.authors_python,
        options.budget,
        options.metric_learn_python,
    )
    facts = machine(settings)
    print("\n".join(f"{key}: {value}" for key, value in facts.items()), end="\n\n")
    print(heading(), flush=True)
    figures: list[Figure] = []
    skipped: dict[str, str] = {}
    with threadpoolctl.threadpool_limits(settings.threads):
        for name, case in CASES.items():
            if not any(name.startswith(wanted) for wanted in options.only):
                continue
            try:
                for figure in case(settings):
                    figures.append(figure)
                    print(row(figure), flush=True)
            except Skipped as reason:
                skipped[name] = str(reason)
                print(f"skipped {name}: {reason}", flush=True)
            write(options.json, facts, figures, skipped)
    judged = [figure for figure in figures if figure.reached is not None]
    print(f"\n{sum(map(bool, (f.reached for f in judged)))} of {len(judged)} targets reached", end="")
    print(f", {len(skipped)} figures skipped; {options.json}")


if __name__ == "__main__":
    main()
