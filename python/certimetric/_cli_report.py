"""What the commands print and write."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from certimetric import _formats, datasets
from certimetric._curve import nice_radii
from certimetric._files import check_apart, check_writable, save_picture, write_text
from certimetric._jsonl import check_name
from certimetric._optional import require
from certimetric._parts import Parts
from certimetric._validation import FloatArray, as_radii
from certimetric.certification import Certification
from certimetric.datasets import DataSet
from certimetric.display import CertifiedErrorDisplay
from certimetric.exceptions import DataError, InputError

__all__ = [
    "Outputs",
    "check_output",
    "describe",
    "parse_radii",
    "parse_shape",
    "plot_demo",
    "print_demo",
    "print_result",
]

_PICTURES = (".png", ".pdf", ".svg")
_RESULTS = (".parquet", ".npz", ".csv", ".json")


def parse_radii(text: str) -> FloatArray:
    """Radii from ``0,0.5,1``."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(
            f"--eps must be numbers separated by commas, such as 0,0.5,1; got {text!r}."
        ) from error
    radii = as_radii(values, "--eps")
    if np.isinf(radii).any():
        raise InputError("--eps must be finite: no radius is above infinity.")
    return radii


def parse_shape(text: str) -> tuple[int, ...]:
    """Image shape from ``28x28`` or ``32x32x3``."""
    parts = text.lower().split("x")
    sizes = [int(part) if part.isdecimal() else 0 for part in parts]
    if len(sizes) < 2 or 0 in sizes or sizes[2:] not in ([], [3]):
        raise InputError(f"--shape must be such as 28x28 or 32x32x3; got {text!r}.")
    return tuple(sizes)


def check_output(path: Path | None, option: str) -> None:
    """Raise before any work where a file could not be written after it."""
    if path is None:
        return
    if path.is_dir():
        raise InputError(f"{option}: {path} is a directory, but a file is needed.")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{option}: the folder {path.parent} does not exist.")
    if not path.exists() or path.is_file():
        check_writable(path, option)


@dataclass(frozen=True)
class Outputs:
    """The files that a run writes."""

    out: Path | None = None
    plot: Path | None = None
    examples: Path | None = None
    certificates: Path | None = None
    shape: tuple[int, ...] = (28, 28)
    times: bool = False
    resume: bool = False

    @property
    def parts(self) -> Parts | None:
        """Where finished points are kept until the result is written."""
        return None if self.out is None else Parts.beside(self.out)

    def check(self, inputs: Mapping[str, Path | None] | None = None) -> None:
        """Suffixes, folders, libraries and what an earlier run has left, before any work is done."""
        for option, given in (("--times", self.times), ("--resume", self.resume)):
            if given and self.out is None:
                raise InputError(f"{option} is about the file that --out names.")
        for path, option, suffixes in (
            (self.out, "--out", _RESULTS),
            (self.plot, "--plot", _PICTURES),
            (self.examples, "--examples", _PICTURES),
        ):
            if path is not None and path.suffix.lower() not in suffixes:
                raise InputError(f"{option} must end in {', '.join(suffixes)}; got {path.name!r}.")
            check_output(path, option)
        if self.certificates is not None:
            check_name(self.certificates)
            check_output(self.certificates, "--certificates")
        named = {"--out": self.out, "--plot": self.plot, "--examples": self.examples}
        check_apart({**named, "--certificates": self.certificates}, inputs)
        if self.out is not None and self.out.suffix.lower() == ".parquet":
            require("pyarrow.parquet", extra="io")
        if self.plot is not None or self.examples is not None:
            require("matplotlib", extra="plot").use("Agg")
        if self.parts is not None and not self.resume:
            self.parts.refuse()

    def check_shape(self, n_features: int) -> None:
        """Whether the images have as many pixels as the data has features."""
        if self.examples is not None and prod(self.shape) != n_features:
            shape = "x".join(map(str, self.shape))
            raise InputError(f"--shape: {shape} is not {n_features} pixels, which the data has.")

    def write(self, cert: Certification, rows: FloatArray) -> None:
        """Write all of them, and say so."""
        if self.certificates is not None:
            cert.save_certificates(self.certificates)
            print(f"wrote {self.certificates}")
        if self.parts is not None and self.out is not None:
            result = replace(cert, certificates=None)
            (result if self.times else result.without_times()).save(self.out)
            # Before anything is printed: where nobody reads it the program ends here.
            self.parts.remove()
            print(f"wrote {self.out}")
        if self.plot is not None:
            save_figure(cert.plot().figure_, self.plot)
        if self.examples is not None:
            save_figure(cert.plot_examples(rows, self.shape), self.examples)


def save_figure(figure: Any, path: Path) -> None:
    """Write a picture and let go of it."""
    save_picture(figure, path)
    require("matplotlib.pyplot", extra="plot").close(figure)
    print(f"wrote {path}")


