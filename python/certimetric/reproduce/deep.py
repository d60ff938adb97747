"""Robust deep metric learning with the small network of the papers: each defence, its clean scores, its ERS.

The network is C2F2 with 512 dimensions, Adam with a rate of 10⁻³, a triplet loss of margin 0.2, batches of 64
pairs, ℓ∞ balls of 77/255. Published rows (public logs of the RobRank project, Zhou et al., 2021) have sixteen
epochs, as they are counted here, and 32 steps of 3/255 in training; with fewer steps each is longer,
1.25 · 77/255 in all.
"""

import csv
import io
import json
import math
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from certimetric._files import save_picture, write_text
from certimetric._optional import require
from certimetric.deep import PGD, PGD_28, ConvNet28, Trainer, make_scheme, read_images, robustness_score
from certimetric.deep._checkpoint import digest_of
from certimetric.deep.data import ImageSet
from certimetric.exceptions import CollapsedModelError, DataError, InputError
from certimetric.reproduce.cells import key_of
from certimetric.reproduce.grid import aligned, piped

__all__ = ["PUBLISHED", "SCHEMES", "Experiment", "Outcome", "draw", "markdown", "text", "write_csv"]

SCHEMES = ("none", "RO[pos]", "EST[R]", "ACT[R]", "HM[S,LGA]", "HM[S,LGA]&ICS")
"""By default; any name of :func:`certimetric.deep.make_scheme` will do."""

_CLEAN = ("R@1", "R@2", "mAP", "NMI")
_ATTACKS = ("CA+", "CA-", "QA+", "QA-", "TMA", "ES:D", "ES:R", "LTM", "GTM", "GTT")


def _published(numbers: str) -> dict[str, float]:
    return dict(zip((*_CLEAN, *_ATTACKS), map(float, numbers.split()), strict=True))


PUBLISHED = {
    "none": _published(".876 .929 .844 .766  1.1 96.8  0.3 97.8 .990 1.604  0.1  0.0 12.6 0.0"),
    "EST[R]": _published(".766 .860 .592 .610 14.9 36.1 20.9 48.6 .966  .288 62.0 28.0 20.8 0.0"),
    "ACT[R]": _published(".787 .871 .688 .672 33.6 14.6 38.5 12.1 .259  .541 48.5 59.5 60.2 0.1"),
}
"""Rows of Fashion-MNIST, clean scores and raw numbers of the attacks."""


@dataclass(frozen=True)
class Outcome:
    """A row of the table.

    Attributes
    ----------
    scheme : str
    clean, raw, scores : dict of str to float
        As in :class:`~certimetric.deep.RobustnessScore`, with R@k, mAP, mAP@R and NMI by name.
    ers : float
    seconds : float
        Of an epoch, the mean.
    """

    scheme: str
    clean: dict[str, float]
    raw: dict[str, float]
    scores: dict[str, float]
    ers: float
    seconds: float


@dataclass(frozen=True)
class Experiment:
    """What all rows share, and the folder that keeps what is finished.

    Attributes
    ----------
    name : str
    train, test : ImageSet
    folder : Path
    epochs, steps, points, seed : int
        ``steps`` of the attacks in training; ``points`` is the number of test images that are attacked.
    """

    name: str
    train: ImageSet
    test: ImageSet
    folder: Path
    epochs: int
    steps: int
    points: int
    seed: int

    @classmethod
    def of_file(cls, path: Path, folder: Path, images: int | None, **settings: int) -> "Experiment":
        """Both halves of a file of 28 × 28 images.

        Raises
        ------
        DataError, InputError
            As :func:`certimetric.deep.read_images`; also where images have another size.
        """
        train, test = read_grey(path)
        return cls(path.stem, train.first(images), test, folder, **settings)

    @cached_property
    def digest(self) -> str:
        """Of all images and classes."""
        parts = (self.train.images, self.train.codes, self.test.images, self.test.codes)
        return digest_of(parts, "")

    def outcome(self, scheme: str, progress: bool) -> Outcome:
        """A row: trained and attacked, or what is known of it; a stopped run goes on."""
        settings = {"scheme": scheme, "epochs": self.epochs, "steps": self.steps, "seed": self.seed}
        key = key_of({**settings, "images": self.digest})
        stem = self.folder / f"deep-{self.name}-{key}"
        path = stem.with_name(f"{stem.name}-{self.points}.json")
        if path.is_file():
            # What is damaged is made again.
            with suppress(ValueError, TypeError):
                return Outcome(**json.loads(path.read_text(encoding="utf-8")))
        self.folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(self.seed)
        model = ConvNet28()
        trainer = Trainer(
            model,
            make_scheme(scheme, attack=self._attack(scheme)),
            optimizer=partial(torch.optim.Adam, lr=1e-3, weight_decay=1e-7),
            epochs=self.epochs,
            seed=self.seed,
            checkpoint=stem.with_suffix(".pt"),
            checkpoint_minutes=1.0,
            progress=progress,
        ).fit(self.train.images, self.train.codes)
        check_finished(trainer, scheme)
        seconds = float(np.mean([row["seconds"] for row in trainer.history_]))
        try:
            found = robustness_score(
                model,
                self.test.images,
                self.test.codes,
                attack=PGD_28,
                points=self.points,
                seed=self.seed,
                checkpoint=stem.with_name(f"{stem.name}-{self.points}.npz"),
                progress=progress,
            )
        except CollapsedModelError:
            # A row without numbers; the others are still of use.
            outcome = Outcome(scheme, {}, {}, {}, math.nan, seconds)
        else:
            clean = {f"R@{k}": value for k, value in found.clean.recall.items()}
            clean |= {"mAP": found.clean.map, "mAP@R": found.clean.map_at_r, "NMI": found.clean.nmi or 0.0}
            outcome = Outcome(scheme, clean, found.raw, found.scores, found.ers, seconds)
        write_text(path, json.dumps(asdict(outcome)))
        return outcome

    def _attack(self, scheme: str) -> PGD | None:
        if scheme.startswith("RO"):
            return None
        return (
            PGD_28
            if self.steps == PGD_28.steps
            else PGD(PGD_28.eps, 1.25 * PGD_28.eps / self.steps, self.steps)
        )


