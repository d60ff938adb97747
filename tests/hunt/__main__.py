"""The hunt's command line: ``python -m hunt --cases 100000``; ``make hunt ARGS=...``."""

import argparse
import os
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import suppress
from itertools import count, islice
from multiprocessing import get_context

from certimetric.testing import KINDS
from hunt.examine import Scene, examine, examine_some, kind_of
from hunt.tally import Tally, table

CHUNK = 8
"""Seeds that a process takes at a time."""

SHOWN = 20
"""Violations that are printed."""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="hunt", description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000, help="stop after so many cases (20000)")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many minutes")
    parser.add_argument("--seed", type=int, help="the first seed; default: one that was not used yet")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (all processors)")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS, help="kinds of data")
    parser.add_argument("--replay", type=int, metavar="SEED", help="examine one seed and print its data")
    return parser.parse_args(arguments)


def results(options: argparse.Namespace, first: int) -> Iterator[dict[str, Tally]]:
    """Tallies of one chunk of seeds after the other, without end."""
    seeds = count(first)
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        waiting = set()
        try:
            while True:
                while len(waiting) < 3 * options.jobs:
                    waiting.add(pool.submit(examine_some, list(islice(seeds, CHUNK)), options.kinds))
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def hunt(options: argparse.Namespace) -> int:
    """Examine seeds until there are enough; print the table; 1 where a promise is broken."""
    first = secrets.randbelow(2**40) if options.seed is None else options.seed
    tallies = {kind: Tally() for kind in options.kinds}
    begun, cases, shown = time.perf_counter(), 0, 0.0
    with suppress(KeyboardInterrupt):
        # Ctrl-C ends the hunt, and what was found until then is told.
        for found in results(options, first):
            for kind, tally in found.items():
                tallies[kind].add(tally)
            cases = sum(tally.counts["cases"] for tally in tallies.values())
            elapsed = time.perf_counter() - begun
            if elapsed > shown + 10:
                shown = elapsed
                print(f"{cases:,} cases, {cases / elapsed:,.0f} a second", file=sys.stderr, flush=True)
            if cases >= options.cases or elapsed > 60 * options.minutes:
                break
    report(tallies, first, time.perf_counter() - begun, options)
    return 1 if any(tally.violations for tally in tallies.values()) else 0


def report(tallies: dict[str, Tally], first: int, seconds: float, options: argparse.Namespace) -> None:
    """The table, the rate, and how to see each violation again."""
    total = Tally()
    for tally in tallies.values():
        total.add(tally)
    print(table(tallies))
    cases = total.counts["cases"]
    print(
        f"\n{cases:,} cases in {seconds:,.0f} s ({cases / seconds:,.0f} a second, {options.jobs} processes), "
        f"from seed {first}; violations: {len(total.violations)}; "
        f"slowest data set: {total.slowest[0]:.1f} s, seed {total.slowest[1]}"
    )
    chosen = "" if options.kinds == list(KINDS) else f" --kinds {' '.join(options.kinds)}"
    for violation in total.violations[:SHOWN]:
        print(f"{violation}\n    make hunt ARGS='--replay {violation.seed}{chosen}'")


def replay(seed: int, kinds: Sequence[str]) -> int:
    """Examine one seed again; its data as lines of Python."""
    print(f"# seed {seed}, {kind_of(seed, kinds)}\nimport numpy as np\n")
    print(Scene.of(seed, kinds).dressed.snippet() + "\n")
    tally = examine(seed, kinds)
    print(f"# {tally.counts['cases']} cases, {len(tally.violations)} violations")
    for violation in tally.violations:
        print(f"# {violation}")
    return 1 if tally.violations else 0


if __name__ == "__main__":
    given = parse()
    sys.exit(hunt(given) if given.replay is None else replay(given.replay, given.kinds))
