"""The commands: options in, calls of :mod:`certimetric._cli_work`, reports out."""

import functools
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, ParamSpec

import typer

from certimetric import _cli_report as report
from certimetric import _cli_work as work
from certimetric._versions import show_versions, versions
from certimetric.exceptions import CertimetricError

__all__ = ["app"]

P = ParamSpec("P")

app = typer.Typer(
    name="certimetric",
    help="Exact robustness radii of nearest-neighbour classifiers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

TrainFile = Annotated[Path, typer.Option("--train", help="Training data: npz, npy, csv, parquet or libsvm.")]
TestFile = Annotated[
    Path | None, typer.Option("--test", help="Test data; default: the test half of the training npz.")
]
MetricChoice = Annotated[
    str, typer.Option("--metric", help="euclidean, covariance, or a file (npz with G or M, npy with M).")
]
Neighbors = Annotated[int, typer.Option("-k", "--neighbors", help="Number of neighbours; certification: 1.")]
Scale = Annotated[
    Literal["minmax", "255", "none"], typer.Option("--scale", help="Scaling fitted on the training data.")
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Only the first N test points (after shuffling).")
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", "--shuffle-seed", min=0, help="Shuffle the test points with this seed."),
]
Jobs = Annotated[int | None, typer.Option("--jobs", help="Threads; -1: all processors.")]
XKey = Annotated[str | None, typer.Option("--x-key", help="Name of the features in an npz.")]
YKey = Annotated[str | None, typer.Option("--y-key", help="Name of the labels in an npz.")]
Label = Annotated[
    str | None, typer.Option("--label", help="Label column of a csv or parquet; default: the last.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress line.")]


def friendly(command: Callable[P, None]) -> Callable[P, None]:
    """A user's mistake becomes one line and exit code 2; a defect keeps its traceback."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except BrokenPipeError:
            # The reader of a pipe has gone: typer ends quietly.
            raise
        except (CertimetricError, OSError) as error:
            typer.echo(f"certimetric: error: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(2) from error
        except KeyboardInterrupt as error:
            typer.echo("certimetric: interrupted", err=True)
            raise typer.Exit(130) from error
        except typer.Exit:
            raise
        except Exception as error:
            traceback.print_exc()
            typer.echo(f"certimetric: internal error: {type(error).__name__}: {error}", err=True)
            raise typer.Exit(1) from error

    return run


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(versions()["certimetric"])
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Exact robustness radii of nearest-neighbour classifiers."""


@app.command()
@friendly
def certify(
    train: TrainFile,
    test: TestFile = None,
    metric: MetricChoice = "euclidean",
    neighbors: Neighbors = 1,
    scale: Scale = "none",
    limit: Limit = None,
    seed: Seed = None,
    jobs: Jobs = None,
    time_limit: Annotated[
        float | None, typer.Option("--time-limit", help="Seconds for the whole run.")
    ] = None,
    eps: Annotated[str | None, typer.Option("--eps", help="Radii of the table, such as 0,0.5,1.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Result: .parquet, .csv or .json.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Picture of the certified error curve.")] = None,
    examples: Annotated[
        Path | None, typer.Option("--examples", help="Picture of adversarial examples.")
    ] = None,
    shape: Annotated[str, typer.Option("--shape", help="Shape of the images, such as 28x28.")] = "28x28",
    x_key: XKey = None,
    y_key: YKey = None,
    label: Label = None,
    quiet: Quiet = False,
) -> None:
    """Certify test points and print the certified-error table."""
    radii = None if eps is None else report.parse_radii(eps)
    outputs = report.Outputs(out=out, plot=plot, examples=examples, shape=report.parse_shape(shape))
    outputs.check()
    source = work.Source(
        train, test, metric, neighbors, scale, limit, seed, jobs, work.Keys(x_key, y_key, label)
    )
    prepared = work.prepare(source)
    cert = work.certify(prepared, time_limit, adversarial=examples is not None, progress=not quiet)
    report.print_result(cert, radii)
    outputs.write(cert, prepared.test.X)


@app.command()
@friendly
def predict(
    train: TrainFile,
    test: TestFile = None,
    metric: MetricChoice = "euclidean",
    neighbors: Neighbors = 1,
    scale: Scale = "none",
    limit: Limit = None,
    seed: Seed = None,
    jobs: Jobs = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File for the labels, one a line; default: standard output.")
    ] = None,
    x_key: XKey = None,
    y_key: YKey = None,
    label: Label = None,
) -> None:
    """Predict the labels of test points."""
    report.check_folder(out, "--out")
    source = work.Source(
        train, test, metric, neighbors, scale, limit, seed, jobs, work.Keys(x_key, y_key, label)
    )
    prepared = work.prepare(source)
    predicted = prepared.classifier.predict(prepared.test.X)
    report.write_labels(predicted, out)
    if prepared.test.y is not None:
        typer.echo(f"error {(predicted != prepared.test.y).mean():.4f} on {len(predicted)} points", err=True)


@app.command()
@friendly
def demo(
    plot: Annotated[Path, typer.Option("--plot", help="Where the picture goes.")] = Path(
        "certimetric-demo.png"
    ),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the split.")] = 0,
    jobs: Jobs = None,
    quiet: Quiet = False,
) -> None:
    """Certify scikit-learn's handwritten digits: a table, the time, a picture."""
    outputs = report.Outputs(plot=plot)
    outputs.check()
    results = work.demo(seed, jobs, progress=not quiet)
    report.print_demo(results)
    report.plot_demo(results, plot)


@app.command()
@friendly
def info(
    file: Annotated[Path | None, typer.Argument(help="A data file, or a result saved as .parquet.")] = None,
) -> None:
    """Show the versions and the processor's instruction sets, or what is in a file."""
    if file is None:
        show_versions()
        return
    report.describe(file)