def read_grey(path: Path) -> tuple[ImageSet, ImageSet]:
    """Training and test images of 28 × 28 and one channel.

    Raises
    ------
    DataError, InputError
        As :func:`certimetric.deep.read_images`; also where images have another size.
    """
    train, test = (read_images(path, part) for part in ("train", "test"))
    if train.images.shape[1:] != (1, 28, 28):
        raise DataError(f"{path}: images must be 28 × 28 and grey, got {tuple(train.images.shape[1:])}.")
    return train, test


def check_finished(trainer: Trainer, name: str) -> None:
    """Hand on Ctrl-C, and refuse a network that is none."""
    if trainer.stop_reason_ == "interrupted":
        raise KeyboardInterrupt
    if trainer.stop_reason_ == "not_finite":
        raise InputError(f"{name}: the loss is not finite after {len(trainer.history_)} epochs.")


def published_ers(raw: dict[str, float]) -> float:
    """The score of a published row, of its raw numbers."""
    from certimetric.deep._ranking_attacks import ATTACKS

    return float(np.mean([s for kind in ATTACKS for s in kind.scores(*(raw[name] for name in kind.names))]))


def rows(outcomes: list[Outcome], name: str) -> list[dict[str, Any]]:
    """The table, with published rows below ours where there are some."""
    found: list[dict[str, Any]] = []
    for outcome in outcomes:
        known = {**outcome.clean, **outcome.raw}
        numbers = {key: known.get(key, math.nan) for key in (*_CLEAN, *_ATTACKS)}
        title = outcome.scheme if known else f"{outcome.scheme}, collapsed"
        found.append({"defence": title, **numbers, "ERS": outcome.ers, "s/epoch": outcome.seconds})
        other = PUBLISHED.get(outcome.scheme) if name == "fashion_mnist" else None
        if other:
            line = {"defence": f"{outcome.scheme}, published", **other, "ERS": published_ers(other)}
            found.append({**line, "s/epoch": float("nan")})
    return found


def _shown(key: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if np.isnan(value):
        return ""
    return f"{value:.3f}" if key in (*_CLEAN, "TMA", "ES:D") else f"{value:.1f}"


def _cells(outcomes: list[Outcome], name: str) -> list[list[str]]:
    table = rows(outcomes, name)
    return [list(table[0]), *([_shown(key, value) for key, value in row.items()] for row in table)]


def text(outcomes: list[Outcome], name: str) -> str:
    """For a terminal."""
    return aligned(_cells(outcomes, name))


def markdown(experiment: Experiment, outcomes: list[Outcome]) -> str:
    """With a line that says how it was made."""
    lines = [
        f"# Defences of deep metric learning, {experiment.name}",
        "",
        f"{len(experiment.train.codes):,} training images, {experiment.epochs} epochs, {experiment.steps} "
        f"steps of the attacks in training; {experiment.points:,} of {len(experiment.test.codes):,} test "
        "images attacked by 32 steps of 3/255 in an ℓ∞ ball of 77/255, all of them candidates; seed "
        f"{experiment.seed}. Published: 16 epochs of 60,000 images, 32 steps, 10,000 attacked "
        "images; its GTM has another target (see the documentation).",
        "",
        *piped(_cells(outcomes, experiment.name)),
    ]
    return "\n".join(lines) + "\n"


def write_csv(experiment: Experiment, outcomes: list[Outcome], path: Path) -> None:
    """All numbers, in full."""
    found = io.StringIO()
    table = rows(outcomes, experiment.name)
    writer = csv.DictWriter(found, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    write_text(path, found.getvalue())


def draw(experiment: Experiment, outcomes: list[Outcome], path: Path) -> None:
    """Clean recall to the right, robustness score upwards; published rows hollow."""
    pyplot = require("matplotlib.pyplot", extra="plot")
    figure, axes = pyplot.subplots(figsize=(7.6, 4.4), layout="constrained")
    colors: dict[str, Any] = {}
    for row in rows(outcomes, experiment.name):
        defence, comma, _ = row["defence"].partition(", published")
        (mark,) = axes.plot(
            row["R@1"], row["ERS"], "o", ms=8, color=colors.get(defence), label=row["defence"]
        )
        colors[defence] = mark.get_color()
        mark.set_fillstyle("none" if comma else "full")
    figure.legend(loc="outside right upper", fontsize="small")
    axes.set(xlabel="R@1 without an attack", ylabel="Empirical robustness score", ylim=(0, 100))
    axes.margins(x=0.1)
    axes.set_title(f"{experiment.name}, {len(experiment.train.codes):,} images, {experiment.epochs} epochs")
    save_picture(figure, path)
    pyplot.close(figure)
