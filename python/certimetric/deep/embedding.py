"""Images in, points on the unit sphere out: the one place where a network is asked for embeddings."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from certimetric.exceptions import InputError, InputTypeError

__all__ = ["check_images", "check_labels", "check_model", "embed", "embed_all", "evaluating", "place_of"]


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


def embed_all(
    model: nn.Module,
    images: Tensor | NDArray[np.floating],
    batch_size: int = 256,
    normalized: bool = True,
) -> Tensor:
    """Embeddings of many images, in evaluation mode, without gradients.

    Parameters
    ----------
    model : torch.nn.Module
        Takes (b, C, H, W), gives (b, p); it is asked on the device of its parameters.
    images : tensor or array of shape (n, C, H, W), in [0, 1]
    batch_size : int
    normalized : bool
        Unit embeddings; False: as the model gives them.

    Returns
    -------
    tensor of shape (n, p), on the device of the model

    Raises
    ------
    InputError
        The model does not take such images, an output is not a vector for each of them, or not finite; the
        message names the image.
    """
    images = check_images(images)
    if batch_size < 1:
        raise InputError(f"batch_size must be 1 or more, got {batch_size}.")
    check_model(model, images)
    parts = []
    with evaluating(model), torch.no_grad():
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size].to(**place_of(model))
            found = embed(model, batch) if normalized else model(batch)
            is_finite = torch.isfinite(found).all(dim=1)
            if not is_finite.all():
                first = start + int((~is_finite).nonzero()[0])
                raise InputError(f"model gives values that are not finite for image {first}.")
            parts.append(found)
    return torch.cat(parts)


def place_of(model: nn.Module) -> dict[str, Any]:
    """Device and type of the model's first parameter of floating-point numbers; the CPU if it has none."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            return {"device": tensor.device, "dtype": tensor.dtype}
    return {"device": torch.device("cpu")}


def check_model(model: nn.Module, images: Tensor) -> None:
    """Ask the model for two images, before any work.

    Raises
    ------
    InputError
        It does not take images of this shape, or gives no vector for each.
    """
    shape = tuple(images.shape[1:])
    with evaluating(model), torch.no_grad():
        try:
            found = model(images[:2].to(**place_of(model)))
        except (RuntimeError, ValueError, IndexError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InputError(f"model does not take images of shape {shape}: {reason}") from error
    if found.ndim != 2 or len(found) != len(images[:2]):
        raise InputError(
            f"model must give one vector for each image, shape (n, p); got {tuple(found.shape)} for "
            f"{len(images[:2])} images."
        )


def check_images(images: object, name: str = "images", channels: int | None = None) -> Tensor:
    """Images as a floating-point tensor of shape (n, C, H, W), in [0, 1].

    Numbers stay as they are. The cost is one pass over the values.

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
        # A copy where the array is read-only, such as a mapped file: tensors cannot be.
        images = torch.from_numpy(np.require(images, requirements=["C", "W"]))
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


def check_labels(
    labels: object, count: int, *, each: int = 1, classes: int = 2
) -> tuple[Tensor, NDArray[Any]]:
    """Labels as codes 0 … C − 1, and what they stand for.

    Parameters
    ----------
    labels : array-like of shape (count,)
        Integers or strings.
    count : int
    each, classes : int
        Images that each class needs at least, and classes that there must be.

    Raises
    ------
    InputError
        Another number of labels, too few classes, or a class with fewer images than ``each``.
    """
    array = labels.cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.shape != (count,):
        raise InputError(f"labels must have shape ({count},), one for each image; got {array.shape}.")
    if array.dtype.kind == "f" and not np.array_equal(array, np.round(array)):
        raise InputError("labels must be classes, not continuous values.")
    names, codes, counts = np.unique(array, return_inverse=True, return_counts=True)
    if len(names) < classes:
        raise InputError(f"labels must have two classes at least, got {len(names)}.")
    if counts.min() < each:
        rare = names.tolist()[counts.argmin()]
        raise InputError(f"each class needs {each} images at least; class {rare!r} has {counts.min()}.")
    return torch.from_numpy(codes.reshape(-1).astype(np.int64)), names
