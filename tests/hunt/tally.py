"""What a hunt has seen, by kind of data, and the table of it."""

from collections import Counter
from dataclasses import dataclass, field

from certimetric import _native


@dataclass(frozen=True)
class Violation:
    """A broken promise and how to see it again."""

    seed: int
    kind: str
    where: str
    sentence: str

    def __str__(self) -> str:
        return f"seed {self.seed} ({self.kind}), {self.where}: {self.sentence}"


@dataclass
class Tally:
    """Counts and extremes of one kind of data, or of several.

    ``counts`` has "data sets"; "cases"; "violations"; "exact" questions about one neighbour ("one") or
    several ("votes") for a class that was predicted and loses on more than a face, and how many of these are
    "proven one" and "proven votes"; what the comparisons for these questions needed, by the core's names.
    ``widest`` has the largest width in units of ``upper`` among the proven, "one" and "votes".
    """

    counts: Counter[str] = field(default_factory=Counter)
    widest: dict[str, float] = field(default_factory=lambda: {"one": 0.0, "votes": 0.0})
    slowest: tuple[float, int] = (0.0, -1)
    violations: list[Violation] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Take in what another has seen."""
        self.counts += other.counts
        self.widest = {name: max(width, other.widest[name]) for name, width in self.widest.items()}
        self.slowest = max(self.slowest, other.slowest)
        self.violations += other.violations


HEAD = (
    "kind",
    "data sets",
    "cases",
    "violations",
    "proven, K = 1",
    "widest",
    "proven, K > 1",
    "widest",
    *_native.DIGITS,
)


def table(tallies: dict[str, Tally]) -> str:
    """One row a kind, and one for all, in Markdown."""
    total = Tally()
    for tally in tallies.values():
        total.add(tally)
    rows = [_row(kind, tally) for kind, tally in tallies.items()] + [_row("all", total)]
    return "\n".join(["| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|", *rows])


def _row(kind: str, tally: Tally) -> str:
    counts = tally.counts
    cells = [kind, *(f"{counts[name]:,}" for name in ("data sets", "cases", "violations"))]
    for name in ("one", "votes"):
        cells += [_share(counts[f"proven {name}"], counts[name]), f"{tally.widest[name]:.0e}"]
    compared = sum(counts[name] for name in _native.DIGITS)
    cells += [_share(counts[name], compared) for name in _native.DIGITS]
    return "| " + " | ".join(cells) + " |"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "–"
