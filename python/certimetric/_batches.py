"""A search in batches, so that a progress line can tell the share of points that is proven so far."""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, TypedDict, cast

import numpy as np

from certimetric import _native
from certimetric._progress import Callback, Report, progress_line
from certimetric._question import Question
from certimetric._validation import FloatArray, IntArray

if TYPE_CHECKING:
    from certimetric._native import Certificates

__all__ = ["PROVEN", "Budget", "ask", "batches"]


class _Limits(TypedDict):
    time_limit: float | None
    node_limit: int | None


FIRST = 16
"""Points of the first batch, per thread: so that there is a share soon."""

_QUICK, _SLOW = 0.5, 2.0
"""Seconds of a batch. At the end of each the threads wait for the last one: not too often; nor the reader."""

PROVEN = [_native.STATUSES.index(status) for status in ("exact", "misclassified")]
"""Codes of a radius that is known to rounding."""


class Budget:
    """What the limits of a whole call leave to its parts.

    Parameters
    ----------
    time_limit : float or None
        Seconds from now on.
    node_limit : int or None
        Nodes of all searches.
    """

    def __init__(self, time_limit: float | None, node_limit: int | None) -> None:
        self._nodes = node_limit
        self._end = None if time_limit is None else time.perf_counter() + time_limit

    def spend(self, nodes: IntArray) -> None:
        """Take off the nodes of some points."""
        if self._nodes is not None:
            self._nodes = max(self._nodes - int(nodes.sum()), 0)

    def left(self) -> _Limits:
        """Arguments for the next part."""
        seconds = None if self._end is None else max(self._end - time.perf_counter(), 0.0)
        return {"time_limit": seconds, "node_limit": self._nodes}


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
    budget: Budget,
    **options: Any,
) -> "Certificates":
    """As :meth:`Question.ask`, within a budget, with a progress line where one is wanted."""

    def run(rows: FloatArray, codes: IntArray | None, progress: Callback | None) -> "Certificates":
        answer = question.ask(
            index,
            rows,
            codes,
            n_neighbors,
            beyond=beyond,
            progress=progress,
            **budget.left(),
            **options,
        )
        budget.spend(answer["nodes"])
        return answer

    if not progress:
        return run(rows, codes, progress=callback)
    with progress_line(callback, label) as line:
        if question.method != "exact" or n_neighbors == 1:
            return run(rows, codes, progress=line)
        return _in_batches(run, beyond, rows, codes, FIRST * options["n_jobs"], line)


def _in_batches(
    run: Callable[..., "Certificates"],
    beyond: float | None,
    rows: FloatArray,
    codes: IntArray | None,
    first: int,
    line: Report,
) -> "Certificates":
    """The answer, which does not depend on the batches; after each the line hears what is proven."""
    proven, answers = 0, []
    for batch in batches([slice(0, len(rows))], first, _QUICK, _SLOW):
        # Points that are not reached have valid intervals all the same, so that they are asked about too.
        labels = None if codes is None else codes[batch]
        report = _shifted(line, batch.start, len(rows), proven)
        answers.append(run(rows[batch], labels, progress=report))
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
