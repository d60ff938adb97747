"""The commands for deep metric learning; PyTorch is imported when one of them runs."""

import json
import warnings
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer
from sklearn.exceptions import ConvergenceWarning
from typer import Option

from certimetric._cli_frame import Quiet, friendly
from certimetric._cli_report import check_output, parse_radii
from certimetric._cli_work import LARGEST_SEED, Jobs
from certimetric._files import check_apart, write_text
from certimetric._validation import effective_jobs
from certimetric.exceptions import DataError, InputError

if TYPE_CHECKING:
    from torch import nn

    from certimetric.deep import Configuration, ImageSet

__all__ = ["app", "load_deep"]

app = typer.Typer(name="deep", help="Robust deep metric learning, with PyTorch.", rich_markup_mode=None)

Images = Annotated[
    Path,
    Option("--data", help="Images: npz with X_train and y_train, or a folder with a folder for each class."),
]
Trained = Annotated[Path, typer.Argument(help="What `certimetric deep train` wrote.", show_default=False)]
Device = Annotated[str, Option("--device", help="cpu or cuda; default: cuda where there is one.")]
Result = Annotated[Path | None, Option("--out", help="Result: .json.")]
Points = Annotated[
    int | None, Option("--points", min=1, help="Attack the first so many images; default: all.")
]


