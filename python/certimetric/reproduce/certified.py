"""Certified accuracy of a network of a known constant, beside neighbours and learned points of pixels.

All radii are ℓ2 norms in the space of images whose pixels are in [0, 1], over all test images. Rows of
pixels are those of other tables: Euclidean and ARML metrics, and points learned for one radius.
"""

import csv
import io
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from certimetric._files import save_picture, write_text
from certimetric._optional import require
from certimetric.certification import Certification
from certimetric.deep import (
    PRESETS,
    CertifiedEmbeddingClassifier,
    Configuration,
    LipschitzNet28,
    PrototypeMarginLoss,
    embed_all,
)
from certimetric.deep._checkpoint import digest_of
from certimetric.deep.data import ImageSet
from certimetric.exceptions import InputError
from certimetric.reproduce.cells import Store, kept, key_of
from certimetric.reproduce.deep import check_finished, read_grey
from certimetric.reproduce.grid import aligned, piped
from certimetric.reproduce.metrics import Metrics
from certimetric.reproduce.protocol import Protocol, Source, Split, load

__all__ = ["RADII", "ROWS", "Experiment", "draw", "markdown", "text", "write_csv"]

RADII = (0.0, 0.5, 1.0, 1.58)
"""ℓ2 norms of the columns."""

_NEIGHBORS = 11
_BATCH = 4096
_SECONDS = 1.0
"""Of search for each point where several neighbours vote; what is not found then is a bound."""


@dataclass(frozen=True)
class Experiment:
    """What all rows share, and the folder that keeps what is finished.

    Attributes
    ----------
    path : Path
        Images 28 × 28, npz.
    folder : Path
        The one of the table; certifications and checkpoints are in ``cells``, metrics in ``metrics``.
    epochs : int
        Of the network.
    points : int or None
        The first so many test images; None: all.
    seed : int
    n_jobs : int or None
    progress : bool
    """

    path: Path
    folder: Path
    epochs: int
    points: int | None = None
    seed: int = 0
    n_jobs: int | None = None
    progress: bool = False

    @property
    def name(self) -> str:
        """Of the data set."""
        return self.path.stem

    @cached_property
    def split(self) -> Split:
        """Pixels over 255 as rows, in the order of the file."""
        protocol = Protocol("255", self.points, seed=None, image=(28, 28))
        return load(Source(self.name, self.path, protocol=protocol))

    @cached_property
    def images(self) -> tuple[ImageSet, ImageSet]:
        """Training and test images.

        Raises
        ------
        DataError
            Images are not 28 × 28 of one channel.
        """
        train, test = read_grey(self.path)
        return train, test.first(self.points)

    @cached_property
    def settings(self) -> Configuration:
        """The preset "certified", of so many epochs."""
        preset = PRESETS["certified"]
        return replace(preset, train=replace(preset.train, epochs=self.epochs, seed=self.seed))

    def of_pixels(self, n_neighbors: int, metric: str) -> Certification:
        """Neighbours or learned points in the space of pixels."""
        split = self.split
        key = Store(self.folder / "cells").metric_key(split, metric)

        def ask(**settings: Any) -> Certification:
            metrics = Metrics(self.folder / "metrics", self.n_jobs, self.progress)
            classifier = metrics.classifier(split, metric, key)
            classifier.set_params(n_neighbors=n_neighbors)
            return classifier.certify(split.Z, split.t, **settings)

        return self._kept({"metric": metric, "learned": key}, n_neighbors, ask)

    def of_network(self, n_neighbors: int | None, is_edited: bool = False) -> Certification:
        """Training images or, without a number of neighbours, learned points in the embedding space.

        Edited: without the training images that the points leave less than half of the margin trained for.
        """
        train, test = self.images

        def ask(**settings: Any) -> Certification:
            network, loss = self._network
            clf = CertifiedEmbeddingClassifier(network, n_neighbors or 1, n_jobs=self.n_jobs)
            if n_neighbors is None:
                clf.fit_embeddings(loss.points.detach().numpy(), train.classes[loss.labels])
            else:
                chosen = self._far_inside() if is_edited else torch.ones(len(train.codes), dtype=torch.bool)
                clf.fit(train.images[chosen], train.labels[chosen.numpy()])
            return clf.certify(test.images, test.labels, **settings)

        rows = "points" if n_neighbors is None else "edited" if is_edited else "all"
        return self._kept({"network": self._key, "rows": rows}, n_neighbors or 1, ask)

    def _kept(
        self, determined: dict[str, Any], n_neighbors: int, ask: Callable[..., Certification]
    ) -> Certification:
        """What is asked, or an earlier run was told; of several neighbours about the table's radii only."""
        _, test = self.images
        several = {} if n_neighbors == 1 else {"eps": RADII, "point_time_limit": _SECONDS}
        digest = digest_of((test.images, test.codes), "")
        key = key_of({**determined, "neighbors": n_neighbors, "test": digest, **several})
        path = self.folder / "cells" / f"deep-{self.name}-{key}.npz"
        found = kept(path)
        if found is None:
            found = ask(progress=self.progress, **several)
            path.parent.mkdir(parents=True, exist_ok=True)
            found.save(path)
        return found

    @cached_property
    def _key(self) -> str:
        train, _ = self.images
        return key_of({**asdict(self.settings), "images": digest_of((train.images, train.codes), "")})

    @cached_property
    def _network(self) -> tuple[LipschitzNet28, PrototypeMarginLoss]:
        """With its points, trained, or as an earlier run left it; a stopped one goes on."""
        train, _ = self.images
        path = self.folder / "cells" / f"deep-{self.name}-{self._key}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        model: Any = self.settings.make_model(train.images)
        trainer = self.settings.make_trainer(model, checkpoint=path, progress=self.progress)
        trainer.fit(train.images, train.codes)
        check_finished(trainer, self.settings.train.scheme)
        loss: Any = trainer.scheme.loss
        return model, loss

    def _far_inside(self) -> torch.Tensor:
        """Which training images are well within their class."""
        train, _ = self.images
        network, loss = self._network
        with torch.no_grad():
            rows = embed_all(network, train.images, normalized=False)
            parts = zip(rows.split(_BATCH), train.codes.split(_BATCH), strict=True)
            margins = torch.cat([loss.margins(*part) for part in parts])
        chosen = margins >= loss.margin / 2
        if not chosen.any():
            raise InputError(f"no training image is well inside its class after {self.epochs} epochs.")
        return chosen


