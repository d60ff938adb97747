"""A plain loop: batches, losses, steps; a log, checkpoints, and an end that loses nothing."""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from certimetric._progress import progress_line
from certimetric.deep._checkpoint import digest_of, load_run, save_run
from certimetric.deep._log import write_log
from certimetric.deep._run import Make, Run, Wish, check_settings, one_cycle, patient, warn_of
from certimetric.deep.data import PairSampler
from certimetric.deep.embedding import check_images, check_labels, check_model, place_of
from certimetric.deep.schemes import Scheme, described

__all__ = ["Trainer"]


@dataclass
class Trainer:
    """Train a network by a scheme.

    On the CPU a run that was stopped and goes on from its checkpoint ends at the same bits as one that was
    not. Ctrl-C, which waits for the end of a step, and the time limit end it with a checkpoint; a loss that
    is not finite ends it with a warning and a checkpoint of the weights of the last whole epoch.

    Parameters
    ----------
    model : torch.nn.Module
        On the device on which to train.
    scheme : Scheme
        Such as ``make_scheme("HM[S,LGA]&ICS")``.
    optimizer : torch.optim.Optimizer or callable, optional
        Or what makes one of all parameters, those of the loss too. Default: Adam with a rate of 10⁻³.
    epochs : int
    batch_size : int
        Images in a batch; an epoch has each image once, in pairs of a class.
    seed : int
        Of batches, triplets, random starts and augmentation.
    schedule : {"constant", "one-cycle"}
        Of the learning rate: as it is, or from 1/25 of it up in the first tenth of all steps, then down to 0.
    augment : callable, optional
        Of a batch of images and a generator, images again, such as :func:`~certimetric.deep.random_shifts`.
    clip : float, optional
        Largest norm of the gradient.
    mixed_precision : bool
        Forward passes in bfloat16, on CUDA only.
    validate : callable, optional
        Of the model after each epoch, a number, large is good; the best one is kept.
    patience : int, optional
        Epochs without a better one after which the run ends.
    time_limit : float, optional
        Seconds, of all runs of a checkpoint together.
    checkpoint : path, optional
        A file from which the same call goes on.
    checkpoint_minutes : float
        Between two states; there is one after each epoch, too.
    log : path, optional
        ``.jsonl`` or ``.csv``, a line for each epoch; any other name: a folder for TensorBoard.
    about : dict, optional
        Plain values that the checkpoint is to tell of the run, see :func:`~certimetric.deep.read_about`.
    progress : bool
    callback : callable, optional
        Told of the row of each epoch; ends the run by returning True.

    Attributes
    ----------
    history_ : list of dict
        A row for each epoch: ``epoch``, ``loss`` (mean over batches), ``seconds``, and ``validation``.
    stop_reason_ : str
        ``"epochs"``, ``"patience"``, ``"time_limit"``, ``"callback"``, ``"interrupted"`` or ``"not_finite"``.
    """

    model: nn.Module
    scheme: Scheme
    optimizer: torch.optim.Optimizer | Make | None = None
    epochs: int = 8
    batch_size: int = 128
    seed: int = 0
    schedule: str = "constant"
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None
    clip: float | None = None
    mixed_precision: bool = False
    validate: Callable[[nn.Module], float] | None = None
    patience: int | None = None
    time_limit: float | None = None
    checkpoint: str | Path | None = None
    checkpoint_minutes: float = 5.0
    log: str | Path | None = None
    about: dict[str, Any] | None = None
    progress: bool = False
    callback: Callable[[dict[str, float]], object] | None = None
    history_: list[dict[str, float]] = field(default_factory=list, init=False)
    stop_reason_: str = field(default="", init=False)

    def __post_init__(self) -> None:
        numbers = {n: getattr(self, n) for n in ("clip", "time_limit", "checkpoint_minutes", "patience")}
        paths = {"checkpoint": self.checkpoint, "log": self.log}
        check_settings(self.epochs, self.schedule, numbers, paths, self.about, self.validate is not None)

    def fit(self, images: Tensor | NDArray[np.floating], labels: object) -> "Trainer":
        """Train.

        Parameters
        ----------
        images : tensor or array of shape (n, C, H, W), in [0, 1]
        labels : array-like of shape (n,)

        Raises
        ------
        InputError
            Images that are bad or that the model does not take, bad labels, a class with one image, or a
            batch larger than the data.
        DataError
            The checkpoint is of another run, or damaged.
        """
        images = check_images(images, channels=getattr(self.model, "channels", None))
        codes, _ = check_labels(labels, len(images), each=2)
        check_model(self.model, images)
        sampler = PairSampler(codes, self.batch_size, self.seed)
        self.scheme.prepare(self.model, images, codes)
        run = self._run = Run(self.model, self.scheme, self.optimizer, self.seed)
        length = self.schedule == "constant" or self.epochs
        settings = (self.batch_size, self.seed, self.clip, self.mixed_precision, length)
        self._key = digest_of((images, codes), (run.settings(), *settings, described(self.augment)))
        if self.checkpoint is not None and Path(self.checkpoint).exists():
            load_run(Path(self.checkpoint), self._key, run)
        self.history_, self.stop_reason_ = run.history, ""
        line: Any = progress_line(label="train", unit="batches") if self.progress else nullcontext()
        with patient() as wish, line as report:
            run.open = wish.open
            try:
                while not self.stop_reason_ and not run.place.is_last(self.patience, self.epochs):
                    self._epoch((images, codes), sampler, report, wish)
            except KeyboardInterrupt:
                self.stop_reason_ = "interrupted"
            is_whole = run.place.epoch >= self.epochs
            self.stop_reason_ = self.stop_reason_ or ("epochs" if is_whole else "patience")
            self._finish()
        return self

    def _epoch(self, data: tuple[Tensor, Tensor], sampler: PairSampler, report: Any, wish: Wish) -> None:
        run, place, where = self._run, self._run.place, place_of(self.model)
        sampler.set_epoch(place.epoch)
        begun, saved = time.monotonic() - place.seconds, place.seconds
        for rows in list(sampler)[place.batch :]:
            images, labels = data[0][rows].to(**where), data[1][rows].to(where["device"])
            if self.schedule == "one-cycle":
                run.set_rate(one_cycle((place.epoch + place.batch / len(sampler)) / self.epochs))
            loss = run.step(images, labels, self.clip, self.mixed_precision, self.augment)
            if not math.isfinite(loss):
                run.go_back()
                self.stop_reason_ = "not_finite"
                return
            place.batch, place.total = place.batch + 1, place.total + loss
            place.seconds = time.monotonic() - begun
            if report:
                report(place.epoch * len(sampler) + place.batch, self.epochs * len(sampler))
            spent = place.seconds + sum(row["seconds"] for row in run.history)
            if wish.is_there or (self.time_limit is not None and spent > self.time_limit):
                self.stop_reason_ = "interrupted" if wish.is_there else "time_limit"
                return
            if place.seconds - saved > 60 * self.checkpoint_minutes:
                self._save()
                saved = place.seconds
        self._end_epoch(place.total / len(sampler))

    def _end_epoch(self, loss: float) -> None:
        run = self._run
        row = {"epoch": run.place.epoch + 1, "loss": loss, "seconds": run.place.seconds}
        # First of all: what interrupts it finds all batches of the epoch done, and validates again.
        if self.validate is not None:
            with run.open():
                row["validation"] = float(self.validate(self.model))
        run.end_epoch(row)
        self._save()
        if self.log is not None:
            write_log(Path(self.log), run.history)
        if self.callback is not None and self.callback(row) is True:
            self.stop_reason_ = "callback"

    def _finish(self) -> None:
        self._run.set_rate(1.0)
        if self.stop_reason_ in ("epochs", "patience", "callback"):
            self._run.take_best()
        else:
            self._save()
        warn_of(self.stop_reason_, self._run.place.epoch + 1)

    def _save(self) -> None:
        if self.checkpoint is not None:
            save_run(Path(self.checkpoint), self._key, self._run, self.about or {})
