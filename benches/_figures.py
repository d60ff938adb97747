"""Figures: what is measured, how two sides are timed fairly, and what is to be reached."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

# Idle threads of one side (OpenMP's spin for a while) must not run into the time of the other.
_SETTLE = 0.05
# Repetitions of the same work that differ by more say that the machine was not left alone.
_STEADY = 1.3


class Spent(NamedTuple):
    """Seconds that a piece of work took: on the wall, and of all processors together."""

    wall: float
    processor: float


Side = Callable[[], Spent]
"""Does its work once and says what that took."""


@dataclass(frozen=True)
class Settings:
    """What the command line says."""

    data: Path | None
    quick: bool
    threads: int
    authors: Path | None = None
    authors_python: str = "python"
    budget: float = 600.0
    metric_learn_python: str | None = None

    @property
    def repetitions(self) -> int:
        return 3 if self.quick else 7

    @property
    def points(self) -> int:
        """Test points of most figures, as in the published protocol; FAISS treats a few otherwise."""
        return 1000


@dataclass(frozen=True)
class Target:
    """A bound on a figure, and a better one to aim for."""

    limit: float
    at_least: bool = False
    aim: float | None = None

    def reached(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        aim = "" if self.aim is None else f" (aim {self.aim:g})"
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{aim}"


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes
    ----------
    values : sequence of float
        The figure, one value a repetition; the median is quoted.
    spent : mapping of str to sequence of Spent
        What each side took in each repetition.
    """

    work: str
    ours: str
    peer: str
    values: Sequence[float]
    unit: str = "×"
    target: Target | None = None
    note: str = ""
    spent: Mapping[str, Sequence[Spent]] = field(default_factory=dict)

    @property
    def value(self) -> float:
        return statistics.median(self.values)

    @property
    def reached(self) -> bool | None:
        return None if self.target is None else self.target.reached(self.value)

    @property
    def unsteady(self) -> str:
        """The sides whose repetitions differ too much, in words; empty where the machine was left alone."""
        spreads = {side: max(times).wall / min(times).wall for side, times in self.spent.items()}
        return ", ".join(f"{side} varied {s:.1f} ×" for side, s in spreads.items() if s > _STEADY)

    @property
    def processor_ratio(self) -> float | None:
        """Processor time of ours over the peer's: other work on the machine hardly moves it."""
        if len(self.spent) != 2:
            return None
        ours, peer = (statistics.median(s.processor for s in times) for times in self.spent.values())
        return ours / peer

    def to_dict(self) -> dict[str, Any]:
        target = self.target
        return {
            "work": self.work,
            "ours": self.ours,
            "peer": self.peer,
            "median": self.value,
            "min": min(self.values),
            "max": max(self.values),
            "unit": self.unit,
            "processor ratio": self.processor_ratio,
            "target": None if target is None else {"limit": target.limit, "at_least": target.at_least},
            "aim": None if target is None else target.aim,
            "reached": self.reached,
            "note": self.note,
            "unsteady": self.unsteady,
            "values": list(self.values),
            "wall seconds": {side: [s.wall for s in times] for side, times in self.spent.items()},
            "processor seconds": {side: [s.processor for s in times] for side, times in self.spent.items()},
        }


def clock(action: Callable[[], object], times: int = 1) -> Side:
    """A side that runs in this process; the mean of several times where one is too short to time."""

    def run() -> Spent:
        begun, busy = time.perf_counter(), time.process_time()
        for _ in range(times):
            action()
        return Spent((time.perf_counter() - begun) / times, (time.process_time() - busy) / times)

    return run


def alternate(sides: Mapping[str, Side], repetitions: int, warm_up: int = 1) -> dict[str, list[Spent]]:
    """What every side spends, measured in turns: A B A B ..."""
    spent: dict[str, list[Spent]] = {name: [] for name in sides}
    for turn in range(warm_up + repetitions):
        for name, side in sides.items():
            gc.collect()
            time.sleep(_SETTLE)
            taken = side()
            if turn >= warm_up:
                spent[name].append(taken)
    return spent


def compare(
    work: str,
    spent: Mapping[str, Sequence[Spent]],
    peer: str,
    target: Target | None,
    *,
    ours: str = "ours",
    note: str = "",
) -> Figure:
    """The ratio of two sides, turn by turn: ours over the peer, or the speed-up where the target is one."""
    faster = target is not None and target.at_least
    above, below = (peer, ours) if faster else (ours, peer)
    return Figure(
        work,
        duration(middle(spent[ours])),
        f"{peer} {duration(middle(spent[peer]))}",
        ratios(spent[above], spent[below]),
        target=target,
        note=note,
        spent={name: spent[name] for name in (ours, peer)},
    )


def ratios(above: Sequence[Spent], below: Sequence[Spent]) -> list[float]:
    """Quotients of wall-clock times, turn by turn."""
    return [a.wall / b.wall for a, b in zip(above, below, strict=True)]


def middle(spent: Sequence[Spent]) -> float:
    """The median of wall-clock times, in seconds."""
    return statistics.median(s.wall for s in spent)


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"