@dataclass(frozen=True)
class Row:
    """A classifier of the table.

    Attributes
    ----------
    title : str
    certify : callable
        Of an :class:`Experiment`, its certification.
    """

    title: str
    certify: Callable[[Experiment], Certification]


def _of_pixels(title: str, n_neighbors: int, metric: str) -> Row:
    return Row(title, lambda experiment: experiment.of_pixels(n_neighbors, metric))


def _of_network(title: str, n_neighbors: int | None, is_edited: bool = False) -> Row:
    return Row(title, lambda experiment: experiment.of_network(n_neighbors, is_edited))


ROWS = {
    "pixels": _of_pixels("pixels, 1-NN", 1, "euclidean"),
    "pixels-knn": _of_pixels(f"pixels, {_NEIGHBORS}-NN", _NEIGHBORS, "euclidean"),
    "arml": _of_pixels("ARML, 1-NN", 1, "arml"),
    "pixels-points": _of_pixels("pixels, learned points", 1, "prototypes-1.58"),
    "network": _of_network("network, 1-NN", 1),
    "network-knn": _of_network(f"network, {_NEIGHBORS}-NN", _NEIGHBORS),
    "network-edited": _of_network("network, 1-NN, edited", 1, is_edited=True),
    "network-points": _of_network("network, learned points", None),
}
"""By name on the command line."""

Table = dict[str, Certification]
"""Certifications by the title of their row."""


def rows(table: Table) -> list[list[str]]:
    """A head, and certified accuracies at each radius."""
    found = [["certified at", *(f"{eps:g}" for eps in RADII)]]
    for title, cert in table.items():
        shares = 1 - np.atleast_1d(cert.certified_error(RADII))
        found.append([title, *(f"{share:.4f}" for share in shares)])
    return found


def text(table: Table) -> str:
    """For a terminal."""
    return aligned(rows(table))


def markdown(experiment: Experiment, table: Table) -> str:
    """With a line that says how it was made."""
    count = len(next(iter(table.values())))
    parts = [
        f"# Certified accuracy, {experiment.name}",
        "",
        f"{count:,} test images, ℓ2 norms of images in [0, 1]. Radii of networks are lower ends: those of "
        f"embeddings over the constant. Before {_NEIGHBORS} neighbours these radii are decided, each image "
        f"within {_SECONDS:g} s; what is not proven then does not count. Edited: without the training images "
        "that the learned points leave less than half of the margin trained for. The network: orthogonal "
        f"layers, {experiment.epochs} epochs, seed {experiment.seed}.",
        "",
        *piped(rows(table)),
    ]
    return "\n".join(parts) + "\n"


def write_csv(table: Table, path: Path) -> None:
    """Shares of images, in full."""
    found = io.StringIO()
    writer = csv.writer(found, lineterminator="\n")
    writer.writerow(["classifier", *RADII])
    for title, cert in table.items():
        writer.writerow([title, *(1 - np.atleast_1d(cert.certified_error(RADII)))])
    write_text(path, found.getvalue())


def draw(experiment: Experiment, table: Table, path: Path) -> None:
    """Certified accuracy over the radius; what is of pixels is dashed."""
    pyplot = require("matplotlib.pyplot", extra="plot")
    figure, axes = pyplot.subplots(figsize=(7.6, 4.4), layout="constrained")
    radii = np.linspace(0, 2 * RADII[-1], 400)
    for title, cert in table.items():
        # Of some only the radii of the table are known.
        shown, style = (radii, "-") if cert.run.eps is None else (np.array(RADII), "o")
        style = style.replace("-", "-" if title.startswith("network") else "--")
        axes.plot(shown, 1 - np.asarray(cert.certified_error(shown)), style, label=title)
    axes.set(
        xlabel="ℓ2 radius, pixels in [0, 1]", ylabel="Certified accuracy", ylim=(0, 1), xlim=(0, radii[-1])
    )
    axes.set_title(f"{experiment.name}, {len(next(iter(table.values()))):,} test images")
    axes.legend(fontsize="small")
    save_picture(figure, path)
    pyplot.close(figure)