@app.callback(invoke_without_command=True)
def root(context: typer.Context) -> None:
    """Robust deep metric learning, with PyTorch."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)


@app.command()
@friendly
def train(
    data: Images,
    out: Annotated[
        Path, Option("--out", help="File for the network: .pt. A run that was stopped goes on from it.")
    ],
    config: Annotated[Path | None, Option("--config", help="Settings: a file of TOML.")] = None,
    preset: Annotated[
        str,
        Option("--preset", help="Settings to begin with: 28, 224 (Zhou & Patel, 2022), panum, certified."),
    ] = "28",
    assignments: Annotated[
        list[str] | None, Option("--set", help="A setting such as train.epochs=2, over those of the file.")
    ] = None,
    scheme: Annotated[str | None, Option("--scheme", help="The defence, such as 'HM[S,LGA]&ICS'.")] = None,
    log: Annotated[
        Path | None, Option("--log", help="A line for each epoch: .jsonl, .csv, or a folder.")
    ] = None,
    device: Device = "auto",
    jobs: Jobs = None,
    quiet: Quiet = False,
) -> None:
    """Train a network by a defence of the literature."""
    check_apart({"--out": out, "--log": log}, {"--data": data, "--config": config})
    deep = load_deep(jobs)
    if preset not in deep.PRESETS:
        raise InputError(f"--preset must be {', '.join(deep.PRESETS)}, got {preset!r}.")
    settings = deep.PRESETS[preset]
    settings = settings if config is None else deep.Configuration.from_toml(config, settings)
    settings = settings.assigned([*(assignments or ()), *([f"train.scheme={scheme}"] if scheme else [])])
    settings.check()
    check_output(out, "--out")
    if out.suffix != ".pt":
        raise InputError(f"--out must be a file .pt, got {out}.")
    images, held_out = _read(deep, data, "train", settings).split(
        settings.train.held_out, settings.train.seed
    )
    model = settings.make_model(images.images)
    about = {"settings": settings.to_dict(), "classes": images.classes.tolist()}
    trainer = settings.make_trainer(
        model.to(_device(device)), checkpoint=out, log=log, about=about, progress=not quiet
    )
    if held_out is not None:
        trainer.validate = partial(trainer.scheme.quality, images=held_out.images, labels=held_out.codes)
        trainer.patience = settings.train.patience
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        trainer.fit(images.images, images.labels)
    for warning in caught:
        typer.echo(f"certimetric: {warning.message}", err=True)
    for row in trainer.history_[-1:]:
        typer.echo(f"{out}: {settings.train.scheme}, {row['epoch']} epochs, loss {row['loss']:.4g}")
    if trainer.stop_reason_ == "interrupted":
        raise typer.Exit(130)
    if trainer.stop_reason_ == "not_finite":
        typer.echo(f"certimetric: {out} is of that epoch.", err=True)
        raise typer.Exit(1)


@app.command()
@friendly
def evaluate(
    run: Trained,
    data: Images,
    under: Annotated[
        str | None, Option("--under", help="An attack on each image that asks: CA+, CA-, QA+, ..., ES, GTT.")
    ] = None,
    points: Points = None,
    out: Result = None,
    device: Device = "auto",
    jobs: Jobs = None,
) -> None:
    """R@k, mAP, mAP@R and NMI of the test images, without an attack or under one."""
    if points is not None and under is None:
        raise InputError("--points goes with --under: without an attack all images are asked.")
    _check_json(out, run, data)
    deep = load_deep(jobs)
    model, settings = _trained(deep, run, _device(device))
    images = _read(deep, data, "test", settings)
    embeddings, queries = deep.embed_all(model, images.images), None
    if under is not None:
        pgd = deep.PGD(**asdict(settings.score))
        moved = deep.attack_images(model, images.images, images.labels, under, attack=pgd, points=points)
        queries = deep.embed_all(model, moved)
    found = deep.retrieval_scores(embeddings, images.labels, queries=queries, n_jobs=jobs)
    typer.echo(str(found))
    _write(out, asdict(found))


@app.command()
@friendly
def attack(
    run: Trained,
    data: Images,
    points: Points = None,
    seed: Annotated[int, Option("--seed", min=0, max=LARGEST_SEED, help="Of what attacks are about.")] = 0,
    out: Result = None,
    device: Device = "auto",
    jobs: Jobs = None,
    quiet: Quiet = False,
) -> None:
    """The empirical robustness score: ten attacks on the test images, beside the clean scores.

    A run that was stopped goes on from a file beside --out.
    """
    _check_json(out, run, data)
    deep = load_deep(jobs)
    model, settings = _trained(deep, run, _device(device))
    images = _read(deep, data, "test", settings)
    state = None if out is None else out.with_name(f"{out.stem}.part.npz")
    found = deep.robustness_score(
        model,
        images.images,
        images.labels,
        attack=deep.PGD(**asdict(settings.score)),
        points=points,
        seed=seed,
        checkpoint=state,
        progress=not quiet,
    )
    typer.echo(str(found))
    _write(out, asdict(found))
    if state is not None:
        state.unlink(missing_ok=True)


@app.command()
@friendly
def certify(
    run: Trained,
    data: Images,
    neighbors: Annotated[int, Option("-k", "--neighbors", min=1, help="Number of neighbours.")] = 1,
    eps: Annotated[
        str, Option("--eps", help="Radii of the table, ℓ2 norms in image space.")
    ] = "0,0.5,1,1.58",
    points: Annotated[int | None, Option("--points", min=1, help="The first so many test images.")] = None,
    rows: Annotated[
        Literal["prototypes", "training"] | None,
        Option(
            "--rows", help="Rows of the classifier: training images or prototypes; default: these, if any."
        ),
    ] = None,
    out: Annotated[Path | None, Option("--out", help="Result: .parquet, .npz, .csv or .json.")] = None,
    jobs: Jobs = None,
    quiet: Quiet = False,
) -> None:
    """Radii of test images, proven, of a network of a known constant (train --preset certified)."""
    radii = parse_radii(eps)
    _check_result(out, run, data)
    deep = load_deep(jobs)
    model, settings = _trained(deep, run, "cpu")
    if not isinstance(model, deep.LipschitzNetwork):
        raise InputError(f"{run}: {settings.model.name!r} has no known constant; train --preset certified.")
    learned = deep.read_prototypes(run)
    if rows == "prototypes" and learned is None:
        raise InputError(f"--rows: {run} has no prototypes; train.scheme=CP[20] learns some.")
    images = _read(deep, data, "test", settings).first(points)
    clf = deep.CertifiedEmbeddingClassifier(model, neighbors, n_jobs=jobs)
    if learned is None or rows == "training":
        known = _read(deep, data, "train", settings)
        clf.fit(known.images, known.labels)
        what = f"{len(known.codes):,} training images"
    else:
        clf.fit_embeddings(learned[0], np.array(deep.read_about(run)["classes"])[learned[1]])
        what = f"{len(learned[1]):,} prototypes"
    found = clf.certify(images.images, images.labels, progress=not quiet)
    typer.echo(f"L ≤ {clf.lipschitz_:.9g}, {len(found):,} images before {what}")
    for radius, error in zip(radii, found.certified_error(radii), strict=True):
        typer.echo(f"  certified at {radius:<6g} {1 - error:.4f}")
    if out is not None:
        found.save(out)


def load_deep(jobs: int | None) -> Any:
    """The package, with as many threads as were asked for."""
    threads = None if jobs is None else effective_jobs(jobs, "--jobs")
    from certimetric import deep

    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    return deep


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name!r} cannot be used here: {str(error).splitlines()[0]}") from error
    return name


def _trained(deep: Any, run: Path, device: str) -> "tuple[nn.Module, Configuration]":
    about = deep.read_about(run)
    try:
        settings = deep.Configuration().updated(about["settings"], str(run))
    except (InputError, KeyError) as error:
        raise DataError(f"{run}: was not written by `certimetric deep train`: {error}") from error
    # The weights of the run take the place of those that it began with.
    model = replace(settings, model=replace(settings.model, weights=None)).make_model()
    return deep.load_model(model, run).to(device), settings


def _read(deep: Any, data: Path, part: str, settings: "Configuration") -> "ImageSet":
    if data.is_dir():
        inside, other = data / part, data / ("train" if part == "test" else "test")
        if other.is_dir() and not inside.is_dir():
            raise InputError(f"{data}: has a folder {other.name}, but none {part}.")
        found: ImageSet = deep.read_image_folder(inside if inside.is_dir() else data, settings.model.size)
        return found
    found = deep.read_images(data, part)
    if found.images.shape[1] != settings.model.channels:
        have = found.images.shape[1]
        raise InputError(
            f"{data}: images have {have} channel(s), model.channels is {settings.model.channels}."
        )
    return found


def _check_result(out: Path | None, run: Path, data: Path) -> None:
    if out is not None:
        check_output(out, "--out")
        check_apart({"--out": out}, {"the run": run, "--data": data})


def _check_json(out: Path | None, run: Path, data: Path) -> None:
    _check_result(out, run, data)
    if out is not None and out.suffix != ".json":
        raise InputError(f"--out must be a file .json, got {out}.")


def _write(out: Path | None, values: dict[str, Any]) -> None:
    if out is not None:
        write_text(out, json.dumps(values, indent=1) + "\n")
