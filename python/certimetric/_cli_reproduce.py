"""The commands that fill published tables again: options in, a run of :mod:`certimetric.reproduce` out."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any, Literal

import typer
from typer import Option
from typer.core import TyperCommand

from certimetric._cli_frame import Quiet, friendly, takes
from certimetric._cli_report import parse_radii
from certimetric._cli_work import Jobs, Keys
from certimetric._optional import require
from certimetric._question import CHOICES
from certimetric._validation import as_limit, check_count, effective_jobs
from certimetric.exceptions import InputError
from certimetric.reproduce import (
    PROTOCOLS,
    TABLES,
    Cell,
    Panel,
    Protocol,
    Run,
    Source,
    Store,
    Table,
    report,
)
from certimetric.reproduce.picture import draw
from certimetric.reproduce.protocol import count_training_rows

__all__ = ["OUT", "Data", "Lists", "Only", "Out", "app", "check_folder"]

_WITH_COMMAS = "--scheme"
"""A list of names that may have commas in them."""


class Lists(TyperCommand):
    """A command whose lists may be written ``-k 3 5 7`` or ``-k 3,5,7`` instead of ``-k 3 -k 5 -k 7``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before each value that follows it; no command here has plain arguments."""
        lists = {name for option in self.params if getattr(option, "multiple", False) for name in option.opts}
        repeated: list[str] = []
        current = None
        for word in chain.from_iterable(
            word.split("=", 1) if word.partition("=")[0] in lists else [word] for word in args
        ):
            if word.startswith("-"):
                current = word if word in lists else None
                repeated.append(word)
                continue
            for item in [word] if current in (None, _WITH_COMMAS) else _parts(word):
                repeated += [item] if current is None or repeated[-1] == current else [current, item]
        return super().parse_args(ctx, repeated)


def _parts(word: str) -> list[str]:
    """What stands between commas; a word of nothing else is left to complain about."""
    return [part.strip() for part in word.split(",") if part.strip()] or [word]


app = typer.Typer(
    name="reproduce",
    help="Fill published tables again, and put what is new beside them.",
    no_args_is_help=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def root(context: typer.Context) -> None:
    """Fill published tables again, and put what is new beside them."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)


Data = Annotated[
    Path,
    Option(
        "--data",
        envvar="CERTIMETRIC_DATA",
        help="Folder of the data sets of the table (pendigits.npz ...), or a data file of your own.",
    ),
]
Only = Annotated[
    list[str] | None, Option("--only", help="Data sets of the table; default: all in the folder.")
]
Out = Annotated[Path, Option("--out", help="Folder for tables, picture and what is finished.")]

OUT = Path("certimetric-reproduced")


@dataclass(frozen=True)
class Work(Keys):
    """Data, places and threads: the options that all tables share."""

    data: Data
    only: Only = None
    points: Annotated[
        int | None, Option("--points", min=1, help="Test points; default: as published, 1,000 of your own.")
    ] = None
    test: Annotated[
        Path | None, Option("--test", help="Test points of your own; default: the test half of the npz.")
    ] = None
    scale: Annotated[
        Literal["minmax", "255", "none"] | None,
        Option("--scale", help="Scaling of your own data, fitted on the training set; default: minmax."),
    ] = None
    eps: Annotated[
        str | None, Option("--eps", help="Radii for your own data, such as 0,0.5,1; default: round ones.")
    ] = None
    out: Out = OUT
    jobs: Jobs = None

    def sources(self, table: Table) -> list[Source]:
        """The data sets that are meant; an error that names the option where there are none."""
        if self.data.is_dir():
            return self._published(table)
        if not self.data.is_file():
            raise InputError(f"--data: {self.data}: no such file or folder.")
        if self.only:
            raise InputError(f"--only chooses among the data sets of a folder, but --data is {self.data}.")
        points = Protocol.points if self.points is None else self.points
        protocol = Protocol(self.scale or Protocol.scale, points)
        self.check_keys([self.data] if self.test is None else [self.data, self.test])
        return [Source(self.data.stem, self.data, self.test, protocol, keys=self.keys)]

    def _published(self, table: Table) -> list[Source]:
        for name in ("test", "scale", "eps", "x_key", "y_key", "label"):
            if getattr(self, name) is not None:
                option = f"--{name.replace('_', '-')}"
                raise InputError(f"{option} is for a data file of your own, but --data is {self.data}.")
        available = [name for name in table.data_sets if self._file(name).is_file()]
        for name in self.only or ():
            if name not in table.data_sets:
                raise InputError(f"--only must name data sets of the table, {_names(table)}; got {name!r}.")
            if name not in available:
                raise InputError(f"--only: {self._file(name)}: no such file.")
        if not available:
            raise InputError(f"--data: {self.data} has none of the data sets of the table, {_names(table)}.")
        chosen = [name for name in available if name in (self.only or available)]
        return [
            Source(name, self._file(name), protocol=PROTOCOLS[name].limited(self.points), published=True)
            for name in chosen
        ]

    def _file(self, name: str) -> Path:
        return self.data / f"{name}.npz"


def _names(table: Table) -> str:
    return ", ".join(table.data_sets)


@app.command("nn-table", cls=Lists)
@friendly
@takes(Work)
def nn_table(work: Work, quiet: Quiet = False) -> None:
    """Exact certified robust errors of 1-NN, Euclidean: Wang et al. (NeurIPS 2020), Table 1."""
    _reproduce(TABLES["nn-table"], work, [1], ["plurality"], None, quiet)


