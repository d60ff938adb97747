"""The empirical robustness score: the mean of ten attacks on retrieval, each a number between 0 and 100."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from certimetric import _formats
from certimetric._files import writing
from certimetric._progress import line_if
from certimetric.deep._checkpoint import digest_of
from certimetric.deep._ranking_attacks import ATTACKS, Asked, Gallery, RankingAttack
from certimetric.deep.attacks import PGD
from certimetric.deep.embedding import check_images, check_labels, embed, embed_all, evaluating, place_of
from certimetric.deep.evaluation import RetrievalScores, check_spread, retrieval_scores
from certimetric.exceptions import DataError, InputError

__all__ = ["PGD_28", "PGD_224", "RobustnessScore", "attack_images", "robustness_score"]

PGD_28 = PGD(eps=77 / 255, step=3 / 255, steps=32)
"""The attack of the published score for images of 28 × 28."""
PGD_224 = PGD(eps=8 / 255, step=3 / 255, steps=32)
"""The same for 224 × 224."""

_SAVE_EVERY = 20.0
"""Seconds between two states of a run."""


@dataclass(frozen=True)
class RobustnessScore:
    """The ten attacks, and what the model is worth without them: one says nothing without the other.

    Attributes
    ----------
    raw : dict of str to float
        By attack, the mean of what is measured: a rank in %, a cosine, a distance, or R@1 and retain@4 in %.
    scores : dict of str to float
        The same between 0 and 100.
    ers : float
        Their mean. A model that gives all images nearly the same embedding has about 30.
    clean : RetrievalScores
        R@k, mAP, mAP@R and NMI without an attack.
    points : int
        Images that were attacked.
    attack : PGD
    """

    raw: dict[str, float]
    scores: dict[str, float]
    ers: float
    clean: RetrievalScores
    points: int
    attack: PGD

    def __str__(self) -> str:
        names = "".join(f"{name:>8}" for name in [*self.raw, "ERS"])
        raw = "".join(f"{value:8.3g}" for value in self.raw.values())
        scores = "".join(f"{value:8.1f}" for value in [*self.scores.values(), self.ers])
        return f"clean    {self.clean}\nattack  {names}\nraw     {raw}\nscore   {scores}"


def robustness_score(
    model: nn.Module,
    images: Tensor | NDArray[np.floating],
    labels: object,
    *,
    attack: PGD = PGD_28,
    points: int | None = None,
    batch_size: int = 128,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: bool = False,
) -> RobustnessScore:
    """The empirical robustness score of a network (Zhou et al., 2021; Zhou & Patel, CVPR 2022).

    All images are queries and candidates. The attacked one maximises, by ``attack``:

    - CA+, CA−: its rank among the answers to another query, up or down;
    - QA+, QA−: the rank of a candidate among the answers to it, up or down;
    - TMA: the cosine with a random image; ES: the distance from its own embedding;
    - LTM, GTM: an answer of another class; GTT: that its first answer is not among the first four.

    Raw numbers are means over images; a score is 100 where the attack is without success. Which other image
    an attack is about depends on ``seed`` alone. The cost is nine attacks on each image; for QA, LTM and GTT
    each step also takes the distances from all images.

    Parameters
    ----------
    model : torch.nn.Module
        (b, C, H, W) to (b, p), on the device on which all is to be done.
    images : tensor or array of shape (n, C, H, W), in [0, 1]
    labels : array-like of shape (n,)
    attack : PGD
        Default: of the published score for 28 × 28; :data:`PGD_224` for larger images.
    points : int, optional
        Attack only the first so many images; all remain candidates.
    batch_size : int
    seed : int
    checkpoint : path, optional
        A file of what is finished, from which the same call goes on.
    progress : bool
        Show a line on standard error.

    Raises
    ------
    InputError
        Bad images or labels, a class with one image, or a model that gives all images one embedding.
    DataError
        The checkpoint is of another call, or damaged.
    """
    task = _Task.of(model, images, labels, points, batch_size, seed)
    if checkpoint is not None and not Path(checkpoint).absolute().parent.is_dir():
        raise InputError(f"checkpoint must be in a folder that is there, got {checkpoint}.")
    clean = retrieval_scores(task.gallery.embeddings, task.codes, seed=seed, n_jobs=torch.get_num_threads())
    call = _fingerprint(model, (task.images, task.codes), (attack, seed)) if checkpoint else ""
    state = _Finished(task.count, Path(checkpoint) if checkpoint else None, call)
    with state, line_if(progress, "attack", "images") as report:
        for number, kind in enumerate(ATTACKS):
            for rows in task.batches():
                if not state.has(kind, rows):
                    state.add(kind, rows, _attacked(task, rows, number, attack)[1])
                report(number * task.count + rows.stop, len(ATTACKS) * task.count)
    raw = {name: float(values.mean()) for name, values in state.arrays.items()}
    scores: dict[str, float] = {}
    for kind in ATTACKS:
        found = kind.scores(*(raw[name] for name in kind.names))
        scores |= dict(zip(kind.names, found, strict=True))
    return RobustnessScore(raw, scores, float(np.mean(list(scores.values()))), clean, task.count, attack)


def attack_images(
    model: nn.Module,
    images: Tensor | NDArray[np.floating],
    labels: object,
    name: str,
    *,
    attack: PGD = PGD_28,
    points: int | None = None,
    batch_size: int = 128,
    seed: int = 0,
) -> Tensor:
    """What one of the ten attacks makes of images, for scores under it and for a look at them.

    ``retrieval_scores(embed_all(model, images), labels, queries=embed_all(model, attacked))`` are the scores
    of retrieval when the attacked images ask.

    Parameters
    ----------
    model, images, labels, attack, points, batch_size, seed
        As for :func:`robustness_score`, with the same choice of the other images.
    name : {"CA+", "CA-", "QA+", "QA-", "TMA", "ES", "LTM", "GTM", "GTT"}

    Returns
    -------
    tensor of shape (points, C, H, W)
        On the device of the model.

    Raises
    ------
    InputError
        As :func:`robustness_score`, or an unknown name.
    """
    names = [kind.names[0].partition(":")[0] for kind in ATTACKS]
    if name not in names:
        raise InputError(f"name must be one of {', '.join(names)}; got {name!r}.")
    task = _Task.of(model, images, labels, points, batch_size, seed)
    number = names.index(name)
    return torch.cat([_attacked(task, rows, number, attack)[0] for rows in task.batches()])


@dataclass(frozen=True)
class _Task:
    """A model, the images that it is attacked with, and the gallery that all of them are."""

    model: nn.Module
    images: Tensor
    codes: Tensor
    gallery: Gallery
    count: int
    batch_size: int
    seed: int

    @classmethod
    def of(
        cls, model: nn.Module, images: Any, labels: object, points: int | None, batch_size: int, seed: int
    ) -> "_Task":
        images = check_images(images)
        codes, _ = check_labels(labels, len(images), each=2)
        count = len(images) if points is None else min(points, len(images))
        if count < 1 or batch_size < 1:
            raise InputError(f"points and batch_size must be 1 or more, got {points} and {batch_size}.")
        embeddings = embed_all(model, images, batch_size)
        check_spread(embeddings)
        gallery = Gallery(embeddings, codes.to(embeddings.device))
        return cls(model, images, codes, gallery, count, batch_size, seed)

    def batches(self) -> Iterator[slice]:
        for start in range(0, self.count, self.batch_size):
            yield slice(start, min(start + self.batch_size, self.count))

    def asked(self, rows: slice, number: int) -> Asked:
        """What the attack of a number is about; of an image the same in any batch."""
        device = self.gallery.codes.device
        draws = np.random.default_rng([self.seed, number]).random(self.count)[rows]
        chosen = torch.arange(rows.start, rows.stop, device=device)
        return Asked(self.gallery, chosen, torch.from_numpy(draws).to(device))


def _attacked(task: _Task, rows: slice, number: int, attack: PGD) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Attacked images of a batch, and the numbers of the attack."""
    model, kind = task.model, ATTACKS[number](task.asked(rows, number))
    images = task.images[rows].to(**place_of(model))
    generator = torch.Generator().manual_seed(task.seed + 1_000_003 * number + rows.start)
    with evaluating(model):
        moved = attack(lambda x: kind.objective(embed(model, x)), images, generator)
        with torch.no_grad():
            return moved, kind.raw(embed(model, moved))


