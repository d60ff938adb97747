"""The commands that fill tables of deep metric learning; PyTorch is imported when one of them runs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from typer import Option

from certimetric._cli_deep import load_deep
from certimetric._cli_frame import Quiet, friendly
from certimetric._cli_reproduce import OUT, Data, Out, check_folder
from certimetric._cli_work import LARGEST_SEED, Jobs
from certimetric._files import write_text
from certimetric.exceptions import InputError

__all__ = ["deep_certified", "deep_fashion"]

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
    outcomes = []
    with _kept(out):
        for name in names:
            outcomes.append(experiment.outcome(name, not quiet))
            if not quiet:
                print(f"[{len(outcomes)}/{len(names)}] {name}", file=sys.stderr, flush=True)
    written = _files(out, f"deep-{experiment.name}")
    write_text(written["md"], table.markdown(experiment, outcomes))
    table.write_csv(experiment, outcomes, written["csv"])
    table.draw(experiment, outcomes, written["png"])
    print(table.text(outcomes, experiment.name))
    for file in written.values():
        print(f"wrote {file}")


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
    found = {}
    with _kept(out):
        for name in names:
            chosen = table.ROWS[name]
            found[chosen.title] = chosen.certify(experiment)
            if not quiet:
                print(f"[{len(found)}/{len(names)}] {chosen.title}", file=sys.stderr, flush=True)
    written = _files(out, f"deep-certified-{experiment.name}")
    write_text(written["md"], table.markdown(experiment, found))
    table.write_csv(found, written["csv"])
    table.draw(experiment, found, written["png"])
    print(table.text(found))
    for file in written.values():
        print(f"wrote {file}")


def _images(data: Path, only: str) -> Path:
    """The file of a data set in a folder, or the file itself."""
    if only not in ("fashion_mnist", "mnist"):
        raise InputError(f"--only must be fashion_mnist or mnist, got {only!r}.")
    path = data if data.is_file() else data / f"{only}.npz"
    if not path.is_file():
        raise InputError(f"--data: {path}: no such file.")
    return path


@contextmanager
def _kept(out: Path) -> Iterator[None]:
    """Ctrl-C says where to go on from."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(
            f"what is finished is kept in {out / 'cells'}; the same command goes on."
        ) from error


def _files(out: Path, stem: str) -> dict[str, Path]:
    out.mkdir(exist_ok=True)
    return {suffix: out / f"{stem}.{suffix}" for suffix in ("md", "csv", "png")}
