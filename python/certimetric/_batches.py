"""A search in batches, so that a progress line can tell the share of points that is proven so far."""

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from certimetric import _native
from certimetric._progress import Callback, Report, progress_line
from certimetric._question import Question
from certimetric._validation import FloatArray, IntArray

if TYPE_CHECKING:
    from certimetric._native import Certificates

__all__ = ["PROVEN", "ask", "batches", "remaining"]

FIRST = 16
"""Points of the first batch, per thread: so that there is a share soon."""

_QUICK, _SLOW = 0.5, 2.0
"""Seconds of a batch. At the end of each the threads wait for the last one: not too often; nor the reader."""

PROVEN = [_native.STATUSES.index(status) for status in ("exact", "misclassified")]
"""Codes of a radius that is known to rounding."""


def ask(
    question: Question,
    index: _native.Index,
    rows: FloatArray,
    codes: IntArray | None,
    n_neighbors: int,
    *,
    beyond: float | None,
    label: str = "certify",
    progress: bool,
    callback: Callback | None,
    time_limit: float | None,
    **options: Any,
) -> "Certificates":
    """As :meth:`Question.ask`, with a progress line where one is wanted."""
    points = (rows, codes)
    run: Callable[..., Certificates] = partial(
        question.ask, index, n_neighbors=n_neighbors, beyond=beyond, **options
    )
    if not progress:
        return run(*points, time_limit=time_limit, progress=callback)
    with progress_line(callback, label) as line:
        if question.method != "exact" or n_neighbors == 1:
            return run(*points, time_limit=time_limit, progress=line)
        return _in_batches(run, beyond, *points, FIRST * options["n_jobs"], time_limit, line)


def remaining(time_limit: float | None, begun: float) -> float | None:
    """Seconds that a limit leaves to what began at a reading of the performance counter."""
    return None if time_limit is None else max(time_limit - (time.perf_counter() - begun), 0.0)


def _in_batches(
    run: Callable[..., "Certificates"],
    beyond: float | None,
    rows: FloatArray,
    codes: IntArray | None,
    first: int,
    time_limit: float | None,
    line: Report,
) -> "Certificates":
    """The answer, which does not depend on the batches; after each the line hears what is proven."""
    begun, proven, answers = time.perf_counter(), 0, []
    for batch in batches([slice(0, len(rows))], first, _QUICK, _SLOW):
        # Points that are not reached have valid intervals all the same, so that they are asked about too.
        labels = None if codes is None else codes[batch]
        report = _shifted(line, batch.start, len(rows), proven)
        left = remaining(time_limit, begun)
        answers.append(run(rows[batch], labels, time_limit=left, progress=report))
        proven += _count_proven(answers[-1], beyond)
        line(batch.stop, len(rows), proven / batch.stop)
    return _joined(answers)


def batches(gaps: Iterable[slice], size: int, quick: float, slow: float) -> Iterator[slice]:
    """The gaps in consecutive slices, the sizes by the time that the caller takes for each.

    Parameters
    ----------
    gaps : iterable of slice
    size : int
        Of the first slice.
    quick, slow : float
        Seconds of a slice after which the next one is twice, or half, as large.
    """
    for gap in gaps:
        start = gap.start
        while start < gap.stop:
            begun = time.perf_counter()
            yield slice(start, min(start + size, gap.stop))
            start += size
            elapsed = time.perf_counter() - begun
            if elapsed < quick:
                size *= 2
            elif elapsed > slow:
                size = max(size // 2, 1)


def _shifted(line: Report, start: int, total: int, proven: int) -> Callback:
    """What the core calls within a batch: it knows of no other."""
    share = proven / start if start else None
    return lambda done, _: line(start + done, total, share)


def _count_proven(answer: "Certificates", beyond: float | None) -> int:
    """Points whose radius is known to rounding, or for which the radius that was asked about is decided."""
    proven = np.isin(answer["status"], PROVEN)
    if beyond is not None:
        proven |= (answer["lower"] > beyond) | (answer["upper"] <= beyond)
    return int(np.count_nonzero(proven))


def _joined(answers: "list[Certificates]") -> "Certificates":
    parts = [cast("dict[str, Any]", answer) for answer in answers]
    whole = {name: _chained([part[name] for part in parts]) for name in parts[0]}
    return cast("Certificates", whole)


def _chained(parts: list[Any]) -> Any:
    """Arrays, lists or nothing, one after the other."""
    if parts[0] is None:
        return None
    return list(chain(*parts)) if isinstance(parts[0], list) else np.concatenate(parts)
