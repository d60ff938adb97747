"""The command ``verify``: certificates of a file, one a line, checked one after the other."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from certimetric import _jsonl, datasets
from certimetric._cli_work import Training, fit_reference
from certimetric._progress import progress_line
from certimetric._validation import as_positive
from certimetric.certificate import Verdict, Verifier
from certimetric.exceptions import DataError

__all__ = ["Checked", "check", "print_checked"]

_SHOWN = 20
"""Rejections that are told one by one."""


@dataclass(frozen=True)
class Checked:
    """What came of one line.

    Attributes
    ----------
    line : int
        Its number in the file, from 1.
    size : int
        Bytes, uncompressed.
    seconds : float
    verdict : Verdict
    index : int or None
        Of the point in its run, where the certificate was accepted.
    """

    line: int
    size: int
    seconds: float
    verdict: Verdict
    index: int | None


def check(file: Path, training: Training, *, patience: float, plain: bool, progress: bool) -> list[Checked]:
    """Check all certificates of a file against a training set."""
    limit = as_positive(patience, "--patience")
    _jsonl.check_file(file)
    training.check()
    # Also finds a damaged file before the work.
    total = sum(1 for _ in _jsonl.read_lines(file))
    if not total:
        raise DataError(f"{file}: has no certificates.")
    data = datasets.read(training.train, "train", **training.keys)
    labels, reference = data.labels(), fit_reference(training, data)
    limit = np.inf if limit is None else limit
    verifier = Verifier(reference.X, labels, reference.metric, patience=limit, plain=plain)
    found = _verdicts(file, verifier)
    return _watched(found, total) if progress else list(found)


def _verdicts(file: Path, verifier: Verifier) -> Iterator[Checked]:
    for number, line in _jsonl.read_lines(file):
        begun = time.perf_counter()
        verdict = verifier.verify(line)
        seconds = time.perf_counter() - begun
        yield Checked(number, len(line), seconds, verdict, json.loads(line)["index"] if verdict else None)


def _watched(found: Iterator[Checked], total: int) -> list[Checked]:
    checked: list[Checked] = []
    accepted, shown = 0, 0.0
    with progress_line(label="verify") as report:
        for each in found:
            checked.append(each)
            accepted += each.verdict.accepted
            if time.monotonic() - shown > 0.1 or len(checked) == total:
                report(len(checked), total, accepted / len(checked))
                shown = time.monotonic()
    return checked


def print_checked(file: Path, checked: list[Checked]) -> None:
    """A summary, and the line and the reason of what was rejected."""
    rejected = [each for each in checked if not each.verdict]
    print(
        f"{file}: {len(checked)} certificates, {len(checked) - len(rejected)} accepted, "
        f"{len(rejected)} rejected"
    )
    for name, values, unit in (
        ("size", [each.size / 1e3 for each in checked], "kB"),
        ("time", [each.seconds * 1e3 for each in checked], "ms"),
    ):
        print(f"  {name}: median {np.median(values):.3g} {unit}, largest {max(values):.3g} {unit}")
    _print_points([each.index for each in checked if each.index is not None])
    for each in rejected[:_SHOWN]:
        print(f"  line {each.line}: {each.verdict.reason}")
    if len(rejected) > _SHOWN:
        print(f"  and {len(rejected) - _SHOWN} more are rejected")


def _print_points(proven: list[int]) -> None:
    """Which points of a run have a proof, and which up to the last one have none, or several."""
    counts = Counter(proven)
    present = sorted(counts)
    total = present[-1] + 1 if present else 0
    print(f"  points: {len(present)} of the first {total} have a proof")
    # Indices may be any: a gap is not spelled out beyond what is shown.
    gaps = zip([-1, *present], present, strict=False)
    missing = [index for before, after in gaps for index in range(before + 1, after)[:_SHOWN]]
    several = [index for index in present if counts[index] > 1]
    for name, indices, size in (("none", missing, total - len(present)), ("several", several, len(several))):
        if indices:
            more = ", ..." if size > _SHOWN else ""
            print(f"    {name}: {', '.join(map(str, indices[:_SHOWN]))}{more}")
