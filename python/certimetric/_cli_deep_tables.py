"""The commands that fill tables of deep metric learning; PyTorch is imported when one of them runs."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

from typer import Option

from certimetric._cli_deep import load_deep
from certimetric._cli_frame import Quiet, friendly
from certimetric._cli_reproduce import OUT, Data, Out, check_folder
from certimetric._cli_work import LARGEST_SEED, Jobs
from certimetric._files import write_text
from certimetric.exceptions import InputError

__all__ = ["deep_certified", "deep_fashion"]

T = TypeVar("T")

Seed = Annotated[int, Option("--seed", min=0, max=LARGEST_SEED, help="Of the run.")]


@friendly
def deep_fashion(
    data: Data,
    only: Annotated[str, Option("--only", help="fashion_mnist or mnist.")] = "fashion_mnist",
    scheme: Annotated[
        list[str] | None, Option("--scheme", help="Defences; default: six of the literature.")
    ] = None,
    images: Annotated[int | None, Option("--images", min=256, help="Training images; default: all.")] = None,
    epochs: Annotated[int, Option("--epochs", min=1, help="Published: 16, of each image once.")] = 16,
    steps: Annotated[int, Option("--steps", min=1, help="Of the attacks in training; published: 32.")] = 32,
    points: Annotated[int, Option("--points", min=1, help="Attacked test images; published: 10,000.")] = 1000,
    seed: Seed = 0,
    out: Out = OUT,
    jobs: Jobs = None,
    quiet: Quiet = False,
) -> None:
    """Defences of deep metric learning on Fashion-MNIST: clean scores and the ten attacks of each."""
    load_deep(jobs)
    from certimetric.deep import make_scheme
    from certimetric.reproduce import deep as table

    path = _images(data, only)
    names = scheme or list(table.SCHEMES)
    for name in names:
        make_scheme(name)
    check_folder(out)
    settings = {"epochs": epochs, "steps": steps, "points": points, "seed": seed}
    experiment = table.Experiment.of_file(path, out / "cells", images, **settings)
    outcomes = _filled(names, lambda name: experiment.outcome(name, not quiet), out, quiet)
    _show(
        out / f"deep-{experiment.name}",
        table.text(outcomes, experiment.name),
        md=lambda path: write_text(path, table.markdown(experiment, outcomes)),
        csv=lambda path: table.write_csv(experiment, outcomes, path),
        png=lambda path: table.draw(experiment, outcomes, path),
    )


@friendly
def deep_certified(
    data: Data,
    only: Annotated[str, Option("--only", help="mnist or fashion_mnist.")] = "mnist",
    row: Annotated[
        list[str] | None,
        Option(
            "--row",
            help="Classifiers: pixels, pixels-knn, arml, pixels-points, network, network-knn, "
            "network-edited, network-points; default: all.",
        ),
    ] = None,
    epochs: Annotated[int, Option("--epochs", min=1, help="Of the network.")] = 150,
    points: Annotated[int | None, Option("--points", min=1, help="The first so many test images.")] = None,
    seed: Seed = 0,
    out: Out = OUT,
    jobs: Jobs = None,
    quiet: Quiet = False,
) -> None:
    """Certified accuracy of a network of a known constant, beside neighbours and learned points of pixels."""
    load_deep(jobs)
    from certimetric.reproduce import certified as table

    path = _images(data, only)
    names = row or list(table.ROWS)
    for name in names:
        if name not in table.ROWS:
            raise InputError(f"--row must be one of {', '.join(table.ROWS)}; got {name!r}.")
    check_folder(out)
    experiment = table.Experiment(path, out, epochs, points, seed, jobs, not quiet)
    certs = _filled(names, lambda name: table.ROWS[name].certify(experiment), out, quiet)
    found = {table.ROWS[name].title: cert for name, cert in zip(names, certs, strict=True)}
    _show(
        out / f"deep-certified-{experiment.name}",
        table.text(found),
        md=lambda path: write_text(path, table.markdown(experiment, found)),
        csv=lambda path: table.write_csv(found, path),
        png=lambda path: table.draw(experiment, found, path),
    )


def _images(data: Path, only: str) -> Path:
    """The file of a data set in a folder, or the file itself."""
    if only not in ("fashion_mnist", "mnist"):
        raise InputError(f"--only must be fashion_mnist or mnist, got {only!r}.")
    path = data if data.is_file() else data / f"{only}.npz"
    if not path.is_file():
        raise InputError(f"--data: {path}: no such file.")
    return path


def _filled(names: Sequence[str], row: Callable[[str], T], out: Path, quiet: bool) -> list[T]:
    """A row for each name; Ctrl-C says where to go on from."""
    found: list[T] = []
    try:
        for name in names:
            found.append(row(name))
            if not quiet:
                print(f"[{len(found)}/{len(names)}] {name}", file=sys.stderr, flush=True)
    except KeyboardInterrupt as error:
        kept = f"what is finished is kept in {out / 'cells'}; the same command goes on."
        raise KeyboardInterrupt(kept) from error
    return found


def _show(stem: Path, text: str, **write: Callable[[Path], None]) -> None:
    """Write a file of each kind, then print."""
    stem.parent.mkdir(exist_ok=True)
    files = {stem.with_name(f"{stem.name}.{suffix}"): make for suffix, make in write.items()}
    for path, make in files.items():
        make(path)
    print(text)
    for path in files:
        print(f"wrote {path}")