@app.command("knn-table", cls=Lists)
@friendly
@takes(Work)
def knn_table(
    work: Work,
    neighbors: Annotated[
        list[int] | None, Option("-k", "--neighbors", help="Numbers of neighbours; default: 3 5 7 11.")
    ] = None,
    rule: Annotated[
        list[str] | None,
        Option("--rule", metavar="[majority|plurality]", help="Rules of the exact radii; default: both."),
    ] = None,
    point_time_limit: Annotated[
        float, Option("--point-time-limit", help="Seconds of exact search for each point; inf: no limit.")
    ] = 10.0,
    quiet: Quiet = False,
) -> None:
    """Certified robust errors of K-NN, Euclidean: the published bound, and the exact radii beside it.

    Published: Wang et al. (NeurIPS 2020), Table 2, K = 11, majority rule.
    """
    table = TABLES["knn-table"]
    limit = as_limit(point_time_limit, "--point-time-limit")
    _reproduce(table, work, neighbors or table.neighbors, rule or table.rules, limit, quiet)


Metrics = Annotated[
    list[str] | None,
    Option(
        "--metric",
        metavar=f"[{'|'.join(TABLES['arml-table1'].metrics)}]",
        help="Metrics of the table; default: all. The first table has prototypes, too.",
    ),
]


@app.command("arml-table1", cls=Lists)
@friendly
@takes(Work)
def arml_table1(work: Work, metric: Metrics = None, quiet: Quiet = False) -> None:
    """Exact certified robust errors of 1-NN under learned metrics: Wang et al. (NeurIPS 2020), Table 1."""
    _reproduce(TABLES["arml-table1"], work, [1], ["plurality"], None, quiet, metric)


@app.command("arml-table2", cls=Lists)
@friendly
@takes(Work)
def arml_table2(work: Work, metric: Metrics = None, quiet: Quiet = False) -> None:
    """Certified robust errors of 11-NN under learned metrics, by the bound: the same paper, Table 2."""
    _reproduce(TABLES["arml-table2"], work, [11], ["majority"], None, quiet, metric)


def _reproduce(
    table: Table,
    work: Work,
    neighbors: Sequence[int],
    rules: Sequence[str],
    limit: float | None,
    quiet: bool,
    metrics: Sequence[str] | None = None,
) -> None:
    for metric in metrics or ():
        if metric not in table.metrics:
            raise InputError(f"--metric must be one of {', '.join(table.metrics)}; got {metric!r}.")
    for k in neighbors:
        check_count(k, "--neighbors")
    for rule in rules:
        if rule not in CHOICES["rule"]:
            raise InputError(f"--rule must be {' or '.join(map(str, CHOICES['rule']))}; got {rule!r}.")
    effective_jobs(work.jobs, "--jobs")
    radii = None if work.eps is None else parse_radii(work.eps)
    sources = work.sources(table)
    for source in sources:
        if source.published:
            check_count(max(neighbors), "--neighbors", count_training_rows(source.train))
    check_folder(work.out)
    chosen = list(dict.fromkeys(metrics or table.metrics))
    cells = table.cells(list(dict.fromkeys(neighbors)), list(dict.fromkeys(rules)), limit, chosen)
    run = Run(
        table, sources, cells, Store(work.out / "cells"), radii=radii, n_jobs=work.jobs, progress=not quiet
    )
    _fill(run, work.out)


def check_folder(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise InputError(f"--out: {path} is a file, but a folder is needed.")
    if not path.absolute().parent.is_dir():
        raise InputError(f"--out: the folder {path.absolute().parent} does not exist.")
    require("matplotlib", extra="plot").use("Agg")


def _fill(run: Run, out: Path) -> None:
    """Compute, print and write; what is finished when Ctrl-C comes, too."""
    try:
        run.fill(begin=lambda *cell: _begin(run, *cell), tell=lambda *news: _tell(run, *news), prefix="--")
    except KeyboardInterrupt as error:
        if run.n_finished:
            _show(run, out)
        kept = f"{run.n_finished} of {run.n_cells} certifications are kept in {run.store.folder}"
        raise KeyboardInterrupt(f"{kept}; the same command goes on from there.") from error
    _show(run, out)


def _begin(run: Run, panel: Panel, cell: Cell) -> None:
    if run.progress:
        print(f"{panel.name}: {cell}", file=sys.stderr, flush=True)


def _tell(run: Run, panel: Panel, cell: Cell, kept: bool) -> None:
    """A finished cell in one line."""
    cert = panel.results[cell]
    proven = "" if cell.method == "bound" else f", {cert.share_exact:.1%} proven"
    how = "kept from an earlier run" if kept else f"{cert.run.elapsed:.3g} s"
    count = f"[{run.n_finished}/{run.n_cells}]"
    print(f"{count} {panel.name}: {cell}: {len(cert):,} points{proven}, {how}", flush=True)


def _show(run: Run, out: Path) -> None:
    """The tables: as files, and on the screen."""
    out.mkdir(exist_ok=True)
    files = {suffix: out / f"{run.table.name}.{suffix}" for suffix in ("md", "csv", "png")}
    report.write_markdown(run, files["md"])
    report.write_csv(run, files["csv"])
    draw(run, files["png"])
    print(f"\n{run.table.title}. {report.origin(run)}\n")
    for panel in run.panels:
        if panel.results or panel.left_out:
            print(report.text(run, panel), end="\n\n")
    print(fill(report.LEGEND, 110))
    for path in files.values():
        print(f"wrote {path}")
