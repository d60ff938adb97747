"""Images and labels from npz files and folders, and batches of pairs of a class."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler, TensorDataset

from certimetric import _formats
from certimetric._optional import require
from certimetric.deep.embedding import check_images, check_labels
from certimetric.exceptions import DataError, InputError

__all__ = ["ImageSet", "PairSampler", "random_shifts", "read_image_folder", "read_images"]


@dataclass(frozen=True)
class ImageSet:
    """Images in [0, 1] with their classes.

    Attributes
    ----------
    images : tensor of shape (n, C, H, W)
        Binary32, or of the type that the file has.
    codes : tensor of shape (n,), int64
        Classes as 0 … C − 1.
    classes : ndarray of shape (C,)
        What they stand for.
    """

    images: Tensor
    codes: Tensor
    classes: NDArray[Any]

    @property
    def labels(self) -> NDArray[Any]:
        """What the codes stand for, of shape (n,)."""
        found: NDArray[Any] = self.classes[self.codes.numpy()]
        return found

    def dataset(self) -> "Dataset[Any]":
        """As a dataset of ``torch.utils.data``: pairs of an image and a code."""
        return TensorDataset(self.images, self.codes)

    def split(self, count: int, seed: int) -> "tuple[ImageSet, ImageSet | None]":
        """The others, and so many images that were drawn; none: all, and None.

        Raises
        ------
        InputError
            No two images of each class would be left, or not two of each class be drawn.
        """
        if not count:
            return self, None
        order = np.random.default_rng(seed).permutation(len(self.codes))
        parts = tuple(
            ImageSet(self.images[rows], self.codes[rows], self.classes)
            for rows in (order[count:], order[:count])
        )
        for part in parts:
            counts = torch.bincount(part.codes, minlength=len(self.classes))
            if counts.min() < 2:
                raise InputError(
                    f"{count} held out images of {len(order)} leave or make a class with one image."
                )
        return parts[0], parts[1]

    def first(self, count: int | None) -> "ImageSet":
        """The first so many, or all."""
        return ImageSet(self.images[:count], self.codes[:count], self.classes)


def read_images(path: str | Path, part: str = "train", shape: tuple[int, int, int] | None = None) -> ImageSet:
    """Images of an npz file: ``X_train`` and ``y_train``, ``X_test`` and ``y_test``, or ``X`` and ``y``.

    Bytes are divided by 255, in binary32. Rows become squares of one channel, unless ``shape`` says
    otherwise; (n, H, W) has one channel, (n, H, W, 3) and (n, 3, H, W) have three.

    Parameters
    ----------
    path : path
    part : {"train", "test"}
    shape : (C, H, W), optional
        Of each row.

    Raises
    ------
    DataError
        No such file or array, or damaged.
    InputError
        Values that are not in [0, 1], rows that are no images, labels that do not fit.
    """
    if part not in ("train", "test"):
        raise InputError(f"part must be 'train' or 'test', got {part!r}.")
    source = Path(path)
    _formats.check_file(source)
    try:
        X, y = _formats.read_npz(source, part, None, None)
    except _formats.READ_ERRORS as error:
        raise DataError(f"{source}: cannot be read as npz: {_formats.first_line(error)}") from error
    if y is None:
        raise DataError(f"{source}: has no labels.")
    if X.dtype == np.uint8:
        X = X.astype(np.float32) / np.float32(255)
    images = check_images(_as_images(X, shape, str(source)), str(source))
    try:
        codes, classes = check_labels(y, len(images), classes=1)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    return ImageSet(images, codes, classes)


def _as_images(X: NDArray[Any], shape: tuple[int, int, int] | None, name: str) -> NDArray[Any]:
    if shape is not None:
        if X[0].size != np.prod(shape):
            raise InputError(f"{name}: a row has {X[0].size} values, shape {shape} needs {np.prod(shape)}.")
        return X.reshape(-1, *shape)
    if X.ndim == 2:
        side = round(X.shape[1] ** 0.5)
        if side * side != X.shape[1]:
            raise InputError(f"{name}: rows of {X.shape[1]} values are no squares: give shape=(C, H, W).")
        return X.reshape(-1, 1, side, side)
    if X.ndim == 3:
        return X[:, None]
    if X.ndim == 4 and X.shape[3] in (1, 3) and X.shape[1] not in (1, 3):
        return np.moveaxis(X, 3, 1)
    return X


def read_image_folder(path: str | Path, size: int = 224) -> ImageSet:
    """Images of a folder with a folder for each class, scaled and cut to squares, by torchvision.

    All of them are held in memory: 4 · 3 · size² bytes each.

    Parameters
    ----------
    path : path
    size : int
        Side of the square; the shorter side is scaled to size · 8/7 first.

    Raises
    ------
    MissingDependencyError
        torchvision is not installed.
    DataError
        No such folder, or none with images in it.
    """
    transforms = require("torchvision.transforms", extra="vision")
    known = require("torchvision.datasets", extra="vision")
    steps = [transforms.Resize(size * 8 // 7), transforms.CenterCrop(size), transforms.ToTensor()]
    try:
        folder = known.ImageFolder(str(path), transforms.Compose(steps))
        found = [folder[row] for row in range(len(folder))]
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a folder of images: {error}") from error
    codes = torch.tensor([code for _, code in found])
    images = check_images(torch.stack([image for image, _ in found]), str(path))
    return ImageSet(images, codes, np.array(folder.classes))


def random_shifts(images: Tensor, generator: torch.Generator, pixels: int = 1, share: float = 1.0) -> Tensor:
    """Images moved by up to so many pixels in both directions, black where they were.

    Parameters
    ----------
    images : tensor of shape (n, C, H, W)
    generator : torch.Generator
        On the CPU.
    pixels : int
    share : float
        Of images that may move; the others stay.

    Returns
    -------
    tensor of the same shape

    Raises
    ------
    InputError
        Negative pixels, or a share that is none.
    """
    if pixels < 0 or not 0 <= share <= 1:
        raise InputError(f"pixels must be 0 or more and share between 0 and 1, got {pixels} and {share}.")
    height, width = images.shape[2:]
    padded = nn.functional.pad(images, [pixels] * 4)
    steps = torch.randint(-pixels, pixels + 1, (2, len(images)), generator=generator)
    may_move = torch.rand(len(images), generator=generator) < share
    top, left = torch.where(may_move, steps, 0) + pixels
    rows, columns = top[:, None] + torch.arange(height), left[:, None] + torch.arange(width)
    place = (torch.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :])
    return padded.permute(0, 2, 3, 1)[place].permute(0, 3, 1, 2)


class PairSampler(Sampler[list[int]]):
    """Batches of pairs: rows 0 and 1 of a batch are of one class, 2 and 3, and so on.

    Each batch has two classes. In an epoch each image is in one pair at most; of a class with an odd number,
    another one is left out each time, and the last rows that fill no batch are too. The order depends on the
    seed and the epoch alone.

    Parameters
    ----------
    codes : tensor of shape (n,)
        Classes.
    batch_size : int
        Images in a batch, an even number.
    seed : int

    Raises
    ------
    InputError
        An odd or too large batch, a class with one image only, or one with nearly all images.
    """

    def __init__(self, codes: Tensor, batch_size: int = 128, seed: int = 0) -> None:
        self.codes, _ = check_labels(codes, len(codes), each=2)
        self.batch_size, self.seed, self.epoch = batch_size, seed, 0
        if batch_size < 4 or batch_size % 2:
            raise InputError(f"batch_size must be an even number, 4 or more, got {batch_size}.")
        if not len(self):
            raise InputError(
                f"batch_size must be at most {2 * self._pairs()} for these labels, got {batch_size}."
            )
        pairs = torch.bincount(self.codes) // 2
        left = int(pairs.sum()) - len(self) * batch_size // 2
        if int(pairs.sum() - pairs.max()) - left < len(self):
            raise InputError(
                f"labels have too many images of one class for two classes in each batch of {batch_size}; "
                "a larger batch_size may help."
            )

    def _pairs(self) -> int:
        return int((torch.bincount(self.codes) // 2).sum())

    def __len__(self) -> int:
        return 2 * self._pairs() // self.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Batches of this epoch follow."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        codes = self.codes.numpy()
        pairs = []
        for code in range(codes.max() + 1):
            rows = rng.permutation(np.flatnonzero(codes == code))
            pairs.append(rows[: len(rows) // 2 * 2].reshape(-1, 2))
        count = self.batch_size // 2
        ordered = rng.permutation(np.concatenate(pairs))[: len(self) * count].reshape(len(self), count, 2)
        _mix(ordered, codes)
        for batch in ordered:
            yield batch.reshape(-1).tolist()


def _mix(batches: NDArray[np.int64], codes: NDArray[np.int64]) -> None:
    """Exchange pairs until each batch has two classes: one of a single class takes a pair of another."""
    kinds = codes[batches[:, :, 0]]
    for batch in np.flatnonzero((kinds == kinds[:, :1]).all(axis=1)):
        own = kinds[batch, 0]
        if (kinds[batch] != own).any():
            continue
        donors = np.flatnonzero((kinds != own).sum(axis=1) >= 2)
        if not len(donors):
            continue
        donor = donors[0]
        place = np.flatnonzero(kinds[donor] != own)[0]
        batches[[batch, donor], [0, place]] = batches[[donor, batch], [place, 0]]
        kinds[[batch, donor], [0, place]] = kinds[[donor, batch], [place, 0]]
