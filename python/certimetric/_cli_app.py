"""The commands: options in, calls of :mod:`certimetric._cli_work`, reports out."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from certimetric import _cli_deep as deep
from certimetric import _cli_deep_tables as deep_tables
from certimetric import _cli_learn as learn
from certimetric import _cli_report as report
from certimetric import _cli_reproduce as reproduce
from certimetric import _cli_work as work
from certimetric._cli_frame import Commands, Quiet, friendly, takes
from certimetric._cli_perturbed import lmnn_pl
from certimetric._cli_verify import check, print_checked
from certimetric._files import check_apart
from certimetric._versions import show_versions, versions

__all__ = ["app"]

app = typer.Typer(
    name="certimetric",
    cls=Commands,
    help="Exact robustness radii of nearest-neighbour classifiers.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(learn.app)
reproduce.app.command("lmnn-pl", cls=reproduce.Lists)(lmnn_pl)
reproduce.app.command("deep-fashion", cls=reproduce.Lists)(deep_tables.deep_fashion)
reproduce.app.command("deep-certified", cls=reproduce.Lists)(deep_tables.deep_certified)
app.add_typer(deep.app)
app.add_typer(reproduce.app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(versions()["certimetric"])
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback does the work
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Exact robustness radii of nearest-neighbour classifiers."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)


@app.command()
@friendly
@takes(work.Source, work.Search)
def certify(
    source: work.Source,
    search: work.Search,
    eps: Annotated[
        str | None,
        typer.Option(
            "--eps",
            help="Radii of the table, such as 0,0.5,1. The exact method with more than one neighbour then "
            "decides only these, which is faster.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Result: .parquet, .npz, .csv or .json.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Picture of the certified error curve.")] = None,
    examples: Annotated[
        Path | None,
        typer.Option("--examples", help="Picture of adversarial examples; with it all radii are computed."),
    ] = None,
    certificates: Annotated[
        Path | None,
        typer.Option(
            "--certificates",
            help="Proofs for `certimetric verify`, one a line: .jsonl, .jsonl.gz or .jsonl.zst.",
        ),
    ] = None,
    shape: Annotated[str, typer.Option("--shape", help="Shape of the images, such as 28x28.")] = "28x28",
    times: Annotated[
        bool,
        typer.Option(
            "--times", help="Keep the seconds in --out too; without them equal runs give equal files."
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with a run that was stopped: its finished points are beside --out."
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Certify test points and print the certified-error table."""
    radii = None if eps is None else report.parse_radii(eps)
    outputs = report.Outputs(
        out, plot, examples, certificates, report.parse_shape(shape), times=times, resume=resume
    )
    outputs.check(source.inputs)
    search.check()
    prepared = work.prepare(source)
    outputs.check_shape(prepared.test.X.shape[1])
    parts = outputs.parts
    with nullcontext() if parts is None else parts.kept():
        cert = work.certify(
            prepared,
            search,
            radii,
            adversarial=examples is not None,
            certificates=certificates is not None,
            progress=not quiet,
            parts=parts,
        )
        try:
            outputs.write(cert, prepared.test.X)
        finally:
            # Last, because the reader may close the pipe; and always, because the run may have been long.
            report.print_result(cert, radii, source.seed)


@app.command()
@friendly
@takes(work.Source)
def predict(
    source: work.Source,
    out: Annotated[
        Path | None, typer.Option("--out", help="File for the labels, one a line; default: standard output.")
    ] = None,
) -> None:
    """Predict the labels of test points."""
    report.check_output(out, "--out")
    check_apart({"--out": out}, source.inputs)
    prepared = work.prepare(source)
    predicted = prepared.classifier.predict(prepared.test.X)
    report.write_labels(predicted, out)
    if prepared.test.y is not None:
        typer.echo(f"error {(predicted != prepared.test.y).mean():.4f} on {len(predicted)} points", err=True)


@app.command()
@friendly
@takes(work.Training)
def verify(
    training: work.Training,
    file: Annotated[Path, typer.Argument(help="Certificates, one a line: .jsonl, .jsonl.gz or .jsonl.zst.")],
    patience: Annotated[
        float,
        typer.Option(
            "--patience", help="Reject what takes more work to check, in units of a minute at worst."
        ),
    ] = 1.0,
    plain: Annotated[
        bool, typer.Option("--plain", help="Check by one short file that has integers alone; slower.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Check certificates in exact arithmetic, each on its own; exit code 1: not all were accepted."""
    checked = check(file, training, patience=patience, plain=plain, progress=not quiet)
    print_checked(file, checked)
    if not all(each.verdict for each in checked):
        raise typer.Exit(1)


@app.command()
@friendly
def demo(
    plot: Annotated[Path, typer.Option("--plot", help="Where the picture goes.")] = Path(
        "certimetric-demo.png"
    ),
    seed: Annotated[
        int,
        typer.Option(
            "--seed", min=0, max=work.LARGEST_SEED, help="Split into training and test points with this seed."
        ),
    ] = 0,
    jobs: work.Jobs = None,
    quiet: Quiet = False,
) -> None:
    """Certify scikit-learn's handwritten digits: a table, the time, a picture."""
    outputs = report.Outputs(plot=plot)
    outputs.check()
    results = work.demo(seed, jobs, progress=not quiet)
    report.plot_demo(results, plot)
    report.print_demo(results, seed)


@app.command()
@friendly
def info(
    file: Annotated[
        Path | None, typer.Argument(help="A data file, or a result saved as .parquet or .npz.")
    ] = None,
) -> None:
    """Show the versions and the processor's instruction sets, or what is in a file."""
    if file is None:
        show_versions()
        return
    report.describe(file)