class _Finished:
    """Raw numbers of images by attack, NaN where they are still to be found; kept in a file."""

    def __init__(self, count: int, path: Path | None, call: str) -> None:
        self.path, self.call, self.saved = path, call, time.monotonic()
        names = [name for kind in ATTACKS for name in kind.names]
        self.arrays = {name: np.full(count, np.nan) for name in names}
        if path is not None and path.exists():
            self._load(path)

    def __enter__(self) -> "_Finished":
        return self

    def __exit__(self, *_: object) -> None:
        # Of a run that is stopped, too.
        self.save()

    def _load(self, path: Path) -> None:
        try:
            with _formats.open_archive(path) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except _formats.READ_ERRORS as error:
            raise DataError(
                f"{path}: cannot be read as a checkpoint: {_formats.first_line(error)}"
            ) from error
        if str(arrays.pop("call", "")) != self.call:
            raise DataError(
                f"{path}: is of another model, other images or other settings. Remove it to begin anew."
            )
        for name, values in self.arrays.items():
            known = arrays[name][: len(values)]
            values[: len(known)] = known

    def has(self, kind: type[RankingAttack], rows: slice) -> bool:
        return not np.isnan(self.arrays[kind.names[0]][rows]).any()

    def add(self, kind: type[RankingAttack], rows: slice, raw: tuple[Tensor, ...]) -> None:
        # Names from the last: the first tells whether all are there.
        for name, values in reversed(list(zip(kind.names, raw, strict=True))):
            self.arrays[name][rows] = values.cpu().numpy()
        if time.monotonic() - self.saved > _SAVE_EVERY:
            self.save()

    def save(self) -> None:
        if self.path is not None:
            with writing(self.path) as file:
                np.savez(file, allow_pickle=False, call=np.array(self.call), **self.arrays)
            self.saved = time.monotonic()


def _fingerprint(model: nn.Module, data: tuple[Tensor, ...], settings: object) -> str:
    """Of the weights, of the images and of the settings."""
    weights = model.state_dict()
    return digest_of((*weights.values(), *data), (settings, str(model), list(weights)))