def print_result(cert: Certification, radii: FloatArray | None, seed: int | None) -> None:
    """The summary and the table of a run."""
    print(cert.summary())
    if seed is not None:
        print(f"  seed           {seed}, by which the test points were shuffled")
    print_table({"": cert}, nice_radii(cert) if radii is None else radii)


def print_table(results: dict[str, Certification], radii: FloatArray) -> None:
    """Certified error at each radius, and the attack error where it is another number.

    For several neighbours also the share proven robust, the figure that a search drives up; and of a run
    about these radii the share of points that are decided, where that is not 1.
    """
    levels = np.atleast_1d(radii)
    print("share of test points, by radius (l2 norm, input space)")
    table = Table()
    table.add_column("radius", justify="right")
    columns = [[f"{level:g}" for level in levels]]
    for name, cert in results.items():
        prefix = f"{name}: " if name else ""
        if cert.run.n_neighbors > 1:
            table.add_column(f"{prefix}proven robust", justify="right")
            columns.append(_shares(cert.certified_accuracy(levels)))
        certified, attacked = _shares(cert.certified_error(levels)), _shares(cert.attack_error(levels))
        table.add_column(f"{prefix}certified error", justify="right")
        columns.append(certified)
        if attacked != certified:
            table.add_column(f"{prefix}attack error", justify="right")
            columns.append(attacked)
            if cert.run.asked:
                table.add_column(f"{prefix}decided", justify="right")
                columns.append(_shares(cert.certified_accuracy(levels) + cert.attack_error(levels)))
    for cells in zip(*columns, strict=True):
        table.add_row(*cells)
    Console().print(table)


def _shares(values: FloatArray | float) -> list[str]:
    return [f"{share:.4f}" for share in np.atleast_1d(values)]


def print_demo(results: dict[str, tuple[Certification, DataSet]], seed: int) -> None:
    """What was done, the table and the times."""
    certs = {name: cert for name, (cert, _) in results.items()}
    first = next(iter(certs.values()))
    print(
        f"1-nearest neighbour on handwritten digits: {first.run.n_train} to train, {len(first)} certified, "
        f"split with seed {seed}."
    )
    for name, cert in certs.items():
        pace = 1e3 * float(cert.run.elapsed or np.nan) / len(cert)
        print(
            f"  {name}: {pace:.3f} ms a point, {cert.share_exact:.1%} exact, median radius {cert.median:.4f}"
        )
    print_table(certs, nice_radii(first))


def plot_demo(results: dict[str, tuple[Certification, DataSet]], path: Path) -> None:
    """One curve a metric, and the closest adversarial digits beside the picture."""
    axes = None
    for name, (cert, _) in results.items():
        axes = CertifiedErrorDisplay.from_certification(cert, ax=axes, name=name).ax_
    if axes is None:
        raise InputError("there is nothing to draw.")
    axes.set_title("handwritten digits, 1-nearest neighbour")
    save_figure(axes.figure, path)
    cert, test = next(iter(results.values()))
    save_figure(cert.plot_examples(test.X, (8, 8)), path.with_stem(f"{path.stem}-examples"))


def write_labels(labels: NDArray[Any], out: Path | None) -> None:
    """One label a line."""
    text = "".join(f"{label}\n" for label in labels.tolist())
    if out is None:
        print(text, end="")
        return
    write_text(out, text)
    print(f"wrote {out}")


def describe(file: Path) -> None:
    """What is in a file: a saved result, or a data set."""
    _formats.check_file(file)
    kind = _formats.kind_of(file)
    if kind in ("parquet", "npz"):
        try:
            print(Certification.load(file).summary())
        except DataError:
            # Not a result of this library: then it is data, and what is wrong with it is said below.
            pass
        else:
            return
    if kind == "npz":
        _describe_archive(file)
        return
    _describe_data(datasets.read(file))


def _describe_archive(file: Path) -> None:
    try:
        notes = _formats.read_notes(file)
        with _formats.open_archive(file) as archive:
            for name in archive.files:
                array = archive[name]
                if name != "about" or not notes:
                    print(f"{name}: shape {array.shape}, {array.dtype}")
        if notes:
            print(f"about: {json.dumps(notes, indent=2, ensure_ascii=False)}")
    except _formats.READ_ERRORS as error:
        raise DataError(f"{file}: cannot be read as npz: {error}") from error


def _describe_data(data: DataSet) -> None:
    rows, columns = data.X.shape
    print(f"{data.name}: {rows} rows, {columns} features from {data.X.min():g} to {data.X.max():g}")
    if data.y is not None:
        classes, counts = np.unique(data.y, return_counts=True)
        print(
            f"{len(classes)} classes: "
            + ", ".join(f"{c}: {n}" for c, n in zip(classes[:20], counts[:20], strict=True))
        )
