"""The closest adversarial examples as images."""

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from certimetric._optional import require
from certimetric._validation import FloatArray, IntArray, as_rows, check_count
from certimetric.certification import Certification
from certimetric.exceptions import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_examples"]

_ROWS = ("test point", "adversarial", "difference")


def plot_examples(
    cert: Certification, X: ArrayLike, shape: tuple[int, ...], n: int, indices: Sequence[int] | None
) -> "Figure":
    """Three rows of images: test points, adversarial points, and their differences, amplified."""
    pyplot = require("matplotlib.pyplot", extra="plot")
    rows, adversarial = _checked(cert, X, shape)
    chosen = _closest(cert, n) if indices is None else _given(cert, indices)
    figure: Figure
    figure, grid = pyplot.subplots(
        3, len(chosen), figsize=(1.1 * len(chosen) + 1.0, 4.2), squeeze=False, layout="constrained"
    )
    low, high = float(rows.min()), float(rows.max())
    for column, point in enumerate(chosen):
        _draw(grid[:, column], rows[point].reshape(shape), adversarial[point].reshape(shape), low, high)
        _title(grid[:, column], cert, int(point))
    for axis, label in zip(grid[:, 0], _ROWS, strict=True):
        axis.set_ylabel(label)
    return figure


def _checked(cert: Certification, X: ArrayLike, shape: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
    if cert.adversarial is None:
        raise InputError("there are no adversarial points to show: certify with return_adversarial=True.")
    rows = as_rows(X, "X", cert.adversarial.shape[1])
    if len(rows) != len(cert):
        raise InputError(
            f"X has {len(rows)} rows, but {len(cert)} points were certified: give the same ones."
        )
    if not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)) or prod(shape) != rows.shape[1]:
        raise InputError(
            f"shape must be (height, width), or (height, width, 3) with 3 channels, and product "
            f"{rows.shape[1]}; got {shape}."
        )
    return rows, cert.adversarial


def _closest(cert: Certification, n: int) -> IntArray:
    count = check_count(n, "n")
    candidates = np.flatnonzero(np.isfinite(cert.upper) & (cert.upper > 0))
    if candidates.size == 0:
        raise InputError("no point has an adversarial example of positive, finite norm.")
    return candidates[np.argsort(cert.upper[candidates], kind="stable")][:count]


def _given(cert: Certification, indices: Sequence[int]) -> IntArray:
    chosen = np.asarray(indices)
    valid = chosen.ndim == 1 and chosen.size > 0 and chosen.dtype.kind in "iu"
    if not valid or chosen.min() < 0 or chosen.max() >= len(cert):
        raise InputError(f"indices must be row numbers from 0 to {len(cert) - 1}; got {indices!r}.")
    return chosen.astype(np.int64)


def _draw(axes: Any, image: FloatArray, attacked: FloatArray, low: float, high: float) -> None:
    span = (high - low) or 1.0
    difference = attacked - image
    peak = float(np.abs(difference).max()) or 1.0
    if image.ndim == 3:
        axes[0].imshow((image - low) / span)
        axes[1].imshow(np.clip((attacked - low) / span, 0.0, 1.0))
        axes[2].imshow(0.5 + 0.5 * difference / peak)
    else:
        axes[0].imshow(image, cmap="gray", vmin=low, vmax=high)
        axes[1].imshow(attacked, cmap="gray", vmin=low, vmax=high)
        axes[2].imshow(difference, cmap="RdBu_r", vmin=-peak, vmax=peak)
    axes[2].set_xlabel(f"x {span / peak:.3g}", fontsize=7)


def _title(axes: Any, cert: Certification, point: int) -> None:
    label = cert.predicted[point] if cert.y is None else cert.y[point]
    axes[0].set_title(f"{label}\nr = {cert.upper[point]:.3g}", fontsize=8)
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
