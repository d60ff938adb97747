"""The table, the machine it was measured on, and the JSON file of both."""

import datetime as dt
import json
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import certimetric
from _data import Skipped
from _figures import Figure, Settings
from _peers import blas_kernels, faiss_facts, faiss_variants
from certimetric._files import write_text
from certimetric._versions import native_build

_PACKAGES = ("numpy", "scipy", "scikit-learn", "faiss-cpu", "threadpoolctl", "joblib", "daqp")
_HEADINGS = ("work", "ours", "peer", "figure", "min–max", "target", "reached")
_WIDTHS = (62, 10, 34, 9, 15, 18, 7)


def processor() -> str:
    """The processor's model name, as far as the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine(settings: Settings) -> dict[str, Any]:
    """What a reader needs to know about where the figures come from."""
    facts: dict[str, Any] = {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": settings.threads,
        "quick": settings.quick,
        "load average at the start": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "certimetric": certimetric.__version__,
        "core": native_build(),
        "numpy BLAS kernels": blas_kernels("numpy"),
    }
    for package in _PACKAGES:
        try:
            facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            facts[package] = None
    try:
        faiss_variants()
        facts["faiss"] = faiss_facts()
    except Skipped:
        facts["faiss"] = None
    return facts


def _line(cells: Sequence[str]) -> str:
    padded = [
        cell.ljust(width) if i in (0, 2) else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, _WIDTHS, strict=True))
    ]
    return " | ".join(padded).rstrip()


def heading() -> str:
    return _line(_HEADINGS) + "\n" + "-|-".join("-" * width for width in _WIDTHS)


def number(value: float) -> str:
    """Three significant digits, without an exponent where a person would write none."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def row(figure: Figure) -> str:
    """One line of the table, with further lines for what is to be known about it."""
    unit = figure.unit if figure.unit in ("×", "") else f" {figure.unit}"
    spread = "" if len(figure.values) < 2 else f"{number(min(figure.values))}–{number(max(figure.values))}"
    cells = (
        figure.work,
        figure.ours,
        figure.peer,
        f"{number(figure.value)}{unit}",
        spread,
        "" if figure.target is None else str(figure.target),
        "" if figure.reached is None else ("yes" if figure.reached else "NO"),
    )
    busy = figure.processor_ratio
    timing = [
        *([] if busy is None else [f"processor time {number(busy)} × the peer's"]),
        *([f"unsteady: {figure.unsteady}"] if figure.unsteady else []),
    ]
    remarks = [*figure.note.splitlines(), *(["; ".join(timing)] if timing else [])]
    return "\n".join([_line(cells), *(f"    {remark}" for remark in remarks)])


def write(path: Path, facts: dict[str, Any], figures: Sequence[Figure], skipped: dict[str, str]) -> None:
    """The JSON file: written after every figure, so that a run that is stopped leaves what it has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": facts, "figures": [f.to_dict() for f in figures], "skipped": skipped}
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
