"""A search in batches, so that a progress line can tell the share of points that is proven so far."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from certimetric import _native
from certimetric._progress import Callback, Report, progress_line
from certimetric._question import Question
from certimetric._validation import FloatArray, IntArray

if TYPE_CHECKING:
    from certimetric._native import Certificates

__all__ = ["ask"]

_FIRST = 16
"""Points of the first batch, per thread: so that there is a share soon."""

_QUICK, _SLOW = 0.5, 2.0
"""Seconds of a batch. At the end of each the threads wait for the last one: not too often; nor the reader."""

_PROVEN = [_native.STATUSES.index(status) for status in ("exact", "misclassified")]


def ask(
    question: Question,
    index: _native.Index,
    rows: FloatArray,
    codes: IntArray | None,
    n_neighbors: int,
    *,
    progress: bool,
    callback: Callback | None,
    time_limit: float | None,
    **options: Any,
) -> "Certificates":
    """As :meth:`Question.ask`, with a progress line where one is wanted."""
    points = (rows, codes)
    if not progress:
        return question.ask(index, *points, n_neighbors, time_limit=time_limit, progress=callback, **options)
    with progress_line(callback) as line:
        if question.method != "exact" or n_neighbors == 1:
            return question.ask(index, *points, n_neighbors, time_limit=time_limit, progress=line, **options)
        run = partial(question.ask, index, n_neighbors=n_neighbors, **options)
        return _in_batches(run, question.eps, *points, _FIRST * options["n_jobs"], time_limit, line)


def _in_batches(
    run: Callable[..., "Certificates"],
    eps: float | None,
    rows: FloatArray,
    codes: IntArray | None,
    first: int,
    time_limit: float | None,
    line: Report,
) -> "Certificates":
    """The answer, which does not depend on the batches; after each the line hears what is proven."""
    begun, proven, answers = time.perf_counter(), 0, []
    for batch in _batches(len(rows), first):
        # Points that are not reached have valid intervals all the same, so that they are asked about too.
        left = None if time_limit is None else max(time_limit - (time.perf_counter() - begun), 0.0)
        labels = None if codes is None else codes[batch]
        report = _shifted(line, batch.start, len(rows), proven)
        answers.append(run(rows[batch], labels, time_limit=left, progress=report))
        proven += _count_proven(answers[-1], eps)
        line(batch.stop, len(rows), proven / batch.stop)
    return _joined(answers)


def _batches(count: int, size: int) -> Iterator[slice]:
    """Consecutive slices, the sizes by the time that the caller takes for each."""
    start = 0
    while start < count:
        begun = time.perf_counter()
        yield slice(start, min(start + size, count))
        start += size
        elapsed = time.perf_counter() - begun
        if elapsed < _QUICK:
            size *= 2
        elif elapsed > _SLOW:
            size = max(size // 2, 1)


def _shifted(line: Report, start: int, total: int, proven: int) -> Callback:
    """What the core calls within a batch: it knows of no other."""
    share = proven / start if start else None
    return lambda done, _: line(start + done, total, share)


def _count_proven(answer: "Certificates", eps: float | None) -> int:
    """Points whose radius is known to rounding, or for which the radius that was asked about is decided."""
    proven = np.isin(answer["status"], _PROVEN)
    if eps is not None:
        proven |= (answer["lower"] > eps) | (answer["upper"] <= eps)
    return int(np.count_nonzero(proven))


def _joined(answers: "list[Certificates]") -> "Certificates":
    parts = [cast("dict[str, Any]", answer) for answer in answers]
    whole = {
        name: None if first is None else np.concatenate([part[name] for part in parts])
        for name, first in parts[0].items()
    }
    return cast("Certificates", whole)
