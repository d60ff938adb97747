"""Progress of long work on standard error: points done, share proven, rate, time left, on one line."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

__all__ = ["Callback", "Report", "line_if", "progress_line"]

Callback = Callable[[int, int], object]
"""Called with (points done, points in all), about ten times a second."""


class Report(Protocol):
    """A line that can be told how far the work is."""

    def __call__(self, done: int, total: int, proven: float | None = None, /) -> object:
        """Points done, points in all, and the share of those done that is proven, where that is known."""


@contextmanager
def progress_line(
    callback: Callback | None = None, label: str = "certify", unit: str = "points"
) -> Iterator[Report]:
    """A line on standard error: with rich where it is installed, plain otherwise.

    Parameters
    ----------
    callback : callable or None
        Also called with (done, total); what it raises stops the work and reaches the caller.
    label : str
        First word of the line.
    unit : str
        What is counted.
    """
    with _line(label, unit) as line:

        def report(done: int, total: int, proven: float | None = None, /) -> None:
            line(done, total, proven)
            if callback is not None:
                callback(done, total)

        yield report


@contextmanager
def line_if(is_shown: bool, label: str, unit: str) -> Iterator[Report]:
    """A line on standard error, or none."""
    if not is_shown:
        yield lambda *_: None
        return
    with progress_line(label=label, unit=unit) as report:
        yield report


@contextmanager
def _line(label: str, unit: str) -> Iterator[Report]:
    try:
        import rich.progress as rich_progress
    except ImportError:
        with _plain_line(label, unit, sys.stderr) as report:
            yield report
        return
    with _rich_line(label, unit, rich_progress) as report:
        yield report


@contextmanager
def _rich_line(label: str, unit: str, rich_progress: Any) -> Iterator[Report]:
    from rich.console import Console

    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TextColumn("{task.fields[proven]}{task.fields[rate]}"),
        rich_progress.TimeRemainingColumn(),
    )
    # The display's own refresh thread would write beside ours after a fork; drawing on each report is enough.
    with rich_progress.Progress(*columns, console=Console(stderr=True), auto_refresh=False) as bar:
        task = bar.add_task(label, total=None, proven="", rate="")
        begun = time.monotonic()

        def report(done: int, total: int, proven: float | None = None, /) -> None:
            rate = _rate(done, time.monotonic() - begun, unit)
            share = _share(proven)
            bar.update(task, completed=done, total=total, proven=share, rate=rate, refresh=True)

        yield report


@contextmanager
def _plain_line(label: str, unit: str, stream: TextIO) -> Iterator[Report]:
    begun = time.monotonic()
    text = ""

    def report(done: int, total: int, proven: float | None = None, /) -> None:
        nonlocal text
        elapsed = time.monotonic() - begun
        left = f", {elapsed * (total - done) / done:.0f} s left" if 0 < done < total else ""
        text = f"{label}: {done}/{total}, {_share(proven)}{_rate(done, elapsed, unit)}{left}"
        if stream.isatty():
            stream.write(f"\r{text}\x1b[K")
            stream.flush()

    try:
        yield report
    finally:
        # Also after Ctrl-C: whatever is printed next starts on a line of its own.
        if text:
            stream.write("\n" if stream.isatty() else f"{text}\n")
            stream.flush()


def _rate(done: int, elapsed: float, unit: str) -> str:
    return f"{done / elapsed:.0f} {unit}/s" if elapsed > 0 else f"- {unit}/s"


def _share(proven: float | None) -> str:
    return "" if proven is None else f"{proven:.1%} proven, "
