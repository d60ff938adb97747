"""Images in, points on the unit sphere out: the one place where a network is asked for embeddings."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from certimetric.exceptions import InputError, InputTypeError

__all__ = ["check_images", "check_labels", "embed", "embed_all", "evaluating"]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode; afterwards each part is in the mode in which it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def embed(model: nn.Module, images: Tensor) -> Tensor:
    """φ(x) / ‖φ(x)‖₂ of each image, shape (n, p); differentiable.

    An output of length 0 stays 0.
    """
    return nn.functional.normalize(model(images), dim=1)


def embed_all(model: nn.Module, images: Tensor, batch_size: int = 256) -> Tensor:
    """Unit embeddings of many images, in evaluation mode, without gradients.

    Parameters
    ----------
    model : torch.nn.Module
        Takes (b, C, H, W), gives (b, p); it is asked on the device of its parameters.
    images : tensor of shape (n, C, H, W), in [0, 1]
    batch_size : int

    Returns
    -------
    tensor of shape (n, p), on the device of the model

    Raises
    ------
    InputError
        An output is not a vector for each image, or not finite; the message names the image.
    """
    device = device_of(model)
    parts = []
    with evaluating(model), torch.no_grad():
        for start in range(0, len(images), batch_size):
            found = embed(model, images[start : start + batch_size].to(device))
            if found.ndim != 2:
                raise InputError(
                    f"model must give one vector for each image, shape (n, p); got {tuple(found.shape)}."
                )
            is_finite = torch.isfinite(found).all(dim=1)
            if not is_finite.all():
                first = start + int((~is_finite).nonzero()[0])
                raise InputError(f"model gives values that are not finite for image {first}.")
            parts.append(found)
    return torch.cat(parts)


def device_of(model: nn.Module) -> torch.device:
    """Where the model's first parameter, or else buffer, lies; the CPU if it has none."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


def check_images(images: object, name: str = "images", channels: int | None = None) -> Tensor:
    """Images as a floating-point tensor of shape (n, C, H, W), in [0, 1].

    Arrays of NumPy become binary32. The cost is one pass over the values.

    Raises
    ------
    InputTypeError
        Not a tensor or an array of floating-point numbers.
    InputError
        Not four-dimensional, empty, another number of channels, NaN or outside [0, 1].
    """
    if isinstance(images, np.ndarray):
        if images.dtype.kind != "f":
            raise InputTypeError(
                f"{name} must be floating-point numbers in [0, 1], got {images.dtype}: divide bytes by 255."
            )
        images = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))
    if not isinstance(images, Tensor):
        raise InputTypeError(f"{name} must be a tensor or an array, got {type(images).__name__}.")
    if not images.is_floating_point():
        raise InputTypeError(
            f"{name} must be floating-point numbers in [0, 1], got {images.dtype}: divide bytes by 255."
        )
    if images.ndim != 4 or 0 in images.shape:
        raise InputError(f"{name} must have shape (n, C, H, W) and not be empty; got {tuple(images.shape)}.")
    if channels is not None and images.shape[1] != channels:
        raise InputError(f"{name} must have {channels} channel(s), got {images.shape[1]}.")
    low, high = torch.aminmax(images)
    # NaN is not within any bounds.
    if not (low >= 0 and high <= 1):
        within = (images >= 0) & (images <= 1)
        first = int((~within.flatten(1).all(dim=1)).nonzero()[0])
        found = images[first][~within[first]][0]
        raise InputError(f"{name} must lie in [0, 1]; image {first} has the value {float(found):g}.")
    return images


def check_labels(labels: object, count: int, *, each: int = 1) -> tuple[Tensor, NDArray[Any]]:
    """Labels as codes 0 … C − 1, and what they stand for.

    Parameters
    ----------
    labels : array-like of shape (count,)
        Integers or strings.
    count : int
    each : int
        Images that each class needs at least.

    Raises
    ------
    InputError
        Another number of labels, one class only, or a class with fewer images than ``each``.
    """
    array = labels.cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.shape != (count,):
        raise InputError(f"labels must have shape ({count},), one for each image; got {array.shape}.")
    if array.dtype.kind == "f" and not np.array_equal(array, np.round(array)):
        raise InputError("labels must be classes, not continuous values.")
    classes, codes, counts = np.unique(array, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise InputError(f"labels must have two classes at least, got {len(classes)}.")
    if counts.min() < each:
        rare = classes.tolist()[counts.argmin()]
        raise InputError(f"each class needs {each} images at least; class {rare!r} has {counts.min()}.")
    return torch.from_numpy(codes.reshape(-1).astype(np.int64)), classes
