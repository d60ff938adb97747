"""A filled table as lines of text, as Markdown and as CSV."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from certimetric._files import write_text
from certimetric._summary import widest_interval
from certimetric._validation import FloatArray
from certimetric._versions import versions
from certimetric.certification import Certification
from certimetric.reproduce.cells import Cell
from certimetric.reproduce.run import Panel, Run

__all__ = ["LEGEND", "origin", "text", "write_csv", "write_markdown"]

# Half a unit of the third digit, and a little for numbers that decimals do not hold.
_ROUNDING = 0.0005 + 1e-12

LEGEND = (
    "Two numbers a–b: at least a is known to be broken (attack error, the upper ends of the intervals), and "
    "at most b is not proven robust (certified error, the lower ends); the true robust error is between "
    "them. One number: both are the same. A bound has lower ends only. Proven: share of the radii known to "
    "rounding. Widest: the widest interval that remains, ℓ2 norm."
)


@dataclass(frozen=True)
class Line:
    """One line of a table: what it is, a number for each radius, and what is known of the intervals."""

    title: str
    numbers: list[str]
    proven: str = ""
    widest: str = ""


def lines(run: Run, panel: Panel) -> Iterator[Line]:
    """The lines of one data set."""
    for cell, cert in panel.results.items():
        published = run.table.errors(panel.source, cell)
        known = _proven(cell, cert)
        if published is None:
            yield Line(str(cell), shares(cell, cert, panel.radii), *known)
            continue
        ours = _certified(cert, panel.radii)
        yield Line(f"{cell}, published", [f"{share:.3f}" for share in published])
        yield Line(f"{cell}, ours", shares(cell, cert, panel.radii), *known)
        # Plus zero: no "-0.000".
        yield Line("difference", [f"{np.round(d, 3) + 0.0:+.3f}" for d in ours - published])


def verdicts(run: Run, panel: Panel) -> Iterator[str]:
    """How our numbers compare with the published ones, for each cell that has some."""
    for cell, cert in panel.results.items():
        published = run.table.errors(panel.source, cell)
        if published is None:
            continue
        gaps = np.abs(_certified(cert, panel.radii) - published)
        different = int(np.count_nonzero(gaps > _ROUNDING))
        text = f"all {len(gaps)} published numbers agree to three digits"
        if different:
            text = f"{different} of {len(gaps)} published numbers differ, by at most {gaps.max():.3f}"
        deviation = panel.source.protocol.deviation
        yield f"{cell}: {text} ({deviation})" if deviation else f"{cell}: {text}"


def text(run: Run, panel: Panel) -> str:
    """The table of one data set in columns of characters."""
    if not panel.results:
        return "\n".join([heading(panel), *(f"  {note}" for note in left_out(panel))])
    found = list(lines(run, panel))
    first = max(len(line.title) for line in found)
    width = 2 + max(len(number) for line in found for number in line.numbers)
    head = "".join(f"{f'{radius:g}':>{width}}" for radius in panel.radii)
    shown = [heading(panel), f"  {'radius':<{first}}{head}  proven   widest"]
    for line in found:
        numbers = "".join(f"{number:>{width}}" for number in line.numbers)
        known = f"{line.proven:>8}{line.widest:>9}"
        shown.append(f"  {line.title:<{first}}{numbers}{known}".rstrip())
    notes = [*verdicts(run, panel), *left_out(panel)]
    return "\n".join([*shown, *(f"  {note}" for note in notes)])


def left_out(panel: Panel) -> list[str]:
    """What is not computed, and why: a sentence for each reason."""
    cells: dict[str, list[str]] = {}
    for cell, reason in panel.left_out.items():
        cells.setdefault(reason, []).append(str(cell))
    return [f"Left out: {', '.join(names)}. {reason}" for reason, names in cells.items()]


def heading(panel: Panel) -> str:
    """Data set, training rows, test points."""
    return f"{panel.title}, {panel.n_points:,} test points"


def origin(run: Run) -> str:
    """Where the published numbers are, or only the protocol."""
    source = run.table.published.source
    return f"Published: {source}." if run.has_published else f"Protocol: {source}; none of this is published."


def _certified(cert: Certification, radii: FloatArray) -> FloatArray:
    return np.atleast_1d(cert.certified_error(radii))


def shares(cell: Cell, cert: Certification, radii: FloatArray) -> list[str]:
    """The certified error, and the attack error before it where that is another number to three digits."""
    certified = [f"{share:.3f}" for share in _certified(cert, radii)]
    if cell.method == "bound":
        return certified
    attacked = [f"{share:.3f}" for share in np.atleast_1d(cert.attack_error(radii))]
    return [high if low == high else f"{low}–{high}" for low, high in zip(attacked, certified, strict=True)]


def _proven(cell: Cell, cert: Certification) -> tuple[str, str]:
    if cell.method == "bound":
        return "-", "-"
    return f"{cert.share_exact:.1%}", f"{widest_interval(cert):.2g}"


def write_markdown(run: Run, path: Path) -> None:
    """A section for each data set."""
    limits = {cell.point_time_limit for cell in run.cells if cell.point_time_limit is not None}
    searched = "".join(f" Searches stop after {limit:g} s a point." for limit in sorted(limits))
    parts = [
        f"# {run.table.title}",
        f"{origin(run)} ℓ2 norm. Test points shuffled with "
        f"`random_state=42`.{searched} certimetric {versions()['certimetric']}.",
        LEGEND,
    ]
    for panel in run.panels:
        if panel.results or panel.left_out:
            parts += _section(run, panel)
    write_text(path, "\n\n".join(parts) + "\n")


def _section(run: Run, panel: Panel) -> list[str]:
    parts = [f"## {heading(panel)}"]
    if not panel.results:
        return [*parts, *left_out(panel)]
    head = ["radius", *(f"{radius:g}" for radius in panel.radii), "proven", "widest"]
    rows = [[line.title, *line.numbers, line.proven, line.widest] for line in lines(run, panel)]
    table = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    parts += ["\n".join(f"| {' | '.join(row)} |" for row in table), *left_out(panel)]
    missing = len(run.cells) - len(panel.results) - len(panel.left_out)
    if missing:
        parts.append(f"Not finished: {missing} of {len(run.cells)} certifications are missing.")
    compared = [f"- {compared}." for compared in verdicts(run, panel)]
    return [*parts, "\n".join(compared)] if compared else parts


def write_csv(run: Run, path: Path) -> None:
    """One line for each cell and radius."""
    records = [record for panel in run.panels for record in _records(run, panel)]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, records[0])
    writer.writeheader()
    writer.writerows(records)
    write_text(path, text.getvalue())


def _records(run: Run, panel: Panel) -> Iterator[dict[str, Any]]:
    for cell, cert in panel.results.items():
        published = run.table.errors(panel.source, cell)
        bound = cell.method == "bound"
        for column, radius in enumerate(panel.radii.tolist()):
            certified = cert.certified_error(radius)
            expected = None if published is None else float(published[column])
            yield {
                "data_set": panel.source.name,
                "points": panel.n_points,
                "metric": cell.metric,
                "n_neighbors": cell.n_neighbors,
                "rule": cell.rule,
                "method": cell.method,
                "radius": radius,
                "published": expected,
                "certified_error": certified,
                "attack_error": None if bound else cert.attack_error(radius),
                "difference": None if expected is None else round(float(certified) - expected, 12),
                "share_proven": None if bound else cert.share_exact,
                "widest_interval": None if bound else widest_interval(cert),
                "point_time_limit": cell.point_time_limit,
                "median_seconds": None if cert.seconds is None else float(np.median(cert.seconds)),
                "elapsed": cert.run.elapsed,
            }
